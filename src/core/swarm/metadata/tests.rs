//! Peers that are honest, lie, reject, drip or say nothing, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::base::bencode::Value;
use crate::base::sha1;
use crate::core::swarm::Swarm;
use crate::core::swarm::event::Config;
use crate::proto::metainfo::Metainfo;
use crate::proto::peer::metadata::PART;

/// What a peer does when it is asked for a part.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Honest,
    /// One part of what it sends is wrong: this one.
    Liar(u32),
    /// Its parts are right, but it claims so many bytes and fills up with zeros.
    Claims(u32),
    Rejects,
    Silent,
    /// It says that it has none.
    Empty,
    /// It does not speak the extension.
    Other,
}

struct Bench {
    metadata: Metadata,
    info: Vec<u8>,
    kinds: Vec<Kind>,
    now: Time,
    /// Messages on their way to us.
    coming: BTreeMap<(Time, u64), (PeerKey, Vec<u8>)>,
    serial: u64,
    connections: BTreeMap<PeerKey, usize>,
    /// How often each peer was asked, and how often it was dialled.
    asked: Vec<u32>,
    dialled: Vec<u32>,
    closed: Vec<(usize, Close)>,
    complete: bool,
}

fn addr(n: usize) -> SocketAddr {
    ([10, 0, 1, u8::try_from(n).unwrap()], 6881).into()
}

impl Bench {
    fn new(parts: u32, kinds: &[Kind]) -> Self {
        let mut rng = fastrand::Rng::with_seed(7);
        let size = parts * PART - 100;
        let info: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
        let info_hash = InfoHash(sha1::digest(&info));
        let mut bench = Self {
            metadata: Metadata::new(PeerId([99; 20]), info_hash, 1),
            info,
            kinds: kinds.to_vec(),
            now: Time::from_secs(10),
            coming: BTreeMap::new(),
            serial: 0,
            connections: BTreeMap::new(),
            asked: vec![0; kinds.len()],
            dialled: vec![0; kinds.len()],
            closed: Vec::new(),
            complete: false,
        };
        let addrs: Vec<_> = (0..kinds.len()).map(addr).collect();
        bench.tell(Event::Discovered {
            addrs: &addrs,
            source: Source::Tracker,
        });
        bench
    }

