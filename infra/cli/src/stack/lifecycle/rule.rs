//! A lifecycle rule: from the template, to and from S3's own form, and when an object falls under it.

use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
};
use fresco_pipeline::time::Millis;

use crate::stack::template_parameters::{DeclaredRule, Scalar, Values};

const DAY: Millis = 86_400_000;

/// A rule over the objects whose keys begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    id: Option<String>,
    enabled: bool,
    /// Empty is every object.
    pub(crate) prefix: String,
    expire_after: Option<i32>,
    abort_after: Option<i32>,
}

impl Rule {
    /// What the template says, with these parameters.
    pub(super) fn declared(rule: &DeclaredRule, values: &Values) -> Result<Self, String> {
        let text =
            |scalar: &Option<Scalar>| scalar.as_ref().map(|scalar| scalar.value(values).map(str::to_owned)).transpose();
        let days = |scalar: Option<&Scalar>| scalar.map(|scalar| days(scalar.value(values)?)).transpose();
        let abort = rule.abort_incomplete_multipart_upload.as_ref();
        Ok(Self {
            id: text(&rule.id)?,
            enabled: match rule.status.value(values)? {
                "Enabled" => true,
                "Disabled" => false,
                other => return Err(format!("the status of a lifecycle rule cannot be `{other}`")),
            },
            prefix: text(&rule.prefix)?.unwrap_or_default(),
            expire_after: days(rule.expiration_in_days.as_ref())?,
            abort_after: days(abort.map(|abort| &abort.days_after_initiation))?,
        })
    }

    /// S3's form.
    pub(super) fn to_s3(&self) -> Result<LifecycleRule, BuildError> {
        let expiration = self.expire_after.map(|days| LifecycleExpiration::builder().days(days).build());
        let abort =
            self.abort_after.map(|days| AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build());
        LifecycleRule::builder()
            .set_id(self.id.clone())
            .status(if self.enabled { ExpirationStatus::Enabled } else { ExpirationStatus::Disabled })
            .filter(LifecycleRuleFilter::builder().prefix(&self.prefix).build())
            .set_expiration(expiration)
            .set_abort_incomplete_multipart_upload(abort)
            .build()
    }

    /// A rule as S3 has it; `None` where it goes by more than a prefix and days.
    pub(crate) fn found(rule: &LifecycleRule) -> Option<Self> {
        #[expect(deprecated, reason = "a rule that was put long ago has its prefix there, and no filter")]
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
            id: rule.id().map(str::to_owned),
            enabled: *rule.status() == ExpirationStatus::Enabled,
            prefix: prefix.unwrap_or_default().to_owned(),
            expire_after: rule.expiration().and_then(LifecycleExpiration::days),
            abort_after: rule.abort_incomplete_multipart_upload().and_then(|abort| abort.days_after_initiation()),
        })
    }

    /// Whether S3 has this rule.
    pub(super) fn is(&self, found: &LifecycleRule) -> bool {
        Self::found(found).as_ref() == Some(self)
    }

    /// After how many days objects expire, where the rule is in force and they do.
    pub(crate) fn expire_after(&self) -> Option<i32> {
        self.expire_after.filter(|_| self.enabled)
    }

    /// After how many days an unfinished upload is aborted, where the rule is in force and it is.
    pub(super) fn abort_after(&self) -> Option<i32> {
        self.abort_after.filter(|_| self.enabled)
    }
}

fn days(text: &str) -> Result<i32, String> {
    // S3 takes positive whole numbers.
    let days = text.parse().ok().filter(|&days| days > 0);
    days.ok_or_else(|| format!("a lifecycle rule cannot count `{text}` days"))
}

