//! What goes over the links: the order in which an uplink sends, and when it arrives.

use std::collections::VecDeque;
use std::time::Duration;

use hivebt::base::geometry::Block;
use hivebt::base::time::Time;
use hivebt::core::swarm::event::PeerKey;
use hivebt::proto::peer::message::Message;

use super::agenda::Happening;
use super::{Character, Host, Spec, World};

/// Blocks of one connection that wait for the uplink.
const UNSENT: u32 = 2;
/// How much a receiver may have coming before senders pass it over.
const WINDOW: u64 = 128 * 1024;

#[derive(Clone, Debug)]
pub(super) enum Wire {
    Said(Message<'static>),
    Data(Block, bool),
}

pub(super) struct Conn {
    /// The dialler first.
    pub(super) ends: [Host; 2],
    pub(super) open: [bool; 2],
    /// What either end has not sent; a block first, unless there is nothing.
    pub(super) out: [VecDeque<Wire>; 2],
    /// The blocks in there.
    pub(super) unsent: [u32; 2],
    /// When the last thing sent by either end arrives.
    pub(super) arrives: [Time; 2],
}

pub(super) struct Link {
    pub(super) up: u64,
    pub(super) down: u64,
    /// Connections that have something for the uplink.
    pub(super) ring: VecDeque<u64>,
    pub(super) sending: bool,
    pub(super) down_free: Time,
}

impl Link {
    pub(super) fn of(spec: &Spec) -> Self {
        Self {
            up: spec.up,
            down: spec.down,
            ring: VecDeque::new(),
            sending: false,
            down_free: Time::ZERO,
        }
    }
}

impl World {
    pub(super) fn send(&mut self, id: u64, side: usize, wire: Wire) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let host = conn.ends[side];
        let idle = conn.out[side].is_empty();
        if let Wire::Data(..) = wire {
            conn.unsent[side] += 1;
        } else if idle {
            let arrives = (self.now + self.delay).max(conn.arrives[side]);
            conn.arrives[side] = arrives;
            return self.at(
                arrives,
                Happening::Arrival {
                    conn: id,
                    to: 1 - side,
                    wire,
                },
            );
        }
        conn.out[side].push_back(wire);
        let link = self.nodes[host].link;
        if idle {
            self.links[link].ring.push_back(id);
        }
        self.transmit(link);
    }

    /// The writer of a connection: takes blocks whenever little is unsent.
    pub(super) fn pump(&mut self, host: Host, id: u64) {
        if self.nodes[host].spec.character == Character::FreeRider {
            return;
        }
        while let Some(side) = self
            .side(host, id)
            .filter(|&side| self.conns[&id].unsent[side] < UNSENT)
        {
            let (mut blocks, mut out) = (Vec::new(), Vec::new());
            let now = self.now;
            let Some(swarm) = &mut self.nodes[host].swarm else {
                return;
            };
            swarm.next_uploads(now, PeerKey(id), 1, &mut blocks, &mut out);
            let character = self.nodes[host].spec.character;
            let idle = blocks.is_empty();
            for block in blocks {
                let bad = match character {
                    Character::Liar => true,
                    Character::Sly(one_in) => self.rng.u32(..one_in) == 0,
                    _ => false,
                };
                self.nodes[host].sent += u64::from(block.len);
                self.send(id, side, Wire::Data(block, bad));
            }
            self.act(host, out);
            if idle {
                return;
            }
        }
    }

    /// Lets the uplink send the next block, of the connection that has waited longest and whose receiver has room. If all are full, waits
    /// for the first of them.
    pub(super) fn transmit(&mut self, link: usize) {
        if self.links[link].sending {
            return;
        }
        let mut ring = std::mem::take(&mut self.links[link].ring);
        ring.retain(|id| self.conns.contains_key(id));
        let room = ring.iter().map(|id| self.room(link, *id));
        let next = match room.clone().position(|at| at <= self.now) {
            Some(n) => ring.remove(n),
            None => {
                if let Some(at) = room.min() {
                    self.links[link].sending = true;
                    self.at(at, Happening::Uplink(link));
                }
                None
            }
        };
        self.links[link].ring = ring;
        if let Some(id) = next {
            self.depart(link, id);
        }
    }

    /// When the receiver at the other end has room for another block.
    fn room(&self, link: usize, id: u64) -> Time {
        let ends = self.conns[&id].ends;
        let to = ends[usize::from(self.nodes[ends[0]].link == link)];
        let to = &self.links[self.nodes[to].link];
        to.down_free - self.delay - Duration::from_micros(WINDOW * 1_000_000 / to.down)
    }

    /// Sends a block of that connection, and the messages that follow it.
    fn depart(&mut self, link: usize, id: u64) {
        let conn = self.conns.get_mut(&id).unwrap();
        let side = usize::from(self.nodes[conn.ends[1]].link == link);
        let host = conn.ends[side];
        let Some(Wire::Data(block, bad)) = conn.out[side].pop_front() else {
            return;
        };
        let mut burst = vec![Wire::Data(block, bad)];
        while let Some(Wire::Said(_)) = conn.out[side].front() {
            burst.extend(conn.out[side].pop_front());
        }
        if !conn.out[side].is_empty() {
            self.links[link].ring.push_back(id);
        }
        conn.unsent[side] -= 1;
        let spend = |rate: u64| Duration::from_nanos(u64::from(block.len) * 1_000_000_000 / rate);
        let departs = self.now + spend(self.links[link].up);
        let to = &mut self.links[self.nodes[conn.ends[1 - side]].link];
        let free = to.down_free.max(self.now + self.delay) + spend(to.down);
        to.down_free = free.max(departs + self.delay);
        let arrives = to.down_free.max(conn.arrives[side]);
        conn.arrives[side] = arrives;
        for wire in burst {
            self.at(
                arrives,
                Happening::Arrival {
                    conn: id,
                    to: 1 - side,
                    wire,
                },
            );
        }
        self.links[link].sending = true;
        self.at(departs, Happening::Uplink(link));
        self.pump(host, id);
    }
}
