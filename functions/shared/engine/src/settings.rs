//! The settings of a stack, read from the environment of its functions. AWS and a laptop differ in endpoints only.

use std::time::Duration;

use fresco_ledger::records::Millis;
use fresco_ledger::services::aws::TimerTarget;
use fresco_ledger::transition::UnknownPolicy;
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_pipeline::money::Money;
use fresco_pipeline::time::DAY;

/// The least time that the call of a provider which answers at once has, in milliseconds.
const SHORTEST_CALL: Millis = 60_000;
/// The time of a function that a call leaves for what comes before and after it, in milliseconds.
pub(crate) const CALL_MARGIN: Millis = 30_000;
/// The price up to which a job of unknown fate is submitted once more at a provider that cannot be searched.
const BLIND_RESUBMIT_UP_TO: Money = Money::micros(10_000);
/// The days that outputs may live, the same bounds as in the template: the ledger remembers for 90.
const AGES: std::ops::RangeInclusive<u32> = 1..=60;
const SHORTEST_LINK: Duration = Duration::from_secs(3 * 3_600);
const LONGEST_LINK: Duration = Duration::from_secs(6 * 3_600);
/// A gigabyte of S3, which counts in powers of ten.
const GIGABYTE: u64 = 1_000_000_000;

/// The settings of a stack.
#[derive(Debug, Clone)]
pub struct Settings {
    pub stack: String,
    pub table: String,
    pub bucket: String,
    /// The URL under which providers reach the API; `None` where no webhook can.
    pub public_url: Option<String>,
    /// Set only where it is invoked.
    pub collect_function: String,
    /// Set only where batches are finalized.
    pub batch_function: String,
    /// Set only where runs past their bound are closed.
    pub report_function: String,
    /// The target of timers; set only for the trigger function.
    pub timers: TimerTarget,
    /// Set only where runs are started.
    pub run_machine: String,
    /// Set only where batches are started.
    pub batch_machine: String,
    /// The SSM path of the secrets.
    pub secrets_prefix: String,
    /// The days after which outputs expire.
    pub max_age_days: u32,
    /// The limit of the bucket in bytes; `None` for no limit.
    pub max_stored_bytes: Option<u64>,
    /// The bucket that runs may export to.
    pub export_bucket: Option<String>,
    pub unknown: UnknownPolicy,
    pub fal_queue_url: String,
    pub fal_rest_url: String,
    pub fal_api_url: String,
    /// Hosts that outputs of fal may be fetched from.
    pub fal_media_hosts: String,
    /// The fal account whose webhooks are accepted.
    pub fal_user_id: String,
    pub gemini_url: String,
    /// The timeout of the generate function, in milliseconds.
    pub function_timeout: Millis,
}

impl Settings {
    /// Reads the environment through `get`, so that tests need not set variables.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let given = |name: &str| get(name).filter(|value| !value.is_empty());
        let needed = |name: &str| {
            given(name).ok_or_else(|| {
                Failure::new(ErrorName::Internal, format!("the function's environment missing_input {name}"))
            })
        };
        let max_age_days = needed("FRESCO_MAX_AGE_DAYS")?;
        let max_age_days = max_age_days.parse().ok().filter(|days| AGES.contains(days)).ok_or_else(|| {
            let message =
                format!("MaxAgeDays is `{max_age_days}`; outputs may live for {} to {} days", AGES.start(), AGES.end());
            Failure::new(ErrorName::Internal, message)
        })?;
        Ok(Settings {
            stack: needed("FRESCO_STACK")?,
            table: needed("FRESCO_TABLE")?,
            bucket: needed("FRESCO_BUCKET")?,
            public_url: given("FRESCO_PUBLIC_URL")
                .filter(|url| url != "none")
                .map(|url| url.trim_end_matches('/').to_owned()),
            collect_function: given("FRESCO_COLLECT_FUNCTION").unwrap_or_default(),
            batch_function: given("FRESCO_BATCH_FUNCTION").unwrap_or_default(),
            report_function: given("FRESCO_REPORT_FUNCTION").unwrap_or_default(),
            timers: TimerTarget {
                group: given("FRESCO_SCHEDULE_GROUP").unwrap_or_default(),
                // Lambda gives a function its own name in the environment; the template cannot name it without a
                // circular reference.
                function: format!(
                    "{}{}",
                    given("FRESCO_FUNCTIONS_ARN").unwrap_or_default(),
                    given("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default()
                ),
                role: given("FRESCO_SCHEDULE_ROLE").unwrap_or_default(),
                failures: given("FRESCO_TRIGGER_FAILURES").unwrap_or_default(),
            },
            run_machine: given("FRESCO_RUN_MACHINE").unwrap_or_default(),
            batch_machine: given("FRESCO_BATCH_MACHINE").unwrap_or_default(),
            secrets_prefix: needed("FRESCO_SECRETS_PREFIX")?,
            max_age_days,
            max_stored_bytes: max_stored(given("FRESCO_MAX_STORED_GIGABYTES").as_deref())?,
            export_bucket: given("FRESCO_EXPORT_BUCKET"),
            unknown: match given("FRESCO_UNKNOWN_POLICY").as_deref() {
                Some("resubmit_once") => UnknownPolicy::ResubmitOnce,
                _ => UnknownPolicy::Fail,
            },
            fal_queue_url: needed("FRESCO_FAL_QUEUE_URL")?,
            fal_rest_url: needed("FRESCO_FAL_REST_URL")?,
            fal_api_url: needed("FRESCO_FAL_API_URL")?,
            fal_media_hosts: needed("FRESCO_FAL_MEDIA_HOSTS")?,
            fal_user_id: given("FRESCO_FAL_USER_ID").unwrap_or_default(),
            gemini_url: needed("FRESCO_GEMINI_URL")?,
            function_timeout: seconds_in(given("FRESCO_FUNCTION_SECONDS").as_deref())? * 1_000,
        })
    }

