//! Gemini's `generateContent` on loopback, as far as an analysis of images needs it: the key, the body with inline data,
//! the answer with its usage, and errors in Google's envelope. The wire format is that of the v1beta REST reference.

mod describe_image;
mod fault_responses;
mod generate;
mod refusal;
mod reply;
mod request;
pub(crate) mod routes;
mod schema;
