//! The emulator's counts as values that can be subtracted: requests by service, operation and record, DynamoDB's units, and
//! invocations with their time.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A kind of request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Operation {
    /// The service as requests are signed for it: `dynamodb`, `s3`, `states`, `lambda`, `ssm`; and `apigateway`.
    pub(crate) service: String,
    pub(crate) name: String,
    /// The kind of record, the number of items of a transaction, or the first part of an object's key.
    pub(crate) of: String,
}

impl Operation {
    /// Whether a process does this once, before its first event: it opens connections and reads secrets.
    fn is_start_up(&self) -> bool {
        self.of == "warm" || self.service == "ssm"
    }
}

/// The number of requests of a kind, and the units that DynamoDB bills for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: i64,
    /// Halves of read request units: an eventually consistent read is billed as half of one.
    pub(crate) read_halves: i64,
    /// Write request units.
    pub(crate) write_units: i64,
}

/// Invocations of a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Invocations {
    pub(crate) count: i64,
    /// The sum of their times, each in started milliseconds.
    pub(crate) ms: i64,
    /// The sum of the same times, multiplied by the function's memory in MiB.
    pub(crate) mb_ms: i64,
}

/// Counts, or a difference of counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: BTreeMap<Operation, Tally>,
    /// Invocations by function.
    pub(crate) functions: BTreeMap<String, Invocations>,
    /// State transitions, which are computed from the definitions of the state machines.
    pub(crate) transitions: i64,
}

/// The stack's counts at a moment. Requests of the measuring tool itself are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) counts: Counts,
    /// Invocations that have not ended.
    pub(crate) running: i64,
}

#[derive(Deserialize)]
struct Answer {
    requests: Vec<RequestCount>,
    functions: Vec<FunctionCount>,
}

#[derive(Deserialize)]
struct RequestCount {
    caller: String,
    service: String,
    operation: String,
    of: String,
    count: i64,
    read_units: f64,
    write_units: f64,
}

#[derive(Deserialize)]
struct FunctionCount {
    function: String,
    begun: i64,
    ended: i64,
    ms: i64,
    mb_ms: i64,
}

impl Snapshot {
    /// Parses the emulator's answer; `label` names functions.
    pub(crate) fn parse(json: &str, label: impl Fn(&str) -> String) -> serde_json::Result<Self> {
        let answer: Answer = serde_json::from_str(json)?;
        let mut snapshot = Snapshot::default();
        for request in answer.requests.into_iter().filter(|request| request.caller != "clients") {
            let operation = Operation { service: request.service, name: request.operation, of: request.of };
            let tally = snapshot.counts.requests.entry(operation).or_default();
            tally.count += request.count;
            tally.read_halves += (request.read_units * 2.0).round() as i64;
            tally.write_units += request.write_units.round() as i64;
        }
        for one in answer.functions {
            snapshot.running += one.begun - one.ended;
            let calls = Invocations { count: one.ended, ms: one.ms, mb_ms: one.mb_ms };
            snapshot.counts.functions.insert(label(&one.function), calls);
        }
        Ok(snapshot)
    }
}

impl Counts {
    /// Returns nothing but state transitions.
    pub(crate) fn of_transitions(transitions: i64) -> Self {
        Counts { transitions, ..Counts::default() }
    }

