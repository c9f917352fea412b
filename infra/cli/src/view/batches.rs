//! Batches: the plan, a line of progress, the table at the end, and the list.

use std::collections::BTreeMap;

use fresco_api_types::{BatchManifest, BatchView};
use fresco_pipeline::batch::BatchPlan;
use fresco_pipeline::money::Money;
use fresco_pipeline::rows::RowProblem;
use fresco_pipeline::status::BatchStatus;
use fresco_pipeline::time::Millis;

use super::table::table;
use super::{duration, moment, plural, span};

/// The most problems of rows that are shown; the others are in the results.
const PROBLEMS_SHOWN: usize = 5;

/// The plan of a batch.
pub fn plan(view: &BatchView, plan: &BatchPlan) -> String {
    let mut text = format!("batch {} ({}): {} in {}", view.id, view.name, rows(plan.rows), chunks(plan.chunks));
    text.push_str(&format!(" of {}, {} at a time", plan.chunk_size, plan.max_concurrent_chunks));
    if plan.pause_seconds > 0 {
        text.push_str(&format!(", {} s of pause after each", plan.pause_seconds));
    }
    let about = [
        (plan.bad_rows, "invalid and omitted"),
        (plan.duplicates, "duplicates of an earlier row, which run once"),
        (plan.hits, "in the cache"),
    ];
    let about: Vec<String> = about.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if !about.is_empty() {
        text.push_str(&format!("\n  rows: {}", about.join(", ")));
    }
    let seconds = i64::try_from(plan.expected_seconds).unwrap_or(i64::MAX);
    let takes = seconds.saturating_mul(1_000);
    text.push_str(&format!(
        "\n  at most {}, about {}: until {}",
        plan.price,
        long(takes),
        moment(view.began_at.saturating_add(takes))
    ));
    if let Some(enough) = plan.concurrency_for_an_hour {
        text.push_str(&format!("; under an hour with --max-concurrent-chunks {enough}"));
    }
    for warning in &plan.warnings {
        text.push_str(&format!("\n  warning: {warning}"));
    }
    for problem in plan.problems.iter().take(PROBLEMS_SHOWN) {
        text.push_str(&format!("\n  {}", row_problem(problem)));
    }
    let shown = u64::try_from(plan.problems.len().min(PROBLEMS_SHOWN)).unwrap_or(0);
    if plan.bad_rows > shown && shown > 0 {
        text.push_str(&format!("\n  … and {} more, in the results", plan.bad_rows - shown));
    }
    text
}

/// The problem of a row.
pub fn row_problem(problem: &RowProblem) -> String {
    let RowProblem { row, column, code, message, advice, .. } = problem;
    let column = if column.is_empty() { String::new() } else { format!(", column `{column}`") };
    format!("row {row}{column}: {code}: {}. {advice}", message.trim_end_matches('.'))
}

/// The progress of a batch, in a line.
pub fn progress(view: &BatchView, now: Millis) -> String {
    let Some(plan) = view.plan.as_ref().filter(|_| view.status != BatchStatus::Planning) else {
        return format!("{}: reading and pricing the rows", status_text(view.status));
    };
    let counts = &view.counts;
    let decided = counts.done + counts.failed + counts.bad;
    let mut parts = vec![format!("{decided} of {}", rows(plan.rows))];
    if decided > 0 {
        parts.push(format!("{} a second", rate(view.rows_per_second)));
    }
    if counts.hits > 0 {
        parts.push(format!("{} from the cache", counts.hits));
    }
    if counts.failed > 0 {
        parts.push(format!("{} failed", counts.failed));
    }
    if counts.bad > 0 {
        parts.push(format!("{} omitted", counts.bad));
    }
    parts.push(format!("{} spent", counts.spent));
    match (view.stopping, view.expected_end) {
        (true, _) => parts.push("stopping".to_owned()),
        (false, _) if decided >= plan.rows => parts.push("merging the results".to_owned()),
        (false, Some(end)) => parts.push(format!("about {} left", long((end - now).max(0)))),
        (false, None) => {}
    }
    format!("  {}", parts.join(", "))
}

