//! `fresco clean`: removes old results before their lifecycle does, in the stack and, with `--out`, in a local folder. It does not
//! ask for confirmation; `--dry-run` shows what it would remove.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use fresco_api_types::{CleanBody, CleanTotals, CleanView};
use fresco_cli::api::Api;
use fresco_cli::local_outputs::{OldFolders, OutFolder};
use fresco_cli::view;
use serde_json::json;

use super::age::Age;
use super::output::Output;
use super::{CommandError, EXIT_INPUT, EXIT_RUN, Target, stack};

/// The time to wait for a run that is being planned.
const PLANNED_WITHIN: Duration = Duration::from_secs(120);
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The time between lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct CleanArgs {
    /// The least age of what is removed: `3d`, `12h`, `90m`; an hour at least.
    #[arg(long, value_name = "AGE")]
    older_than: String,
    /// Show what would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
    /// Also remove the old folders of runs and batches under this folder, such as `out`. Other files stay.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) async fn clean(output: &Output, target: &Target, args: CleanArgs) -> Result<(), CommandError> {
    let wrong = |code: &str, message: String| {
        output.error(code, &message);
        CommandError::Code(EXIT_INPUT)
    };
    let age = args.older_than.parse::<Age>().map_err(|error| wrong("bad_age", error.to_string()))?;
    // Listed first: a folder that cannot be read is an error before anything is removed.
    let folders = args.out.as_deref().map(OutFolder::list).transpose();
    let folders = folders.map_err(|error| wrong("bad_folder", error.to_string()))?;
    let connection = stack::connect_default(output, target).await?;
    let CleanView { totals: cleaned, planning, .. } = clean_stack(output, &connection.api, age, args.dry_run).await?;
    let before = SystemTime::now().checked_sub(age.duration()).unwrap_or(SystemTime::UNIX_EPOCH);
    let folders = folders.map(|folders| folders.remove_old(before, args.dry_run));
    let outcome = view::clean::Outcome {
        age: &args.older_than,
        dry_run: args.dry_run,
        planning,
        cleaned: &cleaned,
        folders: folders.as_ref(),
    };
    let object = json!({
        "event": "cleaned",
        "dry_run": args.dry_run,
        "older_than_ms": age.millis(),
        "planning": planning,
        "cleaned": cleaned,
        "folders": folders,
    });
    output.result(|| Some(view::clean::of(&outcome)), &object);
    complete(output, folders.as_ref())
}

/// Cleans the stack up. A run that is being planned is waited for first.
async fn clean_stack(output: &Output, api: &Api, age: Age, dry_run: bool) -> Result<CleanView, CommandError> {
    let latest = Mutex::new((Instant::now(), CleanTotals::default()));
    let progress = |totals: &CleanTotals| {
        let Ok(mut latest) = latest.lock() else { return };
        latest.1 = *totals;
        if latest.0.elapsed() >= PROGRESS_EVERY {
            latest.0 = Instant::now();
            output.progress(&view::clean::progress(totals));
        }
    };
    let deadline = Instant::now() + PLANNED_WITHIN;
    let mut waited = false;
    loop {
        let while_planning = Instant::now() >= deadline;
        let body = CleanBody { older_than_ms: age.millis(), dry_run, while_planning, cursor: None };
        let cleaned = api.clean(body, progress).await.inspect_err(|_| {
            // What was removed before the failure stays removed.
            if let Ok(latest) = latest.lock() {
                output.progress(&view::clean::progress(&latest.1));
            }
        })?;
        if !cleaned.planning || while_planning || cleaned.totals != CleanTotals::default() {
            return Ok(cleaned);
        }
        if !waited {
            output.progress(
                "a run is being planned, and any old result may be a hit of it; waiting for two minutes at most",
            );
            waited = true;
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

/// Reports the folders that could not be removed, which is a failure.
fn complete(output: &Output, folders: Option<&OldFolders>) -> Result<(), CommandError> {
    let failed = folders.map_or(&[][..], |folders| &folders.failed);
    for left in failed {
        output.error("Folder.NotRemoved", &format!("{}: {}", left.folder.display(), left.reason));
    }
    if failed.is_empty() { Ok(()) } else { Err(CommandError::Code(EXIT_RUN)) }
}
