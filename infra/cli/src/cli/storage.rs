//! `fresco storage`: the contents of the stack's bucket.

use std::cell::Cell;

use fresco_cli::view;
use serde_json::json;

use super::output::Output;
use super::{CommandError, Target, stack};

/// The number of objects between two lines of progress.
const SAID_EVERY: u64 = 10_000;

pub(super) async fn storage(output: &Output, target: &Target) -> Result<(), CommandError> {
    let kept = stack::kept(output, target).await?;
    let admin = &kept.admin;
    let said = Cell::new(0);
    let progress = |objects: u64| {
        if objects / SAID_EVERY > said.replace(objects / SAID_EVERY) {
            output.progress(&format!("{objects} objects so far"));
        }
    };
    let inventory = admin.inventory(progress).await?;
    output.result(|| Some(view::storage::of(&inventory)), &json!({"event": "storage", "storage": inventory}));
    Ok(())
}
