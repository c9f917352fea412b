//! A table in memory. Every operation completes in its first poll, so that interleavings happen only where the caller
//! puts them. Clones share their items.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{
    Action, AttributeValue, Condition, DUE, DUE_SHARD, Item, Key, PK, Page, Query, Reason, SK, Table, TransactError,
    Update, Write, number_of, text_of,
};
use crate::traits::StoreError;

/// A table in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryTable(Arc<Mutex<Items>>);

type Items = BTreeMap<Key, Stored>;

/// An item and the record that it was first decoded to, so that checks which read the whole table after every write stay
/// cheap.
#[derive(Debug, Default)]
struct Stored {
    item: Item,
    record: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl From<Item> for Stored {
    fn from(item: Item) -> Self {
        Stored { item, record: OnceLock::new() }
    }
}

impl Deref for Stored {
    type Target = Item;

    fn deref(&self) -> &Item {
        &self.item
    }
}

impl Stored {
    /// The item as a record. Only the first type that it is decoded to is kept.
    fn record<R: Clone + Send + Sync + 'static>(&self, read: impl Fn(&Item) -> Option<R>) -> Option<R> {
        if let Some(record) = self.record.get().and_then(|record| record.downcast_ref::<Option<R>>()) {
            return record.clone();
        }
        let record = read(&self.item);
        self.record.get_or_init(|| Arc::new(record.clone()));
        record
    }
}

impl MemoryTable {
    /// Every item, by key.
    pub fn items(&self) -> Vec<Item> {
        self.lock().values().map(|stored| stored.item.clone()).collect()
    }

    /// The readable items whose keys are selected, by key. One type must always be read in one way.
    pub fn select<R: Clone + Send + Sync + 'static>(
        &self,
        is: impl Fn(&Key) -> bool,
        read: impl Fn(&Item) -> Option<R>,
    ) -> Vec<R> {
        self.lock().iter().filter(|(key, _)| is(key)).filter_map(|(_, stored)| stored.record(&read)).collect()
    }

    /// The item under a key.
    pub fn item(&self, key: &Key) -> Option<Item> {
        self.lock().get(key).map(|stored| stored.item.clone())
    }

    /// Writes an item, replacing any other.
    pub fn insert(&self, item: Item) {
        self.lock().insert(key_of(&item), item.into());
    }

    /// Deletes an item, as its expiry does.
    pub fn remove(&self, key: &Key) -> Option<Item> {
        self.lock().remove(key).map(|stored| stored.item)
    }

    /// The items. A test that panicked while it held the lock has failed already; the others continue.
    fn lock(&self) -> MutexGuard<'_, Items> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table for MemoryTable {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        Ok(self.item(key))
    }

    async fn batch_get(&self, keys: Vec<Key>) -> Result<Vec<Item>, StoreError> {
        let items = self.lock();
        Ok(keys.iter().filter_map(|key| items.get(key).map(|stored| stored.item.clone())).collect())
    }

    async fn query(&self, query: &Query, limit: Option<u32>, start: Option<Item>) -> Result<Page, StoreError> {
        let mut found: Vec<Item> =
            self.lock().values().filter(|stored| matches(query, stored)).map(|stored| stored.item.clone()).collect();
        found.sort_by_key(|item| (number_of::<i64>(item, DUE).filter(|_| is_due(query)), key_of(item)));
        if matches!(query, Query::Before { .. }) {
            found.reverse();
        }
        if let Some(last) = start.map(|start| key_of(&start)) {
            let seen = found.iter().position(|item| key_of(item) == last).map_or(0, |last| last + 1);
            found.drain(..seen);
        }
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let next = (found.len() > limit).then(|| found[limit - 1].clone());
        found.truncate(limit);
        Ok(Page { items: found, next })
    }

    async fn scan(&self, _start: Option<Item>) -> Result<Page, StoreError> {
        Ok(Page { items: self.items(), next: None })
    }

    async fn put(&self, item: Item, condition: Option<Condition>) -> Result<bool, StoreError> {
        let mut items = self.lock();
        let key = key_of(&item);
        let passes = holds(condition.as_ref(), items.get(&key).map(Deref::deref));
        if passes {
            items.insert(key, item.into());
        }
        Ok(passes)
    }

    async fn update(&self, key: &Key, update: &Update) -> Result<Result<Item, Option<Item>>, StoreError> {
        let mut items = self.lock();
        let item = items.get(key).map(Deref::deref);
        if !holds(update.condition.as_ref(), item) {
            return Ok(Err(item.cloned()));
        }
        Ok(Ok(apply(&mut items, key, update)))
    }

    async fn delete(&self, key: &Key, condition: Option<Condition>) -> Result<bool, StoreError> {
        let mut items = self.lock();
        let passes = holds(condition.as_ref(), items.get(key).map(Deref::deref));
        if passes {
            items.remove(key);
        }
        Ok(passes)
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), TransactError> {
        let mut items = self.lock();
        let mut keys: Vec<Key> = writes.iter().map(written).collect();
        let reasons: Vec<Reason> = writes.iter().map(|write| check(&items, write)).collect();
        keys.sort();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(TransactError::Failed(StoreError::ledger("a transaction writes an item twice")));
        }
        if reasons.iter().any(|reason| *reason != Reason::Passed) {
            return Err(TransactError::Cancelled(reasons));
        }
        for write in writes {
            match write {
                Write::Put { item, .. } => drop(items.insert(key_of(&item), item.into())),
                Write::Update { key, update } => drop(apply(&mut items, &key, &update)),
            }
        }
        Ok(())
    }
}

