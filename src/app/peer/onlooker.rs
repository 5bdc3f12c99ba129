//! Asks trackers about a swarm without taking part in it.

use std::time::Duration;

use crate::base::id::{InfoHash, PeerId};
use crate::base::json::{self, Value};
use crate::core::udp_announce::Question;
use crate::net::http_client::{Client, HttpError, Options, Response};
use crate::net::tcp::Bind;
use crate::proto::tracker::http::{parse_scrape, scrape_base, scrape_url};
use crate::proto::tracker::{AnnounceReply, AnnounceRequest, Event, SwarmStats};
use crate::proto::url::{self, Scheme};

use super::asker::{Asker, Trouble};

/// Bytes of statistics that are read; a tracker with very many swarms has more to tell than is needed.
const MAX_STATISTICS: u64 = 32 << 20;

/// Asks, and takes no part. Each answer has the same time.
pub(super) struct Onlooker {
    asker: Asker,
    http: Client,
}

impl Onlooker {
    /// From where, and how long each answer may take.
    pub(super) fn new(bind: &Bind, timeout: Duration) -> Self {
        let options = Options {
            timeout,
            limit: MAX_STATISTICS,
            bind: bind.clone(),
            ..Options::default()
        };
        Self {
            asker: Asker::new(bind, timeout),
            http: Client::new(&options),
        }
    }

    /// The numbers of a swarm, by scrape (BEP 48, BEP 15); from a tracker that cannot be scraped, by announce.
    pub(super) fn numbers(&self, url: &str, hash: InfoHash) -> Result<SwarmStats, Trouble> {
        let target = url::tracker(url).map_err(|error| Trouble::Failed(error.to_string()))?;
        let reply = if target.scheme == Scheme::Udp {
            self.asker.ask_udp(&target, Question::Scrape(hash))?
        } else if let Some(numbers) = self.scraped(url, hash)? {
            return Ok(numbers);
        } else {
            self.announce(url, hash)?
        };
        Ok(SwarmStats {
            complete: reply.complete.unwrap_or(0),
            downloaded: reply.downloaded.unwrap_or(0),
            incomplete: reply.incomplete.unwrap_or(0),
        })
    }

    /// `None` if the tracker does not know what a scrape is.
    fn scraped(&self, url: &str, hash: InfoHash) -> Result<Option<SwarmStats>, Trouble> {
        let Some(base) = scrape_base(url) else {
            return Ok(None);
        };
        let answer = self.http.get(&scrape_url(&base, &[hash]))?;
        let of_hash = |swarms: Vec<(InfoHash, SwarmStats)>| {
            let own = swarms.into_iter().find(|(of, _)| *of == hash);
            own.map(|(_, numbers)| numbers).unwrap_or_default()
        };
        Ok(parse_scrape(&answer.body).ok().map(of_hash))
    }

    /// Announces as somebody who has just left, which enters nobody into the swarm.
    pub(super) fn announce(&self, url: &str, hash: InfoHash) -> Result<AnnounceReply, Trouble> {
        let us = PeerId::generate(&mut fastrand::Rng::new());
        let request = AnnounceRequest {
            left: Some(0),
            event: Event::Stopped,
            numwant: Some(0),
            compact: Some(true),
            ..AnnounceRequest::new(hash, us, 0)
        };
        self.asker.announce(url, &request)
    }

    /// What lies at `path` of the server that an HTTP tracker's `url` names.
    pub(super) fn page(&self, url: &str, path: &str) -> Result<Response, HttpError> {
        let root = root(url).ok_or(HttpError::BadUrl(url.to_owned()))?;
        self.http.get(&format!("{root}{path}"))
    }

    /// The same as JSON; `None` if there is none.
    pub(super) fn json(&self, url: &str, path: &str) -> Option<Value> {
        let body = self.page(url, path).ok()?.success().ok()?;
        json::parse(&body).ok()
    }
}

/// Scheme, host and port of a URL.
fn root(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    let end = url[host..].find(['/', '?', '#']);
    Some(end.map_or(url, |end| &url[..host + end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_url_is_all_before_its_path() {
        for (url, expected) in [
            ("http://t:1/announce?k=v", Some("http://t:1")),
            ("http://[::1]:80", Some("http://[::1]:80")),
            ("http://t?x", Some("http://t")),
            ("t/x", None),
        ] {
            assert_eq!(root(url), expected, "{url}");
        }
    }
}
