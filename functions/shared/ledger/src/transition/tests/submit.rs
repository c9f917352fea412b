//! From the request to the job: claim, submitted, unknown, adopted, lost.

use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::Attempt;
use fresco_pipeline::media::Shortfall;
use fresco_pipeline::money::Money;

use super::*;
use crate::records::{AttemptStage, AttemptState, CachedResult, HoldState, LastFailure};
use crate::traits::{BudgetChange, Joining};
use crate::transition::{
    LATE_COMPLETION_PAUSE, LookupResult, MAX_EMPTY_ANSWERS, Notification, UNKNOWN_JOB_GRACE, UNKNOWN_JOB_SPACING,
    UNKNOWN_JOB_WATCH, UnknownPolicy, complete, expire, fail, lease_checks, mark_unknown, recipients, record_lookup,
    record_submission, record_unknown_job, watch_unknown_job,
};

fn failed_entry(retryable: bool, not_before: Millis) -> Entry {
    let name = if retryable { ErrorName::ProviderThrottled } else { ErrorName::ProviderRejected };
    let failure = Failure::new(name, "what happened");
    Entry {
        last_attempt: Attempt(2),
        tries: 3,
        failure: Some(LastFailure {
            attempt: Attempt(2),
            failure,
            retryable,
            not_before,
            leader: step_id("leader"),
            unfetched: false,
        }),
        ..entry()
    }
}

#[test]
fn a_claim_is_one_transaction() {
    let leader = waiter("leader", 0, 0);
    let change = claim(&entry(), &leader, NOW);
    let pending = change.entry.pending.as_ref().unwrap();
    assert_eq!(
        (pending.attempt, pending.stage, &pending.leader),
        (Attempt(1), AttemptStage::Submitting, &leader.step_id)
    );
    assert_eq!(change.entry.next_check_at, Some(pending.lease_until));
    let record = change.attempt.unwrap();
    assert_eq!((record.state, record.hold.state, record.hold.amount), (AttemptState::Open, HoldState::Held, PRICE));
    assert_eq!(change.budget, Some(BudgetChange::Hold { run: leader.step_id.run.clone(), amount: PRICE }));
    let joining = Joining { step_id: leader.step_id, from: Attempt::NONE, to: Attempt(1) };
    assert_eq!(change.joined, Some(joining));
}

#[test]
fn a_pending_attempt_is_joined() {
    let (entry, _) = claimed();
    assert_eq!(answer(&entry, &waiter("other", 0, 0), false, NOW), Acquisition::Join(Attempt(1)));
    // By its claimant, too, and by a refresh that started later: no other attempt may be claimed meanwhile.
    assert_eq!(answer(&entry, &waiter("leader", 1, 0), false, NOW), Acquisition::Join(Attempt(1)));
    assert_eq!(answer(&entry, &waiter("refresh", 0, 1), false, NOW), Acquisition::Join(Attempt(1)));
}

#[test]
fn a_usable_result_after_the_base_is_used() {
    let there = Entry { result: Some(ready(3)), last_attempt: Attempt(3), ..entry() };
    assert_eq!(answer(&there, &waiter("a", 0, 0), true, NOW), Acquisition::Hit(ready(3)));
    assert_eq!(answer(&there, &waiter("a", 0, 2), true, NOW), Acquisition::Hit(ready(3)));
    // Its objects are gone, or the refresh started after it.
    for (usable, base) in [(false, 0), (true, 3)] {
        let Acquisition::Claim(change) = answer(&there, &waiter("a", 0, base), usable, NOW) else {
            panic!("not a claim")
        };
        assert_eq!(
            (change.entry.last_attempt, change.entry.result),
            (Attempt(4), Some(ready(3))),
            "it stays until replaced"
        );
    }
    // A step that does not refresh uses it during a refresh.
    let (refreshing, _) = next_claim(&there);
    assert_eq!(answer(&refreshing, &waiter("a", 0, 0), true, NOW), Acquisition::Hit(ready(3)));
}

