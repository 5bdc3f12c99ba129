//! A peer that talks to a tracker in datagrams (BEP 15), from an address of its own.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use hivebt::base::id::InfoHash;
use hivebt::proto::tracker::udp::{
    Reply, parse_reply, write_announce, write_connect, write_scrape,
};
use hivebt::proto::tracker::{AnnounceReply, AnnounceRequest, ReplyError, SwarmStats};

use super::ours::LIMIT;

/// More than any datagram of a tracker.
const ROOM: usize = 4096;

/// See the module.
pub struct Caller {
    socket: UdpSocket,
    at: SocketAddr,
    transaction: u32,
    /// The latest connection id.
    pub id: u64,
}

impl Caller {
    /// Calls the tracker at `at` from `ip`, without a connection id yet.
    pub fn stranger(ip: &str, at: SocketAddr) -> Self {
        let ip: IpAddr = ip.parse().expect("an address");
        let socket = UdpSocket::bind((ip, 0)).expect("an address of ours");
        socket.connect(at).expect("there is a way");
        socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
        Self {
            socket,
            at,
            transaction: 1,
            id: 0,
        }
    }

    /// Calls from `ip`, and connects.
    pub fn new(ip: &str, at: SocketAddr) -> Self {
        let mut caller = Self::stranger(ip, at);
        caller.id = caller.connect();
        caller
    }

    /// A fresh connection id.
    pub fn connect(&mut self) -> u64 {
        match self.ask(|_, transaction, out| write_connect(transaction, out)) {
            Ok(Reply::Connected(id)) => id,
            other => panic!("no connection id: {other:?}"),
        }
    }

    /// Announces with the latest id.
    pub fn announce(&mut self, request: &AnnounceRequest) -> Result<AnnounceReply, ReplyError> {
        self.announce_at("", request)
    }

    /// The same with the path of a URL.
    pub fn announce_at(
        &mut self,
        path: &str,
        request: &AnnounceRequest,
    ) -> Result<AnnounceReply, ReplyError> {
        let write = |id, transaction, out: &mut Vec<u8>| {
            write_announce(id, transaction, request, path, out);
        };
        match self.ask(write)? {
            Reply::Announced(reply) => Ok(reply),
            other => panic!("not to an announce: {other:?}"),
        }
    }

    /// The counts of swarms.
    pub fn scrape(&mut self, hashes: &[InfoHash]) -> Result<Vec<SwarmStats>, ReplyError> {
        let write = |id, transaction, out: &mut Vec<u8>| {
            write_scrape(id, transaction, hashes, out);
        };
        match self.ask(write)? {
            Reply::Scraped(swarms) => Ok(swarms),
            other => panic!("not to a scrape: {other:?}"),
        }
    }

    /// Sends what `write` makes of id and transaction, and reads the reply to it.
    fn ask(&mut self, write: impl FnOnce(u64, u32, &mut Vec<u8>)) -> Result<Reply, ReplyError> {
        self.transaction += 1;
        let mut packet = Vec::new();
        write(self.id, self.transaction, &mut packet);
        self.send(&packet);
        let reply = self.receive();
        parse_reply(&reply, self.transaction, self.at.ip())
            .unwrap_or_else(|| panic!("not the reply: {}", reply.escape_ascii()))
    }

    /// Sends anything.
    pub fn send(&self, packet: &[u8]) {
        self.socket.send(packet).expect("sent");
    }

    /// Whatever comes next.
    pub fn receive(&self) -> Vec<u8> {
        let mut reply = vec![0; ROOM];
        let n = self.socket.recv(&mut reply).expect("a reply");
        reply.truncate(n);
        reply
    }

    /// Fails if anything that was sent before is answered: only some questions that come after it are.
    pub fn assert_silence(&mut self) {
        let asked = self.transaction + 1..=self.transaction + 8;
        for transaction in asked.clone() {
            let mut packet = Vec::new();
            write_connect(transaction, &mut packet);
            self.send(&packet);
        }
        self.transaction = *asked.end();
        for _ in asked.clone() {
            let reply = self.receive();
            let expected = |transaction| {
                let reply = parse_reply(&reply, transaction, self.at.ip());
                matches!(reply, Some(Ok(Reply::Connected(_))))
            };
            assert!(
                reply.len() == 16 && asked.clone().any(expected),
                "an answer to what should have none: {}",
                reply.escape_ascii()
            );
        }
    }
}
