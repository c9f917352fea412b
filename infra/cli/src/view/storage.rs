//! The contents of the bucket, its next expiries, and its limit.

use fresco_api_types::{AGE_EDGES, AGES, ObjectKind, ObjectTotals, StorageLimit, StorageView};
use fresco_pipeline::time::Millis;

use super::table::{Align, layout};
use super::{moment, plural, size, span};

/// The most lines of expiries; further days are summed up in the last one.
const LINES: usize = 7;

/// The inventory in tables and a few lines.
pub fn of(inventory: &StorageView) -> String {
    let mut text = if inventory.all.objects == 0 {
        "The bucket is empty.\n".to_owned()
    } else {
        format!("{}\n{}", kinds(inventory), next(inventory))
    };
    if inventory.unforeseen_rules > 0 {
        text.push_str(&format!(
            "Not included: objects that {} may remove by tags, sizes or dates.\n",
            plural(inventory.unforeseen_rules, "rule")
        ));
    }
    if let Some(limit) = &inventory.limit {
        text.push_str(&self::limit(limit, inventory.all.bytes));
    }
    text
}

fn kinds(inventory: &StorageView) -> String {
    let mut sums = [ObjectTotals::default(); AGES];
    for usage in &inventory.kinds {
        for (sum, group) in sums.iter_mut().zip(&usage.ages) {
            sum.objects += group.objects;
            sum.bytes += group.bytes;
        }
    }
    // Ages without objects have no column.
    let shown: Vec<usize> = (0..AGES).filter(|&age| sums[age].objects > 0).collect();
    let names: Vec<String> = shown.iter().map(|&age| age_name(age)).collect();
    let mut head = vec![("what", Align::Left), ("objects", Align::Right), ("size", Align::Right)];
    head.extend(names.iter().map(|name| (name.as_str(), Align::Right)));
    let row = |name: &str, all: &ObjectTotals, ages: &[ObjectTotals; AGES]| {
        let mut row = vec![name.to_owned(), all.objects.to_string(), size(all.bytes)];
        row.extend(shown.iter().map(|&age| cell(&ages[age])));
        row
    };
    let mut rows: Vec<Vec<String>> =
        inventory.kinds.iter().map(|usage| row(kind(usage.kind), &usage.all, &usage.ages)).collect();
    rows.push(row("all", &inventory.all, &sums));
    layout(&head, &rows)
}

const fn kind(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Images => "outputs: images",
        ObjectKind::Videos => "outputs: videos",
        ObjectKind::Texts => "outputs: texts",
        ObjectKind::Inputs => "inputs",
        ObjectKind::Plans => "plans",
        ObjectKind::Runs => "run records",
        ObjectKind::Other => "other",
    }
}

fn age_name(age: usize) -> String {
    match (age.checked_sub(1).and_then(|before| AGE_EDGES.get(before)), AGE_EDGES.get(age)) {
        (None, Some(1)) => "under 1 day".to_owned(),
        (None, Some(to)) => format!("under {to} days"),
        (Some(from), Some(to)) => format!("{from}–{to} days"),
        (Some(from), None) => format!("over {from} days"),
        (None, None) => String::new(),
    }
}

fn cell(group: &ObjectTotals) -> String {
    if group.objects == 0 { "-".to_owned() } else { format!("{} ({})", group.objects, size(group.bytes)) }
}

fn next(inventory: &StorageView) -> String {
    if inventory.next.is_empty() {
        return "No lifecycle rule removes any of it.\n".to_owned();
    }
    let row = |when: String, left: String, group: &ObjectTotals| {
        let objects = group.objects.to_string();
        vec![when, left, objects, size(group.bytes)]
    };
    // The last line is the sum of further days.
    let days = if inventory.next.len() > LINES { LINES - 1 } else { LINES };
    let mut rows: Vec<Vec<String>> = inventory
        .next
        .iter()
        .take(days)
        .map(|expiry| row(moment(expiry.at), left(expiry.at - inventory.at), &expiry.group))
        .collect();
    let later = inventory.next.iter().skip(days).fold(ObjectTotals::default(), |sum, expiry| ObjectTotals {
        objects: sum.objects + expiry.group.objects,
        bytes: sum.bytes + expiry.group.bytes,
    });
    if later.objects > 0 {
        rows.push(row("later".to_owned(), String::new(), &later));
    }
    let head = [("expires", Align::Left), ("in", Align::Left), ("objects", Align::Right), ("size", Align::Right)];
    let mut text = layout(&head, &rows);
    text.push_str("An output that is used shortly before its expiry is renewed.\n");
    if inventory.lasting.objects > 0 {
        let objects = plural(usize::try_from(inventory.lasting.objects).unwrap_or(usize::MAX), "object");
        text.push_str(&format!("No rule removes {objects} ({}).\n", size(inventory.lasting.bytes)));
    }
    text
}

