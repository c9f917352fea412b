//! The guarantees. Some are checked at every commit, some whenever nothing is under way, and the rest when the history has
//! come to rest; what must happen at some time at all is counted, so that a suite that reaches nothing is noticed.

use std::collections::BTreeMap;

use fresco_engine::WebhookRefused;
use fresco_ledger::records::{
    AttemptRecord, AttemptStage, AttemptState, CachedResult, Entry, HoldState, StepId, StepRecord, StepState, Waiter,
};
use fresco_ledger::traits::{BudgetChange, Change, Joining};
use fresco_ledger::transition::{Notification, recipients};
use fresco_pipeline::document::CachePolicy;
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};
use fresco_pipeline::money::Money;

use crate::execution::{Execution, Phase, TaskState};
use crate::provider::{Job, JobEnd};
use crate::world::{World, brief, short};

pub(crate) fn describe(change: &Change) -> String {
    let entry = &change.entry;
    let pending = entry.pending.as_ref().map(|p| format!("{} {:?}", p.attempt, p.stage));
    let failure = entry.failure.as_ref().map(|f| format!("{} {} retryable {}", f.attempt, f.failure.name, f.retryable));
    format!(
        "{} rev {} result {:?} pending {pending:?} failure {failure:?} notify_pending {} attempt {:?} job {:?} budget {:?}",
        brief(&entry.key),
        entry.rev,
        entry.result.as_ref().map(|ready| ready.attempt.0),
        entry.notify_pending,
        change.attempt.as_ref().map(|row| (row.attempt.0, row.state)),
        change.job.as_ref().map(|job| &job.request_id),
        change.budget,
    )
}

/// After a commit: `before` and `row` are what stood there, `waiters` who waited.
pub(crate) fn committed(
    world: &World,
    before: Option<&Entry>,
    row: Option<&AttemptRecord>,
    waiters: &[Waiter],
    change: &Change,
) {
    let key = &change.entry.key;
    if let (Some(BudgetChange::Hold { .. }), Some(claim)) = (&change.budget, &change.attempt) {
        let mut state = world.state();
        let actor = state.actor;
        state.claims.insert(actor, (key.clone(), claim.attempt));
        state.claimed.insert((key.clone(), claim.attempt), world.now());
        drop(state);
        claimed(world, before, waiters, change);
    }
    if before.is_some_and(|entry| entry.result.is_some()) && change.entry.result.is_none() {
        world.count("expired");
        *world.state().expired.entry(key.clone()).or_default() += 1;
    }
    let stage = before.and_then(|entry| entry.pending.as_ref()).map(|pending| pending.stage);
    if change.job.is_some() && stage == Some(AttemptStage::Unknown) {
        world.count("adopted");
    }
    match (row.map(|row| row.state), change.attempt.as_ref().map(|row| row.state)) {
        (Some(AttemptState::Open), Some(AttemptState::Lost)) => {
            world.count("lost");
            world.state().lost.extend(change.attempt.as_ref().map(|row| (key.clone(), row.attempt)));
        }
        (Some(AttemptState::Lost), Some(AttemptState::Won)) => world.count("late success"),
        (Some(AttemptState::Failed), Some(AttemptState::Open)) => world.count("fetched once more"),
        (Some(_), Some(AttemptState::Duplicate)) => world.count("duplicate"),
        _ => {}
    }
    money(world);
}

/// (b) No step that shared the final failure of an attempt submits for it again: under policy `fail` that is what keeps an attempt
/// of unknown fate from being paid twice.
fn claimed(world: &World, before: Option<&Entry>, waiters: &[Waiter], change: &Change) {
    let Some(Joining { step_id, to: attempt, .. }) = &change.joined else { return };
    let waiter = waiters.iter().find(|waiter| waiter.step_id == *step_id);
    let joined = waiter.map(|waiter| Waiter { joined: *attempt, ..waiter.clone() });
    let known = joined.and_then(|waiter| world.state().joined.insert(step_id.clone(), waiter));
    if let Some(failed) = before.and_then(|entry| entry.failure.as_ref()).filter(|failed| !failed.retryable) {
        let wanted = |waiter: &Waiter| waiter.joined > Attempt::NONE && failed.attempt > waiter.base;
        // As its row says, and as it was whatever became of the row.
        let shared = waiter.is_some_and(|waiter| wanted(waiter) && waiter.joined <= failed.attempt);
        let forgotten = known.is_some_and(|waiter| wanted(&waiter) && waiter.joined == failed.attempt);
        world.require(!shared && !forgotten, || {
            format!("(b) {} shared {} and submits again", short(step_id), failed.failure)
        });
    }
    if before.is_some_and(|entry| entry.pending.is_some()) {
        world.broken(|| format!("(a) {} was claimed while an attempt is pending", brief(&change.entry.key)));
    }
}

