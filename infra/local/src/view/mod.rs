//! What a person sees: lines while a run goes on, a table at its end, and the contact sheet.

pub mod bench;
pub mod lines;
pub mod models;
pub mod plan;
pub mod sheet;
pub mod table;

use fresco_ledger::rows::Source;

/// A duration as people read it: `850 ms`, `3.2 s`, `2 min 05 s`.
pub fn duration(millis: i64) -> String {
    match millis {
        ..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{:.1} s", millis as f64 / 1_000.0),
        _ => format!("{} min {:02} s", millis / 60_000, millis / 1_000 % 60),
    }
}

/// `1 step`, `2 steps`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Where a result came from, in a word.
pub const fn source(source: Option<Source>) -> &'static str {
    match source {
        Some(Source::Hit) => "cache",
        Some(Source::Joined) => "joined",
        Some(Source::Generated) => "generated",
        None => "-",
    }
}
