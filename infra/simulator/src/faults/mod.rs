//! Faults on demand: the rules that say which requests go wrong how. The providers decide at which stage a fault applies
//! and what a client sees of it.

mod fault;
mod rule;
mod rules;

pub use fault::Fault;
pub use rule::{BadRule, FaultRule, FaultStatus};
pub(crate) use rules::FaultRules;
