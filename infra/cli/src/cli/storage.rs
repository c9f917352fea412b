//! `fresco storage`.

use std::cell::Cell;

use fresco_cli::view;
use serde_json::json;

use super::output::Output;
use super::{Ended, Place, stack};

/// Progress is printed after so many objects.
const PROGRESS_EVERY: u64 = 10_000;

pub(super) async fn storage(output: &Output, place: &Place) -> Result<(), Ended> {
    let asked = stack::asked_plainly(output, place).await?;
    let printed = Cell::new(0);
    let progress = |objects: u64| {
        if objects / PROGRESS_EVERY > printed.replace(objects / PROGRESS_EVERY) {
            output.progress(&format!("{objects} objects so far"));
        }
    };
    let report = asked.api.storage(progress).await?;
    output.result(|| Some(view::storage::of(&report)), &json!({"event": "storage", "storage": report}));
    Ok(())
}