    fn tell(&mut self, event: Event<'_>) {
        let mut actions = Vec::new();
        self.metadata.handle(self.now, event, &mut actions);
        actions.into_iter().for_each(|action| self.perform(action));
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Dial(to) => {
                let n = (0..self.kinds.len()).find(|&n| addr(n) == to).unwrap();
                self.dialled[n] += 1;
                self.serial += 1;
                let peer = PeerKey(self.serial);
                self.connections.insert(peer, n);
                self.tell(Event::Connected {
                    peer,
                    id: PeerId([u8::try_from(n).unwrap(); 20]),
                    addr: to,
                    outgoing: true,
                    fast: false,
                    utp: false,
                });
                if let Some(hello) = self.hello(n) {
                    self.send(peer, 0, &hello);
                }
            }
            Action::Send {
                peer,
                message: Message::Extended { id: 3, payload },
            } => {
                if let Some(MetadataMessage::Request(part)) = MetadataMessage::decode(&payload) {
                    self.reply(peer, part);
                }
            }
            Action::Close { peer, reason } => {
                if let Some(n) = self.connections.remove(&peer) {
                    self.closed.push((n, reason));
                }
            }
            Action::Complete => self.complete = true,
            other => panic!("{other:?}"),
        }
    }

    fn claimed(&self, n: usize) -> Option<u32> {
        match self.kinds[n] {
            Claims(size) => Some(size),
            Empty => None,
            _ => Some(u32::try_from(self.info.len()).unwrap()),
        }
    }

    fn hello(&self, n: usize) -> Option<Vec<u8>> {
        let extensions = if self.kinds[n] == Other {
            BTreeMap::new()
        } else {
            BTreeMap::from([(metadata::NAME.to_owned(), 3)])
        };
        let hello = ExtendedHandshake {
            extensions,
            metadata_size: self.claimed(n),
            ..ExtendedHandshake::default()
        };
        Some(hello.encode())
    }

    fn reply(&mut self, peer: PeerKey, part: u32) {
        let n = self.connections[&peer];
        self.asked[n] += 1;
        let size = self.claimed(n).unwrap();
        let from = self.info.len().min(part as usize * PART as usize);
        let there = self.info[from..].iter().take(PART as usize);
        let mut data: Vec<_> = there.copied().collect();
        data.resize(metadata::part_len(size, part) as usize, 0);
        let message = match self.kinds[n] {
            Silent => return,
            Rejects => MetadataMessage::Reject(part),
            kind => {
                if kind == Liar(part) {
                    data[0] ^= 1;
                }
                MetadataMessage::Data {
                    part,
                    total_size: size,
                    data: &data,
                }
            }
        };
        let bytes = message.encode();
        self.send(peer, UT_METADATA, &bytes);
    }

    /// The message takes 50 ms.
    fn send(&mut self, peer: PeerKey, id: u8, payload: &[u8]) {
        self.serial += 1;
        let mut bytes = vec![id];
        bytes.extend_from_slice(payload);
        let at = self.now + Duration::from_millis(50);
        self.coming.insert((at, self.serial), (peer, bytes));
    }

    /// Lets time pass until the metadata is there, but no longer than this. Returns how long it took.
    fn run(&mut self, limit: Duration) -> Duration {
        let begun = self.now;
        while !self.complete {
            let next = self.coming.first_key_value().map(|(&(at, _), _)| at);
            let next = next.into_iter().chain(self.metadata.deadline()).min();
            let Some(at) = next.filter(|at| at.since(begun) <= limit) else {
                break;
            };
            self.now = at.max(self.now);
            match self.coming.first_entry() {
                Some(first) if first.key().0 <= self.now => {
                    let (peer, bytes) = first.remove();
                    if self.connections.contains_key(&peer) {
                        let message = Message::Extended {
                            id: bytes[0],
                            payload: bytes[1..].to_vec().into(),
                        };
                        self.tell(Event::Message { peer, message });
                    }
                }
                _ => self.tell(Event::Tick),
            }
        }
        if self.complete {
            assert_eq!(self.metadata.take().as_ref(), Some(&self.info));
            assert_eq!(self.metadata.take(), None);
        }
        self.now.since(begun)
    }

    fn succeeds_within(&mut self, secs: u64) {
        let took = self.run(Duration::from_secs(secs));
        assert!(
            self.complete,
            "{:?} after {took:?}: {:?}",
            self.kinds, self.closed
        );
    }
}

use Kind::{Claims, Empty, Honest, Liar, Other, Rejects, Silent};

#[test]
fn the_parts_come_from_several_peers_each_once() {
    let mut bench = Bench::new(40, &[Honest; 4]);
    bench.succeeds_within(2);
    assert_eq!(bench.asked.iter().sum::<u32>(), 40);
    assert!(bench.asked.iter().all(|&n| n >= 5), "{:?}", bench.asked);
    assert_eq!(bench.metadata.received(), bench.info.len() as u64);
}

#[test]
fn metadata_of_one_byte_to_many_parts_comes_from_one_peer() {
    for parts in [1, 2, 5, 300] {
        Bench::new(parts, &[Honest]).succeeds_within(30);
    }
}

#[test]
fn one_honest_peer_among_liars_is_enough_wherever_it_stands() {
    for at in 0..6 {
        let mut kinds = vec![Liar(0), Liar(1), Liar(2), Liar(7), Liar(7)];
        kinds.insert(at, Honest);
        let mut bench = Bench::new(8, &kinds);
        bench.succeeds_within(30);
    }
}

#[test]
fn a_lone_liar_is_banned_and_never_asked_again() {
    let mut bench = Bench::new(3, &[Liar(1)]);
    bench.run(Duration::from_secs(4000));
    assert_eq!(bench.closed, [(0, Close::BadData)]);
    assert_eq!((bench.dialled[0], bench.asked[0]), (1, 3));
    bench.kinds.push(Honest);
    bench.asked.push(0);
    bench.dialled.push(0);
    bench.tell(Event::Discovered {
        addrs: &[addr(1)],
        source: Source::Tracker,
    });
    bench.succeeds_within(5);
}

