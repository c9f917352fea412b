//! `fresco schedules`: the schedules with their last and next firings.

use fresco_cli::view;
use serde_json::json;

use super::output::Output;
use super::{CommandError, Target, stack};

pub(super) async fn schedules(output: &Output, target: &Target) -> Result<(), CommandError> {
    let connection = stack::connect_default(output, target).await?;
    let page = connection.api.schedules().await?;
    let text = || Some(view::schedules::of(&page.schedules, fresco_cli::clock::now()));
    output.result(text, &json!({"event": "schedules", "schedules": page.schedules}));
    Ok(())
}
