//! The measurements as a section of a README.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use anyhow::Context;
use fresco_cli::view::duration;
use fresco_cli::view::table::{Align, layout};
use fresco_pipeline::catalogue::{self, StepType};

use super::Costs;
use super::batch_ends::Invocation;
use super::batches::{COUNTED_ROWS, WORKERS};
use super::counts::{Counts, Operation};
use super::prices::Bill;
use super::steps::STEPS;

const ZERO: &str = "·";
const MEBIBYTE: f64 = 1_048_576.0;
/// The cheapest model of the catalogue for pictures, for comparison.
const CHEAPEST: &str = "flux_schnell";
const HEAD: [&str; 7] = ["a run", "a miss", "a join", "a cached run", "a hit", "a row, miss", "a row, hit"];
const BEGIN: &str = "<!-- cost: begin. Written by `cargo run -p fresco-tests --bin cost -- --release --write`. -->\n";
const END: &str = "<!-- cost: end -->\n";

/// Replaces the section of a README that lies between the markers, or appends it.
pub fn replace_section(readme: &str, section: &str) -> anyhow::Result<String> {
    let section = format!("{BEGIN}\n{section}\n{END}");
    let Some((before, rest)) = readme.split_once(BEGIN) else {
        return Ok(format!("{readme}\n## What it costs\n\n{section}"));
    };
    let (_, after) = rest.split_once(END).context("the section of costs has no end marker")?;
    Ok(format!("{before}{section}{after}"))
}

impl Costs {
    /// The columns of the tables of requests and prices: counts, and by how many they are divided.
    fn columns(&self) -> [(&Counts, usize); 7] {
        let (steps, rows) = (&self.steps, &self.rows);
        [
            (&steps.run, 1),
            (&steps.misses, STEPS),
            (&steps.joins, STEPS),
            (&steps.cached_run, 1),
            (&steps.hits, STEPS),
            (&rows.misses, COUNTED_ROWS),
            (&rows.hits, COUNTED_ROWS),
        ]
    }
}

impl Display for Costs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let columns = self.columns();
        let bills = columns.map(|(counts, of)| (Bill::of(counts), of));
        let each = |of: [usize; 2]| {
            let nanos: f64 = of.map(|column| bills[column].0.total() as f64 / STEPS as f64).iter().sum();
            format!("${:.6}", nanos / 1e9)
        };
        let price = catalogue::find(StepType::TextToImage, CHEAPEST).map(|model| model.price.list.to_string());
        write!(
            f,
            "Measured on {}, with simulated providers. Counts are the same on every machine; times are bounded by the\n\
             emulator, which answers some 1,300 requests a second.\n\n\
             AWS's prices in dollars a million, from list prices of us-east-1 without free tiers:\n\n{}\n\
             Not included: storage, transfer, logs, the expiry of objects (an event each), the sweep (one invocation a minute) and\n\
             the distributed map's own requests to S3. With its share of a run of {STEPS} steps, a miss costs {} and a hit {}; the\n\
             cheapest picture ({CHEAPEST}) costs {}.\n\n\
             Requests of the stack:\n\n{}\n\
             A run is counted without its steps, which are side by side in one stage; a row includes its share of its chunk and of a\n\
             batch of {COUNTED_ROWS} rows. The start through the API is included. A join is a step that waits for the attempt of\n\
             another run. State transitions are computed from `run.asl.json` and `batch.asl.json`.\n\n\
             Runs whose steps are all cached (the median of several), and the notification of the steps that wait for one result:\n\n\
             {}\n{}\n\
             Batches: planning and finalization, each one invocation of the batch function in a new process, with the most memory\n\
             that it had resident:\n\n{}\n\
             Batches: {} rows at the providers' typical durations, in chunks one after the other, {WORKERS} rows at a time, against\n\
             the best schedule of the same durations; and batches with providers that answer at once, four chunks at a time:\n\n\
             {}\n{}",
            self.environment,
            block(&HEAD, &prices(&bills)),
            each([0, 1]),
            each([3, 4]),
            price.unwrap_or_default(),
            block(&HEAD, &requests(&columns)),
            self.cached_runs(),
            self.notifications(),
            self.batch_ends(),
            self.wall_time.rows,
            self.wall_time(),
            self.throughput(),
        )
    }
}

