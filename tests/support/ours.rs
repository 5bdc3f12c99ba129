//! Our three programs, run as an operator would run them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::foreign::percent;
use super::hosts::Host;
use super::process::{Process, Stream, run_ok};
use super::{http, say};

/// Long enough for anything that works; only a failure waits this long.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The path of `hivebt-<name>`, from `HIVEBT_BIN` if that names a folder, else as cargo has built it.
pub fn program(name: &str) -> PathBuf {
    let built = match name {
        "create" => env!("CARGO_BIN_EXE_hivebt-create"),
        "tracker" => env!("CARGO_BIN_EXE_hivebt-tracker"),
        _ => env!("CARGO_BIN_EXE_hivebt-peer"),
    };
    std::env::var_os("HIVEBT_BIN").map_or_else(
        || built.into(),
        |folder| Path::new(&folder).join(format!("hivebt-{name}")),
    )
}

/// A torrent that we have made.
#[derive(Clone, Debug)]
pub struct Torrent {
    /// The .torrent file.
    pub file: PathBuf,
    /// 40 hex digits.
    pub info_hash: String,
    /// The folder that the payload lies in.
    pub parent: PathBuf,
    /// The name of the payload.
    pub name: String,
    /// Bytes of payload.
    pub bytes: u64,
}

impl Torrent {
    /// Runs `hivebt-create` on `payload`; the .torrent lies beside it.
    pub fn create(payload: &Path, announce: &str, options: &[&str]) -> Self {
        Self::make(payload, &[&["-a", announce], options].concat())
    }

    /// The same with nothing but `options`, such as `--no-announce`.
    pub fn make(payload: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(program("create"));
        command.args(["--json", "--quiet", "--force"]);
        command.args(options).arg(payload);
        let line = run_ok("hivebt-create", command, LIMIT);
        let made: Value = serde_json::from_str(&line).expect("a line of JSON");
        let text = |key: &str| made[key].as_str().unwrap_or_default().to_owned();
        Self {
            file: text("torrent").into(),
            info_hash: text("info_hash"),
            parent: payload.parent().expect("it lies in a folder").into(),
            name: text("name"),
            bytes: made["total_length"].as_u64().unwrap_or_default(),
        }
    }

    /// The payload that it was made from.
    pub fn payload(&self) -> PathBuf {
        self.parent.join(&self.name)
    }
}

/// A tracker, ours or another's, that runs on `host`.
pub struct Tracker {
    pub process: Process,
    pub host: Host,
    pub address: SocketAddr,
}

impl Tracker {
    /// Our tracker on `host`; port 0 takes a free one.
    pub fn start(host: &Host, port: u16, options: &[&str]) -> Self {
        let mut command = host.command(program("tracker"));
        let listen = SocketAddr::from((host.address, port));
        command.args(["-l", &listen.to_string()]).args(options);
        Self::of(host, command)
    }

    /// The same by a command of one's own.
    pub fn of(host: &Host, command: Command) -> Self {
        let process = Process::start("hivebt-tracker", command);
        let address = process.wait_for("the address it listens on", LIMIT, |_, line| {
            let rest = line.split_once("listening on http://")?.1;
            rest.split_once('/')?.0.parse().ok()
        });
        Self {
            process,
            host: host.clone(),
            address,
        }
    }

    /// Where peers announce.
    pub fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// The body of `GET path`.
    pub fn get(&self, path: &str) -> Result<(u16, Vec<u8>), String> {
        self.host.within(|| http::get(self.address, path))
    }

