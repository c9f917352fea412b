//! Faults on demand: rules that say what goes wrong for which requests, and the decision whether one strikes. Which
//! stage asks, and what a client then sees, is the provider's part.

mod kinds;
mod rule;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use kinds::{CancelFault, Fault, MediaFault, PollFault, SubmitFault, WebhookFault, WorkFault};
pub use rule::{BadRule, FaultRule, FaultStatus};

use crate::clock::{mix, unit};

/// A fault that strikes, as the stage knows it, and its name.
#[derive(Debug)]
pub(crate) struct Hit<T> {
    pub(crate) fault: T,
    pub(crate) name: &'static str,
}

/// All rules.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    rules: Mutex<Vec<FaultStatus>>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, rules: Mutex::default() }
    }

    fn rules(&self) -> MutexGuard<'_, Vec<FaultStatus>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces all rules; their counts begin at 0. If one is no use, all stay as they are.
    pub(crate) fn set(&self, rules: Vec<FaultRule>) -> Result<(), BadRule> {
        rules.iter().try_for_each(FaultRule::check)?;
        *self.rules() = rules.into_iter().map(|rule| FaultStatus { rule, seen: 0, hits: 0 }).collect();
        Ok(())
    }

    pub(crate) fn status(&self) -> Vec<FaultStatus> {
        self.rules().clone()
    }

    /// The fault of the first rule that is meant for the request, is not used up, and strikes. `pick` gives the fault if
    /// it is one of the asking stage's.
    pub(crate) fn strike<T>(
        &self,
        endpoint: &str,
        prompt: Option<&str>,
        pick: impl Fn(&Fault) -> Option<T>,
    ) -> Option<Hit<T>> {
        for (index, status) in self.rules().iter_mut().enumerate() {
            let Some(fault) = pick(&status.rule.fault) else { continue };
            let rule = &status.rule;
            if !rule.matches(endpoint, prompt) || rule.times.is_some_and(|times| status.hits >= times) {
                continue;
            }
            let number = status.seen;
            status.seen += 1;
            if number < rule.skip || !by_chance(self.seed, index, number, rule.probability) {
                continue;
            }
            status.hits += 1;
            return Some(Hit { fault, name: status.rule.fault.name() });
        }
        None
    }
}

