//! `hivebt-peer`: downloads and seeds.

pub mod announcer;
pub mod api;
mod asker;
pub mod batches;
pub mod cleanup;
pub mod clock;
pub mod connection;
mod described;
mod doctor;
pub mod doors;
pub mod fetcher;
pub mod greeting;
mod heed;
pub mod history;
mod hook;
pub mod job;
pub mod jobs;
pub mod limits;
mod link;
pub mod load;
pub mod local;
mod onlooker;
pub mod options;
pub mod outbox;
pub mod overview;
pub mod payload;
pub mod port_mapping;
pub mod progress;
mod query;
mod reuse;
pub mod run;
pub mod selection;
pub mod session;
pub mod settings;
pub mod share;
mod stages;
pub mod status;
pub mod stream;
pub mod subject;
pub mod threads;
pub mod torrent;
pub mod utp;
mod wait;
pub mod watched;
pub mod web_seed;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::failure::{Exit, Failure};
use crate::app::{config, dht, output, signals};
use crate::core::swarm::event;
use crate::net::http_client;

use announcer::Identity;
use job::Job;
use local::LocalDiscovery;
use options::{Command, Mode, Options, Verbosity};
use payload::{Care, Purpose};
use run::{Occurrence, Plan, Run};
use selection::Selection;
use session::{Session, SessionOptions};
use status::Door;
use watched::Watched;

/// Where a peer listens if nobody says otherwise (R74).
const PORTS: std::ops::RangeInclusive<u16> = 6881..=6891;

/// Where `run` keeps what its node of the DHT knows, below the folder of the payloads.
const DHT_STATE: &str = ".hivebt/dht";

/// Memory for unfinished pieces, in bytes, if nobody says otherwise.
const CACHE: u64 = 24 << 20;

/// The whole program.
///
/// # Errors
/// With what the operator is to be told, and the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Result<Exit, Failure> {
    let mut options = match options::parse(args)? {
        Command::Print(text) => {
            output::text(&text);
            return Ok(Exit::Done);
        }
        Command::Run(options) => *options,
    };
    threads::panics_are_fatal();
    if options.mode == Mode::Status {
        return query::status(&options);
    }
    let loaded = config::load(options.config.as_deref())?;
    settings::complete(&mut options, &loaded);
    match options.mode {
        Mode::Share => return share::share(options),
        Mode::Wait => return wait::wait(&options),
        Mode::Doctor => return doctor::examine(&options, &loaded),
        Mode::Get | Mode::Seed | Mode::Bare | Mode::Run | Mode::Status => {}
    }
    reuse::check(&options.reuse)?;
    let client = http_client::Options {
        bind: options.bind.clone().unwrap_or_default(),
        ..Default::default()
    };
    let mut torrents = Vec::new();
    for source in &options.sources {
        let care = if options.recheck {
            Care::Everything
        } else {
            Care::Doubtful
        };
        if let Some(link) = load::link(source) {
            let link = Arc::new(link?);
            if options.mode == Mode::Seed {
                return Err(load::only_a_link(source));
            }
            torrents.push(Job::of_link(link, purpose(&options, None), care));
            continue;
        }
        let loaded = load::load(source, &client)?;
        let selection = Selection::choose(&loaded.metainfo, &options.select)?;
        torrents.push(Job {
            selection: selection.map(Arc::new),
            ..Job::new(loaded.metainfo, purpose(&options, loaded.folder), care)
        });
    }
    refuse_twins(&torrents)?;
    let quiet = options.verbosity == Verbosity::Quiet;
    let outcome = start(options, torrents)?.run();
    match outcome {
        // A cron job that overlaps with the last one is as it should be, and cron mails whatever is printed.
        Err(failure) if quiet && failure.exit == Exit::Locked => Ok(Exit::Locked),
        outcome => outcome,
    }
}