    /// The longest that the call of a provider which answers at once may take: as long as its step may, within the time of
    /// the function. A default timeout is short for a model that is busy, so it is a minute at least.
    pub fn call_deadline(&self, timeout: Millis) -> Millis {
        timeout.max(SHORTEST_CALL).min(self.function_timeout - CALL_MARGIN)
    }

    /// Returns whether webhooks are used: providers can reach the API, and the account whose signature counts is known.
    /// Where not, the nudge is the poll loop.
    pub fn webhooks(&self) -> bool {
        self.public_url.is_some() && !self.fal_user_id.is_empty()
    }

    /// The URL under which the provider reports the end of an attempt. It is the only place where the token stands.
    pub fn webhook_url(
        &self,
        provider: ProviderName,
        key: &ContentKey,
        attempt: Attempt,
        token: &str,
    ) -> Option<String> {
        let base = self.public_url.as_ref().filter(|_| self.webhooks())?;
        Some(format!("{base}/webhooks/{}/{key}/{attempt}/{token}", provider.as_str()))
    }

    /// The life of an object, counted from its upload.
    pub fn object_life(&self) -> Millis {
        i64::from(self.max_age_days) * DAY
    }

    /// The life of links to objects: an eighth of the life of the objects, within 3 and 6 hours. A provider may read
    /// its inputs for that long; the credentials that sign a link seldom live longer.
    pub fn link_life(&self) -> Duration {
        let eighth = Duration::from_millis(u64::try_from(self.object_life() / 8).unwrap_or(0));
        eighth.clamp(SHORTEST_LINK, LONGEST_LINK)
    }

    /// The policy for a job of unknown fate. At a provider that cannot be searched it is submitted again only for small
    /// money; a call that is answered at once is, by default: there is no job to look for.
    pub fn unknown_policy(&self, provider: ProviderName, can_find: bool, price: Money) -> UnknownPolicy {
        let small = price <= BLIND_RESUBMIT_UP_TO;
        match self.unknown {
            _ if provider.answers_at_once() && small => UnknownPolicy::ResubmitOnce,
            UnknownPolicy::ResubmitOnce if can_find || small => UnknownPolicy::ResubmitOnce,
            _ => UnknownPolicy::Fail,
        }
    }
}

/// The timeout of this process's function in seconds, where it is not that of most.
fn seconds_in(text: Option<&str>) -> Result<Millis, Failure> {
    let Some(text) = text else { return Ok(90) };
    text.parse().ok().filter(|seconds| (90..=900).contains(seconds)).ok_or_else(|| {
        let message = format!("FRESCO_FUNCTION_SECONDS is `{text}`; it is 90 to 900 seconds");
        Failure::new(ErrorName::Internal, message)
    })
}

