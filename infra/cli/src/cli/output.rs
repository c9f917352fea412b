//! The output of commands. With `--json`, standard output carries one JSON object a line and nothing else; otherwise progress
//! and errors go to standard error.

use std::io::Write;

use serde::Serialize;
use serde_json::json;

/// The output of a command, as text or JSON.
#[derive(Clone)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Output { json }
    }

    /// Prints a line of progress; nothing with `--json`.
    pub(super) fn progress(&self, line: &str) {
        if !self.json {
            self.line(&mut std::io::stderr(), line);
        }
    }

    /// Prints a result, as text or as a JSON object.
    pub(super) fn result(&self, text: impl FnOnce() -> Option<String>, object: &impl Serialize) {
        if self.json {
            // The project's own types always serialise.
            self.line(&mut std::io::stdout(), &serde_json::to_string(object).unwrap_or_default());
        } else if let Some(text) = text() {
            self.line(&mut std::io::stdout(), text.trim_end_matches('\n'));
        }
    }

    /// Prints an error with its stable name.
    pub(super) fn error(&self, name: &str, message: &str) {
        if self.json {
            self.line(
                &mut std::io::stdout(),
                &json!({"event": "error", "error": name, "message": message}).to_string(),
            );
        } else {
            self.line(&mut std::io::stderr(), &format!("error[{name}]: {message}"));
        }
    }

    /// Prints a line. A closed pipe (`| head`) is no failure of the command.
    fn line(&self, to: &mut impl Write, line: &str) {
        let _ = writeln!(to, "{line}");
    }
}
