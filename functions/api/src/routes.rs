//! The routes: method, path and handler, apart by whether API Gateway authorises their requests. A test compares them with the
//! OpenAPI document, another the open ones with the template.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};

use crate::app::App;
use crate::problem::HttpProblem;
use crate::{batches, body, events, models, openapi, page, plans, runs, schedules, storage, uploads};

macro_rules! routes {
    ($table:ident, $name:ident: $($method:ident $path:literal => $handler:path;)*) => {
        /// Method and path of these routes.
        #[cfg(test)]
        pub(crate) const $table: &[(&str, &str)] = &[$((stringify!($method), $path),)*];

        fn $name() -> Router<App> {
            let mut router = Router::new();
            $(router = router.route($path, $method($handler));)*
            router
        }
    };
}

routes! { AUTHORISED, authorised:
    post "/runs" => runs::start;
    get "/runs" => runs::list;
    get "/runs/{id}" => runs::show;
    delete "/runs/{id}" => runs::stop;
    post "/runs/{id}/recollect" => runs::recollect;
    get "/runs/{id}/events" => events::list;
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

// Their handlers verify the link's signature themselves.
routes! { OPEN, open:
    get "/runs/{id}/view" => page::show;
    get "/runs/{id}/view/data" => page::data;
    get "/runs/{id}/view/{file}" => page::file;
}

/// The route keys of the template that API Gateway does not authorise. A route of the template that is not among them, and is not
/// the default route, leads nowhere.
const OPEN_KEYS: [&str; 2] = ["GET /runs/{id}/view", "GET /runs/{id}/view/{file}"];

/// The route key of preflights, which carry no credentials. API Gateway adds the headers of CORS to the answer.
pub(crate) const PREFLIGHT_KEY: &str = "OPTIONS /{proxy+}";

/// The access that API Gateway has given a request, by its route key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The default route, whose requests are authorised.
    Authorised,
    /// A route without authorisation.
    Open,
}

impl Access {
    /// Returns the access of a route key.
    pub(crate) fn of_key(key: &str) -> Option<Access> {
        match key {
            "$default" => Some(Access::Authorised),
            key if OPEN_KEYS.contains(&key) => Some(Access::Open),
            _ => None,
        }
    }
}

/// The routers of a stack's API. A request without authorisation reaches the handlers of the open routes only, whatever its path.
#[derive(Clone)]
pub(crate) struct Routers {
    authorised: Router,
    open: Router,
}

impl Routers {
    /// Creates the routers.
    pub(crate) fn new(app: &App) -> Self {
        Routers { authorised: router(authorised(), app), open: router(open(), app) }
    }

    /// Returns the router for requests with this access.
    pub(crate) fn of(&self, access: Access) -> Router {
        match access {
            Access::Authorised => self.authorised.clone(),
            Access::Open => self.open.clone(),
        }
    }
}

fn router(routes: Router<App>, app: &App) -> Router {
    routes
        .fallback(async || HttpProblem::not_found())
        .method_not_allowed_fallback(async || HttpProblem::method_not_allowed())
        // A longer body gets a problem that names /uploads; see `body`.
        .layer(DefaultBodyLimit::max(body::MAX_BODY * 3))
        .with_state(app.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_has_the_default_route_authorised_and_the_open_keys_open() {
        let template = include_str!("../../../infra/template.yaml");
        let mut open = Vec::new();
        let mut authorised = Vec::new();
        for resource in template.split("\n\n").filter(|text| text.contains("Type: AWS::ApiGatewayV2::Route\n")) {
            let value = |name: &str| {
                let line = resource.lines().find_map(|line| line.trim().strip_prefix(name));
                line.unwrap_or_else(|| panic!("no {name} in {resource}")).trim()
            };
            let key = value("RouteKey:");
            match (value("Target:").contains("ApiIntegration"), value("AuthorizationType:")) {
                (true, "NONE") => open.push(key),
                (true, _) => authorised.push(key),
                (false, _) => {}
            }
        }
        assert_eq!((authorised, open), (vec!["$default"], [&[PREFLIGHT_KEY], &OPEN_KEYS[..]].concat()));
    }
}
