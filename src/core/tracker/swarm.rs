//! The peers of one info-hash.
//!
//! IPv4 and IPv6 records stand apart, in a [`Pool`] each, seeders before leechers. A peer that announces itself over both has a record in each; they
//! know of each other by a flag, and it counts as one peer.

use std::net::IpAddr;

use super::record::{Family, Left, Record};
use super::table::{Keyed, Table};
use crate::base::id::{InfoHash, PeerId};
use crate::proto::tracker::SwarmStats;

/// Records of one family: seeders first, then leechers.
#[derive(Debug)]
pub(super) struct Pool<A> {
    table: Table<Record<A>>,
    seeders: usize,
}

impl<A: Family> Pool<A> {
    const fn new(secret: u64) -> Self {
        Self {
            table: Table::new(secret),
            seeders: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) const fn seeders(&self) -> usize {
        self.seeders
    }

    /// All records, seeders first.
    pub(super) fn records(&self) -> &[Record<A>] {
        self.table.as_slice()
    }

    /// Adds or refreshes a record. Returns whether it was there before.
    fn put(&mut self, record: Record<A>, now: u32) -> bool {
        let Some(at) = self.table.find(record.key()) else {
            let at = self.table.push(record);
            self.place(at);
            return false;
        };
        if let Some(old) = self.table.get_mut(at) {
            let addr = record.addr();
            old.refresh(record.ip(), addr.port(), now);
        }
        self.set_left(at, record.left());
        true
    }

    /// Moves the record that was just added at the end among the leechers to where it belongs.
    fn place(&mut self, at: usize) {
        if self.table.get(at).is_some_and(|r| r.left().is_nothing()) {
            self.table.swap(at, self.seeders);
            self.seeders += 1;
        }
    }

    fn set_left(&mut self, at: usize, left: Left) {
        let was_seeder = at < self.seeders;
        if let Some(record) = self.table.get_mut(at) {
            record.set_left(left);
        }
        match (was_seeder, left.is_nothing()) {
            (false, true) => {
                self.table.swap(at, self.seeders);
                self.seeders += 1;
            }
            (true, false) => {
                self.seeders -= 1;
                self.table.swap(at, self.seeders);
            }
            _ => {}
        }
    }

    fn remove(&mut self, mut at: usize) -> Record<A> {
        if at < self.seeders {
            // Only a leecher may leave its place to the last record.
            self.seeders -= 1;
            self.table.swap(at, self.seeders);
            at = self.seeders;
        }
        self.table.remove(at)
    }

    /// Lets `change` at the record of `id`, if there is one.
    fn with(&mut self, id: PeerId, change: impl FnOnce(&mut Record<A>)) {
        if let Some(record) = self.table.find(&id.0).and_then(|at| self.table.get_mut(at)) {
            change(record);
        }
    }

    fn get(&self, id: PeerId) -> Option<&Record<A>> {
        self.table.find(&id.0).and_then(|at| self.table.get(at))
    }

    /// Takes out every record that was not refreshed since `since`, and tells those that had a twin. Returns when the oldest one left was.
    fn sweep(&mut self, since: u32, mut twin: impl FnMut(&Record<A>)) -> u32 {
        let mut oldest = u32::MAX;
        let mut at = self.len();
        // From the end, for what takes the place of a removed record has been looked at already.
        while at > 0 {
            at -= 1;
            let Some(seen) = self.table.get(at).map(Record::seen) else {
                break;
            };
            if seen < since {
                let gone = self.remove(at);
                if gone.dual() {
                    twin(&gone);
                }
            } else {
                oldest = oldest.min(seen);
            }
        }
        oldest
    }
}

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
    /// The largest `left` that was ever said: as good a guess at the size of the payload as a tracker has.
    size: u64,
}

impl Keyed for Swarm {
    fn key(&self) -> &[u8; 20] {
        &self.hash.0
    }
}

/// A swarm with so few records is swept whenever it is touched.
const FEW: usize = 64;