    /// Adds `times` the other counts, and leaves out what is 0 then.
    pub(crate) fn plus(&self, times: i64, other: &Counts) -> Counts {
        let mut sum = self.clone();
        for (operation, tally) in &other.requests {
            let own = sum.requests.entry(operation.clone()).or_default();
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
        sum.functions.retain(|_, calls| *calls != Invocations::default());
        sum
    }

    /// Subtracts the other counts.
    pub(crate) fn minus(&self, other: &Counts) -> Counts {
        self.plus(-1, other)
    }

    /// Leaves out what processes do once when they start: how many start is up to the emulator, or to Lambda.
    pub(crate) fn without_start_up(mut self) -> Counts {
        self.requests.retain(|operation, _| !operation.is_start_up());
        self
    }

    /// Replaces each function's time by its mean in `alone`, where one invocation ran at a time.
    pub(crate) fn timed(mut self, alone: &Counts) -> Counts {
        for (name, calls) in &mut self.functions {
            let one = alone.functions.get(name).copied().unwrap_or_default();
            let times = |all: i64| if one.count > 0 { calls.count * all / one.count } else { 0 };
            (calls.ms, calls.mb_ms) = (times(one.ms), times(one.mb_ms));
        }
        self.functions.retain(|_, calls| *calls != Invocations::default());
        self
    }

    /// Counts the requests to a service whose operation is wanted.
    pub(crate) fn requests_to(&self, service: &str, wanted: impl Fn(&str) -> bool) -> i64 {
        let requests = self.requests.iter().filter(|(one, _)| one.service == service && wanted(&one.name));
        requests.map(|(_, tally)| tally.count).sum()
    }

    /// Sums up DynamoDB's units: halves of read units, and write units.
    pub(crate) fn units(&self) -> (i64, i64) {
        let tallies = self.requests.values();
        tallies.fold((0, 0), |(reads, writes), tally| (reads + tally.read_halves, writes + tally.write_units))
    }

    /// The time of a function's invocations, in milliseconds.
    pub(crate) fn time_of(&self, function: &str) -> i64 {
        self.functions.get(function).map_or(0, |calls| calls.ms)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Counts of requests (service, operation, of, how often, halves of read units, write units).
    pub(crate) fn counts(requests: &[(&str, &str, &str, i64, i64, i64)]) -> Counts {
        let one = |&(service, name, of, count, read_halves, write_units): &(&str, &str, &str, i64, i64, i64)| {
            let operation = Operation { service: service.into(), name: name.into(), of: of.into() };
            (operation, Tally { count, read_halves, write_units })
        };
        Counts { requests: requests.iter().map(one).collect(), ..Counts::default() }
    }

    #[test]
    fn the_emulators_answer_is_parsed() {
        let json = r#"{"requests": [
            {"caller": "functions", "service": "dynamodb", "operation": "Query", "of": "W", "count": 2, "read_units": 1.5, "write_units": 0.0},
            {"caller": "providers", "service": "apigateway", "operation": "POST", "of": "", "count": 1, "read_units": 0, "write_units": 0},
            {"caller": "clients", "service": "s3", "operation": "PutObject", "of": "runs", "count": 3, "read_units": 0, "write_units": 0}],
            "functions": [{"function": "fresco-Plan-1", "begun": 3, "ended": 2, "ms": 7, "mb_ms": 1792}]}"#;
        let snapshot = Snapshot::parse(json, |name| name.replace("fresco-Plan-1", "plan")).unwrap();
        let expected = counts(&[("dynamodb", "Query", "W", 2, 3, 0), ("apigateway", "POST", "", 1, 0, 0)]);
        assert_eq!(snapshot.counts.requests, expected.requests, "requests of clients are left out");
        assert_eq!(snapshot.counts.functions["plan"], Invocations { count: 2, ms: 7, mb_ms: 1_792 });
        assert_eq!(snapshot.running, 1);
    }

    #[test]
    fn differences_leave_out_zeros() {
        let some = counts(&[("s3", "HeadObject", "outputs", 4, 0, 0)]);
        assert_eq!(some.minus(&some), Counts::default());
        assert_eq!(some.minus(&Counts::default()), some);
    }

    #[test]
    fn a_functions_time_is_its_mean_alone() {
        let calls = |count, ms| Counts {
            functions: [("plan".to_owned(), Invocations { count, ms, mb_ms: ms * 256 })].into(),
            ..Counts::default()
        };
        assert_eq!(calls(10, 9_999).timed(&calls(4, 20)), calls(10, 50));
        assert_eq!(calls(0, -77).timed(&calls(4, 20)), Counts::default());
        assert_eq!(calls(1, 9).timed(&Counts::default()), calls(1, 0));
    }

    #[test]
    fn the_start_of_a_process_does_not_count() {
        let all = counts(&[
            ("dynamodb", "GetItem", "warm", 1, 2, 0),
            ("s3", "HeadObject", "warm", 1, 0, 0),
            ("ssm", "GetParameter", "", 1, 0, 0),
            ("dynamodb", "GetItem", "E", 1, 2, 0),
        ]);
        assert_eq!(all.without_start_up(), counts(&[("dynamodb", "GetItem", "E", 1, 2, 0)]));
    }
}
