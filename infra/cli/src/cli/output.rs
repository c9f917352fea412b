//! Where a command's words go. With `--json`, standard output carries one JSON object a line and nothing else; progress and
//! errors for people go to standard error either way.

use std::io::Write;

use serde::Serialize;
use serde_json::json;

/// The command's voice.
#[derive(Clone)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Output { json }
    }

    /// Something that goes on, for people.
    pub(super) fn progress(&self, line: &str) {
        if !self.json {
            self.line(&mut std::io::stderr(), line);
        }
    }

    /// A result: text for people, or an object.
    pub(super) fn result(&self, text: impl FnOnce() -> Option<String>, object: &impl Serialize) {
        if self.json {
            // Values of ours always serialise.
            self.line(&mut std::io::stdout(), &serde_json::to_string(object).unwrap_or_default());
        } else if let Some(text) = text() {
            self.line(&mut std::io::stdout(), text.trim_end_matches('\n'));
        }
    }

    /// An error with its stable name.
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

    /// A reader that went away (`| head`) is no reason to fail the run.
    fn line(&self, to: &mut impl Write, line: &str) {
        let _ = writeln!(to, "{line}");
    }
}
