//! The lifecycle of the stack's bucket, as far as it can be predicted.

use fresco_pipeline::time::{DAY, Millis};

/// The rules of a bucket that remove objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// The rules that select by a prefix and days.
    pub rules: Vec<ExpiryRule>,
    /// The number of other rules, which select by more than that.
    pub others: usize,
}

/// A rule that removes the objects under a prefix after some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryRule {
    /// The prefix; empty for every object.
    pub prefix: String,
    /// Whole days.
    pub days: i32,
}

impl Lifecycle {
    /// Returns when the bucket removes an object that was written at `since`, or `None` where no rule selects it. Of several
    /// rules the earliest counts.
    pub fn removes_at(&self, key: &str, since: Millis) -> Option<Millis> {
        let days = self.rules.iter().filter(|rule| key.starts_with(&rule.prefix)).map(|rule| rule.days).min()?;
        Some(midnight_after(since, days))
    }
}

/// Returns the first midnight UTC that is so many days after `since`, or more.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html>: "adding the number of days … and
/// rounding up the resulting time to the next day at midnight UTC".
fn midnight_after(since: Millis, days: i32) -> Millis {
    let end = since.saturating_add(Millis::from(days).saturating_mul(DAY));
    end.checked_add(DAY - 1).map_or(Millis::MAX, |rounded| rounded - rounded.rem_euclid(DAY))
}

#[cfg(test)]
mod tests {
    use fresco_pipeline::time::HOUR;

    use super::*;

    /// 2026-01-05 00:00 UTC.
    const MIDNIGHT: Millis = 20_458 * DAY;

    #[test]
    fn an_object_is_removed_at_the_first_midnight_after_its_days() {
        for (since, days, at) in [
            (MIDNIGHT, 7, MIDNIGHT + 7 * DAY),
            (MIDNIGHT - 1, 7, MIDNIGHT + 7 * DAY),
            (MIDNIGHT + 1, 7, MIDNIGHT + 8 * DAY),
            // S3's own example: 10:30 with three days is four days from midnight.
            (MIDNIGHT + 10 * HOUR + HOUR / 2, 3, MIDNIGHT + 4 * DAY),
            (MIDNIGHT + DAY - 1, 1, MIDNIGHT + 2 * DAY),
            (0, 1, DAY),
            (-1, 1, DAY),
            (-DAY - 1, 1, 0),
            (Millis::MAX, 1, Millis::MAX),
        ] {
            assert_eq!(midnight_after(since, days), at, "{since} + {days} days");
        }
    }

    #[test]
    fn the_earliest_rule_removes_an_object() {
        let rule = |prefix: &str, days| ExpiryRule { prefix: prefix.to_owned(), days };
        let lifecycle = Lifecycle { rules: vec![rule("outputs/", 7), rule("outputs/text/", 2)], others: 0 };
        let at = |key| lifecycle.removes_at(key, MIDNIGHT);
        assert_eq!((at("outputs/text/a"), at("outputs/a")), (Some(MIDNIGHT + 2 * DAY), Some(MIDNIGHT + 7 * DAY)));
        assert_eq!(at("inputs/a"), None);
    }
}
