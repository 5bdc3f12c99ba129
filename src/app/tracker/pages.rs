//! What people and scripts look at, and what a full scrape takes: everything that is not asked for often.
//!
//! What is costly to make on a large tracker is kept for a while, so that strangers who ask again and again cost no more than one of them. Small trackers
//! answer anew every time.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::overview::{Extent, Overview, Shown, busiest};
use super::private::key_in;
use super::reach::Reach;
use super::service::{Service, Statistics};
use crate::app::web::{JSON, TEXT};
use crate::base::json::{Value, json};
use crate::net::http_server::{Page, PageRequest};
use crate::proto::tracker::http::{write_refusal, write_scrape};

const BENCODED: &str = "application/x-bittorrent";

/// Rooms that no path leads to; with the question mark they cannot be one.
const EVERYTHING: &str = "/stats?mode=everything";
const FULL_SCRAPE: &str = "/scrape?";

/// What `/stats?mode=everything` shows.
const SHOWN: Extent = Extent {
    swarms: 10_000,
    each: 1_000,
    peers: 200_000,
};

/// Swarms in a full scrape.
const SCRAPED: usize = 50_000;

/// What is at a path.
#[derive(Clone, Copy)]
pub(super) enum Room {
    /// Content type and content.
    Fixed(&'static str, &'static str),
    /// Content type and what makes the content.
    Made(&'static str, Make),
}

/// Makes the content of a room; told whether who asks may know where peers are.
pub(super) type Make = fn(&Service, bool) -> Vec<u8>;

/// Finds the room at a path. That programs choose one keeps rooms out of those that do not need them.
pub(super) type Rooms = fn(&str) -> Option<Room>;

/// What the tracker has for programs.
pub(super) fn rooms(path: &str) -> Option<Room> {
    match path {
        EVERYTHING => Some(Room::Made(JSON, everything)),
        FULL_SCRAPE => Some(Room::Made(BENCODED, full_scrape)),
        _ => None,
    }
}

/// What a tracker has that is a part of another program: a line for people.
pub(super) fn few_rooms(path: &str) -> Option<Room> {
    let line: Make = |service, _| format!("{}\n", summary(service)).into_bytes();
    (path == "/").then_some(Room::Made(TEXT, line))
}

/// See the module.
pub(super) struct Pages {
    service: Arc<Service>,
    rooms: Rooms,
    reach: Reach,
    kept: RefCell<Vec<Kept>>,
}

/// Something that was costly to make.
struct Kept {
    /// The path, and whether addresses are told.
    of: (String, bool),
    until: Instant,
    body: Vec<u8>,
}

impl Pages {
    pub(super) fn new(service: Arc<Service>, rooms: Rooms) -> Self {
        Self {
            service,
            rooms,
            reach: Reach::default(),
            kept: RefCell::new(Vec::new()),
        }
    }

    /// Makes the page that is asked for.
    pub(super) fn page(&self, wanted: &PageRequest) -> Page {
        let (service, path) = (&*self.service, wanted.path.as_str());
        let everything = wanted.query.split('&').any(|p| p == "mode=everything");
        if path == "/stats" {
            return match (self.rooms)(EVERYTHING).filter(|_| everything) {
                Some(_) => self.room(EVERYTHING, wanted),
                None => found(JSON, line(&statistics(service))),
            };
        }
        if path == "/reach" {
            return self.reach.page(service, wanted);
        }
        let of_key = service.is_private() && path.starts_with("/scrape/");
        if service.scrapes_fully() && (path == "/scrape" || of_key) {
            return self.scrape(wanted);
        }
        let torrents = service.catalog();
        torrents
            .page(wanted)
            .unwrap_or_else(|| self.room(path, wanted))
    }

    /// A scrape of everything; who names info-hashes is answered before it comes here.
    fn scrape(&self, wanted: &PageRequest) -> Page {
        match self.service.begin_scrape(key_in(wanted.path.as_bytes())) {
            Ok(()) => self.room(FULL_SCRAPE, wanted),
            Err(refusal) => {
                self.service.count_error();
                let mut body = Vec::new();
                write_refusal(&refusal, &mut body);
                found(BENCODED, body)
            }
        }
    }

    fn room(&self, path: &str, wanted: &PageRequest) -> Page {
        match (self.rooms)(path) {
            Some(Room::Fixed(content_type, body)) => found(content_type, body.into()),
            Some(Room::Made(content_type, make)) => {
                let addresses = wanted.from.is_some_and(|ip| self.service.shows_peers(ip));
                let make = || make(&self.service, addresses);
                found(content_type, self.kept((path.to_owned(), addresses), make))
            }
            None => Page {
                status: 404,
                content_type: TEXT,
                body: b"not found: there are /announce, /scrape, /stats, /healthz and /\n".into(),
            },
        }
    }

