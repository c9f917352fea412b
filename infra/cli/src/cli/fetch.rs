//! `fresco fetch`, and the report of outputs that could not be downloaded.

use std::path::Path;

use fresco_cli::api::{Saved, check_folder, save_in};
use fresco_cli::view::plural;
use fresco_pipeline::status::RunStatus;
use serde_json::{Value, json};

use super::output::Output;
use super::{CommandError, EXIT_INPUT, EXIT_RUN, Target, stack, status};

pub(super) async fn fetch(output: &Output, target: &Target, run: &str, to: &Path) -> Result<(), CommandError> {
    let run = status::parse(output, run)?;
    check_folder(to, &run).map_err(|error| {
        output.error("bad_folder", &error.to_string());
        CommandError::Code(EXIT_INPUT)
    })?;
    let connection = stack::connect_default(output, target).await?;
    let view = connection.api.run(&run).await?;
    if view.run.status == RunStatus::Running {
        let message = format!("run {run} is still running; `cargo fresco status {run}` shows its progress");
        output.error("Run.NotEnded", &message);
        return Err(CommandError::Code(EXIT_RUN));
    }
    let manifest = connection.api.manifest(&view).await?;
    let saved = save_in(&connection.api, &view, &manifest, to).await.map_err(|error| not_saved(output, &error))?;
    let fetched = saved.files.iter().filter(|file| file.fetched).count();
    let text = || {
        let there = match saved.files.len() - fetched {
            0 => String::new(),
            there => format!(" ({there} present)"),
        };
        Some(format!("{} downloaded{there}: {}/index.html", plural(fetched, "file"), to.display()))
    };
    let mut object = object(&saved);
    object["event"] = json!("fetched");
    object["run_id"] = json!(run);
    object["fetched"] = json!(fetched);
    output.result(text, &object);
    complete(output, &saved)
}

/// The JSON object of saved outputs.
pub(super) fn object(saved: &Saved) -> Value {
    let files: Vec<&str> = saved.files.iter().map(|file| file.name.as_str()).collect();
    json!({"event": "saved", "folder": saved.folder, "files": files, "missing": saved.missing})
}

/// Reports the outputs that could not be downloaded, and fails if there are any.
pub(super) fn complete(output: &Output, saved: &Saved) -> Result<(), CommandError> {
    for missing in &saved.missing {
        output.error("Output.Missing", &missing.to_string());
    }
    if saved.missing.is_empty() { Ok(()) } else { Err(CommandError::Code(EXIT_RUN)) }
}

/// Reports that the outputs could not be saved.
pub(super) fn not_saved(output: &Output, error: &impl std::fmt::Display) -> CommandError {
    output.error("Output.NotSaved", &error.to_string());
    CommandError::Code(EXIT_RUN)
}
