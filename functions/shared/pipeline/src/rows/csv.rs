//! Rows of a CSV file: a line that names the columns, then a line, or several within quotes, for each row. The separator
//! is found out. Spreadsheets write rows without any text, and columns without a name: both are skipped and counted.
//!
//! More is taken than RFC 4180 allows: lines may end with LF, CR or both, a quote within a cell that does not begin with one
//! is text, and so is what follows a closing quote.

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};

use super::cells::{AS_UTF_8, Column, Fault, MAX_NAME, RowBuffer, RowSink, WIDE};
use super::row::{MAX_CELL, MAX_COLUMNS, Row, RowsError, Skipped};
use super::separator::Beginning;
use crate::text::shown;

/// Bytes of a cell that are read at a time.
const SCRATCH: usize = 4096;

const HEADER: &str = "Begin the file with a line of names, each once: id,input,subject.";

/// A column: its name as it is written, and what it holds; nothing where it has no name.
struct Head {
    name: String,
    column: Option<Column>,
}

/// A CSV file.
pub(super) struct Csv {
    /// Present until the separator is known.
    beginning: Option<Beginning>,
    reader: Reader,
    scratch: Vec<u8>,
    header: Option<Vec<Head>>,
    /// The cells of the row that is being read, without their quotes, one after the other.
    cells: RowBuffer,
    /// The end of each cell.
    ends: Vec<usize>,
    /// The number of cells that have ended, stored or not.
    count: usize,
    /// Bytes of the cell that is being read.
    length: usize,
    /// The first cell that is too long.
    long: Option<usize>,
    /// Whether there is a quote in the row.
    quoted: bool,
    /// The number of rows without any text.
    blank: u64,
}

/// A reader of cells with this separator.
fn reader(separator: u8) -> Reader {
    let mut reader = ReaderBuilder::new().delimiter(separator).build();
    // It drops a mark from what it is given first, if that holds a whole one: the mark is dropped before it gets here, and
    // a second one is text. A blank line is nothing to it.
    reader.read_field(b"\n", &mut [0; 1]);
    reader
}

