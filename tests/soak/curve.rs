//! What programs take over time: memory, threads, open files. Sampled while they work, written down for whoever wants to plot it, and judged.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::support::process::memory;

/// Rows of the table, and the first of them that counts: until then, pools fill and every path is walked for the first time.
const ROWS: usize = 10;
const WARM: usize = 2;

/// What a program takes at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Resident bytes, and those of them that are no file's (RssAnon).
    pub(crate) resident: u64,
    pub(crate) anonymous: u64,
    pub(crate) threads: u64,
    pub(crate) files: u64,
}

impl Taken {
    /// By process `pid` now, if it still runs.
    pub(crate) fn by(pid: u32) -> Option<Self> {
        let entries = |what: &str| Some(fs::read_dir(format!("/proc/{pid}/{what}")).ok()?.count());
        Some(Self {
            resident: memory(pid, "status", "VmRSS:").filter(|&bytes| bytes > 0)?,
            anonymous: memory(pid, "status", "RssAnon:")?,
            threads: entries("task")? as u64,
            files: entries("fd")? as u64,
        })
    }
}

/// One of the figures.
type Figure = fn(&Taken) -> u64;

/// A program that is sampled; its process may be another one later.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

/// Samples programs in a thread of its own.
pub(crate) struct Sampler {
    programs: Arc<Mutex<Vec<Watched>>>,
    end: Sender<()>,
    thread: JoinHandle<Vec<(String, Duration, Taken)>>,
}

impl Sampler {
    /// From now on, every so often, a line in the file `csv` for each program.
    pub(crate) fn start(programs: Vec<Watched>, every: Duration, csv: PathBuf) -> Self {
        let programs = Arc::new(Mutex::new(programs));
        let (end, ended) = mpsc::channel();
        let shared = Arc::clone(&programs);
        let thread = thread::spawn(move || {
            let mut file = fs::File::create(csv).unwrap();
            writeln!(file, "seconds,program,pid,rss,rss_anon,threads,fds").unwrap();
            let (begun, mut all) = (Instant::now(), Vec::new());
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let at = begun.elapsed();
                for Watched { name, pid } in shared.lock().unwrap().clone() {
                    let Some(t) = Taken::by(pid) else {
                        continue;
                    };
                    let seconds = at.as_secs();
                    writeln!(
                        file,
                        "{seconds},{name},{pid},{},{},{},{}",
                        t.resident, t.anonymous, t.threads, t.files
                    )
                    .unwrap();
                    all.push((name, at, t));
                }
            }
            all
        });
        Self {
            programs,
            end,
            thread,
        }
    }

    /// The program of this name is another process from now on.
    pub(crate) fn replace(&self, name: &str, pid: u32) {
        let mut programs = self.programs.lock().unwrap();
        let program = programs.iter_mut().find(|program| program.name == name);
        program.unwrap().pid = pid;
    }

    /// What was seen of the programs of these names.
    pub(crate) fn finish(self, names: &[&str]) -> Vec<Curve> {
        drop(self.end);
        let all = self.thread.join().unwrap();
        let last = all.last().map_or(Duration::ZERO, |(_, at, _)| *at);
        let of = |name: &&str| Curve::of(name, &all, last);
        names.iter().map(of).collect()
    }
}

/// What a program took, as medians over tenths of the time.
pub(crate) struct Curve {
    name: String,
    rows: Vec<Taken>,
}

impl Curve {
    fn of(name: &str, all: &[(String, Duration, Taken)], last: Duration) -> Self {
        let row = |i: u32| {
            let (from, to) = (last * i / ROWS as u32, last * (i + 1) / ROWS as u32);
            let within = |at: Duration| from <= at && (at < to || to == last);
            let mine = all.iter().filter(|(n, at, _)| n == name && within(*at));
            let mine: Vec<Taken> = mine.map(|(.., taken)| *taken).collect();
            assert!(!mine.is_empty(), "no sample of {name} in row {i}");
            Taken {
                resident: median(&mine, |t| t.resident),
                anonymous: median(&mine, |t| t.anonymous),
                threads: median(&mine, |t| t.threads),
                files: median(&mine, |t| t.files),
            }
        };
        Self {
            name: name.into(),
            rows: (0..ROWS as u32).map(row).collect(),
        }
    }

    /// Fails if the last third, once warm, takes more of anything than the first: by a quarter and a little, which is what chance may add.
    pub(crate) fn assert_flat(&self) {
        let warm = &self.rows[WARM..];
        let third = warm.len() / 3;
        let (first, last) = (&warm[..third], &warm[warm.len() - third..]);
        let figures: [(&str, Figure, u64); 4] = [
            ("bytes resident", |t| t.resident, 3 << 20),
            ("bytes of its own", |t| t.anonymous, 3 << 20),
            ("threads", |t| t.threads, 8),
            ("open files", |t| t.files, 8),
        ];
        for (what, of, chance) in figures {
            let (first, last) = (median(first, of), median(last, of));
            assert!(
                last <= first + first / 4 + chance,
                "{}: {what} grow from {first} to {last}",
                self.name
            );
        }
    }
}

fn median(of: &[Taken], figure: impl Fn(&Taken) -> u64) -> u64 {
    let mut figures: Vec<u64> = of.iter().map(figure).collect();
    figures.sort_unstable();
    figures[figures.len() / 2]
}

/// The curves as a table in the style of README.
pub(crate) fn table(curves: &[Curve], whole: Duration) -> String {
    let mut text = String::from("| minutes |");
    for curve in curves {
        let _ = write!(text, " {} |", curve.name);
    }
    text += "\n| ---: |";
    text += &" ---: |".repeat(curves.len());
    for row in 0..ROWS {
        let minutes = whole.as_secs_f64() / 60.0 * (row + 1) as f64 / ROWS as f64;
        let _ = write!(text, "\n| {minutes:.1} |");
        for curve in curves {
            let t = &curve.rows[row];
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let _ = write!(
                text,
                " {:.1}, {:.1}, {}, {} |",
                mib(t.resident),
                mib(t.anonymous),
                t.threads,
                t.files
            );
        }
    }
    text
}

/// Where the samples are kept after the test.
pub(crate) fn csv() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.csv")
}