#[test]
fn whoever_claims_another_size_does_not_stand_in_the_way() {
    let most = metadata::MAX_SIZE;
    for claims in [1, PART, 8 * PART - 101, 9 * PART, most] {
        let others = [Claims(claims); 9];
        let mut kinds = others.to_vec();
        kinds.push(Honest);
        Bench::new(8, &kinds).succeeds_within(30);
    }
}

#[test]
fn copies_of_single_peers_take_turns_within_a_budget() {
    // Ten peers fill the budget five times over, and send what they claim only in hours.
    let mut kinds = vec![Claims(metadata::MAX_SIZE - 1); 10];
    kinds.push(Honest);
    let mut bench = Bench::new(4, &kinds);
    bench.now = Time::from_secs(20);
    while !bench.complete && bench.now < Time::from_secs(600) {
        let own = bench.metadata.peers.values();
        let own = own.filter_map(|peer| peer.own.as_ref());
        let claimed: u64 = own.map(|turn| u64::from(turn.copy.size())).sum();
        assert!(claimed <= BUDGET);
        bench.run(Duration::from_secs(1));
    }
    assert!(bench.complete);
}

#[test]
fn peers_that_reject_or_say_nothing_cost_time_and_no_more() {
    let mut bench = Bench::new(9, &[Silent, Rejects, Empty, Other, Honest, Silent]);
    bench.succeeds_within(10);
    assert!(bench.closed.contains(&(3, Close::Useless)));
    let mut bench = Bench::new(9, &[Silent, Rejects]);
    bench.run(Duration::from_secs(300));
    assert!(!bench.complete);
    let most = MAX_REFUSALS as usize * PIPELINE;
    let times = bench.dialled[0] as usize;
    assert!(bench.asked[0] as usize <= most * times, "{:?}", bench.asked);
}

#[test]
fn parts_of_the_wrong_length_and_parts_that_nobody_asked_for_end_a_connection() {
    let mut bench = Bench::new(2, &[Silent]);
    bench.run(Duration::from_millis(200));
    let peer = *bench.connections.keys().next().unwrap();
    let data = |part, data| {
        MetadataMessage::Data {
            part,
            total_size: 0,
            data,
        }
        .encode()
    };
    let says = |bench: &mut Bench, payload: Vec<u8>| {
        let message = Message::Extended {
            id: UT_METADATA,
            payload: payload.into(),
        };
        bench.tell(Event::Message { peer, message });
    };
    for part in 2..2 + MAX_STRAYS {
        says(&mut bench, data(part, b"x"));
        assert_eq!(bench.closed, []);
    }
    says(&mut bench, data(u32::MAX, b"x"));
    assert_eq!(bench.closed, [(0, Close::Protocol)]);

    let mut bench = Bench::new(2, &[Silent]);
    bench.run(Duration::from_millis(200));
    says(&mut bench, data(0, b"short"));
    assert_eq!(bench.closed, [(0, Close::Protocol)]);
}

#[test]
fn too_much_metadata_is_not_even_asked_for() {
    for size in [metadata::MAX_SIZE + 1, u32::MAX] {
        let mut bench = Bench::new(2, &[Empty]);
        bench.run(Duration::from_millis(200));
        let hello = ExtendedHandshake {
            extensions: BTreeMap::from([(metadata::NAME.to_owned(), 3)]),
            metadata_size: Some(size),
            ..ExtendedHandshake::default()
        };
        let peer = *bench.connections.keys().next().unwrap();
        bench.tell(Event::Message {
            peer,
            message: hello.message(),
        });
        assert_eq!((bench.asked[0], bench.closed.len()), (0, 1));
    }
}