impl Costs {
    fn cached_runs(&self) -> String {
        let rows = self.cached_runs.iter().map(|one| {
            let (reads, writes) = one.counts.units();
            let requests = one.counts.requests_to("dynamodb", |_| true) + one.counts.requests_to("s3", |_| true);
            vec![
                one.steps.to_string(),
                duration(one.run_ms),
                duration(one.plan_ms),
                requests.to_string(),
                number(reads as f64 / 2.0),
                writes.to_string(),
            ]
        });
        let head = ["run", "plan function", "requests to S3 and DynamoDB", "read units", "write units"];
        named_block("cached steps", &head, &rows.collect::<Vec<_>>())
    }

    fn notifications(&self) -> String {
        let rows = self.notifications.iter();
        let rows = rows.map(|one| vec![one.waiters.to_string(), duration(one.first_ms), duration(one.last_ms)]);
        named_block("waiters", &["first notified after", "last notified after"], &rows.collect::<Vec<_>>())
    }

    fn batch_ends(&self) -> String {
        let line = |name: &str, rows: usize, one: &Invocation| {
            let s3 = |names: &[&str]| one.counts.requests_to("s3", |name| names.contains(&name)).to_string();
            vec![
                name.to_owned(),
                rows.to_string(),
                mebibytes(one.bytes as u64),
                duration(one.took_ms),
                one.peak_bytes.map_or_else(|| "unknown".to_owned(), mebibytes),
                s3(&["GetObject"]),
                s3(&["PutObject"]),
                s3(&["POST", "POST bucket"]),
                one.counts.requests_to("dynamodb", |_| true).to_string(),
            ]
        };
        let ends = &self.batch_ends;
        let plans = ends.iter().map(|one| line("plan", one.rows, &one.plan));
        let rows: Vec<_> = plans.chain(ends.iter().map(|one| line("finalize", one.rows, &one.finalize))).collect();
        block(&["rows", "input", "took", "peak memory", "S3 GET", "S3 PUT", "S3 POST", "DynamoDB"], &rows)
    }

    fn wall_time(&self) -> String {
        let wall = &self.wall_time;
        let times = [wall.best_ms, wall.pauses_ms, wall.took_ms].map(duration);
        let mut row = vec![wall.rows.to_string()];
        row.extend(times);
        row.push(number(wall.ratio()));
        named_block("rows", &["best schedules", "pauses", "took", "ratio"], &[row])
    }

    fn throughput(&self) -> String {
        let rows = self.throughput.iter().map(|one| {
            let a_second = one.rows as f64 * 1_000.0 / one.took_ms.max(1) as f64;
            let name = if one.cached { "all cached" } else { "all generated" };
            vec![name.to_owned(), one.rows.to_string(), duration(one.took_ms), format!("{a_second:.1}")]
        });
        block(&["rows", "took", "rows a second"], &rows.collect::<Vec<_>>())
    }
}

fn prices(bills: &[(Bill, usize)]) -> Vec<Vec<String>> {
    let dollars = |nanos: i64, of: usize| match nanos {
        0 => ZERO.to_owned(),
        // A nano-dollar each is a thousandth of a dollar a million.
        _ => format!("{:.2}", nanos as f64 / of as f64 / 1_000.0),
    };
    let Some((first, _)) = bills.first() else { return Vec::new() };
    let parts = first
        .0
        .iter()
        .enumerate()
        .map(|(part, (name, _))| row(name, bills.iter().map(|(bill, of)| dollars(bill.0[part].1, *of))));
    parts.chain([row("sum", bills.iter().map(|(bill, of)| dollars(bill.total(), *of)))]).collect()
}

