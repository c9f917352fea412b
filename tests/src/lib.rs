//! The library of the whole-stack suites and of the chaos and cost tools: a stack for each test binary, in a folder of its own
//! and on free ports, its clients, and the simulator's records of requests and bills.

#![expect(clippy::expect_used, clippy::panic, reason = "this is test code: a failure here fails the test")]

pub mod chaos;
mod clean;
mod clock_skew;
pub mod cost;
pub mod crash_table;
mod events;
mod failpoints;
mod raw_client;
mod shared_stacks;
mod stack_admin;
mod tampering;
mod tool_stack;
mod world;

pub use clean::clean;
pub use clock_skew::SkewedPlatform;
pub use failpoints::Function;
pub use raw_client::RawClient;
pub use shared_stacks::endpoint_url;
pub use stack_admin::StackAdmin;
pub use tampering::Damage;
pub use world::{Counters, EXPORTS, Request, World, most_at_once};

pub use fresco_pipeline::time::DAY;

/// A document of one step that takes the run's input text.
pub fn document(model: &str) -> String {
    format!("name: one\nsteps:\n  - name: image\n    type: text_to_image\n    model: {model}\n")
}
