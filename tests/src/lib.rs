//! What the whole-stack suites stand on: a stack of its own for each test binary, in a folder of its own, on free ports; a
//! client of it; and the simulator's own account of what it was asked and what it billed.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: what fails here fails the test that asked"
)]

mod ahead;
mod asking;
mod clean;
mod crash;
mod events;
pub mod matrix;
mod stack_admin;
mod started;
mod stored;
mod world;

pub use ahead::Ahead;
pub use asking::Asking;
pub use clean::clean;
pub use crash::Function;
pub use stack_admin::{Parts, StackAdmin};
pub use started::endpoint_url;
pub use stored::Damage;
pub use world::{Counters, EXPORTS, Request, World, most_at_once};

/// A day, in milliseconds.
pub const DAY: i64 = 86_400_000;

/// A document of one step that takes the run's input text.
pub fn document(model: &str) -> String {
    format!("name: one\nsteps:\n  - name: image\n    type: text_to_image\n    model: {model}\n")
}
