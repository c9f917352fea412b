//! Files as spreadsheets and editors of different countries save them.

use super::*;

fn skipped(format: Format, bytes: &[u8]) -> (Vec<Row>, Skipped) {
    let mut rows = Vec::new();
    let mut sink = |row: Result<Row, RowProblem>| rows.push(row.unwrap());
    let mut reader = RowReader::new(format);
    reader.feed(bytes, &mut sink).unwrap();
    let skipped = reader.finish(&mut sink).unwrap();
    (rows, skipped)
}

#[test]
fn the_separator_is_that_of_the_header() {
    let cats = [row(1, "a", "a cat, black", &[("size", "1,5")]), row(2, "b", "", &[("size", "")])];
    for text in [
        "id;input;size\na;a cat, black;1,5\nb;;\n",
        "id\tinput\tsize\r\na\ta cat, black\t1,5\r\nb\t\t\r\n",
        "id,input,size\na,\"a cat, black\",\"1,5\"\nb,,\n",
        "sep=;\r\nid;input;size\r\na;a cat, black;1,5\r\nb;;\r\n",
        "\u{FEFF}\"sep=|\"\nid|input|size\na|a cat, black|1,5\nb||\n",
        "sep=\t\nid\tinput\tsize\na\ta cat, black\t1,5\nb\t\t\n",
    ] {
        all_good(Format::Csv, text, &cats);
    }
    // Separators in quoted names do not count.
    let one = [row(1, "1", "", &[("a;b;c", "x")])];
    all_good(Format::Csv, "\r\n\n\"a;b;c\",id\nx,1\n", &one);
    all_good(Format::Csv, "input\na; b; c\n", &[row(1, "", "a; b; c", &[])]);
    all_good(Format::Csv, "\"inp\"\"ut\";id\nx;1\n", &[row(1, "1", "", &[("inp\"ut", "x")])]);
    let many = (0..MAX_COLUMNS).map(|n| format!("{n}{}", "ü".repeat(60))).collect::<Vec<_>>();
    let read = read(Format::Csv, format!("{}\n{}\n", many.join(";"), many.join(";")));
    assert_eq!(read.rows[0].as_ref().unwrap().vars.len(), MAX_COLUMNS);
}

#[test]
fn blank_rows_and_nameless_columns_are_skipped_and_counted() {
    let cats = vec![row(1, "a", "a cat", &[]), row(2, "b", "a dog", &[])];
    for (text, rows, columns) in [
        ("id,input\na,a cat\nb,a dog\n\n\n", 0, 0),
        ("id,input,,\na,a cat,,\n,,,\nb,a dog,,\n,,,\n , \t,,\n", 3, 2),
        ("id,,input\na,,a cat\nb, ,a dog\n\"\",\"\",\"\"\n", 1, 1),
        ("id,input,,\na,a cat\nb,a dog,\n", 0, 2),
    ] {
        let expected = Skipped { rows, columns };
        assert_eq!(skipped(Format::Csv, text.as_bytes()), (cats.clone(), expected), "{text}");
    }
    let named = read(Format::Csv, "id,,input\na,x,a cat\nb,,a dog\n");
    assert_eq!(faults(&named), [(1, "ragged_row", "")]);
    let problem = named.rows[0].as_ref().unwrap_err();
    assert_eq!(problem.message, "the row has text in column 2, which has no name");
    assert_eq!(faults(&read(Format::Csv, "id,,input\na,\nb,,c\n")), [(1, "ragged_row", "")]);
    assert_eq!(skipped(Format::Text, b"a\n\n"), (vec![row(1, "", "a", &[])], Skipped::default()));
}

#[test]
fn names_of_columns_do_not_depend_on_case() {
    let cat = [row(1, "a", "a cat", &[("Size", "3"), ("ID", "x")])];
    all_good(Format::Csv, "ID,Input,Size,VARS.ID\na,a cat,3,x\n", &cat);
    all_good(Format::Jsonl, r#"{"Id": "a", "INPUT": "a cat", "Size": 3, "Vars.ID": "x"}"#, &cat);
    let known = ["size", "Style", "STYLE"].map(str::to_owned).into();
    let named = row(1, "", "", &[("Size", "3"), ("STYLE", "ink"), ("other", "x")]).with_names_of(&known);
    assert_eq!(named, row(1, "", "", &[("size", "3"), ("STYLE", "ink"), ("other", "x")]));
}

#[test]
fn a_missing_column_is_named_with_those_that_exist() {
    let mut reader = RowReader::new(Format::Csv);
    assert_eq!(reader.columns(), None);
    reader.feed(b"Nr;Prompt;;Size\n1;a cat;;3\n", &mut |_| ()).unwrap();
    let columns = reader.columns().unwrap();
    assert_eq!(
        missing_column("input", &columns).unwrap(),
        "no column is named `input`; the columns are `Nr`, `Prompt`, `Size`"
    );
    assert_eq!(missing_column("prompt", &columns), None);
    let many: Vec<String> = (0..25).map(|n| n.to_string()).collect();
    assert!(missing_column("input", &many).unwrap().ends_with("`19`, 5 more"));
}

#[test]
fn other_encodings_are_read_by_their_mark_or_refused() {
    let rows = [row(1, "", "ein Löwe 🦁", &[]), row(2, "", "b", &[])];
    let text = "input\r\nein Löwe 🦁\r\nb\r\n";
    let marked = format!("\u{FEFF}{text}");
    let little: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = marked.encode_utf16().flat_map(u16::to_be_bytes).collect();
    all_good(Format::Csv, &little, &rows);
    all_good(Format::Csv, &big, &rows);
    // Without its mark it is refused, as is what has half a character at its end.
    let unmarked = read(Format::Csv, &little[2..]).error.unwrap();
    assert_eq!(
        (unmarked.code, unmarked.advice),
        ("bad_header", "Save the file as UTF-8; in a spreadsheet, as CSV UTF-8.")
    );
    let torn = read(Format::Text, [&little[..], b"x"].concat());
    assert_eq!(faults(&torn), [(4, "not_utf8", "")]);
    let lone = read(Format::Text, b"\xFF\xFEa\0\n\0\x3D\xD8x\0\n\0\x3D\xD8");
    assert_eq!(faults(&lone), [(2, "not_utf8", ""), (3, "not_utf8", "")]);
    // Windows-1252: the rows with other letters are refused, with the one thing to do.
    let windows = read(Format::Csv, b"input\nein L\xF6we\nb\n");
    assert_eq!(faults(&windows), [(1, "not_utf8", "input")]);
    let problem = windows.rows[0].as_ref().unwrap_err();
    assert_eq!(problem.advice, "Save the file as UTF-8; in a spreadsheet, as CSV UTF-8.");
    let header = read(Format::Csv, b"gr\xF6\xDFe\n1\n").error.unwrap();
    assert_eq!((header.code, header.advice), ("bad_header", problem.advice.as_str()));
    for mark in [&b"\xFF\xFE"[..], b"\xFE\xFF", b"\xEF\xBB\xBF"] {
        assert_eq!(read(Format::Jsonl, mark).error.unwrap().code, "no_rows");
    }
}