    /// What was made lately, else what `make` makes.
    fn kept(&self, of: (String, bool), make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        let now = Instant::now();
        self.kept.borrow_mut().retain(|kept| kept.until > now);
        if let Some(kept) = self.kept.borrow().iter().find(|kept| kept.of == of) {
            return kept.body.clone();
        }
        let body = make();
        let lasts = lasts(self.service.size());
        if !lasts.is_zero() {
            let kept = Kept {
                of,
                until: Instant::now() + lasts,
                body: body.clone(),
            };
            self.kept.borrow_mut().push(kept);
        }
        body
    }
}

/// How long a page is good for that was made from so many swarms and peers.
fn lasts(size: u64) -> Duration {
    Duration::from_millis((size / 10_000).saturating_mul(200).min(10_000))
}

const fn found(content_type: &'static str, body: Vec<u8>) -> Page {
    Page {
        status: 200,
        content_type,
        body,
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

/// An event for programs: there is a door.
pub(super) fn listening_event(url: &str) -> Value {
    json!({"event": "listening", "url": url})
}

/// An event for programs: how it goes, as `/stats` says it.
pub(super) fn statistics_event(service: &Service) -> Value {
    let mut event = json!({"event": "statistics"});
    if let (Some(event), Value::Object(sums)) = (event.as_object_mut(), statistics(service)) {
        event.extend(sums);
    }
    event
}

fn line(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

fn statistics(service: &Service) -> Value {
    let now = service.statistics();
    sums(&now)
}

fn sums(now: &Statistics) -> Value {
    let mut sums = json!({
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
    if let (Some(sums), Some(dht)) = (sums.as_object_mut(), now.dht) {
        let [v4, v6] = dht.nodes;
        sums.insert("dht".into(), json!({"nodes": v4, "nodes6": v6, "torrents": dht.torrents, "peers": dht.peers, "answered": dht.answered, "refused": dht.refused}));
    }
    sums
}

/// The sums and the swarms with the most leechers.
fn everything(service: &Service, addresses: bool) -> Vec<u8> {
    let overview = Overview::of(service, SHOWN);
    let mut all = sums(&overview.now);
    if let Some(object) = all.as_object_mut() {
        let swarms = overview.swarms.iter();
        let swarms = swarms.map(|shown| swarm(shown, addresses)).collect();
        object.insert("swarms".into(), Value::Array(swarms));
        object.insert("swarms_omitted".into(), overview.omitted.into());
    }
    line(&all)
}

/// A swarm; with the addresses of its leechers if who asks may know them.
fn swarm(shown: &Shown, addresses: bool) -> Value {
    let Shown { view, name } = shown;
    let mut swarm = json!({
        "info_hash": view.hash.to_string(),
        "name": name,
        "seeders": view.stats.complete,
        "leechers": view.stats.incomplete,
        "completed": view.stats.downloaded,
        "progress": view.progress,
    });
    if addresses {
        let leechers = view.peers.iter().take(view.progress.len());
        let told = leechers.map(|peer| peer.addr.to_string());
        swarm["leechers_at"] = told.collect();
    }
    swarm
}

/// The swarms with the most leechers, of those that are served.
fn full_scrape(service: &Service, _: bool) -> Vec<u8> {
    let mut swarms = busiest(service, SCRAPED);
    swarms.retain(|(hash, _)| service.serves(*hash));
    let mut body = Vec::new();
    write_scrape(&swarms, &mut body);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_says_what_the_statistics_say() {
        let config = crate::app::tracker::Config::default();
        let service = Service::new(&config, crate::core::tracker::Access::default(), None);
        let event = statistics_event(&service);
        assert_eq!(event["event"], "statistics");
        let sums = statistics(&service);
        let keys = sums.as_object().unwrap().keys();
        assert!(keys.len() >= 10);
        keys.for_each(|key| assert_eq!(event[key], sums[key], "{key}"));
    }

    #[test]
    fn small_trackers_answer_anew_and_large_ones_from_time_to_time() {
        let millis = |size| lasts(size).as_millis();
        assert_eq!(
            [0, 9_999, 10_000, 100_000, 500_000, u64::MAX].map(millis),
            [0, 0, 200, 2_000, 10_000, 10_000]
        );
    }
}