/// Three of four pictures: the steps that waited take them, and the next one asks for four again.
#[test]
fn a_short_result_counts_only_for_the_steps_that_waited_for_it() {
    let short = Some(Shortfall::Outputs { asked: 4, given: 3, blanked: 1 });
    let there = Entry {
        result: Some(CachedResult { shortfall: short, ..ready(2) }),
        last_attempt: Attempt(2),
        notify_pending: true,
        ..entry()
    };
    assert!(matches!(answer(&there, &waiter("a", 2, 0), true, NOW), Acquisition::Hit(ready) if !ready.is_whole()));
    assert!(matches!(answer(&there, &waiter("a", 1, 0), true, NOW), Acquisition::Hit(_)));
    assert_eq!(claim(&there, &waiter("a", 0, 0), NOW).entry.last_attempt, Attempt(3));
    let notified: Vec<_> = recipients(&there, &[waiter("waited", 2, 0), waiter("new", 0, 0), waiter("later", 3, 0)])
        .into_iter()
        .filter(|(_, message)| matches!(message, Notification::Succeed(_)))
        .map(|(waiter, _)| waiter.step_id)
        .collect();
    assert_eq!(notified, [step_id("waited")]);
    // A text that was cut off is what it is.
    let cut = CachedResult { shortfall: Some(Shortfall::Text { limit: 1_024 }), ..ready(2) };
    assert_eq!(
        answer(&Entry { result: Some(cut.clone()), ..there }, &waiter("a", 0, 0), true, NOW),
        Acquisition::Hit(cut)
    );
}

#[test]
fn answers_without_a_result_are_bounded_by_number() {
    let mut entry = entry();
    for n in 1..=MAX_EMPTY_ANSWERS {
        let now = entry.failure.as_ref().map_or(NOW, |failure| failure.not_before);
        let change = claim(&entry, &waiter("leader", entry.last_attempt.0, 0), now);
        let record = change.attempt.clone().unwrap();
        (entry, _) = after(change, &record);
        let (failed, record) =
            after(fail(&entry, &record, &outcome(ErrorName::ProviderNoResult, PRICE), now).unwrap(), &record);
        entry = failed;
        let failure = entry.failure.as_ref().unwrap();
        let name = if n < MAX_EMPTY_ANSWERS { ErrorName::ProviderNoResult } else { ErrorName::ProviderFailed };
        assert_eq!((failure.failure.name, failure.retryable), (name, n < MAX_EMPTY_ANSWERS), "{n}");
        assert_eq!(record.hold.state, HoldState::Settled(PRICE), "every answer is paid");
    }
}

#[test]
fn a_retryable_failure_is_waited_out() {
    let entry = failed_entry(true, NOW);
    assert!(matches!(answer(&entry, &waiter("leader", 2, 0), false, NOW - 1), Acquisition::RetryLater(_)));
    let change = claim(&entry, &waiter("leader", 2, 0), NOW);
    assert_eq!((change.entry.last_attempt, change.entry.tries), (Attempt(3), 3), "the count of failures continues");
    assert_eq!(change.entry.failure, None);
}

#[test]
fn a_terminal_failure_is_shared_by_the_steps_that_joined() {
    let entry = failed_entry(false, NOW + 60_000);
    for joined in [1, 2] {
        let shared = answer(&entry, &waiter("a", joined, 0), false, NOW);
        assert!(
            matches!(shared, Acquisition::SharedFailure(cause) if cause.name == ErrorName::ProviderRejected),
            "{joined}"
        );
    }
    // A step that had not joined, or waits for a later attempt, may claim at once.
    for (joined, base) in [(0, 0), (2, 2)] {
        let change = claim(&entry, &waiter("a", joined, base), NOW);
        assert_eq!((change.entry.last_attempt, change.entry.tries, change.entry.lost), (Attempt(3), 0, 0));
    }
}

