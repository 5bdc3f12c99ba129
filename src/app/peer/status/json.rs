//! `/stats` and what belongs to it.

use crate::base::json::{Value, json};

use super::super::cleanup::Removed;
use super::super::overview::{Overview, Shown, place_and_program};

pub(super) fn overview(overview: &Overview) -> Value {
    let mut all = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": overview.uptime.as_secs(),
        "port": overview.port,
        "max_upload": overview.max_upload,
        "max_download": overview.max_download,
        "torrents": overview.torrents.iter().map(torrent).collect::<Vec<_>>(),
        "removed": overview.removed.iter().map(removed).collect::<Vec<_>>(),
    });
    if let (Some(all), Some([v4, v6])) = (all.as_object_mut(), overview.dht) {
        all.insert("dht".into(), json!({"nodes": v4, "nodes6": v6}));
    }
    all
}

fn removed(removed: &Removed) -> Value {
    let mut all = json!({"info_hash": removed.info_hash.to_string()});
    let rest = json!({"at": removed.at, "error": removed.error});
    if let (Some(all), Value::Object(what), Value::Object(rest)) =
        (all.as_object_mut(), removed.json(), rest)
    {
        all.extend(what);
        all.extend(rest);
    }
    all
}

pub(super) fn limits(overview: &Overview) -> Value {
    json!({"max_upload": overview.max_upload, "max_download": overview.max_download})
}

/// The keys of R83 and what else is known.
pub(super) fn torrent(shown: &Shown) -> Value {
    let mut all = json!({
        "info_hash": shown.info_hash.to_string(),
        "name": shown.name,
        "total_length": shown.total,
    });
    let rest = json!({
        "complete": shown.complete,
        "path": shown.path.to_string_lossy(),
        "priority": shown.priority.name(),
        "message": shown.message,
    });
    if let (Some(all), Value::Object(totals), Value::Object(rest)) =
        (all.as_object_mut(), shown.snapshot().json(), rest)
    {
        all.extend(totals);
        all.extend(rest);
    }
    all
}

pub(super) fn peers(shown: &Shown) -> Value {
    let peers = shown.peers.iter().map(|peer| {
        let (place, program) = place_and_program(peer);
        json!({
            "address": place,
            "client": client(program),
            "utp": peer.utp,
            "completion_percentage": percent(peer.have, shown.pieces),
            "total_uploaded": peer.uploaded,
            "total_downloaded": peer.downloaded,
            "upload_rate": peer.upload_rate,
            "download_rate": peer.download_rate,
            "am_choking": peer.am_choking,
            "am_interested": peer.am_interested,
            "peer_choking": peer.peer_choking,
            "peer_interested": peer.peer_interested,
        })
    });
    json!({
        "info_hash": shown.info_hash.to_string(),
        "peers": peers.collect::<Vec<_>>(),
    })
}

fn client(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty())
}

/// In percent, with one digit after the point.
pub(super) fn percent(have: u32, pieces: u32) -> f64 {
    let percent = crate::app::human::percent(have.into(), pieces.into());
    (percent * 10.0).round() / 10.0
}
