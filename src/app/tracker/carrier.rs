//! What carries HTTP requests to the tracker and replies back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::private::key_in;
use super::service::Service;
use super::source;
use crate::net::gate::{Answer, Handler, Head};
use crate::net::http_server::Method;
use crate::proto::tracker::http::{
    read_announce, read_scrape, write_announce, write_refusal, write_scrape,
};
use crate::proto::tracker::{AnnounceReply, Refusal};

/// Of a reply (R34). A refusal is one, too: its status is 200, for only the body counts with clients.
const BENCODED: Answer = Answer::Reply {
    status: 200,
    content_type: "application/x-bittorrent",
};

const TEXT: &str = "text/plain; charset=utf-8";

/// One for each worker of the gate.
pub(super) struct Carrier {
    service: Arc<Service>,
    rng: fastrand::Rng,
    reply: AnnounceReply,
}

impl Carrier {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            rng: fastrand::Rng::new(),
            reply: AnnounceReply::default(),
        }
    }

    fn announce(
        &mut self,
        head: &Head<'_>,
        from: IpAddr,
        body: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let request = read_announce(head.query)?;
        let Self {
            service,
            rng,
            reply,
        } = self;
        let trusts = |ip| service.trusts(ip);
        let client = source::client(from, &head.forwarded, trusts);
        let peer = source::peer(client, request.ip, !head.forwarded.is_empty(), trusts);
        service.announce(key_in(head.path), peer, &request, rng, reply)?;
        reply.external_ip = Some(client);
        write_announce(reply, request.compact != Some(false), body);
        Ok(())
    }

    /// For the pages. Who was sent by a proxy that nobody declared may be anybody, and is not told to be the proxy.
    fn page(&self, head: &Head<'_>, from: IpAddr) -> Answer {
        let trusts = |ip| self.service.trusts(ip);
        let known = head.forwarded.is_empty() || trusts(from);
        Answer::Page {
            asker: known.then(|| source::client(from, &head.forwarded, trusts)),
        }
    }

    fn scrape(&self, head: &Head<'_>, body: &mut Vec<u8>) -> Result<(), Refusal> {
        self.service.begin_scrape(key_in(head.path))?;
        let hashes = read_scrape(head.query)?;
        let swarms: Vec<_> = hashes
            .into_iter()
            .map(|hash| (hash, self.service.scrape(hash)))
            .collect();
        write_scrape(&swarms, body);
        Ok(())
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Announce,
    Scrape,
    Health,
    Page,
}

impl Target {
    /// What a path stands for; `/announce/<key>` and the like exist only where keys are asked for.
    fn of(path: &[u8], private: bool) -> Self {
        match path {
            b"/announce" => Self::Announce,
            b"/scrape" => Self::Scrape,
            b"/healthz" => Self::Health,
            _ if private && path.starts_with(b"/announce/") => Self::Announce,
            _ if private && path.starts_with(b"/scrape/") => Self::Scrape,
            _ => Self::Page,
        }
    }
}

impl Handler for Carrier {
    fn answer(&mut self, head: &Head<'_>, from: SocketAddr, body: &mut Vec<u8>) -> Answer {
        let outcome = match Target::of(head.path, self.service.is_private()) {
            // Asking for the head only must change nothing.
            Target::Announce | Target::Scrape if head.method == Method::Head => {
                return Answer::Reply {
                    status: 405,
                    content_type: TEXT,
                };
            }
            Target::Announce => self.announce(head, from.ip(), body),
            Target::Scrape if head.query.is_empty() && self.service.scrapes_fully() => {
                return self.page(head, from.ip());
            }
            Target::Scrape => self.scrape(head, body),
            Target::Health => {
                body.extend_from_slice(b"ok\n");
                return Answer::Reply {
                    status: 200,
                    content_type: TEXT,
                };
            }
            Target::Page => return self.page(head, from.ip()),
        };
        if let Err(refusal) = outcome {
            self.service.count_error();
            body.clear();
            write_refusal(&refusal, body);
        }
        BENCODED
    }

    fn exempts(&self, from: IpAddr) -> bool {
        // What stands before us on this host comes from there.
        from == Ipv4Addr::LOCALHOST || from == Ipv6Addr::LOCALHOST || self.service.trusts(from)
    }
}
