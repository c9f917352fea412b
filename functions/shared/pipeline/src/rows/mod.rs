//! The rows of a batch (one pipeline over many inputs), read as a stream: bytes are fed as they come, rows come out.
//! One row is in memory at a time, never the file. Sources: RFC 4180 (CSV), RFC 8259 (JSON), jsonlines.org.
//!
//! A row that cannot be read is a [`RowProblem`] and the next one goes on; a file that cannot be read is a [`RowsError`].
//! Neither quotes what stands in cells, because those are prompts: only names of columns.

mod cells;
mod columns;
mod csv;
mod element;
mod encoding;
mod json;
mod lines;
mod row;
mod separator;
#[cfg(test)]
mod tests;

use self::cells::RowSink;
use self::csv::Csv;
use self::encoding::Decoder;
use self::json::Array;
use self::lines::Lines;

pub use self::columns::missing_column;
pub use self::row::{Format, MAX_CELL, MAX_COLUMNS, MAX_ROW, MAX_ROWS, Row, RowProblem, RowsError, Skipped};

/// A file of rows that is being read. Feed it every byte in order, then finish it.
pub struct RowReader {
    reader: FormatReader,
    /// The number of rows so far.
    rows: u64,
    decoder: Decoder,
    failed: Option<RowsError>,
}

enum FormatReader {
    Csv(Box<Csv>),
    Json(Array),
    Lines(Lines),
}

impl RowReader {
    /// Nothing read yet.
    pub fn new(format: Format) -> Self {
        let reader = match format {
            Format::Csv => FormatReader::Csv(Box::new(Csv::new())),
            Format::Json => FormatReader::Json(Array::new()),
            Format::Jsonl => FormatReader::Lines(Lines::of_json()),
            Format::Text => FormatReader::Lines(Lines::of_text()),
        };
        RowReader { reader, rows: 0, decoder: Decoder::new(), failed: None }
    }

    /// Reads on. The bytes may be cut anywhere, within a row or a character: what comes out does not depend on it. `sink` is
    /// given each row as soon as its last byte is read.
    ///
    /// Fails with `too_many_rows`, `bad_header` or `bad_json`, and from then on always with the same.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Result<Row, RowProblem>)) -> Result<(), RowsError> {
        let text = self.decoder.feed(bytes);
        self.read(&text, sink)
    }

    /// The names of a CSV file's columns, once the header is read: before the first row.
    pub fn columns(&self) -> Option<Vec<String>> {
        match &self.reader {
            FormatReader::Csv(csv) => csv.columns(),
            FormatReader::Json(_) | FormatReader::Lines(_) => None,
        }
    }

    /// Reads the last row, which no line's end has to close. Returns what was skipped.
    ///
    /// Fails as [`RowReader::feed`] does, with `bad_json` or `unclosed_quote` where the file ends too early, and with `no_rows` where
    /// there was not even a bad row.
    pub fn finish(mut self, sink: &mut dyn FnMut(Result<Row, RowProblem>)) -> Result<Skipped, RowsError> {
        let rest = self.decoder.finish();
        self.read(&rest, sink)?;
        let mut out = RowSink::new(&mut self.rows, sink);
        match &mut self.reader {
            FormatReader::Csv(csv) => csv.finish(&mut out),
            FormatReader::Json(array) => array.finish(&mut out),
            FormatReader::Lines(lines) => lines.finish(&mut out),
        }?;
        if self.rows == 0 {
            return Err(RowsError::new("no_rows", "the file has no rows", "Give at least one row."));
        }
        Ok(match &self.reader {
            FormatReader::Csv(csv) => csv.skipped(),
            FormatReader::Json(_) | FormatReader::Lines(_) => Skipped::default(),
        })
    }

    fn read(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Result<Row, RowProblem>)) -> Result<(), RowsError> {
        // What follows a mistake of the whole file would be read as something that it is not.
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut out = RowSink::new(&mut self.rows, sink);
        let read = match &mut self.reader {
            FormatReader::Csv(csv) => csv.feed(bytes, &mut out),
            FormatReader::Json(array) => array.feed(bytes, &mut out),
            FormatReader::Lines(lines) => lines.feed(bytes, &mut out),
        };
        self.failed = read.as_ref().err().cloned();
        read
    }

    /// The bytes that are held.
    #[cfg(test)]
    fn held(&self) -> usize {
        match &self.reader {
            FormatReader::Csv(csv) => csv.held(),
            FormatReader::Json(array) => array.held(),
            FormatReader::Lines(lines) => lines.held(),
        }
    }
}
