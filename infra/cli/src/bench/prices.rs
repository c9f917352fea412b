//! What AWS bills for counts: its list prices in us-east-1, without free tiers and volume discounts, as published on its
//! pricing pages in 2025. All money here is whole nano-dollars.

use serde::Serialize;

use super::counts::Counts;

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
/// EventBridge: $1.00 a million custom events of up to 64 KB, and as much for the events that services of AWS tell when they
/// are asked to, as the bucket is (<https://aws.amazon.com/eventbridge/pricing/>). Those of other services are free.
const EVENT: i64 = 1_000;

/// A bill in nano-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Bill {
    /// DynamoDB's write request units.
    pub table_writes: i64,
    /// DynamoDB's read request units.
    pub table_reads: i64,
    /// Step Functions' state transitions.
    pub transitions: i64,
    /// Lambda's requests.
    pub invocations: i64,
    /// Lambda's time. Measured on the machine of the bench, which is not Lambda.
    pub compute: i64,
    /// S3's PUT, COPY, POST and LIST requests.
    pub object_writes: i64,
    /// S3's GET and HEAD requests.
    pub object_reads: i64,
    /// The HTTP API, where webhooks arrive.
    pub http_api: i64,
    /// EventBridge's events: custom ones, which tell of runs that ended, and S3's, one for each object that is created.
    pub events: i64,
}

impl Bill {
    /// What these counts cost.
    pub fn of(counts: &Counts) -> Self {
        let (read_halves, write_units) = counts.units();
        let objects = |wanted: fn(&str) -> bool| -> i64 {
            let s3 = counts.requests.iter().filter(|(kind, _)| kind.service == "s3");
            s3.filter(|(kind, _)| wanted(&kind.operation)).map(|(_, tally)| tally.count).sum()
        };
        let calls = |of: fn(&super::counts::Calls) -> i64| -> i64 { counts.functions.values().map(of).sum() };
        Bill {
            table_writes: write_units * WRITE_UNIT,
            table_reads: read_halves * READ_UNIT / 2,
            transitions: counts.transitions * TRANSITION,
            invocations: calls(|calls| calls.count) * INVOCATION,
            compute: calls(|calls| calls.mb_ms) * GB_SECOND / MB_MS_IN_GB_SECOND,
            object_writes: objects(|operation| is_write(operation) == Some(true)) * S3_WRITE,
            object_reads: objects(|operation| is_write(operation) == Some(false)) * S3_READ,
            http_api: counts.requests_to("apigateway", None) * HTTP_API,
            events: (counts.requests_to("events", Some("PutEvents")) + objects(creates)) * EVENT,
        }
    }

    /// Its parts, named.
    pub fn parts(&self) -> [(&'static str, i64); 9] {
        [
            ("Step Functions, state transitions", self.transitions),
            ("DynamoDB, write request units", self.table_writes),
            ("DynamoDB, read request units", self.table_reads),
            ("S3, PUT", self.object_writes),
            ("S3, GET and HEAD", self.object_reads),
            ("Lambda, requests", self.invocations),
            ("Lambda, time", self.compute),
            ("HTTP API, requests", self.http_api),
            ("EventBridge, events", self.events),
        ]
    }

    /// All of it.
    pub fn total(&self) -> i64 {
        self.parts().iter().map(|(_, nanos)| nanos).sum()
    }
}

/// Whether an operation of S3 is billed as a write; `None` for what is free.
fn is_write(operation: &str) -> Option<bool> {
    match operation {
        "GetObject" | "HeadObject" | "HEAD bucket" => Some(false),
        "DeleteObject" | "DELETE" | "DELETE bucket" => None,
        _ => Some(true),
    }
}

/// Whether an operation of S3 creates an object. The emulator's counter calls every PUT of an object a PutObject: copies, which
/// create one, and parts of uploads, which do not; but nothing that is billed here is so long that it is sent in parts.
fn creates(operation: &str) -> bool {
    matches!(operation, "PutObject" | "CopyObject" | "CompleteMultipartUpload")
}

#[cfg(test)]
mod tests {
    use super::super::counts::tests::counts;
    use super::super::counts::{Calls, Counts};
    use super::*;

    #[test]
    fn everything_is_billed_once() {
        type Case = (Counts, fn(&Bill) -> i64, i64);
        let functions = |calls| Counts { functions: [("plan".to_owned(), calls)].into(), ..Counts::default() };
        let cases: [Case; 10] = [
            // A transaction over two items of up to a KiB is four units.
            (counts(&[("dynamodb", "TransactWriteItems", "2", 1, 0, 4)]), |bill| bill.table_writes, 2_500),
            (counts(&[("dynamodb", "GetItem", "E", 3, 6, 0)]), |bill| bill.table_reads, 375),
            // A read of an index is half a unit.
            (counts(&[("dynamodb", "Query", "", 2, 2, 0)]), |bill| bill.table_reads, 125),
            (Counts { transitions: 3, ..Counts::default() }, |bill| bill.transitions, 75_000),
            (functions(Calls { count: 5, ms: 0, mb_ms: 0 }), |bill| bill.invocations, 1_000),
            (functions(Calls { count: 0, ms: 2_000, mb_ms: 1_024_000 }), |bill| bill.compute, 16_667),
            (counts(&[("s3", "GET bucket", "", 2, 0, 0)]), |bill| bill.object_writes, 10_000),
            (counts(&[("s3", "HeadObject", "outputs", 2, 0, 0)]), |bill| bill.object_reads, 800),
            (counts(&[("apigateway", "POST", "", 2, 0, 0)]), |bill| bill.http_api, 2_000),
            (counts(&[("events", "PutEvents", "", 2, 0, 0)]), |bill| bill.events, 2_000),
        ];
        for (counts, part, nanos) in cases {
            let bill = Bill::of(&counts);
            assert_eq!((part(&bill), bill.total()), (nanos, nanos), "{counts:?}");
        }
    }

    #[test]
    fn an_object_that_is_created_is_a_request_and_an_event() {
        for operation in ["PutObject", "CopyObject", "CompleteMultipartUpload"] {
            let bill = Bill::of(&counts(&[("s3", operation, "outputs", 2, 0, 0)]));
            assert_eq!(bill, Bill { object_writes: 10_000, events: 2_000, ..Bill::default() }, "{operation}");
        }
        // Of an object in parts only its end.
        let begun =
            counts(&[("s3", "CreateMultipartUpload", "outputs", 2, 0, 0), ("s3", "UploadPart", "outputs", 2, 0, 0)]);
        assert_eq!(Bill::of(&begun), Bill { object_writes: 20_000, ..Bill::default() });
    }

    #[test]
    fn what_aws_does_not_bill_costs_nothing() {
        let free = counts(&[
            ("states", "SendTaskSuccess", "", 9, 0, 0),
            ("states", "StartExecution", "", 9, 0, 0),
            ("lambda", "Invoke", "", 9, 0, 0),
            ("s3", "DeleteObject", "outputs", 9, 0, 0),
        ]);
        assert_eq!(Bill::of(&free), Bill::default());
    }
}
