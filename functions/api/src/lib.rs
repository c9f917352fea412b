//! The api function: the HTTP API of the stack. API Gateway authorises every request but those for the page of a run, whose links
//! are signed here.

mod app;
mod batches;
mod body;
mod events;
mod gateway;
mod listing;
mod models;
mod openapi;
mod page;
mod page_link;
mod parameters;
mod plans;
mod problem;
mod routes;
mod run_body;
mod run_view;
mod runs;
mod schedules;
mod storage;
#[cfg(test)]
mod tests;
mod uploads;

use std::process::ExitCode;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use fresco_engine::lambda::{Connections, serve};
use lambda_runtime::{LambdaEvent, service_fn};

/// Serves the function's events until Lambda ends the process.
pub fn run() -> ExitCode {
    serve(Connections::All, |engine| async move {
        let routers = routes::Routers::new(&app::App::new(engine));
        let handle = service_fn(move |event: LambdaEvent<ApiGatewayV2httpRequest>| {
            let routers = routers.clone();
            async move { Ok::<_, std::convert::Infallible>(gateway::answer(&routers, event.payload).await) }
        });
        lambda_runtime::run(handle).await
    })
}
