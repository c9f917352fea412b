//! The ledger: the cache is the job table. Entries, attempts, waiters, runs, objects and task tokens, one trait a
//! capability. Pure functions decide what may happen to an entry (`transition`); the store only reads records and commits
//! a change if nothing has changed since.

pub mod clock;
pub mod contention;
#[cfg(feature = "contract")]
pub mod contract;
pub mod records;
mod sdk;
pub mod services;
pub mod store;
pub mod table;
pub mod traits;
pub mod transition;
