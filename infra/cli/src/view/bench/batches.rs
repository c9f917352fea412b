//! What the bench measured of batches, as tables.

use super::super::table::{self, Align};
use super::{bill_lines, lines_of, number};
use crate::bench::{BatchCall, BatchEnds, Batches, RowCosts, WallTime};

const GIGA: f64 = 1_000_000_000.0;
const MEBIBYTE: f64 = 1_048_576.0;
const HEAD_OF_ROWS: [(&str, Align); 3] = [("", Align::Left), ("a miss", Align::Right), ("a hit", Align::Right)];

/// All tables of batches; `on` says on what they were measured.
pub(super) fn text(batches: &Batches, on: &str) -> String {
    let (rows, wall) = (&batches.rows, &batches.wall);
    let ends = ends_text(&batches.ends, on);
    format!(
        "{ends}\n\
         Batches: a row\n\n{}\n\
         All that a batch of {} rows asks for in chunks of {}, divided by its rows: the start, the planning, the chunks' runs, the end.\n\
         Requests are counted by the emulator. State transitions are the states that infra/batch.asl.json and infra/run.asl.json enter:\n\
         {} a batch, {} a chunk for the child of the map besides those of its run. Not in it: what the map itself asks of S3, a list read\n\
         and a result written for the whole batch.\n({on})\n\n\
         Batches: AWS bills a row, in dollars a million\n\n{}\n{}\n\
         The counts above at list prices, as of steps.\n({on})\n\n\
         Batches: wall time\n\n{}\n\
         The guide's latencies times {}, one chunk after the other. The best schedules: each chunk's lanes in their order on {} workers,\n\
         each lane as long as the simulator says that it worked on it. Took by best counts the pauses on both sides.\n({on})\n\n\
         Batches: throughput\n\n{}\n\
         Providers that answer at once, no pauses, from the batch's record to its end, planning included. It is bounded by how many\n\
         requests the emulator answers a second.\n({on})\n",
        costs(rows),
        rows.count,
        rows.chunk,
        rows.transitions.batch,
        rows.transitions.chunk,
        bills(rows),
        in_all(rows),
        wall_time(wall),
        wall.scale,
        wall.workers,
        throughput(batches),
    )
}

/// The tables of planning and of putting together alone.
pub(super) fn ends_text(ends: &BatchEnds, on: &str) -> String {
    format!(
        "Batches: planning\n\n{}\n\
         One call of the function as it is deployed, of a batch whose rows are all different pictures, none of them cached: its time,\n\
         and the most memory that its process had resident (VmHWM of /proc), its own code included. The process is new at the call,\n\
         and its start is in the time.\n({on})\n\n\
         Batches: putting together\n\n{}\n\
         One call of it at the end of the same batch, in a process as new. What the chunks came to was written by the bench: a line of\n\
         JSON for each row, with a picture that was generated, all of them as long as the results. Results beyond 8 MiB are sent in\n\
         parts, each a PUT, between two POSTs; one more POST removes those of an earlier call.\n({on})\n",
        calls_table(&ends.planning),
        calls_table(&ends.together)
    )
}

fn calls_table(calls: &[BatchCall]) -> String {
    use Align::Right;
    let rows = calls.iter().map(|one| {
        let objects = |operation| one.requests.requests_to("s3", Some(operation));
        vec![
            one.rows.to_string(),
            format!("{:.1} MiB", one.bytes as f64 / MEBIBYTE),
            one.chunks.to_string(),
            super::super::duration(one.took_ms),
            format!("{:.0}", one.rows as f64 * 1_000.0 / one.took_ms.max(1) as f64),
            one.peak_bytes.map_or_else(|| "unknown".to_owned(), |peak| format!("{:.1} MiB", peak as f64 / MEBIBYTE)),
            objects("GetObject").to_string(),
            objects("PutObject").to_string(),
            (objects("POST") + objects("POST bucket")).to_string(),
            one.requests.requests_to("dynamodb", None).to_string(),
        ]
    });
    let head = [
        ("rows", Right),
        ("of", Right),
        ("chunks", Right),
        ("took", Right),
        ("rows a second", Right),
        ("peak memory", Right),
        ("S3 GET", Right),
        ("S3 PUT", Right),
        ("S3 POST", Right),
        ("DynamoDB", Right),
    ];
    table::layout(&head, &rows.collect::<Vec<_>>())
}

fn costs(rows: &RowCosts) -> String {
    let columns = [(&rows.misses, rows.count), (&rows.hits, rows.count)];
    table::layout(&HEAD_OF_ROWS, &lines_of(&columns))
}

