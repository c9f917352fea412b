//! webhook: receives what providers report. It verifies, records, hands over to collect, and answers within a second; what
//! an outsider can cause is one and the same 401.

use std::process::ExitCode;

use bytes::Bytes;
use fresco_engine::lambda::{Connections, Deployed, serve};
use fresco_engine::{WebhookOutcome, WebhookRoute};
use lambda_http::{Body, Error, Request, RequestExt, Response, service_fn};

/// The longest body that is read. Providers send the result's description, not the result.
const MAX_BODY: usize = 1024 * 1024;

async fn handle(engine: Deployed, request: Request) -> Result<Response<Body>, Error> {
    let parameters = request.path_parameters();
    let part = |name| parameters.first(name).unwrap_or("");
    let Some(route) = WebhookRoute::parse(part("provider"), part("key"), part("attempt"), part("token")) else {
        return answer(401, "unknown");
    };
    let headers = request
        .headers()
        .iter()
        .filter_map(|(name, value)| value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned())));
    let headers = headers.collect();
    let body = match request.into_body() {
        Body::Text(text) => Bytes::from(text),
        Body::Binary(bytes) => Bytes::from(bytes),
        _ => Bytes::new(),
    };
    if body.len() > MAX_BODY {
        return answer(413, "too large");
    }
    match engine.webhooks.receive(&route, headers, body).await {
        Ok(received) => {
            let news = received == WebhookOutcome::HandedOver;
            tracing::info!(entry.key = %route.key, entry.attempt = %route.attempt, webhook.news = news, "webhook received");
            answer(200, "ok")
        }
        Err(refused) => {
            tracing::warn!(entry.key = %route.key, entry.attempt = %route.attempt, error.name = refused.code(), error.message = %refused, "webhook refused");
            answer(refused.status(), if refused.status() == 401 { "unknown" } else { refused.code() })
        }
    }
}

fn answer(status: u16, text: &str) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).header("content-type", "text/plain").body(Body::from(text))?)
}

/// Serves the function's events until Lambda ends the process.
pub fn run() -> ExitCode {
    serve(Connections::Ledger, |engine| {
        lambda_http::run(service_fn(move |request: Request| handle(engine.clone(), request)))
    })
}
