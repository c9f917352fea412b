//! The outcome and the progress of a clean-up.

use fresco_api_types::{CleanTotals, ObjectTotals};

use super::table::{Align, layout};
use super::{plural, size};
use crate::local_outputs::OldFolders;

/// The outcome of a clean-up in the stack and, with `--out`, in a local folder.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// The age of the argument, such as `3d`.
    pub age: &'a str,
    pub dry_run: bool,
    /// Whether a run was still being planned.
    pub planning: bool,
    pub cleaned: &'a CleanTotals,
    pub folders: Option<&'a OldFolders>,
}

/// The outcome in a table and a few lines.
pub fn of(outcome: &Outcome) -> String {
    let rows = rows(outcome);
    let mut text = if rows.is_empty() {
        format!("Nothing is older than {}.\n", outcome.age)
    } else {
        let head = [("what", Align::Left), ("number", Align::Right), ("size", Align::Right)];
        format!("{}\n", layout(&head, &rows))
    };
    if outcome.planning {
        text.push_str("A run was still being planned, and all results are kept, since the run may use any of them. Try again later.\n");
    }
    let results = outcome.cleaned.results;
    if results > 0 {
        text.push_str(match results {
            1 => "This result is generated again by the next run that needs it.\n",
            _ => "These results are generated again by the next run that needs them.\n",
        });
    }
    if outcome.dry_run {
        text.push_str("Nothing was changed.\n");
    } else if !rows.is_empty() {
        text.push_str(&freed(outcome));
    }
    text
}

/// The rows of the table, without zeros; removals first.
fn rows(outcome: &Outcome) -> Vec<Vec<String>> {
    let removed = |what: &str| match outcome.dry_run {
        true => format!("{what} to remove"),
        false => format!("{what} removed"),
    };
    let group = |what: String, group: &ObjectTotals| (what, group.objects, size(group.bytes));
    let CleanTotals { removed: gone, results, in_use, under_way } = outcome.cleaned;
    let mut rows = vec![
        group(removed("objects"), gone),
        (removed("results"), *results, String::new()),
        group("objects kept: used by an open run".to_owned(), in_use),
        group("objects kept: under way".to_owned(), under_way),
    ];
    if let Some(OldFolders { removed: gone, bytes, young, mixed, others, failed }) = outcome.folders {
        rows.extend([
            (removed("folders of runs and batches"), *gone, size(*bytes)),
            ("folders of runs and batches kept: younger".to_owned(), *young, String::new()),
            ("folders of runs and batches kept: with other files in them".to_owned(), *mixed, String::new()),
            ("folders of runs and batches that could not be removed".to_owned(), failed.len() as u64, String::new()),
            ("files and folders left alone: not of runs or batches".to_owned(), *others, String::new()),
        ]);
    }
    let there = rows.into_iter().filter(|(_, number, _)| *number > 0);
    there.map(|(what, number, size)| vec![what, number.to_string(), size]).collect()
}

fn freed(outcome: &Outcome) -> String {
    if outcome.cleaned.removed.objects == 0 && outcome.folders.is_none_or(|folders| folders.removed == 0) {
        return "Nothing was removed.\n".to_owned();
    }
    let stack = format!("{} freed in the stack", size(outcome.cleaned.removed.bytes));
    match outcome.folders {
        Some(folders) => format!("{stack}, {} here.\n", size(folders.bytes)),
        None => format!("{stack}.\n"),
    }
}

/// The progress of a clean-up, in a line.
pub fn progress(cleaned: &CleanTotals) -> String {
    let kept = cleaned.in_use.objects + cleaned.under_way.objects;
    let number = |objects: u64| plural(usize::try_from(objects).unwrap_or(usize::MAX), "object");
    format!(
        "so far: {} ({}) to remove, {} kept",
        number(cleaned.removed.objects),
        size(cleaned.removed.bytes),
        number(kept)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_outputs::FolderLeft;

    fn group(objects: u64, bytes: u64) -> ObjectTotals {
        ObjectTotals { objects, bytes }
    }

    fn said(cleaned: &CleanTotals, folders: Option<&OldFolders>, dry_run: bool, planning: bool) -> Vec<String> {
        let text = of(&Outcome { age: "3d", dry_run, planning, cleaned, folders });
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn removed_and_kept_objects_are_listed() {
        let cleaned =
            CleanTotals { removed: group(5, 6_100_000), results: 4, in_use: group(1, 10), under_way: group(2, 20) };
        assert_eq!(
            said(&cleaned, None, false, false)[2..],
            [
                "objects removed 5 6.1 MB",
                "results removed 4",
                "objects kept: used by an open run 1 10 B",
                "objects kept: under way 2 20 B",
                "",
                "These results are generated again by the next run that needs them.",
                "6.1 MB freed in the stack.",
            ]
        );
        let dry = said(&cleaned, None, true, false);
        assert_eq!((dry[2].as_str(), dry[3].as_str()), ("objects to remove 5 6.1 MB", "results to remove 4"));
        assert_eq!(dry.last().unwrap(), "Nothing was changed.");
    }

    #[test]
    fn local_folders_are_listed_and_an_empty_outcome_is_one_line() {
        let none = CleanTotals::default();
        assert_eq!(said(&none, None, false, false), ["Nothing is older than 3d."]);
        assert_eq!(said(&none, Some(&OldFolders::default()), false, false), ["Nothing is older than 3d."]);
        let failed = vec![FolderLeft { folder: "out/run-00000001".into(), reason: "not permitted".to_owned() }];
        let folders = OldFolders { removed: 2, bytes: 999, young: 1, mixed: 1, others: 3, failed };
        assert_eq!(
            said(&none, Some(&folders), false, false)[2..],
            [
                "folders of runs and batches removed 2 999 B",
                "folders of runs and batches kept: younger 1",
                "folders of runs and batches kept: with other files in them 1",
                "folders of runs and batches that could not be removed 1",
                "files and folders left alone: not of runs or batches 3",
                "",
                "0 B freed in the stack, 999 B here.",
            ]
        );
    }

    #[test]
    fn nothing_is_freed_where_everything_is_kept() {
        let kept = CleanTotals { under_way: group(1, 5), ..CleanTotals::default() };
        assert_eq!(said(&kept, Some(&OldFolders::default()), false, false).last().unwrap(), "Nothing was removed.");
    }

    #[test]
    fn a_run_in_planning_keeps_everything() {
        let cleaned = CleanTotals { in_use: group(3, 30), ..CleanTotals::default() };
        let said = said(&cleaned, None, false, true);
        assert!(said.iter().any(|line| line.starts_with("A run was still being planned")), "{said:?}");
    }
}
