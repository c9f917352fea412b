//! trigger: starts runs for events: an object that was put into the inbox, an event that asks for a run, or a schedule that is
//! due; and it keeps timers in step with the documents of schedules. What it cannot read or do ends in the queue of failures,
//! with the reason.

use std::process::ExitCode;

use fresco_api_types::RunBody;
use fresco_engine::lambda::Deployed;
use fresco_engine::{Fetcher, FiringEvent, InboxOutcome, ObjectCreated, SCHEDULES, ScheduleOutcome};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::text::shown_in;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The layout of EventBridge's events that is known. The `version` of S3's detail does not stand for its layout (S3 User
/// Guide, "EventBridge event message structure"), so the fields that are read have to be there, and no more.
const VERSION: &str = "0";

/// An event of EventBridge.
#[derive(Deserialize)]
struct Event {
    version: String,
    id: String,
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    detail: Value,
}

/// Of `Object Created`.
#[derive(Deserialize)]
struct Created {
    object: ObjectCreated,
}

/// Of `Object Created` and `Object Deleted`, of which only the key counts.
#[derive(Deserialize)]
struct Changed {
    object: Named,
}

#[derive(Deserialize)]
struct Named {
    key: String,
}

/// What an event asks for.
enum Asked {
    Arrival(ObjectCreated),
    Schedule(String),
    Due(FiringEvent),
    Run { event: String, body: Box<RunBody> },
}

/// Serves the function's events until Lambda ends the process.
pub fn run() -> ExitCode {
    let fetcher = Fetcher::default();
    fresco_engine::lambda::run(move |engine: Deployed, input: Value| {
        let fetcher = fetcher.clone();
        async move { answer(&engine, input, &fetcher).await }
    })
}

async fn answer(engine: &Deployed, input: Value, fetcher: &Fetcher) -> Result<Value, Failure> {
    match read(input)? {
        Asked::Arrival(arrival) => {
            let taken = engine.triggers.accept_object_created(&arrival, fetcher).await?;
            if let InboxOutcome::Reported { report, code } = &taken {
                tracing::warn!(report, code, "not run");
                println!("{}", engine.triggers.error_metric_line());
            }
            said(&taken)
        }
        Asked::Schedule(key) => {
            let kept = engine.triggers.sync_schedule(&key, fetcher).await?;
            if let ScheduleOutcome::Reported { report, code } = &kept {
                tracing::warn!(report, code, "not scheduled");
                println!("{}", engine.triggers.error_metric_line());
            }
            said(&kept)
        }
        Asked::Due(due) => said(&engine.triggers.start_firing(&due, fetcher).await?),
        Asked::Run { event, body } => said(&engine.triggers.start_requested(&event, *body, fetcher).await?),
    }
}

fn said<T: Serialize>(outcome: &T) -> Result<Value, Failure> {
    serde_json::to_value(outcome).map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))
}

fn read(input: Value) -> Result<Asked, Failure> {
    // The input of a timer's target; everything else is an event of EventBridge.
    if input.get("source").and_then(Value::as_str) == Some("fresco.schedule") && input.get("detail").is_none() {
        return Ok(Asked::Due(detail(input)?));
    }
    let event: Event = detail(input)?;
    if event.version != VERSION {
        return Err(bad(format!("version {} of events is not known", event.version)));
    }
    match (event.source.as_str(), event.detail_type.as_str()) {
        ("aws.s3", "Object Created" | "Object Deleted") if is_of_schedules(&event.detail) => {
            let changed: Changed = detail(event.detail)?;
            Ok(Asked::Schedule(changed.object.key))
        }
        ("aws.s3", "Object Created") => {
            let created: Created = detail(event.detail)?;
            Ok(Asked::Arrival(created.object))
        }
        ("fresco.request", _) => {
            let mut body = event.detail;
            // The rule passes only requests that name its stack.
            body.as_object_mut().and_then(|fields| fields.remove("stack"));
            Ok(Asked::Run { event: event.id, body: Box::new(detail(body)?) })
        }
        (source, kind) => Err(bad(format!("nothing is known of events `{kind}` of `{source}`"))),
    }
}

