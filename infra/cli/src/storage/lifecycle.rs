//! The lifecycle rules of a bucket, as far as they tell when an object expires.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{ExpirationStatus, LifecycleExpiration, LifecycleRule};
use fresco_ledger::records::Millis;

const DAY: Millis = 86_400_000;

/// Reads the rules of a bucket.
pub(super) async fn rules_of(s3: &Client, bucket: &str) -> Result<Vec<LifecycleRule>, aws_sdk_s3::Error> {
    match s3.get_bucket_lifecycle_configuration().bucket(bucket).send().await {
        Ok(found) => Ok(found.rules.unwrap_or_default()),
        Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// A rule over the objects whose keys begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    enabled: bool,
    /// Empty is every object.
    pub(super) prefix: String,
    expire_after: Option<i32>,
}

impl Rule {
    /// A rule as S3 returns it; `None` where it depends on more than a prefix and days.
    pub(super) fn found(rule: &LifecycleRule) -> Option<Self> {
        #[expect(deprecated, reason = "an old rule has its prefix in this member, and no filter")]
        let mut prefix = rule.prefix();
        if let Some(filter) = rule.filter() {
            let sizes = filter.object_size_greater_than().or(filter.object_size_less_than());
            if filter.tag().is_some() || filter.and().is_some() || sizes.is_some() {
                return None;
            }
            prefix = filter.prefix().or(prefix);
        }
        if rule.expiration().is_some_and(|expiration| expiration.date().is_some()) {
            return None;
        }
        Some(Self {
            enabled: *rule.status() == ExpirationStatus::Enabled,
            prefix: prefix.unwrap_or_default().to_owned(),
            expire_after: rule.expiration().and_then(LifecycleExpiration::days),
        })
    }

    /// The days after which objects expire, if the rule is enabled and has them.
    pub(super) fn expire_after(&self) -> Option<i32> {
        self.expire_after.filter(|_| self.enabled)
    }
}

/// The time at which an object expires that was last modified at `since`: the first midnight UTC that is `days` days or more
/// later.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html>: "adding the number of days … and
/// rounding up the resulting time to the next day at midnight UTC".
pub(super) fn ends_at(since: Millis, days: i32) -> Millis {
    let days_over = since.saturating_add(Millis::from(days).saturating_mul(DAY));
    days_over.checked_add(DAY - 1).map_or(Millis::MAX, |rounded| rounded - rounded.rem_euclid(DAY))
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::primitives::DateTime;
    use aws_sdk_s3::types::{LifecycleRuleAndOperator, LifecycleRuleFilter, Tag};

    use super::*;

    /// 2026-01-05 00:00 UTC.
    const MIDNIGHT: Millis = 20_458 * DAY;
    const HOUR: Millis = 3_600_000;

    #[test]
    fn things_end_at_the_first_midnight_after_their_days() {
        for (since, days, at) in [
            // Exactly so many days at midnight.
            (MIDNIGHT, 7, MIDNIGHT + 7 * DAY),
            // One millisecond before and after it.
            (MIDNIGHT - 1, 7, MIDNIGHT + 7 * DAY),
            (MIDNIGHT + 1, 7, MIDNIGHT + 8 * DAY),
            // S3's own example: 10:30 with three days is four days from midnight.
            (MIDNIGHT + 10 * HOUR + HOUR / 2, 3, MIDNIGHT + 4 * DAY),
            (MIDNIGHT + DAY - 1, 1, MIDNIGHT + 2 * DAY),
            (MIDNIGHT + DAY, 1, MIDNIGHT + 2 * DAY),
            (0, 1, DAY),
            // Before 1970, and at the end of time.
            (-1, 1, DAY),
            (-DAY - 1, 1, 0),
            (Millis::MAX, 1, Millis::MAX),
            (Millis::MAX - 2 * DAY, 1, Millis::MAX - (Millis::MAX - DAY).rem_euclid(DAY)),
        ] {
            let end = ends_at(since, days);
            assert_eq!(end, at, "{since} + {days} days");
        }
    }

    #[test]
    fn the_end_is_the_first_midnight_that_is_not_too_early() {
        for since in (0..3 * DAY).step_by(1_234_567) {
            for days in [1, 2, 30, 60] {
                let (end, earliest) = (ends_at(since, days), since + Millis::from(days) * DAY);
                assert!(end % DAY == 0 && end >= earliest && end - earliest < DAY, "{since} + {days} days");
            }
        }
    }

    #[test]
    fn a_rule_that_depends_on_more_than_prefix_and_days_is_not_read() {
        let base = || LifecycleRule::builder().status(ExpirationStatus::Enabled);
        let filter = LifecycleRuleFilter::builder;
        let days = |days| LifecycleExpiration::builder().days(days).build();
        let date = LifecycleExpiration::builder().date(DateTime::from_secs(0)).build();
        let tag = Tag::builder().key("a").value("b").build().unwrap();
        let and = LifecycleRuleAndOperator::builder().prefix("a/").object_size_less_than(9).build();
        #[expect(deprecated, reason = "the form of old rules")]
        let old = base().prefix("old/").expiration(days(3));
        for (rule, found) in [
            (base().filter(filter().prefix("a/").build()).expiration(days(2)), Some(("a/", Some(2)))),
            (base().filter(filter().build()).expiration(days(2)), Some(("", Some(2)))),
            (old, Some(("old/", Some(3)))),
            (base().filter(filter().tag(tag).build()).expiration(days(2)), None),
            (base().filter(filter().object_size_greater_than(9).build()).expiration(days(2)), None),
            (base().filter(filter().and(and).build()).expiration(days(2)), None),
            (base().filter(filter().prefix("a/").build()).expiration(date), None),
        ] {
            let rule = rule.build().unwrap();
            let read = Rule::found(&rule);
            assert_eq!(read.as_ref().map(|read| (&*read.prefix, read.expire_after())), found, "{rule:?}");
        }
    }
}
