//! Fetching what was generated, and looking at it before anybody relies on it. The URLs come from a provider's answer, so
//! they are dialled only if their host is on a list and their address is a public one; the bytes are kept only if they are,
//! from signature to end, the media they should be.

mod address;
mod download;
mod format;
mod hosts;
mod inspect;
mod mp4;

pub use address::is_public;
pub use download::{Download, Downloader};
pub use format::{Format, SNIFF_BYTES, sniff_head};
pub use hosts::HostList;
pub use inspect::{Inspector, MediaInfo};
