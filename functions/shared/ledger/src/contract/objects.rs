//! Objects. Keys are new in every test, so that a store may be shared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::traits::{ConditionalGet, Objects, Put, Upload};

const PART: usize = 8 << 20;

/// A key that no other test has.
fn new_key(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("outputs/image/{time:x}-{}/1/{name}.png", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Bytes that differ from each other wherever a part could be lost, repeated or moved.
fn content(length: usize) -> Bytes {
    (0..length).map(|at| (at.wrapping_mul(0x9E37_79B1) >> 16) as u8).collect()
}

async fn upload(store: &impl Objects, key: &str, bytes: &Bytes) -> Put {
    let mut upload = store.upload(key, "image/png").await.unwrap();
    upload.write(bytes.clone()).await.unwrap();
    upload.finish().await.unwrap()
}

async fn is(store: &impl Objects, key: &str, bytes: &Bytes) {
    let mut scanned = Vec::new();
    let tag = store.scan(key, &mut |piece| scanned.extend_from_slice(piece)).await.unwrap().unwrap();
    assert!(scanned == bytes[..], "the scanned content differs");
    assert_eq!(store.head(key).await.unwrap().unwrap().bytes, bytes.len() as u64);
    assert!(store.get(key).await.unwrap().as_ref() == Some(bytes), "the content differs");
    let matching = store.get_matching(key, tag.trim_matches('"')).await.unwrap();
    assert!(matches!(matching, ConditionalGet::Found { bytes: found, .. } if found == *bytes), "the tag is another");
    assert_eq!(store.get_matching(key, "another").await.unwrap(), ConditionalGet::Changed);
}

/// Neither a head nor a content.
pub async fn what_is_missing_is_missing(store: &impl Objects) {
    let key = new_key("missing");
    assert_eq!(store.head(&key).await.unwrap(), None);
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert_eq!(store.scan(&key, &mut |_| {}).await.unwrap(), None);
    assert_eq!(store.get_matching(&key, "any").await.unwrap(), ConditionalGet::Missing);
}

/// What was put is there; putting again replaces it.
pub async fn a_small_object_is_what_was_put(store: &impl Objects) {
    let key = new_key("put");
    store.put(&key, Bytes::from_static(b"{}"), "application/json").await.unwrap();
    is(store, &key, &Bytes::from_static(b"{}")).await;
    let first = store.head(&key).await.unwrap().unwrap().modified_at;
    store.put(&key, Bytes::from_static(b"[1]"), "application/json").await.unwrap();
    is(store, &key, &Bytes::from_static(b"[1]")).await;
    assert!(store.head(&key).await.unwrap().unwrap().modified_at >= first);
}

/// Not before.
pub async fn an_upload_is_seen_when_it_is_finished(store: &impl Objects) {
    for length in [100, PART + 100] {
        let (key, bytes) = (new_key("upload"), content(length));
        let mut upload = store.upload(&key, "image/png").await.unwrap();
        upload.write(bytes.clone()).await.unwrap();
        assert_eq!(store.head(&key).await.unwrap(), None, "{length}");
        assert_eq!(store.get(&key).await.unwrap(), None, "{length}");
        assert_eq!(upload.finish().await.unwrap(), Put::Stored);
        is(store, &key, &bytes).await;
    }
}

/// With and without empty writes.
pub async fn an_upload_of_nothing_is_an_empty_object(store: &impl Objects) {
    let key = new_key("empty");
    let upload = store.upload(&key, "image/png").await.unwrap();
    assert_eq!(upload.finish().await.unwrap(), Put::Stored);
    is(store, &key, &Bytes::new()).await;
    let key = new_key("empty");
    assert_eq!(self::upload(store, &key, &Bytes::new()).await, Put::Stored);
    is(store, &key, &Bytes::new()).await;
}

/// One byte less than a part, a part, one byte more, two parts.
pub async fn lengths_around_a_part(store: &impl Objects) {
    for length in [PART - 1, PART, PART + 1, 2 * PART] {
        let (key, bytes) = (new_key("part"), content(length));
        assert_eq!(upload(store, &key, &bytes).await, Put::Stored);
        is(store, &key, &bytes).await;
    }
}

/// 20 MiB as a network delivers them.
pub async fn a_long_upload_in_odd_pieces(store: &impl Objects) {
    let (key, bytes) = (new_key("long"), content(20 << 20));
    let mut upload = store.upload(&key, "video/mp4").await.unwrap();
    let mut rest = bytes.clone();
    for length in [1, 0, 7, 65_536, 1_000_003, 9 << 20].into_iter().cycle() {
        let piece = rest.split_to(length.min(rest.len()));
        upload.write(piece).await.unwrap();
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(upload.finish().await.unwrap(), Put::Stored);
    is(store, &key, &bytes).await;
}

/// A key is written once, by one part or many, whether the other upload came before or in between.
pub async fn the_first_upload_stays(store: &impl Objects) {
    for (first, second) in [(100, 200), (100, PART + 1), (PART + 1, 100), (PART + 1, PART + 2)] {
        let (key, bytes) = (new_key("first"), content(first));
        let mut early = store.upload(&key, "image/png").await.unwrap();
        early.write(content(second)).await.unwrap();
        assert_eq!(upload(store, &key, &bytes).await, Put::Stored);
        assert_eq!(early.finish().await.unwrap(), Put::Exists, "{first} {second}");
        assert_eq!(upload(store, &key, &content(second)).await, Put::Exists, "{first} {second}");
        is(store, &key, &bytes).await;
    }
}

/// After nothing, a few bytes or several parts. The key is free then.
pub async fn an_aborted_upload_leaves_nothing(store: &impl Objects) {
    for length in [0, 100, 2 * PART + 1] {
        let key = new_key("abort");
        let mut aborted = store.upload(&key, "image/png").await.unwrap();
        aborted.write(content(length)).await.unwrap();
        aborted.abort().await;
        assert_eq!(store.head(&key).await.unwrap(), None, "{length}");
        assert_eq!(upload(store, &key, &content(5)).await, Put::Stored);
    }
}

/// In the order of keys, a thousand at a time.
pub async fn a_listing_continues_after_a_key(store: &impl Objects) {
    let prefix = new_key("list");
    let keys: Vec<String> = (0..3).map(|n| format!("{prefix}/{n}")).collect();
    for key in &keys {
        store.put(key, content(7), "image/png").await.unwrap();
    }
    let listed = store.list(&prefix, "").await.unwrap();
    assert_eq!(listed.iter().map(|object| &object.key).collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
    assert!(listed.iter().all(|object| object.bytes == 7 && object.modified_at >= 0));
    assert_eq!(store.list(&prefix, &keys[0]).await.unwrap(), listed[1..]);
    assert_eq!(store.list(&prefix, &keys[2]).await.unwrap(), []);
}

/// A missing object is no error, and no other object is deleted.
pub async fn only_the_named_objects_are_deleted(store: &impl Objects) {
    let prefix = new_key("remove");
    let keys: Vec<String> = (0..3).map(|n| format!("{prefix}/{n}")).collect();
    for key in &keys[..2] {
        store.put(key, content(7), "image/png").await.unwrap();
    }
    store.delete(&keys[1..]).await.unwrap();
    let listed = store.list(&prefix, "").await.unwrap();
    assert_eq!(listed.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), [keys[0].as_str()]);
    store.delete(&[]).await.unwrap();
}

/// The content stays, and the age is reset.
pub async fn a_touched_object_keeps_its_content(store: &impl Objects) {
    for length in [100, PART + 1] {
        let (key, bytes) = (new_key("renew"), content(length));
        assert!(!store.touch(&key, "image/png").await.unwrap());
        upload(store, &key, &bytes).await;
        let before = store.head(&key).await.unwrap().unwrap().modified_at;
        assert!(store.touch(&key, "image/png").await.unwrap());
        is(store, &key, &bytes).await;
        assert!(store.head(&key).await.unwrap().unwrap().modified_at >= before);
    }
}

/// Under any name.
pub async fn a_copy_needs_the_entity_tag(store: &impl Objects) {
    let (key, bytes) = (new_key("a name, ü+1 & 50%"), content(100));
    let to = new_key("kept");
    assert!(!store.copy_matching(&key, "\"any\"", &to, "image/png").await.unwrap(), "of nothing");
    upload(store, &key, &bytes).await;
    let tag = store.scan(&key, &mut |_| {}).await.unwrap().unwrap();
    assert!(!store.copy_matching(&key, "\"another\"", &to, "image/png").await.unwrap());
    assert_eq!(store.head(&to).await.unwrap(), None);
    for _ in 0..2 {
        assert!(store.copy_matching(&key, &tag, &to, "image/png").await.unwrap());
        is(store, &to, &bytes).await;
        is(store, &key, &bytes).await;
    }
}
