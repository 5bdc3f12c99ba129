//! Every reader of bytes that others write, by name. What it reads must not make it panic, hang or grow, and what it takes it has to understand again
//! after writing it. `tests/fuzz.rs` gives them what a cargo test can afford, `run.rs` whatever libFuzzer finds.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use hivebt::app::args;
use hivebt::app::peer::selection::Pattern;
use hivebt::base::bencode::{Document, Limits};
use hivebt::base::cidr::Cidr;
use hivebt::base::geometry::Geometry;
use hivebt::base::glob::Glob;
use hivebt::base::id::InfoHash;
use hivebt::base::time::Time;
use hivebt::base::{json, sha1};
use hivebt::core::dht::{Config as DhtConfig, Dht};
use hivebt::core::utp::{Connection, Limits as UtpLimits};
use hivebt::net::gate;
use hivebt::proto::config::Config;
use hivebt::proto::dht_state::DhtState;
use hivebt::proto::lsd::Announcement;
use hivebt::proto::magnet::Magnet;
use hivebt::proto::metainfo::Metainfo;
use hivebt::proto::peer::extended::ExtendedHandshake;
use hivebt::proto::peer::handshake::Handshake;
use hivebt::proto::peer::message::{Message, decode_piece};
use hivebt::proto::peer::metadata::MetadataMessage;
use hivebt::proto::peer::mse::{Answering, Encryption, Opening};
use hivebt::proto::peer::pex::PexMessage;
use hivebt::proto::portmap::{natpmp, pcp, upnp};
use hivebt::proto::resume::Resume;
use hivebt::proto::tracker::{http, udp};
use hivebt::proto::tracker_state::TrackerState;
use hivebt::proto::utp::{Kind, Packet};
use hivebt::proto::web_seed::{self, Wanted};
use hivebt::proto::{http_date, keys, krpc, percent, url};

/// A reader of bytes.
pub(crate) type Target = fn(&[u8]);

/// All of them; `testdata/fuzz` has a folder of examples for each.
pub(crate) const TARGETS: [(&str, Target); 28] = [
    ("bencode", bencode),
    ("config", config),
    ("dht", dht),
    ("dht-state", dht_state),
    ("extended", extended),
    ("handshake", handshake),
    ("http-date", date),
    ("http-head", head),
    ("json", json_text),
    ("keys", key_file),
    ("krpc", krpc_packet),
    ("lsd", lsd),
    ("magnet", magnet),
    ("message", message),
    ("metadata", metadata),
    ("metainfo", metainfo),
    ("mse", mse),
    ("options", options),
    ("pex", pex),
    ("portmap", portmap),
    ("resume", resume),
    ("tracker-http", tracker_http),
    ("tracker-state", tracker_state),
    ("tracker-udp", tracker_udp),
    ("url", urls),
    ("utp", utp_packet),
    ("utp-connection", utp_connection),
    ("web-seed", web_seed_answer),
];

const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn bencode(bytes: &[u8]) {
    if let Ok(document) = Document::parse(bytes, Limits::MESSAGE) {
        assert_eq!(document.root().raw(), bytes);
    }
    if let Ok((document, end)) = Document::parse_prefix(bytes, Limits::TRACKER) {
        assert_eq!(document.root().raw(), &bytes[..end]);
    }
}

fn config(bytes: &[u8]) {
    if let Err(error) = Config::from_bytes(bytes) {
        assert!(!error.to_string().is_empty());
    }
}

/// Datagrams, each behind a byte that says how long it is and whose.
fn dht(bytes: &[u8]) {
    let config = DhtConfig {
        v4: true,
        v6: true,
        ..DhtConfig::default()
    };
    let mut now = Time::from_secs(1);
    let mut node = Dht::new(&config, now, 1);
    let mut out = Vec::new();
    for piece in pieces(bytes) {
        let from: SocketAddr = match piece.choice % 4 {
            0 => ([8, 8, 8, 8], 6881).into(),
            1 => ([10, 0, 0, 7], 6881).into(),
            2 => ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 6881).into(),
            _ => ([9, 9, 9, piece.choice], 1).into(),
        };
        now = now + Duration::from_millis(u64::from(piece.choice));
        node.join(now, InfoHash([piece.choice; 20]), 6881);
        node.received(now, from, piece.bytes, &mut out);
        assert!(out.len() < 10_000);
        out.clear();
    }
}

