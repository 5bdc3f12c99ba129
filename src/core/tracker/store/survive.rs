//! What of a shard outlives a run.

use std::time::Duration;

use super::super::pool::Pool;
use super::super::record::{Family, Record};
use super::{Note, Shard, Swarm, seconds};
use crate::base::id::InfoHash;
use crate::base::time::Time;
use crate::proto::tracker::{AnnounceRequest, Event};
use crate::proto::tracker_state::{PeerRow, SwarmRow};

impl Shard {
    /// How many downloads were completed, for each swarm that has any, with peers or without.
    #[must_use]
    pub fn completed(&self) -> Vec<(InfoHash, u32)> {
        let of_swarm = |swarm: &Swarm| (swarm.hash(), swarm.stats().downloaded);
        let living = self.swarms.iter().map(of_swarm);
        let gone = self.remains.iter();
        let gone = gone.map(|note| (note.hash, note.completed()));
        living.chain(gone).filter(|(_, n)| *n > 0).collect()
    }

    /// All swarms with their peers.
    #[must_use]
    pub fn rows(&self, now: Time) -> Vec<SwarmRow> {
        let now = seconds(now);
        let rows = self.swarms.iter().map(|swarm| SwarmRow {
            hash: swarm.hash(),
            size: swarm.size(),
            peers: peers(swarm.v4(), now)
                .chain(peers(swarm.v6(), now))
                .collect(),
        });
        rows.collect()
    }

    /// Takes in a swarm as another run knew it, `downtime` ago: those of its peers that would still be known. What finds no room is dropped. Its count
    /// of completed downloads comes with [`Shard::set_completed`] afterwards.
    pub fn restore(
        &mut self,
        now: Time,
        downtime: Duration,
        row: &SwarmRow,
        rng: &mut fastrand::Rng,
    ) {
        let patience = self.patience(now);
        let mut peers: Vec<_> = row.peers.iter().collect();
        // In the order in which they were heard of.
        peers.sort_by_key(|peer| std::cmp::Reverse(peer.age));
        for peer in peers {
            let silent = downtime.saturating_add(Duration::from_secs(peer.age.into()));
            if silent > patience {
                continue;
            }
            let seen = seconds(now - silent);
            let request = AnnounceRequest {
                left: peer.left,
                ..AnnounceRequest::new(row.hash, peer.id, peer.addr.port())
            };
            if peer.completed {
                let completed = AnnounceRequest {
                    left: Some(0),
                    event: Event::Completed,
                    ..request.clone()
                };
                let _ = self.note(seen, peer.addr.ip(), &completed, rng);
            }
            let _ = self.note(seen, peer.addr.ip(), &request, rng);
        }
        if let Some(at) = self.swarms.find(&row.hash.0) {
            self.touch(at, seconds(now), |swarm, _| swarm.expect_size(row.size));
        }
        self.charge();
    }

    /// Sets how many downloads of a swarm were completed, as another run has counted them.
    pub fn set_completed(&mut self, now: Time, hash: InfoHash, completed: u32) {
        if let Some(at) = self.swarms.find(&hash.0) {
            self.touch(at, seconds(now), |swarm, _| swarm.set_completed(completed));
        } else if completed > 0
            && self.remains.len() < self.config.remembered
            && self.remains.find(&hash.0).is_none()
        {
            self.remains.push(Note {
                hash,
                number: completed.into(),
            });
            self.totals.completed += u64::from(completed);
        }
        self.charge();
    }
}

fn peers<A: Family>(pool: &Pool<A>, now: u32) -> impl Iterator<Item = PeerRow> {
    pool.records().map(move |record: &Record<A>| PeerRow {
        id: record.id(),
        addr: record.addr(),
        left: record.left().bytes(),
        completed: record.completed(),
        age: now.saturating_sub(record.seen()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Commons, Config};
    use super::*;
    use crate::base::id::PeerId;
    use crate::core::tracker::Limits;
    use crate::proto::tracker::AnnounceReply;

    const NOW: Time = Time::from_secs(100_000);

    fn shard(config: Config) -> Shard {
        Shard::new(config, Arc::new(Commons::new(Limits::default(), 1)), 7)
    }

    /// A hundred peers in a few swarms, some at both families, that have done this and that over ten minutes.
    fn lived(rng: &mut fastrand::Rng) -> Shard {
        let (mut shard, mut reply) = (shard(Config::default()), AnnounceReply::default());
        for second in 0..600 {
            let id = rng.u8(..100);
            let ip = if rng.bool() {
                [10, 0, 0, id].into()
            } else {
                [id; 16].into()
            };
            let events = [
                Event::None,
                Event::Started,
                Event::Completed,
                Event::Stopped,
            ];
            let request = AnnounceRequest {
                left: [None, Some(0), Some(1000), Some(1 << 30)][rng.usize(..4)],
                event: events[rng.usize(..4)],
                ..AnnounceRequest::new(InfoHash([id % 7; 20]), PeerId([id; 20]), 6881)
            };
            let now = NOW - Duration::from_secs(600 - second);
            shard.announce(now, ip, &request, rng, &mut reply).unwrap();
        }
        shard
    }

    fn sorted(mut rows: Vec<SwarmRow>) -> Vec<SwarmRow> {
        rows.sort_by_key(|row| row.hash);
        for row in &mut rows {
            row.peers.sort_by_key(|peer| (peer.id, peer.addr));
        }
        rows
    }

    #[test]
    fn a_shard_goes_on_as_it_was() {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut before = lived(&mut rng);
            let mut after = shard(Config::default());
            for row in before.rows(NOW) {
                after.restore(NOW, Duration::ZERO, &row, &mut rng);
            }
            for (hash, completed) in before.completed() {
                after.set_completed(NOW, hash, completed);
            }
            assert_eq!(sorted(after.rows(NOW)), sorted(before.rows(NOW)));
            assert_eq!(after.totals(), before.totals());
            for hash in (0..7).map(|n| InfoHash([n; 20])) {
                assert_eq!(after.scrape(NOW, hash), before.scrape(NOW, hash));
            }
        }
    }

    #[test]
    fn who_was_silent_for_too_long_is_left_out_and_counts_are_bounded() {
        let mut rng = fastrand::Rng::with_seed(1);
        let before = lived(&mut rng);
        let mut after = shard(Config {
            remembered: 2,
            ..Config::default()
        });
        for row in before.rows(NOW) {
            after.restore(NOW, Duration::from_secs(300), &row, &mut rng);
        }
        let peers = |rows: Vec<SwarmRow>| rows.into_iter().flat_map(|row| row.peers);
        let young = peers(before.rows(NOW)).filter(|peer| peer.age <= 360);
        assert_eq!(peers(after.rows(NOW)).count(), young.count());
        let mut empty = shard(after.config);
        for n in 0..9 {
            empty.set_completed(NOW, InfoHash([n; 20]), 1);
        }
        assert_eq!(empty.totals().completed, 2);
    }
}
