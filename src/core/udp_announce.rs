//! One announce to a UDP tracker, or one scrape of it (BEP 15): what to send and when, and what an answer means.
//!
//! In scope: connection ids, kept ones too, datagrams that are lost, and answers that make no sense. Not in scope: whose datagrams these are;
//! the caller hands in only what came from the tracker's own address.
//!
//! BEP 15 would wait for 15 s before it sends anything again, and give a tracker an hour. Whoever has another tracker to ask, or a cron job to
//! end, does not wait that long: the first repetition comes after a fifth of the time that the tracker is given, and each further one after twice as long.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::id::InfoHash;
use crate::base::time::Time;
use crate::proto::tracker::udp::{Reply, parse_reply, write_announce, write_connect, write_scrape};
use crate::proto::tracker::{AnnounceReply, AnnounceRequest, ReplyError};

/// How long a client may use a connection id (BEP 15).
const LIFETIME: Duration = Duration::from_secs(60);

/// A tracker's proof that our address is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionId {
    id: u64,
    got: Time,
}

impl ConnectionId {
    /// Whether it may still be used.
    #[must_use]
    pub fn is_usable(self, now: Time) -> bool {
        now.since(self.got) < LIFETIME
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// An announce; with path and query of the announce URL (BEP 41).
    Announce(&'a AnnounceRequest, &'a str),
    /// The numbers of one swarm. The reply holds nothing else.
    Scrape(InfoHash),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this datagram, and ask again.
    Send(Vec<u8>),
    /// Nothing before that moment, unless something comes.
    Wait(Time),
    /// The tracker has had its time.
    GiveUp,
}

/// See the module.
#[derive(Debug)]
pub struct UdpAnnounce<'a> {
    tracker: IpAddr,
    question: Question<'a>,
    rng: fastrand::Rng,
    end: Time,
    first_wait: Duration,
    wait: Duration,
    send_at: Time,
    /// What the answer to our latest question has to repeat.
    transaction: u32,
    connection: Option<ConnectionId>,
    /// The id is from an earlier announce, and the tracker may have forgotten it.
    kept: bool,
    /// Our latest question has been sent, once at least.
    sent: bool,
}