fn is_of_schedules(detail: &Value) -> bool {
    detail.pointer("/object/key").and_then(Value::as_str).is_some_and(|key| key.starts_with(SCHEDULES))
}

fn detail<T: DeserializeOwned>(detail: Value) -> Result<T, Failure> {
    serde_json::from_value(detail).map_err(|error| {
        bad(format!("the event is not what it should be: {}", unquoted(&shown_in(&error.to_string()))))
    })
}

/// A parser's message without the text that it quotes: that may be a prompt, and the message goes into logs and queues.
fn unquoted(message: &str) -> String {
    match message.find('"').zip(message.rfind('"')) {
        Some((from, to)) if from < to => format!("{}…{}", &message[..from], &message[to + 1..]),
        _ => message.to_owned(),
    }
}

fn bad(message: String) -> Failure {
    Failure::new(ErrorName::InputInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED: &str = include_str!("../../../events/inbox-object-created.json");
    const SCHEDULE: &str = include_str!("../../../events/schedule-object-created.json");
    const DUE: &str = include_str!("../../../events/schedule-due.json");
    const REQUEST: &str = include_str!("../../../events/run-request.json");

    fn asked(event: &str) -> Result<Asked, Failure> {
        read(serde_json::from_str(event).unwrap())
    }

    #[test]
    fn the_sample_events_are_read() {
        let Ok(Asked::Arrival(arrival)) = asked(CREATED) else { panic!("an arrival") };
        assert_eq!((arrival.key.as_str(), arrival.bytes), ("inbox/posters/light house+1.yaml", 214));
        assert_eq!((arrival.version, arrival.sequencer.as_str()), (None, "00673F1D5C8A1B2C3D"));
        let other = CREATED.replacen("\"version\": \"0\",\n    \"bucket\"", "\"version\": \"1.0\",\n    \"bucket\"", 1);
        assert_ne!(other, CREATED);
        assert!(matches!(asked(&other), Ok(Asked::Arrival(_))), "the version of S3's detail is not that of its layout");
        let Ok(Asked::Schedule(key)) = asked(SCHEDULE) else { panic!("a schedule") };
        assert_eq!(key, "schedules/every-morning.yaml");
        let gone = SCHEDULE.replacen("Object Created", "Object Deleted", 1).replacen("\"size\": 312,", "", 1);
        assert!(matches!(asked(&gone), Ok(Asked::Schedule(_))));
        let Ok(Asked::Due(due)) = asked(DUE) else { panic!("a firing") };
        assert_eq!((due.schedule.as_str(), due.scheduled_time.as_str()), (key.as_str(), "2026-11-26T05:00:00Z"));
        let Ok(Asked::Run { event, body }) = asked(REQUEST) else { panic!("a run") };
        assert_eq!(event, "7bf73129-1428-4cd3-a780-95db273d1602");
        assert_eq!(body.input.as_deref(), Some("a lighthouse at dusk"));
    }

    #[test]
    fn what_is_not_known_is_said() {
        for (event, from, to, message) in [
            (CREATED, "\"source\": \"aws.s3\"", "\"source\": \"aws.ec2\"", "nothing is known of events"),
            (REQUEST, "\"version\": \"0\"", "\"version\": \"1\"", "version 1 of events"),
            (REQUEST, "\"input\"", "\"inptu\"", "unknown field `inptu`"),
            (REQUEST, "\"input\": \"a", "\"vars\": \"a", "invalid type: string …, expected a map"),
        ] {
            let changed = event.replacen(from, to, 1);
            assert_ne!(changed, event);
            let said = asked(&changed).err().unwrap().message;
            assert!(said.contains(message), "{said}");
        }
    }
}