/// Brings a run to the point where only [`Run::run`] is missing.
fn start(options: Options, torrents: Vec<Job>) -> Result<Run, Failure> {
    let cache = options.cache.unwrap_or(CACHE);
    let session = Session::start(&SessionOptions {
        bind: options.bind.clone().unwrap_or_default(),
        ports: options.ports.clone().unwrap_or(PORTS),
        max_upload: options.max_upload.unwrap_or(0),
        max_download: options.max_download.unwrap_or(0),
        cache,
        encryption: options.encryption.unwrap_or_default(),
        transport: options.transport(),
        dht: options.dht.then(|| take_part(&options)),
    })?;
    let defaults = event::Config::default();
    let swarm = event::Config {
        max_peers: options.max_peers.unwrap_or(defaults.max_peers),
        upload_slots: options.max_uploads,
        request_timeout: options.request_timeout.unwrap_or(defaults.request_timeout),
        sequential: options.sequential,
        super_seed: options.super_seed,
        pex: options.pex.unwrap_or(true),
        // The other half is for partial pieces: asking for less is cheaper than writing blocks early and reading them back.
        max_unverified: (cache / 2).max(1),
        ..defaults
    };
    let (ip, port) = options
        .advertise
        .map_or((None, None), |(ip, port)| (Some(ip), port));
    let identity = Identity {
        door: port.map_or_else(|| session.door().clone(), port_mapping::Door::new),
        ip,
        key: fastrand::u32(..),
        bind: session.bind().clone(),
    };
    let maps = options.port_mapping == Some(true);
    let local = options.lsd.unwrap_or(false).then(|| {
        LocalDiscovery::start(session.bind(), session.listening().port(), session.clock())
    });
    let local = local.transpose()?;
    let watched = (options.mode == Mode::Run)
        .then(|| Watched::open(&options))
        .transpose()?;
    let door = door(&options);
    let mut run = Run::new(
        Plan {
            options,
            swarm,
            identity,
            local,
        },
        session,
        torrents,
        watched,
    );
    if let Some(door) = door {
        run.serve(&door)?;
    }
    if maps {
        run.map_port();
    }
    let sender = run.sender();
    let watched = signals::watch(move |signal| drop(sender.send(Occurrence::Signal(signal))));
    watched.map_err(|error| Failure::new(Exit::Failed, "watch", "signals", error))?;
    Ok(run)
}

/// How it takes part in the DHT, and the port to announce there if that is another than the one listened on.
fn take_part(options: &Options) -> (dht::Plan, Option<u16>) {
    // Runs that end leave nothing behind; the long-lived one has a place for what it remembers.
    let kept = (options.mode == Mode::Run).then(|| Watched::payloads(options).join(DHT_STATE));
    let plan = dht::Plan {
        bind: options.bind.clone().unwrap_or_default(),
        places: options.dht_nodes.clone(),
        state: kept,
        read_only: options.dht_read_only,
        external: options.advertise.map(|(ip, _)| ip),
    };
    (plan, options.advertise.and_then(|(_, port)| port))
}

/// Where others may look, if they may.
fn door(options: &Options) -> Option<Door> {
    let usual = || status::USUAL.parse().ok();
    let usual = (options.mode == Mode::Run).then(usual).flatten();
    let addr = options.status.or(usual)?;
    let token = options.token.clone();
    Some(Door { addr, token })
}

/// Where a torrent's payload is, or is to be.
fn purpose(options: &Options, beside: Option<PathBuf>) -> Purpose {
    let beside = beside.unwrap_or_default();
    match options.mode {
        Mode::Seed => Purpose::Seed(options.data.clone().unwrap_or_else(|| here(beside))),
        Mode::Get => Purpose::Download(here(options.output.clone().unwrap_or_default())),
        Mode::Bare | Mode::Share | Mode::Run | Mode::Status | Mode::Wait | Mode::Doctor => {
            Purpose::Download(here(options.output.clone().unwrap_or(beside)))
        }
    }
}

/// The working directory has a name of its own in messages and paths.
fn here(folder: PathBuf) -> PathBuf {
    if folder.as_os_str().is_empty() {
        Path::new(".").to_owned()
    } else {
        folder
    }
}

/// One process cannot work on one torrent twice.
fn refuse_twins(torrents: &[Job]) -> Result<(), Failure> {
    let mut hashes: Vec<_> = torrents.iter().map(Job::info_hash).collect();
    hashes.sort_unstable();
    match hashes.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::usage(format_args!(
            "the torrent {} is named twice",
            pair[0]
        ))),
        None => Ok(()),
    }
}
