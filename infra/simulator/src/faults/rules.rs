//! The rules in force, and the decision whether a fault applies to a request at some stage of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fault::Fault;
use super::rule::{BadRule, FaultRule, FaultStatus};
use crate::random::{mix, unit};

/// All rules, in order.
#[derive(Debug)]
pub(crate) struct FaultRules {
    seed: u64,
    rules: Mutex<Vec<FaultStatus>>,
}

impl FaultRules {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, rules: Mutex::default() }
    }

    fn rules(&self) -> MutexGuard<'_, Vec<FaultStatus>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces all rules; their counts begin at 0. If one cannot be used, the former ones stay.
    pub(crate) fn set(&self, rules: Vec<FaultRule>) -> Result<(), BadRule> {
        rules.iter().try_for_each(FaultRule::check)?;
        *self.rules() = rules.into_iter().map(FaultStatus::new).collect();
        Ok(())
    }

    pub(crate) fn status(&self) -> Vec<FaultStatus> {
        self.rules().clone()
    }

    /// The fault of the first rule that applies to the request. `of_stage` selects the faults of the asking stage.
    pub(crate) fn strike(
        &self,
        endpoint: &str,
        prompt: Option<&str>,
        of_stage: impl Fn(&Fault) -> bool,
    ) -> Option<Fault> {
        let mut rules = self.rules();
        let mut of_stage = rules.iter_mut().enumerate().filter(|(_, status)| of_stage(&status.rule.fault));
        let hit = of_stage.find_map(|(index, status)| {
            status.applies(endpoint, prompt, |number| draw(self.seed, index, number)).then_some(status)
        });
        hit.map(|status| status.rule.fault.clone())
    }
}

/// The n-th match of a rule always draws the same, whatever other rules and requests do in between.
fn draw(seed: u64, index: usize, number: u64) -> f64 {
    unit(mix(mix(seed ^ mix(index as u64 + 1)) ^ number))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use strum::VariantNames;

    use super::*;

    fn faults(rules: Value) -> FaultRules {
        let faults = FaultRules::new(7);
        faults.set(serde_json::from_value(rules).unwrap()).unwrap();
        faults
    }

    fn submit(fault: &Fault) -> bool {
        matches!(fault, Fault::Forbidden | Fault::NotFound | Fault::Unauthorized)
    }

    #[test]
    fn the_first_rule_that_matches_and_is_not_used_up_applies() {
        let faults = faults(json!([
            { "fault": "media_empty" },
            { "fault": "forbidden", "endpoint": "a/b" },
            { "fault": "not_found", "endpoint": "a/*", "prompt": "fox", "skip": 1, "times": 2 },
            { "fault": "unauthorized", "prompt": "fox" },
        ]));
        let strike = |endpoint, prompt| faults.strike(endpoint, prompt, submit).map(|fault| fault.name());
        assert_eq!(strike("a/b", None), Some("forbidden"));
        assert_eq!(strike("a/c", None), None);
        assert_eq!(strike("a/c", Some("a dog")), None);
        let rest: Vec<_> = (0..4).map(|_| strike("a/c", Some("a fox"))).collect();
        assert_eq!(rest, [Some("unauthorized"), Some("not_found"), Some("not_found"), Some("unauthorized")]);
        let counts: Vec<_> = faults.status().iter().map(|status| (status.seen, status.hits)).collect();
        assert_eq!(counts, [(0, 0), (1, 1), (3, 2), (2, 2)]);
    }

    #[test]
    fn draws_are_repeated_by_the_seed_and_not_disturbed_by_other_rules() {
        let draw = |seed, index, disturbed: bool| -> Vec<bool> {
            let faults = FaultRules::new(seed);
            let mut rules = vec![FaultRule::new(Fault::Forbidden).endpoint("other"); index];
            rules.push(FaultRule::new(Fault::NotFound).probability(0.3).endpoint("this"));
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
        for (probability, all) in [(0.0, false), (1.0, true)] {
            let faults = FaultRules::new(3);
            faults.set(vec![FaultRule::new(Fault::NotFound).probability(probability)]).unwrap();
            assert!((0..99).all(|_| faults.strike("a", None, submit).is_some() == all));
        }
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
    fn a_rule_round_trips_through_json() {
        let rule = FaultRule::new(Fault::MediaOversized { bytes: 9, length: false });
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
        for (index, name) in Fault::VARIANTS.iter().enumerate() {
            assert!(!Fault::VARIANTS[..index].contains(name), "{name}");
            assert!(readme.contains(&format!("| `{name}`")), "{name} is not in the README");
        }
    }

    #[test]
    fn the_name_of_a_fault_is_its_tag_in_json() {
        for (fault, name) in [
            (Fault::Throttled200, "throttled_200"),
            (Fault::Html502, "html_502"),
            (Fault::Cancel200, "cancel_200"),
            (Fault::WebhookStale { instead: true }, "webhook_stale"),
        ] {
            assert_eq!((fault.name(), &serde_json::to_value(&fault).unwrap()["fault"]), (name, &json!(name)));
        }
    }
}
