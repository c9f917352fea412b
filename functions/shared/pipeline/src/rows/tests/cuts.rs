//! Properties: the rows do not depend on how the bytes are cut, and written rows are read back.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use super::*;

const FORMATS: [Format; 4] = [Format::Jsonl, Format::Csv, Format::Json, Format::Text];

/// The bytes between these places.
fn cut<'a>(bytes: &'a [u8], at: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|places| &bytes[places[0]..places[1]]).collect()
}

fn same_however_cut(format: Format, bytes: &[u8], at: &[Index]) -> Result<Read, TestCaseError> {
    let whole = read(format, bytes);
    prop_assert_eq!(&pieces(format, cut(bytes, at)), &whole);
    prop_assert_eq!(&pieces(format, bytes.chunks(1)), &whole);
    Ok(whole)
}

fn text() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "a", "B c", "\"", "\"\"", ",", "\n", "\r\n", "\r", "é", "😀", "\u{FEFF}", "\\", "{", "]", ":", " ", "\t", "\0",
    ];
    vec(select(PARTS), 0..8).prop_map(|parts| parts.concat())
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..6)
}

fn wanted() -> impl Strategy<Value = Row> {
    let id = proptest::option::of(select(&["a", "b c", "é😀", "\"x\",", "-7", "1.0"][..]));
    let input = proptest::option::of(text()).prop_map(|input| input.filter(|input| !input.is_empty()));
    let name = select(&["x", "size", "a b", "ü", "vars", "\"q\"", "a,b", "id", "line\nbreak"][..]);
    (id, input, btree_map(name, text(), 0..4)).prop_map(|(id, input, vars)| {
        let vars = vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Row { number: 0, id: id.map(str::to_owned), input, vars }
    })
}

/// Rows, and how they are written.
#[derive(Debug, Clone)]
struct Written {
    rows: Vec<Row>,
    mark: bool,
    crlf: bool,
    /// No line's end behind the last row.
    open: bool,
    /// Quotes, white space, nulls and blank lines that are not needed.
    lavish: bool,
    /// Of cells, in CSV.
    separator: char,
}

fn written() -> impl Strategy<Value = Written> {
    (vec(wanted(), 1..6), any::<[bool; 4]>(), select(&[',', ';', '\t'][..])).prop_map(
        |(mut rows, [mark, crlf, open, lavish], separator)| {
            (1..).zip(&mut rows).for_each(|(n, row)| row.number = n);
            Written { rows, mark, crlf, open, lavish, separator }
        },
    )
}

impl Written {
    fn lines(&self, lines: Vec<String>) -> Vec<u8> {
        let end = match (self.crlf, self.lavish) {
            (true, true) => "\r\n\r\n",
            (true, false) => "\r\n",
            (false, true) => "\n \n",
            (false, false) => "\n",
        };
        let mark = if self.mark { "\u{FEFF}" } else { "" };
        format!("{mark}{}{}", lines.join(end), if self.open { "" } else { end }).into_bytes()
    }

    /// In CSV every row has every var.
    fn csv(&mut self) -> Vec<u8> {
        let names: Vec<String> = self.rows.iter().flat_map(|row| row.vars.keys().cloned()).collect();
        for row in &mut self.rows {
            names.iter().for_each(|name| _ = row.vars.entry(name.clone()).or_default());
            // A row without any text is none.
            row.id.get_or_insert_with(|| "a".to_owned());
        }
        let heads = |row: &Row| row.vars.keys().map(|name| format!("vars.{name}")).collect::<Vec<_>>();
        let mut lines = vec![[vec!["input".to_owned(), "id".to_owned()], heads(&self.rows[0])].concat()];
        lines.extend(self.rows.iter().map(|row| {
            let cells = [&row.input, &row.id].map(|cell| cell.clone().unwrap_or_default());
            cells.into_iter().chain(row.vars.values().cloned()).collect()
        }));
        let cell = |cell: &String| match self.lavish || cell.contains(['"', ',', ';', '\t', '\r', '\n']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.clone(),
        };
        self.lines(
            lines
                .iter()
                .map(|line| line.iter().map(cell).collect::<Vec<_>>().join(&self.separator.to_string()))
                .collect(),
        )
    }

    fn values(&self) -> Vec<Value> {
        let value = |row: &Row| {
            if let Row { number: _, id: None, input: Some(input), vars } = row
                && vars.is_empty()
                && !self.lavish
            {
                return json!(input);
            }
            let mut object = Map::new();
            for (name, cell) in [("id", &row.id), ("input", &row.input)] {
                if self.lavish || cell.is_some() {
                    object.insert(name.to_owned(), json!(cell));
                }
            }
            object.insert("vars".to_owned(), json!(row.vars));
            Value::Object(object)
        };
        self.rows.iter().map(value).collect()
    }

