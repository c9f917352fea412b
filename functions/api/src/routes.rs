//! Every route once: its method, its path, and what answers it. The OpenAPI document is held against this list.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use fresco_engine::Fetcher;
use fresco_engine::lambda::Deployed;
use ring::hmac::Key;
use std::sync::Arc;
use tokio::sync::OnceCell;

use crate::problem::Problem;
use crate::{batches, body, events, openapi, page, plans, runs, schedules, uploads};

/// What every handler has.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) engine: Deployed,
    /// For inputs that a request names by URL.
    pub(crate) fetcher: Fetcher,
    /// What links to pages are signed with, once it was asked for.
    pub(crate) signing: Arc<OnceCell<Key>>,
}

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path;)*) => {
        /// Method and path of every route.
        #[cfg(test)]
        pub(crate) const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path),)*];

        fn all() -> Router<App> {
            let mut router = Router::new();
            $(router = router.route($path, $method($handler));)*
            router
        }
    };
}

routes! {
    post "/runs" => runs::start;
    get "/runs" => runs::list;
    get "/runs/{id}" => runs::show;
    delete "/runs/{id}" => runs::stop;
    get "/runs/{id}/events" => events::events;
    get "/runs/{id}/view" => page::page;
    get "/runs/{id}/view/data" => page::data;
    get "/runs/{id}/view/{file}" => page::file;
    post "/batches" => batches::start;
    get "/batches" => batches::list;
    get "/batches/{id}" => batches::show;
    post "/batches/{id}/redrive" => batches::redrive;
    delete "/batches/{id}" => batches::stop;
    get "/batches/{id}/results" => batches::results;
    post "/plans" => plans::plan;
    get "/models" => plans::models;
    get "/schedules" => schedules::list;
    post "/uploads" => uploads::upload;
    get "/openapi.json" => openapi::document;
}

/// The API of a stack.
pub(crate) fn router(engine: Deployed) -> Router {
    all()
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || {
            Problem::new(
                http::StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this can not be done here",
                "See /openapi.json for what can.",
            )
        })
        // A longer one is answered with a problem that names /uploads; see `body`.
        .layer(DefaultBodyLimit::max(body::MAX_BODY * 3))
        .with_state(App { engine, fetcher: Fetcher::default(), signing: Arc::default() })
}
