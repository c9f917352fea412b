//! `fresco clean`: what is old goes before its lifecycle takes it, in the stack and, if asked, in a folder here. It does not
//! ask back: whoever is in doubt has `--dry-run`.

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
use super::{EXIT_INPUT, EXIT_RUN, Ended, Place, stack};

/// How long a run that is being planned is waited for.
const PLANNED_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is said how far it is.
const SAID_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct CleanArgs {
    /// What was written longer ago: `3d`, `12h`, `90m`; an hour at least.
    #[arg(long, value_name = "AGE")]
    older_than: String,
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
    /// Remove the old folders of runs and batches beneath this folder, too, such as `out`. What is none of theirs is left alone.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) async fn clean(output: &Output, place: &Place, args: CleanArgs) -> Result<(), Ended> {
    let wrong = |code: &str, message: String| {
        output.error(code, &message);
        Ended::Code(EXIT_INPUT)
    };
    let age = args.older_than.parse::<Age>().map_err(|error| wrong("bad_age", error.to_string()))?;
    // Listed first: a folder that cannot be read is said before anything is removed.
    let folders = args.out.as_deref().map(OutFolder::beneath).transpose();
    let folders = folders.map_err(|error| wrong("bad_folder", error.to_string()))?;
    let administered = stack::administered(output, place).await?;
    let admin = &administered.admin;
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

/// Waits for runs that are being planned, and says whether one still is.
async fn planning(output: &Output, admin: &StackAdmin) -> Result<bool, Ended> {
    let deadline = Instant::now() + PLANNED_WITHIN;
    let mut said = false;
    while admin.engine().is_planning().await? {
        if Instant::now() >= deadline {
            return Ok(true);
        }
        if !said {
            output.progress(
                "a run is being planned, and what is old may be a hit of its; waiting for it, two minutes at most",
            );
            said = true;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(false)
}

async fn clean_stack(output: &Output, admin: &StackAdmin, which: Which) -> Result<Cleaned, Ended> {
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
        // What went before it failed is gone all the same.
        if let Ok(latest) = latest.lock() {
            output.progress(&view::clean::progress(&latest.1));
        }
    })?)
}

/// Says which folders could not be removed; no success where there is one.
fn complete(output: &Output, folders: Option<&OldFolders>) -> Result<(), Ended> {
    let failed = folders.map_or(&[][..], |folders| &folders.failed);
    for left in failed {
        output.error("Folder.NotRemoved", &format!("{}: {}", left.folder.display(), left.reason));
    }
    if failed.is_empty() { Ok(()) } else { Err(Ended::Code(EXIT_RUN)) }
}
