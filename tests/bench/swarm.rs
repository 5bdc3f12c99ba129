//! One origin and N workers, each on a link of its own to one switch: how long until the last of them has the payload.
//!
//! Each peer is in a network namespace of its own; `tc tbf` gives it a rate each way. Our tracker is on a host of its own without a limit. The
//! origin seeds, then all workers are started together, and each goes on seeding as it does when nobody attends to it (ours: `get --seed`; the
//! others: as they come). Time runs from the start of the first worker to the moment when the last one says that it is complete, its own start
//! included; every copy is compared with the original afterwards.
//!
//! The environment: `HIVEBT_BENCH_MIB` (64), `HIVEBT_BENCH_PIECE` (256K), `HIVEBT_BENCH_SWARMS` workers x Mbit/s (`8x80,16x40`),
//! `HIVEBT_BENCH_ROUNDS` of ours (3), `HIVEBT_BENCH_RIVAL_ROUNDS` of each other (1), `HIVEBT_BENCH_ONLY` programs (`hivebt,libtorrent`),
//! `HIVEBT_BENCH_OPTIONS` for our peers (`--max-uploads 4`), `HIVEBT_BENCH_VERBOSE=1` to tell each worker's time; `HIVEBT_BENCH_ODD=late`: the last
//! quarter of the workers comes when half of the bound has passed, `=slow`: the last tenth has half of the rate;
//! `HIVEBT_BENCH_BURST` (16384 bytes) and `HIVEBT_BENCH_QUEUE` (50 ms) of the links. With `HIVEBT_BIN` the programs of
//! another build are measured.

mod fleet;
mod programs;
mod run;
mod settings;

use std::fs;
use std::time::Duration;

use crate::measure::{Table, median, ratio, seconds};
use crate::support::hosts::Network;
use crate::support::links::{Link, shape};
use crate::support::ours::Torrent;
use crate::support::payload;
use crate::support::say::say;
use crate::support::tempdir::TempDir;
use fleet::swarm;
use programs::Program;
use run::Run;
use settings::{Odd, Settings};

const PORT: u16 = 8080;
/// A run that has taken so many times the bound is given up.
const PATIENCE: f64 = 10.0;

/// A table for each size of swarm.
///
/// # Errors
/// What of the environment is wrong, or why there can be no shaped links here.
pub fn tables() -> Result<Vec<Table>, String> {
    let settings = Settings::from_environment()?;
    let swarm = |&(workers, rate): &(usize, u64)| table(&settings, workers, rate);
    settings.swarms.iter().map(swarm).collect()
}

/// Where all programs swarm, one after the other. Host 0 is the origin, the workers follow, the last one has the tracker.
struct Stage<'a> {
    settings: &'a Settings,
    network: Network,
    torrent: Torrent,
    workers: usize,
    /// Seconds that no protocol can beat.
    bound: f64,
    /// The same for the odd ones, each from its own start.
    odd_bound: f64,
}

impl Stage<'_> {
    /// How many workers are as the rest.
    fn usual(&self) -> usize {
        self.workers - self.settings.odd.of(self.workers)
    }

    /// How long a run may take.
    fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.odd_bound * PATIENCE)
    }
}

fn table(settings: &Settings, workers: usize, rate: u64) -> Result<Table, String> {
    let hosts = u8::try_from(workers + 2).expect("at most 252");
    let network = Network::new(hosts)?;
    let usual = workers - settings.odd.of(workers);
    let full = rate * 1_000_000;
    let odd = if settings.odd == Odd::Slow {
        full / 2
    } else {
        full
    };
    for i in 0..=workers {
        let rate = if i > usual { odd } else { full };
        let (burst, queue) = (settings.burst, settings.queue);
        shape(&network, i, Link { rate, burst, queue })?;
    }
    let dir = TempDir::in_memory("bench-swarm");
    let file = dir.join("data/payload.bin");
    payload::file(&file, settings.mib << 20, 3);
    let announce = format!(
        "http://{}:{PORT}/announce",
        network.host(workers + 1).address
    );
    let torrent = Torrent::create(&file, &announce, &["-l", &settings.piece]);
    let bits = torrent.bytes as f64 * 8.0;
    let stage = Stage {
        settings,
        network,
        workers,
        bound: bound(bits, &vec![full as f64; usual], full as f64),
        odd_bound: bits / odd as f64,
        torrent,
    };
    let title = format!(
        "{workers} workers on links of {rate} Mbit/s each way{}, {} MiB in pieces of {}, TCP {}; bound {:.2} s; ours {} times, the others {}",
        match settings.odd {
            Odd::None => "",
            Odd::Late => ", a quarter of them late",
            Odd::Slow => ", a tenth of them at half of the rate",
        },
        settings.mib,
        settings.piece,
        congestion_control(),
        stage.bound,
        settings.rounds,
        settings.rival_rounds,
    );
    say(&title);
    let samples = in_turns(&stage);
    Ok(tabulate(&title, &stage, &samples))
}

