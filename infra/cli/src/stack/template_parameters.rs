//! What the local start has to know of the template as data: its parameters, and the lifecycle of its buckets. Everything
//! else in the template is CloudFormation's business.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Tagged;

use super::error::Error;

/// The parameters' values, by name.
pub(crate) type Values = BTreeMap<String, String>;

/// A template, as far as it is read here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TemplateParameters {
    /// Its parameters, by name.
    #[serde(rename = "Parameters", default)]
    pub(crate) parameters: BTreeMap<String, Parameter>,
    #[serde(rename = "Resources", default)]
    resources: BTreeMap<String, Resource>,
}

/// A declared parameter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Parameter {
    /// `String`, `Number`, …
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    /// Its value where none is given.
    pub(crate) default: Option<String>,
    /// The only values.
    pub(crate) allowed_values: Option<Vec<String>>,
    /// What the whole value has to match.
    pub(crate) allowed_pattern: Option<String>,
    /// The smallest number.
    pub(crate) min_value: Option<f64>,
    /// The largest number.
    pub(crate) max_value: Option<f64>,
    /// The shortest text, in characters.
    pub(crate) min_length: Option<usize>,
    /// The longest text.
    pub(crate) max_length: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
struct Resource {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Properties", default)]
    properties: Properties,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Properties {
    #[serde(rename = "LifecycleConfiguration", default)]
    lifecycle: Option<Lifecycle>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lifecycle {
    #[serde(rename = "Rules")]
    rules: Vec<DeclaredRule>,
}

/// A lifecycle rule as the template writes it. A property that the local start does not carry out is refused by name: a
/// template whose objects expire on AWS only would be another template here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DeclaredRule {
    #[serde(default)]
    pub(crate) id: Option<Scalar>,
    pub(crate) status: Scalar,
    #[serde(default)]
    pub(crate) prefix: Option<Scalar>,
    #[serde(default)]
    pub(crate) expiration_in_days: Option<Scalar>,
    #[serde(default)]
    pub(crate) abort_incomplete_multipart_upload: Option<Abort>,
}

/// What becomes of uploads that are not finished.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Abort {
    pub(crate) days_after_initiation: Scalar,
}

/// A text or number, or `!Ref` of a parameter: the one of CloudFormation's short forms that is read here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Tagged<String>")]
pub(crate) struct Scalar {
    text: String,
    tag: Option<String>,
}

impl From<Tagged<String>> for Scalar {
    fn from(Tagged(text, tag): Tagged<String>) -> Self {
        Self { text, tag }
    }
}

impl Scalar {
    /// Its value with these parameters.
    pub(crate) fn value<'a>(&'a self, values: &'a Values) -> Result<&'a str, String> {
        match self.tag.as_deref() {
            None => Ok(&self.text),
            Some("!Ref") => {
                let value = values.get(&self.text).map(String::as_str);
                value.ok_or_else(|| format!("`!Ref {}` names no parameter", self.text))
            }
            Some(tag) => Err(format!("`{tag} {}` is not read by the local start; write a value or a !Ref", self.text)),
        }
    }
}

impl TemplateParameters {
    /// Reads the template at that path.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::file("cannot read", path))?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| Error::Template {
            template: path.to_owned(),
            line: error.location().map_or(1, |location| usize::try_from(location.line()).unwrap_or(usize::MAX)),
            problem: error.to_string().lines().next().unwrap_or("it cannot be read").to_owned(),
        })
    }

    /// Every parameter's value where these are given.
    pub(crate) fn values(&self, given: &Values) -> Values {
        let defaults = self.parameters.iter().filter_map(|(name, parameter)| Some((name, parameter.default.as_ref()?)));
        defaults.chain(given).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The lifecycle rules of each bucket that has some, by the bucket's name in the template.
    pub(crate) fn lifecycles(&self) -> impl Iterator<Item = (&str, &[DeclaredRule])> {
        let buckets = self.resources.iter().filter(|(_, resource)| resource.kind == "AWS::S3::Bucket");
        buckets
            .filter_map(|(name, bucket)| Some((name.as_str(), bucket.properties.lifecycle.as_ref()?.rules.as_slice())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_projects_template_is_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
        let declared = TemplateParameters::read(&path).unwrap();
        let age = &declared.parameters["MaxAgeDays"];
        assert_eq!((age.kind.as_str(), age.min_value, age.max_value), ("Number", Some(1.0), Some(60.0)));
        let levels = declared.parameters["LogLevel"].allowed_values.as_deref().unwrap();
        assert_eq!(levels.first().map(String::as_str), Some("error"));
        // Texts and numbers as they are written.
        assert_eq!(age.default.as_deref(), Some("7"));
        assert_eq!(declared.parameters["FalUserId"].default.as_deref(), Some(""));
        let values = declared.values(&values(&[("MaxAgeDays", "3")]));
        assert_eq!((values["MaxAgeDays"].as_str(), values["LogLevel"].as_str()), ("3", "info"));
        let lifecycles: Vec<_> = declared.lifecycles().collect();
        let [("Bucket", rules)] = lifecycles[..] else { panic!("{lifecycles:?}") };
        let outputs = rules.iter().find(|rule| rule.prefix.as_ref().is_some_and(|p| p.text == "outputs/")).unwrap();
        assert_eq!(outputs.expiration_in_days.as_ref().unwrap().value(&values), Ok("3"));
    }

    #[test]
    fn a_scalar_is_itself_or_a_parameters_value() {
        let given = values(&[("Days", "5")]);
        for (yaml, value) in [
            ("30", Ok("30")),
            ("\"30\"", Ok("30")),
            ("outputs/", Ok("outputs/")),
            ("!Ref Days", Ok("5")),
            ("!Ref Nothing", Err("`!Ref Nothing` names no parameter")),
            ("!Sub '${Days}'", Err("`!Sub ${Days}` is not read by the local start; write a value or a !Ref")),
        ] {
            let scalar: Scalar = serde_saphyr::from_str(yaml).unwrap();
            assert_eq!(scalar.value(&given).map_err(|error| error.to_owned()), value.map_err(str::to_owned), "{yaml}");
        }
    }

    #[test]
    fn a_rule_that_is_not_carried_out_is_refused_with_its_place() {
        let text = "Resources:\n  B:\n    Type: AWS::S3::Bucket\n    Properties:\n      LifecycleConfiguration:\n        \
                    Rules:\n          - Status: Enabled\n            Transitions: []\n";
        let error = TemplateParameters::parse(Path::new("t.yaml"), text).unwrap_err().to_string();
        assert!(error.starts_with("t.yaml line 8") && error.contains("Transitions"), "{error}");
    }
}
