//! One origin and N workers, each on a link of its own to one switch: how long until the last of them has the payload.
//!
//! Each peer is in a network namespace of its own; `tc tbf` gives it a rate each way. Our tracker is on a host of its own without a limit. The
//! origin seeds, then all workers are started together, and each goes on seeding as it does when nobody attends to it (ours: `get --seed`; the
//! others: as they come). Time runs from the start of the first worker to the moment when the last one says that it is complete, its own start
//! included; every copy is compared with the original afterwards.
//!
//! The environment: `HIVEBT_BENCH_MIB` (64), `HIVEBT_BENCH_PIECE` (256K), `HIVEBT_BENCH_SWARMS` workers x Mbit/s (`8x80,16x40`),
//! `HIVEBT_BENCH_ROUNDS` of ours (3), `HIVEBT_BENCH_RIVAL_ROUNDS` of each other (1), `HIVEBT_BENCH_ONLY` programs (`hivebt,libtorrent`),
//! `HIVEBT_BENCH_OPTIONS` for our peers (`--max-uploads 4`), `HIVEBT_BENCH_VERBOSE=1` to tell each worker's time. With `HIVEBT_BIN` the
//! programs of another build are measured.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{Table, median, ratio, seconds};
use crate::support::foreign::Client;
use crate::support::hosts::{Host, Network};
use crate::support::links::{Connections, Sent, sent, shape};
use crate::support::ours::{Peer, Torrent, Tracker};
use crate::support::process::{Process, cpu_time};
use crate::support::say::say;
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};

const PORT: u16 = 8080;
/// A run that has taken so many times the bound is given up.
const PATIENCE: f64 = 10.0;
/// For the end of a program that is told to end.
const GRACE: Duration = Duration::from_secs(20);

/// Who swarms.
#[derive(Clone, Copy)]
enum Program {
    Ours,
    Theirs(Client),
}

const PROGRAMS: [(&str, Program); 6] = [
    ("hivebt", Program::Ours),
    ("libtorrent", Program::Theirs(Client::Libtorrent)),
    ("libtorrent-super", Program::Theirs(Client::LibtorrentSuper)),
    ("aria2c", Program::Theirs(Client::Aria2)),
    ("rqbit", Program::Theirs(Client::Rqbit)),
    ("Transmission", Program::Theirs(Client::Transmission)),
];

impl Program {
    /// The host as the program is told about it.
    fn place(self, host: &Host) -> Host {
        let mut place = host.clone();
        // With an address it uses TCP alone, which on these links is faster than its uTP: 2.1 × bound in place of 2.6, with 8 workers.
        place.shared = matches!(
            self,
            Self::Theirs(Client::Libtorrent | Client::LibtorrentSuper)
        );
        place
    }

    fn seed(self, host: &Host, torrent: &Torrent, data: &TempDir, options: &[&str]) -> Process {
        let host = &self.place(host);
        match self {
            Self::Ours => Peer::seed(host, &torrent.file, data.path(), options).process,
            Self::Theirs(client) => {
                client.seed(host, &torrent.file, data.path(), &data.join("home"))
            }
        }
    }

    fn get(self, host: &Host, torrent: &Torrent, to: &TempDir, options: &[&str]) -> Process {
        let host = &self.place(host);
        match self {
            Self::Ours => {
                let options = [&["--seed"], options].concat();
                Peer::get(host, &torrent.file, to.path(), &options).process
            }
            Self::Theirs(client) => {
                client.get_and_stay(host, &torrent.file, to.path(), &to.join("home"))
            }
        }
    }

    fn says_complete(self, line: &str) -> bool {
        match self {
            Self::Ours => line.starts_with("{\"event\":\"complete\""),
            Self::Theirs(client) => client.says_complete(line),
        }
    }
}

