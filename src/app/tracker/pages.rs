//! What people and scripts look at: statistics and the list of swarms.

use std::fmt::Write;

use super::service::{Service, Statistics};
use crate::base::json::{Value, json};
use crate::core::tracker::SwarmView;
use crate::net::http_server::{Page, PageRequest};

const TEXT: &str = "text/plain; charset=utf-8";

/// Leechers of a swarm whose progress is shown.
const SHOWN: usize = 1000;

/// Swarms on the page for people.
const LISTED: usize = 1000;

/// Makes the page that is asked for.
pub(super) fn page(service: &Service, wanted: &PageRequest) -> Page {
    match wanted.path.as_str() {
        "/" => plain(200, overview(service)),
        "/stats" => Page {
            status: 200,
            content_type: "application/json",
            body: format!("{}\n", statistics(service, &wanted.query)).into_bytes(),
        },
        _ => service.catalog().page(wanted).unwrap_or_else(|| {
            plain(
                404,
                "not found: there are /announce, /scrape, /stats, /healthz and /\n".into(),
            )
        }),
    }
}

/// A line about how it goes.
pub(super) fn summary(service: &Service) -> String {
    let Statistics {
        totals,
        announces,
        errors,
        ..
    } = service.statistics();
    format!(
        "{} torrents, {} seeders, {} leechers, {} downloads completed; {announces} announces, {errors} requests refused",
        totals.swarms, totals.seeders, totals.leechers, totals.completed
    )
}

fn plain(status: u16, text: String) -> Page {
    Page {
        status,
        content_type: TEXT,
        body: text.into_bytes(),
    }
}

fn statistics(service: &Service, query: &str) -> Value {
    let now = service.statistics();
    let mut all = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": now.uptime.as_secs(),
        "torrents": now.totals.swarms,
        "peers": now.totals.seeders + now.totals.leechers,
        "seeders": now.totals.seeders,
        "leechers": now.totals.leechers,
        "completed": now.totals.completed,
        "announces": now.announces,
        "scrapes": now.scrapes,
        "errors": now.errors,
    });
    if let Some(object) = all
        .as_object_mut()
        .filter(|_| query.split('&').any(|p| p == "mode=everything"))
    {
        let (swarms, catalog) = (service.swarms(SHOWN), service.catalog());
        let swarms = swarms
            .iter()
            .map(|view| swarm(view, catalog.name(view.hash)))
            .collect();
        object.insert("swarms".into(), Value::Array(swarms));
    }
    all
}

fn swarm(view: &SwarmView, name: Option<&str>) -> Value {
    json!({
        "info_hash": view.hash.to_string(),
        "name": name,
        "seeders": view.stats.complete,
        "leechers": view.stats.incomplete,
        "completed": view.stats.downloaded,
        "progress": view.progress,
    })
}

fn overview(service: &Service) -> String {
    let mut text = format!(
        "hivebt-tracker {}\n{}\n\n",
        env!("CARGO_PKG_VERSION"),
        summary(service)
    );
    let swarms = service.swarms(SHOWN);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:40}  {:>7}  {:>8}  {:>9}  leechers at",
        "info-hash", "seeders", "leechers", "completed"
    );
    for view in swarms.iter().take(LISTED) {
        let stats = view.stats;
        let _ = write!(
            text,
            "{:40}  {:>7}  {:>8}  {:>9} ",
            view.hash.to_string(),
            stats.complete,
            stats.incomplete,
            stats.downloaded
        );
        for percent in view.progress.iter().take(10) {
            let _ = write!(text, " {percent}%");
        }
        text.push_str(if view.progress.len() > 10 {
            " …\n"
        } else {
            "\n"
        });
    }
    if swarms.len() > LISTED {
        let _ = writeln!(text, "and {} more", swarms.len() - LISTED);
    }
    text
}
