//! The prefixes of objects that users put into the bucket, and the checks of their keys.

/// The prefix of the inbox.
pub const INBOX: &str = "inbox/";
/// The prefix of reports about objects of the inbox.
pub const INBOX_ERRORS: &str = "inbox-errors/";
/// The prefix of notes about objects of the inbox that wait for others.
pub(crate) const INBOX_WAITING: &str = "inbox-waiting/";
/// The prefix of schedules.
pub const SCHEDULES: &str = "schedules/";
/// The prefix of reports about schedules.
pub const SCHEDULE_ERRORS: &str = "schedule-errors/";
/// The prefix of pipelines that schedules name.
pub const PIPELINES: &str = "pipelines/";
/// The prefix of rows that batches name by key.
pub const ROWS: &str = "rows/";

/// Returns whether the key has no empty, `.` or `..` segment, so that it cannot leave its prefix.
pub(crate) fn is_plain(key: &str) -> bool {
    !key.split('/').any(|segment| matches!(segment, "" | "." | ".."))
}

pub(crate) fn folder(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}
