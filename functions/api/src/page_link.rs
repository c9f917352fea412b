//! Signed links to the page of a run. A browser cannot sign IAM requests, so the API returns a link that shows this one run, and
//! nothing else, for a day.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fresco_engine::platform::Platform;
use fresco_ledger::records::Millis;
use fresco_ledger::traits::{Clock, SigningKeys};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use http::StatusCode;
use ring::hmac;

use crate::app::App;
use crate::problem::HttpProblem;

/// The life of a link in seconds.
const LIFE: Millis = 24 * 3_600;
/// The parameters of a link.
pub(crate) const PARAMETERS: [&str; 2] = ["expires", "signature"];
const ADVICE: &str = "Ask GET /runs/{id} for a new link.";

/// Returns the query of a new link.
pub(crate) async fn query(app: &App, run: &RunId) -> Result<String, HttpProblem> {
    // To the hour, so that the link stays the same for a while and browsers can cache what it leads to.
    let now = app.engine.platform.clock().now() / 1_000;
    let expires = (now + LIFE) / 3_600 * 3_600;
    Ok(format!("expires={expires}&signature={}", sign(key(app).await?, run, expires)))
}

/// Verifies a link, and returns its query. A link that was altered, has expired, or is of another run is a problem.
pub(crate) async fn verify(
    app: &App,
    run: &RunId,
    [expires, signature]: [Option<String>; 2],
) -> Result<String, HttpProblem> {
    let expires: Millis = expires.and_then(|expires| expires.parse().ok()).ok_or_else(bad_link)?;
    let signature = signature.ok_or_else(bad_link)?;
    let now = app.engine.platform.clock().now() / 1_000;
    check(key(app).await?, run, expires, &signature, now)?;
    Ok(format!("expires={expires}&signature={signature}"))
}

fn sign(key: &hmac::Key, run: &RunId, expires: Millis) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(key, text(run, expires).as_bytes()))
}

/// Checks a signature. Every wrong one gets the same answer, which reveals nothing. Times are in seconds.
fn check(key: &hmac::Key, run: &RunId, expires: Millis, signature: &str, now: Millis) -> Result<(), HttpProblem> {
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| bad_link())?;
    hmac::verify(key, text(run, expires).as_bytes(), &signature).map_err(|_| bad_link())?;
    if now < expires {
        return Ok(());
    }
    Err(HttpProblem::new(StatusCode::FORBIDDEN, "link_expired", "the link has expired", ADVICE))
}

fn bad_link() -> HttpProblem {
    HttpProblem::new(StatusCode::FORBIDDEN, "bad_link", "the link is not one that this stack signed", ADVICE)
}

fn text(run: &RunId, expires: Millis) -> String {
    format!("view\n{run}\n{expires}")
}

/// Returns the stack's signing key, which a process reads once: it never changes.
async fn key(app: &App) -> Result<&hmac::Key, HttpProblem> {
    let asked = app.signing.get_or_try_init(async || {
        let platform = &app.engine.platform;
        let secret = platform.ledger().signing_key(&platform.new_token()?).await?;
        Ok::<_, Failure>(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    });
    Ok(asked.await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_for_its_run_until_it_expires() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        let run = |id: &str| RunId::parse(id).unwrap();
        let (one, expires) = (run("run-00000001"), 1_800_000_000);
        let signature = sign(&key, &one, expires);
        let code = |run: &RunId, expires, signature: &str, now| {
            check(&key, run, expires, signature, now).err().map(|p| p.code)
        };
        assert_eq!(code(&one, expires, &signature, expires - 1), None);
        for (run, until, signature, now, expected) in [
            (&one, expires, signature.as_str(), expires, "link_expired"),
            (&one, expires + 1, signature.as_str(), expires, "bad_link"),
            (&run("run-00000002"), expires, signature.as_str(), 0, "bad_link"),
            (&one, expires, &signature[1..], 0, "bad_link"),
            (&one, expires, "", 0, "bad_link"),
            (&one, expires, "%%%", 0, "bad_link"),
        ] {
            assert_eq!(code(run, until, signature, now).as_deref(), Some(expected));
        }
        let other = hmac::Key::new(hmac::HMAC_SHA256, b"another stack's");
        assert_eq!(check(&other, &one, expires, &signature, 0).unwrap_err().code, "bad_link");
    }
}
