//! AWS's bill for counts: list prices of us-east-1 without free tiers and volume discounts, as published on the pricing
//! pages in 2025. All money here is in nano-dollars.

use super::counts::{Counts, Invocations};

/// DynamoDB, on demand: $0.625 a million write request units (<https://aws.amazon.com/dynamodb/pricing/on-demand/>, since
/// November 2024). A unit is a started KiB; the units counted hold the second one that a transaction costs, and indexes.
const WRITE_UNIT: i64 = 625;
/// DynamoDB, on demand: $0.125 a million read request units. A unit is a strongly consistent read of started 4 KiB.
const READ_UNIT: i64 = 125;
/// Step Functions, Standard: $0.025 a thousand state transitions (<https://aws.amazon.com/step-functions/pricing/>).
const TRANSITION: i64 = 25_000;
/// Lambda: $0.20 a million requests (<https://aws.amazon.com/lambda/pricing/>).
const INVOCATION: i64 = 200;
/// Lambda: $0.0000166667 a GB-second on x86, which is 1024 MiB for 1000 ms.
const GB_SECOND: i64 = 16_667;
const MB_MS_IN_GB_SECOND: i64 = 1_024_000;
/// S3, Standard: $0.005 a thousand PUT, COPY, POST and LIST requests (<https://aws.amazon.com/s3/pricing/>).
const S3_WRITE: i64 = 5_000;
/// S3, Standard: $0.0004 a thousand GET, HEAD and other requests; DELETE is free.
const S3_READ: i64 = 400;
/// API Gateway, HTTP API: $1.00 a million requests of up to 512 KB (<https://aws.amazon.com/api-gateway/pricing/>).
const HTTP_API: i64 = 1_000;
/// EventBridge: $1.00 a million custom events of up to 64 KB, and as much for the opt-in events of AWS services, as the
/// bucket's are (<https://aws.amazon.com/eventbridge/pricing/>). Other events of AWS services are free.
const EVENT: i64 = 1_000;

/// A bill in nano-dollars, by what is billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bill(pub(crate) [(&'static str, i64); 9]);

impl Bill {
    /// Prices counts.
    pub(crate) fn of(counts: &Counts) -> Self {
        let (read_halves, write_units) = counts.units();
        let calls = |of: fn(&Invocations) -> i64| -> i64 { counts.functions.values().map(of).sum() };
        let events =
            counts.requests_to("events", |name| name == "PutEvents") + counts.requests_to("s3", creates_an_object);
        // A difference of two measured times may be below zero.
        let compute = calls(|calls| calls.mb_ms).max(0) * GB_SECOND / MB_MS_IN_GB_SECOND;
        Bill([
            ("Step Functions, state transitions", counts.transitions * TRANSITION),
            ("DynamoDB, write request units", write_units * WRITE_UNIT),
            ("DynamoDB, read request units", read_halves * READ_UNIT / 2),
            ("S3, PUT", counts.requests_to("s3", |name| s3_class(name) == S3Class::Write) * S3_WRITE),
            ("S3, GET and HEAD", counts.requests_to("s3", |name| s3_class(name) == S3Class::Read) * S3_READ),
            ("Lambda, requests", calls(|calls| calls.count) * INVOCATION),
            ("Lambda, time", compute),
            ("HTTP API, requests", counts.requests_to("apigateway", |_| true) * HTTP_API),
            ("EventBridge, events", events * EVENT),
        ])
    }

    /// Its sum.
    pub(crate) fn total(&self) -> i64 {
        self.0.iter().map(|(_, nanos)| nanos).sum()
    }
}

#[derive(PartialEq, Eq)]
enum S3Class {
    Read,
    Write,
    Free,
}

fn s3_class(operation: &str) -> S3Class {
    match operation {
        "GetObject" | "HeadObject" | "HEAD bucket" => S3Class::Read,
        "DeleteObject" | "DELETE" | "DELETE bucket" => S3Class::Free,
        _ => S3Class::Write,
    }
}

/// Whether an operation of S3 creates an object. The emulator counts every PUT of an object as a PutObject: copies, which
/// create one, and parts of uploads, which do not; but nothing that is billed here is long enough for parts.
fn creates_an_object(operation: &str) -> bool {
    matches!(operation, "PutObject" | "CopyObject" | "CompleteMultipartUpload")
}

#[cfg(test)]
mod tests {
    use super::super::counts::tests::counts;
    use super::*;

    /// The parts of a bill that are not 0.
    fn parts(counts: &Counts) -> Vec<(&'static str, i64)> {
        Bill::of(counts).0.into_iter().filter(|(_, nanos)| *nanos != 0).collect()
    }

    #[test]
    fn every_count_is_billed_once() {
        let functions = |calls| Counts { functions: [("plan".to_owned(), calls)].into(), ..Counts::default() };
        let cases = [
            // A transaction over two items of up to a KiB is four units.
            (counts(&[("dynamodb", "TransactWriteItems", "2", 1, 0, 4)]), "DynamoDB, write request units", 2_500),
            (counts(&[("dynamodb", "GetItem", "E", 3, 6, 0)]), "DynamoDB, read request units", 375),
            // A read of an index is half a unit.
            (counts(&[("dynamodb", "Query", "", 2, 2, 0)]), "DynamoDB, read request units", 125),
            (Counts::of_transitions(3), "Step Functions, state transitions", 75_000),
            (functions(Invocations { count: 5, ms: 0, mb_ms: 0 }), "Lambda, requests", 1_000),
            (functions(Invocations { count: 0, ms: 2_000, mb_ms: 1_024_000 }), "Lambda, time", 16_667),
            (counts(&[("s3", "GET bucket", "", 2, 0, 0)]), "S3, PUT", 10_000),
            (counts(&[("s3", "HeadObject", "outputs", 2, 0, 0)]), "S3, GET and HEAD", 800),
            (counts(&[("apigateway", "POST", "", 2, 0, 0)]), "HTTP API, requests", 2_000),
            (counts(&[("events", "PutEvents", "", 2, 0, 0)]), "EventBridge, events", 2_000),
        ];
        for (counts, part, nanos) in cases {
            assert_eq!(parts(&counts), [(part, nanos)], "{counts:?}");
            assert_eq!(Bill::of(&counts).total(), nanos);
        }
    }

    #[test]
    fn a_created_object_is_a_request_and_an_event() {
        for operation in ["PutObject", "CopyObject", "CompleteMultipartUpload"] {
            let bill = parts(&counts(&[("s3", operation, "outputs", 2, 0, 0)]));
            assert_eq!(bill, [("S3, PUT", 10_000), ("EventBridge, events", 2_000)], "{operation}");
        }
        // Of a multipart upload only its completion is an event.
        let parts_only =
            counts(&[("s3", "CreateMultipartUpload", "outputs", 2, 0, 0), ("s3", "UploadPart", "outputs", 2, 0, 0)]);
        assert_eq!(parts(&parts_only), [("S3, PUT", 20_000)]);
    }

    #[test]
    fn free_requests_cost_nothing() {
        let free = counts(&[
            ("states", "SendTaskSuccess", "", 9, 0, 0),
            ("states", "StartExecution", "", 9, 0, 0),
            ("lambda", "Invoke", "", 9, 0, 0),
            ("s3", "DeleteObject", "outputs", 9, 0, 0),
        ]);
        assert_eq!(parts(&free), []);
    }
}