/// The outcome of a stop.
pub fn stopped(view: &BatchView) -> String {
    let (id, spent) = (&view.id, view.counts.spent);
    if view.status.is_final() {
        return format!("batch {id} has ended ({}): {spent} spent.", status_text(view.status));
    }
    let done = rows(view.counts.done);
    format!("batch {id} is being stopped: no further chunk starts. {done} done and kept. {spent} spent so far.")
}

/// The table at the end of a batch, with its sums and failures.
pub fn ended(manifest: &BatchManifest) -> String {
    let of = |counted: &BTreeMap<String, u64>, name: &str| counted.get(name).copied().unwrap_or(0);
    let kinds = [
        ("generated", of(&manifest.by_source, "generated")),
        ("joined", of(&manifest.by_source, "joined")),
        ("from the cache", of(&manifest.by_source, "hit")),
        ("failed", of(&manifest.by_status, "failed")),
        ("invalid", of(&manifest.by_status, "bad")),
        ("not run", of(&manifest.by_status, "not_run")),
    ];
    let mut text = String::new();
    // A batch that could not be planned has no rows.
    if manifest.rows > 0 {
        let all = ("all", manifest.rows);
        let shown = kinds.iter().filter(|(_, count)| *count > 0).chain([&all]);
        text = table(shown).left("rows", |(kind, _)| (*kind).to_owned()).right("count", |(_, n)| n.to_string()).text()
            + "\n";
    }
    text.push_str(&format!(
        "batch {} ({}): {} in {}: {} spent, {} saved by the cache.\n",
        manifest.batch_id,
        manifest.name,
        status_text(manifest.status),
        long((manifest.ended_at - manifest.created_at).max(0)),
        Money::micros(manifest.spent),
        Money::micros(manifest.saved),
    ));
    if let Some([half, most, nearly_all, longest]) = manifest.took_ms.map(|took| took.map(duration)) {
        text.push_str(&format!(
            "A generated row took at most {half} (50 of 100), {most} (90), {nearly_all} (99), {longest} (all).\n"
        ));
    }
    if !manifest.by_failure.is_empty() {
        let mut why: Vec<(&String, &u64)> = manifest.by_failure.iter().collect();
        why.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let why: Vec<String> = why.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        text.push_str(&format!("Failures of rows: {}.\n", why.join(", ")));
    }
    if let Some(failure) = &manifest.failure {
        text.push_str(&format!("{}: {}\n", failure.name, failure.message));
    }
    text
}

/// The table of batches.
pub fn list(batches: &[BatchView], now: Millis) -> String {
    if batches.is_empty() {
        return "No batches yet.".to_owned();
    }
    table(batches)
        .left("batch", |batch| batch.id.clone())
        .left("pipeline", |batch| batch.name.clone())
        .left("status", |batch| status_text(batch.status).to_owned())
        .right("rows", |batch| batch.plan.as_ref().map_or_else(|| "-".to_owned(), |plan| plan.rows.to_string()))
        .right("done", |batch| batch.counts.done.to_string())
        .right("failed", |batch| batch.counts.failed.to_string())
        .right("took", |batch| long((batch.ended_at.unwrap_or(now) - batch.created_at).max(0)))
        .right("cost", |batch| batch.counts.spent.to_string())
        .text()
}

/// A batch's status in a word.
pub const fn status_text(status: BatchStatus) -> &'static str {
    match status {
        BatchStatus::Planning => "planning",
        BatchStatus::Running => "running",
        BatchStatus::Succeeded => "succeeded",
        BatchStatus::Partial => "partial",
        BatchStatus::Failed => "failed",
        BatchStatus::Stopped => "stopped",
    }
}

