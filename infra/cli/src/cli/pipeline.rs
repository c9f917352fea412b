//! The pipeline arguments of `run` and `plan`: the document, its inputs, and the report of its problems.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use fresco_cli::api::{Inputs, RunRequest, gather};
use fresco_cli::names::on_disk;
use fresco_pipeline::document::{MAX_BYTES, Problems};
use serde_json::json;

use super::output::Output;
use super::{CommandError, EXIT_INPUT};

/// The environment variable for documents that do not set `parallel`, as in the performance guide.
const PARALLEL: &str = "PIPELINE_PARALLEL_ENABLED";

/// A pipeline and its inputs.
#[derive(Debug, Args)]
pub(super) struct PipelineArgs {
    /// The pipeline document, YAML or JSON.
    pub(super) file: PathBuf,
    /// The input text, for {{input}} and for steps without the prompt that they need.
    #[arg(long, short, value_name = "TEXT")]
    input: Option<String>,
    /// The input image, a file or an https URL, for first steps without the image that they need.
    #[arg(long, value_name = "PATH|URL")]
    input_image: Option<String>,
    /// A value for {{vars.NAME}}, instead of the document's own. May be given more than once.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = name_and_value)]
    vars: Vec<(String, String)>,
    /// Set {{env.NAME}} to the environment variable NAME. It is stored with the run: not for secrets. May be given more than
    /// once.
    #[arg(long = "env", value_name = "NAME")]
    env: Vec<String>,
}

/// Parses `NAME=VALUE`.
pub(super) fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// A request with its input files.
pub(super) struct Pipeline {
    pub(super) request: RunRequest,
    pub(super) inputs: Inputs,
    file: PathBuf,
}

impl PipelineArgs {
    /// Returns the arguments of a batch, without those that rows give.
    pub(super) fn of_batch(
        file: PathBuf,
        input: Option<String>,
        vars: Vec<(String, String)>,
        env: Vec<String>,
    ) -> PipelineArgs {
        PipelineArgs { file, input, input_image: None, vars, env }
    }

    /// Reads and checks everything before a stack is started.
    pub(super) async fn read(self, output: &Output) -> Result<Pipeline, CommandError> {
        let pipeline = self.gather(output).await?;
        match pipeline.request.check().and_then(|_| pipeline.request.check_unread_input()) {
            Ok(()) => Ok(pipeline),
            Err(problems) => Err(pipeline.report(output, &problems)),
        }
    }

    /// Reads everything without checking it: the document of a batch is complete only with a row.
    pub(super) async fn gather(self, output: &Output) -> Result<Pipeline, CommandError> {
        let wrong = |code: &str, message: &str| {
            output.error(code, message);
            CommandError::Code(EXIT_INPUT)
        };
        let file = on_disk(&self.file);
        let document = read(&file).map_err(|message| wrong("document_unreadable", &message))?;
        let mut request = RunRequest::new(document);
        request.inputs.input = self.input;
        request.inputs.image = self.input_image;
        request.inputs.vars = self.vars.into_iter().collect();
        request.inputs.parallel =
            parallel(std::env::var(PARALLEL).ok().as_deref()).map_err(|message| wrong("bad_env", &message))?;
        for name in self.env {
            let value = std::env::var(&name)
                .map_err(|_| wrong("bad_env", &format!("--env {name}: no such environment variable in UTF-8")))?;
            request.inputs.env.insert(name, value);
        }
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let inputs = gather(&mut request, &folder);
        Ok(Pipeline { request, inputs, file })
    }
}

impl Pipeline {
    /// Reports the document's problems.
    pub(super) fn report(&self, output: &Output, problems: &Problems) -> CommandError {
        let report = problems.report(&self.file.display().to_string(), &self.request.document);
        output.progress(report.trim_end());
        output.result(|| None, &json!({"event": "problems", "problems": problems.0}));
        CommandError::Code(EXIT_INPUT)
    }
}

/// Reads a document, and fails on a file that is larger than a document may be.
fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("{shown} cannot be read: {error}");
    // Checked before it is opened: opening a pipe would block.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > MAX_BYTES {
        return Err(format!("{shown} is larger than {MAX_BYTES} bytes: too large for a pipeline document"));
    }
    String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text"))
}

fn parallel(value: Option<&str>) -> Result<Option<bool>, String> {
    match value.map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        None | Some("") => Ok(None),
        Some("true" | "1" | "yes" | "on") => Ok(Some(true)),
        Some("false" | "0" | "no" | "off") => Ok(Some(false)),
        Some(_) => Err(format!("{PARALLEL} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_switch_is_parsed_in_usual_spellings() {
        for (value, read) in
            [(None, Ok(None)), (Some(""), Ok(None)), (Some("true"), Ok(Some(true))), (Some(" False "), Ok(Some(false)))]
        {
            assert_eq!(parallel(value), read, "{value:?}");
        }
        assert!(parallel(Some("maybe")).is_err());
    }

    #[test]
    fn a_variable_has_a_name() {
        assert_eq!(name_and_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(name_and_value("=b").is_err() && name_and_value("a").is_err());
    }
}