impl Csv {
    pub(super) fn new() -> Self {
        Csv {
            beginning: Some(Beginning::new()),
            reader: reader(b','),
            scratch: vec![0; SCRATCH],
            header: None,
            cells: RowBuffer::default(),
            ends: Vec::new(),
            count: 0,
            length: 0,
            long: None,
            quoted: false,
            blank: 0,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut RowSink<'_>) -> Result<(), RowsError> {
        let Some(beginning) = &mut self.beginning else { return self.read(bytes, out) };
        let Some(behind) = beginning.feed(bytes) else { return Ok(()) };
        self.begin(out)?;
        self.read(behind, out)
    }

    /// Reads the beginning, whose separator is known now.
    fn begin(&mut self, out: &mut RowSink<'_>) -> Result<(), RowsError> {
        let Some(beginning) = self.beginning.take() else { return Ok(()) };
        let begun = beginning.decided();
        self.reader = reader(begun.separator);
        self.read(&begun.header, out)
    }

    /// What was skipped so far.
    pub(super) fn skipped(&self) -> Skipped {
        let nameless = |heads: &Vec<Head>| heads.iter().filter(|head| head.column.is_none()).count();
        Skipped { rows: self.blank, columns: self.header.as_ref().map_or(0, nameless) }
    }

    /// The names of the columns as they are written, once the header is read.
    pub(super) fn columns(&self) -> Option<Vec<String>> {
        let named = self.header.as_ref()?.iter().filter(|head| head.column.is_some());
        Some(named.map(|head| shown(&head.name)).collect())
    }

    fn read(&mut self, bytes: &[u8], out: &mut RowSink<'_>) -> Result<(), RowsError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (found, read, wrote) = self.reader.read_field(rest, &mut self.scratch);
            let (raw, behind) = rest.split_at_checked(read).unwrap_or((rest, &[]));
            rest = behind;
            self.quoted |= raw.contains(&b'"');
            self.keep(wrote);
            self.found(found, out)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut RowSink<'_>) -> Result<(), RowsError> {
        self.begin(out)?;
        // A line's end closes whatever is open, and is text only within quotes.
        let (found, _, wrote) = self.reader.read_field(b"\n", &mut self.scratch);
        if wrote > 0 {
            let place = match self.header {
                None => "the header".to_owned(),
                Some(_) => format!("row {}", out.next()),
            };
            let message = format!("a quote that is opened in {place} is never closed");
            return Err(RowsError::new("unclosed_quote", message, "Close it; a quote within quotes is written twice."));
        }
        self.found(found, out)
    }

    /// Takes in what has been read of a cell.
    fn keep(&mut self, wrote: usize) {
        self.length = self.length.saturating_add(wrote);
        if self.length > MAX_CELL && self.long.is_none() {
            self.long = Some(self.count);
        }
        let columns = self.header.as_ref().map_or(MAX_COLUMNS, Vec::len);
        if self.long.is_none() && self.count < columns {
            self.cells.push(self.scratch.get(..wrote).unwrap_or_default());
        } else {
            // Still counted, so that what is said of a row does not depend on how its bytes are cut.
            self.cells.pass(wrote);
        }
    }

    fn found(&mut self, found: ReadFieldResult, out: &mut RowSink<'_>) -> Result<(), RowsError> {
        let ended = matches!(found, ReadFieldResult::Field { .. });
        if ended {
            if self.ends.len() < self.header.as_ref().map_or(MAX_COLUMNS, Vec::len) {
                self.ends.push(self.cells.len());
            }
            self.count = self.count.saturating_add(1);
            self.length = 0;
            self.cells.pass(1);
        }
        if self.header.is_none() {
            if self.long.is_some() || self.cells.whole().is_none() {
                return Err(bad_header("the header is too long"));
            }
            if self.count > MAX_COLUMNS {
                return Err(bad_header(format!("the header names more than {MAX_COLUMNS} columns")));
            }
        }
        if !matches!(found, ReadFieldResult::Field { record_end: true }) {
            return Ok(());
        }
        let row = match &self.header {
            Some(header) if !self.is_blank() => Some(self.row(header)),
            // A blank line is not a row.
            Some(_) => {
                self.blank += u64::from(self.count > 1);
                None
            }
            None => {
                self.header = Some(self.heads()?);
                None
            }
        };
        self.cells.clear();
        self.ends.clear();
        (self.count, self.long, self.quoted) = (0, None, false);
        row.map_or(Ok(()), |row| out.row(row))
    }

    /// The cells that are kept, from the first.
    fn texts(&self) -> impl Iterator<Item = Option<&str>> {
        let mut from = 0;
        let bytes = self.cells.whole().unwrap_or_default();
        self.ends.iter().map(move |end| {
            let cell = bytes.get(std::mem::replace(&mut from, *end)..*end);
            str::from_utf8(cell.unwrap_or_default()).ok()
        })
    }

    fn heads(&self) -> Result<Vec<Head>, RowsError> {
        let mut heads: Vec<Head> = Vec::new();
        for (n, name) in self.texts().enumerate() {
            let encoding = |what: &str| RowsError::new("bad_header", format!("the header {what}"), AS_UTF_8);
            let name = name.ok_or_else(|| encoding("is not UTF-8"))?.trim();
            if name.contains('\0') {
                return Err(encoding(WIDE));
            }
            let column = Column::of_name(name);
            match (&column, name) {
                (Some(column), _)
                    if heads.iter().any(|head| head.column.as_ref().is_some_and(|c| c.is_like(column))) =>
                {
                    return Err(bad_header(format!("the header names `{}` twice", shown(name))));
                }
                (Some(_), _) | (None, "") => heads.push(Head { name: name.to_owned(), column }),
                (None, name) if name.len() == "vars.".len() => {
                    return Err(bad_header(format!("column {} of the header has no name behind `{name}`", n + 1)));
                }
                (None, name) => {
                    return Err(bad_header(format!("`{}` has more than {MAX_NAME} characters", shown(name))));
                }
            }
        }
        if heads.iter().all(|head| head.column.is_none()) {
            return Err(bad_header("the header names no column"));
        }
        Ok(heads)
    }

    /// Whether the row that is whole has no text. In one column, blanks in quotes are a cell.
    fn is_blank(&self) -> bool {
        let is_blank = |bytes: &[u8]| bytes.trim_ascii().is_empty();
        (self.count > 1 || !self.quoted) && self.long.is_none() && self.cells.whole().is_some_and(is_blank)
    }

    /// The row that is whole.
    fn row(&self, header: &[Head]) -> Result<Row, Fault> {
        if let Some(long) = self.long {
            return Err(Fault::cell_too_long(header.get(long).map_or("", |head| &head.name)));
        }
        if self.cells.whole().is_none() {
            return Err(Fault::row_too_long());
        }
        // Cells of nameless columns at the end of a row may be left out.
        let named = header.iter().rposition(|head| head.column.is_some()).map_or(0, |last| last + 1);
        if !(named..=header.len()).contains(&self.count) {
            let cells = |count| if count == 1 { "1 cell".to_owned() } else { format!("{count} cells") };
            let message = format!("the row has {}, and the header {}", cells(self.count), cells(header.len()));
            let advice =
                "Give every column a cell, if an empty one; put text with commas, quotes and line breaks in quotes.";
            return Err(Fault::of_row("ragged_row", message, advice));
        }
        self.filled(header)
    }

    fn filled(&self, header: &[Head]) -> Result<Row, Fault> {
        let mut row = Row::default();
        for (n, (Head { name, column }, text)) in header.iter().zip(self.texts()).enumerate() {
            let text = text.ok_or_else(|| Fault::not_utf8(name))?;
            match column {
                Some(column) => row.set(name, Some(column.clone()), text.to_owned())?,
                None if text.trim().is_empty() => {}
                None => return Err(Fault::nameless_cell(n + 1)),
            }
        }
        Ok(row)
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.beginning.as_ref().map_or(0, Beginning::held)
            + self.cells.held()
            + self.scratch.capacity()
            + self.ends.capacity() * size_of::<usize>()
    }
}

fn bad_header(message: impl Into<String>) -> RowsError {
    RowsError::new("bad_header", message, HEADER)
}
