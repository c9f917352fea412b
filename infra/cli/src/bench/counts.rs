//! What the emulator counted, as values that can be subtracted: requests by service, operation and row, DynamoDB's units,
//! functions with their time. What a step costs is the difference between a run of so many steps and one of twice as many.

use std::collections::BTreeMap;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

/// What a request was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Kind {
    /// The service as requests are signed for it: `dynamodb`, `s3`, `states`, `lambda`, `ssm`; and `apigateway`.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// Of what: the kind of row, how many items a transaction has, the first part of an object's key.
    pub of: String,
}

impl Kind {
    /// What a process does once, before its first event: it opens connections and reads secrets.
    fn is_start_up(&self) -> bool {
        self.of == "warm" || self.service == "ssm"
    }
}

/// How often, and what DynamoDB bills for it. Half read units, since a read of an index is billed as half of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests.
    pub count: i64,
    /// Halves of read request units.
    pub read_halves: i64,
    /// Write request units.
    pub write_units: i64,
}

/// Invocations of a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// How many.
    pub count: i64,
    /// Their time, each in started milliseconds.
    pub ms: i64,
    /// The same times the function's memory in MiB.
    pub mb_ms: i64,
}

/// Counts, or a difference of counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests.
    pub requests: BTreeMap<Kind, Tally>,
    /// Invocations, by function.
    pub functions: BTreeMap<String, Calls>,
    /// State transitions; computed, not counted.
    pub transitions: i64,
}

/// What had been counted at some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// By recipients: the functions and the providers' webhooks.
    pub(crate) stack: Counts,
    /// By clients, the bench among them.
    pub(crate) clients: Counts,
    /// Invocations under way.
    pub(crate) running: i64,
}

#[derive(Deserialize)]
struct Answer {
    requests: Vec<RequestRow>,
    functions: Vec<FunctionRow>,
}

#[derive(Deserialize)]
struct RequestRow {
    caller: String,
    service: String,
    operation: String,
    of: String,
    count: i64,
    read_units: f64,
    write_units: f64,
}

#[derive(Deserialize)]
struct FunctionRow {
    function: String,
    begun: i64,
    ended: i64,
    ms: i64,
    mb_ms: i64,
}

impl Seen {
    /// Reads the emulator's answer. `label` names functions.
    pub(crate) fn parse(json: &str, label: impl Fn(&str) -> String) -> Result<Self, serde_json::Error> {
        let answer: Answer = serde_json::from_str(json)?;
        let mut seen = Seen::default();
        for row in answer.requests {
            let counts = if row.caller == "clients" { &mut seen.clients } else { &mut seen.stack };
            let kind = Kind { service: row.service, operation: row.operation, of: row.of };
            let tally = counts.requests.entry(kind).or_default();
            tally.count += row.count;
            tally.read_halves += (row.read_units * 2.0).round() as i64;
            tally.write_units += row.write_units.round() as i64;
        }
        for row in answer.functions {
            seen.running += row.begun - row.ended;
            let calls = Calls { count: row.ended, ms: row.ms, mb_ms: row.mb_ms };
            seen.stack.functions.insert(label(&row.function), calls);
        }
        Ok(seen)
    }
}

impl Counts {
    /// These, and so many times those; what comes to nothing is left out.
    pub fn plus(&self, times: i64, other: &Counts) -> Counts {
        let mut sum = self.clone();
        for (kind, tally) in &other.requests {
            let own = sum.requests.entry(kind.clone()).or_default();
            own.count += times * tally.count;
            own.read_halves += times * tally.read_halves;
            own.write_units += times * tally.write_units;
        }
        for (name, calls) in &other.functions {
            let own = sum.functions.entry(name.clone()).or_default();
            own.count += times * calls.count;
            own.ms += times * calls.ms;
            own.mb_ms += times * calls.mb_ms;
        }
        sum.transitions += times * other.transitions;
        sum.requests.retain(|_, tally| *tally != Tally::default());
        sum.functions.retain(|_, calls| *calls != Calls::default());
        sum
    }

    /// These less those.
    pub fn minus(&self, other: &Counts) -> Counts {
        self.plus(-1, other)
    }

    /// Without what processes do once when they start: how many start is the emulator's matter, and Lambda's.
    pub fn without_start_up(mut self) -> Counts {
        self.requests.retain(|kind, _| !kind.is_start_up());
        self
    }

    /// Each function's calls with the time that they take here, in the mean.
    pub(crate) fn timed(mut self, alone: &Counts) -> Counts {
        for (name, calls) in &mut self.functions {
            let one = alone.functions.get(name).copied().unwrap_or_default();
            let times = |all: i64| if one.count > 0 { calls.count * all / one.count } else { 0 };
            (calls.ms, calls.mb_ms) = (times(one.ms), times(one.mb_ms));
        }
        self.functions.retain(|_, calls| *calls != Calls::default());
        self
    }

    /// Requests to a service, all or those of one operation.
    pub fn requests_to(&self, service: &str, operation: Option<&str>) -> i64 {
        let wanted = |kind: &Kind| kind.service == service && operation.is_none_or(|name| kind.operation == name);
        self.requests.iter().filter(|(kind, _)| wanted(kind)).map(|(_, tally)| tally.count).sum()
    }

