//! The ledger and the services in memory behind gates: every capability yields before its effect and before its reply, may fail, and may lose its
//! reply. Here are also the rules that a mutant breaks.

use std::sync::Arc;

use bytes::Bytes;
use fresco_engine::platform::{MediaStore, OutputPlace, Platform};
use fresco_ledger::records::{
    AttemptRecord, BatchCounts, BatchPlan, BatchRecord, BatchStatus, CachedResult, Entry, Millis, ResultSource,
    RunRecord, RunStatus, StepId, StepRecord, Waiter,
};
use fresco_ledger::services::fake::{FakeUpload, ManualClock};
use fresco_ledger::traits::{
    Batches, BudgetChange, Change, ChunkEnd, CommitError, ConditionalGet, Delivery, Entries, EventPublisher,
    Executions, Firing, Firings, FoundEntries, Invoker, ListPosition, ListedObject, ObjectHead, Objects, PresignedPut,
    Runs, Scheduler, SigningKeys, StoreError, TaskCallbacks, Timer, Usage, UsageCounter, Wait, Waiters,
};
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};
use fresco_pipeline::media::Media;
use fresco_pipeline::money::Money;
use fresco_providers::{Provider, RemoteMedia};

use crate::invariants;
use crate::provider::{Model, media_bytes};
use crate::world::{Answer, Mutant, World, brief, short};

/// Every capability.
#[derive(Clone)]
pub(crate) struct Sim(pub(crate) Arc<World>);

impl Platform for Sim {
    type Ledger = Sim;
    type Objects = Sim;
    type TaskCallbacks = Sim;
    type Executions = Sim;
    type EventPublisher = Sim;
    type Scheduler = Sim;
    type Invoker = Sim;
    type Media = Sim;
    type Clock = ManualClock;

    fn ledger(&self) -> &Sim {
        self
    }
    fn objects(&self) -> &Sim {
        self
    }
    fn callbacks(&self) -> &Sim {
        self
    }
    fn executions(&self) -> &Sim {
        self
    }
    fn publisher(&self) -> &Sim {
        self
    }
    fn scheduler(&self) -> &Sim {
        self
    }
    fn invoker(&self) -> &Sim {
        self
    }
    fn media(&self) -> &Sim {
        self
    }
    fn clock(&self) -> &ManualClock {
        &self.0.clock
    }
    fn provider(&self, _: ProviderName) -> Arc<dyn Provider> {
        Arc::new(Model(self.0.clone()))
    }
    async fn has_key(&self, _: ProviderName) -> Result<bool, Failure> {
        Ok(true)
    }
    fn new_token(&self) -> Result<String, Failure> {
        let mut state = self.0.state();
        let token: String = (0..4).map(|_| format!("{:016x}", state.rng.next())).collect();
        state.tokens.push(token.clone());
        Ok(token)
    }
}

impl Sim {
    async fn ledger<T: Send>(
        &self,
        what: &'static str,
        about: impl FnOnce() -> String + Send,
        effect: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.0.call(what, about, effect, StoreError::ledger).await
    }

    async fn storage<T: Send>(
        &self,
        what: &'static str,
        key: &str,
        effect: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.0.call(what, || key.chars().take(24).collect(), effect, StoreError::storage).await
    }

    async fn commit_now(&self, change: &Change) -> Result<(), CommitError> {
        let ledger = &self.0.ledger;
        let before = ledger.stored_entry(&change.entry.key);
        let row = match &change.attempt {
            Some(row) => ledger.attempt(&row.key, row.attempt).await.expect("memory answers"),
            None => None,
        };
        let waiters = ledger.waiters(&change.entry.key).await.expect("memory answers");
        let mut change = change.clone();
        match (self.0.mutant, &change.budget) {
            (Some(Mutant::NoRevision), _) => change.entry.rev = before.as_ref().map_or(0, |entry| entry.rev),
            (Some(Mutant::NoBudget), Some(BudgetChange::Hold { run, amount })) => {
                if let Some(mut row) = ledger.run(run).await.expect("memory answers")
                    && row.remaining < *amount
                {
                    row.remaining = *amount;
                    ledger.put_run(&row);
                }
            }
            _ => {}
        }
        ledger.commit(&change).await?;
        invariants::committed(&self.0, before.as_ref(), row.as_ref(), &waiters, &change);
        Ok(())
    }
}

