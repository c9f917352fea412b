//! Where users put objects into the bucket, and the form of their keys.

/// Where the inbox is.
pub const INBOX: &str = "inbox/";
/// Where its reports are.
pub const INBOX_ERRORS: &str = "inbox-errors/";
/// Where schedules are.
pub const SCHEDULES: &str = "schedules/";
/// Where reports about them are.
pub const SCHEDULE_ERRORS: &str = "schedule-errors/";
/// Where pipelines lie that schedules name.
pub const PIPELINES: &str = "pipelines/";
/// Where rows lie that batches name by key.
pub const ROWS: &str = "rows/";

/// Whether it names something beneath where it is looked for, and nothing above.
pub(crate) fn is_plain(key: &str) -> bool {
    !key.split('/').any(|segment| matches!(segment, "" | "." | ".."))
}

pub(crate) fn folder(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}
