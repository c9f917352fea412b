//! The services outside the table: [`aws`] connects to them, [`fake`] is in memory, for tests.

pub mod aws;
pub mod fake;