fn rows(count: u64) -> String {
    plural(usize::try_from(count).unwrap_or(usize::MAX), "row")
}

fn chunks(count: u32) -> String {
    plural(count as usize, "chunk")
}

/// Formats a time of seconds up to days.
fn long(millis: Millis) -> String {
    if millis < 7_200_000 { duration(millis) } else { span(millis) }
}

/// Formats a rate with two significant digits: `340`, `3.4`, `0.03`.
fn rate(per_second: f64) -> String {
    let digits = match per_second {
        rate if rate >= 10.0 => 0,
        rate if rate >= 1.0 => 1,
        _ => 2,
    };
    format!("{per_second:.digits$}")
}

#[cfg(test)]
mod tests {
    use fresco_pipeline::batch::BatchCounts;
    use fresco_pipeline::error::{ErrorName, Failure};

    use super::*;

    /// 2026-11-25T08:00:00Z
    const NOW: Millis = 1_795_593_600_000;

    fn problem(row: u64, column: &str) -> RowProblem {
        RowProblem {
            row,
            id: None,
            column: column.to_owned(),
            code: "wrong_type".to_owned(),
            message: "it is a list".to_owned(),
            advice: "Write a text.".to_owned(),
        }
    }

    fn batch() -> BatchView {
        BatchView {
            id: "20261125t075500-4f2a9c0b17".to_owned(),
            name: "one-image".to_owned(),
            status: BatchStatus::Running,
            stopping: false,
            created_at: NOW,
            began_at: NOW,
            ended_at: None,
            plan: Some(BatchPlan {
                tolerated: None,
                export: None,
                rows: 1_000,
                bad_rows: 8,
                duplicates: 12,
                hits: 40,
                chunks: 20,
                chunk_size: 50,
                max_concurrent_chunks: 2,
                pause_seconds: 1,
                price: Money::micros(3_970_000),
                expected_seconds: 4_500,
                concurrency_for_an_hour: Some(3),
                warnings: vec!["`chunk_size` is 50; at most 20 are recommended".to_owned()],
                problems: (1..=8).map(|row| problem(row, if row == 1 { "input" } else { "" })).collect(),
            }),
            counts: BatchCounts {
                chunks: 2,
                done: 98,
                failed: 2,
                bad: 0,
                hits: 10,
                spent: Money::micros(264_000),
                saved: Money::micros(30_000),
            },
            running_chunks: 2,
            rows_per_second: 3.421,
            expected_end: Some(NOW + 260_000),
            failure: None,
        }
    }

    #[test]
    fn the_plan_shows_sizes_prices_and_problems() {
        let view = batch();
        let text = plan(&view, view.plan.as_ref().unwrap());
        let expected = "\
batch 20261125t075500-4f2a9c0b17 (one-image): 1000 rows in 20 chunks of 50, 2 at a time, 1 s of pause after each
  rows: 8 invalid and omitted, 12 duplicates of an earlier row, which run once, 40 in the cache
  at most $3.97, about 75 min 00 s: until 2026-11-25 09:15 UTC; under an hour with --max-concurrent-chunks 3
  warning: `chunk_size` is 50; at most 20 are recommended
  row 1, column `input`: wrong_type: it is a list. Write a text.
  row 2: wrong_type: it is a list. Write a text.
  row 3: wrong_type: it is a list. Write a text.
  row 4: wrong_type: it is a list. Write a text.
  row 5: wrong_type: it is a list. Write a text.
  … and 3 more, in the results";
        assert_eq!(text, expected);
        let redriven = BatchView { began_at: NOW + 3_600_000, ..view.clone() };
        let text = plan(&redriven, view.plan.as_ref().unwrap());
        assert!(text.contains("until 2026-11-25 10:15 UTC"), "from the time of the redrive: {text}");
        let plain = BatchPlan { rows: 1, chunks: 1, chunk_size: 1, max_concurrent_chunks: 1, ..BatchPlan::default() };
        let text = plan(&view, &plain);
        assert!(text.contains("1 row in 1 chunk of 1, 1 at a time\n  at most $0.00"), "{text}");
    }

