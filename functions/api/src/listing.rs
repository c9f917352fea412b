//! Pages of a listing, newest first, and their cursors.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fresco_ledger::records::Millis;
use fresco_ledger::traits::ListPosition;
use fresco_pipeline::ids::RunId;

use crate::body::{Query, number};
use crate::problem::HttpProblem;

const DEFAULT_LIMIT: i64 = 20;
const MAX_LIMIT: i64 = 100;

/// A request for a page.
pub(crate) struct PageRequest {
    /// The prefix of the listing's cursors: a cursor of another listing is invalid.
    prefix: &'static str,
    limit: u32,
    /// The place after which the page begins.
    pub(crate) behind: Option<ListPosition>,
}

impl PageRequest {
    /// Reads the parameters `limit` and `cursor`.
    pub(crate) fn read(prefix: &'static str, query: Query) -> Result<Self, HttpProblem> {
        let [limit, cursor] = query.read(["limit", "cursor"])?;
        let limit = u32::try_from(number("limit", limit, 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT)).unwrap_or(0);
        let behind = cursor.map(|cursor| place_of(prefix, &cursor)).transpose()?;
        Ok(PageRequest { prefix, limit, behind })
    }

    /// Returns the number of items to read: one more than is shown, to know whether another page follows.
    pub(crate) fn to_read(&self) -> u32 {
        self.limit + 1
    }

    /// Cuts the items to the page, and returns the cursor of the next page. `place` returns the time and the id of an item.
    pub(crate) fn cut<T>(&self, read: &mut Vec<T>, place: impl FnOnce(&T) -> (Millis, &str)) -> Option<String> {
        let more = read.len() > self.limit as usize;
        read.truncate(self.limit as usize);
        let (created_at, id) = place(read.last().filter(|_| more)?);
        Some(URL_SAFE_NO_PAD.encode(format!("{}{created_at}#{id}", self.prefix)))
    }
}

fn place_of(prefix: &str, cursor: &str) -> Result<ListPosition, HttpProblem> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let (created_at, run) = text.strip_prefix(prefix)?.split_once('#')?;
        Some(ListPosition { created_at: created_at.parse().ok()?, run: RunId::parse(run).ok()? })
    };
    read().ok_or_else(|| HttpProblem::bad_request("bad_cursor", "`cursor` is not one of this listing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cursors_of_this_listing_are_read() {
        let place = place_of("runs:", &URL_SAFE_NO_PAD.encode("runs:1764000000000#run-00000001")).unwrap();
        assert_eq!((place.created_at, place.run.as_str()), (1_764_000_000_000, "run-00000001"));
        for bad in ["batches:1#run-00000001", "runs:x#run-00000001", "runs:1#../x", "runs:1", ""] {
            assert_eq!(place_of("runs:", &URL_SAFE_NO_PAD.encode(bad)).unwrap_err().code, "bad_cursor", "{bad}");
        }
        assert_eq!(place_of("runs:", "%%%").unwrap_err().code, "bad_cursor");
    }

    #[test]
    fn the_last_page_has_no_next_and_the_others_go_on_behind_what_they_show() {
        let page = PageRequest { prefix: "batches:", limit: 2, behind: None };
        fn place<'a>(one: &'a (Millis, &'static str)) -> (Millis, &'a str) {
            *one
        }
        let all = [(3, "run-00000003"), (2, "run-00000002"), (1, "run-00000001")];
        let (mut last, mut more) = (all[..2].to_vec(), all.to_vec());
        assert_eq!((page.cut(&mut last, place), last.len()), (None, 2));
        let next = page.cut(&mut more, place).unwrap();
        assert_eq!((more.len(), place_of("batches:", &next).unwrap().run.as_str()), (2, "run-00000002"));
    }
}
