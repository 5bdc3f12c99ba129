//! Child processes: every line they print is kept, every wait has a deadline and shows their last lines when it passes, and none outlives its test.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// What a process has printed so far.
#[derive(Default)]
struct Log {
    lines: Vec<(Stream, String)>,
    /// When each of them was read.
    times: Vec<Instant>,
    closed: u8,
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; for a process ended by a signal, 128 + its number, as a shell has it.
    pub code: i32,
    /// Everything on stdout.
    pub stdout: String,
    /// Everything on stderr.
    pub stderr: String,
    /// User and system time it used.
    pub cpu: Duration,
}

/// A running child. Dropped, it is killed and reaped.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<(Mutex<Log>, Condvar)>,
}

impl Process {
    /// Starts `command` with nothing on stdin; `name` stands in messages.
    pub fn start(name: &str, command: Command) -> Self {
        Self::start_reading(name, command, Stdio::null())
    }

    /// The same, with `stdin` to read from.
    pub fn start_reading(name: &str, mut command: Command, stdin: impl Into<Stdio>) -> Self {
        heed_signals();
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Where a test has just written the program, another one of this process may have forked meanwhile: until its child is another program, that has it open.
        let deadline = Instant::now() + Duration::from_secs(10);
        let started = loop {
            match command.spawn() {
                Err(e)
                    if e.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < deadline =>
                {
                    thread::yield_now();
                }
                outcome => break outcome,
            }
        };
        let mut child =
            started.unwrap_or_else(|e| panic!("cannot start {name} ({command:?}): {e}"));
        let log = Arc::<(Mutex<Log>, Condvar)>::default();
        read_lines(child.stdout.take().expect("piped"), Stream::Out, &log);
        read_lines(child.stderr.take().expect("piped"), Stream::Err, &log);
        Self {
            name: name.into(),
            child,
            log,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many lines it has printed; a mark for [`Self::wait_since`].
    pub fn mark(&self) -> usize {
        self.log().lines.len()
    }

    /// Where a peer tells its status, as it says within `limit`.
    pub fn status_address(&self, limit: Duration) -> SocketAddr {
        self.wait_for("where it tells its status", limit, |_, line| {
            let (_, url) = line.split_once("status at http://")?;
            url.trim_end_matches('/').parse().ok()
        })
    }

    /// The first line, printed already or within `limit`, in which `find` finds something.
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        find: impl FnMut(Stream, &str) -> Option<T>,
    ) -> T {
        self.wait_since(0, what, limit, find)
    }

    /// The same, among the lines after `mark`.
    pub fn wait_since<T>(
        &self,
        mark: usize,
        what: &str,
        limit: Duration,
        mut find: impl FnMut(Stream, &str) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + limit;
        let mut next = mark;
        let mut log = self.log();
        loop {
            while let Some((stream, line)) = log.lines.get(next) {
                next += 1;
                if let Some(found) = find(*stream, line) {
                    return found;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = log.closed == 2;
            if left.is_zero() || ended {
                drop(log);
                let why = if ended { "it ended" } else { "time is up" };
                panic!("waited for {what}, but {why}\n{}", self.tail());
            }
            log = self
                .log
                .1
                .wait_timeout(log, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Whether it has printed a line for which `holds`.
    pub fn has_said(&self, mut holds: impl FnMut(&str) -> bool) -> bool {
        self.log().lines.iter().any(|(_, line)| holds(line))
    }

    /// When it printed the first line from `mark` on for which `holds`; without one, the mark moves behind what was looked at.
    pub fn said_at(&self, mark: &mut usize, holds: impl Fn(&str) -> bool) -> Option<Instant> {
        let log = self.log();
        let new = log.lines.iter().zip(&log.times).skip(*mark);
        let found = new.into_iter().find(|((_, line), _)| holds(line));
        *mark = log.lines.len();
        found.map(|(_, time)| *time)
    }

    /// The first line with `needle` in it.
    pub fn wait_line(&self, needle: &str, limit: Duration) -> String {
        self.wait_for(&format!("`{needle}`"), limit, |_, line| {
            line.contains(needle).then(|| line.to_owned())
        })
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Ended {
        let deadline = Instant::now() + limit;
        let cpu = loop {
            if self.has_ended() {
                // A process that has ended but is not reaped still has its times in /proc.
                break cpu_time(self.pid()).unwrap_or_default();
            }
            if Instant::now() >= deadline {
                panic!("waited {limit:?} for the end of\n{}", self.tail());
            }
            thread::sleep(Duration::from_millis(5));
        };
        let status = self.child.wait().expect("it is our child");
        let code = std::os::unix::process::ExitStatusExt::signal(&status)
            .map_or_else(|| status.code().unwrap_or(-1), |signal| 128 + signal);
        self.drain();
        let log = self.log();
        let text = |stream| {
            let of_stream = log.lines.iter().filter(|(s, _)| *s == stream);
            of_stream.map(|(_, line)| line.clone() + "\n").collect()
        };
        Ended {
            code,
            stdout: text(Stream::Out),
            stderr: text(Stream::Err),
            cpu,
        }
    }

    /// Whether it has ended (it may still have to be reaped).
    pub fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let id = WaitId::Pid(Pid::from_child(&self.child));
        // An error means that it was reaped already.
        waitid(id, options).map_or(true, |status| status.is_some())
    }

    /// Sends a signal; nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) {
        if !self.has_ended() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// SIGTERM, and the end of it.
    pub fn stop(&mut self, limit: Duration) -> Ended {
        self.signal(Signal::TERM);
        self.wait(limit)
    }

    /// SIGKILL, and the end of it.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait(Duration::from_secs(30));
    }

    /// Its last lines, for a message.
    pub fn tail(&self) -> String {
        let log = self.log();
        let from = log.lines.len().saturating_sub(40);
        let mut text = format!("--- last lines of {} (pid {})\n", self.name, self.pid());
        for (_, line) in &log.lines[from..] {
            text.push_str(line);
            text.push('\n');
        }
        text + "---"
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the rest of its output; a grandchild that holds a stream open does not hold us up.
    fn drain(&self) {
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut log = self.log();
        while log.closed < 2 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.log.1.wait_timeout(log, left);
            log = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end.
pub fn run(name: &str, command: Command, limit: Duration) -> Ended {
    Process::start(name, command).wait(limit)
}

/// Runs `command`, which has to succeed, and gives its stdout.
pub fn run_ok(name: &str, command: Command, limit: Duration) -> String {
    let ended = run(name, command, limit);
    assert_eq!(
        ended.code, 0,
        "{name} failed\n{}{}",
        ended.stdout, ended.stderr
    );
    ended.stdout
}

/// Programs are to heed signals as if a terminal had started them. What a test ignores they would ignore, too, and a shell has whatever it runs in the
/// background ignore SIGINT; but what a test has a handler for begins anew in them.
fn heed_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        for signal in [Signal::HUP, Signal::INT, Signal::TERM].map(Signal::as_raw) {
            if ignored.unwrap_or(0) >> (signal - 1) & 1 == 1 {
                signal_hook::flag::register(signal, Arc::default()).expect("a handler");
            }
        }
    });
}

/// User and system time of process `pid` so far.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after it are numbers: state is the third field, utime the 14th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(
        ticks * 1000 / rustix::param::clock_ticks_per_second(),
    ))
}

/// A memory figure of process `pid` in bytes: the sum of the lines of `/proc/<pid>/<file>` that start with `key`.
pub fn memory(pid: u32, file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let lines = text.lines().filter(|line| line.starts_with(key));
    let kib = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Some(kib.sum::<u64>() * 1024)
}

/// The most memory that process `pid` has had resident so far (VmHWM).
pub fn peak_memory(pid: u32) -> Option<u64> {
    memory(pid, "status", "VmHWM:")
}

/// What process `pid` has for itself alone (private pages; the page cache is not counted).
pub fn private_memory(pid: u32) -> Option<u64> {
    memory(pid, "smaps_rollup", "Private_")
}

/// The most private memory that a process has had until it ended, which it must within `limit`, as far as looking often can tell.
pub fn peak_private_memory(process: &Process, limit: Duration) -> u64 {
    let deadline = Instant::now() + limit;
    let mut most = 0;
    while !process.has_ended() {
        assert!(Instant::now() < deadline, "{}", process.tail());
        most = most.max(private_memory(process.pid()).unwrap_or(0));
        thread::sleep(Duration::from_millis(5));
    }
    most
}

fn read_lines(from: impl Read + Send + 'static, stream: Stream, log: &Arc<(Mutex<Log>, Condvar)>) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']).to_owned();
            let mut guard = log.0.lock().unwrap_or_else(PoisonError::into_inner);
            guard.lines.push((stream, text));
            guard.times.push(Instant::now());
            log.1.notify_all();
            line.clear();
        }
        log.0.lock().unwrap_or_else(PoisonError::into_inner).closed += 1;
        log.1.notify_all();
    });
}