fn left(millis: Millis) -> String {
    if millis <= 0 { "due".to_owned() } else { span(millis) }
}

fn limit(limit: &StorageLimit, bytes: u64) -> String {
    let most = size(limit.most);
    let mut text = format!(
        "Limit (MaxStoredGigabytes): {} of {most}, {}.\n",
        size(bytes),
        // A small part is not shown as none.
        if limit.percent > 0.0 && limit.percent < 0.1 {
            "under 0.1 %".to_owned()
        } else {
            format!("{:.1} %", limit.percent)
        }
    );
    if limit.full {
        text.push_str(&format!(
            "Full by the stack's own count ({}): new runs are rejected until something is removed; see `cargo fresco clean`.\n",
            size(limit.counted)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use fresco_api_types::{Expiry, KindUsage};
    use fresco_pipeline::time::{DAY, HOUR};

    /// 2026-01-05 00:00 UTC.
    const MIDNIGHT: Millis = 20_458 * DAY;

    fn group(objects: u64, bytes: u64) -> ObjectTotals {
        ObjectTotals { objects, bytes }
    }

    fn inventory() -> StorageView {
        let none = group(0, 0);
        let ages = [group(2, 2_000_000), none, group(1, 400), none, none];
        let runs = [none, none, none, none, group(3, 999)];
        StorageView {
            at: MIDNIGHT + 10 * HOUR,
            all: group(6, 2_001_399),
            age_edges: AGE_EDGES,
            kinds: vec![
                KindUsage { kind: ObjectKind::Images, all: group(3, 2_000_400), ages },
                KindUsage { kind: ObjectKind::Runs, all: group(3, 999), ages: runs },
            ],
            next: vec![
                Expiry { at: MIDNIGHT, group: group(1, 400) },
                Expiry { at: MIDNIGHT + DAY, group: group(1, 1_000_000) },
            ],
            lasting: group(3, 999),
            unforeseen_rules: 0,
            limit: None,
            cursor: None,
        }
    }

    #[test]
    fn kinds_ages_and_expiries_are_tables() {
        let expected = "\
what             objects     size  under 1 day   3–7 days  over 30 days
───────────────  ───────  ───────  ───────────  ─────────  ────────────
outputs: images        3   2.0 MB   2 (2.0 MB)  1 (400 B)             -
run records            3    999 B            -          -     3 (999 B)
all                    6   2.0 MB   2 (2.0 MB)  1 (400 B)     3 (999 B)

expires               in    objects    size
────────────────────  ────  ───────  ──────
2026-01-05 00:00 UTC  due         1   400 B
2026-01-06 00:00 UTC  14 h        1  1.0 MB
An output that is used shortly before its expiry is renewed.
No rule removes 3 objects (999 B).
";
        let squeeze = |text: &str| text.replace("─", "").split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(&of(&inventory())), squeeze(expected));
    }

    #[test]
    fn at_most_seven_lines_of_expiries() {
        for (days, lines, later) in [(1, 1, false), (7, 7, false), (8, 7, true), (60, 7, true)] {
            let next = (1..=days).map(|day| Expiry { at: MIDNIGHT + day * DAY, group: group(1, 10) }).collect();
            let text = of(&StorageView { next, ..inventory() });
            let shown = text.lines().filter(|line| line.starts_with("2026-") || line.starts_with("later")).count();
            assert_eq!((shown, text.contains("later")), (lines, later), "{days}: {text}");
        }
    }

    #[test]
    fn an_empty_bucket_and_its_limit_are_shown() {
        let empty = StorageView { all: group(0, 0), kinds: vec![], next: vec![], lasting: group(0, 0), ..inventory() };
        assert_eq!(of(&empty), "The bucket is empty.\n");
        for (percent, counted, full, said) in [
            (0.0, 0, false, "Limit (MaxStoredGigabytes): 0 B of 1.0 GB, 0.0 %.\n"),
            (0.01, 0, false, "0 B of 1.0 GB, under 0.1 %.\n"),
            (12.34, 1_000_000_000, true, "Full by the stack's own count (1.0 GB)"),
        ] {
            let limit = Some(StorageLimit { most: 1_000_000_000, percent, counted, full });
            let text = of(&StorageView { limit, ..empty.clone() });
            assert!(text.starts_with("The bucket is empty.\n") && text.contains(said), "{text}");
        }
        let ruled = of(&StorageView { unforeseen_rules: 2, next: vec![], ..inventory() });
        assert!(
            ruled.contains("No lifecycle rule removes any of it.\n")
                && ruled.contains("objects that 2 rules may remove"),
            "{ruled}"
        );
    }
}
