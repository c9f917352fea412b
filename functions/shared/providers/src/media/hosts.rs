//! The list of hosts that media may come from. A name on the list may be reached over https at a public address; an origin
//! (scheme, host and port) on the list may be reached as it is, which is how a provider on the same machine is.

use std::fmt;

use fresco_pipeline::error::{ErrorName, Failure};
use url::{Host, Origin, Url};

use super::address::is_public;

/// Hosts that media may come from, as in `v3.fal.media, *.fal.media, http://127.0.0.1:1234`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostList(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// This host.
    Host(String),
    /// The hosts below this one, not itself.
    Below(String),
    /// This scheme, host and port, whatever the address.
    Origin(Origin),
}

/// How a URL may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Over https, at a public address.
    Public,
    /// As it is.
    Listed,
}

impl HostList {
    /// Reads a setting: names, `*.` names and origins, between commas.
    pub fn parse(text: &str) -> Result<HostList, Failure> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(Entry::parse).collect::<Result<_, _>>().map(HostList)
    }

    /// How the URL may be reached, if at all. The message of a refusal names the host only: the rest may be signed.
    pub(super) fn route(&self, url: &Url) -> Result<Route, Failure> {
        let refuse = |why: &str| {
            let host = url.host_str().map(|host| format!(" from {host}")).unwrap_or_default();
            Err(Failure::new(ErrorName::OutputInvalid, format!("the output{host} is not fetched: {why}")))
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("its URL carries credentials");
        }
        if self.0.iter().any(|entry| matches!(entry, Entry::Origin(origin) if *origin == url.origin())) {
            return Ok(Route::Listed);
        }
        if url.scheme() != "https" {
            return refuse("its URL is not https");
        }
        if url.port().is_some() {
            return refuse("its URL names a port");
        }
        // A literal address never reaches the resolver, so it is checked here.
        let is_private = match url.host() {
            Some(Host::Ipv4(address)) => !is_public(address.into()),
            Some(Host::Ipv6(address)) => !is_public(address.into()),
            Some(Host::Domain(_)) => false,
            None => true,
        };
        if is_private {
            return refuse("its address is not a public one");
        }
        let name = url.host_str().unwrap_or_default();
        if self.0.iter().any(|entry| entry.is_host(name)) {
            Ok(Route::Public)
        } else {
            refuse("the host is not on the list")
        }
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Entry, Failure> {
        let bad = || Failure::new(ErrorName::Internal, format!("{text:?} in the setting of media hosts is not a host"));
        if text.contains("://") {
            let url = Url::parse(text).map_err(|_| bad())?;
            let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            let plain = url.username().is_empty() && url.password().is_none();
            let http = matches!(url.scheme(), "http" | "https");
            return if bare && plain && http { Ok(Entry::Origin(url.origin())) } else { Err(bad()) };
        }
        let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        let url = Url::parse(&format!("https://{name}/")).map_err(|_| bad())?;
        let same = url.host_str() == Some(name.to_ascii_lowercase().as_str()) && url.port().is_none();
        let is_name = matches!(url.host(), Some(Host::Domain(_)));
        // A wildcard over a top-level name would be no list at all.
        if !same || name.contains('*') || name.ends_with('.') || (below && !(is_name && name.contains('.'))) {
            return Err(bad());
        }
        let name = name.to_ascii_lowercase();
        Ok(if below { Entry::Below(name) } else { Entry::Host(name) })
    }

    fn is_host(&self, name: &str) -> bool {
        match self {
            Entry::Host(host) => host == name,
            Entry::Below(suffix) => name
                .strip_suffix(suffix.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty()),
            Entry::Origin(_) => false,
        }
    }
}

impl fmt::Display for HostList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, entry) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match entry {
                Entry::Host(host) => write!(f, "{comma}{host}")?,
                Entry::Below(suffix) => write!(f, "{comma}*.{suffix}")?,
                Entry::Origin(origin) => write!(f, "{comma}{}", origin.ascii_serialization())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(list: &str, url: &str) -> Option<Route> {
        HostList::parse(list).unwrap().route(&Url::parse(url).unwrap()).ok()
    }

