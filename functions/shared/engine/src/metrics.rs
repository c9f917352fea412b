//! Formats metrics as lines of a function's log, which needs no call and no permission.

use fresco_ledger::records::Millis;
use serde_json::{Map, Value, json};

/// The name, unit and value of a metric.
pub(crate) type Metric<'a> = (&'a str, &'a str, Value);

/// Formats the metrics of a stack as a line of CloudWatch's embedded metric format.
///
/// Source: Amazon CloudWatch User Guide, "Specification: Embedded metric format".
pub(crate) fn line(stack: &str, now: Millis, metrics: &[Metric<'_>]) -> String {
    let described: Vec<Value> = metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
    let directive = json!({
        "Timestamp": now,
        "CloudWatchMetrics": [{"Namespace": "Fresco", "Dimensions": [["Stack"]], "Metrics": described}],
    });
    let mut line = Map::from_iter([("_aws".to_owned(), directive), ("Stack".to_owned(), stack.into())]);
    line.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())));
    Value::Object(line).to_string()
}
