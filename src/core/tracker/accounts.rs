//! The users of a private tracker, what they have moved, and what they may (R55).
//!
//! A user is a name, whatever keys it has; its account outlives its keys. What is counted is decided elsewhere, by a [`Book`](super::Book) for each
//! shard of the swarms; here are the sums.
//!
//! A user is short where it has downloaded more than [`Rule::grace`] bytes and uploaded ÷ downloaded falls below [`Rule::min_ratio`]. It may seed
//! then, which is how it recovers, but not leech.

use std::collections::HashMap;
use std::fmt;

use crate::proto::keys::{Limits, Ratio};
use crate::proto::tracker::{Event, Refusal, Retry};

/// A user, as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(u32);

impl UserId {
    /// Where it stands in [`Accounts::rows`].
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

/// Somebody at the door: whose key it was, and what that allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// The user.
    pub user: UserId,
    /// Of the key.
    pub limits: Limits,
}

/// What is asked of every user.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Uploaded ÷ downloaded, unless the key says another.
    pub min_ratio: Ratio,
    /// Bytes that may be downloaded before the ratio counts.
    pub grace: u64,
    /// Bytes a second that one peer can move either way; what is beyond is not believed.
    pub max_speed: u64,
    /// Peers that a user may have at once, unless the key says another number.
    pub max_peers: u32,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            min_ratio: Ratio::default(),
            grace: 10 << 30,
            max_speed: 2 << 30,
            max_peers: 2_000,
        }
    }
}

/// What a user has moved, and holds open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub user: String,
    /// Bytes that count as sent.
    pub uploaded: u64,
    /// Bytes received.
    pub downloaded: u64,
    /// Torrents with peers of its.
    pub torrents: u32,
    /// Its peers.
    pub peers: u32,
}

/// Minutes after which a user whose limit is reached may try again.
const LIMIT_RETRY: u32 = 5;

/// Minutes after which a user who is short may try again.
const SHORT_RETRY: u32 = 15;

/// All of them.
#[derive(Debug)]
pub struct Accounts {
    rule: Rule,
    all: Vec<Account>,
    by_name: HashMap<String, UserId>,
}

impl Accounts {
    /// None yet.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            all: Vec::new(),
            by_name: HashMap::new(),
        }
    }

    /// What is asked of everybody.
    #[must_use]
    pub const fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The user of this name, new with an empty account if nobody knows it.
    pub fn user(&mut self, name: &str) -> UserId {
        if let Some(&known) = self.by_name.get(name) {
            return known;
        }
        let id = UserId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.all.push(Account {
            user: name.to_owned(),
            ..Account::default()
        });
        self.by_name.insert(name.to_owned(), id);
        id
    }

    /// The account of a user.
    #[must_use]
    pub fn get(&self, user: UserId) -> Option<&Account> {
        self.all.get(user.0 as usize)
    }

    /// All accounts, in the order of their users' ids.
    #[must_use]
    pub fn rows(&self) -> &[Account] {
        &self.all
    }

    /// Adds to an account what another run has counted.
    pub fn restore(&mut self, name: &str, uploaded: u64, downloaded: u64) -> UserId {
        let user = self.user(name);
        self.count(user, uploaded, downloaded);
        user
    }

    /// Whether the visitor may go on as what the announce makes it: a leecher, unless nothing is left or it leaves.
    ///
    /// # Errors
    /// The refusal that a user gets who is short.
    pub fn check(&self, visitor: Visitor, event: Event, left: Option<u64>) -> Result<(), Refusal> {
        if event == Event::Stopped || left == Some(0) {
            return Ok(());
        }
        let ratio = visitor.limits.min_ratio.unwrap_or(self.rule.min_ratio);
        let account = self.get(visitor.user);
        let short = account
            .filter(|a| a.downloaded > self.rule.grace && ratio.exceeds(a.uploaded, a.downloaded));
        match short {
            None => Ok(()),
            Some(account) => Err(Refusal {
                reason: format!(
                    "your ratio is too low: {} uploaded and {} downloaded, at least {ratio} times as much is asked for; seed what you have complete, then try again",
                    Bytes(account.uploaded),
                    Bytes(account.downloaded)
                ),
                retry: Retry::Minutes(SHORT_RETRY),
            }),
        }
    }

    /// Notes one more peer of the visitor, perhaps in a torrent where it had none.
    pub(super) fn enter(&mut self, visitor: Visitor, new_torrent: bool) -> Result<(), Refusal> {
        let most_peers = visitor.limits.max_peers.unwrap_or(self.rule.max_peers);
        let most_torrents = visitor.limits.max_torrents.unwrap_or(u32::MAX);
        let Some(account) = self.all.get_mut(visitor.user.0 as usize) else {
            return Ok(());
        };
        let limit = |most, what| Refusal {
            reason: format!("your key allows {most} {what} at once, and has them"),
            retry: Retry::Minutes(LIMIT_RETRY),
        };
        if new_torrent && account.torrents >= most_torrents {
            return Err(limit(most_torrents, "torrents"));
        }
        if account.peers >= most_peers {
            return Err(limit(most_peers, "peers"));
        }
        account.peers += 1;
        account.torrents += u32::from(new_torrent);
        Ok(())
    }

    /// Notes a peer that another run knew, whatever limits there are now.
    pub(super) fn reenter(&mut self, user: UserId, new_torrent: bool) {
        if let Some(account) = self.all.get_mut(user.0 as usize) {
            account.peers = account.peers.saturating_add(1);
            account.torrents = account.torrents.saturating_add(new_torrent.into());
        }
    }

    /// Notes one peer less, perhaps the last in its torrent.
    pub(super) fn leave(&mut self, user: UserId, last_in_torrent: bool) {
        if let Some(account) = self.all.get_mut(user.0 as usize) {
            account.peers = account.peers.saturating_sub(1);
            account.torrents = account.torrents.saturating_sub(last_in_torrent.into());
        }
    }

    /// Adds to an account.
    pub(super) fn count(&mut self, user: UserId, uploaded: u64, downloaded: u64) {
        if let Some(account) = self.all.get_mut(user.0 as usize) {
            account.uploaded = account.uploaded.saturating_add(uploaded);
            account.downloaded = account.downloaded.saturating_add(downloaded);
        }
    }
}

