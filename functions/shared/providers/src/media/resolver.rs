//! The resolver of a client that dials public addresses only. The check sits here, so that the address that is checked is the
//! one that is dialled: a name cannot show a public address first and a private one afterwards.

use std::net::SocketAddr;

use fresco_pipeline::address::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The name has no public address.
#[derive(Debug, thiserror::Error)]
#[error("the host has no public address")]
pub(super) struct NotPublic;

/// A resolver that gives only public addresses.
pub(super) struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_resolver_gives_no_address_of_this_machine() {
        let error = PublicResolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(error.is::<NotPublic>());
    }
}
