//! What counts of what peers tell about themselves.
//!
//! Peers tell how much they have sent and received since they began (BEP 3), and may tell anything. A session is a (user, info-hash, peer id); what
//! counts is by how much its counters rise:
//!
//! - **Repeated, old or reordered announces add nothing**: a session counts only what lies above the highest counters that it ever told. So does a peer
//!   that begins anew (`started`, or counters that went backwards) without having said `stopped` under the same id: it is counted again once it is beyond
//!   where it was. After `stopped`, and with a new id, as every client takes when it starts, counting begins at what the first announce says.
//! - **Jumps count only as far as [`Rule::max_speed`](super::accounts::Rule) reaches** in the time since the announce before, and what was not used of the
//!   ten seconds before that, for announces may be held up on their way; the rest is dropped.
//! - **Upload counts only against download that other users of the same swarm told of.** Of a swarm, never more is credited in all than was told as
//!   downloaded; of a user, never more than the others told. What a peer claims ahead of that waits, and is credited in turn when the others announce.
//!   Upload to somebody who never tells of it is lost, and users who lie for one another pay with their own download.
//! - What a peer tells as downloaded is believed: who tells less than the truth takes the upload from those who served it.
//!
//! A session ends with `stopped`, or when it is silent for as long as a peer may be. A swarm without sessions is forgotten, with what waits in it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::accounts::{Accounts, UserId, Visitor};
use crate::base::id::{InfoHash, PeerId};
use crate::base::time::Time;
use crate::proto::tracker::{AnnounceRequest, Event, Refusal, Retry};
use crate::proto::tracker_state::{MemberRow, PoolRow, SessionRow};

/// Users who are looked at to credit what they have claimed, when download is told.
const SETTLED: usize = 8;

/// Users without peers that are remembered in a swarm, besides as many as have some.
const ABSENT: usize = 16;

/// How much of unused time counts for later.
const CARRIED: Duration = Duration::from_secs(10);

/// Minutes after which a peer may try again that found no room.
const FULL_RETRY: u32 = 5;

/// A peer of a user in a swarm.
#[derive(Clone, Copy, Debug)]
struct Session {
    /// The highest counters that it told.
    uploaded: u64,
    downloaded: u64,
    /// Bytes that it could have moved before its last announce, but did not.
    spare: u64,
    /// When it announced last.
    seen: Time,
}

/// A user in a swarm.
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    /// What its peers have told as downloaded.
    downloaded: u64,
    /// What was credited to it as uploaded.
    credited: u64,
    /// What it has claimed as uploaded, and waits for somebody to tell as downloaded.
    pending: u64,
    peers: u32,
    /// Whether it stands in the queue.
    queued: bool,
}

/// A swarm.
#[derive(Debug, Default)]
struct Pool {
    /// Sums over the members.
    downloaded: u64,
    credited: u64,
    members: HashMap<UserId, Member>,
    sessions: HashMap<(UserId, PeerId), Session>,
    /// Members whose claims wait, each once.
    queue: VecDeque<UserId>,
}

/// The sessions of some swarms: all those of a shard.
#[derive(Debug)]
pub struct Book {
    pools: HashMap<InfoHash, Pool>,
    sessions: usize,
    most: usize,
    /// Sessions that another run knew are not forgotten before this: they were silent because nobody was there to hear them.
    spared_until: Time,
}

