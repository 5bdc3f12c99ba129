//! The peers of one info-hash.
//!
//! IPv4 and IPv6 records stand apart, in a [`Pool`] each. A peer that announces itself over both has a record in each; they know of each other by a
//! flag, and it counts as one peer.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::commons::Commons;
use super::pace::Pace;
use super::policy::Policy;
use super::pool::{Pool, STAGES};
use super::record::{Family, Left, Record};
use super::table::Keyed;
use super::zones::{Zone, Zones};
use crate::base::id::{InfoHash, PeerId};
use crate::proto::tracker::SwarmStats;

/// What an announce says that matters to the swarm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) id: PeerId,
    /// The address at which others should reach the peer.
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    pub(super) left: Option<u64>,
    /// The announce says that the download has just been completed.
    pub(super) completed: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Swarm {
    hash: InfoHash,
    v4: Pool<[u8; 4]>,
    v6: Pool<[u8; 16]>,
    /// Peers with two records, which are counted in both pools: seeders and leechers.
    dual: [u32; 2],
    completed: u32,
    /// When the swarm began.
    born: u32,
    /// No record is older than this.
    oldest: u32,
    /// When silent peers were last looked for.
    swept: u32,
    pace: Pace,
    size: Size,
}

/// How many bytes the payload has.
#[derive(Clone, Copy, Debug)]
enum Size {
    Known(u64),
    /// The largest `left` that was ever said: as good a guess as a tracker has.
    Guessed(u64),
}

impl Size {
    const fn bytes(self) -> u64 {
        match self {
            Self::Known(bytes) | Self::Guessed(bytes) => bytes,
        }
    }
}

impl Keyed for Swarm {
    fn key(&self) -> &[u8; 20] {
        &self.hash.0
    }
}

/// A swarm with so few records is swept whenever it is touched.
const FEW: usize = 64;

/// A swarm with more records is not looked through to see whether they have one source.
const FEW_OF_A_SOURCE: usize = 16;

impl Swarm {
    /// Bytes of heap that the first record may cost.
    pub(super) const FIRST: usize = 256;

    pub(super) fn new(
        hash: InfoHash,
        completed: u32,
        secret: u64,
        policy: Policy,
        now: u32,
    ) -> Self {
        Self {
            hash,
            v4: Pool::new(secret, policy),
            v6: Pool::new(secret, policy),
            dual: [0; 2],
            completed,
            born: now,
            oldest: u32::MAX,
            swept: now,
            pace: Pace::default(),
            size: Size::Guessed(0),
        }
    }

    pub(super) const fn hash(&self) -> InfoHash {
        self.hash
    }

    pub(super) const fn v4(&self) -> &Pool<[u8; 4]> {
        &self.v4
    }

    pub(super) const fn v6(&self) -> &Pool<[u8; 16]> {
        &self.v6
    }

    pub(super) const fn v4_mut(&mut self) -> &mut Pool<[u8; 4]> {
        &mut self.v4
    }

    pub(super) const fn v6_mut(&mut self) -> &mut Pool<[u8; 16]> {
        &mut self.v6
    }

    /// Seconds since the swarm began.
    pub(super) const fn age(&self, now: u32) -> u32 {
        now.saturating_sub(self.born)
    }

    /// When the swarm began, in seconds since the origin of time.
    pub(super) const fn born(&self) -> u32 {
        self.born
    }

    /// Bytes of the payload, as far as they are known or guessed.
    pub(super) const fn size(&self) -> u64 {
        self.size.bytes()
    }

    /// The payload has at least so many bytes, as another run was told.
    pub(super) fn expect_size(&mut self, bytes: u64) {
        if let Size::Guessed(size) = &mut self.size {
            *size = (*size).max(bytes);
        }
    }

    /// So many downloads were completed, as another run has counted them.
    pub(super) const fn set_completed(&mut self, completed: u32) {
        self.completed = completed;
    }

    /// The payload has so many bytes.
    pub(super) const fn set_size(&mut self, bytes: u64) {
        self.size = Size::Known(bytes);
    }

    /// Number of records.
    pub(super) const fn records(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        self.v4.heap() + self.v6.heap()
    }

    /// Bytes of heap that a record of `ip` may cost.
    pub(super) fn growth(&self, ip: IpAddr) -> usize {
        match ip {
            IpAddr::V4(_) => self.v4.growth(),
            IpAddr::V6(_) => self.v6.growth(),
        }
    }

