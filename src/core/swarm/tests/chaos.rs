//! Anything in any order: nothing panics, and what is counted stays counted.

use std::collections::BTreeSet;

use super::super::uplink::Writer;
use super::*;
use crate::proto::peer::extended::ExtendedHandshake;

const PIECES: u32 = 12;

struct Chaos {
    b: Bench,
    rng: fastrand::Rng,
    next: u64,
    live: Vec<u64>,
    hashing: BTreeSet<u32>,
    serving: BTreeSet<u64>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let have = match seed % 3 {
            0 => "x".repeat(PIECES as usize),
            _ => (0..PIECES)
                .map(|_| if rng.u8(..4) == 0 { 'x' } else { '.' })
                .collect(),
        };
        let config = Config {
            max_peers: 8,
            max_unverified: 3 * u64::from(BLOCK),
            ..Config::default()
        };
        Self {
            b: Bench::with(&have, config),
            rng,
            next: 1,
            live: Vec::new(),
            hashing: BTreeSet::new(),
            serving: BTreeSet::new(),
        }
    }

    fn any_set(&mut self) -> Bitfield {
        let mut set = Bitfield::none(PIECES);
        let odds = self.rng.u8(..5);
        for piece in 0..PIECES {
            if self.rng.u8(..4) < odds {
                set.set(PieceIndex(piece));
            }
        }
        set
    }

    fn any_block(&mut self) -> Block {
        let mut any = block(self.rng.u32(..PIECES), self.rng.u32(..2));
        if self.rng.u8(..20) == 0 {
            any.len = self.rng.u32(1..BLOCK);
        }
        any
    }

    fn any_message(&mut self) -> Message<'static> {
        let piece = PieceIndex(self.rng.u32(..PIECES));
        match self.rng.u8(..22) {
            0 => Message::Choke,
            1..=3 => Message::Unchoke,
            4..=5 => Message::Interested,
            6 => Message::NotInterested,
            7..=9 => Message::Have(piece),
            10 => Message::Bitfield(self.any_set()),
            11 => Message::HaveNone,
            12 => Message::Cancel(self.any_block()),
            13 => Message::Reject(self.any_block()),
            14 => Message::Suggest(piece),
            15 => Message::AllowedFast(piece),
            16 => {
                let handshake = ExtendedHandshake {
                    request_queue: Some(self.rng.u32(..20)),
                    listen_port: Some(self.rng.u16(..)),
                    upload_only: self.rng.u8(..10) == 0,
                    ..ExtendedHandshake::default()
                };
                Message::Extended {
                    id: 0,
                    payload: handshake.encode().into(),
                }
            }
            _ => Message::Request(self.any_block()),
        }
    }

    fn connect(&mut self) {
        let key = self.next;
        self.next += 1;
        let who = self.rng.u64(1..=12);
        self.b.tell(Event::Connected {
            peer: PeerKey(key),
            id: id(who),
            addr: addr(who),
            outgoing: self.rng.bool(),
            fast: self.rng.bool(),
            utp: false,
        });
        self.live.push(key);
        let set = self.any_set();
        if self.rng.bool() {
            self.b.says(key, Message::Bitfield(set));
        }
    }

    fn step(&mut self) {
        let Some(key) = self
            .rng
            .choice(self.live.iter().copied())
            .filter(|_| self.rng.u8(..20) > 0)
        else {
            return self.connect();
        };
        match self.rng.u8(..20) {
            0 => {
                self.b.tell(Event::Disconnected { peer: PeerKey(key) });
                self.live.retain(|&k| k != key);
            }
            1 => {
                let span = MS * 10_u32.pow(self.rng.u32(..5));
                self.b.pass(span);
            }
            2..=7 => {
                let block = self.owed_or_any(key);
                self.b.block(key, block);
            }
            8..=9 => {
                let batch = self.b.uploads(key, BLOCK);
                assert!(
                    batch.iter().all(|b| self.b.swarm.have().has(b.piece)),
                    "we do not have it"
                );
            }
            10..=11 => {
                if let Some(piece) = self.hashing.pop_first() {
                    let good = self.rng.u8(..4) > 0;
                    let sums = [self.rng.u64(..2), self.rng.u64(..2)];
                    self.b.summed(piece, good, &sums);
                }
            }
            _ => {
                let message = self.any_message();
                self.b.says(key, message);
            }
        }
    }

    /// Mostly what the peer was asked for.
    fn owed_or_any(&mut self, key: u64) -> Block {
        let peer = self.b.swarm.peers.get(&PeerKey(key));
        let asked = peer.and_then(|p| p.download.owed.front().copied());
        match asked {
            Some(asked) if self.rng.u8(..20) > 0 => block(asked.piece.0, asked.n),
            _ => self.any_block(),
        }
    }

    fn note(&mut self) {
        for action in &self.b.did {
            match action {
                Action::Verify(piece) => {
                    assert!(self.hashing.insert(piece.0), "hashed twice at a time")
                }
                Action::Close { peer, .. } => self.live.retain(|&k| k != peer.0),
                Action::Serve { peer } => {
                    self.serving.insert(peer.0);
                }
                _ => {}
            }
        }
    }

    /// Everything that is counted on the way, counted again from the start.
    fn check(&self) {
        let swarm = &self.b.swarm;
        let peers = || swarm.peers.values();
        assert_eq!(swarm.waiting, peers().filter(|p| p.waits()).count());
        assert!(swarm.peers.len() <= 8);
        for piece in swarm.geometry.all() {
            let copies = peers()
                .filter(|p| !p.uncounted && p.have.has(piece))
                .count();
            assert_eq!(
                usize::from(swarm.picker.rarity().copies(piece)),
                copies,
                "copies of {piece}"
            );
            for n in 0..2 {
                let owing = peers()
                    .filter(|p| p.download.owed.iter().any(|a| (a.piece, a.n) == (piece, n)));
                assert!(owing.count() <= super::super::MAX_ASKED);
            }
        }
        for (key, peer) in &swarm.peers {
            let useful = peer.have.iter().filter(|&p| swarm.picker.lacks(p)).count();
            assert_eq!(
                (peer.useful as usize, peer.am_interested),
                (useful, useful > 0),
                "{key:?}"
            );
            assert!(!peer.am_choking || peer.upload.queue.is_empty());
            let waits = peer.upload.writer == Writer::Waiting && swarm.uplink_due.is_some();
            assert!(
                peer.upload.queue.is_empty() || waits || self.serving.contains(&key.0),
                "nobody told the writer"
            );
        }
        let unsent: u64 = peers()
            .flat_map(|p| &p.upload.assigned)
            .map(|a| a.unsent)
            .sum();
        assert_eq!(swarm.assigner.unsent(), unsent);
    }
}

#[test]
fn whatever_happens_nothing_panics_and_the_books_balance() {
    for seed in 0..60 {
        let mut chaos = Chaos::new(seed);
        for _ in 0..1500 {
            chaos.step();
            chaos.note();
            chaos.check();
        }
    }
}
