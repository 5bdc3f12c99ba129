//! Samples, medians and tables.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::process::{Process, peak_memory, private_memory};
use crate::support::say::say;

/// How long one run may take.
pub const LIMIT: Duration = Duration::from_secs(900);

/// What one run cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Seconds from start to end.
    pub wall: f64,
    /// Seconds of CPU.
    pub cpu: f64,
    /// The most bytes resident, the page cache of mapped files included.
    pub peak: u64,
    /// The most bytes that were private, as far as looking often can tell.
    pub private: u64,
}

/// Somebody who is measured: a name, and a run.
pub type Contestant<'a, T> = (&'a str, Box<dyn Fn() -> T + 'a>);

/// Runs every contestant once in each round, in turns, so that a slow minute of the machine hits all of them.
pub fn in_turns<T>(rounds: usize, contestants: &[Contestant<'_, T>]) -> Vec<Vec<T>> {
    let mut samples: Vec<Vec<T>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for ((name, run), samples) in contestants.iter().zip(&mut samples) {
            let begun = Instant::now();
            samples.push(run());
            let took = begun.elapsed().as_secs_f64();
            say(format_args!("round {round}: {name}: {took:.1} s"));
        }
    }
    samples
}

/// The median of what `of` gives for each sample; of an even number, the lower one of the two in the middle.
pub fn median<T>(samples: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(f64::NAN)
}

/// Runs a command, which has to succeed, to its end. If it says `took SECONDS`, that is its time: a library in Python tells how long it
/// worked, without Python's own start.
pub fn cost_of(name: &str, command: Command) -> Cost {
    let begun = Instant::now();
    let mut process = Process::start(name, command);
    let mut cost = Cost::default();
    while !process.has_ended() {
        assert!(begun.elapsed() < LIMIT, "time is up\n{}", process.tail());
        // One cheap line of /proc: who is measured has all the cores.
        cost.peak = cost.peak.max(peak_memory(process.pid()).unwrap_or(0));
        thread::sleep(Duration::from_millis(4));
    }
    cost.wall = begun.elapsed().as_secs_f64();
    let ended = process.wait(LIMIT);
    assert_eq!(
        ended.code, 0,
        "{name} failed\n{}{}",
        ended.stdout, ended.stderr
    );
    cost.cpu = ended.cpu.as_secs_f64();
    let took = ended
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("took "));
    if let Some(seconds) = took.and_then(|seconds| seconds.parse().ok()) {
        cost.wall = seconds;
    }
    cost
}

/// A table of what `mib` MiB cost each of `contestants`, ours first, all in turns; `rival` is who the throughput is measured against.
pub fn comparison(
    title: &str,
    rounds: usize,
    mib_in_all: f64,
    rival: &'static str,
    contestants: &[Contestant<'_, Cost>],
) -> Table {
    let all = in_turns(rounds, contestants);
    let beside = format!("MiB/s beside {rival}");
    let head = [
        "program",
        "time (s)",
        "time beside ours",
        "MiB/s",
        &beside,
        "CPU (s)",
        "peak memory (MiB)",
    ];
    let mut table = Table::new(title, &head);
    let wall = |samples: &[Cost]| median(samples, |cost| cost.wall);
    let ours = wall(&all[0]);
    let place = contestants.iter().position(|(name, _)| *name == rival);
    for ((name, _), samples) in contestants.iter().zip(&all) {
        let time = wall(samples);
        let beside = place.map_or("-".to_owned(), |place| ratio(wall(&all[place]), time));
        table.row([
            (*name).to_owned(),
            seconds(time),
            ratio(time, ours),
            format!("{:.0}", mib_in_all / time),
            beside,
            seconds(median(samples, |cost| cost.cpu)),
            mib(median(samples, |cost| cost.peak as f64)),
        ]);
    }
    table
}

/// Notes how much memory a process has by now.
pub fn look_at(process: &Process, cost: &mut Cost) {
    cost.peak = cost.peak.max(peak_memory(process.pid()).unwrap_or(0));
    cost.private = cost.private.max(private_memory(process.pid()).unwrap_or(0));
}

/// A table for the README.
pub struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(title: impl Into<String>, head: &[&str]) -> Self {
        Self {
            title: title.into(),
            head: head.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("\n**{}**\n\n| {} |\n|", self.title, self.head.join(" | "));
        for i in 0..self.head.len() {
            text.push_str(if i == 0 { " --- |" } else { " ---: |" });
        }
        text.push('\n');
        for row in &self.rows {
            let empty = self.head.len() - row.len();
            let _ = writeln!(text, "| {}{} |", row.join(" | "), " |".repeat(empty));
        }
        text
    }
}

/// Seconds, for a cell.
pub fn seconds(value: f64) -> String {
    format!("{value:.2}")
}

/// `value` beside ours, for a cell.
pub fn ratio(value: f64, ours: f64) -> String {
    format!("{:.2}", value / ours)
}

/// Bytes as MiB, for a cell.
pub fn mib(bytes: f64) -> String {
    format!("{:.0}", bytes / f64::from(1 << 20))
}

/// Text on stdout.
pub fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
