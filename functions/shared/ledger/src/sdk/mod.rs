//! The parts that every adapter of an AWS SDK shares: error texts that may be logged, and request tokens.

mod errors;
mod request_token;

pub(crate) use errors::{SdkError, code, describe, describe_code, status};
pub(crate) use request_token::request_token;
