//! Packages the template as text: the lines that name local files get the S3 locations of their uploads, as
//! `aws cloudformation package` does. Everything else stays as it is written.

use std::path::{Path, PathBuf};

use anyhow::ensure;

/// A property that names a local file.
const PROPERTIES: [&str; 2] = ["CodeUri", "DefinitionS3Location"];

/// A line of the template that names a local file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    line: usize,
    property: &'static str,
    /// The file, resolved against the template's folder.
    pub(crate) path: PathBuf,
}

/// A template and the local files that it names.
#[derive(Debug)]
pub(crate) struct Template {
    text: String,
    references: Vec<Reference>,
}

impl Template {
    /// Reads the text of the template at that path.
    pub(crate) fn parse(path: &Path, text: String) -> anyhow::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut references = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let Some((property, value)) = property(line) else { continue };
            if value.starts_with("s3://") || value.starts_with('{') {
                continue;
            }
            ensure!(
                !value.is_empty(),
                "{} line {}: {property} has no value on its own line; write it as `{property}: path`",
                path.display(),
                index + 1
            );
            references.push(Reference { line: index, property, path: folder.join(value) });
        }
        Ok(Self { text, references })
    }

    /// The lines that name files. Several may name the same.
    pub(crate) fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The text with each file's location in this bucket; `keys` are in the order of [`Template::references`].
    pub(crate) fn packaged(&self, bucket: &str, keys: &[String]) -> String {
        let mut lines: Vec<String> = self.text.lines().map(str::to_owned).collect();
        for (reference, key) in self.references.iter().zip(keys) {
            let line = &mut lines[reference.line];
            let indent = line.len() - line.trim_start().len();
            let location = match reference.property {
                "CodeUri" => format!("s3://{bucket}/{key}"),
                _ => format!("{{ Bucket: {bucket}, Key: {key} }}"),
            };
            *line = format!("{}{}: {location}", &line[..indent], reference.property);
        }
        lines.join("\n") + "\n"
    }
}

fn property(line: &str) -> Option<(&'static str, &str)> {
    let (name, value) = line.trim_start().split_once(':')?;
    let property = PROPERTIES.into_iter().find(|&property| property == name)?;
    let value = value.split(" #").next().unwrap_or_default();
    Some((property, value.trim().trim_matches(['"', '\''])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Resources:
  A:
    CodeUri: ../target/fresco/a.zip # packed
    # CodeUri: not a property, since it stands in a comment
  M:
    DefinitionS3Location: \"run.asl.json\"
  B:
    CodeUri: s3://there/already
";

    #[test]
    fn files_become_locations_and_the_rest_stays() {
        let template = Template::parse(Path::new("infra/template.yaml"), TEXT.to_owned()).unwrap();
        let paths: Vec<_> = template.references().iter().map(|reference| reference.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["infra/../target/fresco/a.zip", "infra/run.asl.json"]);
        let packaged = template.packaged("code", &["k1".to_owned(), "k2".to_owned()]);
        let expected = TEXT
            .replace("CodeUri: ../target/fresco/a.zip # packed", "CodeUri: s3://code/k1")
            .replace("\"run.asl.json\"", "{ Bucket: code, Key: k2 }");
        assert_eq!(packaged, expected);
    }

    #[test]
    fn a_value_on_the_next_line_is_refused_with_its_place() {
        let error = Template::parse(Path::new("t.yaml"), "A:\n  CodeUri:\n    x\n".to_owned()).unwrap_err();
        assert!(error.to_string().starts_with("t.yaml line 2"), "{error}");
    }
}
