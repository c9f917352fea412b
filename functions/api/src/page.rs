//! The page of a run: files that are part of the program, and its data, behind a signed link.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use fresco_engine::platform::Platform;
use fresco_ledger::traits::Objects;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};
use url::Url;

use crate::body::Query;
use crate::problem::Problem;
use crate::routes::App;
use crate::runs::{OfRun, first};
use crate::{show, signature};

const PAGE: &str = include_str!("../page/index.html");
/// The page's other files, by name, with their types.
const FILES: &[(&str, &str, &str)] = &[
    ("icon.svg", "image/svg+xml", include_str!("../page/icon.svg")),
    ("page.css", "text/css; charset=utf-8", include_str!("../page/page.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("../page/page.js")),
    ("view.js", "text/javascript; charset=utf-8", include_str!("../page/view.js")),
    ("media.js", "text/javascript; charset=utf-8", include_str!("../page/media.js")),
];
/// What the page writes in place of its own query, so that its files are behind the same link.
const QUERY: &str = "{{query}}";

/// `GET /runs/{id}/view`.
pub(crate) async fn page(State(app): State<App>, OfRun(run): OfRun, query: Query) -> Result<Response, Problem> {
    let query = signature::verify(&app, &run, query.take(signature::PARAMETERS)?).await?;
    // The query is digits and letters as they were verified: nothing in it is markup, but for the `&` between them.
    let html = PAGE.replace(QUERY, &query.replace('&', "&amp;"));
    Ok(text(html, "text/html; charset=utf-8", Some(&policy(&app).await?)))
}

/// `GET /runs/{id}/view/{file}`.
pub(crate) async fn file(
    State(app): State<App>,
    OfRun(run): OfRun,
    Path((_, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, Problem> {
    signature::verify(&app, &run, query.take(signature::PARAMETERS)?).await?;
    let file = FILES.iter().find(|(known, ..)| *known == name).ok_or_else(Problem::not_found)?;
    Ok(text(file.2.to_owned(), file.1, None))
}

/// `GET /runs/{id}/view/data`.
pub(crate) async fn data(State(app): State<App>, OfRun(run): OfRun, query: Query) -> Result<Response, Problem> {
    let [expires, signature, from] = query.take(["expires", "signature", "from"])?;
    signature::verify(&app, &run, [expires, signature]).await?;
    let mut view = show::run(&app, &run, first(from)?).await?;
    // Whoever has a link for a day is not to have one for ever.
    view.links.view = None;
    let mut answer = Json(view).into_response();
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// Nothing runs, shows or connects but the page's own files and the bucket's media.
async fn policy(app: &App) -> Result<String, Problem> {
    let link = app.engine.platform.objects().presign_get("outputs/", 60).await.map_err(|error| error.0)?;
    let media = Url::parse(&link).map_or_else(|_| String::new(), |link| link.origin().ascii_serialization());
    Ok(format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' {media}; media-src {media}; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ))
}

fn text(text: String, kind: &'static str, policy: Option<&str>) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_TYPE, kind);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    // The link is the key: it goes nowhere else.
    set(REFERRER_POLICY, "no-referrer");
    set(CACHE_CONTROL, "private, max-age=300");
    if let Some(policy) = policy.and_then(|policy| HeaderValue::from_str(policy).ok()) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
