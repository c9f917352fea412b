//! Whether a text may name a medium: a path that a file system takes, or an https URL of a public host. It is the check
//! before anything is fetched; who fetches looks at the address again that a name turns out to have.

use url::{Host, Url};

use super::problem::Problem;
use crate::address::is_public;

/// The longest path or URL, in bytes.
pub(super) const MAX_LENGTH: usize = 4096;
/// Schemes that are refused also without `//` behind them. Other texts with a colon are paths, as `C:\cat.png` is.
const SCHEMES: &[&str] = &["http", "https", "file", "data", "ftp", "s3", "javascript", "blob"];

/// Checks a path or a URL.
pub(super) fn check(text: &str) -> Result<(), Problem> {
    if text.trim().is_empty() {
        return Err(Problem::new("param_empty", "the name of a file is empty", "Give a file or an https URL."));
    }
    let scheme = text.trim_start().split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    match scheme {
        Some((scheme, rest)) if rest.starts_with("//") || SCHEMES.contains(&scheme.as_str()) => {
            url(text).map_err(|why| Problem::new("input_url", why, "Use an https URL of a public host, or a file."))
        }
        _ if text.contains('\0') => Err(Problem::new("input_path", "the path contains a NUL character", "Remove it.")),
        _ if text.len() > MAX_LENGTH => {
            let message = format!("the path is longer than {MAX_LENGTH} bytes");
            Err(Problem::new("input_path", message, "Use a shorter one."))
        }
        _ => Ok(()),
    }
}

/// Says why a URL cannot be used. The words hold nothing of it: it may be signed, or filled in.
fn url(text: &str) -> Result<(), String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("the URL is longer than {MAX_LENGTH} bytes"));
    }
    // The parser would drop them silently, so that what is checked were not what is written.
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err("the URL contains white space, a backslash or a control character".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("this is not a URL: {error}"))?;
    if url.scheme() != "https" {
        return Err("only https URLs are read".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL carries credentials".to_owned());
    }
    if url.port().is_some() {
        return Err("the URL names a port".to_owned());
    }
    let is_public = match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(name)) => is_public_name(name),
        None => return Err("the URL has no host".to_owned()),
    };
    if is_public { Ok(()) } else { Err("the URL's host is not a public one".to_owned()) }
}

fn is_public_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    // A name without a dot is looked up in the network of the process that fetches.
    let Some((_, last)) = name.rsplit_once('.') else { return false };
    !matches!(last, "localhost" | "local" | "internal" | "localdomain") && !name.ends_with(".home.arpa")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_are_named_by_a_path_or_a_public_https_url() {
        let long_path = "x".repeat(MAX_LENGTH + 1);
        let long_url = format!("https://example.com/{long_path}");
        for (text, code) in [
            ("cat.png", None),
            ("../up/cat.png", None),
            ("C:\\pictures\\cat.png", None),
            ("a: b.png", None),
            ("https://example.com/cat.png?sig=a%20b", None),
            ("HTTPS://EXAMPLE.COM:443/cat.png", None),
            ("https://8.8.8.8/cat.png", None),
            ("https://[2606:4700::1111]/cat.png", None),
            (" ", Some("param_empty")),
            ("a\0b", Some("input_path")),
            (&long_path, Some("input_path")),
            (&long_url, Some("input_url")),
            ("http://example.com/cat.png", Some("input_url")),
            (" http://example.com/cat.png", Some("input_url")),
            ("ftp://example.com/cat.png", Some("input_url")),
            ("file:///etc/passwd", Some("input_url")),
            ("file:/etc/passwd", Some("input_url")),
            ("s3://bucket/key", Some("input_url")),
            ("data:image/png;base64,AAAA", Some("input_url")),
            ("gopher://example.com", Some("input_url")),
            ("https://", Some("input_url")),
            ("https:example.com/cat.png\n", Some("input_url")),
            ("https://user@example.com/cat.png", Some("input_url")),
            ("https://user:secret@example.com/cat.png", Some("input_url")),
            ("https://example.com:8443/cat.png", Some("input_url")),
            ("https://example.com\\@10.0.0.1/", Some("input_url")),
            ("https://localhost/cat.png", Some("input_url")),
            ("https://LOCALHOST./cat.png", Some("input_url")),
            ("https://a.localhost/cat.png", Some("input_url")),
            ("https://printer.local/cat.png", Some("input_url")),
            ("https://metadata.google.internal/", Some("input_url")),
            ("https://intranet/cat.png", Some("input_url")),
            ("https://127.0.0.1/", Some("input_url")),
            ("https://127.1/", Some("input_url")),
            ("https://2130706433/", Some("input_url")),
            ("https://0x7f000001/", Some("input_url")),
            ("https://0177.0.0.1/", Some("input_url")),
            ("https://%31%32%37.0.0.1/", Some("input_url")),
            ("https://10.1.2.3/", Some("input_url")),
            ("https://172.16.0.1/", Some("input_url")),
            ("https://192.168.1.1/", Some("input_url")),
            ("https://169.254.169.254/latest/meta-data/", Some("input_url")),
            ("https://100.64.0.1/", Some("input_url")),
            ("https://0.0.0.0/", Some("input_url")),
            ("https://255.255.255.255/", Some("input_url")),
            ("https://[::1]/", Some("input_url")),
            ("https://[::]/", Some("input_url")),
            ("https://[::ffff:10.0.0.1]/", Some("input_url")),
            ("https://[::ffff:7f00:1]/", Some("input_url")),
            ("https://[64:ff9b::a00:1]/", Some("input_url")),
            ("https://[2002:a00:1::]/", Some("input_url")),
            ("https://[2002:808:808::1]/", Some("input_url")),
            ("https://[::ffff:0:808:808]/", Some("input_url")),
            ("https://[::ffff:8.8.8.8]/", None),
            ("https://[fe80::1]/", Some("input_url")),
            ("https://[fd00::1]/", Some("input_url")),
            ("https://[2001:db8::1]/", Some("input_url")),
        ] {
            assert_eq!(check(text).err().map(|problem| problem.code).as_deref(), code, "{text:.80}");
        }
    }
}
