//! The signature of a link to a run's page. A browser cannot sign IAM requests, so whoever may see a run is handed a link that
//! shows this one run, and nothing else, for a day.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fresco_engine::platform::Platform;
use fresco_ledger::records::Millis;
use fresco_ledger::traits::{Clock, SigningKeys};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use http::StatusCode;
use ring::hmac;

use crate::problem::Problem;
use crate::routes::App;

/// How long a link shows its run, in seconds.
const LIFE: Millis = 24 * 3_600;
/// The parameters of a link.
pub(crate) const PARAMETERS: [&str; 2] = ["expires", "signature"];
const ADVICE: &str = "Ask GET /runs/{id} for a new link.";

/// The query of a link that is handed out now.
pub(crate) async fn query(app: &App, run: &RunId) -> Result<String, Problem> {
    // To the hour, so that the same link is handed out for a while and browsers can keep what they have of it.
    let now = app.engine.platform.clock().now() / 1_000;
    let expires = (now + LIFE) / 3_600 * 3_600;
    Ok(format!("expires={expires}&signature={}", sign(key(app).await?, run, expires)))
}

/// Refuses a link that was altered, has expired, or is of another run; the query again where it is well.
pub(crate) async fn verify(
    app: &App,
    run: &RunId,
    [expires, signature]: [Option<String>; 2],
) -> Result<String, Problem> {
    let expires: Millis = expires.and_then(|expires| expires.parse().ok()).ok_or_else(wrong)?;
    let signature = signature.ok_or_else(wrong)?;
    let now = app.engine.platform.clock().now() / 1_000;
    check(key(app).await?, run, expires, &signature, now)?;
    Ok(format!("expires={expires}&signature={signature}"))
}

fn sign(key: &hmac::Key, run: &RunId, expires: Millis) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(key, text(run, expires).as_bytes()))
}

/// The same answer to whatever was not signed here, so that nothing is learnt from it. Times are in seconds.
fn check(key: &hmac::Key, run: &RunId, expires: Millis, signature: &str, now: Millis) -> Result<(), Problem> {
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| wrong())?;
    hmac::verify(key, text(run, expires).as_bytes(), &signature).map_err(|_| wrong())?;
    if now < expires {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "link_expired", "the link has expired", ADVICE))
}

fn wrong() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "bad_link", "the link is not one that this stack signed", ADVICE)
}

fn text(run: &RunId, expires: Millis) -> String {
    format!("view\n{run}\n{expires}")
}

/// The stack's secret stays what it is, so a process asks for it once.
async fn key(app: &App) -> Result<&hmac::Key, Problem> {
    let asked = app.signing.get_or_try_init(async || {
        let platform = &app.engine.platform;
        let secret = platform.ledger().signing_key(&platform.new_token()?).await.map_err(|error| error.0)?;
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
