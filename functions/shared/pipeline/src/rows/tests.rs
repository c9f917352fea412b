mod cuts;
mod saved;

use super::*;

/// The rows and problems of a file.
#[derive(Debug, PartialEq)]
struct Read {
    rows: Vec<Result<Row, RowProblem>>,
    error: Option<RowsError>,
}

/// Reads pieces of a file one after the other.
fn pieces<'a>(format: Format, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut rows = Vec::new();
    let mut sink = |row| rows.push(row);
    let mut reader = RowReader::new(format);
    let fed = pieces.into_iter().try_for_each(|piece| reader.feed(piece, &mut sink));
    let error = fed.and_then(|()| reader.finish(&mut sink)).err();
    Read { rows, error }
}

fn read(format: Format, bytes: impl AsRef<[u8]>) -> Read {
    pieces(format, [bytes.as_ref()])
}

fn row(number: u64, id: &str, input: &str, vars: &[(&str, &str)]) -> Row {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Row { number, id: given(id), input: given(input), vars }
}

#[track_caller]
fn all_good(format: Format, bytes: impl AsRef<[u8]>, rows: &[Row]) {
    let read = read(format, bytes);
    assert_eq!(read.error, None);
    assert_eq!(read.rows.into_iter().collect::<Result<Vec<_>, _>>().as_deref(), Ok(rows));
}

/// Codes and columns of bad rows by their number.
fn faults(read: &Read) -> Vec<(u64, &str, &str)> {
    let bad = read.rows.iter().filter_map(|row| row.as_ref().err());
    bad.map(|bad| (bad.row, bad.code.as_str(), bad.column.as_str())).collect()
}

#[test]
fn formats_by_their_endings() {
    for (name, format) in [
        ("a.jsonl", Some(Format::Jsonl)),
        ("a.b/c.NDJSON", Some(Format::Jsonl)),
        ("A.CSV", Some(Format::Csv)),
        ("a.csv.json", Some(Format::Json)),
        (".txt", Some(Format::Text)),
        ("csv", None),
        ("a.csv/b", None),
        ("a.xlsx", None),
        ("", None),
    ] {
        assert_eq!(Format::of_name(name), format, "{name}");
    }
    for format in [Format::Jsonl, Format::Csv, Format::Json, Format::Text] {
        assert_eq!(serde_json::to_value(format).unwrap(), format.as_str());
    }
}

#[test]
fn csv_of_every_kind() {
    let cats = [row(1, "a", "a cat", &[("size", "3")]), row(2, "b", "", &[("size", "")])];
    for text in [
        "id,input,size\na,a cat,3\nb,,\n",
        "\u{FEFF}id,input,vars.size\r\na,a cat,3\r\nb,,",
        "\n\n id , input , size \n\na,a cat,3\n \t\n\nb,,\n\n",
        "\"id\",\"input\",\"size\"\r\"a\",\"a cat\",\"3\"\r\"b\",\"\",\"\"\r",
        "size,input,id\n3,a cat,a\n,,b\n",
    ] {
        all_good(Format::Csv, text, &cats);
    }
    let quoted = "input,n\n\"a \"\"b\"\", c\r\nd\",1\n'e',2\nf\"g\",3\n\"h\"i,4\n";
    let texts = ["a \"b\", c\r\nd", "'e'", "f\"g\"", "hi"];
    let rows: Vec<Row> = (1..).zip(texts).map(|(n, text)| row(n, "", text, &[("n", &n.to_string())])).collect();
    all_good(Format::Csv, quoted, &rows);
    // In one column, a blank line is one and a quoted blank is not.
    all_good(
        Format::Csv,
        "input\n  \n\" \"\n\"\"\nx",
        &[row(1, "", " ", &[]), row(2, "", "", &[]), row(3, "", "x", &[])],
    );
    // Only the first mark is one, however it is cut.
    all_good(Format::Csv, "\u{FEFF}\u{FEFF}a\n1\n", &[row(1, "", "", &[("\u{FEFF}a", "1")])]);
    all_good(Format::Csv, "vars.id,vars.input\n1,2\n", &[row(1, "", "", &[("id", "1"), ("input", "2")])]);
}

