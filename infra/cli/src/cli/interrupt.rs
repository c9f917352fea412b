//! Interrupts (Ctrl-C) that a command handles itself.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// One listener for all waits of a command: with one for each wait, an interrupt between two of them would be lost.
pub(super) struct Interrupts(Option<Signal>);

impl Interrupts {
    /// Starts to listen. From then on an interrupt does not end the command by itself, if the system allows that.
    pub(super) fn listen() -> Self {
        Interrupts(signal(SignalKind::interrupt()).ok())
    }

    /// Waits for the next interrupt.
    pub(super) async fn next(&mut self) {
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
