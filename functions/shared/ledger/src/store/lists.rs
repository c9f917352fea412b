//! The lists of runs and of batches, one partition a month in UTC.

use fresco_pipeline::ids::RunId;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

use super::Store;
use super::items::{bare_item, expiring};
use crate::records::{Millis, RunRecord};
use crate::table::{AttributeValue, Item, Key, Query, SK, Table, text_of};
use crate::traits::{ListPosition, StoreError};

/// Records of runs are kept for 90 days: the month of now and so many before it.
pub(super) const RECORD_MONTHS: u32 = 3;

/// A list of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Runs,
    /// Runs that are chunks of batches.
    Chunks,
    Batches,
}

impl List {
    /// The list that a run is in.
    pub(super) fn of(run: &RunRecord) -> Self {
        if run.chunk.is_some() { List::Chunks } else { List::Runs }
    }

    fn pk(self, month: Month) -> String {
        let list = match self {
            List::Runs => "L",
            List::Chunks => "LC",
            List::Batches => "LB",
        };
        format!("{list}#{month}")
    }

    /// The item that lists a run or a batch.
    pub(super) fn item(self, created_at: Millis, id: &RunId, expires_at: AttributeValue) -> Item {
        let key = Key::new(self.pk(Month::of(created_at)), list_sk(created_at, id));
        expiring(bare_item(key), expires_at)
    }
}

fn list_sk(created_at: Millis, id: &RunId) -> String {
    format!("{:015}#{id}", created_at.max(0))
}

impl<T: Table> Store<T> {
    /// The ids of the newest records of a list, newest first, as far back as records are kept.
    pub(super) async fn newest(
        &self,
        list: List,
        limit: u32,
        after: Option<&ListPosition>,
        now: Millis,
    ) -> Result<Vec<RunId>, StoreError> {
        let mut month = Month::newest(after, now);
        let first = Month::of(now).back(RECORD_MONTHS);
        let mut ids = Vec::new();
        while month >= first && ids.len() < limit as usize {
            let left = limit - u32::try_from(ids.len()).unwrap_or(limit);
            ids.extend(self.listed_in(list, month, left, after).await?);
            month = month.previous();
        }
        Ok(ids)
    }

    /// The ids of all records in the lists, as far back as records are kept.
    pub(super) async fn all_listed(&self, lists: &[List], now: Millis) -> Result<Vec<RunId>, StoreError> {
        let mut month = Month::of(now);
        let mut ids = Vec::new();
        for _ in 0..=RECORD_MONTHS {
            for list in lists {
                ids.extend(self.listed_in(*list, month, u32::MAX, None).await?);
            }
            month = month.previous();
        }
        Ok(ids)
    }

    async fn listed_in(
        &self,
        list: List,
        month: Month,
        limit: u32,
        after: Option<&ListPosition>,
    ) -> Result<Vec<RunId>, StoreError> {
        // After a record of a later month comes the whole month.
        let after = after.filter(|after| Month::of(after.created_at) == month);
        let sk = after.map(|after| list_sk(after.created_at, &after.run));
        let query = Query::Before { pk: list.pk(month), sk };
        self.first_readable(&query, limit, |item| RunId::parse(text_of(item, SK)?.split_once('#')?.1).ok()).await
    }
}

/// A month in UTC, by its first day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Month(Date);

impl Month {
    /// The month of a time; that of 1970 where the calendar does not have the time.
    fn of(time: Millis) -> Self {
        let time = Timestamp::from_millisecond(time).unwrap_or(Timestamp::UNIX_EPOCH);
        Month(Offset::UTC.to_datetime(time).date().first_of_month())
    }

    /// The month in which a page begins. A position after now, which a cursor can name, begins where the list does: each month
    /// until now would be a query.
    fn newest(after: Option<&ListPosition>, now: Millis) -> Self {
        Month::of(after.map_or(now, |after| after.created_at.min(now)))
    }

    fn back(self, months: u32) -> Self {
        (0..months).fold(self, |month, _| month.previous())
    }

    fn previous(self) -> Self {
        Month(self.0.yesterday().unwrap_or(self.0).first_of_month())
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_at_now_at_the_latest() {
        let now = 1_800_000_000_000;
        let position = |created_at| ListPosition { created_at, run: RunId::parse("run-00000001").unwrap() };
        for ahead in [now, now + 1, 253_402_207_199_999, i64::MAX] {
            assert_eq!(Month::newest(Some(&position(ahead)), now), Month::of(now), "{ahead}");
        }
        assert_eq!(Month::newest(None, now), Month::of(now));
        assert_eq!(Month::newest(Some(&position(0)), now), Month::of(0));
    }

    #[test]
    fn months_and_the_months_before_them() {
        for (time, this, before) in [
            (0, "1970-01", "1969-12"),
            (-1, "1969-12", "1969-11"),
            (951_782_399_999, "2000-02", "2000-01"), // 2000-02-28T23:59:59.999Z
            (951_868_799_999, "2000-02", "2000-01"), // 2000-02-29T23:59:59.999Z
            (951_868_800_000, "2000-03", "2000-02"),
            (1_767_225_599_999, "2025-12", "2025-11"), // 2025-12-31T23:59:59.999Z
            (1_767_225_600_000, "2026-01", "2025-12"),
            (4_107_542_400_000, "2100-03", "2100-02"), // no leap day in 2100
            (4_107_542_399_999, "2100-02", "2100-01"),
        ] {
            assert_eq!(Month::of(time).to_string(), this, "{time}");
            assert_eq!(Month::of(time).previous().to_string(), before, "{time}");
        }
    }
}
