//! The common parts of the formats: columns, cells, and the buffer of the row that is being read.

use super::row::{MAX_CELL, MAX_COLUMNS, MAX_ROW, MAX_ROWS, Row, RowProblem, RowsError};
use crate::text;

/// The most characters of a var's name, and of a problem's column.
pub(super) const MAX_NAME: usize = 64;
/// The most characters of an id.
const MAX_ID: usize = 100;

/// The advice for files in another encoding, such as Windows-1252.
pub(super) const AS_UTF_8: &str = "Save the file as UTF-8; in a spreadsheet, as CSV UTF-8.";
/// What is found in UTF-16 that is read as UTF-8.
pub(super) const WIDE: &str = "has NUL characters, as UTF-16 without a byte order mark";

const NAME: &str = "Give it a name of 1 to 64 characters.";

/// The prefix of a column that is a var, whatever its name.
const VARS: &str = "vars.";

/// A problem of a row whose number is not known yet.
#[derive(Debug)]
pub(super) struct Fault {
    column: String,
    code: &'static str,
    message: String,
    advice: &'static str,
}

impl Fault {
    /// Of the row as a whole.
    pub(super) fn of_row(code: &'static str, message: impl Into<String>, advice: &'static str) -> Self {
        Fault { column: String::new(), code, message: message.into(), advice }
    }

    /// Of a cell; `what` goes on behind the column's name.
    pub(super) fn of_cell(name: &str, code: &'static str, what: impl std::fmt::Display, advice: &'static str) -> Self {
        let message = format!("`{}` {what}", text::shown(name));
        Fault { code, message, advice, column: shown(name) }
    }

    /// A cell, or text that has no column, of more than [`MAX_CELL`] bytes.
    pub(super) fn cell_too_long(name: &str) -> Self {
        const ADVICE: &str = "Shorten it to 1 MiB; in CSV, look for a quote that is not closed.";
        let what = format!("has more than {MAX_CELL} bytes");
        match name {
            "" => Fault::of_row("cell_too_long", format!("a cell beyond the header {what}"), ADVICE),
            name => Fault::of_cell(name, "cell_too_long", what, ADVICE),
        }
    }

    /// A row of more than [`MAX_ROW`] bytes.
    pub(super) fn row_too_long() -> Self {
        Fault::of_row("row_too_long", format!("the row has more than {MAX_ROW} bytes"), "Shorten it to 4 MiB.")
    }

    /// An object of more than [`MAX_COLUMNS`] keys.
    pub(super) fn too_many_keys() -> Self {
        let message = format!("the row has more than {MAX_COLUMNS} keys");
        Fault::of_row("row_too_long", message, "Leave out what the pipeline does not read.")
    }

    /// Bytes that are no text; `name` is empty where it is the whole row.
    pub(super) fn not_utf8(name: &str) -> Self {
        match name {
            "" => Fault::of_row("not_utf8", "the row is not UTF-8", AS_UTF_8),
            name => Fault::of_cell(name, "not_utf8", "is not UTF-8", AS_UTF_8),
        }
    }

    /// A row with NUL characters, which would be a prompt of twice its length.
    pub(super) fn wide() -> Self {
        Fault::of_row("not_utf8", format!("the row {WIDE}"), AS_UTF_8)
    }

    /// Text in a column without a name.
    pub(super) fn nameless_cell(column: usize) -> Self {
        let message = format!("the row has text in column {column}, which has no name");
        Fault::of_row("ragged_row", message, "Name the column in the header, or empty the cell.")
    }
}

/// A name as a problem's column.
pub(super) fn shown(name: &str) -> String {
    let printable = |c: char| if c.is_control() { '?' } else { c };
    if name.chars().nth(MAX_NAME).is_none() {
        return name.chars().map(printable).collect();
    }
    name.chars().take(MAX_NAME - 1).map(printable).chain(['…']).collect()
}

/// The meaning of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Column {
    Id,
    Input,
    Var(String),
}

impl Column {
    /// By its name, in any case; `None` where a var cannot be called so.
    pub(super) fn of_name(name: &str) -> Option<Column> {
        if name.eq_ignore_ascii_case("id") {
            return Some(Column::Id);
        }
        if name.eq_ignore_ascii_case("input") {
            return Some(Column::Input);
        }
        Column::var(match name.split_at_checked(VARS.len()) {
            Some((prefix, var)) if prefix.eq_ignore_ascii_case(VARS) => var,
            _ => name,
        })
    }

