//! Drawing of outputs.

mod picture;
mod text;

pub(crate) use picture::{Format, Picture};
