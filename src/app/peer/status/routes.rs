//! Which request is which question to the run, and what becomes of the answer.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::app::web::{HTML, JSON, asset, prometheus};
use crate::base::id::InfoHash;
use crate::base::json::{Value, json, parse};
use crate::core::shares::Priority;
use crate::net::http_server::{Method, Page, PageRequest};
use crate::proto::magnet::Magnet;
use crate::proto::metainfo::Metainfo;

use super::super::api::{Ask, Reply, Slot};
use super::super::load;
use super::super::run::Occurrence;
use super::super::watched::Listed;
use super::{json, metrics, page};

/// How long the run may take to answer. It is at most busy with a file.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no page, as a status and a word.
type Refusal = (u16, String);

/// Answers a request that the guard has let pass.
pub(super) fn answer(wanted: &PageRequest, run: &Sender<Occurrence>) -> Page {
    if let Some((content_type, content)) = asset(&wanted.path) {
        return made(200, content_type, content.to_owned());
    }
    let outcome = question(wanted).and_then(|(ask, show)| {
        let reply = put(ask, run)?;
        show_as(show, reply, wanted)
    });
    outcome.unwrap_or_else(|(status, why)| {
        let body = json!({ "error": why });
        made(status, JSON, format!("{body}\n"))
    })
}

/// How an answer is shown.
#[derive(Clone, Copy)]
enum Show {
    Page,
    Metrics,
    Stats,
    Torrent,
    Peers,
    Limits,
}

fn question(wanted: &PageRequest) -> Result<(Ask, Show), Refusal> {
    let segments: Vec<&str> = wanted.path.split('/').skip(1).collect();
    let looks = wanted.method.is_safe();
    let asked = match (wanted.method, segments.as_slice()) {
        (_, [""]) if looks => (Ask::Overview(true), Show::Page),
        (_, ["metrics"]) if looks => (Ask::Overview(false), Show::Metrics),
        (_, ["stats"]) if looks => (Ask::Overview(false), Show::Stats),
        (_, ["limits"]) if looks => (Ask::Overview(false), Show::Limits),
        (_, ["stats", hash] | ["torrents", hash]) if looks => {
            (Ask::Torrent(info_hash(hash)?), Show::Torrent)
        }
        (_, ["torrents", hash, "peers"]) if looks => (Ask::Torrent(info_hash(hash)?), Show::Peers),
        (Method::Post, ["torrents"]) => (add(&wanted.body)?, Show::Torrent),
        (Method::Post, ["limits"]) => (limit(&wanted.body)?, Show::Limits),
        (Method::Post, ["torrents", hash]) => {
            (tune(info_hash(hash)?, &wanted.body)?, Show::Torrent)
        }
        (Method::Post, ["torrents", hash, "pause"]) => {
            (Ask::Pause(info_hash(hash)?), Show::Torrent)
        }
        (Method::Post, ["torrents", hash, "resume"]) => {
            (Ask::Resume(info_hash(hash)?), Show::Torrent)
        }
        (Method::Delete, ["torrents", hash]) => (Ask::Remove(info_hash(hash)?), Show::Torrent),
        _ => {
            return Err((
                404,
                format!("there is no {} {}", wanted.method.name(), wanted.path),
            ));
        }
    };
    Ok(asked)
}

fn info_hash(text: &str) -> Result<InfoHash, Refusal> {
    let unknown = |_| (404, format!("`{text}` is no info-hash"));
    text.parse().map_err(unknown)
}

fn add(body: &[u8]) -> Result<Ask, Refusal> {
    let text = std::str::from_utf8(body).ok();
    if let Some(text) = text.filter(|text| load::is_link(text.trim_start())) {
        return match Magnet::parse(text) {
            Ok(magnet) => Ok(Ask::Add(Listed::Link(magnet.into()).into(), body.to_vec())),
            Err(error) => Err((400, format!("the body is no magnet link: {error}"))),
        };
    }
    match Metainfo::from_bytes(body) {
        Ok(metainfo) => Ok(Ask::Add(
            Listed::Torrent(metainfo.into()).into(),
            body.to_vec(),
        )),
        Err(error) => Err((400, format!("the body is no torrent: {error}"))),
    }
}

