//! Fetches media and inspects them before they are stored. URLs come from a provider's answer or from a user, so
//! they are dialled only if their host is on a list, or there is none because a user may name any, and only at a public
//! address; the bytes are kept only if they are, from signature to end, the media they should be.

mod download;
mod format;
mod hosts;
mod inspect;
mod mp4;
mod resolver;

pub use download::{Download, Downloader};
pub use format::{Format, SNIFF_BYTES, sniff_head};
pub use hosts::{HostList, UrlProblem, check_input_url};
pub use inspect::{Inspector, MediaInfo};
