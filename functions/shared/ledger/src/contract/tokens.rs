//! Task tokens. A store comes with a way to open a token.

use super::sample::failure;
use crate::traits::{Delivery, TaskCallbacks};

/// Callbacks, and a way to open a token.
pub trait OpensTokens: TaskCallbacks {
    /// Opens a token that a task waits for.
    fn open(&self) -> impl Future<Output = String> + Send;

    /// Returns when the task has received its answer. Until then a local AWS still accepts a second one.
    fn taken(&self) -> impl Future<Output = ()> + Send;
}

/// The first success is delivered; then the token is expired.
pub async fn a_token_accepts_one_success(store: &impl OpensTokens) {
    let token = store.open().await;
    assert_eq!(store.succeed(&token, r#"{"ok":true}"#).await.unwrap(), Delivery::Delivered);
    store.taken().await;
    assert_eq!(store.succeed(&token, r#"{"ok":true}"#).await.unwrap(), Delivery::Expired);
    assert_eq!(store.fail(&token, &failure("second")).await.unwrap(), Delivery::Expired);
}

/// The first failure is delivered, with a message of any length; then the token is expired.
pub async fn a_token_accepts_one_failure(store: &impl OpensTokens) {
    let token = store.open().await;
    assert_eq!(store.fail(&token, &failure(&"\u{1f308}".repeat(40_000))).await.unwrap(), Delivery::Delivered);
    store.taken().await;
    assert_eq!(store.fail(&token, &failure("again")).await.unwrap(), Delivery::Expired);
    assert_eq!(store.succeed(&token, "{}").await.unwrap(), Delivery::Expired);
}

/// A request to be called again is the one answer of its token.
pub async fn a_token_accepts_one_request_to_be_called_again(store: &impl OpensTokens) {
    let token = store.open().await;
    assert_eq!(store.retry_in(&token, 7, &failure("not yet")).await.unwrap(), Delivery::Delivered);
    store.taken().await;
    assert_eq!(store.retry_in(&token, 7, &failure("not yet")).await.unwrap(), Delivery::Expired);
    assert_eq!(store.succeed(&token, "{}").await.unwrap(), Delivery::Expired);
}

/// No task waits for a token that was never issued.
pub async fn an_unknown_token_is_expired(store: &impl OpensTokens) {
    assert_eq!(store.succeed("no such token", "{}").await.unwrap(), Delivery::Expired);
    assert_eq!(store.fail("no such token", &failure("no")).await.unwrap(), Delivery::Expired);
}