/// (c) At every instant.
fn money(world: &World) {
    for run in world.ledger.all_runs() {
        let budget = world.state().budgets.get(&run.id).copied();
        let Some(budget) = budget else { continue };
        let (held, settled, remaining) = (run.held, run.settled, run.remaining);
        world.require(held >= Money::ZERO && settled >= Money::ZERO, || {
            format!("(c) {} has {held} held, {settled} settled", run.id)
        });
        world.require(held + settled <= budget, || {
            format!("(c) {}: {held} held and {settled} settled exceed {budget}", run.id)
        });
        world.require(held + settled + remaining == budget, || {
            format!("(c) {}: {held} held, {settled} settled and {remaining} left are not {budget}", run.id)
        });
    }
}

/// (g) The objects of a result that is handed out exist, and will while links to them live.
pub(crate) fn pinned(world: &World, step_id: &StepId, ready: &CachedResult, row: Option<&StepRecord>) {
    let objects = world.services.all_objects();
    for output in &ready.outputs {
        let object = objects.get(&output.key);
        world.require(object.is_some_and(|object| object.bytes.len() as u64 == output.bytes), || {
            format!("(g) {} is handed out and not there", output.key)
        });
        let life = i64::from(world.knobs.max_age_days) * 86_400_000;
        let until = object.map_or(0, |object| object.modified_at + life);
        world.require(until - world.now() >= 3_600_000, || format!("(g) {} is handed out and about to go", output.key));
    }
    if !ready.is_whole() {
        // Only a step that waited for the attempt takes what is good of it.
        let joined = world.state().joined.get(step_id).map_or(Attempt::NONE, |waiter| waiter.joined);
        world.require(joined > Attempt::NONE && joined <= ready.attempt, || {
            format!("(g) {} joined {joined} and got the short result of {}", short(step_id), ready.attempt)
        });
        world.count("short result");
    }
    let Some(row) = row else { return };
    let own = row.pinned.as_ref().map(|ready| ready.attempt) == Some(ready.attempt);
    if row.plan.cache == CachePolicy::Refresh && own {
        let claimed = |key: &ContentKey| world.state().claimed.get(&(key.clone(), ready.attempt)).copied();
        let made = row.key.as_ref().and_then(claimed);
        world.require(made >= row.started_at, || {
            format!("(g) {} asked for a new result and got an old one", short(step_id))
        });
        world.count("refreshed");
    }
}

/// (g) A clean-up removes nothing that a run which has not ended has pinned, and nothing that an entry still gives.
pub(crate) fn removed(world: &World, keys: &[String]) {
    let open: Vec<RunId> =
        world.ledger.all_runs().into_iter().filter(|run| !run.status.is_final()).map(|run| run.id).collect();
    let has = |ready: &CachedResult| ready.outputs.iter().any(|output| keys.contains(&output.key));
    for step in world.ledger.all_steps() {
        let taken = open.contains(&step.run) && step.pinned.as_ref().is_some_and(has);
        world.require(!taken, || format!("(g) what {}/{} has pinned is cleaned away", step.run, step.plan.id()));
    }
    for entry in world.ledger.all_entries() {
        let given = entry.result.as_ref().is_some_and(has);
        world.require(!given, || format!("(g) {} still gives what is cleaned away", brief(&entry.key)));
    }
}

/// A genuine webhook may be refused only where its job went to another attempt: found in the list, or by another's lookup.
pub(crate) fn genuine_refused(world: &World, n: usize, refused: &WebhookRefused) {
    let job = world.state().jobs[n].clone();
    let attempts = world.ledger.all_attempts();
    let own = attempts.iter().find(|row| (&row.key, row.attempt) == (&job.key, job.attempt));
    let elsewhere = attempts
        .iter()
        .any(|row| row.request_id.as_ref() == Some(&job.id) && (&row.key, row.attempt) != (&job.key, job.attempt));
    let another = own.is_some_and(|row| row.request_id.as_ref().is_some_and(|id| *id != job.id));
    world.require(elsewhere || another, || format!("(e) the webhook of {} was refused: {refused}", job.id));
}

