//! `fresco fetch`, and what is said of outputs that could not be brought.

use std::path::Path;

use fresco_cli::api::{Saved, check_folder, save_in};
use fresco_cli::view::plural;
use fresco_pipeline::status::RunStatus;
use serde_json::{Value, json};

use super::output::Output;
use super::{EXIT_INPUT, EXIT_RUN, Ended, Place, stack, status};

pub(super) async fn fetch(output: &Output, place: &Place, run: &str, to: &Path) -> Result<(), Ended> {
    let run = status::parse(output, run)?;
    check_folder(to, &run).map_err(|error| {
        output.error("bad_folder", &error.to_string());
        Ended::Code(EXIT_INPUT)
    })?;
    let asked = stack::asked_plainly(output, place).await?;
    let view = asked.api.run(&run).await?;
    if view.run.status == RunStatus::Running {
        let message = format!("run {run} still goes on; `cargo fresco status {run}` shows how far it is");
        output.error("Run.NotEnded", &message);
        return Err(Ended::Code(EXIT_RUN));
    }
    let manifest = asked.api.manifest(&view).await?;
    let saved = save_in(&asked.api, &view, &manifest, to).await.map_err(|error| not_saved(output, &error))?;
    let fetched = saved.files.iter().filter(|file| file.fetched).count();
    let text = || {
        let there = match saved.files.len() - fetched {
            0 => String::new(),
            there => format!(" ({there} there already)"),
        };
        Some(format!("{} brought{there}: {}/index.html", plural(fetched, "file"), to.display()))
    };
    let mut object = object(&saved);
    object["event"] = json!("fetched");
    object["run_id"] = json!(run);
    object["fetched"] = json!(fetched);
    output.result(text, &object);
    complete(output, &saved)
}

/// What `--json` says of saved outputs.
pub(super) fn object(saved: &Saved) -> Value {
    let files: Vec<&str> = saved.files.iter().map(|file| file.name.as_str()).collect();
    json!({"event": "saved", "folder": saved.folder, "files": files, "missing": saved.missing})
}

/// Says what could not be brought; no success where there is something.
pub(super) fn complete(output: &Output, saved: &Saved) -> Result<(), Ended> {
    for missing in &saved.missing {
        output.error("Output.Missing", &missing.to_string());
    }
    if saved.missing.is_empty() { Ok(()) } else { Err(Ended::Code(EXIT_RUN)) }
}

/// Says that nothing more could be brought.
pub(super) fn not_saved(output: &Output, error: &impl std::fmt::Display) -> Ended {
    output.error("Output.NotSaved", &error.to_string());
    Ended::Code(EXIT_RUN)
}
