//! The way in through a home router: miniupnpd, and gateways that lie.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::network;
use crate::support::foreign::missing_program;
use crate::support::hosts::{Host, Network};
use crate::support::ours::{LIMIT, Peer, Torrent, program};
use crate::support::process::{Process, run_ok};
use crate::support::tempdir::TempDir;
use crate::support::{payload, say};

const NO_TRACKER: &str = "http://127.0.0.1:1/announce";
/// The router's address to the outside, which has to look public, and that of somebody there.
const OUTSIDE: [&str; 2] = ["11.0.0.5", "11.0.0.9"];
const ROUTER: usize = 0;
const INSIDE: usize = 1;
const STRANGER: usize = 2;
const NEIGHBOUR: usize = 3;

/// Two hosts behind a router, and a stranger outside.
fn site(missing: &[&str]) -> Option<Network> {
    let network = network(4, missing.iter().map(|program| missing_program(program)))?;
    let joined = network
        .join(ROUTER, STRANGER, OUTSIDE)
        .and_then(|()| network.route_by(INSIDE, ROUTER))
        .and_then(|()| network.route_by(NEIGHBOUR, ROUTER));
    joined.map_err(say::skip).ok()?;
    Some(network)
}

/// Starts miniupnpd on the router, with the rules of a firewall that it needs.
fn miniupnpd(network: &Network, dir: &TempDir, natpmp: bool) -> Process {
    let router = network.host(ROUTER);
    let rules = "table inet filter {
        chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; }
        chain miniupnpd { }
        chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
        chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_miniupnpd; }
        chain prerouting_miniupnpd { }
        chain postrouting_miniupnpd { }
    }\n";
    fs::write(dir.join("rules"), rules).unwrap();
    let mut nft = router.command("nft");
    nft.arg("-f").arg(dir.join("rules"));
    run_ok("nft", nft, LIMIT);
    router
        .within(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))
        .unwrap();
    let natpmp = if natpmp { "yes" } else { "no" };
    let conf = format!(
        "ext_ifname=join0\nlistening_ip=eth0\nport=5000\nenable_upnp=yes\nenable_natpmp={natpmp}\nsecure_mode=yes\n\
         uuid=fc4ec57e-b051-11db-88f8-0060085db3f6\nallow 1024-65535 10.77.0.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
    );
    fs::write(dir.join("conf"), conf).unwrap();
    let mut command = router.command("miniupnpd");
    command.args(["-d", "-f"]).arg(dir.join("conf"));
    command.arg("-P").arg(dir.join("pid"));
    let process = Process::start("miniupnpd", command);
    process.wait_line("HTTP listening on port 5000", LIMIT);
    if natpmp == "yes" {
        process.wait_line("Listening for NAT-PMP/PCP", LIMIT);
    }
    process
}

/// The firewall's rules that lead inside.
fn holes(network: &Network) -> Vec<String> {
    let mut nft = network.host(ROUTER).command("nft");
    nft.args(["list", "ruleset"]);
    let rules = run_ok("nft", nft, LIMIT);
    let holes = rules.lines().filter(|line| line.contains("dnat"));
    holes.map(|line| line.trim().to_owned()).collect()
}

fn torrent(dir: &TempDir, announce: &str) -> Torrent {
    let file = dir.join("from/payload.bin");
    payload::file(&file, 100_000, 1);
    Torrent::create(&file, announce, &[])
}

fn seed(network: &Network, torrent: &Torrent, options: &[&str]) -> (Peer, u16) {
    let options = [&["-v"], options].concat();
    let host = network.host(INSIDE);
    let peer = Peer::seed(host, &torrent.file, &torrent.parent, &options);
    let port = peer.wait_event("started", LIMIT)["port"].as_u64().unwrap();
    (peer, u16::try_from(port).unwrap())
}

fn a_stranger_gets_in_by(protocol: &str, natpmp: bool) {
    let Some(network) = site(&["miniupnpd", "nft"]) else {
        return;
    };
    let dir = TempDir::new("port-mapping");
    let _router = miniupnpd(&network, &dir, natpmp);
    let torrent = torrent(&dir, NO_TRACKER);
    let (mut peer, port) = seed(&network, &torrent, &["--port-mapping"]);
    let leads = format!(
        "port mapping: {}:{port} leads here ({protocol})",
        OUTSIDE[0]
    );
    peer.process.wait_line(&leads, LIMIT);
    let inside = format!("to {}:{port}", network.host(INSIDE).address);
    let rules = holes(&network);
    assert!(rules.len() == 1 && rules[0].contains(&inside), "{rules:?}");
    let door: SocketAddr = format!("{}:{port}", OUTSIDE[0]).parse().unwrap();
    let connected = network
        .host(STRANGER)
        .within(|| TcpStream::connect_timeout(&door, LIMIT));
    assert!(connected.is_ok(), "{connected:?}");
    assert_eq!(peer.process.stop(LIMIT).code, 0);
    assert_eq!(holes(&network), [""; 0], "taken back at the end");

    let mut doctor = network.host(INSIDE).command(program("peer"));
    let address = network.host(INSIDE).address.to_string();
    doctor.args(["doctor", "--json", "--port-mapping", "--bind", &address]);
    let report: Value = serde_json::from_str(&run_ok("doctor", doctor, LIMIT)).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|c| c["check"] == "port mapping")
        .unwrap();
    assert_eq!(check["status"], "ok", "{check}");
    assert!(
        check["message"].as_str().unwrap().contains(protocol),
        "{check}"
    );
    assert_eq!(holes(&network), [""; 0], "and by doctor");
}

