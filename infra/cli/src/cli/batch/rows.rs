//! The file of rows of a batch: read as far as a request would carry it, and checked before anything is started.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use fresco_api_types::BatchBody;
use fresco_cli::api::{Api, RowsUploadError, RunRequest};
use fresco_cli::view::{batches, plural};
use fresco_pipeline::document::{Problems, prepare};
use fresco_pipeline::inspection::assumed_input;
use fresco_pipeline::rows::{Format, Row, RowProblem, RowReader, RowsError, missing_column};

use super::super::output::Output;
use super::super::pipeline::Pipeline;
use super::super::{CommandError, EXIT_INPUT, EXIT_RUN};

/// A longer file is uploaded.
const MAX_INLINE: u64 = 1024 * 1024;
/// The longest request that carries rows, as JSON; the API takes 4 MiB.
const MAX_REQUEST: usize = 3 * 1024 * 1024;
/// The most rows that are checked with the pipeline until one is valid.
const TRIED: usize = 100;
/// The code of a medium that was not given with the run.
const UNREAD: &str = "input_unread";

/// A file of rows.
pub(super) struct RowsFile {
    path: PathBuf,
    format: Format,
    head: Vec<u8>,
    /// Whether `head` is the whole file.
    whole: bool,
}

/// The first rows of a file.
#[derive(Debug)]
struct FirstRows {
    rows: Vec<Result<Row, RowProblem>>,
    /// Whether there are no others.
    all: bool,
    /// The names of the columns; `None` where the header was not read, and in other formats.
    columns: Option<Vec<String>>,
}

/// The reason why a row cannot run.
enum RowRejection {
    Row(RowProblem),
    Document(u64, Problems),
}

impl RowsFile {
    /// Opens a file. Without a format, its extension decides.
    pub(super) fn open(output: &Output, path: &Path, format: Option<Format>) -> Result<Self, CommandError> {
        let shown = path.display();
        let wrong = |code: &str, message: String| {
            output.error(code, &message);
            CommandError::Code(EXIT_INPUT)
        };
        let Some(format) = format.or_else(|| Format::of_name(&path.to_string_lossy())) else {
            let message = format!("the extension of {shown} names no format of rows: add --format");
            return Err(wrong("no_format", message));
        };
        let unreadable = |why: String| wrong("rows_unreadable", format!("{shown} cannot be read: {why}"));
        // Checked before it is opened: opening a pipe would block.
        match std::fs::metadata(path) {
            Ok(about) if about.is_file() => {}
            Ok(_) => return Err(unreadable("it is not a file".to_owned())),
            Err(error) => return Err(unreadable(error.to_string())),
        }
        let mut head = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_INLINE + 1).read_to_end(&mut head));
        read.map_err(|error| unreadable(error.to_string()))?;
        let whole = head.len() as u64 <= MAX_INLINE;
        Ok(RowsFile { path: path.to_owned(), format, head, whole })
    }

    /// Checks the first rows with the pipeline, and fails if the stack would reject all of them. An invalid row among valid
    /// ones is left to the stack.
    pub(super) fn check_with(&self, output: &Output, pipeline: &Pipeline) -> Result<(), CommandError> {
        let first = self.first().map_err(|error| {
            let message = format!("{}: {}. {}", self.path.display(), error.message, error.advice);
            output.error(error.code, &message);
            CommandError::Code(EXIT_INPUT)
        })?;
        let (tried, all) = (first.rows.len(), first.all);
        let Some(rejection) = first_rejection(&pipeline.request, first) else { return Ok(()) };
        // Media that cannot be read are the same for every row.
        if !all && !pipeline.request.has_refused_media() {
            return Ok(());
        }
        let none = format!("none of {} of {} can be run", plural(tried, "row"), self.path.display());
        match rejection {
            RowRejection::Row(problem) => {
                output.error(&problem.code, &format!("{none}; {}", batches::row_problem(&problem)));
                Err(CommandError::Code(EXIT_INPUT))
            }
            RowRejection::Document(row, problems) => {
                output.progress(&format!("{none}; with row {row}:"));
                if !pipeline.request.has_refused_media() && problems.0.iter().any(|problem| problem.code == UNREAD) {
                    output.progress(
                        "Files that rows name are not uploaded, only those that the document itself names. Rows may name \
                         https URLs.",
                    );
                }
                Err(pipeline.report(output, &problems))
            }
        }
    }

    /// Returns the first rows.
    fn first(&self) -> Result<FirstRows, RowsError> {
        let (mut first, mut count) = (Vec::new(), 0);
        let mut take = |row| {
            count += 1;
            if count <= TRIED {
                first.push(row);
            }
        };
        let mut rows = RowReader::new(self.format);
        rows.feed(&self.head, &mut take)?;
        let columns = rows.columns();
        if self.whole {
            rows.finish(&mut take)?;
        }
        Ok(FirstRows { rows: first, all: self.whole && count <= TRIED, columns })
    }

    /// Adds the rows to the request: inline if they are short enough, by an upload otherwise.
    pub(super) async fn add_to(self, output: &Output, api: &Api, body: &mut BatchBody) -> Result<(), CommandError> {
        body.format = Some(self.format);
        if self.whole
            && let Ok(text) = String::from_utf8(self.head)
        {
            body.rows_text = Some(text);
            if serde_json::to_vec(body).is_ok_and(|json| json.len() <= MAX_REQUEST) {
                return Ok(());
            }
            body.rows_text = None;
        }
        match api.upload_rows(&self.path).await {
            Ok(id) => {
                body.rows_upload = Some(id);
                Ok(())
            }
            Err(RowsUploadError::Api(error)) => Err(error.into()),
            Err(error @ RowsUploadError::Unreadable { .. }) => {
                output.error("rows_unreadable", &error.to_string());
                Err(CommandError::Code(EXIT_RUN))
            }
        }
    }
}

