//! Fetches media by URLs, which come from a provider's answer or from a user: a host is dialled only if it is on the list, or if
//! any host is allowed, and only at a public address. `pipeline::inspection` inspects the bytes.

mod download;
mod hosts;
mod resolver;

pub use download::{Download, Downloader};
pub use hosts::HostList;
