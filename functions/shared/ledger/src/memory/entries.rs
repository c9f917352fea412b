//! Entries, attempts, jobs and waiters in memory. A commit checks everything before it writes anything, in the order in
//! which the real one reports what failed: the entry, the job, the budget, the waiter.

use std::collections::BTreeSet;

use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::ids::{Attempt, ContentKey};

use super::{Memory, State};
use crate::records::{AttemptRecord, Entry, Millis, StepId, Waiter};
use crate::traits::{BudgetChange, Change, CommitError, Entries, FoundEntries, StoreError, Wait, Waiters};
use crate::transition::{ReadableAttempt, ReadableParts, repair};

impl Entries for Memory {
    async fn entry(&self, key: &ContentKey) -> Result<Option<Entry>, StoreError> {
        let state = self.lock();
        if state.damaged.contains(key) { Err(damaged(key)) } else { Ok(state.entries.get(key).cloned()) }
    }

    async fn entries(&self, keys: &[ContentKey]) -> Result<FoundEntries, StoreError> {
        let unique: BTreeSet<&ContentKey> = keys.iter().collect();
        let state = self.lock();
        let (unreadable, read): (Vec<_>, Vec<_>) = unique.into_iter().partition(|key| state.damaged.contains(key));
        Ok(FoundEntries {
            entries: read.into_iter().filter_map(|key| state.entries.get(key).cloned()).collect(),
            unreadable: unreadable.into_iter().map(|key| (key.clone(), damaged(key).0)).collect(),
        })
    }

    async fn repair(&self, key: &ContentKey, now: Millis) -> Result<(), StoreError> {
        let mut state = self.lock();
        let Some(entry) = state.entries.get(key).cloned() else { return Ok(()) };
        let survivors = ReadableParts {
            entry: (!state.damaged.contains(key)).then_some(&entry),
            rev: entry.rev,
            last: Some(entry.last_attempt),
            attempts: state
                .attempts
                .iter()
                .filter(|((of, _), _)| of == key)
                .map(|(id, row)| ReadableAttempt {
                    attempt: id.1,
                    row: Some(row.clone()),
                    reported: state.reports.contains_key(id),
                })
                .collect(),
            waiters: state.waiters.iter().filter(|((of, _), _)| of == key).map(|(_, waiter)| waiter.clone()).collect(),
        };
        if let Some(mended) = repair(key, &survivors, now) {
            let mended = Entry { rev: mended.rev + 1, ..mended };
            state.entries.insert(key.clone(), mended);
            state.damaged.remove(key);
        }
        Ok(())
    }

    async fn attempt(&self, key: &ContentKey, attempt: Attempt) -> Result<Option<AttemptRecord>, StoreError> {
        Ok(self.lock().attempts.get(&(key.clone(), attempt)).cloned())
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        let mut state = self.lock();
        check(&state, change)?;
        apply(&mut state, change);
        Ok(())
    }

    async fn record_report(&self, key: &ContentKey, attempt: Attempt, report: &str) -> Result<(), StoreError> {
        let mut state = self.lock();
        let id = (key.clone(), attempt);
        if state.attempts.contains_key(&id) {
            state.reports.entry(id).or_insert_with(|| report.to_owned());
        }
        Ok(())
    }

    async fn report(&self, key: &ContentKey, attempt: Attempt) -> Result<Option<String>, StoreError> {
        Ok(self.lock().reports.get(&(key.clone(), attempt)).cloned())
    }

    async fn job(&self, provider: ProviderName, request_id: &str) -> Result<Option<(ContentKey, Attempt)>, StoreError> {
        Ok(self.lock().jobs.get(&(provider, request_id.to_owned())).cloned())
    }

    async fn entries_to_check(&self, now: Millis, limit: u32) -> Result<Vec<ContentKey>, StoreError> {
        let state = self.lock();
        let mut due: Vec<(Millis, &ContentKey)> = state
            .entries
            .values()
            .filter_map(|entry| entry.next_check_at.filter(|due| *due <= now).map(|due| (due, &entry.key)))
            .collect();
        due.sort();
        Ok(due.into_iter().take(limit as usize).map(|(_, key)| key.clone()).collect())
    }
}

fn damaged(key: &ContentKey) -> StoreError {
    StoreError::unreadable(format!("entry {key} is damaged"))
}