#[test]
fn a_submission_is_recorded_once() {
    let (entry, record) = claimed();
    let change = record_submission(&entry, &record, "job", NOW + 5).unwrap();
    assert_eq!(change.job.as_ref().map(|job| (job.request_id.as_str(), job.attempt)), Some(("job", Attempt(1))));
    let (entry, record) = after(change, &record);
    let pending = entry.pending.as_ref().unwrap();
    assert_eq!((pending.stage, pending.request_id.as_deref()), (AttemptStage::Submitted, Some("job")));
    assert_eq!(record.request_id.as_deref(), Some("job"));
    assert_eq!(record_submission(&entry, &record, "job", NOW + 9), None);
}

#[test]
fn an_unknown_job_is_adopted() {
    let (entry, record) = claimed();
    let (entry, record) = after(mark_unknown(&entry, Attempt(1), NOW + 5).unwrap(), &record);
    let pending = entry.pending.as_ref().unwrap();
    assert_eq!((pending.stage, entry.next_check_at), (AttemptStage::Unknown, Some(NOW + 5)), "it is due at once");
    let (entry, record) = after(record_submission(&entry, &record, "job", NOW + 9).unwrap(), &record);
    assert_eq!(entry.pending.unwrap().stage, AttemptStage::Submitted);
    assert_eq!(record.state, AttemptState::Open);
}

#[test]
fn only_an_unrecorded_submission_becomes_unknown() {
    let (entry, record) = claimed();
    assert_eq!(mark_unknown(&entry, Attempt(2), NOW), None);
    let (sent, _) = after(record_submission(&entry, &record, "job", NOW).unwrap(), &record);
    assert_eq!(mark_unknown(&sent, Attempt(1), NOW), None);
    let (lost, _) = after(mark_unknown(&entry, Attempt(1), NOW).unwrap(), &record);
    assert_eq!(mark_unknown(&lost, Attempt(1), NOW), None);
    assert_eq!(mark_unknown(&super::entry(), Attempt(1), NOW), None);
}

#[test]
fn a_lost_job_that_appears_is_recorded_beside_the_pending_attempt() {
    let (entry, record) = lost(UnknownPolicy::ResubmitOnce, LookupResult::Empty);
    let (entry, _) = next_claim(&entry);
    let change = record_submission(&entry, &record, "job", NOW).unwrap();
    assert_eq!(change.entry.pending, entry.pending);
    assert_eq!(change.entry.late_completions.first().map(|late| late.attempt), Some(Attempt(1)), "sweep checks it");
    assert_eq!((change.job.unwrap().attempt, change.attempt.unwrap().state), (Attempt(1), AttemptState::Lost));
}

/// The first attempt, lost.
fn lost(policy: UnknownPolicy, look_up: LookupResult) -> (Entry, AttemptRecord) {
    let (entry, record) = claimed();
    lose(&entry, &record, policy, look_up)
}

fn lose(entry: &Entry, record: &AttemptRecord, policy: UnknownPolicy, look_up: LookupResult) -> (Entry, AttemptRecord) {
    let (mut entry, mut record) = after(mark_unknown(entry, record.attempt, NOW).unwrap(), record);
    while record.state == AttemptState::Open {
        (entry, record) =
            after(record_lookup(&entry, &record, look_up, policy, record.submitter_dead_at).unwrap(), &record);
    }
    (entry, record)
}

