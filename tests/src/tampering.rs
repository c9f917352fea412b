//! Changes to a stack's stored objects and records behind its back, as by a person, a fault or their expiry.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use fresco_engine::platform::Platform;
use fresco_ledger::records::Millis;
use fresco_ledger::table::{PK, SK};
use fresco_ledger::traits::{Change, CommitError, Entries, ListedObject, ObjectHead, Objects, Usage, UsageCounter};
use fresco_pipeline::ids::ContentKey;

use crate::World;

/// The sort key of an entry.
const ENTRY: &str = "E";

/// A damage that makes a record unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A required attribute is missing.
    Lost(&'static str),
    /// The record has an older layout version.
    Layout(u32),
}

impl World {
    /// Creates a bucket.
    pub async fn make_bucket(&self, bucket: &str) {
        let answer = self.aws_request(reqwest::Method::PUT, "s3", &format!("/{bucket}")).send().await;
        assert!(answer.expect("an answer").status().is_success(), "{bucket} is created");
    }

    /// Removes an empty bucket.
    pub async fn remove_bucket(&self, bucket: &str) {
        let answer = self.aws_request(reqwest::Method::DELETE, "s3", &format!("/{bucket}")).send().await;
        assert!(answer.expect("an answer").status().is_success(), "{bucket} is removed");
    }

    /// Puts an object into the stack's bucket.
    pub async fn put_object(&self, key: &str, bytes: &'static [u8]) {
        let put = self.admin.engine().platform.objects().put(key, bytes.into(), "image/png").await;
        put.expect("it is put");
    }

    /// Removes an object of the stack's bucket, as its expiry or a person may.
    pub async fn remove_object(&self, key: &str) {
        let answer = self.aws_request(reqwest::Method::DELETE, "s3", &self.place(key)).send().await;
        assert!(answer.expect("an answer").status().is_success(), "{key} is removed");
    }

    /// Returns the head of an object of the stack's bucket.
    pub async fn head(&self, key: &str) -> Option<ObjectHead> {
        self.admin.engine().platform.objects().head(key).await.expect("an answer")
    }

    /// Lists up to a thousand objects of a bucket under a prefix.
    pub async fn listed(&self, bucket: &str, prefix: &str) -> Vec<ListedObject> {
        self.aws().objects(bucket).list(prefix, "").await.expect("a listing")
    }

    /// Returns a whole object of any bucket.
    pub async fn object_of(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        self.aws().objects(bucket).get(key).await.expect("an answer").map(|bytes| bytes.to_vec())
    }

    /// Returns the name of the stack's bucket.
    pub fn bucket(&self) -> String {
        self.output("BucketName")
    }

    /// Returns the recorded usage of the stack's bucket.
    pub async fn usage(&self) -> Usage {
        self.ledger().usage().await.expect("an answer")
    }

    /// Moves back the creation time of a result in its entry. Its objects keep theirs, since the earlier of the two times
    /// counts.
    pub async fn age_result(&self, key: &ContentKey, by: Millis) {
        let ledger = self.ledger();
        loop {
            let mut entry = ledger.entry(key).await.expect("an answer").expect("an entry");
            entry.result.as_mut().expect("a result").created_at -= by;
            match ledger.commit(&Change::of(entry)).await {
                Ok(()) => return,
                // Another writer was first: its version is aged instead.
                Err(CommitError::Conflict) => {}
                Err(error) => panic!("a result does not age: {error}"),
            }
        }
    }

    /// Damages an entry's record.
    pub async fn damage_entry(&self, key: &ContentKey, damage: Damage) {
        self.damage(key, ENTRY, damage).await;
    }

    /// Damages the record of an attempt.
    pub async fn damage_attempt(&self, key: &ContentKey, attempt: u32, damage: Damage) {
        self.damage(key, &format!("A#{attempt:06}"), damage).await;
    }

    async fn damage(&self, key: &ContentKey, sk: &str, damage: Damage) {
        let client = self.aws().dynamo_client();
        let update = client.update_item().table_name(self.output("TableName")).set_key(Some(row(key, sk)));
        let update = update.condition_expression(format!("attribute_exists({PK})"));
        let update = match damage {
            Damage::Lost(name) => update.update_expression("REMOVE #it").expression_attribute_names("#it", name),
            Damage::Layout(version) => update
                .update_expression("SET v = :v")
                .expression_attribute_values(":v", AttributeValue::N(version.to_string())),
        };
        update.send().await.expect("the row is damaged");
    }

    /// Returns the unreadable records that were put aside when the entry was replaced.
    pub async fn put_aside(&self, key: &ContentKey) -> Vec<HashMap<String, AttributeValue>> {
        let client = self.aws().dynamo_client();
        let query = client.query().table_name(self.output("TableName"));
        let query = query.key_condition_expression(format!("{PK} = :pk AND begins_with({SK}, :aside)"));
        let query = query.expression_attribute_values(":pk", AttributeValue::S(format!("K#{key}")));
        let query = query.expression_attribute_values(":aside", AttributeValue::S("X#".to_owned()));
        query.send().await.expect("an answer").items.unwrap_or_default()
    }
}

fn row(key: &ContentKey, sk: &str) -> HashMap<String, AttributeValue> {
    let text = |text: String| AttributeValue::S(text);
    HashMap::from([(PK.to_owned(), text(format!("K#{key}"))), (SK.to_owned(), text(sk.to_owned()))])
}
