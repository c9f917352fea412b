//! The keys of the language as tables: what each may hold and what it says. The checker reads them to find unknown keys and
//! to bound values, and the JSON Schema is generated from them, so that an editor and the checker cannot disagree.

use super::{CachePolicy, DEFAULT_WORKERS, ExecutionOrder, MAX_WORKERS, Overlap};

/// The type of a group.
pub(super) const GROUP: &str = "parallel_group";
/// The most characters of a pipeline's name.
pub(super) const MAX_NAME: usize = 200;

/// The values that a key may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// Any text.
    Text,
    /// A pipeline's name.
    Title,
    /// A text or a number.
    Version,
    /// The name of a step or a group.
    Name,
    /// true or false.
    Flag,
    /// A whole number.
    Whole {
        /// The least.
        min: u32,
        max: u32,
    },
    /// One of these.
    Words(&'static [&'static str]),
    /// An amount of money.
    Dollars,
    /// A place in S3.
    Export,
    /// The name of a step or a group, or a list of them.
    Names,
    /// A step type.
    Type,
    /// The name of a model.
    Model,
    /// The params of a step.
    Params,
    /// Texts, numbers and flags by name.
    Vars,
    /// The table of settings.
    Settings,
    /// A list of steps and groups.
    Items,
    /// A list of steps.
    Members,
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    pub(super) key: &'static str,
    pub(super) shape: Shape,
    /// The description for editors.
    pub(super) says: &'static str,
}

const fn key(key: &'static str, shape: Shape, says: &'static str) -> Spec {
    Spec { key, shape, says }
}

const WORKERS: Shape = Shape::Whole { min: 1, max: MAX_WORKERS };
const TIMEOUT: Shape = Shape::Whole { min: 1, max: 3_600 };
const TAKE: Shape = Shape::Whole { min: 1, max: 1_000_000 };
const CACHE: Shape = Shape::Words(&CACHE_WORDS);

/// The words of `cache`, as [`CachePolicy::ALL`] has them.
const CACHE_WORDS: [&str; 3] = [CachePolicy::ALL[0].0, CachePolicy::ALL[1].0, CachePolicy::ALL[2].0];
/// The meanings of `workers`; the guide's table of optimal worker counts.
pub(super) const WORKLOADS: [(&str, u32); 4] =
    [("limited", 2), ("light", DEFAULT_WORKERS), ("standard", 6), ("heavy", 8)];
const WORKLOAD_WORDS: [&str; 4] = [WORKLOADS[0].0, WORKLOADS[1].0, WORKLOADS[2].0, WORKLOADS[3].0];
/// The meanings of `schedule`.
pub(super) const SCHEDULES: [(&str, ExecutionOrder); 2] =
    [("groups", ExecutionOrder::Groups), ("eager", ExecutionOrder::Eager)];
const SCHEDULE_WORDS: [&str; 2] = [SCHEDULES[0].0, SCHEDULES[1].0];
/// The meanings of `overlap`.
pub(super) const OVERLAPS: [(&str, Overlap); 2] = [("skip", Overlap::Skip), ("allow", Overlap::Allow)];
const OVERLAP_WORDS: [&str; 2] = [OVERLAPS[0].0, OVERLAPS[1].0];

/// The keys of a document.
pub(super) const DOCUMENT: &[Spec] = &[
    key("name", Shape::Title, "The pipeline's name."),
    key("description", Shape::Text, "What the pipeline is for. It changes nothing."),
    key("version", Shape::Version, "The version of your pipeline. It changes nothing."),
    key("settings", Shape::Settings, "How the run is carried out."),
    key("vars", Shape::Vars, "Values for {{vars.NAME}}; what is given with the run goes before them."),
    key("steps", Shape::Items, "What is done, in order: steps and groups of steps that run side by side."),
];