#[test]
fn json_of_every_kind() {
    let lines = [
        r#"{"id": "a", "input": "a cat", "vars": {"size": 3, "of": null}, "x": true, "y": 1.50, "vars.z": "\u00e9\n"}"#,
        r#""a \"dog\"""#,
        r#"{"id": 7, "input": null, "vars": null, "vars.input": -2, "big": 18446744073709551615, "far": 1e300}"#,
        "{}",
        r#"{"id": "", "input": "", "x": ""}"#,
    ];
    let rows = [
        row(1, "a", "a cat", &[("size", "3"), ("x", "true"), ("y", "1.5"), ("z", "é\n")]),
        row(2, "", "a \"dog\"", &[]),
        row(3, "7", "", &[("input", "-2"), ("big", "18446744073709551615"), ("far", "1e+300")]),
        row(4, "", "", &[]),
        row(5, "", "", &[("x", "")]),
    ];
    all_good(Format::Jsonl, lines.join("\n"), &rows);
    all_good(Format::Jsonl, format!("\u{FEFF}\r\n{}\r\n \t\n", lines.join("\r\n\r\n")), &rows);
    all_good(Format::Json, format!("[{}]", lines.join(",")), &rows);
    all_good(Format::Json, format!("\u{FEFF} [\r\n\t{}\n] \n", lines.join(" ,\n")), &rows);
}

#[test]
fn text_of_every_kind() {
    let rows = [row(1, "", "a cat, \"a\" dog", &[]), row(2, "", " \u{FEFF}é ", &[])];
    for text in ["a cat, \"a\" dog\n \u{FEFF}é ", "\u{FEFF}\n\r\na cat, \"a\" dog\r\n \t \n \u{FEFF}é \r\n\u{3000}\n"]
    {
        all_good(Format::Text, text, &rows);
    }
}

