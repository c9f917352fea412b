//! `fresco storage`: the contents of the stack's bucket.

use std::cell::Cell;

use fresco_cli::view;
use serde_json::json;

use super::output::Output;
use super::{CommandError, Target, stack};

/// Progress is printed after so many objects.
const PROGRESS_EVERY: u64 = 10_000;

pub(super) async fn storage(output: &Output, target: &Target) -> Result<(), CommandError> {
    let connection = stack::connect_default(output, target).await?;
    let printed = Cell::new(0);
    let progress = |objects: u64| {
        if objects / PROGRESS_EVERY > printed.replace(objects / PROGRESS_EVERY) {
            output.progress(&format!("{objects} objects so far"));
        }
    };
    let report = connection.api.storage(progress).await?;
    output.result(|| Some(view::storage::of(&report)), &json!({"event": "storage", "storage": report}));
    Ok(())
}