/// The keys of `settings`.
pub(super) const SETTINGS: &[Spec] = &[
    key("parallel", Shape::Flag, "Whether steps run side by side at all; default true."),
    key("max_workers", WORKERS, "How many steps run side by side; default 4."),
    key(
        "workers",
        Shape::Words(&WORKLOAD_WORDS),
        "In place of max_workers: limited is 2 workers, light 4, standard 6, heavy 8.",
    ),
    key("fail_fast", Shape::Flag, "Whether the first failure stops what has not started; default true."),
    key(
        "schedule",
        Shape::Words(&SCHEDULE_WORDS),
        "groups (default): an item waits for the whole item before it. eager: the only reader of one other step follows it at once.",
    ),
    key(
        "cache",
        CACHE,
        "use (default): take what is there. refresh: generate and replace. off: neither find nor be found.",
    ),
    key("max_cost", Shape::Dollars, "The most that the run may spend, in dollars."),
    key(
        "export",
        Shape::Export,
        "s3://bucket/prefix: the outputs are copied there. The stack has to be allowed to write to the bucket.",
    ),
];

/// The keys of a schedule's document.
pub(super) const SCHEDULED: &[Spec] = &[
    key("schedule", Shape::Text, "When: cron(0 6 ? * MON-FRI *), rate(1 hour) or at(2027-01-31T06:00:00)."),
    key("timezone", Shape::Text, "The time zone of `schedule`, as Europe/Berlin; default UTC."),
    key("pipeline", Shape::Text, "What is run: the pipeline itself, or the key of its document in the bucket."),
    key("rows", Shape::Text, "The key of the rows that it is run over, as rows/posters.csv: a batch."),
    key("batch", Shape::Params, "The settings of the batch, as POST /batches has them."),
    key("input", Shape::Text, "The input text."),
    key("vars", Shape::Vars, "Values for {{vars.NAME}}."),
    key("enabled", Shape::Flag, "false: it does not fire; default true."),
    key(
        "overlap",
        Shape::Words(&OVERLAP_WORDS),
        "skip (default): a firing is left out while the run of the one before goes on. allow: both go on.",
    ),
];

/// The keys of a step.
pub(super) const STEP: &[Spec] = &[
    key("name", Shape::Name, "The step's name; step_1, step_2 … where there is none."),
    key("type", Shape::Type, "What the step does."),
    key("model", Shape::Model, "The model; every step type has a default."),
    key("params", Shape::Params, "The model's params."),
    key(
        "input_from",
        Shape::Names,
        "The earlier step or group whose outputs this step takes, or a list of them. Without it: the item before.",
    ),
    key("timeout", TIMEOUT, "The step's timeout in seconds; every model has a default."),
    key("cache", CACHE, "As the setting, for this step."),
    key("take", TAKE, "Another result of the same request, from 1."),
    key("enabled", Shape::Flag, "false leaves the step out."),
];

/// The keys of a group.
pub(super) const GROUP_KEYS: &[Spec] = &[
    key("name", Shape::Name, "The group's name, for input_from: its outputs in order."),
    key("type", Shape::Type, "parallel_group."),
    key("max_workers", WORKERS, "How many of its steps run side by side; default: the setting."),
    key(
        "fail_fast",
        Shape::Flag,
        "Whether a failure of one of its steps stops what has not started; default: the setting.",
    ),
    key("timeout", TIMEOUT, "The timeout in seconds of its steps that give none."),
    key("steps", Shape::Members, "Its steps."),
];

/// Keys of the language that this version does not carry out: refused by name, so that none is ignored silently.
pub(super) const LATER_KEYS: &[(&str, &str)] = &[
    ("similar", "Remove it; results are found by the exact request only."),
    (
        "rate_limit_delay",
        "Remove it; a pause between chunks belongs to batches. Fewer workers (`workers: limited`) help too.",
    ),
    ("max_age_days", "Remove it; the age of outputs is one for the whole stack: its parameter MaxAgeDays."),
];

/// Step types of the language that this version does not carry out.
pub(super) const LATER_TYPES: &[&str] = &[
    "text_to_video",
    "text_to_speech",
    "prompt_generation",
    "speech_to_text",
    "video_to_video",
    "avatar",
    "upscale_image",
    "upscale_video",
    "split_image",
    "concat_videos",
    "add_audio",
    "generate_subtitles",
    "replicate_multitalk",
];

/// The key of this name.
pub(super) fn find(specs: &'static [Spec], key: &str) -> Option<&'static Spec> {
    specs.iter().find(|spec| spec.key == key)
}