#[test]
fn any_bytes_in_any_order_are_survived() {
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..200 {
        let mut bench = Bench::new(3, &[Honest, Liar(2), Silent]);
        bench.run(Duration::from_millis(rng.u64(0..200)));
        for _ in 0..50 {
            let mut payload = MetadataMessage::Data {
                part: rng.u32(0..4),
                total_size: rng.u32(..),
                data: &[0; 20],
            }
            .encode();
            let at = rng.usize(..payload.len());
            payload[at] = rng.u8(..);
            let peer = PeerKey(rng.u64(0..8));
            let id = rng.u8(0..3);
            let message = Message::Extended {
                id,
                payload: payload.into(),
            };
            bench.tell(Event::Message { peer, message });
            if rng.u8(..) < 20 {
                bench.connections.remove(&peer);
                bench.tell(Event::Disconnected { peer });
            }
        }
    }
}

/// A torrent whose `info` dictionary takes three parts.
fn torrent(private: bool) -> Arc<Metainfo> {
    let hashes = vec![7; 2000 * 20];
    let mut info = vec![
        (&b"length"[..], Value::Int(2000 * 16384)),
        (b"name", Value::from(&b"x"[..])),
        (b"piece length", Value::Int(16384)),
        (b"pieces", Value::from(&hashes[..])),
    ];
    if private {
        info.push((b"private", Value::Int(1)));
    }
    Metainfo::from_info(&Value::dict(info).to_bytes())
        .unwrap()
        .into()
}

/// What a peer that asks for these parts gets: the parts that it was sent, and those that it was refused.
fn served(private: bool, requests: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let (metainfo, now, peer) = (torrent(private), Time::from_secs(1), PeerKey(1));
    let geometry = metainfo.geometry;
    let have = crate::base::bitfield::Bitfield::none(geometry.pieces());
    let mut swarm = Swarm::new(
        Config::default(),
        PeerId([9; 20]),
        geometry,
        have,
        None,
        1,
        now,
    );
    swarm.offer_metadata(&metainfo);
    let mut out = Vec::new();
    let id = PeerId([1; 20]);
    let (addr, outgoing, fast) = (addr(1), false, false);
    let connected = Event::Connected {
        peer,
        id,
        addr,
        outgoing,
        fast,
        utp: false,
    };
    swarm.handle(now, connected, &mut out);
    let hello = ExtendedHandshake {
        extensions: BTreeMap::from([(metadata::NAME.to_owned(), 3)]),
        ..ExtendedHandshake::default()
    };
    let message = hello.message();
    swarm.handle(now, Event::Message { peer, message }, &mut out);
    let (mut sent, mut refused) = (Vec::new(), Vec::new());
    for &part in requests {
        out.clear();
        let Action::Send { message, .. } = said(peer, UT_METADATA, MetadataMessage::Request(part))
        else {
            unreachable!()
        };
        swarm.handle(now, Event::Message { peer, message }, &mut out);
        let rejected = out.iter().filter_map(|action| match action {
            Action::Send {
                message: Message::Extended { id: 3, payload },
                ..
            } => MetadataMessage::decode(payload),
            _ => None,
        });
        refused.extend(rejected.map(|message| match message {
            MetadataMessage::Reject(part) => part,
            other => panic!("{other:?}"),
        }));
        while let Some(Message::Extended { id, payload }) = swarm.next_metadata(now, peer) {
            assert_eq!(id, 3);
            let Some(MetadataMessage::Data { part, data, .. }) = MetadataMessage::decode(&payload)
            else {
                panic!("no data")
            };
            let from = part as usize * PART as usize;
            assert!(metainfo.raw_info[from..].starts_with(data));
            sent.push(part);
        }
    }
    (sent, refused)
}

#[test]
fn others_get_our_metadata_a_few_times_and_then_no_answer() {
    assert_eq!(served(false, &[0, 2, 3, 1]), (vec![0, 2, 1], vec![3]));
    let loops: Vec<u32> = (0..100).map(|n| n % 4).collect();
    let (sent, refused) = served(false, &loops);
    assert_eq!((sent.len(), refused.len()), (7, 2));
}

#[test]
fn nobody_gets_the_metadata_of_a_private_torrent() {
    assert_eq!(Swarm::offered_size(&torrent(true)), None);
    assert!(served(true, &[0, 1, 2]).0.is_empty());
}
