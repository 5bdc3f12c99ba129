//! The command line of `hivebt-peer`.

mod check;
mod help;
mod read;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::keep::Rule;
use crate::core::shares::Priority;
use crate::net::tcp::Bind;
use crate::proto::peer::mse::Encryption;

use super::doors::Transport;
use super::selection::Pattern;
use super::settings::{self, Origin};

pub use help::HELP;
pub use read::parse;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `get`
    Get,
    /// `seed`
    Seed,
    /// A torrent alone: seed, or download and then seed (R89).
    Bare,
    /// `share`
    Share,
    /// `wait`
    Wait,
    /// `doctor`
    Doctor,
    /// `run`: torrents come and go.
    Run,
    /// `status`
    Status,
}

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors.
    Quiet,
    /// Progress and results.
    Normal,
    /// Also what peers and trackers do.
    Verbose,
}

/// The command line, read.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do.
    pub mode: Mode,
    /// Torrents, or for `share` payloads.
    pub sources: Vec<OsString>,
    /// `-o`
    pub output: Option<PathBuf>,
    /// `-d`
    pub data: Option<PathBuf>,
    /// `-p`
    pub ports: Option<RangeInclusive<u16>>,
    /// `--bind`
    pub bind: Option<Bind>,
    /// `--advertise`: address and, where it differs from the one listened on, port.
    pub advertise: Option<(IpAddr, Option<u16>)>,
    /// `--port-mapping`, `--no-port-mapping`
    pub port_mapping: Option<bool>,
    /// `--peer`
    pub peers: Vec<SocketAddr>,
    /// `--web-seed`
    pub web_seeds: Vec<String>,
    /// `--no-web-seeds`
    pub no_web_seeds: bool,
    /// `--no-pex`: off; on if nobody says so.
    pub pex: Option<bool>,
    /// `--lsd`: on; off if nobody says so.
    pub lsd: Option<bool>,
    /// `--utp`: on; off if nobody says so.
    pub utp: Option<bool>,
    /// `--utp-only`
    pub utp_only: bool,
    /// `--dht`, or the configuration, or what implies it.
    pub dht: bool,
    /// `--dht-node`: host and port.
    pub dht_nodes: Vec<(String, u16)>,
    /// `--dht-read-only`
    pub dht_read_only: bool,
    /// `--tracker`
    pub tracker: Option<SocketAddr>,
    /// `--encryption`
    pub encryption: Option<Encryption>,
    /// `--max-upload`, bytes a second; 0 is no limit.
    pub max_upload: Option<u64>,
    /// `--max-download`, bytes a second; 0 is no limit.
    pub max_download: Option<u64>,
    /// `--priority`
    pub priority: Priority,
    /// `--max-peers`
    pub max_peers: Option<usize>,
    /// `--max-uploads`
    pub max_uploads: Option<usize>,
    /// `--cache`, bytes.
    pub cache: Option<u64>,
    /// How long a request may stay unanswered; from the configuration alone.
    pub request_timeout: Option<Duration>,
    /// `--seed`
    pub seed: bool,
    /// `--seed-for`
    pub seed_for: Option<Duration>,
    /// `--seed-ratio`
    pub seed_ratio: Option<f64>,
    /// `--until-peers`
    pub until_peers: Option<usize>,
    /// `--complete`
    pub complete: Option<u32>,
    /// `--min-size`, bytes.
    pub min_size: Option<u64>,
    /// `--timeout`
    pub timeout: Option<Duration>,
    /// `--stall-timeout`
    pub stall_timeout: Option<Duration>,
    /// `--watch`
    pub watch: Option<PathBuf>,
    /// `--keep-for`, `--keep-size` and `--keep-strictly`
    pub keep: Rule,
    /// `--status`
    pub status: Option<SocketAddr>,
    /// `--token`, or HIVEBT_TOKEN of the environment.
    pub token: Option<String>,
    /// `--select`
    pub select: Vec<Pattern>,
    /// `--super-seed`
    pub super_seed: bool,
    /// `--save-torrent`
    pub save_torrent: Option<PathBuf>,
    /// `--sequential`
    pub sequential: bool,
    /// `--reuse`
    pub reuse: Vec<PathBuf>,
    /// `--recheck`
    pub recheck: bool,
    /// `--on-complete`, program and arguments.
    pub on_complete: Option<Vec<String>>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--json`
    pub json: bool,
    /// `-q`, `-v`
    pub verbosity: Verbosity,
    /// Who has said something, option by option; the last one counts.
    pub given: Vec<(&'static str, Origin)>,
}

/// A command line is either work to do or a question that is answered at once.
#[derive(Debug)]
pub enum Command {
    /// Do this.
    Run(Box<Options>),
    /// Print this and be done.
    Print(String),
}

impl Options {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            sources: Vec::new(),
            output: None,
            data: None,
            ports: None,
            bind: None,
            advertise: None,
            port_mapping: None,
            peers: Vec::new(),
            web_seeds: Vec::new(),
            no_web_seeds: false,
            pex: None,
            lsd: None,
            utp: None,
            utp_only: false,
            dht: false,
            dht_nodes: Vec::new(),
            dht_read_only: false,
            tracker: None,
            encryption: None,
            max_upload: None,
            max_download: None,
            priority: Priority::Normal,
            max_peers: None,
            max_uploads: None,
            cache: None,
            request_timeout: None,
            seed: false,
            seed_for: None,
            seed_ratio: None,
            until_peers: None,
            complete: None,
            min_size: None,
            timeout: None,
            stall_timeout: None,
            watch: None,
            keep: Rule::default(),
            status: None,
            token: None,
            select: Vec::new(),
            super_seed: false,
            save_torrent: None,
            sequential: false,
            reuse: Vec::new(),
            recheck: false,
            on_complete: None,
            config: None,
            json: false,
            verbosity: Verbosity::Normal,
            given: Vec::new(),
        }
    }

    /// Notes that the command line has said something that the environment can say, too.
    fn note(&mut self, name: &str) {
        let long = match name {
            "-o" => "--output",
            "-p" => "--port",
            "--no-port-mapping" => "--port-mapping",
            "--dht-node" | "--dht-read-only" => "--dht",
            "--utp-only" => "--utp",
            other => other,
        };
        let given = settings::option(long).map(|option| (option, Origin::CommandLine));
        self.given.extend(given);
    }

    /// What carries connections between peers.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self.utp {
            _ if self.utp_only => Transport::Utp,
            Some(true) => Transport::Both,
            Some(false) | None => Transport::Tcp,
        }
    }

    /// Whether a finished download goes on as a seed.
    #[must_use]
    pub fn seeds_afterwards(&self) -> bool {
        let until = self.seed_for.is_some() || self.seed_ratio.is_some();
        self.mode != Mode::Get || self.seed || until || self.until_peers.is_some()
    }
}
