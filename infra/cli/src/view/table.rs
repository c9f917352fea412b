//! Tables in plain text: columns as wide as their widest cell, numbers to the right.

/// A column's alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// To the left: words.
    Left,
    /// To the right: numbers.
    Right,
}

/// A column: its head, its alignment, and the cell of a row.
pub struct Column<'a, T> {
    head: &'static str,
    align: Align,
    cell: Box<dyn Fn(&T) -> String + 'a>,
}

/// A column of words.
pub fn left<'a, T>(head: &'static str, cell: impl Fn(&T) -> String + 'a) -> Column<'a, T> {
    Column { head, align: Align::Left, cell: Box::new(cell) }
}

/// A column of numbers.
pub fn right<'a, T>(head: &'static str, cell: impl Fn(&T) -> String + 'a) -> Column<'a, T> {
    Column { head, align: Align::Right, cell: Box::new(cell) }
}

/// Lays out a row for each item.
pub fn table<'t, T: 't>(items: impl IntoIterator<Item = &'t T>, columns: &[Column<'_, T>]) -> String {
    let head: Vec<(&str, Align)> = columns.iter().map(|column| (column.head, column.align)).collect();
    let row = |item: &T| columns.iter().map(|column| (column.cell)(item)).collect();
    let rows: Vec<Vec<String>> = items.into_iter().map(row).collect();
    layout(&head, &rows)
}

/// Lays rows out under a head.
pub fn layout(head: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|(name, _)| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(head).zip(&widths).map(|((cell, (_, align)), &width)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule = widths.iter().map(|&width| "─".repeat(width)).collect::<Vec<_>>().join("  ");
    let mut text = format!("{}\n{rule}\n", line(head.iter().map(|(name, _)| *name).collect()));
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "1.0".into()], vec!["longer".into(), "10.0".into()]];
        let text = layout(&[("step", Align::Left), ("s", Align::Right)], &rows);
        assert_eq!(text, "step       s\n──────  ────\na        1.0\nlonger  10.0\n");
        let columns =
            [left("step", |(name, _): &(&str, f64)| (*name).to_owned()), right("s", |(_, s)| format!("{s:.1}"))];
        assert_eq!(table(&[("a", 1.0), ("longer", 10.0)], &columns), text);
    }
}
