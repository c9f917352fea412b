//! Task tokens. A store comes with a way to open a token.

use super::sample::failure;
use crate::traits::{Delivery, TaskCallbacks};

/// Task tokens, and a way to make one that something waits under.
pub trait OpensTokens: TaskCallbacks {
    /// A token that something waits under.
    fn open(&self) -> impl Future<Output = String> + Send;

    /// Returns when what waited has taken its answer. Until then a local AWS still hears a second one.
    fn taken(&self) -> impl Future<Output = ()> + Send;
}

/// The first success is heard; then nobody waits any more.
pub async fn a_token_hears_one_success(store: &impl OpensTokens) {
    let token = store.open().await;
    assert_eq!(store.succeed(&token, r#"{"ok":true}"#).await.unwrap(), Delivery::Delivered);
    store.taken().await;
    assert_eq!(store.succeed(&token, r#"{"ok":true}"#).await.unwrap(), Delivery::Expired);
    assert_eq!(store.fail(&token, &failure("late")).await.unwrap(), Delivery::Expired);
}

/// The first failure is heard, however long its message; then nobody waits any more.
pub async fn a_token_hears_one_failure(store: &impl OpensTokens) {
    let token = store.open().await;
    assert_eq!(store.fail(&token, &failure(&"\u{1f308}".repeat(40_000))).await.unwrap(), Delivery::Delivered);
    store.taken().await;
    assert_eq!(store.fail(&token, &failure("again")).await.unwrap(), Delivery::Expired);
    assert_eq!(store.succeed(&token, "{}").await.unwrap(), Delivery::Expired);
}

/// Nobody waits under a token that never was one.
pub async fn an_unknown_token_is_gone(store: &impl OpensTokens) {
    assert_eq!(store.succeed("no such token", "{}").await.unwrap(), Delivery::Expired);
    assert_eq!(store.fail("no such token", &failure("no")).await.unwrap(), Delivery::Expired);
}
