//! Money, as a property: after any events of an attempt in any order, its hold has ended once, and the settled amount is its
//! known cost.

use proptest::prelude::*;

use super::*;
use crate::records::{AttemptState, HoldState};
use crate::traits::BudgetChange;
use crate::transition::{
    LookupResult, UnknownPolicy, complete, fail, mark_unknown, record_fetch_failure, record_lookup, record_submission,
};

#[derive(Debug, Clone)]
enum Event {
    Submitted,
    Unknown,
    LookedUp {
        policy: UnknownPolicy,
        look_up: LookupResult,
        after: Millis,
    },
    Completed {
        cost: i64,
    },
    Failed {
        name: ErrorName,
        billed: i64,
    },
    NotFetched {
        name: ErrorName,
        cost: i64,
    },
    /// The next attempt is claimed.
    Superseded,
}

fn event() -> impl Strategy<Value = Event> {
    let cost = 0..=PRICE.as_micros();
    let policy = prop_oneof![Just(UnknownPolicy::Fail), Just(UnknownPolicy::ResubmitOnce)];
    let look_up = prop_oneof![Just(LookupResult::Empty), Just(LookupResult::Impossible)];
    let name = prop_oneof![
        Just(ErrorName::ProviderThrottled),
        Just(ErrorName::ProviderFailed),
        Just(ErrorName::OutputUnavailable),
        Just(ErrorName::OutputInvalid),
    ];
    prop_oneof![
        1 => Just(Event::Submitted),
        2 => Just(Event::Unknown),
        4 => (policy, look_up, 0..2 * DEAD_AFTER).prop_map(|(policy, look_up, after)| Event::LookedUp { policy, look_up, after }),
        1 => cost.clone().prop_map(|cost| Event::Completed { cost }),
        2 => (name.clone(), prop_oneof![Just(0), cost.clone()]).prop_map(|(name, billed)| Event::Failed { name, billed }),
        2 => (name, cost).prop_map(|(name, cost)| Event::NotFetched { name, cost }),
        1 => Just(Event::Superseded),
    ]
}

/// The change of an event, and the attempt's cost if the event decides it.
fn happen(entry: &Entry, record: &AttemptRecord, event: &Event) -> (Option<Change>, Money) {
    match event {
        Event::Submitted => (record_submission(entry, record, "job", NOW), Money::ZERO),
        Event::Unknown => (mark_unknown(entry, record.attempt, NOW), Money::ZERO),
        Event::LookedUp { policy, look_up, after } => {
            (record_lookup(entry, record, *look_up, *policy, NOW + after), PRICE)
        }
        Event::Completed { cost } => {
            let cost = Money::micros(*cost);
            (complete(entry, record, completion(cost), NOW), cost)
        }
        Event::Failed { name, billed } => {
            let billed = Money::micros(*billed);
            (fail(entry, record, &outcome(*name, billed), NOW), billed)
        }
        Event::NotFetched { name, cost } => {
            let cost = Money::micros(*cost);
            (record_fetch_failure(entry, record, &Failure::new(*name, "not fetched"), cost, NOW), cost)
        }
        Event::Superseded => (None, Money::ZERO),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_hold_ends_once_and_corrections_add_up(events in proptest::collection::vec(event(), 1..24)) {
        let (mut entry, mut record) = claimed();
        let (mut held, mut settled, mut known) = (PRICE, Money::ZERO, None);
        for event in &events {
            if matches!(event, Event::Superseded) && entry.pending.is_none() {
                let late = entry.failure.as_ref().map_or(NOW, |failure| failure.not_before);
                let next = claim(&entry, &waiter("next", 0, entry.last_attempt.0), late);
                (entry, _) = after(next, &record);
                continue;
            }
            let (Some(change), cost) = happen(&entry, &record, event) else { continue };
            if let Some(BudgetChange::Settle { held: freed, spent, .. }) = &change.budget {
                held = held - *freed;
                settled += *spent;
            }
            let before = record.state;
            (entry, record) = after(change, &record);
            if record.state != before {
                known = Some(cost);
            }
            prop_assert_eq!(held, if record.state == AttemptState::Open { PRICE } else { Money::ZERO });
            prop_assert_eq!(settled, known.unwrap_or(Money::ZERO), "after {:?}", event);
            let stands = match record.hold.state {
                HoldState::Held | HoldState::Released => Money::ZERO,
                HoldState::Settled(money) => money,
            };
            prop_assert_eq!(stands, settled);
        }
    }
}
