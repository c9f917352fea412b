//! The domain of Fresco: the pipeline document, its validation, the planner, the model catalogue, prices and content keys.
//! Pure functions over values: no I/O, no AWS, no async. Everything that costs money is decided on what stands here.

pub mod address;
pub mod batch;
pub mod catalogue;
pub mod content_key;
pub mod document;
pub mod error;
pub mod ids;
pub mod inspection;
pub mod media;
pub mod money;
pub mod plan;
pub mod request;
pub mod rows;
pub mod schedule_expression;
pub mod status;
pub mod suggest;
pub mod text;
pub mod time;