/// A row for each kind of request that any of the columns has.
fn requests(columns: &[(&Counts, usize)]) -> Vec<Vec<String>> {
    let line = |name: &str, value: &dyn Fn(&Counts) -> i64| {
        row(name, columns.iter().map(|(counts, of)| number(value(counts) as f64 / *of as f64)))
    };
    let operations: BTreeSet<&Operation> = columns.iter().flat_map(|(counts, _)| counts.requests.keys()).collect();
    let functions: BTreeSet<&String> = columns.iter().flat_map(|(counts, _)| counts.functions.keys()).collect();
    let of = |service: &'static str| {
        let operations = operations.iter().filter(move |operation| operation.service == service);
        operations.map(|&one| line(&name_of(one), &|counts| counts.requests.get(one).map_or(0, |tally| tally.count)))
    };
    let mut rows: Vec<Vec<String>> = of("dynamodb").collect();
    let halves = columns.iter().map(|(counts, of)| number(counts.units().0 as f64 / 2.0 / *of as f64));
    rows.push(row("  read request units", halves));
    rows.push(line("  write request units", &|counts| counts.units().1));
    rows.extend(of("s3").chain(of("states")));
    rows.push(line("  state transitions", &|counts| counts.transitions));
    rows.extend(of("lambda"));
    for function in functions {
        let calls = |counts: &Counts| counts.functions.get(function).map_or(0, |calls| calls.count);
        rows.push(line(&format!("  invocations of {function}"), &calls));
    }
    rows.extend(of("apigateway").chain(of("events")));
    // A rest of retries that rounds to 0 is no cost of a step.
    rows.retain(|row| row.iter().skip(1).any(|cell| cell != ZERO));
    rows
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(cells).collect()
}

/// A table whose first column has no name.
fn block(head: &[&str], rows: &[Vec<String>]) -> String {
    table(("", Align::Left), head, rows)
}

/// A table of numbers.
fn named_block(first: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    table((first, Align::Right), head, rows)
}

fn table(first: (&str, Align), head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<_> = std::iter::once(first).chain(head.iter().map(|name| (*name, Align::Right))).collect();
    format!("```text\n{}```\n", layout(&head, rows))
}

/// A request in the words of AWS, with the kind of its record.
fn name_of(operation: &Operation) -> String {
    let (of, refused) = match operation.of.split_once(" refused") {
        Some((of, _)) => (of, ", refused"),
        None => (operation.of.as_str(), ""),
    };
    let service = match operation.service.as_str() {
        "dynamodb" => "DynamoDB",
        "s3" => "S3",
        "states" => "Step Functions",
        "lambda" => "Lambda",
        "apigateway" => "HTTP API",
        "events" => "EventBridge",
        other => other,
    };
    let of = match (operation.service.as_str(), operation.name.as_str(), of) {
        ("dynamodb", "TransactWriteItems", "1") => " of 1 item".to_owned(),
        ("dynamodb", "TransactWriteItems", items) => format!(" of {items} items"),
        ("dynamodb", _, record) => format!(" {}", record_name(record)),
        ("s3", _, folder) if !folder.is_empty() => format!(" {folder}/"),
        _ => String::new(),
    };
    format!("{service} {}{of}{refused}", operation.name)
}

/// A kind of record, by the beginning of its sort key.
fn record_name(sort_key: &str) -> &str {
    match sort_key {
        "B" => "batch",
        "E" => "entry",
        "L" => "list",
        "P" => "pipeline",
        "A" => "attempt",
        "W" => "waiter",
        "J" => "job",
        "R" => "run",
        "S" => "step",
        other => other,
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MEBIBYTE)
}