impl Entries for Sim {
    async fn entry(&self, key: &ContentKey) -> Result<Option<Entry>, StoreError> {
        self.ledger("entry", || brief(key).to_owned(), self.0.ledger.entry(key)).await
    }
    async fn entries(&self, keys: &[ContentKey]) -> Result<FoundEntries, StoreError> {
        self.ledger("entries", String::new, self.0.ledger.entries(keys)).await
    }
    async fn repair(&self, key: &ContentKey, now: Millis) -> Result<(), StoreError> {
        self.ledger("repair", || brief(key).to_owned(), self.0.ledger.repair(key, now)).await
    }
    async fn attempt(&self, key: &ContentKey, attempt: Attempt) -> Result<Option<AttemptRecord>, StoreError> {
        self.ledger("attempt", || format!("{} {attempt}", brief(key)), self.0.ledger.attempt(key, attempt)).await
    }
    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        // Another transaction on one of its items is in progress.
        if self.0.harm(25) {
            self.0.count("commit in conflict");
            return Err(CommitError::Conflict);
        }
        let about = || invariants::describe(change);
        let lost = |why: &'static str| CommitError::Unclear(StoreError::ledger(why).0);
        self.0.call("commit", about, self.commit_now(change), lost).await
    }
    async fn record_report(&self, key: &ContentKey, attempt: Attempt, report: &str) -> Result<(), StoreError> {
        let about = || format!("{} {attempt} {report:.40}", brief(key));
        self.ledger("record report", about, self.0.ledger.record_report(key, attempt, report)).await
    }
    async fn report(&self, key: &ContentKey, attempt: Attempt) -> Result<Option<String>, StoreError> {
        let about = || format!("{} {attempt}", brief(key));
        self.ledger("report", about, Entries::report(&self.0.ledger, key, attempt)).await
    }
    async fn job(&self, provider: ProviderName, id: &str) -> Result<Option<(ContentKey, Attempt)>, StoreError> {
        self.ledger("job", || id.to_owned(), self.0.ledger.job(provider, id)).await
    }
    async fn entries_to_check(&self, now: Millis, limit: u32) -> Result<Vec<ContentKey>, StoreError> {
        let effect = async {
            let mut due = self.0.ledger.entries_to_check(now, limit).await?;
            // An index lags: what it does not show yet is due a minute later still.
            if !due.is_empty() && self.0.harm(20) {
                due.pop();
            }
            Ok(due)
        };
        self.ledger("due", String::new, effect).await
    }
}

impl Waiters for Sim {
    async fn put_waiter(&self, key: &ContentKey, wait: &Wait) -> Result<Waiter, StoreError> {
        let effect = async {
            let waiter = self.0.ledger.put_waiter(key, wait).await;
            self.0.written(&wait.step_id);
            waiter
        };
        let about = || format!("{} {} base {} {}", brief(key), short(&wait.step_id), wait.base, wait.token);
        self.ledger("wait", about, effect).await
    }
    async fn record_join(&self, key: &ContentKey, step_id: &StepId, attempt: Attempt) -> Result<(), StoreError> {
        let effect = async {
            self.0.ledger.record_join(key, step_id, attempt).await?;
            let row = self.0.ledger.waiters(key).await?.into_iter().find(|waiter| waiter.step_id == *step_id);
            self.0.state().joined.extend(row.map(|row| (step_id.clone(), row)));
            Ok(())
        };
        self.ledger("join", || format!("{} {} {attempt}", brief(key), short(step_id)), effect).await
    }
    async fn record_running(&self, key: &ContentKey, step_id: &StepId, now: Millis) -> Result<(), StoreError> {
        self.ledger("seen running", || short(step_id), self.0.ledger.record_running(key, step_id, now)).await
    }
    async fn waiters(&self, key: &ContentKey) -> Result<Vec<Waiter>, StoreError> {
        let effect = async {
            let mut waiters = self.0.ledger.waiters(key).await?;
            match self.0.mutant {
                Some(Mutant::MissedWaiter) => drop(waiters.pop()),
                Some(Mutant::LateWaiter) => waiters.retain(|waiter| self.0.seen_by_now(&waiter.step_id)),
                _ => {}
            }
            Ok(waiters)
        };
        self.ledger("waiters", || brief(key).to_owned(), effect).await
    }
    async fn delete_waiter(&self, key: &ContentKey, step_id: &StepId) -> Result<(), StoreError> {
        self.ledger("leave", || short(step_id), self.0.ledger.delete_waiter(key, step_id)).await
    }
    async fn delete_waiter_if(&self, key: &ContentKey, step_id: &StepId, token: &str) -> Result<bool, StoreError> {
        self.ledger(
            "unwait",
            || format!("{} {} {token}", brief(key), short(step_id)),
            self.0.ledger.delete_waiter_if(key, step_id, token),
        )
        .await
    }
}

