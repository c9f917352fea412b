//! Rows as the elements of one JSON array. Only where an element begins and ends is found here, by its brackets and
//! strings; what it says is read when it is whole.

use super::cells::{Fault, RowBuffer, RowSink};
use super::element;
use super::row::RowsError;

/// The depth to which brackets are matched. Deeper ones are counted, so that a file of brackets costs no memory.
const MAX_OPEN: usize = 128;

const ARRAY: &str =
    "Write one array, [ … ], with commas between its elements; a file with a value on every line is JSONL.";

/// The position in the grammar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the array.
    Start,
    /// Behind its bracket.
    First,
    /// Behind a comma.
    Next,
    /// In an array or an object that is an element.
    Nested,
    /// In a string, of an element or the element itself.
    String,
    /// Behind a backslash in a string.
    Escape,
    /// In a number, `true`, `false` or `null` that is an element.
    Scalar,
    /// Behind an element.
    Behind,
    /// Behind the array.
    End,
}

/// An array.
pub(super) struct Array {
    at: At,
    element: RowBuffer,
    /// The brackets that close what is open in the element.
    open: Vec<u8>,
    /// The number of open brackets beyond those.
    deeper: usize,
}

impl Array {
    pub(super) fn new() -> Self {
        Array { at: At::Start, element: RowBuffer::default(), open: Vec::new(), deeper: 0 }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut RowSink<'_>) -> Result<(), RowsError> {
        // Where in these bytes the element begins that is being read.
        let mut from = 0;
        for (n, byte) in bytes.iter().enumerate() {
            let (byte, space) = (*byte, matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
            match self.at {
                At::String => match byte {
                    b'\\' => self.at = At::Escape,
                    b'"' if self.open.is_empty() => self.end(bytes.get(from..=n), out)?,
                    b'"' => self.at = At::Nested,
                    _ => {}
                },
                At::Escape => self.at = At::String,
                At::Nested => match byte {
                    b'"' => self.at = At::String,
                    b'{' | b'[' => self.open(byte),
                    b'}' | b']' => {
                        if !self.close(byte) {
                            let message = format!("the brackets of row {} do not match", out.next());
                            return Err(RowsError::new("bad_json", message, "Correct the brackets there."));
                        }
                        if self.open.is_empty() {
                            self.end(bytes.get(from..=n), out)?;
                        }
                    }
                    _ => {}
                },
                At::Scalar if space || matches!(byte, b',' | b']') => {
                    self.end(bytes.get(from..n), out)?;
                    self.behind(byte, out)?;
                }
                At::Scalar => {}
                _ if space => {}
                At::Start if byte == b'[' => self.at = At::First,
                At::Start => return Err(broken("the file does not begin with an array")),
                At::First if byte == b']' => self.at = At::End,
                At::First | At::Next => {
                    from = n;
                    match byte {
                        b'{' | b'[' => {
                            self.at = At::Nested;
                            self.open(byte);
                        }
                        b'"' => self.at = At::String,
                        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => self.at = At::Scalar,
                        _ => return Err(broken(format!("no JSON value begins where row {} should", out.next()))),
                    }
                }
                At::Behind => self.behind(byte, out)?,
                At::End => return Err(broken(format!("something follows the array, behind row {}", out.last()))),
            }
        }
        if self.inside() {
            self.element.push(bytes.get(from..).unwrap_or_default());
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut RowSink<'_>) -> Result<(), RowsError> {
        match self.at {
            // An empty file has no rows, which is reported where rows are counted.
            At::Start | At::End => Ok(()),
            _ if self.inside() => Err(broken(format!("the file ends within row {}", out.next()))),
            _ => Err(broken(format!("the file ends before the array does, behind row {}", out.last()))),
        }
    }

    fn inside(&self) -> bool {
        matches!(self.at, At::Nested | At::String | At::Escape | At::Scalar)
    }

    /// Reads a byte after an element.
    fn behind(&mut self, byte: u8, out: &RowSink<'_>) -> Result<(), RowsError> {
        self.at = match byte {
            b',' => At::Next,
            b']' => At::End,
            b' ' | b'\t' | b'\n' | b'\r' => At::Behind,
            _ => return Err(broken(format!("neither a comma nor the array's end follows row {}", out.last()))),
        };
        Ok(())
    }

    fn open(&mut self, bracket: u8) {
        if self.open.len() < MAX_OPEN {
            self.open.push(if bracket == b'{' { b'}' } else { b']' });
        } else {
            self.deeper = self.deeper.saturating_add(1);
        }
    }

    /// Whether it is the bracket that has to come.
    fn close(&mut self, bracket: u8) -> bool {
        if self.deeper > 0 {
            self.deeper -= 1;
            return true;
        }
        self.open.pop() == Some(bracket)
    }

    /// The element is whole; `rest` is what these bytes have of it.
    fn end(&mut self, rest: Option<&[u8]>, out: &mut RowSink<'_>) -> Result<(), RowsError> {
        self.at = At::Behind;
        self.element.push(rest.unwrap_or_default());
        let row = match self.element.whole().map(str::from_utf8) {
            None => Err(Fault::row_too_long()),
            Some(Err(_)) => Err(Fault::not_utf8("")),
            Some(Ok(text)) => element::row(text),
        };
        self.element.clear();
        out.row(row)
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.element.held() + self.open.capacity()
    }
}

fn broken(message: impl Into<String>) -> RowsError {
    RowsError::new("bad_json", message, ARRAY)
}