/// What the environment asks for.
struct Settings {
    mib: u64,
    piece: String,
    swarms: Vec<(usize, u64)>,
    rounds: usize,
    rival_rounds: usize,
    programs: Vec<(&'static str, Program)>,
    options: Vec<String>,
    verbose: bool,
}

impl Settings {
    fn from_environment() -> Result<Self, String> {
        let text = |name: &str, default: &str| {
            let given = std::env::var(format!("HIVEBT_BENCH_{name}"));
            given.unwrap_or_else(|_| default.to_owned())
        };
        let number = |name: &str, default: &str| -> Result<u64, String> {
            let given = text(name, default);
            let parsed = given.parse();
            parsed.map_err(|_| format!("HIVEBT_BENCH_{name} is no number: `{given}`"))
        };
        let swarm = |word: &str| -> Result<(usize, u64), String> {
            let parsed = || -> Option<(usize, u64)> {
                let (workers, rate) = word.split_once('x')?;
                Some((workers.parse().ok()?, rate.parse().ok()?))
            };
            let wanted =
                parsed().filter(|&(workers, rate)| (1..=250).contains(&workers) && rate > 0);
            wanted.ok_or(format!(
                "HIVEBT_BENCH_SWARMS is WORKERSxMBITS,..., not `{word}`"
            ))
        };
        let only = text("ONLY", "").to_lowercase();
        let mut programs = PROGRAMS.to_vec();
        let named = |name: &str| only.split(',').any(|word| name.eq_ignore_ascii_case(word));
        programs.retain(|(name, _)| only.is_empty() || named(name));
        programs.retain(|(_, program)| match program {
            Program::Ours => true,
            Program::Theirs(client) => client.missing().map(say).is_none(),
        });
        if programs.is_empty() {
            return Err(format!("HIVEBT_BENCH_ONLY leaves nobody: `{only}`"));
        }
        Ok(Self {
            mib: number("MIB", "64")?,
            piece: text("PIECE", "256K"),
            swarms: text("SWARMS", "8x80,16x40")
                .split(',')
                .map(swarm)
                .collect::<Result<_, _>>()?,
            rounds: usize::try_from(number("ROUNDS", "3")?).expect("fits"),
            rival_rounds: usize::try_from(number("RIVAL_ROUNDS", "1")?).expect("fits"),
            programs,
            options: text("OPTIONS", "")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            verbose: !text("VERBOSE", "").is_empty(),
        })
    }
}

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
}