impl Book {
    /// An empty one for at most `most` sessions.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            pools: HashMap::new(),
            sessions: 0,
            most,
            spared_until: Time::ZERO,
        }
    }

    /// Notes an announce of the visitor, and what follows from it for the accounts.
    ///
    /// # Errors
    /// If a limit is reached, the user is short, or there is no room. What the announce tells of an earlier session counts all the same.
    pub fn note(
        &mut self,
        now: Time,
        visitor: Visitor,
        request: &AnnounceRequest,
        accounts: &mut Accounts,
    ) -> Result<(), Refusal> {
        let hash = request.info_hash;
        let allowed = |accounts: &Accounts| accounts.check(visitor, request.event, request.left);
        let of_peer = (visitor.user, request.peer_id);
        let pool = self.pools.get_mut(&hash);
        let Some(pool) = pool.filter(|pool| pool.sessions.contains_key(&of_peer)) else {
            if request.event == Event::Stopped {
                return Ok(());
            }
            allowed(accounts)?;
            return self.open(now, visitor, request, accounts);
        };
        pool.report(now, of_peer, request, accounts);
        if request.event == Event::Stopped {
            pool.close(of_peer, accounts);
            self.sessions -= 1;
            if pool.sessions.is_empty() {
                self.pools.remove(&hash);
            }
        }
        allowed(accounts)
    }

    fn open(
        &mut self,
        now: Time,
        visitor: Visitor,
        request: &AnnounceRequest,
        accounts: &mut Accounts,
    ) -> Result<(), Refusal> {
        if self.sessions >= self.most {
            return Err(Refusal {
                reason: "this tracker is full".into(),
                retry: Retry::Minutes(FULL_RETRY),
            });
        }
        let pool = self.pools.get(&request.info_hash);
        let peers = pool.and_then(|pool| pool.members.get(&visitor.user));
        accounts.enter(visitor, peers.is_none_or(|member| member.peers == 0))?;
        let session = Session {
            uploaded: request.uploaded,
            downloaded: request.downloaded,
            spare: 0,
            seen: now,
        };
        let pool = self.pools.entry(request.info_hash).or_default();
        pool.open((visitor.user, request.peer_id), session);
        self.sessions += 1;
        Ok(())
    }

    /// Forgets sessions that were silent for longer than `patience`.
    pub fn cleanup(&mut self, now: Time, patience: Duration, accounts: &mut Accounts) {
        if now < self.spared_until {
            return;
        }
        let since = now - patience;
        let sessions = &mut self.sessions;
        self.pools.retain(|_, pool| {
            let silent = pool.sessions.iter().filter(|(_, s)| s.seen < since);
            let silent: Vec<_> = silent.map(|(of_peer, _)| *of_peer).collect();
            *sessions -= silent.len();
            for of_peer in silent {
                pool.close(of_peer, accounts);
            }
            !pool.sessions.is_empty()
        });
    }

    /// How many sessions there are.
    #[must_use]
    pub const fn sessions(&self) -> usize {
        self.sessions
    }

    /// What another run has to know.
    #[must_use]
    pub fn rows(&self, now: Time) -> Vec<PoolRow> {
        let pools = self.pools.iter();
        pools.map(|(hash, pool)| pool.row(*hash, now)).collect()
    }

    /// Takes in what another run knew, `downtime` ago. `users` are its users in the order that it numbered them. What finds no room is dropped; no
    /// session is forgotten within the next `patience`.
    pub fn restore(
        &mut self,
        now: Time,
        downtime: Duration,
        patience: Duration,
        rows: Vec<PoolRow>,
        users: &[UserId],
        accounts: &mut Accounts,
    ) {
        self.spared_until = now + patience;
        for row in rows {
            let mut pool = Pool {
                downloaded: row.downloaded,
                credited: row.credited,
                ..Pool::default()
            };
            let user = |index: u32| users.get(index as usize).copied();
            for member in row.members {
                if let Some(user) = user(member.user) {
                    pool.readmit(user, &member);
                }
            }
            for session in row.sessions {
                let Some(user) = user(session.user).filter(|_| self.sessions < self.most) else {
                    continue;
                };
                let peers = pool.members.get(&user).map_or(0, |member| member.peers);
                accounts.reenter(user, peers == 0);
                let seen = now - downtime.saturating_add(Duration::from_micros(session.age));
                let session_then = Session {
                    uploaded: session.uploaded,
                    downloaded: session.downloaded,
                    spare: 0,
                    seen,
                };
                pool.open((user, session.peer_id), session_then);
                self.sessions += 1;
            }
            if !pool.sessions.is_empty() {
                self.pools.insert(row.hash, pool);
            }
        }
    }
}

impl Pool {
    fn open(&mut self, of_peer: (UserId, PeerId), session: Session) {
        self.members.entry(of_peer.0).or_default().peers += 1;
        self.sessions.insert(of_peer, session);
        self.tidy();
    }

    fn close(&mut self, of_peer: (UserId, PeerId), accounts: &mut Accounts) {
        if self.sessions.remove(&of_peer).is_none() {
            return;
        }
        if let Some(member) = self.members.get_mut(&of_peer.0) {
            member.peers -= 1;
            accounts.leave(of_peer.0, member.peers == 0);
        }
    }