/// (d) Whenever no function runs: a waiting step is registered where it will be notified, and no step waits for a
/// decision of which it was notified.
pub(crate) fn at_idle(world: &World, executions: &[Execution]) {
    let waiters = world.ledger.all_waiters();
    let steps = world.ledger.all_steps();
    let entries = world.ledger.all_entries();
    // A run that was closed by its bound has no waiters: its next nudge finds that, and its token is answered at rest.
    let closed: Vec<RunId> =
        world.ledger.all_runs().into_iter().filter(|run| run.status.is_final()).map(|run| run.id).collect();
    let open = |execution: &&Execution| execution.phase == Phase::Working && !closed.contains(&execution.run);
    for execution in executions.iter().filter(open) {
        for (n, task) in execution.tasks.iter().enumerate() {
            let TaskState::Live(token) = &task.state else { continue };
            // A call that crashed, or that another one overtook, is what the nudge is for.
            if !task.returned || task.overlapped {
                continue;
            }
            let step_id = execution.step_id(n);
            let Some(step) = steps.iter().find(|step| step.run == step_id.run && step.plan.id() == step_id.step) else {
                continue;
            };
            let waits = waiters.iter().any(|(key, waiter)| {
                Some(key) == step.key.as_ref() && waiter.step_id == step_id && waiter.token == *token
            });
            world.require(waits, || format!("(d) {} waits and has no row", short(&step_id)));
            let Some(entry) =
                entries.iter().find(|entry| Some(&entry.key) == step.key.as_ref() && !entry.notify_pending)
            else {
                continue;
            };
            let here: Vec<Waiter> =
                waiters.iter().filter(|(key, _)| *key == entry.key).map(|(_, waiter)| waiter.clone()).collect();
            let decided = recipients(entry, &here).into_iter().any(|(waiter, message)| {
                let last = match &message {
                    Notification::Succeed(_) => true,
                    Notification::Fail(cause) => !cause.name.is_retryable(),
                    Notification::RetryAt(..) => false,
                };
                waiter.step_id == step_id && last
            });
            world.require(!decided, || format!("(d) {} was not notified of its decision", short(&step_id)));
        }
    }
}

/// When nothing is left to happen.
pub(crate) fn at_rest(world: &World, executions: &[Execution]) {
    let jobs = world.state().jobs.clone();
    let attempts = world.ledger.all_attempts();
    paid_once(world, &jobs, &attempts);
    let published = world.services.published();
    for run in world.ledger.all_runs() {
        let spent =
            attempts.iter().filter(|row| row.hold.run == run.id).map(|row| spent(world, row, &jobs)).sum::<Money>();
        world.require(run.held == Money::ZERO, || format!("(c) {} still holds {}", run.id, run.held));
        world.require(run.settled == spent, || {
            format!("(c) {} settled {} and its attempts cost {spent}", run.id, run.settled)
        });
        world.require(run.status.is_final(), || format!("(d) {} was not closed", run.id));
        let count = published.iter().filter(|(_, detail)| detail.contains(run.id.as_str())).count();
        world.require(count > 0, || format!("(d) the end of {} was not published", run.id));
    }
    for step in world.ledger.all_steps() {
        let decided = match step.state {
            StepState::Done => step.pinned.is_some(),
            StepState::Failed => step.failure.is_some(),
            StepState::Waiting => executions.iter().any(|execution| execution.run == step.run && execution.unplanned),
            StepState::Running => false,
        };
        let name = step.failure.as_ref().map(|cause| cause.name);
        match name {
            Some(ErrorName::BudgetExceeded) => world.count("budget exceeded"),
            Some(ErrorName::RunStopped) => world.count("step stopped"),
            Some(ErrorName::StepUnknown) => world.count("step unknown"),
            Some(ErrorName::StepTimedOut) => world.count("step timed out"),
            Some(ErrorName::ProviderExhausted) => {
                world.count("exhausted");
                let why = step.failure.as_ref().map(|cause| cause.message.clone()).unwrap_or_default();
                world.require(!world.knobs.short_outages_alone, || {
                    format!("(d) {}/{} did not survive a short outage: {why}", step.run, step.plan.id())
                });
            }
            Some(ErrorName::Internal) => world.count("internal"),
            _ => {}
        }
        world.require(decided, || format!("(d) {}/{} is not decided", step.run, step.plan.id()));
    }
    shared_failures(world);
    for execution in executions {
        for task in &execution.tasks {
            if let TaskState::Live(token) = &task.state {
                world.require(false, || format!("(d) {token} of {}/{} was not answered", execution.run, task.step));
            }
        }
    }
    for (key, waiter) in world.ledger.all_waiters() {
        world.count("row left behind");
        let open = world.services.is_open(&waiter.token);
        world.require(!open, || format!("(d) {} still waits for {}", short(&waiter.step_id), brief(&key)));
    }
    for entry in world.ledger.all_entries() {
        world.require(entry.pending.is_none() && !entry.notify_pending, || {
            format!("(d) {} is not decided or its waiters are not notified", brief(&entry.key))
        });
    }
    for job in jobs.iter().filter(|job| matches!(job.end, JobEnd::Ok | JobEnd::Short)) {
        kept(world, job, &attempts);
    }
}