impl Runs for Sim {
    async fn create_run(&self, run: &RunRecord) -> Result<bool, StoreError> {
        self.ledger("create run", || run.id.to_string(), self.0.ledger.create_run(run)).await
    }
    async fn run(&self, id: &RunId) -> Result<Option<RunRecord>, StoreError> {
        self.ledger("run", String::new, self.0.ledger.run(id)).await
    }
    async fn list_runs(
        &self,
        limit: u32,
        behind: Option<&ListPosition>,
        now: Millis,
    ) -> Result<Vec<RunRecord>, StoreError> {
        self.ledger("list runs", String::new, self.0.ledger.list_runs(limit, behind, now)).await
    }
    async fn open_runs(&self, now: Millis) -> Result<Vec<RunRecord>, StoreError> {
        self.ledger("open runs", String::new, self.0.ledger.open_runs(now)).await
    }
    async fn last_planned(&self, pipeline: &str) -> Result<Option<RunId>, StoreError> {
        self.ledger("last planned", String::new, self.0.ledger.last_planned(pipeline)).await
    }
    async fn plan_run(
        &self,
        id: &RunId,
        pipeline: &str,
        steps: &[StepRecord],
        bound_at: Millis,
    ) -> Result<(), StoreError> {
        self.ledger("plan run", || id.to_string(), self.0.ledger.plan_run(id, pipeline, steps, bound_at)).await
    }
    async fn step(&self, step_id: &StepId) -> Result<Option<StepRecord>, StoreError> {
        self.ledger("step", || short(step_id), self.0.ledger.step(step_id)).await
    }
    async fn steps(&self, run: &RunId) -> Result<Vec<StepRecord>, StoreError> {
        self.ledger("steps", String::new, self.0.ledger.steps(run)).await
    }
    async fn start_step(&self, step_id: &StepId, now: Millis) -> Result<Option<StepRecord>, StoreError> {
        self.ledger("begin step", || short(step_id), self.0.ledger.start_step(step_id, now)).await
    }
    async fn record_key(&self, step_id: &StepId, key: &ContentKey) -> Result<(), StoreError> {
        self.ledger("note key", || short(step_id), self.0.ledger.record_key(step_id, key)).await
    }
    async fn record_source(&self, step_id: &StepId, source: ResultSource) -> Result<(), StoreError> {
        self.ledger(
            "note source",
            || format!("{} {source:?}", short(step_id)),
            self.0.ledger.record_source(step_id, source),
        )
        .await
    }
    async fn pin(
        &self,
        step_id: &StepId,
        ready: &CachedResult,
        source: ResultSource,
        now: Millis,
    ) -> Result<Option<StepRecord>, StoreError> {
        let effect = async {
            let row = self.0.ledger.pin(step_id, ready, source, now).await?;
            invariants::pinned(&self.0, step_id, ready, row.as_ref());
            Ok(row)
        };
        self.ledger("pin", || format!("{} {}", short(step_id), ready.attempt), effect).await
    }
    async fn fail_step(&self, step_id: &StepId, cause: &Failure, now: Millis) -> Result<(), StoreError> {
        self.ledger("fail step", || format!("{} {cause}", short(step_id)), self.0.ledger.fail_step(step_id, cause, now))
            .await
    }
    async fn runs_to_check(&self, now: Millis, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.ledger("due runs", String::new, self.0.ledger.runs_to_check(now, limit)).await
    }
    async fn record_published(&self, id: &RunId) -> Result<(), StoreError> {
        self.0.count("published late");
        self.ledger("published", || id.to_string(), self.0.ledger.record_published(id)).await
    }
    async fn schedule_run_check(&self, id: &RunId, due: Millis) -> Result<bool, StoreError> {
        self.ledger("look at run", || id.to_string(), self.0.ledger.schedule_run_check(id, due)).await
    }
    async fn stop_run(&self, id: &RunId) -> Result<bool, StoreError> {
        self.ledger("stop run", || id.to_string(), self.0.ledger.stop_run(id)).await
    }
    async fn close_run(
        &self,
        id: &RunId,
        status: RunStatus,
        cause: Option<&Failure>,
        publish_pending: bool,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let about = || format!("{id} {status:?} publish_pending {publish_pending}");
        self.ledger("close run", about, self.0.ledger.close_run(id, status, cause, publish_pending, now)).await
    }
}

