//! The engine: what the functions do, apart from being functions. It takes a step from "asked for" to "has its result" by
//! way of the ledger and a provider, generic over every capability, so that the same code runs on AWS, on the local stack
//! and in tests that interleave, crash and lose replies at every step.

pub mod aws;
mod batch;
mod commit;
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

pub use batch::{BatchWork, ROWS, batch_manifest_key};
pub use intake::input_media::{describe_input, fetch_input, input_problem, too_large};
pub use intake::request::{AS_DESCRIBED, BadOrder, Fetcher, OrderError};
pub use intake::start::{Begun, Once, RunRequest, StartError, manifest_key, request_key};
pub use intake::uploads::{MAX_DOCUMENT, UploadId};
pub use planning::plan::{WorkLane, WorkList, WorkStage, WorkStep};
pub use quota::Stored;
pub use run::close::Closed;
pub use step::generate::Call;

pub use step::webhook::{Received, Refused, Route};
pub use triggers::inbox::{Arrival, INBOX, INBOX_ERRORS, Taken};
pub use triggers::schedules::{Due, Kept, PIPELINES, SCHEDULE_ERRORS, SCHEDULES};
pub use upkeep::prune::{Cleaned, Group, Which, YOUNGEST};

use platform::Platform;
use settings::Settings;

/// A platform and the settings of its stack.
#[derive(Debug)]
pub struct Engine<P> {
    /// The capabilities.
    pub platform: P,
    /// The settings.
    pub settings: Settings,
}

impl<P: Platform> Engine<P> {
    /// Puts them together.
    pub fn new(platform: P, settings: Settings) -> Self {
        Engine { platform, settings }
    }
}
