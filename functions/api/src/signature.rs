//! The signature of a link to a run's page. A browser cannot sign IAM requests, so whoever may see a run is handed a link that
//! shows this one run, and nothing else, for a day.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fresco_engine::platform::Platform;
use fresco_ledger::rows::Millis;
use fresco_ledger::traits::{Clock, Signing};
use fresco_pipeline::ids::RunId;
use http::StatusCode;
use ring::hmac;

use crate::body::Query;
use crate::problem::Problem;
use crate::routes::App;

/// How long a link shows its run, in seconds.
const LIFE: Millis = 24 * 3_600;

/// The query of a link that is handed out now.
pub(crate) async fn query(app: &App, run: &RunId) -> Result<String, Problem> {
    // To the hour, so that the same link is handed out for a while and browsers can keep what they have of it.
    let now = app.engine.platform.clock().now() / 1_000;
    let expires = (now + LIFE) / 3_600 * 3_600 + 3_600;
    let signature = hmac::sign(&key(app).await?, text(run, expires).as_bytes());
    Ok(format!("expires={expires}&signature={}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Refuses a link that was altered, has expired, or is of another run: the same answer to all but the second, so that nothing is
/// learnt from it.
pub(crate) async fn verify(app: &App, run: &RunId, query: Query) -> Result<String, Problem> {
    let wrong = || {
        let advice = "Ask GET /runs/{id} for a new link.";
        Problem::new(StatusCode::FORBIDDEN, "bad_link", "the link is not one that this stack signed", advice)
    };
    let [expires, signature] = query.take(["expires", "signature"])?;
    let expires: Millis = expires.and_then(|expires| expires.parse().ok()).ok_or_else(wrong)?;
    let given = signature.unwrap_or_default();
    let signature = URL_SAFE_NO_PAD.decode(&given).map_err(|_| wrong())?;
    hmac::verify(&key(app).await?, text(run, expires).as_bytes(), &signature).map_err(|_| wrong())?;
    if app.engine.platform.clock().now() / 1_000 >= expires {
        let advice = "Ask GET /runs/{id} for a new link.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "link_expired", "the link has expired", advice));
    }
    Ok(format!("expires={expires}&signature={given}"))
}

fn text(run: &RunId, expires: Millis) -> String {
    format!("view\n{run}\n{expires}")
}

async fn key(app: &App) -> Result<hmac::Key, Problem> {
    let platform = &app.engine.platform;
    let secret = platform.ledger().signing_key(&platform.new_token()?).await.map_err(|error| error.0)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
}
