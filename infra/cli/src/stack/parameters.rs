//! The template's parameters as somebody sets them for a local stack: each value is held against its declaration before
//! anything is built or started, and what the local start decides itself is refused.

use fresco_pipeline::suggest::suggest;
use regex_lite::Regex;

use super::error::Error;
use super::exports;
use super::layout::Layout;
use super::template_parameters::{Parameter, TemplateParameters, Values};

const PROVIDERS_ADDRESS: &str = "it is the address of the simulated provider";

/// The parameters that the local start sets itself, each with the reason.
pub(crate) const OWN: [(&str, &str); 8] = [
    ("Architecture", "the functions are built for this machine's processor"),
    ("FalApiUrl", PROVIDERS_ADDRESS),
    ("FalMediaHosts", PROVIDERS_ADDRESS),
    ("FalQueueUrl", PROVIDERS_ADDRESS),
    ("FalRestUrl", PROVIDERS_ADDRESS),
    ("FalUserId", "it is the account at the simulated provider"),
    ("GeminiUrl", PROVIDERS_ADDRESS),
    ("PublicUrl", "it is the address at which the emulator serves the API"),
];

/// Why a parameter cannot be set so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterProblem {
    /// The template has none of that name.
    #[error("the template has no parameter `{name}`{}; there are {known}", meant.as_ref().map_or_else(String::new, |meant| format!(" (did you mean `{meant}`?)")))]
    Unknown {
        /// The name.
        name: String,
        /// The nearest one.
        meant: Option<String>,
        /// All that can be set.
        known: String,
    },
    /// The local start sets it.
    #[error("the parameter `{name}` is set by the local start: {reason}")]
    Own {
        /// The name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// The template does not allow the value.
    #[error("the parameter `{name}` cannot be `{value}`; allowed is {allowed}")]
    Value {
        /// The name.
        name: String,
        /// The value.
        value: String,
        /// What is.
        allowed: String,
    },
}

impl ParameterProblem {
    /// A stable name.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown_parameter",
            Self::Own { .. } => "own_parameter",
            Self::Value { .. } => "bad_parameter",
        }
    }
}

/// Everything that is wrong with these values for the parameters of the project's template.
pub fn check_parameters(layout: &Layout, given: &Values) -> Result<Vec<ParameterProblem>, Error> {
    // Nobody who sets nothing is to wait for the template.
    if given.is_empty() {
        return Ok(Vec::new());
    }
    Ok(problems(&TemplateParameters::read(&layout.template())?, given))
}

fn problems(declared: &TemplateParameters, given: &Values) -> Vec<ParameterProblem> {
    given.iter().filter_map(|(name, value)| problem(declared, name, value)).collect()
}

fn problem(declared: &TemplateParameters, name: &str, value: &str) -> Option<ParameterProblem> {
    if let Some(&(_, reason)) = OWN.iter().find(|(own, _)| *own == name) {
        return Some(ParameterProblem::Own { name: name.to_owned(), reason });
    }
    let Some(parameter) = declared.parameters.get(name) else { return Some(unknown(declared, name)) };
    let refused =
        || ParameterProblem::Value { name: name.to_owned(), value: value.to_owned(), allowed: parameter.allowed() };
    (!parameter.takes(value)).then(refused)
}

/// The values that are given, with those that hold on this machine where nothing is.
pub(crate) fn with_local(given: &Values) -> Values {
    let mut values = given.clone();
    values.entry("ExportBucket".to_owned()).or_insert_with(|| exports::BUCKET.to_owned());
    values
}

/// Where a running stack's parameters are other than wanted: each in words.
pub(crate) fn differences(declared: &TemplateParameters, running: &Values, wanted: &Values) -> Vec<String> {
    let running = declared.values(&with_local(running));
    let differing = wanted.iter().filter(|&(name, value)| running.get(name) != Some(value));
    let words = |(name, value): (&String, &String)| {
        format!("{name} is {}, not {value}", running.get(name).map_or("not set", String::as_str))
    };
    differing.map(words).collect()
}

fn unknown(declared: &TemplateParameters, name: &str) -> ParameterProblem {
    let own = |name: &str| OWN.iter().any(|&(own, _)| own == name);
    let known: Vec<&str> = declared.parameters.keys().map(String::as_str).filter(|name| !own(name)).collect();
    ParameterProblem::Unknown {
        name: name.to_owned(),
        meant: suggest(name, known.iter().copied()).map(str::to_owned),
        known: known.join(", "),
    }
}

