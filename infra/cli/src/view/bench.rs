//! What the bench measured, as tables, each with a line that says on what.

mod batches;

use std::collections::BTreeSet;

use fresco_pipeline::catalogue::{self, StepType};

use super::table::{self, Align};
use crate::bench::{BatchEnds, Bill, Counts, Kind, Machine, Outcome};

const NOTHING: &str = "·";
/// What a picture of the catalogue costs at least, for comparison.
const CHEAPEST: &str = "flux_schnell";

/// All tables.
pub fn text(outcome: &Outcome) -> String {
    let on = on(&outcome.machine);
    let steps = outcome.steps.count;
    format!(
        "Requests\n\n{}\n\
         Per run without its steps, and per step: the difference of runs with {steps} and {} steps, side by side in one stage.\n\
         Counted by the emulator; state transitions are the states that infra/run.asl.json enters.\n({on})\n\n\
         Planning\n\n{}\n\
         The middle one of several runs that are all cached: one call of plan.\n({on})\n\n\
         Telling\n\n{}\n\
         From the completed entry until a step has its result; how many requests the emulator answers a second bounds it. The tokens\n\
         are made up: Step Functions is called for each, and answers that it does not know it.\n({on})\n\n\
         AWS bills, in dollars a million\n\n{}\n{}\n\
         The counts above at list prices, us-east-1, without free tiers. EventBridge's events are those that runs and batches tell,\n\
         and S3's, one for each object that is created. Not in it: logs, storage, transfer, the expiry of objects, whose deletion is\n\
         an event as well, and the sweep's one call a minute. Lambda's time is the one measured here, one function at a time.\n({on})\n\n{}",
        requests(outcome),
        2 * steps,
        planning(outcome),
        telling(outcome),
        bills(outcome),
        in_all(outcome),
        batches::text(&outcome.batches, &on),
    )
}

/// How batches are planned and put together, alone.
pub fn ends_of_batches(machine: &Machine, ends: &BatchEnds) -> String {
    batches::ends_text(ends, &on(machine))
}

/// On what it was measured.
fn on(machine: &Machine) -> String {
    let cores = if machine.cores == 1 { "core" } else { "cores" };
    format!("{} {cores}, {} builds of the functions, {}", machine.cores, machine.build, machine.emulator)
}

/// What a step of a run costs with its share of the run, beside what a provider takes.
fn in_all(outcome: &Outcome) -> String {
    let (bills, steps) = (&outcome.bills, outcome.steps.count);
    let dollars = |run: &Bill, all: &Bill| (run.total() + all.total()) as f64 / steps as f64 / 1_000.0;
    let mut text = format!(
        "With their share of a run of {steps}: a miss {:.2}, a hit {:.2}.",
        dollars(&bills.run, &bills.misses),
        dollars(&bills.cached_run, &bills.hits)
    );
    if let Some(model) = catalogue::find(StepType::TextToImage, CHEAPEST) {
        // Micro-dollars each are dollars a million.
        text.push_str(&format!(" The provider takes {} for {CHEAPEST}.", model.price.list));
    }
    text
}

fn requests(outcome: &Outcome) -> String {
    let steps = &outcome.steps;
    let columns: [(&Counts, usize); 5] = [
        (&steps.run, 1),
        (&steps.misses, steps.count),
        (&steps.joins, steps.count),
        (&steps.cached_run, 1),
        (&steps.hits, steps.count),
    ];
    head_and(&lines_of(&columns))
}

/// A line for each kind of request that any of the columns has; a column is counts and by how many they are divided.
fn lines_of(columns: &[(&Counts, usize)]) -> Vec<Vec<String>> {
    let line = |name: &str, value: &dyn Fn(&Counts) -> f64| -> Vec<String> {
        let cells = columns.iter().map(|(counts, of)| number(value(counts) / *of as f64));
        std::iter::once(name.to_owned()).chain(cells).collect()
    };
    let kinds: BTreeSet<&Kind> = columns.iter().flat_map(|(counts, _)| counts.requests.keys()).collect();
    let functions: BTreeSet<&String> = columns.iter().flat_map(|(counts, _)| counts.functions.keys()).collect();
    let count =
        |kind: &Kind| line(&name_of(kind), &|counts| counts.requests.get(kind).map_or(0.0, |tally| tally.count as f64));
    let of = |service: &str| kinds.iter().filter(|kind| kind.service == service).map(|kind| count(kind)).collect();
    let mut rows: Vec<Vec<String>> = of("dynamodb");
    rows.push(line("  read request units", &|counts| counts.units().0 as f64 / 2.0));
    rows.push(line("  write request units", &|counts| counts.units().1 as f64));
    rows.extend::<Vec<_>>(of("s3"));
    rows.extend::<Vec<_>>(of("states"));
    rows.push(line("  state transitions", &|counts| counts.transitions as f64));
    rows.extend::<Vec<_>>(of("lambda"));
    for function in functions {
        let calls = |counts: &Counts| counts.functions.get(function).map_or(0.0, |calls| calls.count as f64);
        rows.push(line(&format!("  invocations of {function}"), &calls));
    }
    rows.extend::<Vec<_>>(of("apigateway"));
    rows.extend::<Vec<_>>(of("events"));
    // What nothing is left of was asked for by chance: retries, an index read anew.
    rows.retain(|row| row.iter().skip(1).any(|cell| cell != NOTHING));
    rows
}

