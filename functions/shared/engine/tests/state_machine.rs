//! The shipped state machine against the code that it works with: what it retries is exactly what the code calls retryable,
//! its check intervals are the planner's, and what it does not assign it does not use.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use std::collections::BTreeSet;

use fresco_ledger::traits::NOT_YET;
use fresco_pipeline::catalogue::StepType;
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::plan::{MAX_CHECK_SECONDS, check_interval};
use serde_json::Value;

fn machine() -> Value {
    serde_json::from_str(include_str!("../../../../infra/run.asl.json")).unwrap()
}

/// Every state, however deep.
fn states(value: &Value, found: &mut Vec<(String, Value)>) {
    if let Some(states_here) = value.get("States").and_then(Value::as_object) {
        for (name, state) in states_here {
            found.push((name.clone(), state.clone()));
            if let Some(inner) = state.get("ItemProcessor") {
                states(inner, found);
            }
        }
    }
}

fn state(name: &str) -> Value {
    let mut all = Vec::new();
    states(&machine(), &mut all);
    all.into_iter().find(|(found, _)| found == name).unwrap().1
}

fn retried(state: &Value) -> BTreeSet<String> {
    let retries = state["Retry"].as_array().unwrap().iter();
    let names = retries.flat_map(|retry| retry["ErrorEquals"].as_array().unwrap().clone());
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Names that AWS gives: of the service, and of a function that crashed or ran out of time.
fn foreign(name: &str) -> bool {
    ["States.", "Lambda.", "Sandbox.", "Runtime."].iter().any(|area| name.starts_with(area))
}

#[test]
fn generate_retries_exactly_the_retryable_names() {
    let ours: BTreeSet<String> =
        ErrorName::ALL.iter().filter(|name| name.is_retryable()).map(|name| name.as_str().to_owned()).collect();
    let named = retried(&state("Generate"));
    let (aws, named): (BTreeSet<_>, BTreeSet<_>) = named.into_iter().partition(|name| foreign(name));
    assert_eq!(named, ours);
    assert!(!aws.contains("States.Timeout"), "a nudge is no retry");
}

#[test]
fn no_state_retries_a_name_that_is_not_in_the_list_or_not_retryable() {
    let mut all = Vec::new();
    states(&machine(), &mut all);
    for (name, state) in all.iter().filter(|(_, state)| state.get("Retry").is_some()) {
        for error in retried(state).iter().filter(|error| !foreign(error)) {
            assert!(ErrorName::parse(error).is_some_and(ErrorName::is_retryable), "{name} retries {error}");
        }
        assert!(state.get("TimeoutSeconds").is_some(), "{name} has no timeout");
    }
}

/// A step that is alone in its lane goes the way of all others, whose states are copied for it.
#[test]
fn the_copies_of_generate_for_single_steps_are_identical() {
    let of = |map: &str| state(map)["ItemProcessor"].clone();
    let (mut one, mut lane) = (of("Ones").to_string(), of("Steps"));
    for (copy, original) in [
        ("GenerateOne", "Generate"),
        ("NotYetOne", "NotYet"),
        ("OneFailed", "StepFailed"),
        ("StopAtOne", "StopHere"),
        ("GoOnAfterOne", "GoOn"),
    ] {
        one = one.replace(&format!("{copy:?}"), &format!("{original:?}"));
        let comments = |machine: &mut Value| machine["States"][original].as_object_mut().unwrap().remove("Comment");
        comments(&mut lane);
        let mut value: Value = serde_json::from_str(&one).unwrap();
        comments(&mut value);
        one = value.to_string();
    }
    assert_eq!(serde_json::from_str::<Value>(&one).unwrap(), lane);
}

/// Plan and finish are tried again as every function is; a chunk that fails does not end the map.
#[test]
fn the_batch_machine_retries_its_functions_and_tolerates_failed_chunks() {
    let machine: Value = serde_json::from_str(include_str!("../../../../infra/batch.asl.json")).unwrap();
    let mut all = Vec::new();
    states(&machine, &mut all);
    let calls: Vec<_> = all.iter().filter(|(_, state)| state["Resource"] == "arn:aws:states:::lambda:invoke").collect();
    let names: BTreeSet<&str> = calls.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Plan", "Finish", "FinishFailed"].into());
    for (name, state) in calls {
        assert_eq!(retried(state), retried(&self::state("Report")), "{name}");
        assert!(state.get("TimeoutSeconds").is_some(), "{name} has no timeout");
    }
    let of = |name: &str| all.iter().find(|(found, _)| found == name).map(|(_, state)| state.clone()).unwrap();
    assert_eq!(
        (&of("Chunks")["ToleratedFailurePercentage"], &of("Chunks")["MaxConcurrencyPath"]),
        (&100.into(), &"$.plan.work.concurrency".into())
    );
    assert_eq!(of("Chunk")["Catch"][0]["ErrorEquals"][0], "States.ALL");
    assert_eq!(of("Pause")["SecondsPath"], "$.pause");
}

/// The nudge rests on nothing that a retry evaluates or counts: the state enters itself with twice the interval.
#[test]
fn the_nudge_is_the_planners() {
    let generate = state("Generate");
    assert_eq!(generate["TimeoutSeconds"], "{% $states.input.check %}");
    let nudge = &generate["Catch"][0];
    assert_eq!((&nudge["ErrorEquals"], &nudge["Next"]), (&["States.Timeout"].as_slice().into(), &"Generate".into()));
    let expected = format!(
        "{{% $merge([$states.input, {{ 'check': $min([{MAX_CHECK_SECONDS}, 2 * $states.input.check]), \
         'nudges': $sum([1, $states.input.nudges]) }}]) %}}"
    );
    assert_eq!(nudge["Output"], expected);
    assert_eq!(generate["Arguments"]["Payload"]["nudges"], "{% $sum([0, $states.input.nudges]) %}");
    assert_eq!([check_interval(2, 0), check_interval(2, 3), check_interval(60, 12)], [2, 16, 900]);
}

/// A pause is waited for as long as the function says, and enters the state again: it is none of the retries.
#[test]
fn a_pause_costs_no_retry() {
    let generate = state("Generate");
    assert!(!retried(&generate).contains(NOT_YET));
    let pause = &generate["Catch"][1];
    assert_eq!((&pause["ErrorEquals"], &pause["Next"]), (&[NOT_YET].as_slice().into(), &"NotYet".into()));
    let expected =
        "{% $merge([$states.input, { 'pause': $number($substringBefore($states.errorOutput.Cause, ' ')) }]) %}";
    assert_eq!(pause["Output"], expected);
    let wait = state("NotYet");
    assert_eq!((&wait["Seconds"], &wait["Next"]), (&"{% $states.input.pause %}".into(), &"Generate".into()));
}

#[test]
fn every_step_type_has_its_function() {
    let functions = state("Plan")["Assign"]["functions"].clone();
    let named: BTreeSet<&str> = functions.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(named, StepType::ALL.iter().map(|step| step.as_str()).collect());
}

#[test]
fn only_the_run_id_goes_in_and_no_result_travels() {
    let text = machine().to_string();
    for word in ["prompt", "params", "outputs", "document"] {
        assert!(!text.contains(&format!("input.{word}")), "{word} travels");
    }
    assert_eq!(state("Generate")["Output"], "{% {} %}");
}
