//! How many connections there may be from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::endpoint::host;

/// Counts the connections of each [`host`].
#[derive(Debug)]
pub(super) struct Limits {
    most: u32,
    counts: Mutex<HashMap<IpAddr, u32>>,
}

/// The right to a connection; given back when dropped. Without an address it is not counted.
#[derive(Debug)]
pub(super) struct Permit(Option<(Arc<Limits>, IpAddr)>);

impl Limits {
    pub(super) fn new(most: u32) -> Arc<Self> {
        Arc::new(Self {
            most,
            counts: Mutex::default(),
        })
    }

    /// One more connection from `ip`, if there may be one.
    pub(super) fn acquire(self: &Arc<Self>, ip: IpAddr) -> Option<Permit> {
        let who = host(ip);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(who).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Permit(Some((Arc::clone(self), who))))
    }
}

impl Permit {
    /// For whom there is no limit.
    pub(super) const fn exempt() -> Self {
        Self(None)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some((limits, who)) = self.0.take() else {
            return;
        };
        let mut counts = limits.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&who) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let limits = Limits::new(2);
        let (a, b) = ([1, 2, 3, 4].into(), [1, 2, 3, 5].into());
        let first = limits.acquire(a);
        let second = limits.acquire(a);
        assert!(first.is_some() && second.is_some() && limits.acquire(a).is_none());
        assert!(limits.acquire(b).is_some());
        drop(first);
        assert!(limits.acquire(a).is_some());
        drop(second);
        assert!(limits.counts.lock().unwrap().is_empty());
    }

    #[test]
    fn a_host_with_many_ipv6_addresses_has_one_share() {
        let limits = Limits::new(1);
        let held = limits.acquire("2001:db8:1:2::3".parse().unwrap());
        assert!(held.is_some());
        assert!(
            limits
                .acquire("2001:db8:1:2:ffff::9".parse().unwrap())
                .is_none()
        );
        assert!(limits.acquire("2001:db8:1:3::3".parse().unwrap()).is_some());
    }
}
