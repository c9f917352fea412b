//! The state that every handler has.

use std::sync::Arc;

use fresco_engine::Fetcher;
use fresco_engine::lambda::Deployed;
use ring::hmac::Key;
use tokio::sync::OnceCell;

/// The engine of the stack, and what a process keeps between requests.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) engine: Deployed,
    /// Fetches inputs that a request names by URL.
    pub(crate) fetcher: Fetcher,
    /// Signs links to pages; read from the ledger at first use.
    pub(crate) signing: Arc<OnceCell<Key>>,
}

impl App {
    /// Creates the state of a process.
    pub(crate) fn new(engine: Deployed) -> Self {
        App { engine, fetcher: Fetcher::default(), signing: Arc::default() }
    }
}