/// Kumar and Ross: the origin has to send every bit once, the slowest worker has to receive all of them, and together all have to send N copies.
fn bound(bits: f64, links: &[f64], origin: f64) -> f64 {
    let slowest = links.iter().copied().fold(f64::INFINITY, f64::min);
    let together = origin + links.iter().sum::<f64>();
    let copies = links.len() as f64;
    (bits / origin)
        .max(bits / slowest)
        .max(copies * bits / together)
}

fn congestion_control() -> String {
    let path = "/proc/sys/net/ipv4/tcp_congestion_control";
    fs::read_to_string(path).map_or("unknown".into(), |text| text.trim().to_owned())
}

/// Every program once in each of its rounds, in turns, so that a slow minute of the machine hits all of them.
fn in_turns(stage: &Stage<'_>) -> Vec<Vec<Run>> {
    let settings = stage.settings;
    let mut samples: Vec<Vec<Run>> = settings.programs.iter().map(|_| Vec::new()).collect();
    for round in 1..=settings.rounds.max(settings.rival_rounds) {
        for (&(name, program), samples) in settings.programs.iter().zip(&mut samples) {
            let rounds = match program {
                Program::Ours => settings.rounds,
                Program::Theirs(_) => settings.rival_rounds,
            };
            if round <= rounds {
                let run = swarm(program, stage);
                say(format_args!("round {round}: {name}: {}", run.told(stage)));
                samples.push(run);
            }
        }
    }
    samples
}

fn tabulate(title: &str, stage: &Stage<'_>, samples: &[Vec<Run>]) -> Table {
    let mut head = vec![
        "program",
        "time (s)",
        "time ÷ bound",
        "÷ bound from the last start",
        "mean ÷ bound",
        "copies that the origin sent",
        "fairness",
        "CPU origin (s)",
        "CPU worker (s)",
        "time beside ours",
    ];
    let mixed = stage.settings.odd != Odd::None;
    if mixed {
        head.push("odd ones ÷ their bound");
    }
    let mut table = Table::new(title, &head);
    let programs = &stage.settings.programs;
    let time = |runs: &[Run]| median(runs, Run::makespan);
    let ours = programs
        .iter()
        .zip(samples)
        .find_map(|((_, program), runs)| matches!(program, Program::Ours).then(|| time(runs)));
    for ((name, _), runs) in programs.iter().zip(samples) {
        if runs.is_empty() {
            continue;
        }
        let time = time(runs);
        let of_bound = |of: &dyn Fn(&Run) -> f64| {
            let value = median(runs, of) / stage.bound;
            if value.is_finite() {
                format!("{value:.2}")
            } else {
                "-".to_owned()
            }
        };
        let shown = if time.is_finite() {
            seconds(time)
        } else {
            format!("not done in {:.0}", stage.patience().as_secs_f64())
        };
        let mut cells = vec![
            (*name).to_owned(),
            shown,
            of_bound(&Run::makespan),
            of_bound(&Run::moving),
            of_bound(&Run::mean),
            format!("{:.2}", median(runs, |run| run.copies(stage))),
            if time.is_finite() {
                format!("{:.3}", median(runs, Run::fairness))
            } else {
                "-".to_owned()
            },
            seconds(median(runs, |run| run.origin_cpu)),
            seconds(median(runs, |run| median(&run.worker_cpu, |&cpu| cpu))),
            ours.filter(|_| time.is_finite())
                .map_or("-".to_owned(), |ours| ratio(time, ours)),
        ];
        if mixed {
            let odd = median(runs, Run::odd_makespan) / stage.odd_bound;
            cells.push(format!("{odd:.2}"));
        }
        table.row(cells);
    }
    table
}