/// When S3 takes something away that was last modified, or begun, then: at the first midnight UTC that is so many days later
/// or more.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html>: "adding the number of days … and
/// rounding up the resulting time to the next day at midnight UTC".
pub(crate) fn ends_at(since: Millis, days: i32) -> Millis {
    let due = since.saturating_add(Millis::from(days).saturating_mul(DAY));
    due.checked_add(DAY - 1).map_or(Millis::MAX, |rounded| rounded - rounded.rem_euclid(DAY))
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::primitives::DateTime;
    use aws_sdk_s3::types::{LifecycleRuleAndOperator, Tag};

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
    fn the_end_is_the_first_midnight_that_is_late_enough() {
        for since in (0..3 * DAY).step_by(1_234_567) {
            for days in [1, 2, 30, 60] {
                let (end, due) = (ends_at(since, days), since + Millis::from(days) * DAY);
                assert!(end % DAY == 0 && end >= due && end - due < DAY, "{since} + {days} days");
            }
        }
    }

    fn declared(yaml: &str) -> Result<Rule, String> {
        let values = Values::from([("Days".to_owned(), "7".to_owned()), ("Bad".to_owned(), "7.5".to_owned())]);
        Rule::declared(&serde_saphyr::from_str::<DeclaredRule>(yaml).unwrap(), &values)
    }

    #[test]
    fn a_rule_is_read_from_the_template_with_its_parameters() {
        let rule = declared("{ Id: outputs, Status: Enabled, Prefix: outputs/, ExpirationInDays: !Ref Days }").unwrap();
        assert_eq!((rule.prefix.as_str(), rule.expire_after(), rule.abort_after()), ("outputs/", Some(7), None));
        let uploads = "{ Status: Enabled, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 } }";
        let rule = declared(uploads).unwrap();
        assert_eq!((rule.prefix.as_str(), rule.expire_after(), rule.abort_after()), ("", None, Some(1)));
        let off = declared(&uploads.replace("Enabled", "Disabled")).unwrap();
        assert_eq!((off.expire_after(), off.abort_after()), (None, None));
        for (yaml, word) in [
            ("{ Status: enabled }", "`enabled`"),
            ("{ Status: Enabled, ExpirationInDays: 0 }", "`0` days"),
            ("{ Status: Enabled, ExpirationInDays: !Ref Bad }", "`7.5` days"),
            ("{ Status: Enabled, ExpirationInDays: !Ref Nothing }", "no parameter"),
            ("{ Status: Enabled, ExpirationInDays: !If [A, 1, 2] }", ""),
        ] {
            let values = Values::from([("Bad".to_owned(), "7.5".to_owned())]);
            match serde_saphyr::from_str::<DeclaredRule>(yaml) {
                Ok(rule) => assert!(Rule::declared(&rule, &values).unwrap_err().contains(word), "{yaml}"),
                Err(_) => assert_eq!(word, "", "{yaml}"),
            }
        }
    }

    #[test]
    fn s3_has_the_rule_that_it_was_given_and_no_other() {
        let rule = declared("{ Id: a, Status: Enabled, Prefix: a/, ExpirationInDays: 7 }").unwrap();
        let found = rule.to_s3().unwrap();
        assert!(rule.is(&found));
        for other in [
            "{ Id: b, Status: Enabled, Prefix: a/, ExpirationInDays: 7 }",
            "{ Id: a, Status: Disabled, Prefix: a/, ExpirationInDays: 7 }",
            "{ Id: a, Status: Enabled, ExpirationInDays: 7 }",
            "{ Id: a, Status: Enabled, Prefix: a/, ExpirationInDays: 8 }",
            "{ Id: a, Status: Enabled, Prefix: a/ }",
        ] {
            assert!(!declared(other).unwrap().is(&found), "{other}");
        }
    }

    #[test]
    fn a_rule_that_goes_by_more_than_prefix_and_days_is_none_of_ours() {
        let base = || LifecycleRule::builder().status(ExpirationStatus::Enabled);
        let filter = LifecycleRuleFilter::builder;
        let days = |days| LifecycleExpiration::builder().days(days).build();
        let date = LifecycleExpiration::builder().date(DateTime::from_secs(0)).build();
        let tag = Tag::builder().key("a").value("b").build().unwrap();
        let and = LifecycleRuleAndOperator::builder().prefix("a/").object_size_less_than(9).build();
        #[expect(deprecated, reason = "as rules were put long ago")]
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
