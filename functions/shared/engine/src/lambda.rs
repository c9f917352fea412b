//! The frame of every Lambda function: structured logs, an engine and its connections made during init, and errors that
//! carry their stable name, which a state machine matches on.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use fresco_pipeline::error::Failure;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use crate::aws::Connections;

use crate::aws::AwsPlatform;
use crate::engine::Engine;

/// The engine that is deployed.
pub type Deployed = Arc<Engine<AwsPlatform>>;

/// A function's error: on AWS its `errorType` is the stable name.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FunctionError(pub Failure);

impl From<Failure> for FunctionError {
    fn from(failure: Failure) -> Self {
        FunctionError(failure)
    }
}

impl From<FunctionError> for Diagnostic {
    fn from(error: FunctionError) -> Diagnostic {
        Diagnostic { error_type: error.0.name.as_str().to_owned(), error_message: error.0.message }
    }
}

/// Reads the message of a function out of the cause that a state machine caught, which is the error as Lambda writes
/// it.
pub fn said(cause: &str) -> String {
    let error = serde_json::from_str::<serde_json::Value>(cause).ok();
    let message = error.as_ref().and_then(|error| error.get("errorMessage")?.as_str());
    message.unwrap_or(cause).to_owned()
}

/// Runs a function from JSON to JSON.
pub fn run<In, Out, F, Fut>(handle: F) -> ExitCode
where
    In: DeserializeOwned + Send + 'static,
    Out: Serialize + Send + 'static,
    F: Fn(Deployed, In) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Out, Failure>> + Send,
{
    serve(Connections::All, |engine| async move {
        let handle = &handle;
        let service = service_fn(move |event: LambdaEvent<In>| {
            let engine = engine.clone();
            async move { handle(engine, event.payload).await.map_err(FunctionError) }
        });
        lambda_runtime::run(service).await
    })
}

/// Makes the engine, opens its connections, and serves.
pub fn serve<F, Fut>(connections: Connections, serve: F) -> ExitCode
where
    F: FnOnce(Deployed) -> Fut,
    Fut: Future<Output = Result<(), lambda_runtime::Error>>,
{
    log_to_stdout();
    // One thread: a function handles one event at a time, and more threads would only be started.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(error.message = %error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let engine = match Engine::from_environment().await {
            Ok(engine) => Arc::new(engine),
            Err(failure) => {
                tracing::error!(error.name = %failure.name, error.message = failure.message, "not configured");
                return ExitCode::FAILURE;
            }
        };
        engine.warm(connections).await;
        match serve(engine).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error.message = %error, "the runtime ended");
                ExitCode::FAILURE
            }
        }
    })
}

/// JSON lines on standard output. A line can be read alone and holds no prompt, token, key or signed URL.
fn log_to_stdout() {
    let level = std::env::var("FRESCO_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        // Lambda stamps every line.
        .without_time();
    tracing_subscriber::registry().with(filter(level)).with(lines).init();
}

/// The level is that of this project's own lines. A client library writes the bodies of its requests below `warn`, and prompts,
/// tokens and signed URLs stand in them.
fn filter(level: LevelFilter) -> Targets {
    // Targets and not EnvFilter: the latter's patterns bring a regex engine, half a megabyte in every package.
    Targets::new().with_target("fresco", level).with_default(level.min(LevelFilter::WARN))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_level_is_of_this_projects_lines_and_dependencies_stay_at_warn() {
        let dependencies = [
            "aws_smithy_runtime::client::orchestrator",
            "aws_runtime",
            "hyper::proto",
            "rustls",
            "lambda_runtime",
            "reqwest",
        ];
        for level in [LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE] {
            let filter = filter(level);
            for own in ["fresco_engine::step::generate", "fresco_ledger", "fresco_api"] {
                assert!(filter.would_enable(own, &level.into_level().unwrap()), "{own} {level}");
            }
            for other in dependencies {
                assert!(
                    filter.would_enable(other, &Level::WARN) && !filter.would_enable(other, &Level::INFO),
                    "{other} {level}"
                );
            }
        }
        let errors = filter(LevelFilter::ERROR);
        assert!(
            !errors.would_enable("aws_runtime", &Level::WARN) && !errors.would_enable("fresco_engine", &Level::WARN)
        );
    }
}