    /// Counts by how much the counters of a session have risen.
    fn report(
        &mut self,
        now: Time,
        of_peer: (UserId, PeerId),
        request: &AnnounceRequest,
        accounts: &mut Accounts,
    ) {
        let Some(session) = self.sessions.get_mut(&of_peer) else {
            return;
        };
        let speed = accounts.rule().max_speed;
        let most = reach(speed, now.since(session.seen)).saturating_add(session.spare);
        let uploaded = request.uploaded.saturating_sub(session.uploaded).min(most);
        let downloaded = request.downloaded.saturating_sub(session.downloaded);
        let downloaded = downloaded.min(most);
        *session = Session {
            uploaded: session.uploaded.max(request.uploaded),
            downloaded: session.downloaded.max(request.downloaded),
            spare: (most - uploaded.max(downloaded)).min(reach(speed, CARRIED)),
            seen: session.seen.max(now),
        };
        let user = of_peer.0;
        self.downloaded = self.downloaded.saturating_add(downloaded);
        let member = self.members.entry(user).or_default();
        member.downloaded = member.downloaded.saturating_add(downloaded);
        member.pending = member.pending.saturating_add(uploaded);
        accounts.count(user, 0, downloaded);
        self.settle(user, accounts);
        if downloaded > 0 {
            self.settle_others(accounts);
        }
    }

    /// Credits a member with what it has claimed, as far as others have told of it; the rest waits.
    fn settle(&mut self, user: UserId, accounts: &mut Accounts) {
        let Some(member) = self.members.get_mut(&user) else {
            return;
        };
        // What all have told but nobody was credited with, and what others have told but this one was not credited with.
        let open = self.downloaded.saturating_sub(self.credited);
        let of_others = self.downloaded.saturating_sub(member.downloaded);
        let credit = member
            .pending
            .min(open)
            .min(of_others.saturating_sub(member.credited));
        member.pending -= credit;
        member.credited += credit;
        self.credited += credit;
        accounts.count(user, credit, 0);
        if member.pending > 0 && !member.queued {
            member.queued = true;
            self.queue.push_back(user);
        }
    }

    /// Lets those who wait have what has just been told, a few in turn.
    fn settle_others(&mut self, accounts: &mut Accounts) {
        for _ in 0..self.queue.len().min(SETTLED) {
            if self.downloaded == self.credited {
                return;
            }
            let Some(user) = self.queue.pop_front() else {
                return;
            };
            if let Some(member) = self.members.get_mut(&user) {
                member.queued = false;
                self.settle(user, accounts);
            }
        }
    }

    /// Bounds what is remembered of users without peers. Where there are too many of them, all sums begin anew: what waits to be credited goes on
    /// waiting, but has to be told as downloaded from now on.
    fn tidy(&mut self) {
        if self.members.len() <= 2 * self.sessions.len() + ABSENT {
            return;
        }
        self.members.retain(|_, member| member.peers > 0);
        for member in self.members.values_mut() {
            (member.downloaded, member.credited) = (0, 0);
        }
        (self.downloaded, self.credited) = (0, 0);
        self.queue.retain(|user| self.members.contains_key(user));
    }

    fn readmit(&mut self, user: UserId, row: &MemberRow) {
        let member = Member {
            downloaded: row.downloaded,
            credited: row.credited,
            pending: row.pending,
            peers: 0,
            queued: row.pending > 0,
        };
        if self.members.insert(user, member).is_none() && row.pending > 0 {
            self.queue.push_back(user);
        }
    }

    fn row(&self, hash: InfoHash, now: Time) -> PoolRow {
        let member = |(user, member): (&UserId, &Member)| MemberRow {
            user: user.index(),
            downloaded: member.downloaded,
            credited: member.credited,
            pending: member.pending,
        };
        let session = |((user, peer_id), session): (&(UserId, PeerId), &Session)| SessionRow {
            user: user.index(),
            peer_id: *peer_id,
            uploaded: session.uploaded,
            downloaded: session.downloaded,
            age: u64::try_from(now.since(session.seen).as_micros()).unwrap_or(u64::MAX),
        };
        PoolRow {
            hash,
            downloaded: self.downloaded,
            credited: self.credited,
            members: self.members.iter().map(member).collect(),
            sessions: self.sessions.iter().map(session).collect(),
        }
    }
}

/// Bytes that can be moved at `speed` bytes a second.
fn reach(speed: u64, time: Duration) -> u64 {
    let bytes = u128::from(speed) * time.as_micros() / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
