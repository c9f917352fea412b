//! The types that go over the wire: bodies and answers of the HTTP API, events on the bus, and the JSON files that a stack
//! writes for its users. Money is in micro-dollars; times are milliseconds since the Unix epoch unless a field says otherwise.
#![warn(missing_docs)]

pub mod filenames;

mod batch;
mod batch_results;
mod event;
mod manifest;
mod model;
mod preview;
mod problem;
mod run;
mod schedule;
mod storage;
mod upload;

pub use batch::{
    BatchAccepted, BatchBody, BatchPage, BatchResults, BatchView, MAX_CHUNK_SIZE, MAX_CONCURRENT_CHUNKS,
    MAX_RATE_LIMIT_DELAY, OnBadRow,
};
pub use batch_results::{BatchManifest, RowFailure, RowOutput, RowResult, RowStatus};
pub use event::{BatchFinished, EventView, RunEvent, RunFinished};
pub use manifest::{Exported, MANIFEST_VERSION, Manifest, ManifestStep, NotExported};
pub use model::ModelView;
pub use preview::{MissReason, Preview, PreviewStage, PreviewStep, StepChange};
pub use problem::{DocumentProblem, FIX_PROBLEMS, FailureView, FileReport, ProblemView};
pub use run::{
    ExportView, OutputView, RecollectView, RunAccepted, RunBody, RunLinks, RunPage, RunSummary, RunView, StepView,
    StopView,
};
pub use schedule::{FiringView, SchedulePage, ScheduleView};
pub use storage::{
    AGE_EDGES, AGES, CleanBody, CleanTotals, CleanView, Expiry, KindUsage, MIN_CLEAN_AGE, ObjectKind, ObjectTotals,
    StorageLimit, StorageView,
};
pub use upload::{UploadBody, UploadKind, UploadView};
