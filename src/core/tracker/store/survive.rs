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
