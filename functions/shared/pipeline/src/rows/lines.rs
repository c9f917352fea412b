//! Rows of one line each: JSONL and text.

use super::cells::{Fault, RowBuffer, RowSink};
use super::element;
use super::row::{MAX_CELL, Row, RowsError};

/// The lines of a file.
pub(super) struct Lines {
    line: RowBuffer,
    /// The parser of a line that is not blank.
    row: fn(&str) -> Result<Row, Fault>,
    /// The problem of a line that is too long.
    too_long: fn() -> Fault,
}

impl Lines {
    /// A JSON value a line.
    pub(super) fn of_json() -> Self {
        Lines { line: RowBuffer::default(), row: element::row, too_long: Fault::row_too_long }
    }

    /// An input text a line.
    pub(super) fn of_text() -> Self {
        Lines { line: RowBuffer::default(), row: text, too_long: || Fault::cell_too_long("input") }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut RowSink<'_>) -> Result<(), RowsError> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match part.split_last() {
                Some((b'\n', line)) => {
                    self.line.push(line);
                    self.end(out)?;
                }
                _ => self.line.push(part),
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut RowSink<'_>) -> Result<(), RowsError> {
        self.end(out)
    }

    fn end(&mut self, out: &mut RowSink<'_>) -> Result<(), RowsError> {
        let row = match self.line.whole().map(str::from_utf8) {
            None => Some(Err((self.too_long)())),
            Some(Err(_)) => Some(Err(Fault::not_utf8(""))),
            Some(Ok(line)) if line.trim().is_empty() => None,
            Some(Ok(line)) if line.contains('\0') => Some(Err(Fault::wide())),
            Some(Ok(line)) => Some((self.row)(line)),
        };
        self.line.clear();
        row.map_or(Ok(()), |row| out.row(row))
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.line.held()
    }
}

fn text(line: &str) -> Result<Row, Fault> {
    let input = line.trim_end_matches('\r');
    // Checked before it is copied.
    if input.len() > MAX_CELL {
        return Err(Fault::cell_too_long("input"));
    }
    Ok(Row { input: Some(input.to_owned()), ..Row::default() })
}
