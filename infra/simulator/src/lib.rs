//! Generation providers on loopback, for development and tests: real wire formats, true queueing, pictures and videos
//! that decode, signed webhooks, faults on demand. [`Simulator::start`] runs one in the current process; the binary
//! `simulator` wraps it.

mod atomic_file;
mod broken_connection;
mod broken_reply;
mod call_log;
mod clock;
mod concurrency;
mod control;
mod counters;
mod fal;
mod faults;
mod gemini;
mod identity;
mod input_cache;
mod input_image;
mod paint;
mod parent_process;
mod random;
mod renderer;
mod request_record;
mod shutdown;
mod simulator;
mod state;
mod video;

use std::io;
use std::path::Path;

pub use counters::{Counters, EndpointCounters};
pub use fal::forged_webhook::{Mutation, ResendError, Resent};
pub use fal::platform_error::PlatformError;
pub use faults::{BadRule, Fault, FaultRule, FaultStatus};
pub use parent_process::parent_gone;
pub use request_record::{RequestRecord, Status, WebhookRecord};
pub use simulator::{Config, DEFAULT_FAL_KEY, DEFAULT_GEMINI_KEY, Running, Simulator};
pub use state::{BadScale, Settings, SettingsChange, WebhookMode};

/// Writes the port to a file that appears whole or not at all.
pub fn write_port_file(path: &Path, port: u16) -> io::Result<()> {
    atomic_file::write(path, port.to_string().as_bytes())
}