#[test]
#[ignore = "needs miniupnpd, nft and root; `make interop` runs it"]
fn a_stranger_gets_in_by_pcp() {
    a_stranger_gets_in_by("PCP", true);
}

#[test]
#[ignore = "needs miniupnpd, nft and root; `make interop` runs it"]
fn a_stranger_gets_in_by_upnp() {
    a_stranger_gets_in_by("UPnP", false);
}

/// Two hosts that listen at the same port.
fn each_has_a_door_by(protocol: &str, natpmp: bool) {
    let Some(network) = site(&["miniupnpd", "nft"]) else {
        return;
    };
    let dir = TempDir::new("two-doors");
    let _router = miniupnpd(&network, &dir, natpmp);
    let torrent = torrent(&dir, NO_TRACKER);
    let doors = [INSIDE, NEIGHBOUR].map(|i| {
        // A folder serves one run at a time.
        let folder = dir.folder(format!("data {i}"));
        fs::hard_link(torrent.payload(), folder.join(&torrent.name)).unwrap();
        let options = ["-v", "-p", "7000", "--port-mapping"];
        let peer = Peer::seed(network.host(i), &torrent.file, &folder, &options);
        let line = peer.process.wait_line("leads here", LIMIT);
        assert!(line.contains(protocol), "{line}");
        let (_, port) = line.split_once(OUTSIDE[0]).unwrap();
        (port.to_owned(), peer)
    });
    assert!(doors[0].0.starts_with(":7000 ") && doors[0].0 != doors[1].0);
    assert_eq!(holes(&network).len(), 2);
    for (_, mut peer) in doors {
        assert_eq!(peer.process.stop(LIMIT).code, 0);
    }
    assert_eq!(holes(&network), [""; 0]);
}

#[test]
#[ignore = "needs miniupnpd, nft and root; `make interop` runs it"]
fn neighbours_with_the_same_port_have_a_door_each_by_pcp() {
    each_has_a_door_by("PCP", true);
}

#[test]
#[ignore = "needs miniupnpd, nft and root; `make interop` runs it"]
fn neighbours_with_the_same_port_have_a_door_each_by_upnp() {
    each_has_a_door_by("UPnP", false);
}

/// What was sent to a port: from where, and what.
type Heard = Arc<Mutex<Vec<(SocketAddr, Vec<u8>)>>>;

/// Answers datagrams to `port` of `host`.
fn answer(
    host: &Host,
    port: u16,
    answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> Heard {
    let socket = host.within(|| UdpSocket::bind((host.address, port)).unwrap());
    let heard = Heard::default();
    let log = heard.clone();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            log.lock().unwrap().push((from, buffer[..len].to_vec()));
            for packet in answer(&buffer[..len]) {
                let _ = socket.send_to(&packet, from);
            }
        }
    });
    heard
}

/// What a NAT-PMP server says, which gives another port than the one that it is asked for.
fn natpmp(packet: &[u8], port: u16) -> Vec<Vec<u8>> {
    let mut granted = vec![0, 130, 0, 0, 0, 0, 0, 1];
    match *packet {
        [0, 0] => vec![vec![0, 128, 0, 0, 0, 0, 0, 1, 11, 0, 0, 5]],
        [0, 2, _, _, a, b, ..] => {
            granted.extend([a, b]);
            granted.extend(port.to_be_bytes());
            granted.extend(&packet[8..12]);
            vec![granted]
        }
        // It knows no version but its own.
        _ => vec![vec![0, 128, 0, 1, 0, 0, 0, 1]],
    }
}