fn max_stored(gigabytes: Option<&str>) -> Result<Option<u64>, Failure> {
    let Some(text) = gigabytes else { return Ok(None) };
    let bytes = text.parse::<u64>().ok().filter(|gigabytes| *gigabytes > 0).and_then(|n| n.checked_mul(GIGABYTE));
    match bytes {
        Some(bytes) => Ok(Some(bytes)),
        None => {
            let message =
                format!("MaxStoredGigabytes is `{text}`; it is a whole number of gigabytes, or empty for no limit");
            Err(Failure::new(ErrorName::Internal, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(changes: &[(&str, &str)]) -> Result<Settings, Failure> {
        let base = [
            ("FRESCO_STACK", "s"),
            ("FRESCO_TABLE", "t"),
            ("FRESCO_BUCKET", "b"),
            ("FRESCO_SECRETS_PREFIX", "/fresco"),
            ("FRESCO_MAX_AGE_DAYS", "7"),
            ("FRESCO_FAL_QUEUE_URL", "q"),
            ("FRESCO_FAL_REST_URL", "r"),
            ("FRESCO_FAL_API_URL", "a"),
            ("FRESCO_FAL_MEDIA_HOSTS", "h"),
            ("FRESCO_GEMINI_URL", "g"),
            ("FRESCO_PUBLIC_URL", "https://x/"),
            ("FRESCO_FAL_USER_ID", "us"),
        ];
        let find =
            |set: &[(&str, &str)], name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::read(|name| find(changes, name).or_else(|| find(&base, name)))
    }

    #[test]
    fn webhooks_need_a_public_url_and_an_account() {
        let key = ContentKey::digest(b"x");
        let url = settings(&[]).unwrap().webhook_url(ProviderName::Fal, &key, Attempt(2), "tok");
        assert_eq!(url, Some(format!("https://x/webhooks/fal/{key}/2/tok")));
        assert!(!settings(&[("FRESCO_PUBLIC_URL", "none")]).unwrap().webhooks());
        let unknown_account = settings(&[("FRESCO_FAL_USER_ID", "")]).unwrap();
        assert_eq!(unknown_account.webhook_url(ProviderName::Fal, &key, Attempt(2), "tok"), None);
    }

    #[test]
    fn a_missing_setting_is_named() {
        assert!(settings(&[("FRESCO_TABLE", "")]).unwrap_err().message.contains("FRESCO_TABLE"));
    }

    #[test]
    fn ages_and_limits_out_of_range_are_refused() {
        for days in ["0", "61", "4000", "-1", "7.5", "a week"] {
            let refused = settings(&[("FRESCO_MAX_AGE_DAYS", days)]).unwrap_err();
            assert!(refused.message.contains("1 to 60 days"), "{days}: {refused}");
        }
        for gigabytes in ["0", "-5", "1.5", "99999999999999999999"] {
            let refused = settings(&[("FRESCO_MAX_STORED_GIGABYTES", gigabytes)]).unwrap_err();
            assert!(refused.message.contains("MaxStoredGigabytes"), "{gigabytes}: {refused}");
        }
        assert_eq!(settings(&[]).unwrap().max_stored_bytes, None);
        let limited = settings(&[("FRESCO_MAX_STORED_GIGABYTES", "3")]).unwrap();
        assert_eq!(limited.max_stored_bytes, Some(3_000_000_000));
    }

    #[test]
    fn links_live_for_an_eighth_of_the_life_of_their_objects() {
        let hours = |days: &str| settings(&[("FRESCO_MAX_AGE_DAYS", days)]).unwrap().link_life().as_secs() / 3_600;
        assert_eq!([hours("1"), hours("2"), hours("60")], [3, 6, 6]);
    }

    #[test]
    fn blind_resubmission_is_for_small_money() {
        let settings = settings(&[("FRESCO_UNKNOWN_POLICY", "resubmit_once")]).unwrap();
        let policy = |can_find, micros| settings.unknown_policy(ProviderName::Fal, can_find, Money::micros(micros));
        assert_eq!(policy(false, 10_001), UnknownPolicy::Fail);
        assert_eq!(policy(false, 10_000), UnknownPolicy::ResubmitOnce);
        assert_eq!(policy(true, 10_001), UnknownPolicy::ResubmitOnce);
    }

    #[test]
    fn a_small_call_that_is_answered_at_once_is_asked_again_by_default() {
        let settings = settings(&[]).unwrap();
        let policy = |provider, micros| settings.unknown_policy(provider, false, Money::micros(micros));
        assert_eq!(policy(ProviderName::Gemini, 10_000), UnknownPolicy::ResubmitOnce);
        assert_eq!(policy(ProviderName::Gemini, 10_001), UnknownPolicy::Fail);
        assert_eq!(policy(ProviderName::Fal, 10_000), UnknownPolicy::Fail);
    }

    #[test]
    fn a_call_may_take_as_long_as_its_step_and_its_function_allow() {
        let usual = settings(&[]).unwrap();
        let long = settings(&[("FRESCO_FUNCTION_SECONDS", "600")]).unwrap();
        for (timeout, in_usual, in_long) in [
            (30_000, 60_000, 60_000),
            (90_000, 60_000, 90_000),
            (300_000, 60_000, 300_000),
            (3_600_000, 60_000, 570_000),
        ] {
            assert_eq!([usual.call_deadline(timeout), long.call_deadline(timeout)], [in_usual, in_long], "{timeout}");
        }
        assert!(settings(&[("FRESCO_FUNCTION_SECONDS", "5")]).is_err());
    }
}
