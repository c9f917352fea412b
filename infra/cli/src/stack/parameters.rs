//! The template's parameters, as `--set` sets them for a local stack. An unknown name, and a parameter that the local start sets
//! itself, are refused before anything is built; CloudFormation checks the values.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use fresco_pipeline::suggest::suggest;
use serde::Deserialize;

use super::error::Error;
use super::exports;
use super::layout::Layout;

/// Values by the parameter's name.
pub(crate) type Values = BTreeMap<String, String>;

const PROVIDERS_ADDRESS: &str = "it is the address of the simulated provider";

/// The parameters that the local start sets itself, each with the reason.
pub(crate) const SET_BY_START: [(&str, &str); 8] = [
    ("Architecture", "the functions are built for this machine's processor"),
    ("FalApiUrl", PROVIDERS_ADDRESS),
    ("FalMediaHosts", PROVIDERS_ADDRESS),
    ("FalQueueUrl", PROVIDERS_ADDRESS),
    ("FalRestUrl", PROVIDERS_ADDRESS),
    ("FalUserId", "it is the account at the simulated provider"),
    ("GeminiUrl", PROVIDERS_ADDRESS),
    ("PublicUrl", "it is the address at which the emulator serves the API"),
];

/// Why a parameter cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterProblem {
    /// The template has no parameter of that name.
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
    SetByStart {
        /// The name.
        name: String,
        /// Why.
        reason: &'static str,
    },
}

impl ParameterProblem {
    /// A stable name.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown_parameter",
            Self::SetByStart { .. } => "own_parameter",
        }
    }
}

/// Returns every problem of these values for the parameters of the project's template.
pub fn check_parameters(layout: &Layout, given: &Values) -> Result<Vec<ParameterProblem>, Error> {
    // Without a value the template need not be read.
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let declared = Declared::read(&layout.template())?;
    Ok(given.keys().filter_map(|name| declared.problem(name)).collect())
}

/// The given values, with the local ones where none is given.
pub(crate) fn with_local(given: &Values) -> Values {
    let mut values = given.clone();
    values.entry("ExportBucket".to_owned()).or_insert_with(|| exports::BUCKET.to_owned());
    values
}

/// The parameters that a template declares. Everything else in it is CloudFormation's business.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Declared {
    #[serde(rename = "Parameters", default)]
    parameters: BTreeMap<String, Parameter>,
}

#[derive(Debug, Clone, Deserialize)]
struct Parameter {
    #[serde(rename = "Default")]
    default: Option<String>,
}

impl Declared {
    /// Reads the template at that path.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(&text, options).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The value of every parameter with these given.
    pub(crate) fn values(&self, given: &Values) -> Values {
        let defaults = self.parameters.iter().filter_map(|(name, parameter)| Some((name, parameter.default.as_ref()?)));
        defaults.chain(given).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The parameters of a running stack that have another value than the wanted one, each in words.
    pub(crate) fn differences(&self, running: &Values, wanted: &Values) -> Vec<String> {
        let running = self.values(&with_local(running));
        let differing = wanted.iter().filter(|&(name, value)| running.get(name) != Some(value));
        let words = |(name, value): (&String, &String)| {
            format!("{name} is {}, not {value}", running.get(name).map_or("not set", String::as_str))
        };
        differing.map(words).collect()
    }

    fn problem(&self, name: &str) -> Option<ParameterProblem> {
        if let Some(&(_, reason)) = SET_BY_START.iter().find(|(own, _)| *own == name) {
            return Some(ParameterProblem::SetByStart { name: name.to_owned(), reason });
        }
        (!self.parameters.contains_key(name)).then(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> ParameterProblem {
        let settable = |name: &&str| SET_BY_START.iter().all(|(own, _)| own != name);
        let known: Vec<&str> = self.parameters.keys().map(String::as_str).filter(settable).collect();
        ParameterProblem::Unknown {
            name: name.to_owned(),
            meant: suggest(name, known.iter().copied()).map(str::to_owned),
            known: known.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Declared {
        let project = Layout::around(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        Declared::read(&project.template()).unwrap()
    }

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_parameters_of_the_projects_template_are_read_as_they_are_written() {
        let values = declared().values(&values(&[("MaxAgeDays", "3")]));
        let of = |name: &str| values[name].as_str();
        assert_eq!((of("MaxAgeDays"), of("LogLevel"), of("LogDays"), of("FalUserId")), ("3", "info", "30", ""));
    }

    #[test]
    fn unknown_names_and_those_of_the_start_are_refused_all_at_once() {
        let project = Layout::around(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let given = values(&[("MaxAgeDay", "3"), ("GeminiUrl", "https://x"), ("LogLevel", "warn")]);
        let problems = check_parameters(&project, &given).unwrap();
        let codes: Vec<&str> = problems.iter().map(ParameterProblem::code).collect();
        assert_eq!(codes, ["own_parameter", "unknown_parameter"]);
        let said = problems[1].to_string();
        assert!(said.contains("did you mean `MaxAgeDays`?") && said.contains("LogLevel"), "{said}");
        assert!(!said.contains("GeminiUrl"), "a parameter that cannot be set is not offered: {said}");
    }

    #[test]
    fn the_local_bucket_for_exports_gives_way_to_another_and_to_none() {
        for (given, bucket) in [(None, "fresco-exports"), (Some("mine"), "mine"), (Some(""), "")] {
            let given: Vec<_> = given.map(|bucket| ("ExportBucket", bucket)).into_iter().collect();
            assert_eq!(with_local(&values(&given))["ExportBucket"], bucket);
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
            assert_eq!(declared.differences(&running, &wanted), said);
        }
    }
}