impl Objects for Sim {
    type Upload = FakeUpload;
    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StoreError> {
        self.storage("head", key, self.0.services.head(key)).await
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.storage("get", key, self.0.services.get(key)).await
    }
    async fn get_matching(&self, key: &str, tag: &str) -> Result<ConditionalGet, StoreError> {
        self.storage("get matching", key, self.0.services.get_matching(key, tag)).await
    }
    async fn scan(&self, key: &str, sink: &mut (dyn FnMut(&[u8]) + Send)) -> Result<Option<String>, StoreError> {
        self.storage("scan", key, self.0.services.scan(key, sink)).await
    }
    async fn presign_get(&self, key: &str, seconds: u64) -> Result<String, StoreError> {
        self.storage("link", key, self.0.services.presign_get(key, seconds)).await
    }
    async fn put(&self, key: &str, bytes: Bytes, content_type: &str) -> Result<(), StoreError> {
        self.storage("put", key, self.0.services.put(key, bytes, content_type)).await
    }
    async fn presign_put(
        &self,
        key: &str,
        bytes: u64,
        content_type: &str,
        sha256: Option<[u8; 32]>,
        seconds: u64,
    ) -> Result<PresignedPut, StoreError> {
        self.storage("put link", key, self.0.services.presign_put(key, bytes, content_type, sha256, seconds)).await
    }
    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<ListedObject>, StoreError> {
        self.storage("list", prefix, self.0.services.list(prefix, after)).await
    }
    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let effect = async {
            invariants::removed(&self.0, keys);
            self.0.services.delete(keys).await
        };
        self.storage("remove", keys.first().map_or("nothing", String::as_str), effect).await
    }
    async fn get_range(
        &self,
        key: &str,
        tag: Option<&str>,
        from: u64,
        length: u64,
    ) -> Result<Option<(Bytes, String)>, StoreError> {
        self.storage("piece", key, self.0.services.get_range(key, tag, from, length)).await
    }
    async fn touch(&self, key: &str, content_type: &str) -> Result<bool, StoreError> {
        let effect = async {
            self.0.count("renewed");
            self.0.services.touch(key, content_type).await
        };
        self.storage("renew", key, effect).await
    }
    async fn copy_matching(&self, key: &str, tag: &str, to: &str, content_type: &str) -> Result<bool, StoreError> {
        self.storage("keep", key, self.0.services.copy_matching(key, tag, to, content_type)).await
    }
    async fn copy(&self, key: &str, bucket: &str, to: &str) -> Result<bool, StoreError> {
        self.storage("copy", key, self.0.services.copy(key, bucket, to)).await
    }
    async fn upload(&self, key: &str, content_type: &str) -> Result<FakeUpload, StoreError> {
        self.storage("upload", key, self.0.services.upload(key, content_type)).await
    }
}

impl UsageCounter for Sim {
    async fn usage(&self) -> Result<Usage, StoreError> {
        self.ledger("usage", String::new, self.0.ledger.usage()).await
    }
    async fn add_usage(&self, bytes: i64) -> Result<(), StoreError> {
        self.ledger("add usage", || bytes.to_string(), self.0.ledger.add_usage(bytes)).await
    }
    async fn measure(&self, usage: &Usage, settled: i64) -> Result<bool, StoreError> {
        self.ledger("measure", String::new, self.0.ledger.measure(usage, settled)).await
    }
}

