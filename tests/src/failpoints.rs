//! Crashes of functions at the engine's failpoints, the aging of entries, and queries of the ledger for tests of crashes.

use std::path::PathBuf;

use fresco_engine::failpoint::Failpoint;
use fresco_engine::platform::Platform;
use fresco_ledger::records::{Entry, Millis, RunRecord, StepRecord, Waiter};
use fresco_ledger::traits::{Change, Clock, CommitError, Entries, Waiters};
use fresco_pipeline::ids::{ContentKey, RunId};
use serde_json::Value;

use crate::World;

/// A function of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Plan,
    /// The generate function of `text_to_image` steps.
    TextToImage,
    /// The generate function of `analyze_image` steps.
    AnalyzeImage,
    Webhook,
    Collect,
    Sweep,
    Report,
    Api,
}

impl World {
    /// Ends the next process of the function that passes the failpoint, that many times; at most nine.
    pub fn crash(&self, function: Function, point: Failpoint, times: u8) {
        for file in self.crash_files(function, point).into_iter().take(times.into()) {
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("the folder is made");
            std::fs::write(file, "").expect("the file is made");
        }
    }

    /// Removes all failpoints.
    pub fn forget_crashes(&self) {
        // The folder does not exist before the first crash.
        let _ = std::fs::remove_dir_all(self.crashes());
    }

    /// Returns whether all these crashes have happened.
    pub fn has_crashed(&self, function: Function, point: Failpoint) -> bool {
        self.crash_files(function, point).iter().all(|file| !file.exists())
    }

    fn crash_files(&self, function: Function, point: Failpoint) -> Vec<PathBuf> {
        let folder = self.crashes().join(self.function(function));
        let name = point.name();
        let further = (2..=9).map(|number| folder.join(format!("{name}.{number}")));
        std::iter::once(folder.join(name)).chain(further).collect()
    }

    fn function(&self, function: Function) -> String {
        self.output(&format!("{function:?}FunctionName"))
    }

    /// Invokes a function and waits until it has ended, successfully or not.
    pub async fn invoke(&self, function: Function, event: &Value) {
        let path = format!("/2015-03-31/functions/{}/invocations", self.function(function));
        let answer = self.aws_request(reqwest::Method::POST, "lambda", &path).json(event).send().await;
        assert!(answer.expect("an answer").status().is_success(), "{function:?} is called");
    }

    /// Returns an entry, or `None` if it does not exist.
    pub async fn find_entry(&self, key: &ContentKey) -> Option<Entry> {
        self.ledger().entry(key).await.expect("an answer")
    }

    /// Returns the waiters of an entry.
    pub async fn waiters(&self, key: &ContentKey) -> Vec<Waiter> {
        self.ledger().waiters(key).await.expect("an answer")
    }

    /// Returns a run's record and its steps.
    pub async fn record(&self, run: &RunId) -> (RunRecord, Vec<StepRecord>) {
        self.admin.status(run).await.expect("a status")
    }

    /// Returns the time of the engine's clock.
    pub fn now(&self) -> Millis {
        self.admin.engine().platform.clock().now()
    }

    /// Ages an entry and its attempt under way: every time in their records is moved back. The clocks stay as they are,
    /// since signatures and the provider's list depend on them, too.
    pub async fn age(&self, key: &ContentKey, by: Millis) {
        let ledger = self.ledger();
        loop {
            let Some(mut entry) = ledger.entry(key).await.expect("an answer") else { return };
            let mut attempt = None;
            if let Some(pending) = &mut entry.pending {
                pending.lease_until -= by;
                pending.next_check_at -= by;
                if let Some(unknown) = &mut pending.unknown {
                    unknown.since -= by;
                    unknown.counted_at -= by;
                }
                // An unreadable attempt is not aged.
                attempt = match ledger.attempt(key, pending.attempt).await {
                    Err(error) if error.is_unreadable() => None,
                    read => read.expect("an answer"),
                };
            }
            // An attempt is aged once: the provider's list, whose times do not move, is searched within an hour of the claim.
            if let Some(attempt) = attempt.as_mut().filter(|attempt| attempt.submitter_dead_at > self.now()) {
                attempt.claimed_at -= by;
                attempt.submitter_dead_at -= by;
            }
            if let Some(fetching) = attempt.as_mut().and_then(|attempt| attempt.fetching.as_mut()) {
                fetching.next_at -= by;
                fetching.invalid_since = fetching.invalid_since.map(|since| since - by);
            }
            for late in &mut entry.late_completions {
                late.next_check_at -= by;
            }
            if let Some(failed) = &mut entry.failure {
                failed.not_before -= by;
            }
            entry.failing_since = entry.failing_since.map(|since| since - by);
            entry.next_check_at = entry.next_check_at.map(|due| due - by);
            match ledger.commit(&Change { attempt, ..Change::of(entry) }).await {
                Ok(()) => return,
                // Another writer was first: its version is aged instead.
                Err(CommitError::Conflict) => {}
                Err(error) => panic!("an entry does not age: {error}"),
            }
        }
    }
}