    #[test]
    fn hosts_are_matched_whole() {
        let list = "fal.media, *.fal.media , V2.example.com";
        for url in [
            "https://fal.media/a.png",
            "https://v3.fal.media/a",
            "https://a.b.fal.media/x?y",
            "https://V3.FAL.media/",
            "https://v2.example.com/",
            "https://v3.fal.media:443/",
        ] {
            assert_eq!(route(list, url), Some(Route::Public), "{url}");
        }
        for url in [
            "http://v3.fal.media/",
            "https://v3.fal.media:8443/",
            "https://u@v3.fal.media/",
            "https://u:p@v3.fal.media/",
            "https://evilfal.media/",
            "https://fal.media.evil.com/",
            "https://fal.media./",
            "https://example.com/",
            "https://.fal.media/",
            "ftp://v3.fal.media/",
            "data:image/png;base64,AAAA",
            "file:///etc/passwd",
        ] {
            assert_eq!(Url::parse(url).ok().and_then(|_| route(list, url)), None, "{url}");
        }
        assert_eq!(route("*.fal.media", "https://fal.media/"), None);
        assert_eq!(route("", "https://fal.media/"), None);
    }

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        // The list names them, to show that it is the address that is refused.
        let list = "127.0.0.1, 169.254.169.254, [::1], [::ffff:7f00:1], 1.1.1.1, 10.0.0.1";
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:0:0:1]",
            "169.254.169.254",
            "0xa9fea9fe",
            "10.0.0.1",
            "10.1",
        ] {
            let url = Url::parse(&format!("https://{host}/x")).unwrap();
            let failure = HostList::parse(list).unwrap().route(&url).unwrap_err();
            assert!(failure.message.contains("not a public one"), "{host}: {failure}");
        }
        assert_eq!(route(list, "https://1.1.1.1/x"), Some(Route::Public));
        assert_eq!(route(list, "https://8.8.8.8/x"), None);
    }

    #[test]
    fn a_listed_origin_is_reached_as_it_is() {
        let list = "*.fal.media, http://127.0.0.1:1234, https://localhost:8443";
        assert_eq!(route(list, "http://127.0.0.1:1234/a.png"), Some(Route::Listed));
        assert_eq!(route(list, "http://127.1:1234/a.png"), Some(Route::Listed));
        assert_eq!(route(list, "https://localhost:8443/a"), Some(Route::Listed));
        for url in [
            "http://127.0.0.1:1235/",
            "https://127.0.0.1:1234/",
            "http://127.0.0.1/",
            "http://127.0.0.2:1234/",
            "http://localhost:1234/",
            "http://x@127.0.0.1:1234/",
        ] {
            assert_eq!(route(list, url), None, "{url}");
        }
    }

    #[test]
    fn a_setting_that_is_no_list_is_refused() {
        for bad in [
            "*",
            "*.media",
            "*.*.media",
            "a.*.media",
            "fal.media/path",
            "fal.media:443",
            "http://x/path",
            "ftp://x",
            "http://u@x",
            "u@x",
            "a b",
            "fal.media.",
            "*.127.0.0.1",
        ] {
            assert!(HostList::parse(bad).is_err(), "{bad}");
        }
        let list = "fal.media, *.fal.media, http://127.0.0.1:1234";
        assert_eq!(HostList::parse(list).unwrap().to_string(), list);
    }

    #[test]
    fn a_refusal_does_not_show_the_url() {
        let url = Url::parse("https://evil.example/a.png?signature=secret").unwrap();
        let failure = HostList::parse("fal.media").unwrap().route(&url).unwrap_err();
        assert!(failure.message.contains("evil.example") && !failure.message.contains("secret"));
        assert_eq!(failure.name, ErrorName::OutputInvalid);
    }
}