/// A part of an input: a byte that chooses, one that is a length, and so many bytes.
struct Part<'a> {
    choice: u8,
    bytes: &'a [u8],
}

fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        let (&[choice, len], rest) = bytes.split_first_chunk::<2>()?;
        let (piece, rest) = rest.split_at(rest.len().min(len.into()));
        bytes = rest;
        Some(Part {
            choice,
            bytes: piece,
        })
    })
}

/// A file with a seal, whose state is `bytes`: whoever alters the state gets past the checksum.
fn sealed(kind: &str, bytes: &[u8]) -> Vec<u8> {
    let mut file = format!("d{}:{kind}i1e4:sha120:", kind.len()).into_bytes();
    file.extend(sha1::digest(bytes));
    file.extend(b"5:state");
    file.extend(bytes);
    file.push(b'e');
    file
}

fn dht_state(bytes: &[u8]) {
    let _ = DhtState::from_bytes(bytes);
    if let Ok(state) = DhtState::from_bytes(&sealed("hivebt dht", bytes)) {
        assert_eq!(DhtState::from_bytes(&state.to_bytes()), Ok(state));
    }
}

fn resume(bytes: &[u8]) {
    let _ = Resume::parse(bytes);
    if let Ok(state) = Resume::parse(&sealed("hivebt resume", bytes)) {
        assert_eq!(Resume::parse(&state.to_bytes()), Ok(state));
    }
}

fn tracker_state(bytes: &[u8]) {
    let _ = TrackerState::parse(bytes);
    if let Ok(state) = TrackerState::parse(&sealed("hivebt tracker", bytes)) {
        assert!(TrackerState::parse(&state.to_bytes()).is_ok());
    }
}

fn extended(bytes: &[u8]) {
    if let Some(read) = ExtendedHandshake::decode(bytes) {
        assert_eq!(ExtendedHandshake::decode(&read.encode()), Some(read));
    }
}

fn handshake(bytes: &[u8]) {
    if let Some(read) = bytes.first_chunk().and_then(Handshake::decode) {
        assert_eq!(Handshake::decode(&read.encode()), Some(read));
    }
}

fn date(bytes: &[u8]) {
    let _ = http_date::parse(text(bytes));
}

fn head(bytes: &[u8]) {
    if let Some(head) = gate::head_of(bytes) {
        let _ = http::read_announce(head.query);
        let _ = http::read_scrape(head.query);
        let _ = percent::decode(head.path);
    }
}

fn json_text(bytes: &[u8]) {
    // The last digit of a fraction may change; serde_json reads them fast, not exactly.
    if let Ok(value) = json::parse(bytes) {
        assert!(json::parse(value.to_string().as_bytes()).is_ok());
    }
}

fn key_file(bytes: &[u8]) {
    if let Err(error) = keys::parse(bytes) {
        assert!(!error.to_string().is_empty());
    }
}

fn krpc_packet(bytes: &[u8]) {
    let Some(mut packet) = krpc::read(bytes) else {
        return;
    };
    if let krpc::Body::Reply(reply) = &mut packet.body {
        reply.leave_out_what_is_none_of((GATEWAY, 6881).into());
    }
    match &packet.body {
        krpc::Body::Query(id, query) => {
            let again = krpc::write_query(b"aa", *id, query, packet.read_only);
            assert_eq!(krpc::read(&again).map(|p| p.body), Some(packet.body));
        }
        krpc::Body::Reply(reply) => {
            let again = krpc::write_reply(b"aa", reply, (GATEWAY, 6881).into());
            assert!(krpc::read(&again).is_some());
        }
        _ => {}
    }
}

fn lsd(bytes: &[u8]) {
    if let Some(read) = Announcement::decode(bytes) {
        let again = read.encode((GATEWAY, 6771).into());
        // Many torrents make it longer than what is read.
        if again.len() <= hivebt::proto::lsd::MAX_LEN {
            assert_eq!(Announcement::decode(&again), Some(read));
        }
    }
}

fn magnet(bytes: &[u8]) {
    let _ = Magnet::parse(text(bytes));
}