/// The members of the object in `body`, which must be among `known`.
fn members<const N: usize>(body: &[u8], known: [&str; N]) -> Result<[Option<Value>; N], Refusal> {
    let bad = |why: String| (400, format!("the body is not what is taken here: {why}"));
    let value = parse(body).map_err(bad)?;
    let Value::Object(mut object) = value else {
        return Err(bad("it is no JSON object".into()));
    };
    let found = known.map(|key| object.remove(key));
    match object.keys().next() {
        Some(other) if ["max_upload", "max_download"].contains(&other.as_str()) => Err(bad(
            format!("`{other}` holds for all torrents together: POST /limits"),
        )),
        Some(other) => Err(bad(format!("unknown key `{other}`"))),
        None if found.iter().all(Option::is_none) => Err(bad(format!("it has no `{}`", known[0]))),
        None => Ok(found),
    }
}

fn tune(info_hash: InfoHash, body: &[u8]) -> Result<Ask, Refusal> {
    let [priority] = members(body, ["priority"])?;
    let name = priority.as_ref().and_then(Value::as_str);
    match name.and_then(Priority::from_name) {
        Some(priority) => Ok(Ask::Prioritize(info_hash, priority)),
        None => Err((400, "`priority` takes low, normal or high".into())),
    }
}

fn limit(body: &[u8]) -> Result<Ask, Refusal> {
    let keys = ["max_upload", "max_download"];
    let [upload, download] = members(body, keys)?;
    let rate = |key: &str, value: Option<Value>| match value {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(rate) => Ok(Some(rate)),
            None => Err((400, format!("`{key}` takes bytes a second, 0 for none"))),
        },
    };
    Ok(Ask::Limit(rate(keys[0], upload)?, rate(keys[1], download)?))
}

fn put(ask: Ask, run: &Sender<Occurrence>) -> Result<Reply, Refusal> {
    let slot = Arc::<Slot>::default();
    let sent = run.send(Occurrence::Asked(ask, slot.clone()));
    let reply = sent.ok().and_then(|()| slot.wait(PATIENCE));
    reply.ok_or_else(|| (503, "busy or about to stop; try again".to_owned()))
}

fn show_as(show: Show, reply: Reply, wanted: &PageRequest) -> Result<Page, Refusal> {
    let line = |value: Value| format!("{value}\n");
    Ok(match (reply, show) {
        (Reply::Overview(overview), Show::Page) => {
            made(200, HTML, page::render(&overview, &wanted.query))
        }
        (Reply::Overview(overview), Show::Metrics) => {
            made(200, prometheus::CONTENT_TYPE, metrics::render(&overview))
        }
        (Reply::Overview(overview), Show::Limits) => made(200, JSON, line(json::limits(&overview))),
        (Reply::Overview(overview), _) => made(200, JSON, line(json::overview(&overview))),
        (Reply::Torrent(torrent, _), Show::Peers) => made(200, JSON, line(json::peers(&torrent))),
        (Reply::Torrent(torrent, new), _) => made(
            if new { 201 } else { 200 },
            JSON,
            line(json::torrent(&torrent)),
        ),
        (Reply::Unknown, _) => return Err((404, "there is no such torrent".into())),
        (Reply::Fixed, _) => {
            let why = "the torrents of this run are fixed: `hivebt-peer run` takes others";
            return Err((409, why.into()));
        }
        (Reply::Failed(failure), _) => return Err((500, failure.to_string())),
    })
}

fn made(status: u16, content_type: &'static str, body: String) -> Page {
    Page {
        status,
        content_type,
        body: body.into_bytes(),
    }
}
