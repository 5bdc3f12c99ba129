//! A network in virtual time: hosts with links, connections between them, and the real core on each host.
//!
//! A host's uplink sends one block at a time. Each connection has at most two blocks waiting for it (a socket with little unsent data,
//! `TCP_NOTSENT_LOWAT`), served in the order they came; other messages follow the blocks of their own connection and take no time of
//! their own. A downlink is shared by whatever arrives; a sender passes over receivers that have too much coming (their windows are full).

mod agenda;
mod links;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use hivebt::base::bitfield::Bitfield;
use hivebt::base::geometry::{Block, Geometry, PieceIndex};
use hivebt::base::id::PeerId;
use hivebt::base::time::Time;
use hivebt::core::swarm::Swarm;
use hivebt::core::swarm::event::{Action, Close, Config, Event, PeerKey, Source, Verdict};
use hivebt::proto::peer::extended::ExtendedHandshake;
use hivebt::proto::peer::message::Message;

use self::agenda::{Due, Happening};
use self::links::{Conn, Link, Wire};

/// Which host.
pub type Host = usize;

/// How a host behaves, beyond what its core decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Character {
    Honest,
    /// Claims to have everything; what it sends is garbage.
    Liar,
    /// Claims to have everything; one block in so many of what it sends is garbage.
    Sly(u32),
    /// Takes and never gives.
    FreeRider,
    /// Sends nonsense as soon as it is connected.
    Babbler,
}

/// A host to be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Bytes a second.
    pub up: u64,
    /// Bytes a second.
    pub down: u64,
    pub character: Character,
    pub complete: bool,
    pub joins: Time,
    pub config: Config,
    /// Of several torrents at once, the one that this is about; a host has one of these for each.
    pub torrent: usize,
}

struct Node {
    spec: Spec,
    addr: SocketAddr,
    /// The number of its link, which it shares with what its host does for other torrents.
    link: usize,
    swarm: Option<Swarm>,
    have: Bitfield,
    /// The blocks kept of partial pieces, and whether they are garbage.
    kept: BTreeMap<Block, bool>,
    tick_at: Option<Time>,
    done: Option<Time>,
    sent: u64,
    blamed: u32,
    lives: u64,
}

/// What a run has shown.
#[derive(Debug)]
pub struct Outcome {
    /// When each host had everything.
    pub done: Vec<Option<Time>>,
    /// Payload bytes sent by each.
    pub sent: Vec<u64>,
    /// Times that anybody closed a connection with this host for bad data or a broken protocol.
    pub blamed: Vec<u32>,
    /// The most peers that owed the same block to the same host at the same time.
    pub most_asked: usize,
    pub wasted: u64,
    /// Who was said to have sent bad data, once for each time.
    pub accused: Vec<Host>,
    /// Pieces that were bad.
    pub bad: u32,
}

pub struct World {
    pub now: Time,
    geometry: Geometry,
    delay: Duration,
    nodes: Vec<Node>,
    links: Vec<Link>,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    heap: BinaryHeap<Due>,
    seq: u64,
    rng: fastrand::Rng,
    owed: BTreeMap<(Host, Block), BTreeSet<u64>>,
    most_asked: usize,
    accused: Vec<Host>,
    bad: u32,
    leaver: Option<Host>,
    /// Addresses a host is told of when it joins.
    pub neighbours: usize,
    pub fast: bool,
}

impl World {
    pub fn new(geometry: Geometry, delay: Duration, seed: u64, specs: Vec<Spec>) -> Self {
        let mut world = Self {
            now: Time::ZERO,
            geometry,
            delay,
            nodes: Vec::new(),
            links: Vec::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            heap: BinaryHeap::new(),
            seq: 0,
            rng: fastrand::Rng::with_seed(seed),
            owed: BTreeMap::new(),
            most_asked: 0,
            accused: Vec::new(),
            bad: 0,
            leaver: None,
            neighbours: 50,
            fast: true,
        };
        let hosts = specs.iter().filter(|spec| spec.torrent == 0).count();
        world.links = specs[..hosts].iter().map(Link::of).collect();
        for (n, spec) in specs.into_iter().enumerate() {
            assert_eq!(
                n / hosts,
                spec.torrent,
                "every host takes part in every torrent"
            );
            let ip = [10, 0, (n >> 8) as u8, (n & 255) as u8];
            let pieces = geometry.pieces();
            let have = if spec.complete {
                Bitfield::all(pieces)
            } else {
                Bitfield::none(pieces)
            };
            world.at(spec.joins, Happening::Join(n));
            world.nodes.push(Node {
                addr: (ip, 6881).into(),
                link: n % hosts,
                swarm: None,
                have,
                kept: BTreeMap::new(),
                tick_at: None,
                done: spec.complete.then_some(Time::ZERO),
                sent: 0,
                blamed: 0,
                lives: 0,
                spec,
            });
        }
        world
    }