fn bills(outcome: &Outcome) -> String {
    let (bills, steps) = (&outcome.bills, outcome.steps.count);
    let columns: [(&Bill, usize); 5] =
        [(&bills.run, 1), (&bills.misses, steps), (&bills.joins, steps), (&bills.cached_run, 1), (&bills.hits, steps)];
    head_and(&bill_lines(&columns))
}

/// A line for each part of the bills; a column is a bill and by how many it is divided.
fn bill_lines(columns: &[(&Bill, usize)]) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (part, (name, _)) in Bill::default().parts().iter().enumerate() {
        let cells = columns.iter().map(|(bill, of)| dollars(bill.parts()[part].1, *of));
        rows.push(std::iter::once((*name).to_owned()).chain(cells).collect());
    }
    let totals = columns.iter().map(|(bill, of)| dollars(bill.total(), *of));
    rows.push(std::iter::once("all of it".to_owned()).chain(totals).collect());
    rows
}

/// In dollars a million.
fn dollars(nanos: i64, of: usize) -> String {
    // A nano-dollar each is a thousandth of a dollar a million.
    let each = nanos as f64 / of as f64 / 1_000.0;
    if nanos == 0 { NOTHING.to_owned() } else { format!("{each:.2}") }
}

fn head_and(rows: &[Vec<String>]) -> String {
    use Align::{Left, Right};
    let head =
        [("", Left), ("a run", Right), ("a miss", Right), ("a join", Right), ("a cached run", Right), ("a hit", Right)];
    table::layout(&head, rows)
}

fn planning(outcome: &Outcome) -> String {
    use Align::Right;
    let rows = outcome.planning.iter().map(|one| {
        let asked = |service, operation| one.requests.requests_to(service, Some(operation)).to_string();
        let (read_halves, writes) = one.requests.units();
        vec![
            one.steps.to_string(),
            super::duration(one.run_ms),
            super::duration(one.plan_ms),
            asked("dynamodb", "BatchGetItem"),
            asked("s3", "HeadObject"),
            asked("dynamodb", "PutItem"),
            asked("dynamodb", "Query"),
            (one.requests.requests_to("dynamodb", None) + one.requests.requests_to("s3", None)).to_string(),
            number(read_halves as f64 / 2.0),
            writes.to_string(),
        ]
    });
    let head = [
        ("cached steps", Right),
        ("run", Right),
        ("plan", Right),
        ("BatchGetItem", Right),
        ("HeadObject", Right),
        ("PutItem", Right),
        ("Query", Right),
        ("all requests", Right),
        ("read units", Right),
        ("write units", Right),
    ];
    table::layout(&head, &rows.collect::<Vec<_>>())
}

fn telling(outcome: &Outcome) -> String {
    use Align::Right;
    let rows = outcome.telling.iter().map(|one| {
        let all = one.requests.requests.values().map(|tally| tally.count).sum::<i64>();
        vec![
            one.waiters.to_string(),
            super::duration(one.first_ms),
            super::duration(one.last_ms),
            super::duration(one.collect_ms),
            all.to_string(),
            number(all as f64 / one.waiters.max(1) as f64),
            format!("{:.0}", all as f64 * 1_000.0 / one.collect_ms.max(1) as f64),
        ]
    });
    let head = [
        ("waiters", Right),
        ("first told after", Right),
        ("last told after", Right),
        ("collect took", Right),
        ("requests", Right),
        ("per waiter", Right),
        ("per second", Right),
    ];
    table::layout(&head, &rows.collect::<Vec<_>>())
}