#[test]
fn look_ups_count_only_when_the_submitter_has_surely_ended() {
    let (entry, record) = claimed();
    let (mut entry, record) = after(mark_unknown(&entry, Attempt(1), NOW).unwrap(), &record);
    let dead = record.submitter_dead_at;
    assert_eq!(dead, NOW + DEAD_AFTER);
    for _ in 0..5 {
        (entry, _) =
            after(record_lookup(&entry, &record, LookupResult::Empty, UnknownPolicy::Fail, dead - 1).unwrap(), &record);
        assert_eq!((entry.pending.as_ref().unwrap().lookups, entry.next_check_at), (0, Some(dead)));
    }
    let (once, record) =
        after(record_lookup(&entry, &record, LookupResult::Empty, UnknownPolicy::Fail, dead).unwrap(), &record);
    assert_eq!((once.pending.as_ref().unwrap().lookups, record.state), (1, AttemptState::Open));
    let (twice, record) =
        after(record_lookup(&once, &record, LookupResult::Empty, UnknownPolicy::Fail, dead + 60_000).unwrap(), &record);
    assert_eq!((twice.pending, record.state), (None, AttemptState::Lost));
    // Without a list to search, one look-up is enough, but no earlier.
    let early = record_lookup(&entry, &claimed().1, LookupResult::Impossible, UnknownPolicy::Fail, dead - 1).unwrap();
    assert!(early.entry.pending.is_some());
    let late = record_lookup(&entry, &claimed().1, LookupResult::Impossible, UnknownPolicy::Fail, dead).unwrap();
    assert_eq!(late.entry.pending, None);
}

#[test]
fn only_an_unknown_attempt_is_lost() {
    let (entry, record) = claimed();
    let late = record.submitter_dead_at;
    assert_eq!(
        record_lookup(&entry, &record, LookupResult::Impossible, UnknownPolicy::Fail, late),
        None,
        "a lease alone says nothing"
    );
    let (sent, sent_row) = after(record_submission(&entry, &record, "job", NOW).unwrap(), &record);
    assert_eq!(record_lookup(&sent, &sent_row, LookupResult::Impossible, UnknownPolicy::Fail, late), None);
    let done = after(fail(&entry, &record, &outcome(ErrorName::ProviderRejected, Money::ZERO), NOW).unwrap(), &record);
    assert_eq!(record_lookup(&done.0, &done.1, LookupResult::Impossible, UnknownPolicy::Fail, late), None);
}

#[test]
fn a_lost_attempt_is_spent_and_resubmitted_at_most_once() {
    for look_up in [LookupResult::Empty, LookupResult::Impossible] {
        let (entry, record) = lost(UnknownPolicy::Fail, look_up);
        let failure = entry.failure.as_ref().unwrap();
        assert_eq!((failure.failure.name, failure.retryable), (ErrorName::StepUnknown, false));
        assert_eq!((record.state, record.hold.state), (AttemptState::Lost, HoldState::Settled(PRICE)));
        assert!(entry.notify_pending);

        let (entry, _) = lost(UnknownPolicy::ResubmitOnce, look_up);
        let failure = entry.failure.as_ref().unwrap();
        assert_eq!((failure.failure.name, failure.retryable), (ErrorName::StepAgain, true));
        let (second, record) = next_claim(&entry);
        assert_eq!(second.last_attempt, Attempt(2));
        let (entry, _) = lose(&second, &record, UnknownPolicy::ResubmitOnce, look_up);
        assert_eq!(entry.failure.unwrap().failure.name, ErrorName::StepUnknown);
    }
}

#[test]
fn a_job_that_the_provider_does_not_know_is_given_up_after_ten_minutes() {
    let (entry, record) = claimed();
    let (sent, record) = after(record_submission(&entry, &record, "job", NOW).unwrap(), &record);
    // Many steps ask in the same moment: that is one answer.
    let mut entry = sent.clone();
    for _ in 0..20 {
        (entry, _) = after(record_unknown_job(&entry, Attempt(1), NOW).unwrap(), &record);
    }
    assert_eq!(entry.pending.as_ref().unwrap().unknown.unwrap().count, 1);
    for minute in 1..10 {
        let now = NOW + minute * UNKNOWN_JOB_SPACING;
        (entry, _) = after(record_unknown_job(&entry, Attempt(1), now).unwrap(), &record);
    }
    assert!(record_unknown_job(&entry, Attempt(1), NOW + UNKNOWN_JOB_GRACE - 1).is_some(), "not before");
    assert_eq!(record_unknown_job(&entry, Attempt(1), NOW + UNKNOWN_JOB_GRACE), None);
    // Long apart, it takes three of them.
    let (once, _) = after(record_unknown_job(&sent, Attempt(1), NOW).unwrap(), &record);
    let (twice, _) = after(record_unknown_job(&once, Attempt(1), NOW + UNKNOWN_JOB_GRACE).unwrap(), &record);
    assert_eq!(record_unknown_job(&twice, Attempt(1), NOW + 2 * UNKNOWN_JOB_GRACE), None);
}

