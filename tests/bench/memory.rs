//! What the tracker needs for a million peers of IPv4: the real program, fed over HTTP.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::measure::{LIMIT, Table};
use crate::support::ours::program;
use crate::support::process::{Process, memory, peak_memory};
use crate::support::say::say;

const MILLION: u32 = 1_000_000;

/// Announces that are sent at once.
const BATCH: u32 = 200;

/// Connections that feed it.
const FEEDERS: u32 = 4;

/// The table.
pub fn table() -> Table {
    let head = [
        "swarms × peers",
        "resident at the start (MiB)",
        "with a million peers (MiB)",
        "peak (MiB)",
        "bytes of the peak for each peer",
    ];
    let mut table = Table::new("Memory of hivebt-tracker for a million IPv4 peers", &head);
    for swarms in [1, 1_000, 10_000] {
        say(format_args!("{swarms} swarms"));
        let (start, full, peak) = measure(swarms);
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        table.row([
            format!("{swarms} × {}", MILLION / swarms),
            mib(start),
            mib(full),
            mib(peak),
            format!("{:.1}", peak as f64 / f64::from(MILLION)),
        ]);
    }
    table
}

fn measure(swarms: u32) -> (u64, u64, u64) {
    let mut command = Command::new(program("tracker"));
    command.args(["-l", "127.0.0.1:0"]);
    let server = Process::start("hivebt-tracker", command);
    let line = server.wait_line("listening on http://", Duration::from_secs(10));
    let address = line
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    let at: SocketAddr = address.expect("an address").parse().expect("an address");
    let resident = || memory(server.pid(), "status", "VmRSS").unwrap_or(0);
    let start = resident();
    thread::scope(|scope| {
        for feeder in 0..FEEDERS {
            scope.spawn(move || feed(at, feeder, swarms));
        }
    });
    let peak = peak_memory(server.pid()).unwrap_or(0);
    (start, resident(), peak)
}

/// Announces every peer whose number leaves this remainder.
fn feed(at: SocketAddr, feeder: u32, swarms: u32) {
    let mut stream = TcpStream::connect(at).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
    let mut peers = (0..MILLION).filter(|peer| peer % FEEDERS == feeder);
    let mut answers = vec![0; 1 << 16];
    loop {
        let mut requests = String::new();
        let mut sent = 0;
        for peer in peers.by_ref().take(BATCH as usize) {
            let (swarm, ip) = (
                peer / FEEDERS % swarms,
                Ipv4Addr::from_bits((10 << 24) + peer),
            );
            // Whoever sits on the tracker's own host may say where a peer is.
            let _ = write!(
                requests,
                "GET /announce?info_hash=swarm-{swarm:014}&peer_id=-XX0001-{peer:012}&port=6881&left=1&numwant=0&ip={ip} HTTP/1.1\r\n\r\n"
            );
            sent += 1;
        }
        if sent == 0 {
            return;
        }
        stream.write_all(requests.as_bytes()).expect("it listens");
        let mut answered = 0;
        while answered < sent {
            let n = stream.read(&mut answers).expect("it answers");
            assert!(n > 0, "it has closed the connection");
            let got = &answers[..n];
            assert!(
                !got.windows(7).any(|w| w == b"failure"),
                "{}",
                got.escape_ascii()
            );
            // There is one in `HTTP/1.1`, and none anywhere else.
            answered += got.iter().filter(|&&b| b == b'H').count();
        }
    }
}
