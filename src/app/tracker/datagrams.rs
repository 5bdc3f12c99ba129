//! What carries datagrams to the tracker and replies back (BEP 15).

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;

use super::private::key_in;
use super::service::Service;
use super::source;
use crate::base::time::Time;
use crate::core::tracker::ConnectionIds;
use crate::net::datagrams::{Datagrams, Responder};
use crate::proto::tracker::udp::{
    Action, Announce, Head, most_peers, read_announce, read_head, read_scrape, write_announced,
    write_connected, write_refusal, write_scraped,
};
use crate::proto::tracker::{AnnounceReply, Refusal};

/// Most threads for each socket.
const THREADS: usize = 8;

/// Serves `sockets` until what it gives is dropped.
///
/// # Errors
/// If the system has no thread to give.
pub(super) fn start(service: &Arc<Service>, sockets: Vec<UdpSocket>) -> io::Result<Datagrams> {
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(THREADS));
    // The standard library seeds its hashers from the system's random numbers.
    let secret = || RandomState::new().hash_one(0);
    let ids = ConnectionIds::new([secret(), secret()]);
    Datagrams::start(sockets, threads, || Answerer::new(Arc::clone(service), ids))
}

/// One for each thread.
struct Answerer {
    service: Arc<Service>,
    ids: ConnectionIds,
    rng: fastrand::Rng,
    reply: AnnounceReply,
}

impl Answerer {
    fn new(service: Arc<Service>, ids: ConnectionIds) -> Self {
        Self {
            service,
            ids,
            rng: fastrand::Rng::new(),
            reply: AnnounceReply::default(),
        }
    }

    /// Silence is the answer to whatever is not of this protocol, and to an id that is not good: its sender may be somebody who never asked.
    fn answer_at(&mut self, now: Time, packet: &[u8], from: IpAddr, out: &mut Vec<u8>) {
        let Some(head) = read_head(packet) else {
            return;
        };
        let Head {
            connection,
            action,
            transaction,
        } = head;
        if action == Action::Connect {
            write_connected(transaction, self.ids.issue(now, from), out);
            return;
        }
        if !self.ids.accepts(now, from, connection) {
            return;
        }
        let outcome = match action {
            Action::Announce => self.announce(transaction, packet, from, out),
            _ => self.scrape(transaction, packet, out),
        };
        if let Err(refusal) = outcome {
            self.service.count_error();
            out.clear();
            write_refusal(transaction, &refusal, out);
        }
    }

    fn announce(
        &mut self,
        transaction: u32,
        packet: &[u8],
        from: IpAddr,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let Announce { mut request, path } = read_announce(packet)?;
        // More than fits a packet would be looked for in vain.
        request.numwant = request.numwant.map(|wanted| wanted.min(most_peers(from)));
        let Self {
            service,
            rng,
            reply,
            ..
        } = self;
        let peer = source::peer(from, request.ip, false, |ip| service.trusts(ip));
        service.announce(key_in(&path), peer, &request, rng, reply)?;
        write_announced(transaction, reply, from, out);
        Ok(())
    }

    fn scrape(&self, transaction: u32, packet: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        // A scrape has no place for a key.
        self.service.begin_scrape(None)?;
        let swarms = read_scrape(packet)?.map(|hash| self.service.scrape(hash));
        write_scraped(transaction, swarms, out);
        Ok(())
    }
}

