//! The content of a stack's bucket and its clean-up. The API answers in parts; they are added up here.

use std::collections::BTreeMap;

use fresco_api_types::{CleanBody, CleanTotals, CleanView, Expiry, KindUsage, StorageView};

use super::{Api, ApiError};

impl Api {
    /// Counts the objects of the bucket. `progress` gets the number of objects after each part.
    pub async fn storage(&self, progress: impl Fn(u64)) -> Result<StorageView, ApiError> {
        let mut whole: StorageView = self.get("/storage").await?;
        while let Some(cursor) = whole.cursor.take() {
            progress(whole.all.objects);
            let part: StorageView = self.get(&format!("/storage?cursor={cursor}")).await?;
            add(&mut whole, part);
        }
        Ok(whole)
    }

    /// Removes old results and their objects. `progress` gets the totals after each part.
    ///
    /// While a run is being planned and `while_planning` is not set, the answer is `planning` and nothing is done.
    pub async fn clean(&self, mut body: CleanBody, progress: impl Fn(&CleanTotals)) -> Result<CleanView, ApiError> {
        let mut whole = CleanView { totals: CleanTotals::default(), planning: false, cursor: None };
        loop {
            let part: CleanView = self.post("/clean", &body, None).await?;
            whole.totals += part.totals;
            whole.planning |= part.planning;
            let Some(cursor) = part.cursor else { return Ok(whole) };
            progress(&whole.totals);
            // A clean-up that has started continues: a run that is planned since keeps what it may use.
            body = CleanBody { cursor: Some(cursor), while_planning: true, ..body };
        }
    }
}

/// Adds a part to the parts before it.
fn add(whole: &mut StorageView, part: StorageView) {
    whole.all += part.all;
    whole.lasting += part.lasting;
    let mut kinds: BTreeMap<_, KindUsage> = whole.kinds.iter().map(|usage| (usage.kind, *usage)).collect();
    for usage in part.kinds {
        let Some(before) = kinds.get_mut(&usage.kind) else {
            kinds.insert(usage.kind, usage);
            continue;
        };
        before.all += usage.all;
        before.ages.iter_mut().zip(usage.ages).for_each(|(sum, age)| *sum += age);
    }
    whole.kinds = kinds.into_values().collect();
    let mut next: BTreeMap<i64, Expiry> = whole.next.iter().map(|expiry| (expiry.at, *expiry)).collect();
    for expiry in part.next {
        next.entry(expiry.at).and_modify(|before| before.group += expiry.group).or_insert(expiry);
    }
    whole.next = next.into_values().collect();
    whole.limit = part.limit;
    if let Some(limit) = &mut whole.limit {
        limit.percent = whole.all.bytes as f64 / limit.most.max(1) as f64 * 100.0;
    }
    whole.cursor = part.cursor;
}

#[cfg(test)]
mod tests {
    use fresco_api_types::{AGE_EDGES, ObjectKind, ObjectTotals, StorageLimit};

    use super::*;

    fn totals(objects: u64, bytes: u64) -> ObjectTotals {
        ObjectTotals { objects, bytes }
    }

    fn part(kind: ObjectKind, age: usize, at: i64, bytes: u64) -> StorageView {
        let mut ages = [ObjectTotals::default(); AGE_EDGES.len() + 1];
        ages[age] = totals(1, bytes);
        StorageView {
            at: 1,
            all: totals(1, bytes),
            age_edges: AGE_EDGES,
            kinds: vec![KindUsage { kind, all: totals(1, bytes), ages }],
            next: vec![Expiry { at, group: totals(1, bytes) }],
            lasting: totals(0, 0),
            unforeseen_rules: 1,
            limit: Some(StorageLimit { most: 200, percent: bytes as f64 / 2.0, counted: 7, full: false }),
            cursor: None,
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let mut whole = part(ObjectKind::Videos, 0, 20, 10);
        add(&mut whole, part(ObjectKind::Images, 1, 10, 20));
        add(&mut whole, part(ObjectKind::Videos, 2, 20, 70));
        assert_eq!((whole.all, whole.unforeseen_rules), (totals(3, 100), 1));
        let kinds: Vec<_> = whole.kinds.iter().map(|usage| (usage.kind, usage.all)).collect();
        assert_eq!(kinds, [(ObjectKind::Images, totals(1, 20)), (ObjectKind::Videos, totals(2, 80))]);
        assert_eq!(whole.kinds[1].ages[..3], [totals(1, 10), totals(0, 0), totals(1, 70)]);
        let next: Vec<_> = whole.next.iter().map(|expiry| (expiry.at, expiry.group)).collect();
        assert_eq!(next, [(10, totals(1, 20)), (20, totals(2, 80))]);
        assert_eq!(whole.limit.map(|limit| (limit.percent, limit.counted)), Some((50.0, 7)));
    }
}