/// The n-th match of a rule always draws the same, whatever other rules and requests do meanwhile.
fn by_chance(seed: u64, index: usize, number: u64, probability: Option<f64>) -> bool {
    probability.is_none_or(|probability| unit(mix(mix(seed ^ mix(index as u64 + 1)) ^ number)) < probability)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn faults(rules: Value) -> Faults {
        let faults = Faults::new(7);
        faults.set(serde_json::from_value(rules).unwrap()).unwrap();
        faults
    }

    fn submit(fault: &Fault) -> Option<SubmitFault> {
        match fault {
            Fault::Submit(fault) => Some(fault.clone()),
            _ => None,
        }
    }

    #[test]
    fn the_first_rule_that_is_meant_and_not_used_up_strikes() {
        let faults = faults(json!([
            { "fault": "media_empty" },
            { "fault": "forbidden", "endpoint": "a/b" },
            { "fault": "not_found", "endpoint": "a/*", "prompt": "fox", "skip": 1, "times": 2 },
            { "fault": "unauthorized", "prompt": "fox" },
        ]));
        let strike = |endpoint, prompt| faults.strike(endpoint, prompt, submit).map(|hit| hit.name);
        assert_eq!(strike("a/b", None), Some("forbidden"));
        assert_eq!(strike("a/c", None), None);
        assert_eq!(strike("a/c", Some("a dog")), None);
        let rest: Vec<_> = (0..4).map(|_| strike("a/c", Some("a fox"))).collect();
        assert_eq!(rest, [Some("unauthorized"), Some("not_found"), Some("not_found"), Some("unauthorized")]);
        let counts: Vec<_> = faults.status().iter().map(|status| (status.seen, status.hits)).collect();
        assert_eq!(counts, [(0, 0), (1, 1), (3, 2), (2, 2)]);
    }

    #[test]
    fn chance_is_repeated_by_the_seed_and_not_disturbed_by_others() {
        let draw = |seed, index, disturbed: bool| -> Vec<bool> {
            let faults = Faults::new(seed);
            let mut rules = vec![FaultRule::new(SubmitFault::Forbidden).endpoint("other"); index];
            rules.push(FaultRule::new(SubmitFault::NotFound).probability(0.3).endpoint("this"));
            faults.set(rules).unwrap();
            let draws = (0..1000).map(|_| {
                if disturbed {
                    faults.strike("other", None, submit);
                }
                faults.strike("this", None, submit).is_some()
            });
            draws.collect()
        };
        let first = draw(1, 1, false);
        assert_eq!(first, draw(1, 1, true));
        assert_ne!(first, draw(2, 1, false));
        assert_ne!(first, draw(1, 2, false));
        let struck = first.iter().filter(|struck| **struck).count();
        assert!((250..350).contains(&struck), "{struck}");
        assert!(
            [(0.0, false), (1.0, true)].iter().all(|(p, all)| (0..99).all(|n| by_chance(3, 0, n, Some(*p)) == *all))
        );
    }

    #[test]
    fn rules_are_read_strictly() {
        let cases = [
            (json!({ "fault": "sorcery" }), "there is no fault \"sorcery\""),
            (json!("throttled"), "there is no fault \"\""),
            (json!({ "fault": "throttled", "retry_afer": 3 }), "fault throttled has no field \"retry_afer\""),
            (json!({ "fault": "forbidden", "status": 3 }), "fault forbidden has no field \"status\""),
            (json!({ "fault": "slow" }), "fault slow: missing field `seconds`"),
            (json!({ "fault": "slow", "seconds": -1 }), "fault slow: seconds is out of bounds"),
            (json!({ "fault": "slow", "seconds": 1, "probability": 1.5 }), "fault slow: probability is out of bounds"),
            (json!({ "fault": "server_error", "status": 404 }), "fault server_error: status is out of bounds"),
            (json!({ "fault": "model_error", "type": "odd" }), "fault model_error: status is out of bounds"),
            (json!({ "fault": "webhook_burst", "count": 0 }), "fault webhook_burst: count is out of bounds"),
            (
                json!({ "fault": "media_redirect", "location": "a\nb" }),
                "fault media_redirect: location is out of bounds",
            ),
        ];
        for (rule, message) in cases {
            assert_eq!(FaultRule::read(rule).unwrap_err().to_string(), message);
        }
        let unknown = FaultRule::read(json!({ "fault": "infrastructure", "error_type": "odd" })).unwrap_err();
        assert!(unknown.to_string().starts_with("fault infrastructure: unknown variant `odd`"), "{unknown}");
    }

    #[test]
    fn a_rule_survives_the_way_through_json() {
        let rule = FaultRule::new(MediaFault::Oversized { bytes: 9, length: false });
        let rule = rule.endpoint("a/*").prompt("x").skip(1).times(2).probability(0.5);
        let text = serde_json::to_value(&rule).unwrap();
        assert_eq!(
            text,
            json!({ "fault": "media_oversized", "bytes": 9, "length": false, "endpoint": "a/*", "prompt": "x",
                "skip": 1, "times": 2, "probability": 0.5 })
        );
        assert_eq!(serde_json::from_value::<FaultRule>(text).unwrap(), rule);
    }

    /// The README is the documentation of the faults.
    #[test]
    fn every_name_is_unique_and_in_the_readme() {
        let readme = include_str!("../../README.md");
        let names: Vec<_> = Fault::names().collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name}");
            assert!(readme.contains(&format!("| `{name}`")), "{name} is not in the README");
        }
    }
}