    /// The host dies at that moment, without a word, and keeps its verified pieces.
    pub fn leaves(&mut self, host: Host, at: Time) {
        self.at(at, Happening::Leave(host));
    }

    /// The host dies as soon as every piece is somewhere else.
    pub fn leaves_once_all_is_out(&mut self, host: Host) {
        self.leaver = Some(host);
    }

    fn all_is_out(&self, leaver: Host) -> bool {
        let others = || {
            self.nodes
                .iter()
                .enumerate()
                .filter(|(n, _)| *n != leaver)
                .map(|(_, node)| &node.have)
        };
        self.geometry
            .all()
            .all(|piece| others().any(|have| have.has(piece)))
    }

    /// The host starts again at that moment.
    pub fn returns(&mut self, host: Host, at: Time) {
        self.at(at, Happening::Join(host));
    }

    /// Lets time pass until all `awaited` have everything, or `limit`.
    pub fn run(&mut self, awaited: &[Host], limit: Time) -> Outcome {
        while let Some(Due { at, what, .. }) = self.heap.pop() {
            self.now = at;
            self.happens(what);
            if at > limit || awaited.iter().all(|&h| self.nodes[h].done.is_some()) {
                break;
            }
        }
        Outcome {
            done: self.nodes.iter().map(|n| n.done).collect(),
            sent: self.nodes.iter().map(|n| n.sent).collect(),
            blamed: self.nodes.iter().map(|n| n.blamed).collect(),
            most_asked: self.most_asked,
            accused: self.accused.clone(),
            bad: self.bad,
            wasted: self
                .nodes
                .iter()
                .filter_map(|n| Some(n.swarm.as_ref()?.stats(self.now).wasted))
                .sum(),
        }
    }

