//! fal.ai on loopback: the queue with its webhooks, the part of the platform API that a client needs to reconcile, the key
//! set, and the media host. The hosts of fal are path prefixes here; the rest of every path is the same.

mod answer;
mod broken_media;
mod endpoint;
mod fault_responses;
mod fetch_inputs;
pub(crate) mod forged_webhook;
pub(crate) mod journal;
mod media_host;
pub(crate) mod model_error;
mod output;
mod platform_api;
pub(crate) mod platform_error;
mod queue;
pub(crate) mod request_store;
mod result;
pub(crate) mod resume;
pub(crate) mod routes;
mod sizes;
mod validate;
mod validation_error;
pub(crate) mod webhook;
mod webhook_delivery;
mod work;