fn bills(rows: &RowCosts) -> String {
    let columns = [(&rows.misses_bill, rows.count), (&rows.hits_bill, rows.count)];
    table::layout(&HEAD_OF_ROWS, &bill_lines(&columns))
}

/// The two numbers that have goals.
fn in_all(rows: &RowCosts) -> String {
    let each = |value: i64| value as f64 / rows.count.max(1) as f64;
    let says = |transitions, nanos| format!("{} transitions, ${:.6}", number(each(transitions)), each(nanos) / GIGA);
    format!(
        "A row that is generated: {}; one that is cached: {}.",
        says(rows.misses.transitions, rows.misses_bill.total()),
        says(rows.hits.transitions, rows.hits_bill.total())
    )
}

fn wall_time(wall: &WallTime) -> String {
    use Align::Right;
    let row = vec![
        wall.rows.to_string(),
        wall.chunk.to_string(),
        wall.workers.to_string(),
        super::super::duration(wall.best_ms),
        super::super::duration(wall.pauses_ms),
        super::super::duration(wall.took_ms),
        format!("{:.2}", wall.ratio()),
    ];
    let head = [
        ("rows", Right),
        ("of a chunk", Right),
        ("side by side", Right),
        ("best schedules", Right),
        ("pauses", Right),
        ("took", Right),
        ("took by best", Right),
    ];
    table::layout(&head, &[row])
}

fn throughput(batches: &Batches) -> String {
    use Align::{Left, Right};
    let rows = batches.throughput.iter().map(|one| {
        vec![
            if one.cached { "all cached" } else { "all generated" }.to_owned(),
            one.rows.to_string(),
            one.chunk.to_string(),
            one.at_once.to_string(),
            super::super::duration(one.took_ms),
            format!("{:.1}", one.per_second()),
        ]
    });
    let head = [
        ("", Left),
        ("rows", Right),
        ("of a chunk", Right),
        ("chunks side by side", Right),
        ("took", Right),
        ("rows a second", Right),
    ];
    table::layout(&head, &rows.collect::<Vec<_>>())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::{BatchTransitions, Bill, Counts, Kind, Tally, Throughput};

    pub(in super::super) fn batches() -> Batches {
        let misses = Counts { transitions: 293, ..Counts::default() };
        let hits = Counts { transitions: 53, ..Counts::default() };
        let call = |bytes, took_ms, requests| BatchCall {
            rows: 10_000,
            bytes,
            chunks: 1_000,
            took_ms,
            peak_bytes: Some(40 << 20),
            requests,
        };
        let asked = [
            ("GetObject", "batches", 1_000),
            ("PutObject", "batches", 2),
            ("POST", "batches", 2),
            ("POST bucket", "", 1),
        ];
        let asked = asked.map(|(operation, of, count)| {
            let kind = Kind { service: "s3".into(), operation: operation.into(), of: of.into() };
            (kind, Tally { count, ..Tally::default() })
        });
        let asked = Counts { requests: asked.into(), ..Counts::default() };
        Batches {
            ends: BatchEnds {
                planning: vec![call(2 << 20, 4_000, Counts::default())],
                together: vec![call(3 << 20, 1_000, asked)],
            },
            rows: RowCosts {
                count: 100,
                chunk: 10,
                transitions: BatchTransitions { batch: 3, chunk: 2 },
                misses_bill: Bill::of(&misses),
                hits_bill: Bill::of(&hits),
                misses,
                hits,
            },
            wall: WallTime {
                rows: 60,
                chunk: 10,
                workers: 4,
                scale: 1.0,
                best_ms: 54_000,
                pauses_ms: 6_000,
                took_ms: 66_000,
            },
            throughput: vec![Throughput { cached: false, rows: 1_000, chunk: 10, at_once: 4, took_ms: 50_000 }],
        }
    }

    #[test]
    fn tables_of_batches() {
        let text = text(&batches(), "1 core, dev builds of the functions, MiniStack 1");
        let line = |start: &str| text.lines().map(str::trim).find(|line| line.starts_with(start)).unwrap_or_default();
        let calls: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with("10000 ")).collect();
        let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(
            calls.into_iter().map(cells).collect::<Vec<_>>(),
            ["10000 2.0 MiB 1000 4.0 s 2500 40.0 MiB 0 0 0 0", "10000 3.0 MiB 1000 1.0 s 10000 40.0 MiB 1000 2 3 0",]
        );
        assert!(line("all generated").ends_with("20.0"), "{text}");
        assert!(line("60 ").ends_with("1.10"), "{text}");
        let said =
            "A row that is generated: 2.93 transitions, $0.000073; one that is cached: 0.53 transitions, $0.000013.";
        assert_eq!(line("A row"), said);
    }
}