    /// Whether two columns differ in case at most.
    pub(super) fn is_like(&self, other: &Column) -> bool {
        match (self, other) {
            (Column::Var(one), Column::Var(other)) => one.to_lowercase() == other.to_lowercase(),
            _ => self == other,
        }
    }

    /// The var of this name; `None` where none can be called so.
    pub(super) fn var(name: &str) -> Option<Column> {
        (!name.is_empty() && name.chars().nth(MAX_NAME).is_none()).then(|| Column::Var(name.to_owned()))
    }
}

impl Row {
    /// Fills in a cell. `name` is the column's as it is written, for messages; `column` is `None` where it is no name.
    pub(super) fn set(&mut self, name: &str, column: Option<Column>, text: String) -> Result<(), Fault> {
        if text.len() > MAX_CELL {
            return Err(Fault::cell_too_long(name));
        }
        let given = match column {
            Some(Column::Id) => {
                let bad = |c: char| c.is_control() || matches!(c, '/' | '\\');
                if text.contains(bad) || text.chars().nth(MAX_ID).is_some() {
                    let advice = "Write 1 to 100 characters, without control characters, `/` and `\\`.";
                    return Err(Fault::of_cell(name, "bad_id", "cannot be used as an id", advice));
                }
                let id = (!text.is_empty()).then_some(text);
                std::mem::replace(&mut self.id, id).is_some()
            }
            Some(Column::Input) => {
                let input = (!text.is_empty()).then_some(text);
                std::mem::replace(&mut self.input, input).is_some()
            }
            Some(Column::Var(var)) => self.vars.insert(var, text).is_some(),
            None => return Err(Fault::of_cell(name, "not_a_row", "is no name of a var", NAME)),
        };
        // A header is checked once, so only an object gets here; which of the two is meant is not known.
        if given {
            return Err(Fault::of_cell(name, "bad_json", "is given twice", "Keep one of the two."));
        }
        Ok(())
    }
}

/// The sink of rows, which numbers them.
pub(super) struct RowSink<'a> {
    rows: &'a mut u64,
    sink: &'a mut dyn FnMut(Result<Row, RowProblem>),
}

impl<'a> RowSink<'a> {
    pub(super) fn new(rows: &'a mut u64, sink: &'a mut dyn FnMut(Result<Row, RowProblem>)) -> Self {
        RowSink { rows, sink }
    }

    /// The number of the last row, 0 before the first.
    pub(super) fn last(&self) -> u64 {
        *self.rows
    }

    /// The number that the next row gets.
    pub(super) fn next(&self) -> u64 {
        self.rows.saturating_add(1)
    }

    pub(super) fn row(&mut self, row: Result<Row, Fault>) -> Result<(), RowsError> {
        if *self.rows >= MAX_ROWS {
            let message = format!("the file has more than {MAX_ROWS} rows");
            return Err(RowsError::new("too_many_rows", message, "Divide it into several files."));
        }
        *self.rows += 1;
        let number = *self.rows;
        (self.sink)(match row {
            Ok(row) => Ok(Row { number, ..row }),
            Err(Fault { column, code, message, advice }) => {
                let (code, advice) = (code.to_owned(), advice.to_owned());
                Err(RowProblem { row: number, id: None, column, code, message, advice })
            }
        });
        Ok(())
    }
}

/// The bytes of the row that is being read; of one that is longer than [`MAX_ROW`] only their number.
#[derive(Default)]
pub(super) struct RowBuffer {
    bytes: Vec<u8>,
    length: usize,
}

impl RowBuffer {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pass(bytes.len());
        if self.length > MAX_ROW {
            self.bytes = Vec::new();
            return;
        }
        let (needed, room) = (self.bytes.len() + bytes.len(), self.bytes.capacity());
        if needed > room {
            // A vector that is left alone doubles beyond what can ever be used.
            let room = room.saturating_mul(2).min(MAX_ROW).max(needed);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Counts bytes that are not stored.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.length = self.length.saturating_add(bytes);
    }

    /// The number of stored bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole row; `None` where it is too long.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        (self.length <= MAX_ROW).then_some(self.bytes.as_slice())
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.length = 0;
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}
