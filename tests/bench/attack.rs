//! How long announces over HTTP take while somebody holds thousands of connections, beside the same without them.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Plan;
use crate::announce::Place;
use crate::load;
use crate::measure::{Contestant, Table, in_turns, median, mib};
use crate::rivals::{PORT, Rival};
use crate::support::process::{Process, peak_memory};

const IDLE: usize = 5_000;
const SLOW: usize = 500;
const ANNOUNCES: u32 = 5_000;

/// What the announces of one run took.
struct Took {
    sorted: Vec<Duration>,
    /// Connections that could be had.
    held: usize,
    peak: u64,
}

impl Took {
    /// Milliseconds within which so many percent of them were answered.
    fn within(&self, percent: usize) -> f64 {
        let last = self.sorted.len() - 1;
        self.sorted[last * percent / 100].as_secs_f64() * 1e3
    }
}

/// The table, or none where there is no place for it.
pub fn table(plan: &Plan) -> Option<Table> {
    let place = Place::new()?;
    let most = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, all).expect("as many descriptors as there may be");
    let cases = [
        (Rival::Ours, "hivebt-tracker, alone", false),
        (Rival::Ours, "hivebt-tracker, attacked", true),
        (Rival::Opentracker, "opentracker, alone", false),
        (Rival::Opentracker, "opentracker, attacked", true),
    ];
    let there = cases.iter().filter(|(rival, ..)| rival.missing().is_none());
    let contestants: Vec<Contestant<'_, Took>> = there
        .map(|&(rival, name, attacked)| -> Contestant<'_, Took> {
            let place = &place;
            let run = move || place.measure(rival, |server| measure(server, attacked));
            (name, Box::new(run))
        })
        .collect();
    let samples = in_turns(plan.rounds, &contestants);
    let head = [
        "tracker",
        "half within (ms)",
        "99 % within (ms)",
        "slowest (ms)",
        "connections held",
        "peak memory (MiB)",
    ];
    let title = format!(
        "Announces over HTTP one after the other, {ANNOUNCES} of them; under attack while others hold {IDLE} idle connections and {SLOW} that send a byte a second"
    );
    let mut table = Table::new(title, &head);
    for ((name, _), samples) in contestants.iter().zip(&samples) {
        let within = |percent| format!("{:.2}", median(samples, |took| took.within(percent)));
        table.row([
            (*name).to_owned(),
            within(50),
            within(99),
            within(100),
            format!("{:.0}", median(samples, |took| took.held as f64)),
            mib(median(samples, |took| took.peak as f64)),
        ]);
    }
    Some(table)
}

fn measure(server: &Process, attacked: bool) -> Took {
    let clients = load::Clients {
        port: PORT,
        threads: 2,
        keep: false,
    };
    clients.announce_all();
    let (idle, slow) = if attacked {
        (hold(IDLE), hold(SLOW))
    } else {
        (Vec::new(), Vec::new())
    };
    let held = idle.len() + slow.len();
    let mut sorted = thread::scope(|scope| {
        let announcing = scope.spawn(|| clients.in_turn(ANNOUNCES));
        dawdle(slow, || announcing.is_finished());
        announcing.join().expect("no panic")
    });
    sorted.sort_unstable();
    Took {
        sorted,
        held,
        peak: peak_memory(server.pid()).unwrap_or(0),
    }
}

/// So many connections, as far as they can be had.
fn hold(n: usize) -> Vec<TcpStream> {
    // To many addresses, because the ports of one could run out.
    let connect = |n: usize| {
        let to = Ipv4Addr::new(127, 9, u8::try_from(n % 200).unwrap_or(0), 1);
        TcpStream::connect((to, PORT)).ok()
    };
    (0..n).filter_map(connect).collect()
}

/// Sends a byte of an announce on each connection every second, until it is over.
fn dawdle(mut slow: Vec<TcpStream>, is_over: impl Fn() -> bool) {
    let request = b"GET /announce?info_hash=";
    for byte in request.iter().cycle() {
        let next = Instant::now() + Duration::from_secs(1);
        for stream in &mut slow {
            // The tracker may have had enough of it.
            let _ = stream.write(&[*byte]);
        }
        while Instant::now() < next {
            if is_over() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
