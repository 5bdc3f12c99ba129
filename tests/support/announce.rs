//! A tracker that runs for one test, and peers that announce themselves to it from addresses of their own.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use hivebt::base::id::{InfoHash, PeerId};
use hivebt::base::json::{self, Value};
use hivebt::net::tcp::{self, Bind};
use hivebt::proto::tracker::http::{announce_url, parse_announce, parse_scrape, scrape_url};
use hivebt::proto::tracker::{AnnounceReply, AnnounceRequest, Event, ReplyError, SwarmStats};

use super::ours::{LIMIT, program};
use super::process::Process;

/// A running `hivebt-tracker`.
pub struct Site {
    pub process: Process,
    /// Where it listens, in the order of its options.
    pub at: Vec<SocketAddr>,
}

impl Site {
    /// Listens at a free port of 127.0.0.1.
    pub fn start(options: &[&str]) -> Self {
        Self::listening(&["127.0.0.1:0"], options)
    }

    /// Listens at all of `addresses`.
    pub fn listening(addresses: &[&str], options: &[&str]) -> Self {
        let mut command = Command::new(program("tracker"));
        for address in addresses {
            command.args(["-l", address]);
        }
        command.args(options);
        Self::running(command, addresses.len())
    }

    /// Any command that runs a tracker with `n` listeners.
    pub fn running(command: Command, n: usize) -> Self {
        let process = Process::start("hivebt-tracker", command);
        let mut at = Vec::new();
        process.wait_for("the addresses it listens at", LIMIT, |_, line| {
            let rest = line.split_once("listening on http://")?.1;
            at.push(rest.strip_suffix("/announce")?.parse().ok()?);
            (at.len() == n).then_some(())
        });
        Self { process, at }
    }

    /// Sends `bytes` from `ip`; everything that comes back, to the end of the connection.
    pub fn exchange(&self, ip: &str, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect(ip);
        // It may be closed before all of it is sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        answer
    }

    /// A connection from `ip`, to the listener of its family.
    pub fn connect(&self, ip: &str) -> TcpStream {
        let ip: IpAddr = ip.parse().expect("an address");
        let at = self.at.iter().find(|at| at.is_ipv4() == ip.is_ipv4());
        let bind = Bind {
            addr: Some(ip),
            ..Bind::default()
        };
        let stream = tcp::dial(&bind, *at.expect("a listener"), LIMIT).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        stream
    }

    /// Head and body of the answer to `GET path` with more `headers`.
    pub fn get_with(&self, ip: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{headers}\r\n");
        let answer = self.exchange(ip, request.as_bytes());
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {}", answer.escape_ascii()));
        let head = String::from_utf8(answer[..end].to_vec()).expect("a head is text");
        (head, answer[end + 4..].to_vec())
    }

    /// Head and body of the answer to `GET path`.
    pub fn get(&self, path: &str) -> (String, Vec<u8>) {
        self.get_with("127.0.0.1", path, "")
    }

    /// Announces from `ip`.
    pub fn announce(
        &self,
        ip: &str,
        request: &AnnounceRequest,
    ) -> Result<AnnounceReply, ReplyError> {
        self.announce_with(ip, request, "")
    }

    /// The same with more headers.
    pub fn announce_with(
        &self,
        ip: &str,
        request: &AnnounceRequest,
        headers: &str,
    ) -> Result<AnnounceReply, ReplyError> {
        let (head, body) = self.get_with(ip, &announce_url("/announce", request), headers);
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert!(head.contains("application/x-bittorrent"), "{head}");
        parse_announce(&body)
    }

    /// The counts of a swarm.
    pub fn scrape(&self, hash: InfoHash) -> SwarmStats {
        let (_, body) = self.get(&scrape_url("/scrape", &[hash]));
        let swarms = parse_scrape(&body).expect("a scrape");
        assert_eq!(swarms.len(), 1);
        assert_eq!(swarms[0].0, hash);
        swarms[0].1
    }

    /// `/stats`, with this query.
    pub fn stats(&self, query: &str) -> Value {
        let (head, body) = self.get(&format!("/stats{query}"));
        assert!(
            head.contains("200 OK") && head.contains("application/json"),
            "{head}"
        );
        json::parse(&body).expect("JSON")
    }
}

/// An announce of peer `n`, which listens at port 7000 + `n`.
pub fn peer(hash: InfoHash, n: u8, left: u64, event: Event) -> AnnounceRequest {
    AnnounceRequest {
        left: Some(left),
        event,
        ..AnnounceRequest::new(hash, PeerId([n; 20]), 7000 + u16::from(n))
    }
}

/// An address and a port.
pub fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

/// Why an announce or a scrape was refused, as it has to be.
pub fn reason(outcome: Result<impl Sized, ReplyError>) -> String {
    match outcome {
        Err(ReplyError::Refused(refusal)) => refusal.reason,
        _ => panic!("not refused"),
    }
}

/// Writes a list of info-hashes.
pub fn write_list(path: &Path, hashes: &[InfoHash]) {
    let lines: Vec<_> = hashes.iter().map(|hash| format!("{hash}\n")).collect();
    std::fs::write(path, lines.concat()).expect("a list");
}