/// A number of bytes as people read it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")];
        match units.iter().find(|(size, _)| self.0 >= *size) {
            Some((size, unit)) => {
                let tenths = u128::from(self.0) * 10 / u128::from(*size);
                write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
            }
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(ratio: &str, grace: u64) -> Accounts {
        Accounts::new(Rule {
            min_ratio: ratio.parse().unwrap(),
            grace,
            ..Rule::default()
        })
    }

    fn visitor(user: UserId) -> Visitor {
        Visitor {
            user,
            limits: Limits::default(),
        }
    }

    #[test]
    fn a_user_who_is_short_may_seed_and_leave_but_not_leech() {
        let mut all = accounts("0.5", 1000);
        let mut alice = visitor(all.user("alice"));
        all.count(alice.user, 0, 1000);
        assert!(
            all.check(alice, Event::Started, Some(9)).is_ok(),
            "within the grace"
        );
        all.count(alice.user, 500, 1);
        let refusal = all.check(alice, Event::None, Some(9)).unwrap_err();
        assert_eq!(refusal.retry, Retry::Minutes(15));
        for told in ["500 bytes uploaded", "1001 bytes downloaded", "0.500"] {
            assert!(refusal.reason.contains(told), "{refusal}");
        }
        assert!(
            all.check(alice, Event::None, None).is_err(),
            "who does not know what is left leeches"
        );
        assert!(all.check(alice, Event::None, Some(0)).is_ok());
        assert!(all.check(alice, Event::Stopped, Some(9)).is_ok());
        alice.limits.min_ratio = Some("0.1".parse().unwrap());
        assert!(
            all.check(alice, Event::None, Some(9)).is_ok(),
            "the key's own ratio counts"
        );
        alice.limits.min_ratio = None;
        all.count(alice.user, 1, 0);
        assert!(all.check(alice, Event::None, Some(9)).is_ok());
    }

    #[test]
    fn limits_count_torrents_and_peers_over_all_keys_of_a_user() {
        let mut all = accounts("0", 0);
        let mut bob = visitor(all.user("bob"));
        bob.limits.max_peers = Some(3);
        bob.limits.max_torrents = Some(2);
        assert!(all.enter(bob, true).is_ok() && all.enter(bob, true).is_ok());
        let refusal = all.enter(bob, true).unwrap_err();
        assert_eq!(
            refusal.reason,
            "your key allows 2 torrents at once, and has them"
        );
        assert!(all.enter(bob, false).is_ok());
        let refusal = all.enter(bob, false).unwrap_err();
        assert_eq!(
            refusal.reason,
            "your key allows 3 peers at once, and has them"
        );
        all.leave(bob.user, true);
        assert!(all.enter(bob, true).is_ok());
        assert_eq!(all.user("bob"), bob.user);
    }

    #[test]
    fn sums_saturate_and_are_told_in_units_that_people_read() {
        let mut all = accounts("0", 0);
        let user = all.restore("x", u64::MAX, 1 << 40);
        all.count(user, 1, 0);
        let account = all.get(user).unwrap();
        assert_eq!((account.uploaded, account.downloaded), (u64::MAX, 1 << 40));
        assert_eq!(Bytes(3 << 29).to_string(), "1.5 GiB");
        assert_eq!(Bytes(u64::MAX).to_string(), "16777215.9 TiB");
        assert_eq!(Bytes(1023).to_string(), "1023 bytes");
    }
}