impl Swarm {
    pub(super) const fn new(hash: InfoHash, completed: u32, secret: u64, now: u32) -> Self {
        Self {
            hash,
            v4: Pool::new(secret),
            v6: Pool::new(secret),
            dual: [0; 2],
            completed,
            born: now,
            oldest: u32::MAX,
            swept: now,
            size: 0,
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

    /// Seconds since the swarm began.
    pub(super) const fn age(&self, now: u32) -> u32 {
        now.saturating_sub(self.born)
    }

    /// Number of records, which take up the memory.
    pub(super) const fn records(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Counts of peers, one with two records once.
    pub(super) fn stats(&self) -> SwarmStats {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let seeders = narrow(self.v4.seeders + self.v6.seeders);
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
            IpAddr::V4(_) => self.v4.get(id).is_some(),
            IpAddr::V6(_) => self.v6.get(id).is_some(),
        }
    }

    /// Notes an announce that is not `stopped`.
    pub(super) fn put(&mut self, report: Report, now: u32) {
        let left = Left::new(report.left);
        self.size = self.size.max(report.left.unwrap_or(0));
        self.oldest = self.oldest.min(now);
        let was_dual = self.dual_of(report.id);
        match report.ip {
            IpAddr::V4(ip) => {
                let record = Record::new(report.id, ip.octets(), report.port, left, now);
                self.v4.put(record, now);
                if let Some(at) = self.v6.table.find(&report.id.0) {
                    self.v6.set_left(at, left);
                }
            }
            IpAddr::V6(ip) => {
                let record = Record::new(report.id, ip.octets(), report.port, left, now);
                self.v6.put(record, now);
                if let Some(at) = self.v4.table.find(&report.id.0) {
                    self.v4.set_left(at, left);
                }
            }
        }
        self.settle(report, was_dual);
    }

    /// Brings flags and counts of the peer in line with what it is now.
    fn settle(&mut self, report: Report, was_dual: Option<bool>) {
        let (v4, v6) = (self.v4.get(report.id), self.v6.get(report.id));
        let dual = v4.is_some() && v6.is_some();
        let counted = v4.is_some_and(Record::completed) || v6.is_some_and(Record::completed);
        let completes = report.completed && report.left == Some(0);
        if completes && !counted {
            self.completed = self.completed.saturating_add(1);
        }
        let (completed, id) = (counted || completes, report.id);
        self.v4.with(id, |record| mark(record, completed, dual));
        self.v6.with(id, |record| mark(record, completed, dual));
        self.recount(was_dual, dual.then_some(report.left == Some(0)));
    }

    /// Whether the peer is a seeder, if it has two records.
    fn dual_of(&self, id: PeerId) -> Option<bool> {
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

    /// When the swarm began, in seconds since the origin of time.
    pub(super) const fn born(&self) -> u32 {
        self.born
    }

    /// Forgets all peers.
    pub(super) fn clear(&mut self) {
        (self.v4, self.v6) = (Pool::new(0), Pool::new(0));
        self.dual = [0; 2];
    }

    /// Forgets a peer, at all of its addresses.
    pub(super) fn remove(&mut self, id: PeerId) {
        let was_dual = self.dual_of(id);
        if let Some(at) = self.v4.table.find(&id.0) {
            self.v4.remove(at);
        }
        if let Some(at) = self.v6.table.find(&id.0) {
            self.v6.remove(at);
        }
        self.recount(was_dual, None);
    }

    /// Forgets the peers that were silent for longer than `expiry` seconds, if it is time to look for them.
    ///
    /// A small swarm is looked through whenever there may be one; a large one so seldom that the cost does not show.
    pub(super) fn tidy(&mut self, now: u32, expiry: u32) {
        let since = now.saturating_sub(expiry);
        let due = self.records() <= FEW || now.saturating_sub(self.swept) > expiry / 64;
        if self.oldest < since && due {
            self.sweep(now, expiry);
        }
    }

    /// Forgets the peers that were silent for longer than `expiry` seconds.
    pub(super) fn sweep(&mut self, now: u32, expiry: u32) {
        let since = now.saturating_sub(expiry);
        let Self { v4, v6, dual, .. } = self;
        let mut halve = |seeder: bool| {
            let [seeders, leechers] = &mut *dual;
            *(if seeder { seeders } else { leechers }) -= 1;
        };
        let oldest4 = v4.sweep(since, |gone| {
            halve(gone.left().is_nothing());
            v6.with(gone.id(), |twin| twin.set_dual(false));
        });
        let oldest6 = v6.sweep(since, |gone| {
            halve(gone.left().is_nothing());
            v4.with(gone.id(), |twin| twin.set_dual(false));
        });
        self.oldest = oldest4.min(oldest6);
        self.swept = now;
    }

    /// How far each leecher is, in percent of the largest `left` that was ever said; those who lag behind come first. At most `limit` of them.
    pub(super) fn progress(&self, limit: usize) -> Vec<u8> {
        let v4 = self
            .v4
            .records()
            .iter()
            .skip(self.v4.seeders)
            .map(Record::left);
        let twins = self.v6.records().iter().skip(self.v6.seeders);
        let v6 = twins.filter(|record| !record.dual()).map(Record::left);
        let mut all: Vec<_> = v4
            .chain(v6)
            .take(limit)
            .map(|left| self.percent(left))
            .collect();
        all.sort_unstable();
        all
    }

    /// A leecher never reaches 100.
    fn percent(&self, left: Left) -> u8 {
        let left = u128::from(left.bytes().unwrap_or(self.size).min(self.size));
        let size = u128::from(self.size.max(1));
        u8::try_from(100 - (left * 100).div_ceil(size)).map_or(99, |n| n.min(99))
    }
}

const fn mark<A: Family>(record: &mut Record<A>, completed: bool, dual: bool) {
    if completed {
        record.set_completed();
    }
    record.set_dual(dual);
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn counts_agree_with_a_plain_list_of_peers() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut swarm = Swarm::new(InfoHash([1; 20]), 0, 42, 0);
        let mut model: BTreeMap<u8, Model> = BTreeMap::new();
        let (mut now, mut completed) = (0, 0);
        for _ in 0..30_000 {
            now += rng.u32(0..4);
            let id = rng.u8(..60);
            match rng.u8(..20) {
                0 | 1 => {
                    swarm.remove(PeerId([id; 20]));
                    model.remove(&id);
                }
                2 => {
                    swarm.sweep(now, EXPIRY);
                    model.retain(|_, peer| {
                        let keep = |t: &u32| *t >= now.saturating_sub(EXPIRY);
                        peer.seen = peer.seen.map(|seen| seen.filter(keep));
                        peer.seen != [None, None]
                    });
                }
                dice => {
                    let (v6, left) = (rng.bool(), u64::from(rng.u8(..2)));
                    swarm.put(report(id, v6, left, dice > 16), now);
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
            for pool in [swarm.v4.records().len(), swarm.v6.records().len()] {
                assert!(pool <= model.len());
            }
            let tidy = |records: &[bool], seeders: usize| {
                records
                    .iter()
                    .enumerate()
                    .all(|(at, &is)| is == (at < seeders))
            };
            let v4: Vec<_> = swarm
                .v4
                .records()
                .iter()
                .map(|r| r.left().is_nothing())
                .collect();
            let v6: Vec<_> = swarm
                .v6
                .records()
                .iter()
                .map(|r| r.left().is_nothing())
                .collect();
            assert!(tidy(&v4, swarm.v4.seeders()) && tidy(&v6, swarm.v6.seeders()));
        }
        assert!(completed > 100, "{completed}");
    }

    #[test]
    fn progress_is_told_with_the_laggards_first() {
        let mut swarm = Swarm::new(InfoHash([1; 20]), 0, 42, 0);
        for (id, left) in [(1, 1000), (2, 0), (3, 500), (4, 1), (5, 999)] {
            swarm.put(report(id, id == 5, left, false), 1);
        }
        assert_eq!(swarm.progress(10), [0, 0, 50, 99]);
        assert_eq!(swarm.progress(1).len(), 1);
    }
}
