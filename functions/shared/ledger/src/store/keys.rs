//! The keys of items; the table of them is in the module documentation of [`super`].

use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId, StepRef};

use crate::records::{Millis, StepId};
use crate::table::{Item, Key, PK, text_of};

pub(super) const ENTRY: &str = "E";
pub(super) const RUN: &str = "R";
pub(super) const BATCH: &str = "B";
pub(super) const ENTRY_PREFIX: &str = "K#";
pub(super) const RUN_PREFIX: &str = "R#";
pub(super) const BATCH_PREFIX: &str = "B#";
pub(super) const ATTEMPT_PREFIX: &str = "A#";
pub(super) const WAITER_PREFIX: &str = "W#";
pub(super) const STEP_PREFIX: &str = "S#";

pub(super) fn entry_pk(key: &ContentKey) -> String {
    format!("{ENTRY_PREFIX}{key}")
}

pub(super) fn entry(key: &ContentKey) -> Key {
    Key::new(entry_pk(key), ENTRY)
}

pub(super) fn attempt(key: &ContentKey, attempt: Attempt) -> Key {
    Key::new(entry_pk(key), format!("{ATTEMPT_PREFIX}{:06}", attempt.0))
}

pub(super) fn waiter(key: &ContentKey, step_id: &StepId) -> Key {
    Key::new(entry_pk(key), format!("{WAITER_PREFIX}{}#{}", step_id.run, step_id.step))
}

/// An unreadable entry that was put aside at this time.
pub(super) fn aside(now: Millis) -> String {
    format!("X#{now:015}")
}

pub(super) fn job(provider: ProviderName, request_id: &str) -> Key {
    Key::new(format!("J#{}#{request_id}", provider.as_str()), "J")
}

pub(super) fn run_pk(run: &RunId) -> String {
    format!("{RUN_PREFIX}{run}")
}

pub(super) fn run(run: &RunId) -> Key {
    Key::new(run_pk(run), RUN)
}

pub(super) fn step(run: &RunId, step: &StepRef) -> Key {
    Key::new(run_pk(run), format!("{STEP_PREFIX}{step}"))
}

pub(super) fn batch(id: &RunId) -> Key {
    Key::new(format!("{BATCH_PREFIX}{id}"), BATCH)
}

/// Under the hash of its name, which is the user's text.
pub(super) fn pipeline(name: &str) -> Key {
    Key::new(format!("P#{}", ContentKey::digest(name.as_bytes())), "P")
}

/// Under the hash of the schedule's key, which is the user's text.
pub(super) fn firing(schedule: &str) -> Key {
    Key::new(format!("T#{}", ContentKey::digest(schedule.as_bytes())), "T")
}

pub(super) fn usage() -> Key {
    Key::new("U", "U")
}

pub(super) fn signing_key() -> Key {
    Key::new("V", "V")
}

/// The content key of an entry's partition.
pub(super) fn content_key_of(item: &Item) -> Option<ContentKey> {
    ContentKey::parse(text_of(item, PK)?.strip_prefix(ENTRY_PREFIX)?).ok()
}

/// The id of a run's partition.
pub(super) fn run_id_of(item: &Item) -> Option<RunId> {
    RunId::parse(text_of(item, PK)?.strip_prefix(RUN_PREFIX)?).ok()
}

/// The id of a batch's partition.
pub(super) fn batch_id_of(item: &Item) -> Option<RunId> {
    RunId::parse(text_of(item, PK)?.strip_prefix(BATCH_PREFIX)?).ok()
}
