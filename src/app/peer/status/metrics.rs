//! `/metrics`: the statistics in Prometheus' text format. Names carry units, and counters end in `_total`. Peers are not among the labels.

use std::fmt::{self, Display, Formatter, Write};

use super::super::overview::{Overview, Shown};
use super::super::progress::FETCHING;
use crate::app::web::prometheus::{Label, head};

/// What is known of each torrent: name, what it is, type, and its value.
type OfTorrent = (&'static str, &'static str, &'static str, fn(&Shown) -> u64);

const OF_TORRENTS: [OfTorrent; 8] = [
    (
        "hivebt_peer_uploaded_bytes_total",
        "Payload sent",
        "counter",
        |shown| shown.stats.uploaded,
    ),
    (
        "hivebt_peer_downloaded_bytes_total",
        "Payload received, what was of no use included",
        "counter",
        |shown| shown.stats.downloaded,
    ),
    (
        "hivebt_peer_upload_bytes_per_second",
        "Payload sent of late",
        "gauge",
        |shown| shown.stats.upload_rate,
    ),
    (
        "hivebt_peer_download_bytes_per_second",
        "Payload received of late",
        "gauge",
        |shown| shown.stats.download_rate,
    ),
    (
        "hivebt_peer_connected_peers",
        "Connections",
        "gauge",
        |shown| shown.stats.peers as u64,
    ),
    (
        "hivebt_peer_web_seeds",
        "HTTP servers that may be asked for payload",
        "gauge",
        |shown| shown.stats.web_seeds as u64,
    ),
    (
        "hivebt_peer_size_bytes",
        "Payload that is wanted",
        "gauge",
        |shown| shown.total,
    ),
    (
        "hivebt_peer_complete",
        "1 if the payload is verified and lies under its own name",
        "gauge",
        |shown| shown.complete.into(),
    ),
];

const STATES: [&str; 8] = [
    FETCHING,
    "checking",
    "reusing",
    "downloading",
    "seeding",
    "paused",
    "finished",
    "error",
];

pub(super) fn render(overview: &Overview) -> String {
    let mut out = String::new();
    head(
        "hivebt_peer_build_info",
        "The version that runs",
        "gauge",
        &mut out,
    );
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        out,
        "hivebt_peer_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    for (name, help, value) in [
        (
            "hivebt_peer_uptime_seconds",
            "Time since the start",
            overview.uptime.as_secs(),
        ),
        (
            "hivebt_peer_upload_limit_bytes_per_second",
            "Limit of all torrents together, 0 for none",
            overview.max_upload,
        ),
        (
            "hivebt_peer_download_limit_bytes_per_second",
            "Limit of all torrents together, 0 for none",
            overview.max_download,
        ),
    ] {
        head(name, help, "gauge", &mut out);
        let _ = writeln!(out, "{name} {value}");
    }
    for (name, help, value) in [
        (
            "hivebt_peer_removed_torrents_total",
            "Torrents whose data a rule has removed",
            overview.removed_totals.0,
        ),
        (
            "hivebt_peer_removed_bytes_total",
            "Bytes of payload that a rule has removed",
            overview.removed_totals.1,
        ),
    ] {
        head(name, help, "counter", &mut out);
        let _ = writeln!(out, "{name} {value}");
    }
    if let Some(nodes) = overview.dht {
        let name = "hivebt_peer_dht_nodes";
        let help = "Nodes of the DHT that were heard within the last 15 minutes";
        head(name, help, "gauge", &mut out);
        for (family, nodes) in ["ipv4", "ipv6"].iter().zip(nodes) {
            let _ = writeln!(out, "{name}{{family=\"{family}\"}} {nodes}");
        }
    }
    let name = "hivebt_peer_torrents";
    head(name, "Torrents by what they are doing", "gauge", &mut out);
    for state in STATES {
        let those = overview.torrents.iter().filter(|t| t.state == state);
        let _ = writeln!(out, "{name}{{state=\"{state}\"}} {}", those.count());
    }
    for (name, help, kind, value) in OF_TORRENTS {
        head(name, help, kind, &mut out);
        for shown in &overview.torrents {
            let _ = writeln!(out, "{name}{} {}", Labels(shown), value(shown));
        }
    }
    let name = "hivebt_peer_completion_ratio";
    let help = "How much is verified, or while checking, looked at, from 0 to 1";
    head(name, help, "gauge", &mut out);
    for shown in &overview.torrents {
        let ratio = shown.snapshot().percentage() / 100.0;
        let _ = writeln!(out, "{name}{} {ratio:.4}", Labels(shown));
    }
    out
}

/// Those of a torrent.
struct Labels<'a>(&'a Shown);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Shown {
            info_hash, name, ..
        } = self.0;
        let name = Label(name);
        write!(f, "{{info_hash=\"{info_hash}\",name=\"{name}\"}}")
    }
}