    /// What DynamoDB bills: halves of read units, and write units.
    pub fn units(&self) -> (i64, i64) {
        let tallies = self.requests.values();
        tallies.fold((0, 0), |(reads, writes), tally| (reads + tally.read_halves, writes + tally.write_units))
    }
}

/// Straight lines through two runs: one of `steps` steps and one of twice as many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// What a run costs without its steps.
    pub(crate) run: Counts,
    /// What `steps` steps cost.
    pub(crate) steps: Counts,
}

impl Line {
    pub(crate) fn through(once: &Counts, twice: &Counts) -> Self {
        let steps = twice.minus(once);
        Line { run: once.minus(&steps), steps }
    }
}

impl Serialize for Counts {
    /// Keys of JSON objects are texts, so what is a map here is a list there.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Request<'a> {
            #[serde(flatten)]
            kind: &'a Kind,
            #[serde(flatten)]
            tally: &'a Tally,
        }
        let requests: Vec<Request<'_>> = self.requests.iter().map(|(kind, tally)| Request { kind, tally }).collect();
        let mut counts = serializer.serialize_struct("Counts", 3)?;
        counts.serialize_field("requests", &requests)?;
        counts.serialize_field("functions", &self.functions)?;
        counts.serialize_field("transitions", &self.transitions)?;
        counts.end()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Counts of requests (service, operation, of, how often, halves of read units, write units).
    pub(crate) fn counts(rows: &[(&str, &str, &str, i64, i64, i64)]) -> Counts {
        let row = |&(service, operation, of, count, read_halves, write_units): &(&str, &str, &str, i64, i64, i64)| {
            let kind = Kind { service: service.into(), operation: operation.into(), of: of.into() };
            (kind, Tally { count, read_halves, write_units })
        };
        Counts { requests: rows.iter().map(row).collect(), ..Counts::default() }
    }

    #[test]
    fn an_answer_is_read() {
        let json = r#"{"requests": [
            {"caller": "functions", "service": "dynamodb", "operation": "Query", "of": "W", "count": 2, "read_units": 1.5, "write_units": 0.0},
            {"caller": "providers", "service": "apigateway", "operation": "POST", "of": "", "count": 1, "read_units": 0, "write_units": 0},
            {"caller": "clients", "service": "s3", "operation": "PutObject", "of": "runs", "count": 3, "read_units": 0, "write_units": 0}],
            "functions": [{"function": "fresco-Plan-1", "begun": 3, "ended": 2, "ms": 7, "mb_ms": 1792}]}"#;
        let seen = Seen::parse(json, |name| name.replace("fresco-Plan-1", "plan")).unwrap();
        let stack = counts(&[("dynamodb", "Query", "W", 2, 3, 0), ("apigateway", "POST", "", 1, 0, 0)]);
        assert_eq!(seen.stack.requests, stack.requests);
        assert_eq!(seen.stack.functions["plan"], Calls { count: 2, ms: 7, mb_ms: 1_792 });
        assert_eq!(seen.clients, counts(&[("s3", "PutObject", "runs", 3, 0, 0)]));
        assert_eq!(seen.running, 1);
    }

    #[test]
    fn a_line_tells_the_run_from_its_steps() {
        // 2 a run and 3 a step; then what is asked only once; then what only steps ask.
        for (run, step) in [(2, 3), (1, 0), (0, 4)] {
            let of = |steps: i64| counts(&[("dynamodb", "GetItem", "R", run + steps * step, 2 * steps, 0)]);
            let line = Line::through(&of(10), &of(20));
            let count = |counts: &Counts| counts.requests_to("dynamodb", Some("GetItem"));
            assert_eq!((count(&line.run), count(&line.steps)), (run, 10 * step));
            assert_eq!(line.steps.units(), (20, 0));
        }
    }

    #[test]
    fn what_comes_to_nothing_is_left_out() {
        let some = counts(&[("s3", "HeadObject", "outputs", 4, 0, 0)]);
        assert_eq!(some.minus(&some), Counts::default());
        assert_eq!(some.minus(&Counts::default()), some);
    }

    #[test]
    fn time_is_the_mean_of_calls_alone() {
        let calls = |count, ms| Counts {
            functions: [("plan".to_owned(), Calls { count, ms, mb_ms: ms * 256 })].into(),
            ..Counts::default()
        };
        // However long they took side by side.
        assert_eq!(calls(10, 9_999).timed(&calls(4, 20)), calls(10, 50));
        assert_eq!(calls(0, -77).timed(&calls(4, 20)), Counts::default());
        assert_eq!(calls(1, 9).timed(&Counts::default()), calls(1, 0));
    }

    #[test]
    fn starting_a_process_does_not_count() {
        let all = counts(&[
            ("dynamodb", "GetItem", "warm", 1, 2, 0),
            ("s3", "HeadObject", "warm", 1, 0, 0),
            ("ssm", "GetParameter", "", 1, 0, 0),
            ("dynamodb", "GetItem", "E", 1, 2, 0),
        ]);
        assert_eq!(all.without_start_up(), counts(&[("dynamodb", "GetItem", "E", 1, 2, 0)]));
    }
}