    /// Counts of peers, one with two records once.
    pub(super) fn stats(&self) -> SwarmStats {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let seeders = narrow(self.v4.seeders() + self.v6.seeders());
        let [dual_seeders, dual_leechers] = self.dual;
        SwarmStats {
            complete: seeders - dual_seeders,
            downloaded: self.completed,
            incomplete: narrow(self.records()) - seeders - dual_leechers,
        }
    }

    /// Whether the peer has a record of the family of `ip`.
    pub(super) fn knows(&self, id: PeerId, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(_) => self.v4.find(id).is_some(),
            IpAddr::V6(_) => self.v6.find(id).is_some(),
        }
    }

    /// Notes an announce that is not `stopped`.
    pub(super) fn put(&mut self, report: Report, zones: &Zones, commons: &Commons, now: u32) {
        let left = Left::new(report.left);
        if let Size::Guessed(size) = &mut self.size {
            *size = (*size).max(report.left.unwrap_or(0));
        }
        self.oldest = self.oldest.min(now);
        let (size, leechers) = (self.size.bytes(), self.stats().incomplete);
        let (zone, completes) = (zones.of(report.ip), report.completed && left.is_nothing());
        let Self { v4, v6, .. } = self;
        let entered = match report.ip {
            IpAddr::V4(ip) => {
                let record = Record::new(report.id, ip.octets(), report.port, left, now);
                enter(v4, v6, record, size, zone, completes)
            }
            IpAddr::V6(ip) => {
                let record = Record::new(report.id, ip.octets(), report.port, left, now);
                enter(v6, v4, record, size, zone, completes)
            }
        };
        self.recount(entered.was_dual, entered.dual.then_some(left.is_nothing()));
        if entered.completes {
            self.completed = self.completed.saturating_add(1);
        }
        if entered.before.map(|before| before.addr.ip()) != Some(report.ip) {
            commons.join(report.ip);
        }
        if let Some(before) = entered.before {
            if before.addr.ip() != report.ip {
                commons.leave(before.addr.ip());
            }
            // That of a peer with two records has been noted at the first one.
            if !entered.dual || report.ip.is_ipv4() {
                let PeerRecord {
                    left: was, seen, ..
                } = before;
                self.pace.note(was, seen, left, now, leechers);
            }
        }
    }

    /// Whether the peer is a seeder, if it has two records.
    fn dual_of(&self, id: PeerId) -> Option<bool> {
        if self.dual == [0; 2] {
            return None;
        }
        let seeder = |r: &Record<_>| r.dual().then(|| r.left().is_nothing());
        self.v4.get(id).and_then(seeder)
    }

    fn recount(&mut self, before: Option<bool>, after: Option<bool>) {
        let [seeders, leechers] = &mut self.dual;
        match before {
            Some(true) => *seeders -= 1,
            Some(false) => *leechers -= 1,
            None => {}
        }
        match after {
            Some(true) => *seeders += 1,
            Some(false) => *leechers += 1,
            None => {}
        }
    }

    /// Forgets all peers.
    #[cold]
    pub(super) fn clear(&mut self, commons: &Commons) {
        self.v4.records().for_each(|r| commons.leave(r.ip().ip()));
        self.v6.records().for_each(|r| commons.leave(r.ip().ip()));
        self.v4 = Pool::new(0, Policy::RANDOM);
        self.v6 = Pool::new(0, Policy::RANDOM);
        self.dual = [0; 2];
    }

    /// Forgets a peer, at all of its addresses.
    pub(super) fn remove(&mut self, id: PeerId, commons: &Commons) {
        let was_dual = self.dual_of(id);
        if let Some(at) = self.v4.find(id) {
            commons.leave(self.v4.remove(at).ip().ip());
        }
        if let Some(at) = self.v6.find(id) {
            commons.leave(self.v6.remove(at).ip().ip());
        }
        self.recount(was_dual, None);
    }

    /// Forgets the peers that were silent for longer than `expiry` seconds, if it is time to look for them.
    ///
    /// A small swarm is looked through whenever there may be one; a large one so seldom that the cost does not show.
    pub(super) fn tidy(&mut self, now: u32, expiry: u32, commons: &Commons) {
        let since = now.saturating_sub(expiry);
        let due = self.records() <= FEW || now.saturating_sub(self.swept) > expiry / 64;
        if self.oldest < since && due {
            self.sweep(now, expiry, commons);
        }
    }

    /// Forgets the peers that were silent for longer than `expiry` seconds.
    #[cold]
    pub(super) fn sweep(&mut self, now: u32, expiry: u32, commons: &Commons) {
        let since = now.saturating_sub(expiry);
        let Self { v4, v6, dual, .. } = self;
        let mut halve = |seeder: bool| {
            let [seeders, leechers] = &mut *dual;
            *(if seeder { seeders } else { leechers }) -= 1;
        };
        let oldest4 = v4.sweep(since, |gone| {
            commons.leave(gone.ip().ip());
            if gone.dual() {
                halve(gone.left().is_nothing());
                v6.with(gone.id(), |twin| twin.set_dual(false));
            }
        });
        let oldest6 = v6.sweep(since, |gone| {
            commons.leave(gone.ip().ip());
            if gone.dual() {
                halve(gone.left().is_nothing());
                v4.with(gone.id(), |twin| twin.set_dual(false));
            }
        });
        self.oldest = oldest4.min(oldest6);
        self.swept = now;
    }

    /// The address of all records, as far as sources are told apart by it: `None` if there are several, or more than a few.
    pub(super) fn only_source(&self, commons: &Commons) -> Option<IpAddr> {
        if self.records() > FEW_OF_A_SOURCE {
            return None;
        }
        let v4 = self.v4.records().map(|r| r.ip().ip());
        let mut all = v4.chain(self.v6.records().map(|r| r.ip().ip()));
        let first = all.next()?;
        all.all(|ip| commons.is_same(ip, first)).then_some(first)
    }

    /// Bytes a second of a leecher, on average; `None` while nothing is known.
    pub(super) fn rate(&self) -> Option<u64> {
        self.pace.rate()
    }

    /// One record of every leecher.
    pub(super) fn leechers(&self) -> impl Iterator<Item = PeerRecord> {
        let v4 = self.v4.seeders()..self.v4.len();
        let v6 = self.v6.seeders()..self.v6.len();
        self.peers(v4, v6)
    }

    /// One record of every seeder.
    pub(super) fn seeders(&self) -> impl Iterator<Item = PeerRecord> {
        self.peers(0..self.v4.seeders(), 0..self.v6.seeders())
    }

    fn peers(&self, v4: Range<usize>, v6: Range<usize>) -> impl Iterator<Item = PeerRecord> {
        let v4 = v4.filter_map(|at| self.v4.record(at));
        let v6 = v6.filter_map(|at| self.v6.record(at));
        let twins = v6.filter(|record| !record.dual());
        v4.map(PeerRecord::of).chain(twins.map(PeerRecord::of))
    }
}