impl Executions for Sim {
    async fn start_run(&self, run: &RunId) -> Result<(), StoreError> {
        self.ledger("start", || run.to_string(), self.0.services.start_run(run)).await
    }
    async fn start_batch(&self, batch: &RunId, generation: u32) -> Result<(), StoreError> {
        self.ledger("start batch", || batch.to_string(), self.0.services.start_batch(batch, generation)).await
    }
    async fn batch_is_running(&self, batch: &RunId, generation: u32) -> Result<bool, StoreError> {
        self.ledger("batch goes on", || batch.to_string(), self.0.services.batch_is_running(batch, generation)).await
    }
    async fn stop_batch_execution(&self, batch: &RunId, generation: u32) -> Result<bool, StoreError> {
        self.ledger("end batch", || batch.to_string(), self.0.services.stop_batch_execution(batch, generation)).await
    }
}

impl Scheduler for Sim {
    async fn put_timer(&self, timer: &Timer) -> Result<(), StoreError> {
        self.ledger("set timer", || timer.name.clone(), self.0.services.put_timer(timer)).await
    }
    async fn delete_timer(&self, name: &str) -> Result<(), StoreError> {
        self.ledger("clear timer", || name.to_owned(), self.0.services.delete_timer(name)).await
    }
}

impl Firings for Sim {
    async fn last_firing(&self, schedule: &str) -> Result<Option<Firing>, StoreError> {
        self.ledger("last firing", || schedule.to_owned(), self.0.ledger.last_firing(schedule)).await
    }
    async fn record_firing(&self, schedule: &str, firing: &Firing) -> Result<bool, StoreError> {
        self.ledger("note firing", || schedule.to_owned(), self.0.ledger.record_firing(schedule, firing)).await
    }
}

impl Batches for Sim {
    async fn create_batch(&self, batch: &BatchRecord) -> Result<bool, StoreError> {
        self.ledger("create batch", || batch.id.to_string(), self.0.ledger.create_batch(batch)).await
    }
    async fn batch(&self, id: &RunId) -> Result<Option<BatchRecord>, StoreError> {
        self.ledger("batch", || id.to_string(), self.0.ledger.batch(id)).await
    }
    async fn list_batches(
        &self,
        limit: u32,
        behind: Option<&ListPosition>,
        now: Millis,
    ) -> Result<Vec<BatchRecord>, StoreError> {
        self.ledger("list batches", String::new, self.0.ledger.list_batches(limit, behind, now)).await
    }
    async fn plan_batch(&self, id: &RunId, plan: &BatchPlan) -> Result<bool, StoreError> {
        self.ledger("plan batch", || id.to_string(), self.0.ledger.plan_batch(id, plan)).await
    }
    async fn stop_batch(&self, id: &RunId) -> Result<Option<BatchRecord>, StoreError> {
        self.ledger("stop batch", || id.to_string(), self.0.ledger.stop_batch(id)).await
    }
    async fn open_chunk(
        &self,
        batch: &RunId,
        chunk: u32,
        generation: u32,
        run: &RunRecord,
        wanted: Money,
    ) -> Result<Option<RunRecord>, StoreError> {
        self.ledger(
            "open chunk",
            || run.id.to_string(),
            self.0.ledger.open_chunk(batch, chunk, generation, run, wanted),
        )
        .await
    }
    async fn top_up(&self, batch: &RunId, run: &RunId, amount: Money) -> Result<bool, StoreError> {
        self.ledger("top up", || run.to_string(), self.0.ledger.top_up(batch, run, amount)).await
    }
    async fn close_chunk(&self, end: &ChunkEnd, now: Millis) -> Result<bool, StoreError> {
        self.ledger("close chunk", || end.run.to_string(), self.0.ledger.close_chunk(end, now)).await
    }
    async fn reopen_batch(&self, id: &RunId, now: Millis, due: Millis) -> Result<Option<BatchRecord>, StoreError> {
        self.ledger("reopen batch", || id.to_string(), self.0.ledger.reopen_batch(id, now, due)).await
    }
    async fn batches_to_check(&self, now: Millis, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.ledger("due batches", String::new, self.0.ledger.batches_to_check(now, limit)).await
    }
    async fn schedule_batch_check(&self, id: &RunId, due: Millis) -> Result<bool, StoreError> {
        self.ledger("look at batch", || id.to_string(), self.0.ledger.schedule_batch_check(id, due)).await
    }
    async fn recount_batch(&self, id: &RunId, counts: &BatchCounts) -> Result<bool, StoreError> {
        self.ledger("recount batch", || id.to_string(), self.0.ledger.recount_batch(id, counts)).await
    }
    async fn close_batch(
        &self,
        id: &RunId,
        generation: u32,
        status: BatchStatus,
        cause: Option<&Failure>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        self.ledger("close batch", || id.to_string(), self.0.ledger.close_batch(id, generation, status, cause, now))
            .await
    }
}

