//! How a run is doing at a moment: what `/stats`, `/metrics` and the page show, all three of the same numbers.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::id::InfoHash;
use crate::core::shares::Priority;
use crate::core::swarm::event::{PeerStats, Stats};
use crate::core::swarm::number_of;

use super::cleanup::Removed;
use super::job::{Job, Phase, Wish};
use super::progress::Snapshot;
use super::run::Run;

/// Where a peer is, and which program it is: for a web seed, its URL, and that it is one.
#[must_use]
pub fn place_and_program(peer: &PeerStats) -> (String, &str) {
    match number_of(peer.addr) {
        Some(_) => (peer.client.clone(), "web seed"),
        None => (peer.addr.to_string(), &peer.client),
    }
}

/// Peers of one torrent that are shown.
const PEERS: usize = 500;

/// A run at a moment.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Since it began.
    pub uptime: Duration,
    /// Where peers can connect.
    pub port: u16,
    /// Bytes a second; 0 is no limit.
    pub max_upload: u64,
    /// Bytes a second; 0 is no limit.
    pub max_download: u64,
    /// Nodes of the DHT that it knows, of IPv4 and of IPv6, if it takes part.
    pub dht: Option<[usize; 2]>,
    /// Its torrents, those that came first in front.
    pub torrents: Vec<Shown>,
    /// What a rule has removed of late, and what it could not.
    pub removed: Vec<Removed>,
    /// Torrents and bytes that a rule has removed.
    pub removed_totals: (u64, u64),
}

/// A torrent at a moment.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its name in the protocol.
    pub info_hash: InfoHash,
    /// Its name for people; anybody may have chosen it.
    pub name: String,
    /// See [`Snapshot::phase`].
    pub state: &'static str,
    /// What went wrong, or a tracker's refusal.
    pub message: Option<String>,
    /// See [`Snapshot`].
    pub total: u64,
    /// See [`Snapshot`].
    pub done: u64,
    /// Totals and rates, since the run began.
    pub stats: Stats,
    /// All that is wanted lies at [`Shown::path`].
    pub complete: bool,
    /// Where the payload lies, or will lie.
    pub path: PathBuf,
    /// Its share of the limits.
    pub priority: Priority,
    /// Rates of download and upload over the last minutes, oldest first.
    pub rates: Vec<(u64, u64)>,
    /// Pieces in all.
    pub pieces: u32,
    /// Connections, if they were asked for.
    pub peers: Vec<PeerStats>,
}

impl Shown {
    /// A job; its connections and rates only if they are wanted.
    #[must_use]
    pub fn of(job: &Job, detailed: bool) -> Self {
        let snapshot = job.snapshot();
        let mut peers = match &job.torrent {
            Some(torrent) if detailed && job.is_active() => torrent.peers(),
            _ => Vec::new(),
        };
        peers.sort_unstable_by_key(|peer| std::cmp::Reverse(peer.download_rate + peer.upload_rate));
        peers.truncate(PEERS);
        let refused = || {
            let no = job.refusals.first()?;
            Some(format!("tracker `{}` refuses: {}", no.tracker, no.reason))
        };
        Self {
            info_hash: snapshot.info_hash,
            name: snapshot.name.to_owned(),
            state: snapshot.phase,
            message: match &job.phase {
                Phase::Ended(Err(failure)) => Some(failure.to_string()),
                _ => refused(),
            },
            total: snapshot.total,
            done: snapshot.done,
            stats: snapshot.stats,
            complete: job.is_complete(),
            path: job.destination(),
            priority: job.priority,
            rates: if detailed {
                job.history.samples()
            } else {
                Vec::new()
            },
            pieces: job.metainfo.geometry.pieces(),
            peers,
        }
    }

    /// The same as whoever reads events sees it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            info_hash: self.info_hash,
            name: &self.name,
            phase: self.state,
            total: self.total,
            done: self.done,
            stats: self.stats,
        }
    }
}

impl Run {
    /// How it goes.
    pub(super) fn overview(&self, detailed: bool) -> Overview {
        let limits = self.session.limits();
        let shown = self.jobs.iter().filter(|job| job.wish != Wish::Leave);
        Overview {
            uptime: self.begun.elapsed(),
            port: self.plan.identity.door.port(),
            max_upload: limits.upload.rate(),
            max_download: limits.download.rate(),
            dht: self.session.dht().map(|stats| stats.nodes),
            torrents: shown.map(|job| Shown::of(job, detailed)).collect(),
            removed: self.cleanup.shown(),
            removed_totals: self.cleanup.totals(),
        }
    }
}
