//! Tables in plain text: columns as wide as their widest cell, numbers to the right.

/// A column's alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// To the left: words.
    Left,
    /// To the right: numbers.
    Right,
}

/// A table of items, by the cells of its columns.
pub struct Table<'a, T> {
    items: Vec<&'a T>,
    columns: Vec<Column<'a, T>>,
}

struct Column<'a, T> {
    head: &'static str,
    align: Align,
    cell: Box<dyn Fn(&T) -> String + 'a>,
}

/// Begins a table with a row for each item.
pub fn table<'a, T>(items: impl IntoIterator<Item = &'a T>) -> Table<'a, T> {
    Table { items: items.into_iter().collect(), columns: Vec::new() }
}

impl<'a, T> Table<'a, T> {
    /// Adds a column of words.
    #[must_use]
    pub fn left(self, head: &'static str, cell: impl Fn(&T) -> String + 'a) -> Self {
        self.column(head, Align::Left, Box::new(cell))
    }

    /// Adds a column of numbers.
    #[must_use]
    pub fn right(self, head: &'static str, cell: impl Fn(&T) -> String + 'a) -> Self {
        self.column(head, Align::Right, Box::new(cell))
    }

    fn column(mut self, head: &'static str, align: Align, cell: Box<dyn Fn(&T) -> String + 'a>) -> Self {
        self.columns.push(Column { head, align, cell });
        self
    }

    /// Lays the table out.
    pub fn text(&self) -> String {
        let head: Vec<(&str, Align)> = self.columns.iter().map(|column| (column.head, column.align)).collect();
        let row = |item: &&T| self.columns.iter().map(|column| (column.cell)(item)).collect();
        layout(&head, &self.items.iter().map(row).collect::<Vec<_>>())
    }
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
        let same = table(&[("a", 1.0), ("longer", 10.0)])
            .left("step", |(name, _)| (*name).to_owned())
            .right("s", |(_, seconds)| format!("{seconds:.1}"));
        assert_eq!(same.text(), text);
    }
}
