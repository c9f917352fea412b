//! The engine: what the functions do, apart from being functions. It takes a step from "asked for" to "has its result" by
//! way of the ledger and a provider, generic over every capability, so that the same code runs on AWS, on the local stack
//! and in tests that interleave, crash and lose replies at every step.

mod age;
pub mod aws;
mod batch;
mod capacity;
mod changed;
mod clean;
mod collect;
pub mod crash;
mod examine;
mod export;
mod generate;
mod inbox;
mod inputs;
pub mod lambda;
mod made;
mod metric;
mod order;
mod plan;
pub mod platform;
mod preview;
mod report;
mod schedule;
pub mod settings;
mod start;
mod stop;
mod survey;
mod tell;
mod transact;
pub mod transfer;
mod uploads;
mod webhook;

pub use batch::{BatchWork, ROWS, batch_manifest_key};
pub use capacity::Stored;
pub use clean::{Cleaned, Group, Which, YOUNGEST};
pub use generate::Call;
pub use inbox::{Arrival, INBOX, INBOX_ERRORS, Taken};
pub use inputs::{describe_input, fetch_input, input_problem, too_large};
pub use order::{AS_DESCRIBED, BadOrder, Fetcher, OrderError};
pub use plan::{WorkLane, WorkList, WorkStage, WorkStep};
pub use report::Closed;
pub use schedule::{Due, Kept, PIPELINES, SCHEDULE_ERRORS, SCHEDULES};
pub use start::{Begun, Once, RunRequest, StartError, manifest_key, request_key};
pub use uploads::{MAX_DOCUMENT, UploadId};
pub use webhook::{Received, Refused, Route};

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
