//! A row and its limits, the formats, and the problems of a row and of a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most rows of a file, bad ones with them; one more is `too_many_rows`.
pub const MAX_ROWS: u64 = 1_000_000;
/// The most bytes of a cell, an input text or a var, in UTF-8 and without quotes and escapes. A longer one makes its row a
/// bad one.
pub const MAX_CELL: usize = 1 << 20;
/// The most bytes of a whole row. In CSV those of its cells and one more for each; in JSON and JSONL as it is written; in text
/// a row is one cell.
pub const MAX_ROW: usize = 4 << 20;
/// The most columns of a CSV file, and the most keys of an object, those in its `vars` with them.
pub const MAX_COLUMNS: usize = 200;

/// How the rows of a file are written. All are UTF-8, with or without a byte order mark, or UTF-16 with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON value a line: an object with `id`, `input`, `vars` and more vars beside them, or a text, which is the input.
    Jsonl,
    /// Commas, semicolons or tabs between the cells, whichever the first line has most of; it names the columns: `id`, `input`; any
    /// other, or `vars.x`, is a var.
    Csv,
    /// One JSON array of what stands on the lines of JSONL.
    Json,
    /// One input text a line.
    Text,
}

impl Format {
    /// The format of a file by the ending of its name, in any case: `.jsonl` `.ndjson` `.csv` `.json` `.txt`.
    pub fn of_name(name: &str) -> Option<Format> {
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            "csv" => Some(Format::Csv),
            "json" => Some(Format::Json),
            "txt" => Some(Format::Text),
            _ => None,
        }
    }

    /// As it is written in JSON: `jsonl` `csv` `json` `text`.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
            Format::Json => "json",
            Format::Text => "text",
        }
    }
}

/// One row: what one run of the pipeline is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Row {
    /// Which row of the file it is, from 1. Bad rows count; the header, blank lines and blank rows do not.
    pub number: u64,
    /// What its writer calls it: 1 to 100 characters, no control characters, no `/` and no `\`. Uniqueness within
    /// the file is not checked. `None` where it is absent, null or empty.
    pub id: Option<String>,
    /// The input text, not empty. `None` where it is absent, null or empty.
    pub input: Option<String>,
    /// The vars by name, a name of 1 to 64 characters. In CSV every column is there, an empty cell as the empty text.
    pub vars: BTreeMap<String, String>,
}

/// A problem of one row, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RowProblem {
    /// Which row of the file it is, from 1, counted as in [`Row`].
    pub row: u64,
    /// The row's own name, where it was read.
    #[serde(default)]
    pub id: Option<Box<str>>,
    /// The column or key as it is written, at most 64 characters of it; empty where it is the whole row.
    pub column: String,
    /// A stable code: `ragged_row` `cell_too_long` `row_too_long` `not_utf8` `bad_json` `bad_id` `not_a_row` `wrong_type`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
}

/// The parts of a file that hold nothing, as spreadsheets write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skipped {
    /// Rows whose cells are all blank; blank lines do not count.
    pub rows: u64,
    /// Columns without a name.
    pub columns: usize,
}

/// A problem of the file as a whole. The rows before it are valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RowsError {
    /// A stable code: `no_rows` `too_many_rows` `bad_header` `bad_json` `unclosed_quote`.
    pub code: &'static str,
    /// What is wrong, and at which row.
    pub message: String,
    /// What to do.
    pub advice: &'static str,
}

impl RowsError {
    pub(super) fn new(code: &'static str, message: impl Into<String>, advice: &'static str) -> Self {
        RowsError { code, message: message.into(), advice }
    }
}