fn message(bytes: &[u8]) {
    for (total, piece_length) in [(1, 16_384), (10_000_000, 65_536), (1 << 40, 1 << 24)] {
        let geometry = Geometry::new(total, piece_length).expect("a sound geometry");
        let _ = Message::decode(bytes, &geometry);
        if let Some((len, body)) = bytes.split_first_chunk::<4>()
            && let Some(body) = body.first_chunk()
            && let Ok(block) = decode_piece(u32::from_be_bytes(*len), *body, &geometry)
        {
            assert!(geometry.holds(block));
        }
    }
}

fn metadata(bytes: &[u8]) {
    if let Some(read) = MetadataMessage::decode(bytes) {
        assert_eq!(MetadataMessage::decode(&read.encode()), Some(read));
    }
}

fn metainfo(bytes: &[u8]) {
    let Ok(read) = Metainfo::from_bytes(bytes) else {
        return;
    };
    let again = Metainfo::from_bytes(&read.to_bytes()).expect("what we write is read");
    assert_eq!(again.info_hash, read.info_hash);
    let _ = web_seed::Base::new("http://localhost/x/", &read);
}

/// What the far end of an encrypted handshake sends, in whatever pieces, to both sides of it.
fn mse(bytes: &[u8]) {
    let mut out = Vec::new();
    let mut rng = fastrand::Rng::with_seed(1);
    let hash = InfoHash([7; 20]);
    let mut opening = Opening::new(
        hash,
        b"hello",
        Encryption::Plain,
        [3; _],
        &mut rng,
        &mut out,
    );
    let mut answering = Answering::new(Encryption::Preferred, [5; _], rng);
    let (mut opens, mut answers) = (true, true);
    for part in bytes.chunks(97) {
        let mut from = part;
        opens = opens && matches!(opening.handle(&mut from, &mut out), Ok(None));
        let mut from = part;
        let find = |_: &sha1::Digest| Some(hash);
        answers = answers && matches!(answering.handle(&mut from, find, &mut out), Ok(None));
    }
    assert!(out.len() < 4000);
}

fn options(bytes: &[u8]) {
    if let Ok(cidr) = text(bytes).parse::<Cidr>() {
        let _ = cidr.contains(IpAddr::V4(GATEWAY));
    }
    if let Ok(glob) = Glob::parse(bytes) {
        let path = [b"some".to_vec(), b"long-ish".to_vec(), b"name.bin".to_vec()];
        let _ = glob.matches(&path, false);
        let names: Vec<_> = bytes.split(|&b| b == b'/').map(<[u8]>::to_vec).collect();
        let _ = glob.matches(&names, true);
    }
    let value = || OsString::from_vec(bytes.to_vec());
    let _ = Pattern::parse("--select", value());
    let _ = args::size("--max-upload", value());
    let _ = args::duration("--timeout", value());
    let _ = args::node("--dht-node", value());
    let _ = text(bytes).parse::<InfoHash>();
}

fn pex(bytes: &[u8]) {
    let _ = PexMessage::decode(bytes);
}

fn portmap(bytes: &[u8]) {
    let ask = pcp::Ask {
        client: Ipv4Addr::new(192, 168, 1, 7),
        port: 6881,
        external: 6881,
        nonce: *b"nonce nonce!",
    };
    let _ = ask.read(bytes);
    let _ = natpmp::read_address(bytes);
    let _ = natpmp::read_mapping(bytes, 6881);
    let _ = upnp::location(bytes, GATEWAY);
    let _ = upnp::Service::find(bytes, "http://192.168.1.1:5000/desc.xml", GATEWAY);
    let _ = upnp::done(500, bytes);
    let _ = upnp::read_address(200, bytes);
}

fn tracker_http(bytes: &[u8]) {
    if let Ok(request) = http::read_announce(bytes) {
        let again = http::announce_url("http://t/announce", &request);
        let query = again.split_once('?').map_or("", |(_, query)| query);
        let read = http::read_announce(query.as_bytes()).expect("what we write is read");
        assert_eq!(read.info_hash, request.info_hash);
    }
    let _ = http::read_scrape(bytes);
    let _ = http::parse_announce(bytes);
    let _ = http::parse_scrape(bytes);
}

