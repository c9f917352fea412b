//! The page of a run behind a signed link: its files, which are part of the program, and its data.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use fresco_engine::platform::Platform;
use fresco_ledger::traits::Objects;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};
use url::Url;

use crate::app::App;
use crate::body::Query;
use crate::parameters::{RunPath, first_step};
use crate::problem::HttpProblem;
use crate::{page_link, run_view};

const PAGE: &str = include_str!("../page/index.html");
/// The page's other files: name, type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("icon.svg", "image/svg+xml", include_str!("../page/icon.svg")),
    ("page.css", "text/css; charset=utf-8", include_str!("../page/page.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("../page/page.js")),
    ("view.js", "text/javascript; charset=utf-8", include_str!("../page/view.js")),
    ("media.js", "text/javascript; charset=utf-8", include_str!("../page/media.js")),
];
/// The placeholder for the page's own query, so that its files are behind the same link.
const QUERY: &str = "{{query}}";

/// `GET /runs/{id}/view`.
pub(crate) async fn show(State(app): State<App>, RunPath(run): RunPath, query: Query) -> Result<Response, HttpProblem> {
    let query = page_link::verify(&app, &run, query.read(page_link::PARAMETERS)?).await?;
    // The query is digits and letters as they were verified: nothing in it is markup, but for the `&` between them.
    let html = PAGE.replace(QUERY, &query.replace('&', "&amp;"));
    Ok(text(html, "text/html; charset=utf-8", Some(&policy(&app).await?)))
}

/// `GET /runs/{id}/view/{file}`.
pub(crate) async fn file(
    State(app): State<App>,
    RunPath(run): RunPath,
    Path((_, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, HttpProblem> {
    page_link::verify(&app, &run, query.read(page_link::PARAMETERS)?).await?;
    let file = FILES.iter().find(|(known, ..)| *known == name).ok_or_else(HttpProblem::not_found)?;
    Ok(text(file.2.to_owned(), file.1, None))
}

/// `GET /runs/{id}/view/data`.
pub(crate) async fn data(State(app): State<App>, RunPath(run): RunPath, query: Query) -> Result<Response, HttpProblem> {
    let [expires, signature, from] = query.read(["expires", "signature", "from"])?;
    page_link::verify(&app, &run, [expires, signature]).await?;
    let mut view = run_view::run(&app, &run, first_step(from)?).await?;
    // A link for a day must not yield another one.
    view.links.view = None;
    let mut answer = Json(view).into_response();
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// Returns the content security policy: the page's own files and the bucket's media, and nothing else.
async fn policy(app: &App) -> Result<String, HttpProblem> {
    let link = app.engine.platform.objects().link("outputs/", 60).await?;
    let media = Url::parse(&link).map_or_else(|_| String::new(), |link| link.origin().ascii_serialization());
    Ok(format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' {media}; media-src {media}; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ))
}

fn text(text: String, content_type: &'static str, policy: Option<&str>) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_TYPE, content_type);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    // The link is a credential: it must not leak in a referrer.
    set(REFERRER_POLICY, "no-referrer");
    set(CACHE_CONTROL, "private, max-age=300");
    if let Some(policy) = policy.and_then(|policy| HeaderValue::from_str(policy).ok()) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