    fn jsonl(&self) -> Vec<u8> {
        self.lines(self.values().iter().map(Value::to_string).collect())
    }

    fn json(&self) -> Vec<u8> {
        let text = match self.lavish {
            true => serde_json::to_string_pretty(&self.values()).unwrap(),
            false => json!(self.values()).to_string(),
        };
        self.lines(vec![text])
    }

    /// In text a row is an input, of one line that is not blank, without NUL, and without CR at its end.
    fn text(&mut self) -> Vec<u8> {
        for row in &mut self.rows {
            let input = row.input.take().unwrap_or_default().replace(['\r', '\n', '\0'], "|") + ".";
            *row = Row { number: row.number, input: Some(input), ..Row::default() };
        }
        let lines: Vec<String> = self.rows.iter().flat_map(|row| row.input.clone()).collect();
        // What looks like a mark there is one.
        self.mark |= lines[0].starts_with('\u{FEFF}');
        self.lines(lines)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_is_read_back(written in written(), at in cuts()) {
        for format in FORMATS {
            let mut written = written.clone();
            let bytes = match format {
                Format::Csv => written.csv(),
                Format::Jsonl => written.jsonl(),
                Format::Json => written.json(),
                Format::Text => written.text(),
            };
            let text = String::from_utf8(bytes.clone()).unwrap();
            let marked = if written.mark { text } else { format!("\u{FEFF}{text}") };
            let little: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = marked.encode_utf16().flat_map(u16::to_be_bytes).collect();
            for bytes in [bytes, little, big] {
                let read = same_however_cut(format, &bytes, &at)?;
                prop_assert_eq!(read.error, None);
                let rows: Result<Vec<Row>, RowProblem> = read.rows.into_iter().collect();
                prop_assert_eq!(rows.as_ref(), Ok(&written.rows));
            }
        }
    }

    #[test]
    fn anything_is_read_alike_however_it_is_cut(
        parts in vec(select(&[
            b"id" as &[u8], b"input", b"x", b",", b",", b"\n", b"\n", b"\r", b"\"", b"\"", b"[", b"]", b"{", b"}", b":", b"\\",
            b" ", b"1", b"-", b"null", b"tru", b"\"a\"", b"{\"x\":1}", b"{\"vars\":{\"y\":true}}", b"\xEF\xBB\xBF", b"\xEF",
            b"\xC3\xA9", b"\xFF", b"\0", b"/", b";", b"\t", b"\xFE",
        ][..]), 0..30),
        begin in select(&[b"" as &[u8], b"[", b"id,x\n", b"input\n", b"\xEF\xBB\xBF[", b"\xEF\xBB\xBFid,vars.y\r\n", b"\xFF\xFE", b"\xFE\xFF\0i\0d\0\n", b"sep=;\n"][..]),
        at in cuts(),
    ) {
        let bytes = [begin, &parts.concat()].concat();
        for format in FORMATS {
            let read = same_however_cut(format, &bytes, &at)?;
            for (n, row) in (1..).zip(&read.rows) {
                let number = row.as_ref().map_or_else(|problem| problem.row, |row| row.number);
                prop_assert_eq!(number, n);
            }
            prop_assert!(read.error.is_some() || !read.rows.is_empty());
        }
    }
}

/// Limits do not depend on the cuts either: rows that pass two of them in one piece.
#[test]
fn limits_are_passed_alike_however_they_are_cut() {
    let (cell, most) = ("y".repeat(MAX_CELL + 5), "z".repeat(MAX_CELL));
    let wide = vec!["q"; MAX_COLUMNS + 2].join(",");
    for (format, text) in [
        (
            Format::Csv,
            format!("a,b,c,d,e\n{most},{most},{most},{cell},{most}\n1,2,3,4,5\n{most},{most},{most},{most},\n"),
        ),
        (Format::Csv, format!("a,b\n1,2,3,{most},{most},{most},{most}\n1,2\n1,2,3,{cell}\n")),
        (Format::Csv, format!("{cell},{wide}\n1\n")),
        (Format::Csv, format!("{wide}{cell}\n1\n")),
        (Format::Jsonl, format!("\"{}\"\n\"{cell}\"\n1\n", cell.repeat(4))),
        (Format::Json, format!("[\"{}\",\"{cell}\",1", cell.repeat(4))),
        (Format::Text, format!("{}\n{cell}\n1\n", cell.repeat(4))),
    ] {
        let whole = read(format, &text);
        for length in [7, 4095, 4096, 100_003, MAX_ROW + 1] {
            assert!(pieces(format, text.as_bytes().chunks(length)) == whole, "{format:?} in pieces of {length}");
        }
    }
}