fn check(state: &State, change: &Change) -> Result<(), CommitError> {
    let key = &change.entry.key;
    // What it was before it was damaged is not what is there.
    if state.damaged.contains(key) || state.entries.get(key).map_or(0, |entry| entry.rev) != change.entry.rev {
        return Err(CommitError::Conflict);
    }
    if let Some(job) = &change.job
        && let Some(owner) = state.jobs.get(&(job.provider, job.request_id.clone()))
        && *owner != (key.clone(), job.attempt)
    {
        return Err(CommitError::JobTaken);
    }
    if let Some(budget) = &change.budget {
        let run = state.runs.get(budget.run()).ok_or(CommitError::RunMissing)?;
        if let BudgetChange::Hold { amount, .. } = budget {
            if run.stop || run.status.is_final() {
                return Err(CommitError::RunStopped);
            }
            if run.remaining < *amount {
                return Err(CommitError::OverBudget);
            }
        }
    }
    match &change.joined {
        Some(joining) => match state.waiters.get(&(key.clone(), joining.step_id.clone())) {
            Some(waiter) if waiter.joined == joining.from => Ok(()),
            _ => Err(CommitError::Moved),
        },
        None => Ok(()),
    }
}

fn apply(state: &mut State, change: &Change) {
    let key = &change.entry.key;
    let entry = Entry { rev: change.entry.rev + 1, ..change.entry.clone() };
    state.entries.insert(key.clone(), entry);
    if let Some(attempt) = &change.attempt {
        state.attempts.insert((attempt.key.clone(), attempt.attempt), attempt.clone());
    }
    if let Some(job) = &change.job {
        state.jobs.insert((job.provider, job.request_id.clone()), (key.clone(), job.attempt));
    }
    if let Some(budget) = &change.budget
        && let Some(run) = state.runs.get_mut(budget.run())
    {
        match budget {
            BudgetChange::Hold { amount, .. } => {
                run.remaining = run.remaining - *amount;
                run.held += *amount;
            }
            BudgetChange::Settle { held, spent, .. } => {
                run.remaining += *held - *spent;
                run.held = run.held - *held;
                run.settled += *spent;
            }
        }
    }
    if let Some(joining) = &change.joined
        && let Some(waiter) = state.waiters.get_mut(&(key.clone(), joining.step_id.clone()))
    {
        waiter.joined = joining.to;
    }
}

impl Waiters for Memory {
    async fn put_waiter(&self, key: &ContentKey, wait: &Wait) -> Result<Waiter, StoreError> {
        let mut state = self.lock();
        let waiter = state.waiters.entry((key.clone(), wait.step_id.clone())).or_insert_with(|| Waiter {
            step_id: wait.step_id.clone(),
            token: String::new(),
            joined: Attempt::NONE,
            base: wait.base,
            since: wait.now,
            running_since: None,
            timeout_ms: wait.timeout_ms,
        });
        waiter.token.clone_from(&wait.token);
        waiter.timeout_ms = wait.timeout_ms;
        Ok(waiter.clone())
    }

    async fn record_join(&self, key: &ContentKey, step_id: &StepId, attempt: Attempt) -> Result<(), StoreError> {
        if let Some(waiter) = self.lock().waiters.get_mut(&(key.clone(), step_id.clone())) {
            waiter.joined = attempt;
        }
        Ok(())
    }

    async fn delete_waiter(&self, key: &ContentKey, step_id: &StepId) -> Result<(), StoreError> {
        self.lock().waiters.remove(&(key.clone(), step_id.clone()));
        Ok(())
    }

    async fn record_running(&self, key: &ContentKey, step_id: &StepId, now: Millis) -> Result<(), StoreError> {
        if let Some(waiter) = self.lock().waiters.get_mut(&(key.clone(), step_id.clone())) {
            waiter.running_since.get_or_insert(now);
        }
        Ok(())
    }

    async fn waiters(&self, key: &ContentKey) -> Result<Vec<Waiter>, StoreError> {
        let state = self.lock();
        Ok(state.waiters.iter().filter(|((of, _), _)| of == key).map(|(_, waiter)| waiter.clone()).collect())
    }

    async fn delete_waiter_if(&self, key: &ContentKey, step_id: &StepId, token: &str) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let id = (key.clone(), step_id.clone());
        let same = state.waiters.get(&id).is_some_and(|waiter| waiter.token == token);
        if same {
            state.waiters.remove(&id);
        }
        Ok(same)
    }
}
