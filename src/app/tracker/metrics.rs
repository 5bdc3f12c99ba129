//! `/metrics`: the statistics in Prometheus' text format.
//!
//! Names carry units, counters end in `_total`, and there are never more series than for [`EXTENT`] swarms: those with the most leechers. Users, keys and addresses are
//! not among the labels.

use std::fmt::Write;

use super::overview::{Extent, Overview, Shown};
use super::service::Service;
use crate::app::web::prometheus::{Label, float, head};
use crate::core::dht::Stats;

/// Swarms with series of their own. One peer is enough to know the slowest.
const EXTENT: Extent = Extent {
    swarms: 100,
    each: 1,
    peers: 100,
};

/// What is known of each swarm: name, what it is, type, and its value if there is one.
type OfSwarm = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Shown) -> Option<f64>,
);

const OF_SWARMS: [OfSwarm; 6] = [
    (
        "hivebt_swarm_seeders",
        "Seeders of a torrent; torrents with the most leechers have series",
        "gauge",
        |shown| Some(shown.view.stats.complete.into()),
    ),
    (
        "hivebt_swarm_leechers",
        "Leechers of a torrent",
        "gauge",
        |shown| Some(shown.view.stats.incomplete.into()),
    ),
    (
        "hivebt_swarm_completed_total",
        "Downloads of a torrent that were completed",
        "counter",
        |shown| Some(shown.view.stats.downloaded.into()),
    ),
    (
        "hivebt_swarm_slowest_progress_ratio",
        "How far the leecher is that lags behind most, from 0 to 1",
        "gauge",
        |shown| Some(f64::from(*shown.view.progress.first()?) / 100.0),
    ),
    (
        "hivebt_swarm_download_bytes_per_second",
        "What a leecher downloads on average",
        "gauge",
        |shown| shown.view.rate.map(float),
    ),
    (
        "hivebt_swarm_remaining_seconds",
        "Time until the last leecher is expected to be done",
        "gauge",
        |shown| shown.view.remaining.map(float),
    ),
];

/// The page.
pub(super) fn page(service: &Service, _: bool) -> Vec<u8> {
    render(&Overview::of(service, EXTENT)).into_bytes()
}

fn render(overview: &Overview) -> String {
    let mut out = String::new();
    let now = &overview.now;
    head(
        "hivebt_build_info",
        "The version that runs",
        "gauge",
        &mut out,
    );
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        out,
        "hivebt_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    for (name, help, kind, value) in [
        (
            "hivebt_uptime_seconds",
            "Time since the start",
            "gauge",
            now.uptime.as_secs(),
        ),
        (
            "hivebt_torrents",
            "Torrents with peers",
            "gauge",
            now.totals.swarms,
        ),
        (
            "hivebt_seeders",
            "Seeders of all torrents",
            "gauge",
            now.totals.seeders,
        ),
        (
            "hivebt_leechers",
            "Leechers of all torrents",
            "gauge",
            now.totals.leechers,
        ),
        // With the least remembered torrents their counts are forgotten, so it can sink.
        (
            "hivebt_completed",
            "Downloads that were completed, of all torrents that are remembered",
            "gauge",
            now.totals.completed,
        ),
        (
            "hivebt_announces_total",
            "Announces, over HTTP and UDP",
            "counter",
            now.announces,
        ),
        (
            "hivebt_scrapes_total",
            "Scrapes, over HTTP and UDP",
            "counter",
            now.scrapes,
        ),
        (
            "hivebt_refused_total",
            "Announces and scrapes that were refused",
            "counter",
            now.errors,
        ),
        (
            "hivebt_swarms_omitted",
            "Torrents without series of their own",
            "gauge",
            overview.omitted,
        ),
    ] {
        head(name, help, kind, &mut out);
        let _ = writeln!(out, "{name} {value}");
    }
    if let Some(dht) = now.dht {
        of_dht(&dht, &mut out);
    }
    for (name, help, kind, value) in OF_SWARMS {
        head(name, help, kind, &mut out);
        for shown in &overview.swarms {
            if let Some(value) = value(shown) {
                let _ = writeln!(
                    out,
                    "{name}{{info_hash=\"{}\",name=\"{}\"}} {value}",
                    shown.view.hash,
                    Label(shown.name.as_deref().unwrap_or_default())
                );
            }
        }
    }
    out
}

/// What the node of the DHT knows and does.
fn of_dht(dht: &Stats, out: &mut String) {
    let nodes = dht.nodes.iter().sum::<usize>() as u64;
    for (name, help, kind, value) in [
        (
            "hivebt_dht_nodes",
            "Nodes of the DHT that were heard within the last 15 minutes",
            "gauge",
            nodes,
        ),
        (
            "hivebt_dht_peers",
            "Peers that have announced themselves in the DHT here",
            "gauge",
            dht.peers as u64,
        ),
        (
            "hivebt_dht_answered_total",
            "Questions of the DHT that were answered",
            "counter",
            dht.answered,
        ),
        (
            "hivebt_dht_refused_total",
            "Questions of the DHT that were one too many",
            "counter",
            dht.refused,
        ),
    ] {
        head(name, help, kind, out);
        let _ = writeln!(out, "{name} {value}");
    }
}
