//! An origin and its workers, started, watched and ended.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::programs::Program;
use super::run::Run;
use super::settings::Odd;
use super::{PORT, Stage};
use crate::support::links::{Connections, Sent, sent};
use crate::support::ours::{Torrent, Tracker};
use crate::support::process::{Process, cpu_time};
use crate::support::say::say;
use crate::support::tempdir::TempDir;
use crate::support::tree;

/// For the end of a program that is told to end.
const GRACE: Duration = Duration::from_secs(20);

/// How long after its end a program's last words may come.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A worker as it is watched.
struct Worker {
    process: Process,
    started: Instant,
    to: TempDir,
    connections: Connections,
    /// Up to where its words have been looked at.
    mark: usize,
    begun: Option<Instant>,
    completed: Option<Instant>,
    ended: Option<Instant>,
}

impl Worker {
    /// Starts the worker on host `i`.
    fn start(program: Program, stage: &Stage<'_>, i: usize, options: &[&str]) -> Self {
        let host = stage.network.host(i);
        let to = TempDir::in_memory("bench-worker");
        let connections = Connections::from(host);
        Self {
            started: Instant::now(),
            process: program.get(host, &stage.torrent, &to, options),
            to,
            connections,
            mark: 0,
            begun: None,
            completed: None,
            ended: None,
        }
    }

    /// Looks at what it has done; whether it is still to be waited for.
    fn look(&mut self, program: Program) -> bool {
        if self.begun.is_none() && self.connections.opened() > 0 {
            self.begun = Some(Instant::now());
        }
        if self.completed.is_none() {
            let done = |line: &str| program.says_complete(line);
            self.completed = self.process.said_at(&mut self.mark, done);
        }
        if self.ended.is_none() && self.process.has_ended() {
            self.ended = Some(Instant::now());
        }
        // Its last words may still be on their way.
        let waiting = |ended: Instant| ended.elapsed() < LAST_WORDS;
        self.completed.is_none() && self.ended.is_none_or(waiting)
    }
}

/// One swarm of `program`, from the start of its origin to the end of all of it.
pub fn swarm(program: Program, stage: &Stage<'_>) -> Run {
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
    let start = |i| Worker::start(program, stage, i, &options);
    let mut workers: Vec<Worker> = (1..=stage.usual()).map(start).collect();
    let late = match stage.settings.odd {
        Odd::Late => Duration::from_secs_f64(stage.bound / 2.0),
        Odd::None | Odd::Slow => Duration::ZERO,
    };
    let limit = stage.patience();
    while from.elapsed() < limit {
        if workers.len() < stage.workers && from.elapsed() >= late {
            workers.extend((workers.len() + 1..=stage.workers).map(start));
        }
        // Each of them is looked at, so no `any`.
        let waiting = workers
            .iter_mut()
            .filter_map(|worker| worker.look(program).then_some(()));
        if waiting.count() == 0 && workers.len() == stage.workers {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let after = sent(network.host(0));
    let seconds = |worker: &Worker, time: Option<Instant>| {
        // The others start together, though not in the same millisecond.
        let from = if late.is_zero() { from } else { worker.started };
        time.map_or(f64::INFINITY, |time| (time - from).as_secs_f64())
    };
    let run = Run {
        usual: stage.usual(),
        completed: workers.iter().map(|w| seconds(w, w.completed)).collect(),
        begun: workers.iter().map(|w| seconds(w, w.begun)).collect(),
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
