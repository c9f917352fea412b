//! `fresco schedules`: what runs by itself, when it did, and when it will.

use fresco_cli::view;
use serde_json::json;

use super::output::Output;
use super::{Ended, Place, stack};

pub(super) async fn schedules(output: &Output, place: &Place) -> Result<(), Ended> {
    let asked = stack::asked_plainly(output, place).await?;
    let page = asked.api.schedules().await?;
    let text = || Some(view::schedules::of(&page.schedules, fresco_cli::clock::now()));
    output.result(text, &json!({"event": "schedules", "schedules": page.schedules}));
    Ok(())
}