    fn at(&mut self, at: Time, what: Happening) {
        self.seq += 1;
        let (at, seq) = (at.max(self.now), self.seq);
        self.heap.push(Due { at, seq, what });
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Join(host) => self.join(host),
            Happening::Leave(host) => self.leave(host),
            // Put off, or for an earlier one.
            Happening::Tick(host) if self.nodes[host].tick_at != Some(self.now) => {}
            Happening::Tick(host) => {
                self.nodes[host].tick_at = None;
                self.tell(host, Event::Tick);
            }
            Happening::Uplink(link) => {
                self.links[link].sending = false;
                self.transmit(link);
            }
            Happening::Arrival { conn, to, wire } => self.arrival(conn, to, wire),
            Happening::Up { conn } => self.up(conn),
            Happening::NoAnswer(host, addr) => self.tell(host, Event::DialFailed { addr }),
            Happening::Down { conn, to } => self.down(conn, to),
            Happening::Hashed(host, life, piece, sums) => {
                let good = sums.iter().all(|&sum| sum == 0);
                self.bad += u32::from(!good);
                if self.nodes[host].lives == life {
                    if good {
                        self.nodes[host].have.set(piece);
                        if let Some(leaver) = self.leaver.filter(|&l| self.all_is_out(l)) {
                            self.leaver = None;
                            self.leave(leaver);
                        }
                    }
                    let sums = &sums;
                    self.tell(host, Event::Verified { piece, good, sums });
                }
            }
        }
    }

    fn join(&mut self, host: Host) {
        let seed = self.rng.u64(..);
        let node = &mut self.nodes[host];
        node.lives += 1;
        let have = match node.spec.character {
            Character::Liar | Character::Sly(_) => Bitfield::all(self.geometry.pieces()),
            _ => node.have.clone(),
        };
        let us = peer_id(host, node.lives);
        node.swarm = Some(Swarm::new(
            node.spec.config.clone(),
            us,
            self.geometry,
            have,
            None,
            seed,
            self.now,
        ));
        let addr = node.addr;
        // The tracker says so (BEP 24).
        node.swarm.iter_mut().for_each(|swarm| swarm.seen_at(addr));
        let torrent = self.nodes[host].spec.torrent;
        let mut addrs: Vec<_> = (0..self.nodes.len())
            .filter(|&n| n != host && self.nodes[n].spec.torrent == torrent)
            .filter(|&n| self.nodes[n].swarm.is_some())
            .map(|n| self.nodes[n].addr)
            .collect();
        self.rng.shuffle(&mut addrs);
        addrs.truncate(self.neighbours);
        self.tell(
            host,
            Event::Discovered {
                addrs: &addrs,
                source: Source::Tracker,
            },
        );
    }

    fn leave(&mut self, host: Host) {
        self.nodes[host].swarm = None;
        self.nodes[host].lives += 1;
        self.nodes[host].kept.clear();
        self.owed.retain(|(h, _), _| *h != host);
        let ids: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, c)| c.ends.contains(&host))
            .map(|(&id, _)| id)
            .collect();
        let link = &mut self.links[self.nodes[host].link];
        link.ring.retain(|id| !ids.contains(id));
        for id in ids {
            let conn = &mut self.conns.get_mut(&id).unwrap();
            let side = usize::from(conn.ends[1] == host);
            conn.open[side] = false;
            let at = self.now + self.delay;
            self.at(
                at,
                Happening::Down {
                    conn: id,
                    to: 1 - side,
                },
            );
        }
    }

    fn up(&mut self, id: u64) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let ends = conn.ends;
        if ends.iter().any(|&h| self.nodes[h].swarm.is_none()) {
            self.conns.remove(&id);
            let addr = self.nodes[ends[1]].addr;
            return self.tell(ends[0], Event::DialFailed { addr });
        }
        for side in [1, 0] {
            let (us, them) = (ends[side], ends[1 - side]);
            let node = &self.nodes[them];
            let addr = if side == 0 {
                node.addr
            } else {
                SocketAddr::new(node.addr.ip(), 40000)
            };
            let event = Event::Connected {
                peer: PeerKey(id),
                id: peer_id(them, node.lives),
                addr,
                outgoing: side == 0,
                fast: self.fast,
                utp: false,
            };
            self.introduce(us, id, false);
            self.tell(us, event);
            if self.nodes[us].spec.character == Character::Babbler {
                self.babble(id, side);
            }
        }
    }

    fn introduce(&mut self, host: Host, id: u64, upload_only: bool) {
        let handshake = ExtendedHandshake {
            listen_port: Some(6881),
            request_queue: Some(500),
            upload_only,
            seed: self.nodes[host].spec.complete,
            ..ExtendedHandshake::default()
        };
        self.say(host, id, handshake.message());
    }

    /// Every kind of nonsense that decodes.
    fn babble(&mut self, id: u64, side: usize) {
        let block = self.geometry.block(PieceIndex(0), 0);
        for message in [
            Message::HaveAll,
            Message::Reject(block),
            Message::Cancel(block),
            Message::Unchoke,
            Message::Unknown(99),
        ] {
            self.send(id, side, Wire::Said(message));
        }
        for _ in 0..200 {
            self.send(id, side, Wire::Said(Message::Request(block)));
            self.send(id, side, Wire::Data(block, true));
        }
    }

    fn down(&mut self, id: u64, to: usize) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let host = conn.ends[to];
        conn.open[to] = false;
        if conn.open == [false; 2] {
            self.conns.remove(&id);
        }
        self.owed.retain(|(h, _), by| {
            if *h == host {
                by.remove(&id);
            }
            !by.is_empty()
        });
        self.tell(host, Event::Disconnected { peer: PeerKey(id) });
    }

    fn arrival(&mut self, id: u64, to: usize, wire: Wire) {
        let Some(conn) = self.conns.get(&id).filter(|c| c.open[to]) else {
            return;
        };
        let host = conn.ends[to];
        match wire {
            Wire::Said(message) => {
                if let Message::Reject(block) = message {
                    self.settled(host, block, id);
                }
                self.tell(
                    host,
                    Event::Message {
                        peer: PeerKey(id),
                        message,
                    },
                );
            }
            Wire::Data(block, bad) => self.data(host, id, block, bad),
        }
    }

    fn data(&mut self, host: Host, id: u64, block: Block, bad: bool) {
        self.settled(host, block, id);
        let mut out = Vec::new();
        let now = self.now;
        let node = &mut self.nodes[host];
        let Some(swarm) = &mut node.swarm else { return };
        if swarm.block_arrived(now, PeerKey(id), block, &mut out) == Verdict::Keep {
            let repeated = node.kept.insert(block, bad);
            assert_eq!(repeated, None, "host {host} keeps {block:?} twice");
        }
        self.act(host, out);
    }

    fn settled(&mut self, host: Host, block: Block, id: u64) {
        if let Some(by) = self.owed.get_mut(&(host, block)) {
            by.remove(&id);
        }
    }

    fn tell(&mut self, host: Host, event: Event<'_>) {
        let now = self.now;
        let mut out = Vec::new();
        if let Some(swarm) = &mut self.nodes[host].swarm {
            swarm.handle(now, event, &mut out);
            self.act(host, out);
        }
    }

    fn act(&mut self, host: Host, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { peer, message } => self.say(host, peer.0, message),
                Action::Serve { peer } => self.pump(host, peer.0),
                Action::Verify(piece) => self.hash(host, piece),
                Action::Forget(piece) => self.forget(host, piece),
                Action::Dial(addr) => self.dial(host, addr),
                Action::Close { peer, reason } => self.close(host, peer.0, reason),
                Action::Blame { addr, .. } => {
                    let other = self.nodes.iter().position(|n| n.addr.ip() == addr.ip());
                    self.accused.extend(other);
                }
                Action::UploadOnly { peer } => self.introduce(host, peer.0, true),
                Action::Complete => self.nodes[host].done = Some(self.now),
            }
        }
        let node = &mut self.nodes[host];
        let due = node.swarm.as_ref().and_then(Swarm::deadline);
        if let Some(due) = due.filter(|&due| node.tick_at.is_none_or(|at| due < at)) {
            node.tick_at = Some(due);
            self.at(due, Happening::Tick(host));
        }
    }

    fn say(&mut self, host: Host, id: u64, message: Message<'static>) {
        let Some(side) = self.side(host, id) else {
            return;
        };
        match message {
            Message::Request(block) => {
                let by = self.owed.entry((host, block)).or_default();
                by.insert(id);
                self.most_asked = self.most_asked.max(by.len());
            }
            Message::Cancel(block) => self.settled(host, block, id),
            _ => {}
        }
        self.send(id, side, Wire::Said(message));
    }

    fn side(&self, host: Host, id: u64) -> Option<usize> {
        let conn = self.conns.get(&id)?;
        (0..2).find(|&side| conn.ends[side] == host && conn.open[side])
    }

    fn dial(&mut self, host: Host, addr: SocketAddr) {
        let to = self
            .nodes
            .iter()
            .position(|n| n.addr == addr && n.swarm.is_some());
        let at = self.now + self.delay * 3;
        match to {
            Some(to) => {
                self.next_conn += 1;
                let id = self.next_conn;
                self.conns.insert(
                    id,
                    Conn {
                        ends: [host, to],
                        open: [true; 2],
                        out: Default::default(),
                        unsent: [0; 2],
                        arrives: [at; 2],
                    },
                );
                self.at(at, Happening::Up { conn: id });
            }
            None => self.at(at, Happening::NoAnswer(host, addr)),
        }
    }

    fn close(&mut self, host: Host, id: u64, reason: Close) {
        let Some(side) = self.side(host, id) else {
            return;
        };
        let conn = self.conns.get_mut(&id).unwrap();
        conn.open[side] = false;
        let (other, at) = (
            conn.ends[1 - side],
            (self.now + self.delay).max(conn.arrives[side]),
        );
        self.owed.retain(|(h, _), by| {
            if *h == host {
                by.remove(&id);
            }
            !by.is_empty()
        });
        if matches!(reason, Close::BadData | Close::Protocol) {
            self.nodes[other].blamed += 1;
        }
        self.at(
            at,
            Happening::Down {
                conn: id,
                to: 1 - side,
            },
        );
        let now = self.now;
        self.at(now, Happening::Down { conn: id, to: side });
    }

    fn forget(&mut self, host: Host, piece: PieceIndex) {
        self.nodes[host]
            .kept
            .retain(|block, _| block.piece != piece);
    }

    fn hash(&mut self, host: Host, piece: PieceIndex) {
        let blocks = (0..self.geometry.blocks(piece)).map(|n| self.geometry.block(piece, n));
        let node = &mut self.nodes[host];
        let sums: Vec<_> = blocks
            .map(|block| u64::from(node.kept.remove(&block).expect("a whole piece")))
            .collect();
        let life = node.lives;
        let took = Duration::from_nanos(u64::from(self.geometry.piece_len(piece)));
        let at = self.now + took;
        self.at(at, Happening::Hashed(host, life, piece, sums));
    }
}

fn peer_id(host: Host, life: u64) -> PeerId {
    let mut id = *b"-HM0100-............";
    let text = format!("{host:06}{life:06}");
    // Ids must not be in the order of the hosts: the order decides which of two connections stays.
    let mix = (host as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .to_be_bytes();
    id[8..20].copy_from_slice(text.as_bytes());
    id[0] = mix[0];
    PeerId(id)
}
