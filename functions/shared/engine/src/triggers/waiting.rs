//! Objects of the inbox that wait for others. Files that belong together arrive in any order: a text before its pipeline, a
//! document before its picture. What waits leaves a note under the name of the file that it needs, and the arrival of
//! that file runs it. Nothing polls; the bucket's lifecycle removes notes.

use std::collections::BTreeSet;

use bytes::Bytes;
use fresco_ledger::traits::Objects;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::ContentKey;
use futures::{StreamExt, stream};

use super::inbox::{InboxKind, InboxOutcome, ObjectCreated};
use super::rejected::StartRejected;
use crate::intake::beside::{composed, name_beside};
use crate::intake::object_keys::{INBOX_WAITING, folder};
use crate::intake::request::{Fetcher, IntakeError};
use crate::intake::start::StartedRun;
use crate::platform::Platform;
use crate::run::request::internal;
use crate::triggers::Triggers;

/// The code of a medium that is not beside its document.
const UNREAD: &str = "input_unread";
/// Waiting objects that are started concurrently.
const STARTED_AT_ONCE: usize = 8;

impl<P: Platform> Triggers<P> {
    /// Starts an object. Where a file is missing it leaves notes first and then tries again: a file that arrived in
    /// between has found no note. The flag tells whether it still waits.
    pub(super) async fn start_or_wait(
        &self,
        object: &ObjectCreated,
        fetcher: &Fetcher,
    ) -> Result<(Result<StartedRun, StartRejected>, bool), Failure> {
        let mut noted = BTreeSet::new();
        loop {
            let result = self.start_object(object, fetcher).await;
            let missing = match &result {
                Ok(_) => BTreeSet::new(),
                Err(rejected) => self.missing_files(object, rejected, fetcher).await?,
            };
            if missing.is_subset(&noted) {
                return Ok((result, !missing.is_empty()));
            }
            for file in &missing {
                let json = serde_json::to_vec(object).map_err(internal)?;
                let note = format!("{}{}.json", notes(file), ContentKey::digest(object.key.as_bytes()));
                self.platform.objects().put(&note, Bytes::from(json), "application/json").await?;
            }
            noted.extend(missing);
        }
    }

    /// Runs the objects that wait for this key. One that fails does not hold up the others, and is retried with the event.
    pub(super) async fn accept_waiting(&self, key: &str, fetcher: &Fetcher) -> Result<(), Failure> {
        let (objects, prefix) = (self.platform.objects(), notes(key));
        let (mut after, mut failed) = (prefix.clone(), None);
        loop {
            let listed = objects.list(&prefix, &after).await?;
            let Some(last) = listed.last() else { break };
            after.clone_from(&last.key);
            let waiting: Vec<_> = listed.iter().map(|note| self.accept_note(&note.key, fetcher)).collect();
            let mut waiting = stream::iter(waiting).buffer_unordered(STARTED_AT_ONCE);
            while let Some(outcome) = waiting.next().await {
                failed = failed.or(outcome.err());
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Runs the object of a note, which is removed unless the object still waits.
    async fn accept_note(&self, note: &str, fetcher: &Fetcher) -> Result<(), Failure> {
        let objects = self.platform.objects();
        let Some(json) = objects.get(note).await? else { return Ok(()) };
        let object: ObjectCreated = serde_json::from_slice(&json).map_err(internal)?;
        match self.accept_object(&object, fetcher).await? {
            InboxOutcome::Waiting { .. } => Ok(()),
            outcome => {
                tracing::info!(?outcome, "what it waited for has arrived");
                Ok(objects.delete(&[note.to_owned()]).await?)
            }
        }
    }

    /// The keys of the files for which an object was rejected: its pipeline, or media beside its document.
    async fn missing_files(
        &self,
        object: &ObjectCreated,
        rejected: &StartRejected,
        fetcher: &Fetcher,
    ) -> Result<BTreeSet<String>, Failure> {
        let StartRejected::Invalid { problems, missing, .. } = rejected else { return Ok(BTreeSet::new()) };
        let Some(kind) = InboxKind::of(&object.key).filter(|_| problems.iter().any(|problem| problem.code == UNREAD))
        else {
            return Ok(missing.iter().cloned().collect());
        };
        // A problem names its place in the document, and not the file.
        let beside = folder(&object.key);
        let body = match self.body_of(object, kind).await {
            Ok(body) => body,
            Err(StartRejected::Failed(failure)) => return Err(failure),
            Err(_) => return Ok(BTreeSet::new()),
        };
        let request = match self.intake.request(body, Some(beside), fetcher).await {
            Ok(request) => request,
            Err(IntakeError::Failed(failure)) => return Err(failure),
            Err(IntakeError::Invalid(_)) => return Ok(BTreeSet::new()),
        };
        let unread = request.refused.iter().filter(|(_, problem)| problem.code == UNREAD);
        Ok(unread.filter_map(|(text, _)| Some(format!("{beside}{}", name_beside(text)?))).collect())
    }
}

/// The prefix of the notes of those that wait for a file.
fn notes(file: &str) -> String {
    format!("{INBOX_WAITING}{}/", ContentKey::digest(composed(file).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_notes_of_either_form_of_its_name() {
        assert_eq!(notes("inbox/caf\u{e9}.png"), notes("inbox/cafe\u{301}.png"));
        assert_ne!(notes("inbox/cafe.png"), notes("inbox/caf\u{e9}.png"));
        assert!(notes(&"x".repeat(1_024)).len() < 100);
    }
}
