//! The tokens by which DynamoDB and Scheduler know a repeated call.

use ring::rand::SystemRandom;

use crate::traits::StoreError;

/// A token that no other process makes, 128 bits in hexadecimal.
///
/// The SDK would make one by itself, but from a generator that it seeds with the monotonic clock (`fastrand`, 64 bits):
/// functions that start at once, on machines that were booted alike, come to the same seed, and from then on to the same
/// tokens. Where two calls have one token, the second one is refused (`IdempotentParameterMismatchException`), or is answered
/// as the first one was.
pub(crate) fn request_token() -> Result<String, StoreError> {
    let bits: [u8; 16] = ring::rand::generate(&SystemRandom::new())
        .map_err(|_| StoreError::ledger("the system gave no random bytes for a request token"))?
        .expose();
    Ok(hex::encode(bits))
}