fn table(settings: &Settings, workers: usize, rate: u64) -> Result<Table, String> {
    let hosts = u8::try_from(workers + 2).expect("at most 252");
    let network = Network::new(hosts)?;
    for i in 0..=workers {
        shape(&network, i, rate * 1_000_000)?;
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
        bound: bound(bits, &vec![rate as f64 * 1e6; workers], rate as f64 * 1e6),
        torrent,
    };
    let title = format!(
        "{workers} workers on links of {rate} Mbit/s each way, {} MiB in pieces of {}, TCP {}; bound {:.2} s",
        settings.mib,
        settings.piece,
        congestion_control(),
        stage.bound
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

/// How one swarm went.
struct Run {
    /// Seconds from the start of the first worker to each worker's complete payload; infinite if it never came.
    completed: Vec<f64>,
    /// The same to each worker's first connection: until then its program has been starting.
    begun: Vec<f64>,
    /// By the origin, from the workers' start to the last completion.
    sent: Sent,
    /// Seconds.
    origin_cpu: f64,
    /// Seconds.
    worker_cpu: Vec<f64>,
}

impl Run {
    fn makespan(&self) -> f64 {
        self.completed.iter().copied().fold(0.0, f64::max)
    }

    fn mean(&self) -> f64 {
        self.completed.iter().sum::<f64>() / self.completed.len() as f64
    }

    /// From when the last worker's program has started. Somebody has been moving by then: this flatters who starts slowly.
    fn moving(&self) -> f64 {
        self.makespan() - self.begun.iter().copied().fold(0.0, f64::max)
    }

    fn copies(&self, stage: &Stage<'_>) -> f64 {
        self.sent.bytes as f64 / stage.torrent.bytes as f64
    }

    /// Jain's index of the workers' rates: 1 if all are equal, 1/N if one has everything.
    fn fairness(&self) -> f64 {
        let rates: Vec<f64> = self.completed.iter().map(|time| 1.0 / time).collect();
        let sum: f64 = rates.iter().sum();
        let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
        sum * sum / (squares * rates.len() as f64)
    }

    /// A line about it, and with `HIVEBT_BENCH_VERBOSE` one about its workers.
    fn told(&self, stage: &Stage<'_>) -> String {
        let done = self
            .completed
            .iter()
            .filter(|time| time.is_finite())
            .count();
        let mut line = format!(
            "{:.2} s, {:.2} x bound ({:.2} from the last start), {:.2} copies, {done} of {} done, {} packets dropped at the origin",
            self.makespan(),
            self.makespan() / stage.bound,
            self.moving() / stage.bound,
            self.copies(stage),
            stage.workers,
            self.sent.dropped,
        );
        if stage.settings.verbose {
            let list = |values: &[f64]| {
                let words: Vec<String> = values.iter().map(|v| format!("{v:.2}")).collect();
                words.join(" ")
            };
            line += &format!("\n  complete: {}", list(&self.completed));
            line += &format!("\n  started: {}", list(&self.begun));
            line += &format!(
                "\n  CPU: origin {:.2}, workers {}",
                self.origin_cpu,
                list(&self.worker_cpu)
            );
        }
        line
    }
}

/// A worker as it is watched.
struct Worker {
    process: Process,
    to: TempDir,
    connections: Connections,
    /// Up to where its words have been looked at.
    mark: usize,
    begun: Option<Instant>,
    completed: Option<Instant>,
}

impl Worker {
    /// Looks at what it has done; whether it is still to be waited for.
    fn look(&mut self, program: Program) -> bool {
        if self.begun.is_none() && self.connections.opened() > 0 {
            self.begun = Some(Instant::now());
        }
        if self.completed.is_none() {
            let ended = self.process.has_ended();
            let done = |line: &str| program.says_complete(line);
            self.completed = self.process.said_at(&mut self.mark, done);
            return self.completed.is_none() && !ended;
        }
        false
    }
}

fn swarm(program: Program, stage: &Stage<'_>) -> Run {
    let (network, torrent) = (&stage.network, &stage.torrent);
    let options: Vec<&str> = stage.settings.options.iter().map(String::as_str).collect();
    // A tracker of its own for each run: one that has seen another would send the workers to peers that are gone.
    let tracker = Tracker::start(network.host(stage.workers + 1), PORT, &[]);
    let data = TempDir::in_memory("bench-origin");
    fs::hard_link(torrent.payload(), data.join(&torrent.name)).expect("the same file system");
    let mut origin = program.seed(network.host(0), torrent, &data, &options);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &origin);
    let cpu = |process: &Process| cpu_time(process.pid()).unwrap_or_default().as_secs_f64();
    let (before, cpu_before) = (sent(network.host(0)), cpu(&origin));

    let from = Instant::now();
    let mut workers: Vec<Worker> = (1..=stage.workers)
        .map(|i| {
            let host = network.host(i);
            let to = TempDir::in_memory("bench-worker");
            let connections = Connections::from(host);
            Worker {
                process: program.get(host, torrent, &to, &options),
                to,
                connections,
                mark: 0,
                begun: None,
                completed: None,
            }
        })
        .collect();
    let limit = Duration::from_secs_f64(stage.bound * PATIENCE);
    while workers
        .iter_mut()
        .filter_map(|w| w.look(program).then_some(()))
        .count()
        > 0
        && from.elapsed() < limit
    {
        thread::sleep(Duration::from_millis(10));
    }
    let after = sent(network.host(0));
    let since =
        |time: Option<Instant>| time.map_or(f64::INFINITY, |time| (time - from).as_secs_f64());
    let run = Run {
        completed: workers.iter().map(|w| since(w.completed)).collect(),
        begun: workers.iter().map(|w| since(w.begun)).collect(),
        sent: Sent {
            bytes: after.bytes - before.bytes,
            dropped: after.dropped - before.dropped,
        },
        origin_cpu: cpu(&origin) - cpu_before,
        worker_cpu: workers.iter().map(|w| cpu(&w.process)).collect(),
    };
    if let Some(worker) = workers.iter().find(|worker| worker.completed.is_none()) {
        say(format_args!("not done: {}", worker.process.tail()));
    }
    let told = workers.iter_mut().map(|worker| &mut worker.process);
    end(told.chain([&mut origin]));
    for worker in workers.iter().filter(|worker| worker.completed.is_some()) {
        check(program, torrent, worker);
    }
    run
}

/// Tells all of them to end, and ends those that do not.
fn end<'a>(processes: impl Iterator<Item = &'a mut Process>) {
    let mut processes: Vec<&mut Process> = processes.collect();
    for process in &processes {
        process.signal(rustix::process::Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && !processes.iter().all(|process| process.has_ended()) {
        thread::sleep(Duration::from_millis(10));
    }
    for process in &mut processes {
        process.kill();
    }
}

/// Compares a worker's copy with the original.
fn check(program: Program, torrent: &Torrent, worker: &Worker) {
    let (original, copy) = (torrent.payload(), worker.to.join(&torrent.name));
    match program {
        Program::Ours => tree::assert_same(&original, &copy),
        // Theirs to mend, but not to keep quiet about.
        Program::Theirs(client) => {
            if let Some(difference) = tree::difference(&original, &copy) {
                say(format_args!("a copy of {client:?} is wrong: {difference}"));
            }
        }
    }
}

fn tabulate(title: &str, stage: &Stage<'_>, samples: &[Vec<Run>]) -> Table {
    let head = [
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
            format!("not done in {:.0}", stage.bound * PATIENCE)
        };
        table.row([
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
        ]);
    }
    table
}
