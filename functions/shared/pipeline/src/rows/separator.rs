//! The separator of a CSV file: the one that its header has most of. Where the decimal sign is a comma, spreadsheets
//! separate cells by semicolons; what they call text is separated by tabs.

const COMMA: u8 = b',';
/// The first of those that occur equally often wins.
const SEPARATORS: [u8; 3] = [COMMA, b';', b'\t'];
/// A header of more bytes is decided by its beginning.
const MOST: usize = 64 << 10;

/// The beginning of a file up to the end of its first line that is not blank.
pub(super) struct Beginning {
    bytes: Vec<u8>,
    length: usize,
    counts: [usize; SEPARATORS.len()],
    is_blank: bool,
    is_quoted: bool,
    /// Whether a quote begins a quoted cell here, or continues one that just ended.
    may_open: bool,
}

/// What the beginning of a file says about the rest.
pub(super) struct Begun {
    pub(super) separator: u8,
    /// The bytes of the header; none where the line only named the separator.
    pub(super) header: Vec<u8>,
}

impl Beginning {
    pub(super) fn new() -> Self {
        Beginning {
            bytes: Vec::new(),
            length: 0,
            counts: [0; SEPARATORS.len()],
            is_blank: true,
            is_quoted: false,
            may_open: true,
        }
    }

    /// Takes in bytes, and returns those behind the beginning once it has ended.
    pub(super) fn feed<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let end = bytes.iter().position(|byte| self.ends_with(*byte));
        let (own, behind) = end.and_then(|end| bytes.split_at_checked(end + 1)).unwrap_or((bytes, &[]));
        self.bytes.extend_from_slice(own);
        end.map(|_| behind)
    }

    fn ends_with(&mut self, byte: u8) -> bool {
        self.length += 1;
        let is_separator = SEPARATORS.iter().position(|separator| *separator == byte);
        match byte {
            b'"' if self.is_quoted => (self.is_quoted, self.may_open) = (false, true),
            b'"' if self.may_open => self.is_quoted = true,
            _ if self.is_quoted => {}
            b'\r' | b'\n' if !self.is_blank => return true,
            b'\r' | b'\n' => (self.counts, self.may_open) = ([0; SEPARATORS.len()], true),
            _ => {
                self.may_open = is_separator.is_some();
                if let Some(count) = is_separator.and_then(|place| self.counts.get_mut(place)) {
                    *count += 1;
                }
            }
        }
        self.is_blank &= byte.is_ascii_whitespace();
        self.length >= MOST
    }

    pub(super) fn decided(self) -> Begun {
        // The line that Excel writes and reads for this purpose.
        let line = self.bytes.trim_ascii();
        let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
        if let Some((b"sep=" | b"SEP=", [separator])) = line.split_at_checked(4)
            && separator.is_ascii_punctuation()
            && *separator != b'"'
        {
            return Begun { separator: *separator, header: Vec::new() };
        }
        if line == b"sep=" && self.bytes.contains(&b'\t') {
            return Begun { separator: b'\t', header: Vec::new() };
        }
        let most = SEPARATORS.iter().zip(self.counts).rev().max_by_key(|(_, count)| *count);
        Begun { separator: most.map_or(COMMA, |(separator, _)| *separator), header: self.bytes }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}