fn tracker_udp(bytes: &[u8]) {
    if let Some(head) = udp::read_head(bytes) {
        match head.action {
            udp::Action::Announce => drop(udp::read_announce(bytes)),
            udp::Action::Scrape => drop(udp::read_scrape(bytes).map(Iterator::count)),
            _ => {}
        }
    }
    let transaction = bytes.get(4..8).and_then(<[u8]>::first_chunk);
    let transaction = transaction.map_or(0, |n| u32::from_be_bytes(*n));
    for ip in [IpAddr::V4(GATEWAY), IpAddr::V6(GATEWAY.to_ipv6_mapped())] {
        let _ = udp::parse_reply(bytes, transaction, ip);
    }
}

fn urls(bytes: &[u8]) {
    let text = text(bytes);
    let _ = url::tracker(text);
    let _ = url::web(text);
    let _ = url::path_and_query(text);
    let _ = url::shown(text);
    let (base, reference) = text.split_once(' ').unwrap_or((text, "../x?y"));
    let _ = url::join(base, reference);
    let mut encoded = String::new();
    percent::encode(bytes, &mut encoded);
    assert_eq!(percent::decode(encoded.as_bytes()).as_deref(), Some(bytes));
}

fn utp_packet(bytes: &[u8]) {
    if let Ok(packet) = Packet::decode(bytes) {
        let mut again = Vec::new();
        packet.encode(&mut again);
        let read = Packet::decode(&again).expect("what we write is read");
        assert_eq!(read.payload, packet.payload);
    }
}

/// Packets of a far end that says anything, to a connection that has something to send. What a packet says of numbers counts from those of the connection:
/// nobody would find them otherwise.
fn utp_connection(bytes: &[u8]) {
    let limits = UtpLimits {
        send_buffer: 30_000,
        receive_buffer: 20_000,
    };
    let mut now = Time::from_secs(4290);
    let mut out = Vec::new();
    let mut buffer = [0; 2048];
    let mut ours = Connection::dial(now, 40, 65_530, limits);
    let (mut next, mut sent) = (65_530_u16, 0);
    for part in pieces(bytes) {
        let at = |n: usize| part.bytes.get(n).copied().unwrap_or_default();
        let mask = [at(3), at(4), at(5), at(6)];
        let packet = Packet {
            kind: match part.choice % 8 {
                0 => Kind::Fin,
                1 => Kind::Syn,
                2 | 3 => Kind::State,
                4 if part.choice > 250 => Kind::Reset,
                _ => Kind::Data,
            },
            connection_id: 40,
            timestamp: u32::from(at(7)) << 24 | u32::from(at(8)),
            timestamp_difference: u32::from(at(9)) << 12,
            window: u32::from(at(10)) << (at(11) % 25),
            seq: 500_u16.wrapping_add(at(0).into()).wrapping_sub(8),
            ack: next.wrapping_sub(u16::from(at(1) % 64)),
            selective: (at(2) > 128).then_some(&mask),
            payload: part.bytes.get(12..).unwrap_or_default(),
        };
        ours.handle(now, &packet);
        ours.write(&buffer[..usize::from(at(2)) * 8]);
        if part.choice & 32 == 0 {
            ours.read(&mut buffer);
        }
        if part.choice & 64 != 0 {
            ours.finish();
        }
        now = now + Duration::from_millis(1 << (part.choice >> 5));
        if ours.deadline().is_some_and(|at| at <= now) {
            ours.tick(now);
        }
        while ours.transmit(now, &mut out) {
            let packet = Packet::decode(&out).expect("what we send is a packet");
            assert!(out.len() <= 1400);
            next = match packet.kind {
                Kind::State | Kind::Reset => next,
                _ if packet.seq.wrapping_sub(next) < 1000 => packet.seq,
                _ => next,
            };
            sent += 1;
            assert!(sent < 2000 * (1 + bytes.len()), "no end of packets");
        }
    }
}

fn web_seed_answer(bytes: &[u8]) {
    let mut lines = text(bytes).split('\n').map(str::to_owned);
    let head = web_seed::Head {
        status: lines.next().and_then(|l| l.parse().ok()).unwrap_or(206),
        content_range: lines.next(),
        content_length: lines.next().and_then(|line| line.parse().ok()),
        content_encoding: lines.next().filter(|line| !line.is_empty()),
        retry_after: lines.next(),
        date: lines.next(),
    };
    for (from, to, file) in [(0, 1, 1), (5, 1000, u64::MAX), (0, u64::MAX, u64::MAX)] {
        let _ = web_seed::judge(&head, &Wanted { from, to, file });
    }
}
