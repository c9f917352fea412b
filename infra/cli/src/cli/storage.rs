//! `fresco storage`.

use std::cell::Cell;

use fresco_cli::view;
use serde_json::json;

use super::output::Output;
use super::{Ended, Place, stack};

/// After so many objects it is said how many it has been; a page of the listing is a thousand at most.
const SAID_EVERY: u64 = 10_000;

pub(super) async fn storage(output: &Output, place: &Place) -> Result<(), Ended> {
    let administered = stack::administered(output, place).await?;
    let admin = &administered.admin;
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