impl Parameter {
    /// Whether the template takes the value.
    fn takes(&self, value: &str) -> bool {
        if let Some(allowed) = &self.allowed_values
            && !allowed.iter().any(|one| one == value)
        {
            return false;
        }
        if self.kind == "Number" {
            return self.takes_number(value);
        }
        let length = value.chars().count();
        self.min_length.is_none_or(|least| length >= least)
            && self.max_length.is_none_or(|most| length <= most)
            && self.pattern().is_none_or(|pattern| pattern.is_match(value))
    }

    /// Held against the whole value. A pattern that is beyond this engine is left to CloudFormation, which refuses the value
    /// all the same, only later.
    fn pattern(&self) -> Option<Regex> {
        Regex::new(&format!("^(?:{})$", self.allowed_pattern.as_ref()?)).ok()
    }

    fn takes_number(&self, value: &str) -> bool {
        if self.is_whole() && value.parse::<i64>().is_err() {
            return false;
        }
        value.parse::<f64>().is_ok_and(|number| {
            number.is_finite()
                && self.min_value.is_none_or(|least| number >= least)
                && self.max_value.is_none_or(|most| number <= most)
        })
    }

    /// CloudFormation knows numbers only. Where the default is whole, a number of things or days is meant: half a day would
    /// be refused by the service that gets it, in the middle of the deployment.
    fn is_whole(&self) -> bool {
        self.default.as_ref().is_some_and(|default| default.parse::<i64>().is_ok())
    }