/// A request as people call it.
fn name_of(kind: &Kind) -> String {
    let (of, refused) = match kind.of.split_once(" refused") {
        Some((of, _)) => (of, ", refused"),
        None => (kind.of.as_str(), ""),
    };
    let service = match kind.service.as_str() {
        "dynamodb" => "DynamoDB",
        "s3" => "S3",
        "states" => "Step Functions",
        "lambda" => "Lambda",
        "apigateway" => "HTTP API",
        "events" => "EventBridge",
        other => other,
    };
    let of = match (kind.service.as_str(), kind.operation.as_str(), of) {
        ("dynamodb", "TransactWriteItems", "1") => " of 1 item".to_owned(),
        ("dynamodb", "TransactWriteItems", items) => format!(" of {items} items"),
        ("dynamodb", _, row) => format!(" {}", row_name(row)),
        ("s3", _, folder) => format!(" {folder}/"),
        _ => String::new(),
    };
    format!("{service} {}{of}{refused}", kind.operation)
}

/// A kind of row, by the beginning of its sort key.
fn row_name(of: &str) -> &str {
    match of {
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

/// A number with as many places as it needs, two at most.
fn number(value: f64) -> String {
    let hundredths = (value * 100.0).round();
    if hundredths == 0.0 {
        NOTHING.to_owned()
    } else if hundredths % 100.0 == 0.0 {
        format!("{:.0}", hundredths / 100.0)
    } else {
        format!("{:.2}", hundredths / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Bills, Steps, Tally, Transitions};

    #[test]
    fn tables_show_a_step_and_leave_out_what_nothing_is_left_of() {
        let of = |operation: &str, count| {
            let kind = Kind { service: "s3".into(), operation: operation.into(), of: "outputs".into() };
            Counts { requests: [(kind, Tally { count, ..Tally::default() })].into(), ..Counts::default() }
        };
        let (hits, empty) = (of("HeadObject", 10), Counts::default());
        let steps = Steps {
            count: 10,
            transitions: Transitions { cached_run: 3, run: 6, stage: 2, lane: 1, step: 1 },
            run: empty.clone(),
            misses: of("GetObject", 0),
            joins: empty.clone(),
            cached_run: empty,
            hits,
        };
        let none = Bill::default();
        let hits = Bill::of(&steps.hits);
        let misses = Bill::of(&of("PutObject", 10));
        let bills = Bills { run: none, misses, joins: none, cached_run: none, hits };
        let machine = Machine { cores: 1, build: "dev", emulator: "MiniStack 1".into() };
        let batches = super::batches::tests::batches();
        let outcome =
            Outcome { machine, steps, bills, planning: Vec::new(), telling: Vec::new(), batches, seconds: 1.0 };
        let text = text(&outcome);
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        let cells = |start| line(start).split_whitespace().rev().take(5).collect::<Vec<_>>();
        assert_eq!(cells("S3 HeadObject outputs/"), ["1", "·", "·", "·", "·"]);
        assert_eq!(line("S3 GetObject"), "");
        // An object is a request of S3, and an event.
        assert_eq!(cells("S3, PUT"), ["·", "·", "·", "5.00", "·"]);
        assert_eq!(cells("EventBridge, events"), ["·", "·", "·", "1.00", "·"]);
        assert_eq!(cells("all of it"), ["0.40", "·", "·", "6.00", "·"]);
        assert!(text.contains("(1 core, dev builds of the functions, MiniStack 1)"), "{text}");
    }

    #[test]
    fn both_ends_of_batches_have_a_table_alone() {
        let machine = Machine { cores: 2, build: "release", emulator: "MiniStack 1".into() };
        let text = ends_of_batches(&machine, &super::batches::tests::batches().ends);
        let heads = text.lines().filter(|line| line.starts_with("Batches: ")).collect::<Vec<_>>();
        assert_eq!(heads, ["Batches: planning", "Batches: putting together"]);
        assert_eq!(text.matches("(2 cores, release builds of the functions, MiniStack 1)").count(), 2, "{text}");
    }

    #[test]
    fn numbers_have_the_places_they_need() {
        for (value, text) in [(0.0, "·"), (0.001, "·"), (3.0, "3"), (0.5, "0.50"), (2.999, "3"), (-1.0, "-1")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn requests_have_names() {
        for (service, operation, of, name) in [
            ("dynamodb", "UpdateItem", "S refused", "DynamoDB UpdateItem step, refused"),
            ("dynamodb", "TransactWriteItems", "4", "DynamoDB TransactWriteItems of 4 items"),
            ("s3", "HeadObject", "outputs", "S3 HeadObject outputs/"),
            ("states", "SendTaskSuccess", "", "Step Functions SendTaskSuccess"),
        ] {
            let kind = Kind { service: service.into(), operation: operation.into(), of: of.into() };
            assert_eq!(name_of(&kind), name);
        }
    }
}
