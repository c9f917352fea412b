//! A deadline for work that waits for others.

use std::pin::pin;

use fresco_ledger::records::Millis;
use fresco_ledger::traits::Clock;
use fresco_pipeline::error::{ErrorName, Failure};
use futures::future::{Either, select};

/// Does the work, or drops it after so many milliseconds. It has to bear being cut off anywhere, as by a crash.
pub(crate) async fn within<T>(
    clock: &impl Clock,
    after: Millis,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match select(pin!(work), pin!(clock.deadline(after))).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Err(Failure::new(ErrorName::LedgerUnavailable, format!("not done within {after} ms"))),
    }
}
