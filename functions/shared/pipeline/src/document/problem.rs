//! A problem of a document, and how a list of them is shown: each with its place, an excerpt, a stable code and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in a document; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl Default for Position {
    fn default() -> Self {
        Position::START
    }
}

impl Position {
    /// The beginning.
    pub const START: Position = Position { line: 1, column: 1 };
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(flatten)]
    pub place: Position,
    pub code: String,
    /// The path in the tree, as `steps[0].params.prompt`.
    pub path: String,
    pub message: String,
    pub advice: String,
    /// The missing input of the run: `input`, or the name of a var.
    #[serde(skip)]
    pub missing_input: Option<Box<str>>,
}

impl Problem {
    /// A problem whose place its caller knows; until then it is that of the beginning, with an empty path.
    pub fn new(code: &str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Problem::at(Position::START, code, "", message, advice)
    }

    /// A problem at a place.
    pub fn at(
        place: Position,
        code: &str,
        path: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let (code, path) = (code.to_owned(), path.into());
        Problem { place, code, path, message: message.into(), advice: advice.into(), missing_input: None }
    }
}

/// The most problems that are listed.
pub const MAX_PROBLEMS: usize = 100;
/// The code of the line that closes a list which is longer.
const MORE: &str = "more_problems";

/// Every problem that a document has, in its order; of very many the first, and a last one that says how many more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            let Position { line, column } = problem.place;
            write!(f, "{separator}{line}:{column} {}: {}", problem.code, problem.message)?;
        }
        Ok(())
    }
}

impl Problems {
    /// The problems in the document's order.
    pub(super) fn in_order(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        let more = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        if let (1.., Some(last)) = (more, problems.last()) {
            let message = format!("… and {more} more");
            problems.push(Problem::at(last.place, MORE, "", message, "Correct these first."));
        }
        Problems(problems)
    }

    /// The report for a terminal, with the lines of `source` that it is about.
    pub fn report(&self, file: &str, source: &str) -> String {
        let mut report = String::new();
        let lines: Vec<&str> = source.lines().collect();
        for problem in &self.0 {
            if problem.code == MORE {
                report.push_str(&format!("{}\n\n", problem.message));
                continue;
            }
            let Position { line, column } = problem.place;
            report.push_str(&format!("error[{}]: {}\n  --> {file}:{line}:{column}", problem.code, problem.message));
            if !problem.path.is_empty() {
                report.push_str(&format!(" ({})", problem.path));
            }
            report.push('\n');
            if let Some(text) = lines.get(line.saturating_sub(1) as usize) {
                let margin = line.to_string().len();
                let (shown, indent) = excerpt(text, column as usize);
                report.push_str(&format!("{:margin$} |\n{line} | {shown}\n{:margin$} | {:indent$}^\n", "", "", ""));
            }
            report.push_str(&format!("  = {}\n\n", problem.advice));
        }
        let count = match self.0.len() {
            1 => "1 problem".to_owned(),
            count @ 0..=MAX_PROBLEMS => format!("{count} problems"),
            _ => format!("more than {MAX_PROBLEMS} problems"),
        };
        report.push_str(&format!("{count}; nothing was started and nothing was spent.\n"));
        report
    }
}

/// At most 100 characters of a line around a column, printable, and where the column is in them.
fn excerpt(text: &str, column: usize) -> (String, usize) {
    const WIDTH: usize = 100;
    let at = column.saturating_sub(1);
    let from = if at < WIDTH * 3 / 4 { 0 } else { at - WIDTH / 2 };
    let shown = text.chars().skip(from).take(WIDTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
    (shown, at - from)
}