impl EventPublisher for Sim {
    async fn publish(&self, kind: &str, detail: &str) -> Result<(), StoreError> {
        self.ledger("announce", || kind.to_owned(), self.0.services.publish(kind, detail)).await
    }
}

impl SigningKeys for Sim {
    async fn signing_key(&self, fresh: &str) -> Result<String, StoreError> {
        self.ledger("signing key", String::new, self.0.ledger.signing_key(fresh)).await
    }
}

impl TaskCallbacks for Sim {
    async fn succeed(&self, token: &str, output: &str) -> Result<Delivery, StoreError> {
        let effect = async {
            let delivery = self.0.services.succeed(token, output).await?;
            if delivery == Delivery::Delivered {
                self.0.state().answers.push((token.to_owned(), Answer::Done));
            }
            Ok(delivery)
        };
        self.ledger("answer", || token.to_owned(), effect).await
    }
    async fn fail(&self, token: &str, cause: &Failure) -> Result<Delivery, StoreError> {
        let effect = async {
            let delivery = self.0.services.fail(token, cause).await?;
            if delivery == Delivery::Delivered {
                self.0.state().answers.push((token.to_owned(), Answer::Failed(cause.clone())));
            }
            Ok(delivery)
        };
        self.ledger("answer", || format!("{token} {cause}"), effect).await
    }
    async fn retry_in(&self, token: &str, seconds: u32, reason: &Failure) -> Result<Delivery, StoreError> {
        let effect = async {
            let delivery = self.0.services.retry_in(token, seconds, reason).await?;
            if delivery == Delivery::Delivered {
                self.0.count("paused");
                self.0.state().answers.push((token.to_owned(), Answer::RetryIn(seconds)));
            }
            Ok(delivery)
        };
        self.ledger("answer", || format!("{token} again in {seconds} s"), effect).await
    }
}

impl Invoker for Sim {
    async fn collect(&self, key: &ContentKey, attempt: Attempt) -> Result<(), StoreError> {
        self.ledger("hand over", || format!("{} {attempt}", brief(key)), self.0.services.collect(key, attempt)).await
    }
    async fn close_run(&self, run: &RunId) -> Result<(), StoreError> {
        self.ledger("hand over", || run.to_string(), self.0.services.close_run(run)).await
    }
    async fn finalize_batch(&self, batch: &RunId, generation: u32) -> Result<(), StoreError> {
        self.ledger("hand over", || batch.to_string(), self.0.services.finalize_batch(batch, generation)).await
    }
}

impl MediaStore for Sim {
    async fn store(&self, place: &OutputPlace, media: &RemoteMedia) -> Result<Media, Failure> {
        if let Some(cause) = self.0.fetch_failure() {
            self.0.count("fetch failed");
            self.0.note(|| format!("fetch {} {} FAILS: {cause}", brief(&place.key), place.attempt));
            return Err(cause);
        }
        let effect = async {
            let Some(bytes) = media_bytes(&media.url) else {
                return Err(Failure::new(ErrorName::OutputInvalid, "this is not a picture"));
            };
            let key = place.object_key("png");
            let output = Media {
                key: key.clone(),
                kind: place.kind,
                content_type: "image/png".into(),
                bytes: bytes.len() as u64,
                sha256: ContentKey::digest(&bytes).to_string(),
                width: None,
                height: None,
                duration_ms: None,
            };
            if self.0.services.head(&key).await.expect("memory answers").is_none() {
                self.0.services.put_object(key, bytes, "image/png");
            }
            Ok(output)
        };
        crate::world::Pause(false).await;
        self.0.note(|| format!("store {} {}", brief(&place.key), place.attempt));
        let stored = effect.await;
        crate::world::Pause(false).await;
        stored
    }
}