impl Responder for Answerer {
    fn answer(&mut self, packet: &[u8], from: SocketAddr, reply: &mut Vec<u8>) {
        let now = self.service.now();
        self.answer_at(now, packet, from.ip().to_canonical(), reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tracker::Config;
    use crate::base::id::{InfoHash, PeerId};
    use crate::core::tracker::Access;
    use crate::proto::tracker::udp::{
        Reply, parse_reply, write_announce, write_connect, write_scrape,
    };
    use crate::proto::tracker::{AnnounceRequest, ReplyError};

    const HASH: InfoHash = InfoHash([7; 20]);

    fn answerer() -> Answerer {
        let service = Service::new(&Config::default(), Access::default(), None);
        Answerer::new(Arc::new(service), ConnectionIds::new([1, 2]))
    }

    fn ip(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    fn ask(tracker: &mut Answerer, now: u64, from: IpAddr, packet: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        tracker.answer_at(Time::from_secs(now), packet, from, &mut out);
        out
    }

    fn connect(tracker: &mut Answerer, now: u64, from: IpAddr) -> u64 {
        let mut packet = Vec::new();
        write_connect(5, &mut packet);
        let answer = ask(tracker, now, from, &packet);
        assert_eq!(answer.len(), packet.len());
        match parse_reply(&answer, 5, from) {
            Some(Ok(Reply::Connected(id))) => id,
            other => panic!("{other:?}"),
        }
    }

    fn announce(id: u64) -> Vec<u8> {
        let mut packet = Vec::new();
        let request = AnnounceRequest::new(HASH, PeerId([1; 20]), 6881);
        write_announce(id, 6, &request, "/announce/key", &mut packet);
        packet
    }

    #[test]
    fn an_id_is_good_for_two_minutes_and_at_its_address_only() {
        let mut tracker = answerer();
        let id = connect(&mut tracker, 1000, ip(1));
        for (now, from, answered) in [
            (1000, ip(1), true),
            (1120, ip(1), true),
            (1121, ip(1), false),
            (1000, ip(2), false),
            (999, ip(1), false),
        ] {
            let answer = ask(&mut tracker, now, from, &announce(id));
            assert_eq!(!answer.is_empty(), answered, "{now} {from}");
            let mut scrape = Vec::new();
            write_scrape(id, 7, &[HASH], &mut scrape);
            let answer = ask(&mut tracker, now, from, &scrape);
            assert_eq!(!answer.is_empty(), answered, "{now} {from}");
        }
    }

    #[test]
    fn nobody_unproven_gets_more_than_he_sent() {
        let mut tracker = answerer();
        let good = announce(connect(&mut tracker, 9, ip(1)));
        let mut rng = fastrand::Rng::with_seed(7);
        for round in 0..200_000_u32 {
            // Random, or something that is nearly right.
            let len = rng.usize(..good.len() + 20);
            let mut packet: Vec<u8> = if round % 2 == 0 {
                good.iter().copied().cycle().take(len).collect()
            } else {
                std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
            };
            if round % 3 == 0 {
                packet.splice(..len.min(8), 0x0417_2710_1980_u64.to_be_bytes());
            }
            let answer = ask(&mut tracker, 9, ip(2), &packet);
            assert!(answer.len() <= packet.len(), "{}", packet.escape_ascii());
            assert!(answer.is_empty() || answer.len() == 16);
        }
    }

    #[test]
    fn what_is_cut_short_is_refused_to_the_proven_and_not_heard_from_others() {
        let mut tracker = answerer();
        let good = announce(connect(&mut tracker, 9, ip(1)));
        for end in 0..good.len() {
            let cut = &good[..end];
            let answer = ask(&mut tracker, 9, ip(1), cut);
            match parse_reply(&answer, 6, ip(1)) {
                None => assert!(end < 16 && answer.is_empty(), "cut at {end}"),
                Some(Err(ReplyError::Refused(refusal))) => {
                    assert!((16..98).contains(&end), "{refusal}");
                }
                Some(Ok(_)) => assert!(end >= 98, "cut at {end}"),
                Some(Err(error)) => panic!("{error}"),
            }
            assert!(ask(&mut tracker, 9, ip(2), cut).is_empty(), "cut at {end}");
        }
    }

    #[test]
    fn an_asker_is_not_told_of_more_peers_than_fit() {
        let config = Config {
            max_peers: 10_000,
            ..Config::default()
        };
        let service = Arc::new(Service::new(&config, Access::default(), None));
        let mut tracker = Answerer::new(service, ConnectionIds::new([1, 2]));
        for from in [ip(1), "2001:db8::1".parse().unwrap()] {
            let id = connect(&mut tracker, 9, from);
            let mut last = Vec::new();
            for n in 0..=255 {
                let request = AnnounceRequest {
                    numwant: Some(5000),
                    ..AnnounceRequest::new(HASH, PeerId([n; 20]), 6881)
                };
                let mut packet = Vec::new();
                write_announce(id, 6, &request, "", &mut packet);
                last = ask(&mut tracker, 9, from, &packet);
            }
            match parse_reply(&last, 6, from) {
                Some(Ok(Reply::Announced(reply))) => {
                    assert_eq!(reply.peers.len(), most_peers(from) as usize);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
