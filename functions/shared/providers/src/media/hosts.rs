//! The list of hosts that media may come from. A name on the list may be reached over https at a public address; an origin
//! (scheme, host and port) on the list may be reached as it is, which is how a provider on the same machine is. Where users
//! name the URLs there is no list, and the rest of the rules holds.

use std::fmt;

use fresco_pipeline::address::is_public;
use fresco_pipeline::error::{ErrorName, Failure};
use url::{Host, Origin, Url};

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
    /// Every host.
    Anywhere,
}

/// The way to reach a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Over https, at a public address.
    Public,
    /// As it is.
    Listed,
}

/// The reason why a URL is not fetched: a clause for a person, which shows nothing of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(super) enum UrlProblem {
    /// It cannot be read.
    #[error("it is not a URL")]
    NotUrl,
    /// It is http or of another scheme.
    #[error("its URL is not https")]
    NotHttps,
    /// It has a user or a password in it.
    #[error("its URL carries credentials")]
    Credentials,
    /// It has a port in it.
    #[error("its URL names a port")]
    Port,
    /// It is an address of a private network or of this machine, however it is spelled.
    #[error("its address is not a public one")]
    NotPublic,
    /// Its host is none of those that are listed.
    #[error("the host is not on the list")]
    NotListed,
}

impl HostList {
    /// Reads a setting: names, `*.` names and origins, between commas.
    pub fn parse(text: &str) -> Result<HostList, Failure> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(Entry::parse).collect::<Result<_, _>>().map(HostList)
    }

    /// Any host, over https at a public address: for the URLs that users give as inputs. No setting says this, so that the
    /// list of a provider's hosts cannot be opened by mistake.
    pub fn anywhere() -> HostList {
        HostList(vec![Entry::Anywhere])
    }

    /// The way to reach the URL, or the reason why it is not fetched.
    pub(super) fn route(&self, url: &Url) -> Result<Route, UrlProblem> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlProblem::Credentials);
        }
        if self.0.iter().any(|entry| matches!(entry, Entry::Origin(origin) if *origin == url.origin())) {
            return Ok(Route::Listed);
        }
        if url.scheme() != "https" {
            return Err(UrlProblem::NotHttps);
        }
        if url.port().is_some() {
            return Err(UrlProblem::Port);
        }
        // A literal address never reaches the resolver, so it is checked here.
        let is_private = match url.host() {
            Some(Host::Ipv4(address)) => !is_public(address.into()),
            Some(Host::Ipv6(address)) => !is_public(address.into()),
            Some(Host::Domain(_)) => false,
            None => true,
        };
        if is_private {
            return Err(UrlProblem::NotPublic);
        }
        let name = url.host_str().unwrap_or_default();
        if self.0.iter().any(|entry| entry.is_host(name)) { Ok(Route::Public) } else { Err(UrlProblem::NotListed) }
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
            Entry::Anywhere => true,
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
                Entry::Anywhere => write!(f, "{comma}anywhere")?,
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
            assert_eq!(HostList::parse(list).unwrap().route(&url), Err(UrlProblem::NotPublic), "{host}");
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
    fn a_user_may_name_any_public_host() {
        let route = |url| HostList::anywhere().route(&Url::parse(url).unwrap());
        for url in [
            "https://example.com/a.png?sig=x#y",
            "https://EXAMPLE.com:443/a.png",
            "https://bücher.example/a.png",
            "https://1.1.1.1/a.png",
            "https://[2606:4700:4700::1111]/a.png",
            "https://localhost.example/a.png",
        ] {
            assert_eq!(route(url), Ok(Route::Public), "{url}");
        }
        for (url, problem) in [
            ("http://example.com/a.png", UrlProblem::NotHttps),
            ("ftp://example.com/a.png", UrlProblem::NotHttps),
            ("file:///etc/passwd", UrlProblem::NotHttps),
            ("data:image/png;base64,AAAA", UrlProblem::NotHttps),
            ("s3://bucket/a.png", UrlProblem::NotHttps),
            ("https://user@example.com/a.png", UrlProblem::Credentials),
            ("https://:word@example.com/a.png", UrlProblem::Credentials),
            ("https://example.com:8443/a.png", UrlProblem::Port),
            ("https://example.com:80/a.png", UrlProblem::Port),
            ("https://127.1/a.png", UrlProblem::NotPublic),
            ("https://2130706433/a.png", UrlProblem::NotPublic),
            ("https://0xa9fea9fe/latest/", UrlProblem::NotPublic),
            ("https://0/a.png", UrlProblem::NotPublic),
            ("https://[::ffff:10.0.0.1]/a.png", UrlProblem::NotPublic),
            ("https://[fd00:ec2::254]/a.png", UrlProblem::NotPublic),
            ("https://１９２.168.0.1/a.png", UrlProblem::NotPublic),
        ] {
            assert_eq!(route(url), Err(problem), "{url}");
        }
        assert_eq!(HostList::anywhere().to_string(), "anywhere");
        // As a setting it is the name of a host.
        assert_ne!(HostList::parse("anywhere").unwrap(), HostList::anywhere());
    }
}
