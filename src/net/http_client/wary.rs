//! Names' addresses, with an eye on where redirects lead.
//!
//! A torrent's author names web servers, and a web server names others by redirects. Either could use us to reach what only we can: a service
//! of this host, or of its network. So a redirect never leads nearer, from a public server to a private address or from another host to this
//! one; and what the operator has not named himself is not asked here with a query, for a GET with a query can do something.

use std::sync::{Arc, Mutex, PoisonError};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::base::endpoint::Scope;

/// Resolves as usual, and leaves out addresses that must not be asked.
#[derive(Debug)]
pub(super) struct Wary {
    inner: DefaultResolver,
    /// The operator has named the first server himself.
    trusted: bool,
    /// The scope of the nearest address of the server that sends us on.
    from: Mutex<Option<Scope>>,
}

impl Wary {
    /// Nothing has been asked yet.
    pub(super) fn new(trusted: bool) -> Self {
        Self {
            inner: DefaultResolver::default(),
            trusted,
            from: Mutex::default(),
        }
    }

    /// What is asked next is asked by ourselves: no server has sent us there.
    pub(super) fn begin(&self) {
        *self.from.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Whether a server at `from` may send us to `to`.
fn may_lead(from: Option<Scope>, to: Scope) -> bool {
    from.is_none_or(|from| to >= from)
}

/// Whether a URL may be asked at `to`.
fn may_ask(trusted: bool, query: bool, to: Scope) -> bool {
    trusted || !query || to > Scope::Host
}

/// The resolver of one client, which its owner keeps, too.
#[derive(Clone, Debug)]
pub(super) struct Shared(pub(super) Arc<Wary>);

impl Resolver for Shared {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.0.inner.resolve(uri, config, timeout)?;
        let query = uri.query().is_some();
        let mut from = self.0.from.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut kept, mut nearest) = (self.empty(), None);
        for &addr in &found {
            let near = Scope::of(addr.ip());
            if may_lead(*from, near) && may_ask(self.0.trusted, query, near) {
                kept.push(addr);
                nearest = Some(nearest.map_or(near, |nearest: Scope| nearest.min(near)));
            }
        }
        if nearest.is_none() {
            let what = "a stranger's URL or redirect does not lead to this host or its network";
            return Err(Error::BadUri(what.into()));
        }
        *from = nearest;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Scope::{Host, Site, World};

    #[test]
    fn a_redirect_never_leads_nearer() {
        let all = [Host, Site, World];
        for (i, from) in all.into_iter().enumerate() {
            for (j, to) in all.into_iter().enumerate() {
                assert_eq!(may_lead(Some(from), to), j >= i, "{from:?} {to:?}");
            }
            assert!(may_lead(None, from));
        }
    }

    #[test]
    fn strangers_ask_nothing_of_this_host_that_could_do_something() {
        let asked = |trusted, query| [Host, Site, World].map(|to| may_ask(trusted, query, to));
        assert_eq!(asked(false, true), [false, true, true]);
        assert_eq!(asked(false, false), [true; 3]);
        assert_eq!(asked(true, true), [true; 3]);
    }
}