#[test]
fn a_job_that_was_given_up_is_watched_for_a_day() {
    let (entry, record) = claimed();
    let (entry, record) = after(record_submission(&entry, &record, "job", NOW).unwrap(), &record);
    assert_eq!(watch_unknown_job(&entry, &record, NOW), None, "it is not given up");
    let cause = outcome(ErrorName::ProviderFailed, PRICE);
    let (entry, record) = after(fail(&entry, &record, &cause, NOW).unwrap(), &record);
    let (watched, record) = after(watch_unknown_job(&entry, &record, NOW).unwrap(), &record);
    assert_eq!(watched.late_completions.first().map(|late| late.attempt), Some(Attempt(1)));
    let lease = lease_checks(&watched, NOW + UNKNOWN_JOB_WATCH - 1).unwrap();
    assert_eq!(lease.late, [Attempt(1)]);
    let (watched, record) = after(lease.change, &record);
    let over = lease_checks(&watched, NOW + UNKNOWN_JOB_WATCH - 1 + LATE_COMPLETION_PAUSE).unwrap();
    assert_eq!((over.late, over.change.entry.late_completions), (vec![Attempt(1)], vec![]));
    // What comes late is taken, and the failure is forgotten.
    let done = complete(&watched, &record, completion(PRICE), NOW).unwrap().entry;
    assert!(done.result.is_some() && done.late_completions.is_empty() && done.failure.is_none());
}

#[test]
fn a_lost_reply_of_a_call_that_keeps_no_job_is_asked_again_at_once() {
    let (entry, record) = claimed();
    let (entry, record) = after(mark_unknown(&entry, Attempt(1), NOW).unwrap(), &record);
    let lost = record_lookup(&entry, &record, LookupResult::ReplyLost, UnknownPolicy::ResubmitOnce, NOW).unwrap();
    let (entry, record) = after(lost, &record);
    let failure = entry.failure.as_ref().unwrap();
    assert_eq!((failure.failure.name, failure.not_before), (ErrorName::StepAgain, NOW));
    assert_eq!(record.hold.state, HoldState::Settled(PRICE), "it may have been billed");
    // Once.
    let (entry, record) = next_claim(&entry);
    let (entry, record) = after(mark_unknown(&entry, Attempt(2), NOW).unwrap(), &record);
    let lost = record_lookup(&entry, &record, LookupResult::ReplyLost, UnknownPolicy::ResubmitOnce, NOW).unwrap();
    assert_eq!(lost.entry.failure.unwrap().failure.name, ErrorName::StepUnknown);
}

#[test]
fn checks_are_spaced_out() {
    let (entry, record) = claimed();
    let due = entry.next_check_at.unwrap();
    assert_eq!(lease_checks(&entry, due - 1), None);
    let (mut entry, mut now) = (entry, due);
    let mut pauses = Vec::new();
    for _ in 0..20 {
        let lease = lease_checks(&entry, now).unwrap();
        assert!(lease.pending && lease.late.is_empty());
        (entry, _) = after(lease.change, &record);
        pauses.push(entry.next_check_at.unwrap() - now);
        now = entry.next_check_at.unwrap();
    }
    assert!(pauses.is_sorted() && pauses.first() >= Some(&60_000) && pauses.last() == Some(&900_000), "{pauses:?}");
}

#[test]
fn a_result_expires_by_its_number() {
    let there = Entry { result: Some(ready(3)), last_attempt: Attempt(3), ..entry() };
    assert_eq!(expire(&there, Attempt(2)), None);
    assert_eq!(expire(&there, Attempt(3)).unwrap().entry.result, None);
    assert_eq!(expire(&entry(), Attempt(3)), None);
}
