//! Announces over HTTP and UDP: how many a second, and how many for each second of the server's CPU.

use std::time::Duration;

use crate::Plan;
use crate::crowd::{self, PEERS, SWARMS, WANTED};
use crate::measure::{Contestant, Table, in_turns, median, mib};
use crate::rivals::{PORT, Rival};
use crate::support::foreign::wait_until_served;
use crate::support::hosts::{Host, Network};
use crate::support::process::{Process, cpu_time, peak_memory};
use crate::support::say::say;
use crate::support::tempdir::TempDir;
use crate::{load, load_udp};

const WARM_UP: Duration = Duration::from_millis(500);
const SPAN: Duration = Duration::from_secs(4);
const CLIENTS: u32 = 4;
/// Over UDP each has one address, and ours limits how many peers an address may have.
const UDP_CLIENTS: u32 = 8;

/// What one load came to.
struct Load {
    per_second: f64,
    per_cpu_second: f64,
    /// Peers in a reply, on average, where they were counted.
    peers: f64,
    peak: u64,
}

/// Where it happens: a machine of its own, so that the trackers may listen on all its addresses.
pub struct Place {
    network: Network,
    dir: TempDir,
}

impl Place {
    /// None, after a word, where it cannot be had.
    pub fn new() -> Option<Self> {
        match Network::loopback(1) {
            Ok(network) => Some(Self {
                network,
                dir: TempDir::new("bench-announce"),
            }),
            Err(reason) => {
                say(format_args!("no announces: {reason}"));
                None
            }
        }
    }

    fn host(&self) -> &Host {
        self.network.host(0)
    }

    /// Starts a tracker, lets `work` at it within its network, and says what that came to.
    pub fn measure<T: Send>(&self, rival: Rival, work: impl FnOnce(&Process) -> T + Send) -> T {
        let server = Process::start(rival.name(), rival.command(self.host(), &self.dir));
        if rival == Rival::Opentracker {
            // It opens its port before it has read its list.
            let hashes = crowd::hashes();
            let last = hashes.last().expect("an info-hash").as_str();
            wait_until_served(&server, self.host(), ([127, 0, 0, 1], PORT).into(), &[last]);
        }
        self.host().within(|| work(&server))
    }
}

/// The table, or none where there is no place for it.
pub fn over_http(plan: &Plan) -> Option<Table> {
    let place = Place::new()?;
    let contestants = [
        (Rival::Ours, "hivebt-tracker", false),
        (Rival::Ours, "hivebt-tracker, connections kept", true),
        (Rival::Opentracker, "opentracker", false),
    ];
    let there = contestants.iter().filter(|(rival, ..)| is_there(*rival));
    let contestants: Vec<Contestant<'_, Load>> = there
        .map(|&(rival, name, keep)| -> Contestant<'_, Load> {
            let place = &place;
            let run = move || place.measure(rival, |server| load_http(server, keep));
            (name, Box::new(run))
        })
        .collect();
    let samples = in_turns(plan.rounds, &contestants);
    Some(table("HTTP", CLIENTS, &contestants, &samples))
}

/// The same over UDP.
pub fn over_udp(plan: &Plan) -> Option<Table> {
    let place = Place::new()?;
    let rivals = [
        Rival::Ours,
        Rival::Opentracker,
        Rival::AquaticUdp,
        Rival::Echo,
    ];
    let there = rivals.into_iter().filter(|rival| is_there(*rival));
    let contestants: Vec<Contestant<'_, Load>> = there
        .map(|rival| -> Contestant<'_, Load> {
            let place = &place;
            let run = move || place.measure(rival, load_udp);
            (rival.name(), Box::new(run))
        })
        .collect();
    let samples = in_turns(plan.rounds, &contestants);
    Some(table("UDP", UDP_CLIENTS, &contestants, &samples))
}

fn is_there(rival: Rival) -> bool {
    rival.missing().map(say).is_none()
}

fn load_http(server: &Process, keep: bool) -> Load {
    let clients = load::Clients {
        port: PORT,
        threads: CLIENTS,
        keep,
    };
    clients.announce_all();
    clients.run(WARM_UP);
    let before = cpu_time(server.pid()).unwrap_or_default();
    let (answered, seconds) = clients.run(SPAN);
    let cpu = cpu_time(server.pid()).unwrap_or_default() - before;
    Load {
        per_second: answered as f64 / seconds,
        per_cpu_second: answered as f64 / cpu.as_secs_f64(),
        peers: f64::NAN,
        peak: peak_memory(server.pid()).unwrap_or(0),
    }
}

fn load_udp(server: &Process) -> Load {
    let mut clients = load_udp::Clients::connect(PORT, UDP_CLIENTS);
    clients.run(WARM_UP);
    let before = cpu_time(server.pid()).unwrap_or_default();
    let answered = clients.run(SPAN);
    let cpu = cpu_time(server.pid()).unwrap_or_default() - before;
    let announces = answered.announces as f64;
    Load {
        per_second: announces / answered.seconds,
        per_cpu_second: announces / cpu.as_secs_f64(),
        peers: answered.peers as f64 / announces,
        peak: peak_memory(server.pid()).unwrap_or(0),
    }
}

fn table(
    carrier: &str,
    clients: u32,
    contestants: &[Contestant<'_, Load>],
    samples: &[Vec<Load>],
) -> Table {
    let head = [
        "tracker",
        "announces/s",
        "announces per CPU second of the server",
        "beside ours",
        "peers in a reply",
        "peak memory (MiB)",
    ];
    let title = format!(
        "Announces over {carrier}, {clients} clients on the same machine, {SWARMS} swarms of {PEERS} peers, {WANTED} peers asked for"
    );
    let mut table = Table::new(title, &head);
    let ours = median(&samples[0], |load| load.per_cpu_second);
    for ((name, _), samples) in contestants.iter().zip(samples) {
        let per_cpu_second = median(samples, |load| load.per_cpu_second);
        let peers = median(samples, |load| load.peers);
        table.row([
            (*name).to_owned(),
            format!("{:.0}", median(samples, |load| load.per_second)),
            format!("{per_cpu_second:.0}"),
            format!("{:.2}", per_cpu_second / ours),
            if peers.is_nan() {
                "–".to_owned()
            } else {
                format!("{peers:.0}")
            },
            mib(median(samples, |load| load.peak as f64)),
        ]);
    }
    table
}