/// A peer, whatever the family of its address.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerRecord {
    pub(super) addr: SocketAddr,
    pub(super) left: Left,
    /// When it was last heard of, in seconds since the origin of time.
    pub(super) seen: u32,
}

impl PeerRecord {
    fn of<A: Family>(record: &Record<A>) -> Self {
        Self {
            addr: record.addr(),
            left: record.left(),
            seen: record.seen(),
        }
    }
}

/// What has changed when a peer announced itself.
struct Entered {
    /// Its record as it was.
    before: Option<PeerRecord>,
    /// Whether it was a seeder, if it had two records.
    was_dual: Option<bool>,
    /// It has two records.
    dual: bool,
    /// It completes its download, for the first time.
    completes: bool,
}

/// Puts a record into the pool of its family, and lets that of the same peer in the other pool, if there is one, change with it.
fn enter<A: Family, B: Family>(
    own: &mut Pool<A>,
    other: &mut Pool<B>,
    record: Record<A>,
    size: u64,
    zone: Option<Zone>,
    completes: bool,
) -> Entered {
    let (left, twin) = (record.left(), other.find(record.id()));
    let (at, before) = own.put(record, level(left, size, own.levels()), zone, record.seen());
    let twin = twin.map(|at| other.set_left(at, left, level(left, size, other.levels())));
    let counted = before.is_some_and(|old| old.completed())
        || twin
            .and_then(|at| other.record(at))
            .is_some_and(Record::completed);
    own.mark(at, counted || completes, twin.is_some());
    if let Some(at) = twin {
        other.mark(at, counted || completes, true);
    }
    let was_dual = before.filter(Record::dual);
    Entered {
        before: before.as_ref().map(PeerRecord::of),
        was_dual: was_dual.map(|old| old.left().is_nothing()),
        dual: twin.is_some(),
        completes: completes && !counted,
    }
}