/// Returns `None` if a row can run, and the rejection of the first row otherwise.
fn first_rejection(request: &RunRequest, rows: FirstRows) -> Option<RowRejection> {
    let mut first = None;
    let names = prepare(&request.document).map(|document| document.var_names()).unwrap_or_default();
    let columns = rows.columns;
    for row in rows.rows {
        let why = match row {
            Err(problem) => RowRejection::Row(problem),
            Ok(row) => {
                let mut with = request.clone();
                let row = row.with_names_of(&names);
                with.inputs.input = row.input.or(with.inputs.input);
                with.inputs.row = row.vars;
                match checked(&mut with) {
                    Ok(()) => return None,
                    Err(problems) => RowRejection::Document(row.number, by_column(problems, columns.as_deref())),
                }
            }
        };
        first.get_or_insert(why);
    }
    first
}

/// Names the columns in problems of inputs for which there is none.
fn by_column(mut problems: Problems, columns: Option<&[String]>) -> Problems {
    for problem in &mut problems.0 {
        let message = problem.missing_input.as_deref().zip(columns);
        if let Some(message) = message.and_then(|(wanted, columns)| missing_column(wanted, columns)) {
            problem.message = message;
        }
    }
    problems
}

/// Checks the document with a row. Media that a row names by URL are fetched when its chunk is planned: until then they are
/// taken for valid.
fn checked(with: &mut RunRequest) -> Result<(), Problems> {
    let problems = match with.check() {
        Ok(_) => return Ok(()),
        Err(problems) => problems,
    };
    if !problems.0.iter().any(|problem| problem.code == UNREAD) {
        return Err(problems);
    }
    for reference in with.media_references().into_iter().filter(|reference| reference.text.contains("://")) {
        with.inputs.media.entry(reference.text).or_insert_with(|| Ok(assumed_input(reference.kind)));
    }
    with.check().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "steps: [{type: text_to_image, params: {prompt: \"a {{vars.animal}}\"}}]";

    fn open(folder: &Path, name: &str, text: &str, format: Option<Format>) -> Result<RowsFile, CommandError> {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        RowsFile::open(&Output::new(true), &path, format)
    }

    #[test]
    fn the_format_follows_the_extension_unless_it_is_given() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(open(folder.path(), "a.CSV", "x\n1\n", None).unwrap().format, Format::Csv);
        assert_eq!(open(folder.path(), "a.csv", "x\n1\n", Some(Format::Text)).unwrap().format, Format::Text);
        assert!(matches!(open(folder.path(), "a.xlsx", "x", None), Err(CommandError::Code(EXIT_INPUT))));
        let gone = RowsFile::open(&Output::new(true), &folder.path().join("gone.csv"), None);
        assert!(matches!(gone, Err(CommandError::Code(EXIT_INPUT))));
    }

    #[test]
    fn one_valid_row_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let request = RunRequest::new(DOCUMENT);
        let tried = |name: &str, text: &str| {
            let first = open(folder.path(), name, text, None).unwrap().first().unwrap();
            let all = first.all;
            (first_rejection(&request, first), all)
        };
        let (why, all) = tried("good.jsonl", "5\n{\"animal\": \"heron\"}\n");
        assert!(why.is_none() && all);
        let (why, _) = tried("bad.jsonl", "5\n{\"colour\": \"red\"}\n");
        assert!(matches!(why, Some(RowRejection::Row(problem)) if problem.row == 1));
        let (why, _) = tried("other.csv", "colour\nred\n");
        let Some(RowRejection::Document(1, problems)) = why else { panic!("the row has no animal") };
        assert_eq!(problems.0[0].code, "unknown_var");
        assert_eq!(problems.0[0].message, "no column is named `animal`; the only column is `colour`");
        let (why, _) = tried("case.csv", "ANIMAL;Size;\nheron;3;\n;;\n");
        assert!(why.is_none(), "neither case nor separator matters");
        let (_, all) = tried("many.txt", &"x\n".repeat(TRIED + 1));
        assert!(!all, "later rows may be valid");
        let (_, all) = tried("long.txt", &"x\n".repeat(600_000));
        assert!(!all);
        let error = open(folder.path(), "none.json", "[]", None).unwrap().first().unwrap_err();
        assert_eq!(error.code, "no_rows");
    }
    #[test]
    fn media_of_rows_are_urls() {
        let document = "steps: [{type: image_to_image, params: {prompt: x, image: \"{{vars.image}}\"}}]";
        let request = RunRequest::new(document);
        let folder = tempfile::tempdir().unwrap();
        let tried = |image: &str| {
            let text = format!("image\n{image}\n");
            let first = open(folder.path(), "rows.csv", &text, None).unwrap().first().unwrap();
            match first_rejection(&request, first) {
                None => String::new(),
                Some(RowRejection::Document(1, problems)) => problems.0[0].code.to_owned(),
                Some(_) => panic!("the row is valid"),
            }
        };
        assert_eq!(tried("https://example.com/a.png"), "");
        assert_eq!(tried("a.png"), UNREAD);
        assert_eq!(tried("http://example.com/a.png"), "input_url");
        assert_eq!(tried("https://127.0.0.1/a.png"), "input_url");
    }
}