/// Each of these is a bad row, and the good ones around it are read.
#[test]
fn bad_rows() {
    let csv = |row: &str| (Format::Csv, format!("id,input,size\ng,g,1\n{row}\nh,h,1\n").into_bytes());
    let json = |row: &str| (Format::Json, format!("[\"g\",{row},\"h\"]").into_bytes());
    let line = |row: &str| (Format::Jsonl, format!("\"g\"\n{row}\n\"h\"\n").into_bytes());
    let both = |row: &str, code: &'static str, column: &str| {
        [(json(row), code, column.to_owned()), (line(row), code, column.to_owned())]
    };
    let (long, name) = ("x".repeat(MAX_CELL + 1), "n".repeat(65));
    let mut bad = vec![
        (csv("a,b"), "ragged_row", String::new()),
        (csv("a"), "ragged_row", String::new()),
        (csv("a,b,c,"), "ragged_row", String::new()),
        (csv("\" \""), "ragged_row", String::new()),
        (csv(&",".repeat(MAX_ROW)), "row_too_long", String::new()),
        (csv(&format!("a,{long},c")), "cell_too_long", "input".to_owned()),
        (csv(&format!("a,{long},{long}")), "cell_too_long", "input".to_owned()),
        (csv(&format!("a,b,c,d,{long}")), "cell_too_long", String::new()),
        (csv("a/b,,"), "bad_id", "id".to_owned()),
        (csv("\"a\nb\",,"), "bad_id", "id".to_owned()),
        (csv(&format!("{name}{name},,")), "bad_id", "id".to_owned()),
        (line("{\"input\": \"secret"), "bad_json", String::new()),
        (line("{} {}"), "bad_json", String::new()),
        (line("secret"), "bad_json", String::new()),
        (json("nil"), "bad_json", String::new()),
        ((Format::Text, format!("g\n{long}\nh").into_bytes()), "cell_too_long", "input".to_owned()),
        ((Format::Text, b"g\n\xFF\xFE\nh".to_vec()), "not_utf8", String::new()),
        ((Format::Text, b"g\na\0 \0c\0\nh".to_vec()), "not_utf8", String::new()),
        ((Format::Jsonl, b"\"g\"\n\"\xC3\"\n\"h\"".to_vec()), "not_utf8", String::new()),
        ((Format::Json, b"[\"g\",{\"input\":\"\xC3\"},\"h\"]".to_vec()), "not_utf8", String::new()),
        ((Format::Csv, b"id,size\ng,1\na,\xC3\nh,1".to_vec()), "not_utf8", "size".to_owned()),
    ];
    for (row, code, column) in [
        (r#"{"input": secret}"#, "bad_json", ""),
        (r#"{"input": "\ud800"}"#, "bad_json", ""),
        (r#"{"x": 1e999}"#, "bad_json", ""),
        (r#"{"input": "a", "input": "b"}"#, "bad_json", "input"),
        (r#"{"x": 1, "vars": {"x": 2}}"#, "bad_json", "vars.x"),
        (r#"{"vars": {"x": 1, "x": 2}}"#, "bad_json", "vars.x"),
        (r#"{"id": "a\\b"}"#, "bad_id", "id"),
        (r#"{"id": "a\u0000"}"#, "bad_id", "id"),
        ("5", "not_a_row", ""),
        ("null", "not_a_row", ""),
        ("true", "not_a_row", ""),
        (r#"["secret", ["x"]]"#, "not_a_row", ""),
        (r#"{"": 1}"#, "not_a_row", ""),
        (r#"{"vars": {"": 1}}"#, "not_a_row", "vars."),
        (r#"{"x": ["secret"]}"#, "wrong_type", "x"),
        (r#"{"input": {"secret": {}}}"#, "wrong_type", "input"),
        (r#"{"id": []}"#, "wrong_type", "id"),
        (r#"{"vars": {"x": {"y": "secret"}}}"#, "wrong_type", "vars.x"),
        (r#"{"vars": {"vars": {"y": "secret"}}}"#, "wrong_type", "vars.vars"),
        (r#"{"vars": "secret"}"#, "wrong_type", "vars"),
        (r#"{"vars": []}"#, "wrong_type", "vars"),
    ] {
        bad.extend(both(row, code, column));
    }
    bad.extend(both(&format!("{{\"{name}\": 1}}"), "not_a_row", &format!("{}…", &name[..63])));
    bad.extend(both(&format!("{{\"x\": \"{long}\"}}"), "cell_too_long", "x"));
    bad.extend(both(&format!("\"{long}\""), "cell_too_long", "input"));
    bad.extend(both(&format!("\"{}\"", long.repeat(4)), "row_too_long", ""));
    let keys: Vec<_> = (0..=MAX_COLUMNS).map(|n| format!("\"k{n}\": {n}")).collect();
    bad.extend(both(&format!("{{{}}}", keys.join(",")), "row_too_long", ""));
    bad.extend(both(&format!("{{\"id\": 1, \"vars\": {{{}}}}}", keys[1..].join(",")), "row_too_long", ""));
    bad.extend(both(&format!("{{\"x\": {}{}}}", "[".repeat(5000), "]".repeat(5000)), "wrong_type", "x"));

    for ((format, bytes), code, column) in bad {
        let read = read(format, &bytes);
        let about = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        assert_eq!(read.error, None, "{about}");
        assert_eq!(faults(&read), [(2, code, column.as_str())], "{about}");
        let good: Vec<_> =
            read.rows.iter().flatten().map(|row| (row.number, row.id.as_ref().or(row.input.as_ref()))).collect();
        assert_eq!(good, [(1, Some(&"g".to_owned())), (3, Some(&"h".to_owned()))], "{about}");
        let problem = read.rows[1].as_ref().unwrap_err();
        assert!(!problem.message.is_empty() && problem.advice.ends_with('.'), "{problem:?}");
        assert!(!problem.message.contains("secret") && problem.message.len() < 200, "{problem:?}");
    }
}

#[test]
fn the_longest_that_may_be() {
    let (cell, name, id) = ("x".repeat(MAX_CELL), "é".repeat(64), "é".repeat(100));
    let whole = [row(1, &id, &cell, &[(&name, "1")])];
    all_good(Format::Csv, format!("id,input,vars.{name}\r\n{id},\"{cell}\",1\r\n"), &whole);
    let object = format!("{{\"id\": \"{id}\", \"input\": \"{cell}\", \"vars\": {{\"{name}\": 1}}}}");
    all_good(Format::Jsonl, &object, &whole);
    all_good(Format::Json, format!("[{object}]"), &whole);
    all_good(Format::Text, format!("{cell}\r\n"), &[row(1, "", &cell, &[])]);
    let names: Vec<String> = (0..MAX_COLUMNS).map(|n| format!("c{n}")).collect();
    let read = read(Format::Csv, format!("{}\n{}\n", names.join(","), names.join(",")));
    assert_eq!(read.rows[0].as_ref().unwrap().vars.len(), MAX_COLUMNS);
}

/// Each of these files is broken as a whole, behind so many rows that are good.
#[test]
fn broken_files() {
    let (name, long) = ("n".repeat(65), "x".repeat(MAX_CELL + 1));
    let columns = (0..=MAX_COLUMNS).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let headers = [
        "a,a",
        "a, A ",
        "x,Vars.X",
        "id,ID",
        "Input,input",
        ",",
        "  ",
        "\"\"",
        "a,vars.",
        "i\0d",
        &name,
        &long,
        &columns,
    ];
    let mut broken: Vec<(Format, Vec<u8>, &str, usize)> =
        headers.iter().map(|header| (Format::Csv, format!("{header}\n1\n").into_bytes(), "bad_header", 0)).collect();
    broken.push((Format::Csv, b"\xFF\n1\n".to_vec(), "bad_header", 0));
    for empty in ["", "\n", "\r\n\r\n", "\u{FEFF}"] {
        for format in [Format::Jsonl, Format::Csv, Format::Json, Format::Text] {
            broken.push((format, empty.as_bytes().to_vec(), "no_rows", 0));
        }
    }
    for (format, text, code, rows) in [
        (Format::Csv, "id,input", "no_rows", 0),
        (Format::Csv, "id\n\n  \n", "no_rows", 0),
        (Format::Csv, "id,input\n,\n \t, \n\"\",\"\"\n", "no_rows", 0),
        (Format::Text, " \n\t\n", "no_rows", 0),
        (Format::Json, " [ ] ", "no_rows", 0),
        (Format::Csv, "\"id\n1\n", "unclosed_quote", 0),
        (Format::Csv, "id\n1\n\"2\n3\n", "unclosed_quote", 1),
        (Format::Csv, "id\n1\n\"2\"\"", "unclosed_quote", 1),
        (Format::Json, "{\"input\": \"a\"}", "bad_json", 0),
        (Format::Json, "\"a\"", "bad_json", 0),
        (Format::Json, "[", "bad_json", 0),
        (Format::Json, "[\"a\"", "bad_json", 1),
        (Format::Json, "[\"a\",", "bad_json", 1),
        (Format::Json, "[\"a\",]", "bad_json", 1),
        (Format::Json, "[,\"a\"]", "bad_json", 0),
        (Format::Json, "[\"a\" \"b\"]", "bad_json", 1),
        (Format::Json, "[{} {}]", "bad_json", 1),
        (Format::Json, "[{}}", "bad_json", 1),
        (Format::Json, "[\"a\", secret]", "bad_json", 1),
        (Format::Json, "[\"a\", {\"x\": [1}, \"b\"]", "bad_json", 1),
        (Format::Json, "[\"a\", {\"input\": \"b}]", "bad_json", 1),
        (Format::Json, "[\"a\", tru", "bad_json", 1),
        (Format::Json, "[\"a\"] x", "bad_json", 1),
        (Format::Json, "[\"a\"],", "bad_json", 1),
        (Format::Json, "[\"a\"][\"b\"]", "bad_json", 1),
        (Format::Json, "\u{FEFF}\u{FEFF}[]", "bad_json", 0),
    ] {
        broken.push((format, text.as_bytes().to_vec(), code, rows));
    }
    for (format, bytes, code, rows) in broken {
        let read = read(format, &bytes);
        let about = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned();
        let error = read.error.unwrap_or_else(|| panic!("{about}: {:?}", read.rows));
        assert_eq!((error.code, read.rows.len()), (code, rows), "{about}: {error:?}");
        assert!(read.rows.iter().all(Result::is_ok), "{about}");
        assert!(!error.message.contains("secret") && error.message.len() < 200, "{error:?}");
        assert!(error.advice.ends_with('.') && error.to_string() == error.message, "{error:?}");
    }
}

#[test]
fn a_problem_names_its_row() {
    for (format, text, message) in [
        (Format::Json, "[1,2 3]", "neither a comma nor the array's end follows row 2"),
        (Format::Json, "[1,{\"x\": 2", "the file ends within row 2"),
        (Format::Json, "[1,[2}]", "the brackets of row 2 do not match"),
        (Format::Csv, "id\n1\n\"2\n3\n", "a quote that is opened in row 2 is never closed"),
        (Format::Csv, ",\n", "the header names no column"),
        (Format::Csv, "id,vars.\n", "column 2 of the header has no name behind `vars.`"),
    ] {
        assert_eq!(read(format, text).error.unwrap().message, message);
    }
    let ragged = read(Format::Csv, "id,input\na\n").rows.remove(0).unwrap_err();
    assert_eq!(ragged.message, "the row has 1 cell, and the header 2 cells");
    let broken = read(Format::Jsonl, "{\"a\" 1}").rows.remove(0).unwrap_err();
    assert_eq!(broken.message, "the row is not JSON: expected `:` at line 1 column 6");
}

#[test]
fn nothing_is_read_after_a_problem_of_the_file() {
    let mut rows = 0;
    let mut sink = |_| rows += 1;
    let mut reader = RowReader::new(Format::Json);
    let error = reader.feed(b"[\"a\";", &mut sink).unwrap_err();
    assert_eq!(reader.feed(b"\"b\"]", &mut sink), Err(error.clone()));
    assert_eq!(reader.finish(&mut sink), Err(error));
    assert_eq!(rows, 1);
}

#[test]
fn a_cell_of_5_mb_is_read_past() {
    let cell = vec![b'x'; 5 << 20];
    for (format, before, behind, code) in [
        (Format::Csv, "id,input\n1,", "\n2,a\n", "cell_too_long"),
        (Format::Csv, "id,input\n1,\"", "\"\n2,a\n", "cell_too_long"),
        (Format::Jsonl, "{\"input\":\"", "\"}\n\"a\"\n", "row_too_long"),
        (Format::Json, "[{\"input\":\"", "\"},\"a\"]", "row_too_long"),
        (Format::Text, "", "\na\n", "cell_too_long"),
    ] {
        for piece in [1000, 64 << 10, 3 << 20, cell.len()] {
            let (mut rows, mut held) = (Vec::new(), 0);
            let mut reader = RowReader::new(format);
            for piece in [before.as_bytes()].into_iter().chain(cell.chunks(piece)).chain([behind.as_bytes()]) {
                reader.feed(piece, &mut |row| rows.push(row)).unwrap();
                held = held.max(reader.held());
            }
            reader.finish(&mut |row| rows.push(row)).unwrap();
            assert!(held < 2 * MAX_ROW, "{format:?}: {held}");
            assert_eq!(rows[0].as_ref().unwrap_err().code, code, "{format:?}");
            assert_eq!(rows[1].as_ref().unwrap().input.as_deref(), Some("a"), "{format:?}");
            assert_eq!(rows.len(), 2);
        }
    }
}

#[test]
fn many_rows_are_streamed() {
    const ROWS: u64 = 100_000;
    for (format, before, behind) in
        [(Format::Csv, "id,input,n\n", ""), (Format::Jsonl, "", ""), (Format::Json, "[", "{}]"), (Format::Text, "", "")]
    {
        let (mut next, mut held) = (1, 0);
        let mut sink = |row: Result<Row, RowProblem>| {
            assert_eq!(row.unwrap().number, next);
            next += 1;
        };
        let mut reader = RowReader::new(format);
        reader.feed(before.as_bytes(), &mut sink).unwrap();
        for n in 0..ROWS {
            let line = match format {
                Format::Csv => format!("{n},\"a, \"\"b\"\"\",{n}\n"),
                Format::Jsonl => format!("{{\"id\":{n},\"input\":\"a\",\"vars\":{{\"n\":{n}}}}}\n"),
                Format::Json => format!("{{\"id\":{n},\"input\":\"a\",\"vars\":{{\"n\":{n}}}}},\n"),
                Format::Text => format!("the prompt {n}\n"),
            };
            reader.feed(line.as_bytes(), &mut sink).unwrap();
            held = held.max(reader.held());
        }
        reader.feed(behind.as_bytes(), &mut sink).unwrap();
        reader.finish(&mut sink).unwrap();
        assert_eq!(next, 1 + ROWS + u64::from(format == Format::Json));
        assert!(held < 10_000, "{format:?}: {held}");
    }
}

#[test]
fn one_row_too_many() {
    let (mut good, mut bad) = (0, 0);
    let mut sink = |row: Result<Row, RowProblem>| if row.is_ok() { good += 1 } else { bad += 1 };
    let mut reader = RowReader::new(Format::Text);
    let thousand = [b"a\n".repeat(999), b"\xFF\n\n".to_vec()].concat();
    for _ in 0..MAX_ROWS / 1000 {
        reader.feed(&thousand, &mut sink).unwrap();
    }
    assert_eq!(reader.feed(b"a", &mut sink), Ok(()));
    assert_eq!(reader.finish(&mut sink).unwrap_err().code, "too_many_rows");
    assert_eq!((good, bad), (MAX_ROWS - 1000, 1000));
}
