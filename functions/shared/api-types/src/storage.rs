//! The content of a stack's bucket, and its clean-up. Both are done in parts, since an answer has to come within the 29 seconds
//! of the gateway: a client repeats the request with the `cursor` of the answer before, and adds the parts up.

use std::ops::AddAssign;

use fresco_pipeline::time::{HOUR, Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The bounds between ages, in days. Outputs live for seven by default and for sixty at most, the rest for 30 and 90.
pub const AGE_EDGES: [u32; 4] = [1, 3, 7, 30];
/// The number of ages: one more than the edges.
pub const AGES: usize = AGE_EDGES.len() + 1;
/// The least `older_than_ms` of a clean-up. Younger objects may be on their way into an entry: collect has five minutes.
pub const MIN_CLEAN_AGE: Millis = HOUR;

/// A number of objects and their length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectTotals {
    /// The number of objects.
    pub objects: u64,
    /// Their length together.
    pub bytes: u64,
}

impl AddAssign for ObjectTotals {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

/// The content of the bucket, or of the part of it that one answer counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StorageView {
    /// When it was counted.
    pub at: i64,
    /// All objects.
    #[serde(flatten)]
    pub all: ObjectTotals,
    /// The bounds between ages, in days.
    pub age_edges: [u32; AGE_EDGES.len()],
    /// The kinds that occur.
    pub kinds: Vec<KindUsage>,
    /// The objects that the lifecycle removes, by the time of removal, soonest first.
    pub next: Vec<Expiry>,
    /// The objects that no lifecycle rule removes.
    pub lasting: ObjectTotals,
    /// Lifecycle rules in force that select by more than a prefix and days. They are not in `next`.
    pub unforeseen_rules: usize,
    /// The stack's limit, if it has one.
    pub limit: Option<StorageLimit>,
    /// The parameter `cursor` of the next part. Absent with the last part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The kind of an object, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// An output that is an image.
    Images,
    /// An output that is a video.
    Videos,
    /// An output that is a text.
    Texts,
    /// An input of a run.
    Inputs,
    /// A plan.
    Plans,
    /// A request or a manifest of a run.
    Runs,
    /// Any other object.
    Other,
}

/// The objects of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KindUsage {
    /// The kind.
    pub kind: ObjectKind,
    /// All of them.
    #[serde(flatten)]
    pub all: ObjectTotals,
    /// The same by age, youngest first, between the bounds of `age_edges`.
    pub ages: [ObjectTotals; AGES],
}

/// The objects that the lifecycle removes at one midnight UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expiry {
    /// That midnight; of overdue objects the last one.
    pub at: i64,
    /// The objects.
    #[serde(flatten)]
    pub group: ObjectTotals,
}

/// The stack's limit on stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StorageLimit {
    /// The most bytes that the bucket may hold.
    pub most: u64,
    /// The part of it that the counted objects take, in percent.
    pub percent: f64,
    /// Bytes by the stack's own account, which decides whether new results are generated. It is measured every quarter of an
    /// hour and estimated in between.
    pub counted: u64,
    /// Whether no new results are generated.
    pub full: bool,
}

/// A clean-up of old results and their objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CleanBody {
    /// The least age of what is removed, in milliseconds; at least an hour.
    #[schemars(range(min = MIN_CLEAN_AGE))]
    pub older_than_ms: i64,
    /// Whether to count only, and to remove nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether to count although a run is being planned. While one is, nothing is removed, since any result may be a hit of it;
    /// without this, the answer then counts nothing.
    #[serde(default)]
    pub while_planning: bool,
    /// The `cursor` of the answer before. Absent for the first part.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// The result of a clean-up, or of one part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CleanView {
    /// The objects and results of this part.
    #[serde(flatten)]
    pub totals: CleanTotals,
    /// Whether a run is being planned.
    pub planning: bool,
    /// The `cursor` of the next part. Absent with the last part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The objects and results that a clean-up has looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CleanTotals {
    /// Objects that were removed, or that a dry run would remove.
    pub removed: ObjectTotals,
    /// Results that were removed with them: they are generated again when they are next requested.
    pub results: u64,
    /// Old objects that an open run uses or may use.
    pub in_use: ObjectTotals,
    /// Old objects of attempts that are under way or whose entry cannot be read.
    pub under_way: ObjectTotals,
}

impl AddAssign for CleanTotals {
    fn add_assign(&mut self, other: Self) {
        self.removed += other.removed;
        self.results += other.results;
        self.in_use += other.in_use;
        self.under_way += other.under_way;
    }
}
