//! The lifecycle configuration of a bucket.

use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule};

use crate::traits::{ExpiryRule, Lifecycle};

/// Reads the rules of a bucket.
pub(super) fn of_rules(found: &[LifecycleRule]) -> Lifecycle {
    let mut lifecycle = Lifecycle::default();
    for rule in found.iter().filter(|rule| *rule.status() == ExpirationStatus::Enabled) {
        let Some(expiration) = rule.expiration() else { continue };
        match (prefix_of(rule), expiration.date(), expiration.days()) {
            (Some(prefix), None, Some(days)) => lifecycle.rules.push(ExpiryRule { prefix, days }),
            // It removes delete markers only.
            (Some(_), None, None) => {}
            _ => lifecycle.others += 1,
        }
    }
    lifecycle
}

/// Returns the prefix of a rule, or `None` where the rule selects by more than that.
fn prefix_of(rule: &LifecycleRule) -> Option<String> {
    #[expect(deprecated, reason = "an old rule has its prefix in this field, and no filter")]
    let mut prefix = rule.prefix();
    if let Some(filter) = rule.filter() {
        let sizes = filter.object_size_greater_than().or(filter.object_size_less_than());
        if filter.tag().is_some() || filter.and().is_some() || sizes.is_some() {
            return None;
        }
        prefix = filter.prefix().or(prefix);
    }
    Some(prefix.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::primitives::DateTime;
    use aws_sdk_s3::types::{LifecycleExpiration, LifecycleRuleAndOperator, LifecycleRuleFilter, Tag};

    use super::*;

    #[test]
    fn rules_that_select_by_more_than_a_prefix_and_days_are_counted_only() {
        let base = || LifecycleRule::builder().status(ExpirationStatus::Enabled);
        let filter = LifecycleRuleFilter::builder;
        let days = |days| LifecycleExpiration::builder().days(days).build();
        let date = LifecycleExpiration::builder().date(DateTime::from_secs(0)).build();
        let tag = Tag::builder().key("a").value("b").build().unwrap();
        let and = LifecycleRuleAndOperator::builder().prefix("a/").object_size_less_than(9).build();
        #[expect(deprecated, reason = "the form of an old rule")]
        let old = base().prefix("old/").expiration(days(3));
        let off = base().status(ExpirationStatus::Disabled).filter(filter().prefix("a/").build()).expiration(days(2));
        for (rule, prefix_and_days, others) in [
            (base().filter(filter().prefix("a/").build()).expiration(days(2)), Some(("a/", 2)), 0),
            (base().filter(filter().build()).expiration(days(2)), Some(("", 2)), 0),
            (old, Some(("old/", 3)), 0),
            (off, None, 0),
            (base().filter(filter().prefix("a/").build()), None, 0),
            (base().filter(filter().tag(tag).build()).expiration(days(2)), None, 1),
            (base().filter(filter().object_size_greater_than(9).build()).expiration(days(2)), None, 1),
            (base().filter(filter().and(and).build()).expiration(days(2)), None, 1),
            (base().filter(filter().prefix("a/").build()).expiration(date), None, 1),
        ] {
            let lifecycle = of_rules(&[rule.build().unwrap()]);
            let read = lifecycle.rules.first().map(|rule| (&*rule.prefix, rule.days));
            assert_eq!((read, lifecycle.others), (prefix_and_days, others));
        }
    }
}
