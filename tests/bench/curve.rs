//! What an announce costs the tracker itself, without any network, by the size of its swarm.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use hivebt::base::id::{InfoHash, PeerId};
use hivebt::base::time::Time;
use hivebt::core::tracker::{Commons, Config, Limits, Policy, Shard, Zones};
use hivebt::proto::tracker::{AnnounceReply, AnnounceRequest, Event};

use crate::Plan;
use crate::measure::{Contestant, Table, in_turns, median};

const SIZES: [u32; 5] = [10, 100, 1_000, 10_000, 100_000];
const ANNOUNCES: u32 = 200_000;
const SIZE: u64 = 1 << 30;

/// Nanoseconds for each size.
type Curve = [f64; SIZES.len()];

/// The table.
pub fn table(plan: &Plan) -> Table {
    let contestants: [Contestant<'_, Curve>; 4] = [
        ("random", Box::new(|| curve(Policy::RANDOM, World::again))),
        ("near", Box::new(|| curve(Policy::NEAR, World::again))),
        ("stage", Box::new(|| curve(Policy::STAGE, World::again))),
        (
            "random, one leaves and one comes",
            Box::new(|| curve(Policy::RANDOM, World::change)),
        ),
    ];
    let samples = in_turns(plan.rounds, &contestants);
    let title = "Nanoseconds of the tracker's core for one announce that is answered with 50 peers, by the size of the swarm";
    let head = ["policy", "10", "100", "1,000", "10,000", "100,000"];
    let mut table = Table::new(title, &head);
    for ((name, _), samples) in contestants.iter().zip(&samples) {
        let cells = (0..SIZES.len()).map(|at| format!("{:.0}", median(samples, |curve| curve[at])));
        table.row(std::iter::once((*name).to_owned()).chain(cells));
    }
    table
}

fn curve(policy: Policy, act: fn(&mut World)) -> Curve {
    SIZES.map(|size| {
        let mut world = World::new(policy, size);
        let begun = Instant::now();
        (0..ANNOUNCES).for_each(|_| act(&mut world));
        begun.elapsed().as_nanos() as f64 / f64::from(ANNOUNCES)
    })
}

/// One swarm of so many peers.
struct World {
    shard: Shard,
    size: u32,
    /// Peers that have come so far.
    come: u32,
    rng: fastrand::Rng,
    reply: AnnounceReply,
}

impl World {
    fn new(policy: Policy, size: u32) -> Self {
        let config = Config {
            policy,
            ..Config::default()
        };
        let mut shard = Shard::new(config, Arc::new(Commons::new(Limits::default(), 3)), 7);
        // Sixteen zones of sixteen /16 each.
        let zones: String = (0..=255)
            .map(|n| format!("10.{n}.0.0/16 z{}\n", n % 16))
            .collect();
        let zones = Zones::read(&zones).expect("zones");
        shard.set_zones(Time::ZERO, Arc::new(zones));
        let mut world = Self {
            shard,
            size,
            come: 0,
            rng: fastrand::Rng::with_seed(5),
            reply: AnnounceReply::default(),
        };
        (0..size).for_each(|_| world.come());
        world
    }

    fn come(&mut self) {
        self.come += 1;
        self.announce(self.come - 1, Event::Started);
    }

    /// Somebody announces itself again.
    fn again(&mut self) {
        let peer = self.rng.u32(..self.size);
        self.announce(peer, Event::None);
    }

    /// The one who came first leaves, and another one comes: two announces, one of them without peers.
    fn change(&mut self) {
        self.announce(self.come - self.size, Event::Stopped);
        self.come();
    }

    fn announce(&mut self, peer: u32, event: Event) {
        let mut id = *b"-XX0001-............";
        id[8..12].copy_from_slice(&peer.to_be_bytes());
        let left = match peer % 4 {
            0 => 0,
            _ => self.rng.u64(1..SIZE),
        };
        let request = AnnounceRequest {
            left: Some(left),
            event,
            ..AnnounceRequest::new(InfoHash([1; 20]), PeerId(id), 6881)
        };
        // Neighbours in number are not neighbours in address.
        let ip = Ipv4Addr::from_bits((10 << 24) | (peer.wrapping_mul(0x9e37_79b1) >> 8));
        let Self {
            shard, rng, reply, ..
        } = self;
        shard
            .announce(Time::from_secs(5), IpAddr::V4(ip), &request, rng, reply)
            .expect("there is room");
        black_box(&reply.peers);
    }
}
