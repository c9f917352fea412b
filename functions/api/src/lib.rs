//! api: the HTTP API. API Gateway authorises each request, except those for the page of a run, whose links are signed here.

mod batches;
mod body;
mod document;
mod events;
mod gateway;
mod listing;
mod openapi;
mod page;
mod plans;
mod problem;
mod routes;
mod runs;
mod schedules;
mod show;
mod signature;
#[cfg(test)]
mod tests;
mod uploads;

use std::process::ExitCode;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use fresco_engine::lambda::serve;
use lambda_runtime::{LambdaEvent, service_fn};

/// Serves the function's events until Lambda ends the process.
pub fn run() -> ExitCode {
    serve(|engine| async move {
        let router = routes::router(engine);
        let handle = service_fn(move |event: LambdaEvent<ApiGatewayV2httpRequest>| {
            let router = router.clone();
            async move { Ok::<_, std::convert::Infallible>(gateway::answer(router, event.payload).await) }
        });
        lambda_runtime::run(handle).await
    })
}
