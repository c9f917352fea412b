//! The use cases of the functions, apart from the Lambda runtime. They take a step from its request to its result by
//! way of the ledger and a provider, and are generic over every capability, so that the same code runs on AWS, on the
//! local stack and in tests that interleave, crash and lose replies at every step.

pub mod aws;
mod batch;
mod commit;
mod deadline;
mod engine;
pub mod failpoint;
mod intake;
pub mod lambda;
mod metrics;
mod planning;
pub mod platform;
mod quota;
mod run;
pub mod settings;
mod step;
mod triggers;
mod upkeep;

pub use batch::{BatchFinalizer, BatchPlanner, BatchWork, Batches, Chunks, batch_manifest_key};
pub use engine::Engine;
pub use intake::Intake;
pub use intake::object_keys::{INBOX, INBOX_ERRORS, PIPELINES, ROWS, SCHEDULE_ERRORS, SCHEDULES};
pub use intake::request::{AS_DESCRIBED, Fetcher, IntakeError, InvalidRequest};
pub use intake::start::{IdempotencyKey, StartError, StartedRun};
pub use intake::uploads::{MAX_DOCUMENT, UploadId};
pub use planning::Planner;
pub use planning::work_list::{WorkLane, WorkList, WorkStage, WorkStep};
pub use quota::{Quota, StorageUse};
pub use run::Runs;
pub use run::close::ClosedRun;
pub use run::manifest::manifest_key;
pub use run::request::{RunRequest, request_key};
pub use step::collect::Collector;
pub use step::generate::{GenerateCall, Steps};
pub use step::webhook::{WebhookOutcome, WebhookRefused, WebhookRoute, Webhooks};
pub use triggers::Triggers;
pub use triggers::inbox::{InboxOutcome, ObjectCreated};
pub use triggers::schedules::{FiringEvent, ScheduleOutcome};
pub use upkeep::Upkeep;
pub use upkeep::prune::PruneOptions;
