//! trigger: starts runs for events: an object that was put into the inbox, or an event that asks for a run. What it cannot
//! read or do ends in the queue of failures, with the reason.

use std::process::ExitCode;

use fresco_engine::lambda::Deployed;
use fresco_engine::wire::RunBody;
use fresco_engine::{Arrival, Fetcher, Taken};
use fresco_pipeline::error::{ErrorName, Failure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The layout of events that is known, of EventBridge's and of S3's own.
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
    version: String,
    object: Arrival,
}

/// What an event asks for.
enum Asked {
    Arrival(Arrival),
    Run { event: String, body: Box<RunBody> },
}

fn main() -> ExitCode {
    let fetcher = Fetcher::default();
    fresco_engine::lambda::run(move |engine: Deployed, event: Event| {
        let fetcher = fetcher.clone();
        async move { answer(&engine, event, &fetcher).await }
    })
}

async fn answer(engine: &Deployed, event: Event, fetcher: &Fetcher) -> Result<Taken, Failure> {
    match read(event)? {
        Asked::Arrival(arrival) => {
            let taken = engine.take_arrival(&arrival, fetcher).await?;
            if let Taken::Reported { report, code } = &taken {
                tracing::warn!(report, code, "not run");
                println!("{}", engine.inbox_metric_line());
            }
            Ok(taken)
        }
        Asked::Run { event, body } => engine.take_request(&event, *body, fetcher).await,
    }
}

fn read(event: Event) -> Result<Asked, Failure> {
    known("events", &event.version)?;
    match (event.source.as_str(), event.detail_type.as_str()) {
        ("aws.s3", "Object Created") => {
            let created: Created = detail(event.detail)?;
            known("S3's events", &created.version)?;
            Ok(Asked::Arrival(created.object))
        }
        ("fresco.request", _) => Ok(Asked::Run { event: event.id, body: Box::new(detail(event.detail)?) }),
        (source, kind) => Err(bad(format!("nothing is known of events `{kind}` of `{source}`"))),
    }
}

fn known(what: &str, version: &str) -> Result<(), Failure> {
    match version == VERSION {
        true => Ok(()),
        false => Err(bad(format!("version {version} of {what} is not known"))),
    }
}

fn detail<T: DeserializeOwned>(detail: Value) -> Result<T, Failure> {
    serde_json::from_value(detail)
        .map_err(|error| bad(format!("the event's detail is not what it should be: {}", unquoted(&error.to_string()))))
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
    const REQUEST: &str = include_str!("../../../events/run-request.json");

    fn asked(event: &str) -> Result<Asked, Failure> {
        read(serde_json::from_str(event).unwrap())
    }

    #[test]
    fn the_sample_events_are_read() {
        let Ok(Asked::Arrival(arrival)) = asked(CREATED) else { panic!("an arrival") };
        assert_eq!((arrival.key.as_str(), arrival.bytes), ("inbox/posters/light house+1.yaml", 214));
        assert_eq!((arrival.version, arrival.sequencer.as_str()), (None, "00673F1D5C8A1B2C3D"));
        let Ok(Asked::Run { event, body }) = asked(REQUEST) else { panic!("a run") };
        assert_eq!(event, "7bf73129-1428-4cd3-a780-95db273d1602");
        assert_eq!(body.input.as_deref(), Some("a lighthouse at dusk"));
    }

    #[test]
    fn what_is_not_known_is_said() {
        for (event, from, to, message) in [
            (CREATED, "\"source\": \"aws.s3\"", "\"source\": \"aws.ec2\"", "nothing is known of events"),
            (
                CREATED,
                "\"version\": \"0\",\n    \"bucket\"",
                "\"version\": \"9\",\n    \"bucket\"",
                "version 9 of S3's",
            ),
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