fn key_of(item: &Item) -> Key {
    let text = |name| text_of(item, name).unwrap_or_default();
    Key::new(text(PK), text(SK))
}

fn written(write: &Write) -> Key {
    match write {
        Write::Put { item, .. } => key_of(item),
        Write::Update { key, .. } => key.clone(),
    }
}

fn check(items: &Items, write: &Write) -> Reason {
    let item = items.get(&written(write)).map(Deref::deref);
    match write {
        Write::Put { condition, .. } if !holds(condition.as_ref(), item) => Reason::ConditionFailed(None),
        Write::Update { update, .. } if !holds(update.condition.as_ref(), item) => {
            Reason::ConditionFailed(item.cloned())
        }
        _ => Reason::Passed,
    }
}

fn is_due(query: &Query) -> bool {
    matches!(query, Query::Due { .. })
}

fn matches(query: &Query, item: &Item) -> bool {
    let is = |name, value: &str| text_of(item, name) == Some(value);
    match query {
        Query::Prefix { pk, prefix } => is(PK, pk) && text_of(item, SK).is_some_and(|sk| sk.starts_with(prefix)),
        Query::Before { pk, sk: None } => is(PK, pk),
        Query::Before { pk, sk: Some(before) } => {
            is(PK, pk) && text_of(item, SK).is_some_and(|sk| sk < before.as_str())
        }
        Query::Due { shard, now } => is(DUE_SHARD, shard) && number_of::<i64>(item, DUE).is_some_and(|due| due <= *now),
    }
}

fn holds(condition: Option<&Condition>, item: Option<&Item>) -> bool {
    let attribute = |name: &str| item.and_then(|item| item.get(name));
    let number = |name: &str| item.and_then(|item| number_of::<i64>(item, name));
    match condition {
        None => true,
        Some(Condition::Exists(name)) => attribute(name).is_some(),
        Some(Condition::Missing(name)) => attribute(name).is_none(),
        Some(Condition::Equals(name, value)) => attribute(name) == Some(value),
        Some(Condition::AtLeast(name, least)) => number(name).is_some_and(|number| number >= *least),
        Some(Condition::AtMost(name, most)) => number(name).is_some_and(|number| number <= *most),
        Some(Condition::All(all)) => all.iter().all(|one| holds(Some(one), item)),
        Some(Condition::Any(any)) => any.iter().any(|one| holds(Some(one), item)),
        Some(Condition::Not(one)) => !holds(Some(one), item),
    }
}

/// Carries out an update whose condition holds; the item as it is then.
fn apply(items: &mut Items, key: &Key, update: &Update) -> Item {
    let stored = items.entry(key.clone()).or_insert_with(|| {
        let text = |text: &String| AttributeValue::S(text.clone());
        Item::from([(PK.to_owned(), text(&key.pk)), (SK.to_owned(), text(&key.sk))]).into()
    });
    stored.record = OnceLock::new();
    let item = &mut stored.item;
    for (name, action) in &update.actions {
        match action {
            Action::Set(value) => drop(item.insert(name.clone(), value.clone())),
            Action::SetIfMissing(value) => drop(item.entry(name.clone()).or_insert_with(|| value.clone())),
            Action::Remove => drop(item.remove(name)),
            Action::Add(by) => {
                let sum = number_of::<i64>(item, name).unwrap_or(0).saturating_add(*by);
                item.insert(name.clone(), AttributeValue::N(sum.to_string()));
            }
            Action::Insert(number) => change_set(item, name, |set| set.push(number.to_string())),
            Action::Discard(number) => change_set(item, name, |set| set.retain(|one| *one != number.to_string())),
        }
    }
    item.clone()
}

