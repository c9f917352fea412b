//! `fresco clean`: removes old results before they expire, in the stack and, with `--out`, in a local folder. It asks for no
//! confirmation; `--dry-run` shows what it would remove.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use fresco_cli::storage::{OldFolders, OutFolder, StackAdmin};
use fresco_cli::view;
use fresco_engine::{Cleaned, Which};
use serde_json::json;

use super::age::Age;
use super::output::Output;
use super::{CommandError, EXIT_INPUT, EXIT_RUN, Target, stack};

/// The longest wait for a run that is being planned.
const PLANNED_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The interval of lines of progress.
const SAID_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct CleanArgs {
    /// Remove what was written longer ago: `3d`, `12h`, `90m`; an hour at least.
    #[arg(long, value_name = "AGE")]
    older_than: String,
    /// Only list what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// Remove old folders of runs and batches in this folder, such as `out`, too. Other files and folders are left alone.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) async fn clean(output: &Output, target: &Target, args: CleanArgs) -> Result<(), CommandError> {
    let wrong = |code: &str, message: String| {
        output.error(code, &message);
        CommandError::Code(EXIT_INPUT)
    };
    let age = args.older_than.parse::<Age>().map_err(|error| wrong("bad_age", error.to_string()))?;
    // Listed first, so that an unreadable folder is reported before anything is removed.
    let folders = args.out.as_deref().map(OutFolder::beneath).transpose();
    let folders = folders.map_err(|error| wrong("bad_folder", error.to_string()))?;
    let kept = stack::kept(output, target).await?;
    let admin = &kept.admin;
    let planning = planning(output, admin).await?;
    let which = Which { older_than: age.millis(), dry_run: args.dry_run };
    let cleaned = clean_stack(output, admin, which).await?;
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

/// Waits for runs that are being planned, and returns whether one still is.
async fn planning(output: &Output, admin: &StackAdmin) -> Result<bool, CommandError> {
    let deadline = Instant::now() + PLANNED_WITHIN;
    let mut said = false;
    while admin.engine().is_planning().await? {
        if Instant::now() >= deadline {
            return Ok(true);
        }
        if !said {
            output.progress("waiting for a run that is being planned and may use old results, two minutes at most");
            said = true;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(false)
}

async fn clean_stack(output: &Output, admin: &StackAdmin, which: Which) -> Result<Cleaned, CommandError> {
    let latest = Mutex::new((Instant::now(), Cleaned::default()));
    let progress = |cleaned: &Cleaned| {
        let Ok(mut latest) = latest.lock() else { return };
        latest.1 = *cleaned;
        if latest.0.elapsed() >= SAID_EVERY {
            latest.0 = Instant::now();
            output.progress(&view::clean::progress(cleaned));
        }
    };
    let outcome = admin.engine().clean(which, progress).await;
    Ok(outcome.inspect_err(|_| {
        // Objects that were removed before the failure are reported, too.
        if let Ok(latest) = latest.lock() {
            output.progress(&view::clean::progress(&latest.1));
        }
    })?)
}

/// Reports the folders that could not be removed, and fails if there are any.
fn complete(output: &Output, folders: Option<&OldFolders>) -> Result<(), CommandError> {
    let failed = folders.map_or(&[][..], |folders| &folders.failed);
    for left in failed {
        output.error("Folder.NotRemoved", &format!("{}: {}", left.folder.display(), left.reason));
    }
    if failed.is_empty() { Ok(()) } else { Err(CommandError::Code(EXIT_RUN)) }
}
