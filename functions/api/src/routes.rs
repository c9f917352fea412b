//! The routes: method, path and handler. A test compares them with the OpenAPI document.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};

use crate::app::App;
use crate::problem::HttpProblem;
use crate::{batches, body, events, models, openapi, page, plans, runs, schedules, storage, uploads};

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
    post "/runs/{id}/recollect" => runs::recollect;
    get "/runs/{id}/events" => events::list;
    get "/runs/{id}/view" => page::show;
    get "/runs/{id}/view/data" => page::data;
    get "/runs/{id}/view/{file}" => page::file;
    post "/batches" => batches::start;
    get "/batches" => batches::list;
    get "/batches/{id}" => batches::show;
    post "/batches/{id}/redrive" => batches::redrive;
    delete "/batches/{id}" => batches::stop;
    get "/batches/{id}/results" => batches::results;
    post "/plans" => plans::plan;
    get "/models" => models::list;
    get "/schedules" => schedules::list;
    post "/uploads" => uploads::create;
    get "/storage" => storage::show;
    post "/clean" => storage::clean;
    get "/openapi.json" => openapi::document;
}

/// Creates the router of a stack's API.
pub(crate) fn router(app: App) -> Router {
    all()
        .fallback(async || HttpProblem::not_found())
        .method_not_allowed_fallback(async || HttpProblem::method_not_allowed())
        // A longer body gets a problem that names /uploads; see `body`.
        .layer(DefaultBodyLimit::max(body::MAX_BODY * 3))
        .with_state(app)
}
