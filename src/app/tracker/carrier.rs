//! What carries HTTP requests to the tracker and replies back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::service::Service;
use super::source;
use crate::net::gate::{Answer, Handler, Head};
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
        service.announce(peer, &request, rng, reply)?;
        reply.external_ip = Some(client);
        write_announce(reply, request.compact != Some(false), body);
        Ok(())
    }

    fn scrape(&self, head: &Head<'_>, body: &mut Vec<u8>) -> Result<(), Refusal> {
        self.service.count_scrape();
        let hashes = read_scrape(head.query)?;
        let swarms: Vec<_> = hashes
            .into_iter()
            .map(|hash| (hash, self.service.scrape(hash)))
            .collect();
        write_scrape(&swarms, body);
        Ok(())
    }
}

impl Handler for Carrier {
    fn answer(&mut self, head: &Head<'_>, from: SocketAddr, body: &mut Vec<u8>) -> Answer {
        let outcome = match head.path {
            // Asking for the head only must change nothing.
            b"/announce" | b"/scrape" if head.head_only => {
                return Answer::Reply {
                    status: 405,
                    content_type: TEXT,
                };
            }
            b"/announce" => self.announce(head, from.ip(), body),
            b"/scrape" => self.scrape(head, body),
            b"/healthz" => {
                body.extend_from_slice(b"ok\n");
                return Answer::Reply {
                    status: 200,
                    content_type: TEXT,
                };
            }
            _ => return Answer::Page,
        };
        if let Err(refusal) = outcome {
            self.service.count_error();
            body.clear();
            write_refusal(&refusal, body);
        }
        BENCODED
    }

    fn exempts(&self, from: IpAddr) -> bool {
        from.is_loopback() || self.service.trusts(from)
    }
}