    #[test]
    fn a_line_shows_the_progress() {
        let view = batch();
        let expected =
            "  100 of 1000 rows, 3.4 a second, 10 from the cache, 2 failed, $0.264 spent, about 4 min 20 s left";
        assert_eq!(progress(&view, NOW), expected);
        let counts = BatchCounts { done: 998, ..view.counts };
        let all = BatchView { counts, ..view.clone() };
        assert!(progress(&all, NOW).ends_with("$0.264 spent, merging the results"));
        let stopping = BatchView { stopping: true, ..view.clone() };
        assert!(progress(&stopping, NOW).ends_with("$0.264 spent, stopping"));
        let started = BatchView { counts: BatchCounts::default(), expected_end: None, ..view.clone() };
        assert_eq!(progress(&started, NOW), "  0 of 1000 rows, $0.00 spent");
        let planning = BatchView { status: BatchStatus::Planning, plan: None, ..view };
        assert_eq!(progress(&planning, NOW), "planning: reading and pricing the rows");
        assert_eq!([340.4, 3.421, 0.034].map(rate), ["340", "3.4", "0.03"]);
    }

    #[test]
    fn the_end_counts_every_row_by_its_outcome() {
        let counts = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let manifest = BatchManifest {
            version: 1,
            batch_id: "batch-0001".to_owned(),
            name: "one-image".to_owned(),
            status: BatchStatus::Stopped,
            created_at: NOW,
            ended_at: NOW + 3 * 3_600_000,
            rows: 1_000,
            by_status: counts(&[("done", 950), ("failed", 12), ("bad", 8), ("not_run", 30)]),
            by_source: counts(&[("generated", 900), ("hit", 50)]),
            by_failure: counts(&[("Provider.Rejected", 12), ("wrong_type", 8)]),
            spent: 2_700_000,
            saved: 150_000,
            took_ms: Some([3_200, 5_000, 61_000, 70_000]),
            failure: Some(Failure::new(ErrorName::RunStopped, "the batch was stopped; what is paid is kept")),
        };
        let expected = "\
rows            count
──────────────  ─────
generated         900
from the cache     50
failed             12
invalid             8
not run            30
all              1000

batch batch-0001 (one-image): stopped in 3 h: $2.70 spent, $0.15 saved by the cache.
A generated row took at most 3.2 s (50 of 100), 5.0 s (90), 1 min 01 s (99), 1 min 10 s (all).
Failures of rows: Provider.Rejected 12, wrong_type 8.
Run.Stopped: the batch was stopped; what is paid is kept
";
        assert_eq!(ended(&manifest), expected);
        let unplanned = BatchManifest {
            rows: 0,
            by_status: counts(&[]),
            by_source: counts(&[]),
            by_failure: counts(&[]),
            took_ms: None,
            ..manifest
        };
        assert!(ended(&unplanned).starts_with("batch batch-0001 (one-image): stopped in 3 h"));
    }

    #[test]
    fn the_list_and_a_stop_are_short() {
        let view = batch();
        let ended = BatchView { status: BatchStatus::Partial, ended_at: Some(NOW + 1_000), ..view.clone() };
        let planning = BatchView { status: BatchStatus::Planning, plan: None, ..view.clone() };
        let text = list(&[planning, ended.clone()], NOW + 65_000);
        assert!(text.contains("planning     -") && text.contains("1 min 05 s"), "{text}");
        assert!(text.contains("partial   1000    98       2       1.0 s  $0.264"), "{text}");
        assert_eq!(list(&[], NOW), "No batches yet.");
        assert!(stopped(&view).contains("98 rows done and kept. $0.264 spent so far."), "{}", stopped(&view));
        assert!(stopped(&ended).contains("has ended (partial)"));
    }
}
