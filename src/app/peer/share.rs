//! `hivebt-peer share`: creates, tracks and seeds in one process, and says what a worker has to run.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::base::json::json;

use crate::app::create::make::{Plan, Recipe};
use crate::app::create::progress;
use crate::app::failure::{Exit, Failure};
use crate::app::tracker::{self, Published, Server};
use crate::app::{human, output};
use crate::disk::hash::Watch;
use crate::net::interfaces;
use crate::proto::metainfo::Metainfo;

use super::job::Job;
use super::options::{Options, Verbosity};
use super::payload::{Care, Purpose};

/// Where the tracker listens if that is free (R28).
const USUAL_PORT: u16 = 8080;

/// Shares until told to stop.
///
/// # Errors
/// If a payload cannot be read, or no address can be listened at.
pub fn share(mut options: Options) -> Result<Exit, Failure> {
    if let Some(least) = options.min_size {
        leave_out(&mut options, least)?;
        if options.sources.is_empty() {
            return Ok(Exit::Small);
        }
    }
    // The tracker comes first, so that the torrents can say where it is. It serves nothing before they are made.
    let tracker = track(&options)?;
    let port = tracker.addresses().first().map_or(0, SocketAddr::port);
    let at = SocketAddr::new(host(&options), port);
    let recipe = Recipe {
        announce: vec![vec![format!("http://{at}/announce")]],
        ..Recipe::default()
    };
    let mut made = Vec::new();
    for path in options.sources.iter().map(PathBuf::from) {
        made.push((create(&path, &recipe, options.verbosity)?, path));
    }
    let published = publish(made.iter().map(|(metainfo, _)| metainfo));
    tracker.publish(published.clone());
    let seed = |(metainfo, path)| Job::new(metainfo, Purpose::Seed(path), Care::Nothing);
    let json = options.json;
    let run = super::start(options, made.into_iter().map(seed).collect())?;
    for torrent in &published {
        announce(torrent, &format!("http://{at}{}", torrent.url_path()), json);
    }
    if at.ip().is_loopback() {
        output::note(
            "no other host can reach a loopback address; `--advertise IP` names one that they can reach",
        );
    }
    run.run()
}

/// Takes out what is smaller than `least` bytes, and says so: for that, ordinary transfer will do (R102).
fn leave_out(options: &mut Options, least: u64) -> Result<(), Failure> {
    for source in std::mem::take(&mut options.sources) {
        let size = Plan::new(Path::new(&source), &Recipe::default())?.total();
        if size >= least {
            options.sources.push(source);
            continue;
        }
        let path = source.to_string_lossy();
        if options.json {
            let transfer = "ordinary";
            output::result(
                json!({"event": "small", "path": path, "total_length": size, "min_size": least, "transfer": transfer}),
            );
        }
        if options.verbosity > Verbosity::Quiet {
            let (size, least) = (human::bytes(size), human::bytes(least));
            output::note(format_args!(
                "{path}: {size} are less than `--min-size` ({least}); not shared, ordinary transfer will do"
            ));
        }
    }
    Ok(())
}

/// What a worker runs, a line on stdout.
fn announce(torrent: &Published, url: &str, json: bool) {
    let command = format!("hivebt-peer get {url}");
    if json {
        let info_hash = torrent.info_hash.to_string();
        output::result(
            json!({"event": "shared", "info_hash": info_hash, "url": url, "command": command}),
        );
    } else {
        output::result(command);
    }
}

/// Starts the tracker where the operator says, else at the usual port, else at any.
fn track(options: &Options) -> Result<Server, Failure> {
    let start = |listen: Vec<SocketAddr>, port| {
        Server::start(tracker::Config {
            listen,
            port,
            closed: true,
            ..tracker::Config::default()
        })
    };
    if let Some(addr) = options.tracker {
        return start(vec![addr], 0);
    }
    let bound = options.bind.as_ref().and_then(|bind| bind.addr);
    let listen = |port| {
        bound
            .map(|ip| SocketAddr::new(ip, port))
            .into_iter()
            .collect()
    };
    start(listen(USUAL_PORT), USUAL_PORT).or_else(|_| start(listen(0), 0))
}

/// The address in what a worker runs.
fn host(options: &Options) -> IpAddr {
    let named = options.advertise.map(|(ip, _)| ip);
    let bound = || options.bind.as_ref().and_then(|bind| bind.addr);
    let tracker = || options.tracker.map(|addr| addr.ip());
    let candidates = named
        .or_else(tracker)
        .filter(|ip| !ip.is_unspecified())
        .or_else(bound);
    candidates
        .filter(|ip| !ip.is_unspecified())
        .unwrap_or_else(interfaces::likely_address)
}

fn create(path: &Path, recipe: &Recipe, verbosity: Verbosity) -> Result<Metainfo, Failure> {
    let plan = Plan::new(path, recipe)?;
    let watch = Watch::default();
    let quiet = verbosity == Verbosity::Quiet;
    progress::during(&plan.shown_name(), plan.total(), &watch, quiet, || {
        plan.hash(recipe, &watch)
    })
}

/// Names in URLs: that of the payload, made unique by the info-hash where two payloads are called alike.
fn publish<'a>(torrents: impl Iterator<Item = &'a Metainfo>) -> Vec<Published> {
    let mut published: Vec<Published> = Vec::new();
    for metainfo in torrents {
        let name = metainfo.shown_name();
        let taken = published.iter().any(|other| other.name == name);
        let unique = if taken {
            format!("{name}-{}", metainfo.info_hash)
        } else {
            name.clone()
        };
        published.push(Published {
            file_name: format!("{unique}.torrent"),
            length: metainfo.geometry.total(),
            name,
            info_hash: metainfo.info_hash,
            bytes: metainfo.to_bytes(),
        });
    }
    published
}
