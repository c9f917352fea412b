//! The ledger: the cache is the job table. Entries, attempts, waiters, runs, outputs and task tokens, one trait a
//! capability, each with a real and an in-memory implementation. What may happen to an entry is decided by pure functions
//! (`transition`); an implementation only reads rows and commits a change if nothing has changed since.

pub mod aws;
pub mod clock;
#[cfg(feature = "contract")]
pub mod contract;
pub mod dynamo;
pub mod memory;
mod month;
pub mod records;
pub mod traits;
pub mod transition;
