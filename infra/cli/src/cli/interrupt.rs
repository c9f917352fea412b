//! Interrupts (Ctrl-C), from where on a command has something to say about them.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// One listener for all that a command waits for: with one for each wait, an interrupt that comes between two of them, or before
/// the next has begun to listen, would be nobody's, and end nothing.
pub(super) struct Interrupts(Option<Signal>);

impl Interrupts {
    /// From here on an interrupt does not end the command by itself. Where that is not possible, it still does.
    pub(super) fn listen() -> Self {
        Interrupts(signal(SignalKind::interrupt()).ok())
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