/// Changes a set of numbers. A set has no duplicates, and one without members does not exist.
fn change_set(item: &mut Item, name: &str, change: impl FnOnce(&mut Vec<String>)) {
    let mut set = match item.remove(name) {
        Some(AttributeValue::Ns(set)) => set,
        _ => Vec::new(),
    };
    change(&mut set);
    set.sort();
    set.dedup();
    if !set.is_empty() {
        item.insert(name.to_owned(), AttributeValue::Ns(set));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: i64) -> AttributeValue {
        AttributeValue::N(value.to_string())
    }

    fn item(sk: &str, attributes: &[(&str, i64)]) -> Item {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut item = Item::from([(PK.to_owned(), text("pk")), (SK.to_owned(), text(sk))]);
        item.extend(attributes.iter().map(|(name, value)| ((*name).to_owned(), number(*value))));
        item
    }

    #[test]
    fn conditions_hold_as_in_dynamo_db() {
        let one = item("a", &[("n", 5)]);
        for (condition, of_item, of_none) in [
            (Condition::exists(), true, false),
            (Condition::missing(), false, true),
            (Condition::Missing("m"), true, true),
            (Condition::Equals("n", number(5)), true, false),
            (Condition::Equals("m", number(5)), false, false),
            (Condition::Equals("n", number(4)).negated(), true, true),
            (Condition::AtLeast("n", 5), true, false),
            (Condition::AtLeast("n", 6), false, false),
            (Condition::AtMost("n", 5), true, false),
            (Condition::AtMost("m", 5), false, false),
            (Condition::exists().and(Condition::AtMost("n", 4)), false, false),
            (Condition::missing().or(Condition::AtMost("n", 9)), true, true),
        ] {
            assert_eq!(holds(Some(&condition), Some(&one)), of_item, "{condition:?}");
            assert_eq!(holds(Some(&condition), None), of_none, "{condition:?}");
        }
    }

    #[tokio::test]
    async fn a_refused_transaction_writes_nothing() {
        let table = MemoryTable::default();
        let key = Key::new("pk", "a");
        let add = |least| Update::new().add("n", 1).only_if(Condition::AtLeast("n", least));
        table.insert(item("a", &[("n", 5)]));
        let writes = vec![Write::put(item("b", &[])), Write::update(key.clone(), add(6))];
        let reasons = vec![Reason::Passed, Reason::ConditionFailed(table.item(&key))];
        assert_eq!(table.transact(writes).await, Err(TransactError::Cancelled(reasons)));
        assert_eq!(table.items(), [item("a", &[("n", 5)])]);
        let twice = vec![Write::update(key.clone(), add(1)), Write::update(key.clone(), add(1))];
        assert!(matches!(table.transact(twice).await, Err(TransactError::Failed(_))), "an item is written once");
        let writes = vec![Write::put(item("b", &[])), Write::update(key.clone(), add(5))];
        assert_eq!(table.transact(writes).await, Ok(()));
        assert_eq!(table.items(), [item("a", &[("n", 6)]), item("b", &[])]);
    }

    #[tokio::test]
    async fn updates_change_attributes_as_in_dynamo_db() {
        let table = MemoryTable::default();
        let update = Update::new()
            .set("set", number(1))
            .set_if_missing("kept", number(2))
            .add("sum", 3)
            .then("open", Action::Insert(7))
            .then("gone", Action::Discard(7));
        let key = Key::new("pk", "a");
        let mut expected = item("a", &[("set", 1), ("kept", 2), ("sum", 3)]);
        expected.insert("open".to_owned(), AttributeValue::Ns(vec!["7".to_owned()]));
        assert_eq!(table.update(&key, &update).await, Ok(Ok(expected)));
        let update = Update::new()
            .remove("set")
            .set_if_missing("kept", number(9))
            .add("sum", -1)
            .then("open", Action::Discard(7));
        assert_eq!(table.update(&key, &update).await, Ok(Ok(item("a", &[("kept", 2), ("sum", 2)]))));
    }

    #[tokio::test]
    async fn pages_continue_after_the_last_item() {
        let table = MemoryTable::default();
        ["a1", "a2", "a3", "b1"].iter().for_each(|sk| table.insert(item(sk, &[])));
        let prefix = Query::Prefix { pk: "pk".to_owned(), prefix: "a".to_owned() };
        let page = table.query(&prefix, Some(2), None).await.unwrap();
        assert_eq!(page.items, [item("a1", &[]), item("a2", &[])]);
        let page = table.query(&prefix, Some(2), page.next).await.unwrap();
        assert_eq!((page.items, page.next), (vec![item("a3", &[])], None));
        let before = Query::Before { pk: "pk".to_owned(), sk: Some("b1".to_owned()) };
        let page = table.query(&before, Some(1), None).await.unwrap();
        assert_eq!(page.items, [item("a3", &[])]);
        assert_eq!(table.query(&before, None, page.next).await.unwrap().items, [item("a2", &[]), item("a1", &[])]);
    }
}