    /// What it takes, in words.
    fn allowed(&self) -> String {
        if let Some(allowed) = &self.allowed_values {
            return allowed.join(", ");
        }
        if self.kind == "Number" {
            let what = if self.is_whole() { "a whole number" } else { "a number" };
            return match (self.min_value, self.max_value) {
                (Some(least), Some(most)) => format!("{what}, {least} to {most}"),
                (Some(least), None) => format!("{what}, {least} or more"),
                (None, Some(most)) => format!("{what}, {most} or less"),
                (None, None) => what.to_owned(),
            };
        }
        let mut said = Vec::new();
        match (self.min_length, self.max_length) {
            (Some(least), Some(most)) => said.push(format!("{least} to {most} characters")),
            (Some(least), None) => said.push(format!("{least} or more characters")),
            (None, Some(most)) => said.push(format!("{most} or fewer characters")),
            (None, None) => {}
        }
        if let Some(pattern) = &self.allowed_pattern {
            said.push(format!("what matches {pattern}"));
        }
        said.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> TemplateParameters {
        let project = Layout::around(std::path::Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        TemplateParameters::read(&project.template()).unwrap()
    }

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn values_are_held_against_their_declaration() {
        let declared = declared();
        for (name, value, allowed) in [
            ("MaxAgeDays", "1", None),
            ("MaxAgeDays", "60", None),
            ("MaxAgeDays", "0", Some("a whole number, 1 to 60")),
            ("MaxAgeDays", "-1", Some("a whole number, 1 to 60")),
            ("MaxAgeDays", "4000", Some("a whole number, 1 to 60")),
            ("MaxAgeDays", "7.5", Some("a whole number, 1 to 60")),
            ("MaxAgeDays", "1e1", Some("a whole number, 1 to 60")),
            ("MaxAgeDays", "NaN", Some("a whole number, 1 to 60")),
            ("MaxAgeDays", " 7", Some("a whole number, 1 to 60")),
            ("MaxAgeDays", "", Some("a whole number, 1 to 60")),
            ("MaxAgeDays", "99999999999999999999", Some("a whole number, 1 to 60")),
            ("LogLevel", "debug", None),
            ("LogLevel", "Debug", Some("error, warn, info, debug, trace")),
            ("LogDays", "14", None),
            ("LogDays", "15", Some("1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365")),
            ("UnknownPolicy", "resubmit_once", None),
            ("SecretsPrefix", "/mine/keys", None),
            ("SecretsPrefix", "mine", Some("what matches ^(/[A-Za-z0-9_.-]+)+$")),
            ("SecretsPrefix", "/mine\n", Some("what matches ^(/[A-Za-z0-9_.-]+)+$")),
            ("ReservedConcurrency", "", None),
            ("ReservedConcurrency", "5", None),
            ("ReservedConcurrency", "many", Some("what matches ^[0-9]*$")),
        ] {
            let expected = allowed.map(|allowed| ParameterProblem::Value {
                name: name.to_owned(),
                value: value.to_owned(),
                allowed: allowed.to_owned(),
            });
            assert_eq!(problem(&declared, name, value), expected, "{name}={value}");
        }
    }

    #[test]
    fn every_kind_of_bound_counts_and_is_said() {
        let of = |yaml: &str| serde_saphyr::from_str::<Parameter>(yaml).unwrap();
        for (yaml, good, bad, said) in [
            ("{Type: Number, MinValue: 2}", "2.5", "1.9", "a number, 2 or more"),
            ("{Type: Number, MaxValue: 2}", "-3", "2.1", "a number, 2 or less"),
            ("{Type: Number, Default: 1}", "-5", "x", "a whole number"),
            ("{Type: Number}", "1e3", "inf", "a number"),
            ("{Type: String, MinLength: 2, MaxLength: 3}", "äöü", "ä", "2 to 3 characters"),
            (
                "{Type: String, MinLength: 1, AllowedPattern: 'a|b'}",
                "b",
                "ab",
                "1 or more characters, what matches a|b",
            ),
            ("{Type: String, MaxLength: 1}", "", "ab", "1 or fewer characters"),
        ] {
            let parameter = of(yaml);
            assert!(parameter.takes(good) && !parameter.takes(bad), "{yaml}");
            assert_eq!(parameter.allowed(), said, "{yaml}");
        }
        // Lookahead is Java's, not ours: CloudFormation decides.
        assert!(of("{Type: String, AllowedPattern: '(?=a).*'}").takes("b"));
    }

    #[test]
    fn every_pattern_of_the_template_can_be_read() {
        for (name, parameter) in declared().parameters {
            assert_eq!(parameter.pattern().is_some(), parameter.allowed_pattern.is_some(), "{name}");
            assert!(parameter.default.is_none_or(|default| problem_free(&name, &default)), "{name}");
        }
    }

    fn problem_free(name: &str, default: &str) -> bool {
        declared().parameters[name].takes(default)
    }

    #[test]
    fn unknown_names_and_those_of_the_start_are_refused_all_at_once() {
        let given = values(&[("MaxAgeDay", "3"), ("GeminiUrl", "https://x"), ("LogLevel", "warn"), ("LogDays", "2")]);
        let problems = problems(&declared(), &given);
        let codes: Vec<&str> = problems.iter().map(ParameterProblem::code).collect();
        assert_eq!(codes, ["own_parameter", "bad_parameter", "unknown_parameter"]);
        let said = problems[2].to_string();
        assert!(said.contains("did you mean `MaxAgeDays`?") && said.contains("LogLevel"), "{said}");
        assert!(!said.contains("GeminiUrl"), "what cannot be set is not offered: {said}");
    }

    #[test]
    fn the_local_bucket_for_exports_gives_way_to_another_and_to_none() {
        for (given, bucket) in [(None, "fresco-exports"), (Some("mine"), "mine"), (Some(""), "")] {
            let given: Vec<_> = given.map(|bucket| ("ExportBucket", bucket)).into_iter().collect();
            assert_eq!(with_local(&values(&given))["ExportBucket"], bucket);
            assert_eq!(problems(&declared(), &with_local(&values(&given))), []);
        }
    }

    #[test]
    fn a_running_stack_with_the_same_values_is_the_wanted_one() {
        let declared = declared();
        let running = values(&[("MaxAgeDays", "3")]);
        for (wanted, said) in [
            (values(&[]), vec![]),
            (values(&[("MaxAgeDays", "3"), ("LogLevel", "info")]), vec![]),
            (values(&[("MaxAgeDays", "7")]), vec!["MaxAgeDays is 3, not 7"]),
            (values(&[("LogLevel", "warn")]), vec!["LogLevel is info, not warn"]),
            (values(&[("ExportBucket", "fresco-exports")]), vec![]),
            (values(&[("ExportBucket", "mine")]), vec!["ExportBucket is fresco-exports, not mine"]),
        ] {
            assert_eq!(differences(&declared, &running, &wanted), said);
        }
    }
}
