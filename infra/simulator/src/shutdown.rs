//! The end of the simulator, which ends its tasks and waits.

use std::time::Duration;

use tokio::sync::watch;

/// The switch that ends everything; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Ends everything.
    pub(crate) fn trigger(&self) {
        self.0.send_replace(true);
    }

    /// Waits for the end.
    pub(crate) async fn triggered(&self) {
        drop(self.0.subscribe().wait_for(|is_over| *is_over).await);
    }

    /// Runs a task that ends with the simulator.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.triggered() => {}
                () = task => {}
            }
        });
    }

    /// Waits for a time; the end of the simulator cuts it short.
    pub(crate) async fn sleep(&self, duration: Duration) {
        drop(tokio::time::timeout(duration, self.triggered()).await);
    }
}