#[test]
#[ignore = "needs root; `make interop` runs it"]
fn trackers_hear_of_the_port_that_an_old_gateway_gives() {
    let Some(network) = site(&[]) else { return };
    let dir = TempDir::new("natpmp");
    let heard = answer(network.host(ROUTER), 5351, |packet| natpmp(packet, 7777));
    let (sender, announces) = std::sync::mpsc::channel();
    let tracker = network.host(INSIDE).within(|| {
        let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let url = format!("http://{}/announce", listener.local_addr().unwrap());
        let url = url.replace("0.0.0.0", &network.host(INSIDE).address.to_string());
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut line = String::new();
                let mut reader = std::io::BufReader::new(&stream);
                let _ = std::io::BufRead::read_line(&mut reader, &mut line);
                let _ = sender.send(line);
                let body = "d8:intervali1e12:min intervali1e5:peers0:e";
                let head = "HTTP/1.0 200 OK\r\n\r\n";
                let _ = std::io::Write::write_all(&mut stream, format!("{head}{body}").as_bytes());
            }
        });
        url
    });
    let torrent = torrent(&dir, &tracker);
    let (mut peer, port) = seed(&network, &torrent, &["--port-mapping"]);
    let leads = "port mapping: 11.0.0.5:7777 leads here (NAT-PMP)";
    peer.process.wait_line(leads, LIMIT);
    let told = announces.iter().find(|line| line.contains("&port=7777&"));
    assert!(told.is_some());
    assert_eq!(peer.process.stop(LIMIT).code, 0);
    let heard = heard.lock().unwrap();
    let mut ended = vec![0, 2, 0, 0];
    ended.extend(port.to_be_bytes());
    ended.extend([0; 6]);
    assert_eq!(heard.last().map(|(_, packet)| packet), Some(&ended));
}

#[test]
#[ignore = "needs root; `make interop` runs it"]
fn a_gateway_that_lies_gets_nothing() {
    let Some(network) = site(&[]) else { return };
    let dir = TempDir::new("lying-gateway");
    let router = network.host(ROUTER);
    // Whatever makes no sense, or is somebody else's.
    let _liar = answer(router, 5351, |packet| {
        let mut other = packet.to_vec();
        other.resize(60, 0xff);
        other[1] |= 0x80;
        other[24] ^= 1;
        let truncated = vec![2, 0x81];
        let mut zero = vec![0, 130, 0, 0, 0, 0, 0, 1];
        zero.extend(packet.get(4..6).unwrap_or(&[0, 0]));
        zero.extend([0; 6]);
        vec![truncated, other, vec![0xff; 1500], zero]
    });
    let stranger = network.host(STRANGER);
    let bait = stranger.within(|| TcpListener::bind((stranger.address, 0)).unwrap());
    let location = format!("http://{}/x.xml", bait.local_addr().unwrap());
    let _ssdp = answer(router, 1900, move |_| {
        vec![format!("HTTP/1.1 200 OK\r\nLOCATION: {location}\r\n\r\n").into_bytes()]
    });
    let torrent = torrent(&dir, NO_TRACKER);
    let (mut peer, _) = seed(&network, &torrent, &["--port-mapping"]);
    let line = peer.process.wait_line("port mapping: PCP: ", LIMIT);
    assert!(
        line.contains("; NAT-PMP: ") && line.contains("; UPnP: "),
        "{line}"
    );
    assert_eq!(peer.process.stop(LIMIT).code, 0);
    bait.set_nonblocking(true).unwrap();
    assert!(bait.accept().is_err(), "nobody but the gateway is asked");
}

#[test]
#[ignore = "needs root; `make interop` runs it"]
fn a_gateway_is_asked_only_where_the_operator_wants_it_and_may_be_silent() {
    let Some(network) = site(&[]) else { return };
    let dir = TempDir::new("silent-gateway");
    let asked: Vec<Heard> = [5351, 1900]
        .map(|port| answer(network.host(ROUTER), port, |_| Vec::new()))
        .into();
    let torrent = torrent(&dir, NO_TRACKER);
    let config = dir.join("conf.json");
    fs::write(&config, r#"{"network": {"upnp_enabled": true}}"#).unwrap();
    let config = config.to_str().unwrap();
    for options in [&[][..], &["--config", config, "--no-port-mapping"]] {
        let (mut peer, _) = seed(&network, &torrent, options);
        peer.wait_event("complete", LIMIT);
        assert_eq!(peer.process.stop(LIMIT).code, 0);
        assert!(asked.iter().all(|heard| heard.lock().unwrap().is_empty()));
    }
    let (mut peer, _) = seed(&network, &torrent, &["--config", config]);
    let line = peer
        .process
        .wait_line("port mapping: PCP: no answer in time", LIMIT);
    assert!(line.ends_with("UPnP: no answer in time"), "{line}");
    assert!(asked.iter().all(|heard| !heard.lock().unwrap().is_empty()));
    assert_eq!(peer.process.stop(Duration::from_secs(60)).code, 0);
}