    /// Complete and incomplete peers of a torrent, by scrape (BEP 48).
    pub fn scrape(&self, info_hash: &str) -> Option<(u64, u64)> {
        let path = format!("/scrape?info_hash={}", percent(info_hash));
        let (_, body) = self.get(&path).ok()?;
        let number = |key: &[u8]| -> Option<u64> {
            let at = body.windows(key.len()).position(|w| w == key)? + key.len();
            let digits = body[at..].iter().take_while(|b| b.is_ascii_digit());
            Some(digits.fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
        };
        Some((number(b"8:completei")?, number(b"10:incompletei")?))
    }

    /// Waits until `n` complete peers have announced a torrent.
    pub fn wait_for_seeds(&self, info_hash: &str, n: u64, seeder: &Process) {
        let deadline = Instant::now() + LIMIT;
        while self
            .scrape(info_hash)
            .is_none_or(|(complete, _)| complete < n)
        {
            assert!(
                Instant::now() < deadline && !seeder.has_ended(),
                "{n} seeds never announced; the scrape says {:?}\n{}\n{}",
                self.scrape(info_hash),
                self.process.tail(),
                seeder.tail()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A running `hivebt-peer`.
pub struct Peer {
    pub process: Process,
}

impl Peer {
    /// `seed`: serves `torrent`, whose payload lies in the folder `data`.
    pub fn seed(host: &Host, torrent: &Path, data: &Path, options: &[&str]) -> Self {
        let mut command = Self::command(host, "seed");
        command.arg("-d").arg(data).args(options).arg(torrent);
        Self::start(host, "seed", command)
    }

    /// `get`: downloads `source` into the folder `to`.
    pub fn get(host: &Host, source: &Path, to: &Path, options: &[&str]) -> Self {
        let mut command = Self::command(host, "get");
        command.arg("-o").arg(to).args(options).arg(source);
        Self::start(host, "get", command)
    }

    /// The command `hivebt-peer VERB --json` on `host`, bound to its address and to any free port.
    pub fn command(host: &Host, verb: &str) -> Command {
        let mut command = host.command(program("peer"));
        command.arg(verb).args(["--json", "-p", "0", "--bind"]);
        command.arg(host.address.to_string());
        command
    }

    fn start(host: &Host, verb: &str, command: Command) -> Self {
        let name = format!("hivebt-peer {verb} on {}", host.address);
        Self {
            process: Process::start(&name, command),
        }
    }

    /// Waits for an event, printed already or to come.
    pub fn wait_event(&self, event: &str, limit: Duration) -> Value {
        self.wait_event_that(event, limit, |_| true)
    }

    /// Waits for an event for which `holds`.
    pub fn wait_event_that(
        &self,
        event: &str,
        limit: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let what = format!("the event `{event}`");
        self.process.wait_for(&what, limit, |stream, line| {
            let found = parse_event(stream, line)?;
            (found["event"] == event && holds(&found)).then_some(found)
        })
    }

    /// Where it listens on `host`, as it says when it has started.
    pub fn address(&self, host: &Host) -> String {
        let port = &self.wait_event("started", LIMIT)["port"];
        format!("{}:{port}", host.address)
    }

    /// The same, once it has everything.
    pub fn serving_address(&self, host: &Host) -> String {
        self.wait_event("complete", LIMIT);
        self.address(host)
    }

    /// Waits until its progress reaches `percent` of the payload.
    pub fn wait_percent(&self, percent: f64, limit: Duration) -> Value {
        let key = "completion_percentage";
        let what = format!("{percent} % of the payload");
        self.process.wait_for(&what, limit, |stream, line| {
            let found = parse_event(stream, line)?;
            let reached = found[key].as_f64().is_some_and(|now| now >= percent);
            (reached || found["event"] == "complete").then_some(found)
        })
    }

    /// Bytes of payload that it has sent in all, as its events say.
    pub fn uploaded(events: &str) -> u64 {
        let totals = events.lines().filter_map(|line| {
            let event = parse_event(Stream::Out, line)?;
            event["total_uploaded"].as_u64()
        });
        totals.max().unwrap_or(0)
    }
}

fn parse_event(stream: Stream, line: &str) -> Option<Value> {
    if stream != Stream::Out || !line.starts_with('{') {
        return None;
    }
    let parsed = serde_json::from_str(line);
    if parsed.is_err() {
        say::say(format_args!("not JSON: {line}"));
    }
    parsed.ok()
}