/// How far somebody is who wants `left` of `size` bytes, in percent; a leecher never reaches 100.
pub(super) fn percent(left: Left, size: u64) -> u8 {
    if left.is_nothing() {
        return 100;
    }
    let left = u128::from(left.bytes().unwrap_or(size).min(size));
    let size = u128::from(size.max(1));
    u8::try_from(100 - (left * 100).div_ceil(size)).map_or(99, |n| n.min(99))
}

/// Seeders are of level 0, leechers of level 1 or, if there are more, of one of ten by what they want of `size`.
pub(super) fn level(left: Left, size: u64, levels: usize) -> usize {
    if left.is_nothing() {
        return 0;
    }
    if levels < STAGES {
        return 1;
    }
    let bytes = u128::from(left.bytes().unwrap_or(size).min(size));
    let stages = STAGES as u128;
    let stage = bytes * stages / u128::from(size.max(1));
    1 + usize::try_from(stage.min(stages - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::commons::Limits;
    use super::*;
    use std::collections::BTreeMap;

    const EXPIRY: u32 = 100;

    fn report(id: u8, v6: bool, left: u64, completed: bool) -> Report {
        Report {
            id: PeerId([id; 20]),
            ip: if v6 {
                [id; 16].into()
            } else {
                [10, 0, 0, id].into()
            },
            port: 1000 + u16::from(id),
            left: Some(left),
            completed,
        }
    }

    /// A peer as somebody would keep it who has memory and time.
    #[derive(Default)]
    struct Model {
        seen: [Option<u32>; 2],
        seeder: bool,
        completed: bool,
    }

    /// Whether every record stands in a level where it may stand.
    fn in_order<A: Family>(pool: &Pool<A>) -> bool {
        (0..pool.len()).all(|at| {
            let left = pool.record(at).unwrap().left();
            (pool.level(at) == 0) == left.is_nothing() && pool.range(pool.level(at)).contains(&at)
        })
    }

    #[test]
    fn counts_agree_with_a_plain_list_of_peers() {
        for policy in [Policy::RANDOM, Policy::NEAR, Policy::STAGE] {
            agree(policy);
        }
    }

    fn agree(policy: Policy) {
        let mut rng = fastrand::Rng::with_seed(5);
        let commons = Commons::new(Limits::default(), 3);
        let zones = Zones::read("10.0.0.0/28 a\n10.0.0.16/28 b\n").unwrap();
        let mut swarm = Swarm::new(InfoHash([1; 20]), 0, 42, policy, 0);
        let mut model: BTreeMap<u8, Model> = BTreeMap::new();
        let (mut now, mut completed) = (0, 0);
        for _ in 0..10_000 {
            now += rng.u32(0..4);
            let id = rng.u8(..60);
            match rng.u8(..20) {
                0 | 1 => {
                    swarm.remove(PeerId([id; 20]), &commons);
                    model.remove(&id);
                }
                2 => {
                    swarm.sweep(now, EXPIRY, &commons);
                    model.retain(|_, peer| {
                        let keep = |t: &u32| *t >= now.saturating_sub(EXPIRY);
                        peer.seen = peer.seen.map(|seen| seen.filter(keep));
                        peer.seen != [None, None]
                    });
                }
                dice => {
                    let (v6, left) = (rng.bool(), u64::from(rng.u8(..2)) * rng.u64(..100));
                    swarm.put(report(id, v6, left, dice > 16), &zones, &commons, now);
                    let peer = model.entry(id).or_default();
                    peer.seen[usize::from(v6)] = Some(now);
                    peer.seeder = left == 0;
                    if dice > 16 && left == 0 && !peer.completed {
                        peer.completed = true;
                        completed += 1;
                    }
                }
            }
            let seeders = model.values().filter(|peer| peer.seeder).count();
            let expected = SwarmStats {
                complete: u32::try_from(seeders).unwrap(),
                downloaded: completed,
                incomplete: u32::try_from(model.len() - seeders).unwrap(),
            };
            assert_eq!(swarm.stats(), expected);
            assert!(swarm.v4.len() <= model.len() && swarm.v6.len() <= model.len());
            assert_eq!(commons.records(), swarm.records());
            assert!(in_order(&swarm.v4) && in_order(&swarm.v6));
        }
        assert!(completed > 100, "{completed}");
    }
}