/// (b) Jobs that are paid, by key.
fn paid_once(world: &World, jobs: &[Job], attempts: &[AttemptRecord]) {
    let mut paid: BTreeMap<_, usize> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.paid()) {
        *paid.entry(&job.key).or_default() += 1;
    }
    let steps = world.ledger.all_steps();
    for (key, paid) in paid {
        let refreshes = steps
            .iter()
            .filter(|step| step.key.as_ref() == Some(key) && step.plan.cache == CachePolicy::Refresh)
            .count();
        let lost = attempts.iter().filter(|row| row.key == *key && was_lost(world, row)).count();
        // What came short is asked for again.
        let in_vain = jobs.iter().filter(|job| job.key == *key && job.paid() && job.end != JobEnd::Ok).count();
        let expired = world.state().expired.get(key).copied().unwrap_or(0);
        let most = 1 + refreshes + lost + in_vain + expired;
        world.require(paid <= most, || {
            format!("(b) {paid} jobs are paid for {}: {refreshes} refreshes, {lost} lost, {in_vain} in vain, {expired} expired", brief(key))
        });
    }
}

fn was_lost(world: &World, row: &AttemptRecord) -> bool {
    world.state().lost.contains(&(row.key.clone(), row.attempt))
}

/// The cost of an attempt in the books of the provider.
fn spent(world: &World, row: &AttemptRecord, jobs: &[Job]) -> Money {
    let of = |job: &&Job| match &row.request_id {
        Some(id) => job.id == *id,
        None => job.sync && (&job.key, job.attempt) == (&row.key, row.attempt),
    };
    let job = jobs.iter().find(of);
    let cost = match row.state {
        AttemptState::Lost => row.hold.amount,
        _ => match job {
            Some(job) => job.cost(),
            None if world.state().billed.contains(&(row.key.clone(), row.attempt)) => row.hold.amount,
            None => Money::ZERO,
        },
    };
    let settled = match row.hold.state {
        HoldState::Settled(money) => money,
        HoldState::Released => Money::ZERO,
        HoldState::Held => Money::micros(-1),
    };
    world.require(settled == cost, || {
        format!(
            "(c) attempt {} of {} cost {cost} and its hold is {:?} ({:?})",
            row.attempt,
            brief(&row.key),
            row.hold.state,
            row.state
        )
    });
    cost
}

/// (e) A paid result is stored or a duplicate, unless the stack never learned of the job. Nothing is looked after any more
/// when a history has come to rest, so that no attempt is given up for an outage.
fn kept(world: &World, job: &Job, attempts: &[AttemptRecord]) {
    let by_id = attempts.iter().find(|row| row.request_id.as_ref() == Some(&job.id));
    let own = || attempts.iter().find(|row| (&row.key, row.attempt) == (&job.key, job.attempt));
    let Some(row) = by_id.or_else(own) else {
        return world.broken(|| format!("(e) {} belongs to no attempt", job.id));
    };
    match row.state {
        AttemptState::Won | AttemptState::Duplicate => world.count("kept"),
        // Lost, and neither a webhook nor a list ever showed it.
        AttemptState::Lost if by_id.is_none() => world.count("never heard of"),
        state => world.broken(|| {
            format!("(e) {} succeeded and attempt {} of {} is {state:?}", job.id, row.attempt, brief(&row.key))
        }),
    }
}

/// Failures that more than one step shares.
fn shared_failures(world: &World) {
    let mut failed: BTreeMap<(String, String), Vec<RunId>> = BTreeMap::new();
    for step in world.ledger.all_steps() {
        if let (StepState::Failed, Some(cause)) = (step.state, &step.failure)
            && matches!(
                cause.name,
                ErrorName::ProviderRejected
                    | ErrorName::ProviderFailed
                    | ErrorName::StepUnknown
                    | ErrorName::OutputInvalid
            )
        {
            failed
                .entry((step.key.clone().map(String::from).unwrap_or_default(), cause.to_string()))
                .or_default()
                .push(step.run.clone());
        }
    }
    if failed.values().any(|runs| runs.len() > 1) {
        world.count("shared failure");
    }
}
