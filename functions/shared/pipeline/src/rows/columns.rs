//! The columns of a file against the names that a pipeline reads.

use std::collections::BTreeSet;

use super::cells::Column;
use super::row::Row;

/// The most columns that a message lists.
const LISTED: usize = 20;

/// Returns the message for a row of a file in which no column holds the input or the var that is missing; `None` where
/// one does.
pub fn missing_column(wanted: &str, columns: &[String]) -> Option<String> {
    let missing = Column::of_name(wanted)?;
    if columns.iter().filter_map(|name| Column::of_name(name)).any(|column| column.is_like(&missing)) {
        return None;
    }
    let mut listed: Vec<String> = columns.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    if columns.len() > LISTED {
        listed.push(format!("{} more", columns.len() - LISTED));
    }
    let are = if columns.len() == 1 { "the only column is" } else { "the columns are" };
    Some(format!("no column is named `{wanted}`; {are} {}", listed.join(", ")))
}

impl Row {
    /// Returns the row with each var named as the pipeline writes it, where they differ in case only.
    pub fn with_names_of(mut self, known: &BTreeSet<String>) -> Row {
        let foreign: Vec<String> = self.vars.keys().filter(|name| !known.contains(*name)).cloned().collect();
        for name in foreign {
            let lower = name.to_lowercase();
            let meant = known.iter().find(|known| known.to_lowercase() == lower && !self.vars.contains_key(*known));
            if let Some(meant) = meant
                && let Some(value) = self.vars.remove(&name)
            {
                self.vars.insert(meant.clone(), value);
            }
        }
        self
    }
}