impl<'a> UdpAnnounce<'a> {
    /// Begins now, and gives up after `patience`. `tracker` is where answers come from;
    /// `kept` is what an earlier announce left in [`UdpAnnounce::connection`]; `seed` decides the transaction ids, which nobody should foresee.
    #[must_use]
    pub fn new(
        now: Time,
        patience: Duration,
        tracker: IpAddr,
        question: Question<'a>,
        kept: Option<ConnectionId>,
        seed: u64,
    ) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let first_wait = patience / 5;
        Self {
            tracker,
            question,
            end: now + patience,
            first_wait,
            wait: first_wait,
            send_at: now,
            transaction: rng.u32(..),
            rng,
            connection: kept,
            kept: kept.is_some(),
            sent: false,
        }
    }

    /// What to do now.
    pub fn next(&mut self, now: Time) -> Step {
        if now >= self.end {
            return Step::GiveUp;
        }
        if now < self.send_at {
            return Step::Wait(self.send_at.min(self.end));
        }
        let forgotten = self.kept && self.sent;
        if self
            .connection
            .is_some_and(|id| forgotten || !id.is_usable(now))
        {
            self.disconnect();
        }
        self.send_at = now + self.wait;
        self.wait *= 2;
        self.sent = true;
        let mut packet = Vec::new();
        match self.connection {
            None => write_connect(self.transaction, &mut packet),
            Some(ConnectionId { id, .. }) => match self.question {
                Question::Announce(request, path) => {
                    write_announce(id, self.transaction, request, path, &mut packet);
                }
                Question::Scrape(hash) => {
                    write_scrape(id, self.transaction, &[hash], &mut packet);
                }
            },
        }
        Step::Send(packet)
    }

    /// A datagram has come from the tracker. The outcome, if that was it.
    ///
    /// # Errors
    /// If the tracker refused, or if its answer makes no sense.
    pub fn received(
        &mut self,
        now: Time,
        packet: &[u8],
    ) -> Option<Result<AnnounceReply, ReplyError>> {
        match (
            parse_reply(packet, self.transaction, self.tracker)?,
            self.connection,
        ) {
            (Ok(Reply::Connected(id)), None) => {
                self.connection = Some(ConnectionId { id, got: now });
                self.ask_anew(now);
                None
            }
            (Ok(Reply::Announced(reply)), Some(_)) if !self.scrapes() => Some(Ok(reply)),
            (Ok(Reply::Scraped(swarms)), Some(_)) if self.scrapes() => {
                // A swarm that it does not know has none of these.
                let numbers = swarms.first().copied().unwrap_or_default();
                Some(Ok(AnnounceReply {
                    complete: Some(numbers.complete),
                    incomplete: Some(numbers.incomplete),
                    downloaded: Some(numbers.downloaded),
                    ..AnnounceReply::default()
                }))
            }
            (Ok(_), _) => {
                let what = "it answers what was not asked";
                Some(Err(ReplyError::Malformed(what.into())))
            }
            // It may be the id that it does not like.
            (Err(ReplyError::Refused(_)), Some(_)) if self.kept => {
                self.disconnect();
                self.ask_anew(now);
                None
            }
            (Err(error), _) => Some(Err(error)),
        }
    }

    /// The connection id for the next announce to this tracker, if it has given one.
    #[must_use]
    pub const fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    const fn scrapes(&self) -> bool {
        matches!(self.question, Question::Scrape(_))
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.kept = false;
        self.transaction = self.rng.u32(..);
    }

    /// The tracker is there, and another question is due.
    fn ask_anew(&mut self, now: Time) {
        self.transaction = self.rng.u32(..);
        self.wait = self.first_wait;
        self.send_at = now;
        self.sent = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{InfoHash, PeerId};
    use crate::proto::tracker::udp::{
        Action, Head, read_announce, read_head, write_announced, write_connected, write_refusal,
        write_scraped,
    };
    use crate::proto::tracker::{Event, Refusal, SwarmStats};
    use std::net::Ipv4Addr;

    const TRACKER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const PATIENCE: Duration = Duration::from_secs(10);

    fn request() -> AnnounceRequest {
        AnnounceRequest {
            event: Event::Started,
            left: Some(7),
            ..AnnounceRequest::new(InfoHash([1; 20]), PeerId([2; 20]), 6881)
        }
    }

    fn begin<'a>(
        now: Time,
        request: &'a AnnounceRequest,
        kept: Option<ConnectionId>,
    ) -> UdpAnnounce<'a> {
        let question = Question::Announce(request, "/announce/key");
        UdpAnnounce::new(now, PATIENCE, TRACKER, question, kept, 3)
    }

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    /// The head of what is sent now.
    fn sent(announce: &mut UdpAnnounce<'_>, now: Time) -> Head {
        match announce.next(now) {
            Step::Send(packet) => read_head(&packet).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn connected(to: Head, id: u64) -> Vec<u8> {
        assert_eq!(to.action, Action::Connect);
        let mut packet = Vec::new();
        write_connected(to.transaction, id, &mut packet);
        packet
    }

    fn announced(to: Head) -> Vec<u8> {
        assert_eq!(to.action, Action::Announce);
        let reply = AnnounceReply {
            interval: 300,
            peers: vec!["10.0.0.1:1".parse().unwrap()],
            ..AnnounceReply::default()
        };
        let mut packet = Vec::new();
        write_announced(to.transaction, &reply, TRACKER, &mut packet);
        packet
    }

    fn refused(to: Head) -> Vec<u8> {
        let mut packet = Vec::new();
        write_refusal(to.transaction, &Refusal::new("no"), &mut packet);
        packet
    }

    /// When each datagram is sent if nothing is ever answered, and when it is given up.
    fn alone(mut announce: UdpAnnounce<'_>, mut now: Time) -> (Vec<(u64, Action)>, Time) {
        let mut sent = Vec::new();
        loop {
            match announce.next(now) {
                Step::Send(packet) => {
                    sent.push((now.as_micros() / 1000, read_head(&packet).unwrap().action));
                }
                Step::Wait(until) => {
                    assert!(until > now, "it would spin");
                    now = until;
                }
                Step::GiveUp => return (sent, now),
            }
        }
    }

    /// An id that a tracker gave at `now`.
    fn id(now: Time) -> ConnectionId {
        let request = request();
        let mut announce = begin(now, &request, None);
        let head = sent(&mut announce, now);
        assert_eq!(announce.received(now, &connected(head, 42)), None);
        announce.connection().unwrap()
    }

    #[test]
    fn an_announce_is_a_connection_and_a_question() {
        let request = request();
        let mut announce = begin(at(5), &request, None);
        let first = sent(&mut announce, at(5));
        assert_eq!(announce.next(at(5)), Step::Wait(at(7)));
        assert_eq!(announce.received(at(6), &connected(first, 42)), None);
        let Step::Send(packet) = announce.next(at(6)) else {
            panic!("nothing asked");
        };
        let head = read_head(&packet).unwrap();
        assert_eq!((head.connection, head.action), (42, Action::Announce));
        assert_ne!(head.transaction, first.transaction);
        let read = read_announce(&packet).unwrap();
        assert_eq!(
            (read.request.event, &*read.path),
            (Event::Started, &b"/announce/key"[..])
        );
        let reply = announce.received(at(7), &announced(head)).unwrap().unwrap();
        assert_eq!((reply.interval, reply.peers.len()), (300, 1));
    }

    #[test]
    fn what_is_lost_is_sent_again_and_a_dead_tracker_given_up() {
        let request = request();
        let connects = [0, 2000, 6000].map(|ms| (ms, Action::Connect));
        let (lost, end) = alone(begin(at(0), &request, None), at(0));
        assert_eq!((lost, end), (connects.into(), at(10)));

        let mut announce = begin(at(0), &request, None);
        let first = sent(&mut announce, at(0));
        let again = sent(&mut announce, at(2));
        assert_eq!(first, again, "either may be answered");
        announce.received(at(3), &connected(again, 42));
        let (lost, end) = alone(announce, at(3));
        assert_eq!(
            (lost, end),
            (
                [3000, 5000, 9000].map(|ms| (ms, Action::Announce)).into(),
                at(10)
            )
        );
    }

    #[test]
    fn a_kept_id_saves_the_connection_for_a_minute() {
        let request = request();
        let kept = id(at(0));
        let first = |now| {
            let head = sent(&mut begin(now, &request, Some(kept)), now);
            (head.action, head.connection == 42)
        };
        let minute = at(60) - Duration::from_micros(1);
        assert_eq!(first(minute), (Action::Announce, true));
        assert_eq!(first(at(60)), (Action::Connect, false));
    }

    #[test]
    fn a_kept_id_that_the_tracker_has_forgotten_is_replaced() {
        let request = request();
        // One tracker says no, another nothing.
        let mut announce = begin(at(9), &request, Some(id(at(0))));
        let head = sent(&mut announce, at(9));
        assert_eq!(announce.received(at(9), &refused(head)), None);
        let head = sent(&mut announce, at(9));
        assert_eq!(announce.received(at(9), &connected(head, 43)), None);
        let head = sent(&mut announce, at(9));
        assert_eq!(head.connection, 43);
        let told = announce.received(at(9), &refused(head));
        let refusal = Refusal::new("no");
        assert_eq!(
            told,
            Some(Err(ReplyError::Refused(refusal))),
            "it is not the id"
        );

        let (lost, end) = alone(begin(at(9), &request, Some(id(at(0)))), at(9));
        let mut actions = [9000, 11_000, 15_000].map(|ms| (ms, Action::Connect));
        actions[0].1 = Action::Announce;
        assert_eq!((lost, end), (actions.into(), at(19)));
    }

    #[test]
    fn an_id_that_grows_old_meanwhile_is_replaced() {
        let request = request();
        let patience = Duration::from_secs(600);
        let mut announce = UdpAnnounce::new(
            at(0),
            patience,
            TRACKER,
            Question::Announce(&request, ""),
            None,
            3,
        );
        let head = sent(&mut announce, at(0));
        announce.received(at(0), &connected(head, 42));
        assert_eq!(sent(&mut announce, at(0)).action, Action::Announce);
        assert_eq!(sent(&mut announce, at(120)).action, Action::Connect);
    }

    #[test]
    fn an_answer_to_something_else_is_passed_over_and_nonsense_is_told() {
        let request = request();
        let mut announce = begin(at(0), &request, None);
        let head = sent(&mut announce, at(0));
        let stranger = Head {
            transaction: head.transaction ^ 1,
            ..head
        };
        assert_eq!(announce.received(at(0), &connected(stranger, 9)), None);
        assert_eq!(announce.received(at(0), b"hello"), None);
        assert_eq!(announce.connection(), None);
        let told = |announce: &mut UdpAnnounce<'_>, packet: &[u8]| {
            let error = announce.received(at(0), packet).unwrap().unwrap_err();
            error.to_string()
        };
        let asked = Head {
            action: Action::Announce,
            ..head
        };
        assert!(told(&mut announce, &announced(asked)).contains("was not asked"));
        assert!(told(&mut announce, &connected(head, 42)[..15]).contains("cut short"));
        assert!(told(&mut announce, &refused(head)).contains("says: no"));
        announce.received(at(0), &connected(head, 42));
        let head = sent(&mut announce, at(0));
        assert!(told(&mut announce, &announced(head)[..19]).contains("cut short"));
        let late = Head {
            action: Action::Connect,
            ..head
        };
        assert!(told(&mut announce, &connected(late, 9)).contains("was not asked"));
        assert!(announce.received(at(0), &announced(head)).unwrap().is_ok());
    }

    #[test]
    fn a_scrape_goes_the_same_way_and_takes_no_announce_for_an_answer() {
        let numbers = SwarmStats {
            complete: 1,
            downloaded: 2,
            incomplete: 3,
        };
        let question = Question::Scrape(InfoHash([1; 20]));
        let mut scrape = UdpAnnounce::new(at(0), PATIENCE, TRACKER, question, Some(id(at(0))), 3);
        let head = sent(&mut scrape, at(0));
        assert_eq!(head.action, Action::Scrape);
        let mut packet = Vec::new();
        write_scraped(head.transaction, [numbers], &mut packet);
        let reply = scrape.received(at(1), &packet).unwrap().unwrap();
        assert_eq!(
            (reply.complete, reply.downloaded, reply.incomplete),
            (Some(1), Some(2), Some(3))
        );
        packet.clear();
        write_announced(
            head.transaction,
            &AnnounceReply::default(),
            TRACKER,
            &mut packet,
        );
        assert!(scrape.received(at(1), &packet).unwrap().is_err());
    }
}