/// A number with at most two decimal places.
fn number(value: f64) -> String {
    let hundredths = (value * 100.0).round();
    if hundredths == 0.0 {
        ZERO.to_owned()
    } else if hundredths % 100.0 == 0.0 {
        format!("{:.0}", hundredths / 100.0)
    } else {
        format!("{:.2}", hundredths / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch_ends::BatchEnds;
    use super::super::batches::{RowCosts, Throughput, WallTime};
    use super::super::counts::tests::counts;
    use super::super::steps::StepCosts;
    use super::super::times::Notification;
    use super::*;

    fn costs() -> Costs {
        let invocation = |bytes, took_ms, counts| Invocation { bytes, took_ms, peak_bytes: Some(40 << 20), counts };
        let finalize = counts(&[("s3", "GetObject", "batches", 1_000, 0, 0), ("s3", "POST bucket", "", 1, 0, 0)]);
        Costs {
            environment: "2 cores, dev builds of the functions, MiniStack 1".into(),
            steps: StepCosts {
                run: Counts::default(),
                misses: counts(&[("s3", "GetObject", "outputs", 0, 0, 0), ("s3", "PutObject", "outputs", 10, 0, 0)]),
                joins: Counts::default(),
                cached_run: Counts::default(),
                hits: counts(&[("s3", "HeadObject", "outputs", 10, 0, 0)]),
            },
            rows: RowCosts { misses: Counts::of_transitions(293), hits: Counts::of_transitions(53) },
            cached_runs: Vec::new(),
            notifications: vec![Notification { waiters: 1_000, first_ms: 20, last_ms: 1_500 }],
            batch_ends: vec![BatchEnds {
                rows: 10_000,
                plan: invocation(2 << 20, 4_000, Counts::default()),
                finalize: invocation(3 << 20, 1_000, finalize),
            }],
            wall_time: WallTime { rows: 60, best_ms: 54_000, pauses_ms: 6_000, took_ms: 66_000 },
            throughput: vec![Throughput { cached: false, rows: 1_000, took_ms: 50_000 }],
        }
    }

    #[test]
    fn the_tables_divide_the_counts_and_leave_out_zeros() {
        let text = costs().to_string();
        let cells = |start: &str| {
            let line = text.lines().map(str::trim).find(|line| line.starts_with(start)).unwrap_or_default();
            line.strip_prefix(start).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(cells("S3 HeadObject outputs/"), "· · · · 1 · ·");
        assert!(!text.contains("S3 GetObject"), "{text}");
        // A created object is a request of S3 and an event.
        assert_eq!(cells("S3, PUT"), "· 5.00 · · · · ·");
        assert_eq!(cells("EventBridge, events"), "· 1.00 · · · · ·");
        assert_eq!(cells("sum"), "· 6.00 · · 0.40 73.25 13.25");
        assert_eq!(cells("state transitions"), "· · · · · 2.93 0.53");
        assert_eq!(cells("plan "), "10000 2.0 MiB 4.0 s 40.0 MiB 0 0 0 0");
        assert_eq!(cells("finalize "), "10000 3.0 MiB 1.0 s 40.0 MiB 1000 0 1 0");
        assert_eq!(cells("all generated"), "1000 50.0 s 20.0");
        assert_eq!(cells("60 "), "54.0 s 6.0 s 1 min 06 s 1.10");
        assert_eq!(cells("1000 "), "20 ms 1.5 s");
    }

    #[test]
    fn only_the_section_between_the_markers_is_replaced() {
        let first = replace_section("# Infra\n", "old").unwrap();
        let readme = format!("{first}\n## More\n");
        let second = replace_section(&readme, "new").unwrap();
        assert_eq!(second, readme.replace("old", "new"));
        assert!(replace_section(BEGIN, "new").is_err());
    }

    #[test]
    fn numbers_have_at_most_two_decimal_places() {
        for (value, text) in [(0.0, "·"), (0.001, "·"), (3.0, "3"), (0.5, "0.50"), (2.999, "3"), (-1.0, "-1")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn requests_are_named_by_service_operation_and_record() {
        for (service, name, of, text) in [
            ("dynamodb", "UpdateItem", "S refused", "DynamoDB UpdateItem step, refused"),
            ("dynamodb", "TransactWriteItems", "4", "DynamoDB TransactWriteItems of 4 items"),
            ("s3", "HeadObject", "outputs", "S3 HeadObject outputs/"),
            ("states", "SendTaskSuccess", "", "Step Functions SendTaskSuccess"),
        ] {
            let operation = Operation { service: service.into(), name: name.into(), of: of.into() };
            assert_eq!(name_of(&operation), text);
        }
    }
}
