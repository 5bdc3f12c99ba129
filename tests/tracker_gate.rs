//! The tracker in front of strangers who mean no good: idle, slow, greedy and malformed clients, against the real program.

#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hivebt::base::id::InfoHash;
use hivebt::proto::tracker::http::{announce_url, parse_announce, parse_scrape, scrape_url};
use hivebt::proto::tracker::{Event, MAX_SCRAPE};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::announce::{Site, peer, reason};
use support::ours::{LIMIT, program};
use support::process::peak_memory;

const HASH: InfoHash = InfoHash([0xa1; 20]);

/// Descriptors for so many connections, as far as the system gives them.
fn connections(wanted: usize) -> usize {
    let most = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    most.map_or(wanted, |most| {
        wanted.min(usize::try_from(most).unwrap_or(wanted).saturating_sub(300))
    })
}

/// Descriptors that the tracker has open.
fn open_descriptors(site: &Site) -> usize {
    let folder = format!("/proc/{}/fd", site.process.pid());
    std::fs::read_dir(folder).unwrap().count()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").into_bytes()
}

fn announce_of(n: u8) -> Vec<u8> {
    get(&announce_url(
        "/announce",
        &peer(HASH, n, 9, Event::Started),
    ))
}

/// Everything that comes, to the end.
fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // What was sent and not read makes the kernel of the other side say so.
    if let Err(e) = stream.read_to_end(&mut answer) {
        assert_eq!(e.kind(), ErrorKind::ConnectionReset, "{e}");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_well(site: &Site) {
    site.announce("127.0.0.9", &peer(HASH, 99, 9, Event::None))
        .unwrap();
    assert!(site.get("/stats").0.contains(" 200 "));
    assert!(!site.process.has_said(|line| line.contains("panicked")));
}

#[test]
fn five_thousand_idle_and_five_hundred_slow_ones_keep_nobody_from_announcing() {
    let all = connections(5_500);
    let site = Site::start(&["--max-connections", "2000"]);
    let idle: Vec<_> = (0..all * 10 / 11)
        .map(|_| site.connect("127.0.0.1"))
        .collect();
    let mut slow: Vec<_> = (0..all / 11).map(|_| site.connect("127.0.0.1")).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let request = announce_of(1);
            for byte in request.iter().cycle() {
                for stream in &mut slow {
                    // It may have had to go by now.
                    let _ = stream.write(&[*byte]);
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        for n in 0..200 {
            let ip = format!("127.0.1.{n}");
            site.announce(&ip, &peer(HASH, n, 9, Event::Started))
                .unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    let open = open_descriptors(&site);
    assert!(open < 2_100, "{open} descriptors");
    drop(idle);
    is_well(&site);
}

#[test]
fn one_address_cannot_take_all_connections() {
    let site = Site::start(&["--max-connections-per-address", "5"]);
    let held: Vec<_> = (0..5)
        .map(|_| {
            let mut stream = site.connect("127.0.0.2");
            stream.write_all(&get("/healthz")).unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
            stream
        })
        .collect();
    assert_eq!(rest(site.connect("127.0.0.2")), "");
    site.announce("127.0.0.3", &peer(HASH, 1, 9, Event::Started))
        .unwrap();
    drop(held);
    // The tracker notices the end of those a moment later.
    let end = Instant::now() + LIMIT;
    loop {
        let mut stream = site.connect("127.0.0.2");
        let _ = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
        if rest(stream).ends_with("ok\n") {
            break;
        }
        assert!(Instant::now() < end);
    }
}

#[test]
fn without_descriptors_it_goes_on_and_recovers() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40 && exec \"$0\" -l 127.0.0.1:0"]);
    command.arg(program("tracker"));
    let site = Site::running(command, 1);
    for _ in 0..3 {
        let idle: Vec<_> = (0..300).map(|_| site.connect("127.0.0.1")).collect();
        for n in 0..20 {
            site.announce("127.0.0.1", &peer(HASH, n, 9, Event::Started))
                .unwrap();
        }
        assert!(open_descriptors(&site) <= 40);
        drop(idle);
    }
    let end = Instant::now() + LIMIT;
    while !site.get("/stats").0.contains(" 200 ") {
        assert!(Instant::now() < end);
    }
    is_well(&site);
}

#[test]
fn a_head_without_end_is_refused_at_8_kib() {
    let site = Site::start(&[]);
    let endless: [(&[u8], &[u8]); 4] = [
        (b"GET /announce?", b"a"),
        (b"GET / HTTP/1.1\r\n", b"A: b\r\n"),
        (b"GET / HTTP/1.1\r\nA: ", b"b"),
        (b"", b"\r\n"),
    ];
    for (begin, more) in endless {
        let mut stream = site.connect("127.0.0.1");
        stream.write_all(begin).unwrap();
        let (mut sent, block) = (0, more.repeat(1024 / more.len()));
        while sent < 64 << 20 && stream.write_all(&block).is_ok() {
            sent += block.len();
        }
        assert!(sent < 64 << 20, "it reads on and on");
    }
    let memory = peak_memory(site.process.pid()).unwrap();
    assert!(memory < 64 << 20, "{memory} bytes");
    is_well(&site);
}

#[test]
fn whatever_a_request_is_changed_to_ends_in_an_answer_or_a_close() {
    let site = Site::start(&[]);
    let full = announce_url("/announce", &peer(HASH, 1, 9, Event::Started));
    let valid = [
        format!("GET {full} HTTP/1.1\r\nHost: t\r\nUser-Agent: x\r\nX-Forwarded-For: 1.2.3.4, ::1"),
        format!(
            "GET {} HTTP/1.1\r\nHost: t",
            scrape_url("/scrape", &[HASH, InfoHash([9; 20])])
        ),
        "GET http://t:1/stats?mode=everything#x HTTP/1.0\r\nConnection: keep-alive".to_owned(),
        "HEAD /torrents/%41.torrent HTTP/1.1\r\nContent-Length: 0\r\nAccept: */*".to_owned(),
    ];
    let pieces: [&[u8]; 18] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"%",
        b"%zz",
        b"%00",
        b"\xff\xfe",
        b"&info_hash=",
        b"?",
        b"=",
        b"..",
        b"//",
        b"\r\nTransfer-Encoding: chunked",
        b"\r\nContent-Length: 9",
        b"GET / HTTP/1.1\r\n\r\n",
        b"99999999999999999999",
    ];
    let mut rng = fastrand::Rng::with_seed(7);
    let mut stream = site.connect("127.0.0.1");
    let (mut answered, mut closed) = (0, 0);
    for _ in 0..4_000 {
        let mut case = valid[rng.usize(..valid.len())].clone().into_bytes();
        for _ in 0..rng.usize(1..5) {
            let at = rng.usize(..=case.len());
            match rng.u8(..5) {
                0 => case.truncate(at.max(1)),
                1 => drop(case.splice(at..at, pieces[rng.usize(..pieces.len())].iter().copied())),
                2 => case.insert(at, rng.u8(..)),
                3 if at < case.len() => case[at] = rng.u8(..),
                _ if at < case.len() => drop(case.remove(at)),
                _ => {}
            }
        }
        // Whatever it is, its head has an end, and a request follows.
        case.extend(b"\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n");
        let _ = stream.write_all(&case);
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        let over = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(n) => answer.extend(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => break true,
                Err(e) => panic!("{e}: {}", case.escape_ascii()),
            }
            if answer.ends_with(b"\r\n\r\nok\n") {
                break false;
            }
        };
        assert!(
            over || answer.starts_with(b"HTTP/1."),
            "{} was answered {}",
            case.escape_ascii(),
            answer.escape_ascii()
        );
        if over {
            closed += 1;
            stream = site.connect("127.0.0.1");
        } else {
            answered += 1;
        }
    }
    assert!(answered > 200 && closed > 200, "{answered} {closed}");
    is_well(&site);
}

#[test]
fn nonsense_in_a_query_is_a_failure_with_a_reason() {
    let site = Site::start(&[]);
    let good = announce_url("", &peer(HASH, 1, 9, Event::Started));
    for bad in [
        good.replace("%A1", "%A"),
        good.replace("port=", "port=%0d%0aX:"),
        good.replace("left=9", "left=9%00"),
        good.replace("peer_id=", "peer_id=%0d%0a%0d%0a"),
        good.replace('&', "%26"),
        "?".to_owned() + &"info_hash=&".repeat(500),
    ] {
        let (head, body) = site.get(&format!("/announce{bad}"));
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{bad}: {head}");
        assert!(!reason(parse_announce(&body)).is_empty());
        assert!(!head.contains("X:"), "{head}");
    }
    is_well(&site);
}

#[test]
fn no_body_and_no_header_can_shift_the_answers_of_others() {
    let site = Site::start(&[]);
    let evil = [
        (
            "GET /stats HTTP/1.1\r\nContent-Length: 33\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
            "400",
        ),
        (
            "GET /stats HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "GET /stats HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n",
            "400",
        ),
        (
            "GET /stats HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nGET /",
            "400",
        ),
        ("GET /stats HTTP/1.1\r\nContent-Length: +0\r\n\r\n", "400"),
        (
            "POST /stats HTTP/1.1\r\nContent-Length: 26\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
            "405",
        ),
        (
            "GET /stats HTTP/1.1\nX: a\r\rGET /metrics HTTP/1.1\r\n\r\n",
            "400",
        ),
        ("GET /stats\tHTTP/1.1\r\n\r\n", "400"),
        ("GET /stats HTTP/1.1 HTTP/1.0\r\n\r\n", "400"),
        ("GET /stats HTTP/1.1\r\n X-Folded: a\r\n\r\n", "400"),
        (
            "GET /stats HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
            "200",
        ),
        ("GET /stats HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", "200"),
        (
            "GET /stats HTTP/1.1\r\nX-Hivebt-Token: 0\r\nX-Hivebt-Client: 127.0.0.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
            "200",
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
    ];
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let honest: Vec<_> = [
            ("/stats", "{\"version\""),
            ("/metrics", "# HELP"),
            ("/", "<!doctype"),
        ]
        .into_iter()
        .map(|(path, begins)| {
            let (site, over) = (&site, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let (head, body) = site.get(path);
                    let text = String::from_utf8(body).unwrap();
                    assert!(
                        head.contains(" 200 ") && text.starts_with(begins),
                        "{path}: {head}\n{text}"
                    );
                }
            })
        })
        .collect();
        for (request, status) in evil.iter().cycle().take(evil.len() * 10) {
            let answer = site.exchange("127.0.0.1", request.as_bytes());
            let answer = String::from_utf8(answer).unwrap();
            let first = answer.split(' ').nth(1);
            assert_eq!(first, Some(*status), "{request:?}: {answer}");
            assert_eq!(
                answer.matches("HTTP/1.").count(),
                1,
                "{request:?}: {answer}"
            );
            assert!(!answer.contains("# HELP"), "{request:?}: {answer}");
        }
        over.store(true, Ordering::Relaxed);
        honest.into_iter().for_each(|thread| thread.join().unwrap());
    });
    is_well(&site);
}

#[test]
fn each_way_to_ask_is_answered_in_its_way() {
    let site = Site::start(&[]);
    for (request, keeps) in [
        ("GET /healthz HTTP/1.1\r\n\r\n", true),
        ("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", false),
        ("GET /healthz HTTP/1.0\r\n\r\n", false),
        (
            "GET /healthz HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            true,
        ),
        (
            "GET http://elsewhere:99/healthz HTTP/1.1\r\nHost: t\r\n\r\n",
            true,
        ),
        ("\r\n\r\nGET /healthz?a=b HTTP/1.1\nHost: t\n\n", true),
    ] {
        let last = b"GET /healthz HTTP/1.0\r\n\r\n";
        let answer = site.exchange("127.0.0.1", &[request.as_bytes(), last].concat());
        let answer = String::from_utf8(answer).unwrap();
        let expected = if keeps { 2 } else { 1 };
        assert_eq!(
            answer.matches("\r\n\r\nok\n").count(),
            expected,
            "{request}: {answer}"
        );
    }
}

#[test]
fn who_does_not_read_answers_is_not_read_any_more() {
    let site = Site::start(&[]);
    for n in 0..100 {
        site.announce("127.0.0.1", &peer(HASH, n, 9, Event::Started))
            .unwrap();
    }
    let most = 64 << 20;
    let greedy = |_| {
        let mut stream = site.connect("127.0.0.1");
        stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let (requests, mut sent) = (announce_of(1).repeat(100), 0);
        while sent < most {
            match stream.write(&requests) {
                Ok(n) => sent += n,
                Err(_) => break,
            }
        }
        assert!(sent < most, "{sent} bytes of requests were taken");
        stream
    };
    let held: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..20).map(|n| scope.spawn(move || greedy(n))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    is_well(&site);
    let memory = peak_memory(site.process.pid()).unwrap();
    assert!(memory < 64 << 20, "{memory} bytes");
    drop(held);
}

#[test]
fn pages_that_nobody_reads_do_not_keep_others_from_theirs() {
    let site = Site::start(&[]);
    let mut requests = Vec::new();
    for n in 0..5_000_u32 {
        let mut hash = [0x55; 20];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        let request = peer(InfoHash(hash), 1, 1, Event::Started);
        requests.extend(get(&announce_url("/announce", &request)));
    }
    requests.extend(b"GET /healthz HTTP/1.0\r\n\r\n");
    let mut stream = site.connect("127.0.0.1");
    let reader = stream.try_clone().unwrap();
    let taken = thread::spawn(move || rest(reader));
    stream.write_all(&requests).unwrap();
    assert!(taken.join().unwrap().ends_with("ok\n"));
    // More than there are threads that make pages, from addresses enough.
    let greedy: Vec<_> = (0..40)
        .map(|n| {
            let mut stream = site.connect(&format!("127.0.2.{}", n / 4));
            socket2::SockRef::from(&stream)
                .set_recv_buffer_size(4096)
                .unwrap();
            stream.write_all(&get("/stats?mode=everything")).unwrap();
            // It has begun to come.
            let n = stream.read(&mut [0; 12]).unwrap();
            assert!(n > 0);
            stream
        })
        .collect();
    for path in ["/", "/stats", "/metrics"] {
        let (head, _) = site.get_with("127.0.3.1", path, "");
        assert!(head.contains(" 200 "), "{path}: {head}");
    }
    drop(greedy);
    is_well(&site);
}

#[test]
fn only_a_trusted_proxy_says_who_asks_and_garbage_ends_the_trust() {
    let site = Site::start(&["--trust-proxy", "127.0.0.1", "--trust-proxy", "10.0.0.0/8"]);
    let asked = |from: &str, headers: &str| {
        let reply = site.announce_with(from, &peer(HASH, 1, 9, Event::Started), headers);
        reply.unwrap().external_ip.unwrap().to_string()
    };
    for (headers, expected) in [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n", "192.0.2.1"),
        (
            "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 192.0.2.1\r\n",
            "192.0.2.1",
        ),
        (
            "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.1.1.1\r\n",
            "192.0.2.1",
        ),
        ("X-Forwarded-For: 6.6.6.6, what is this\r\n", "127.0.0.1"),
        ("X-Forwarded-For: 6.6.6.6, what, 10.1.1.1\r\n", "10.1.1.1"),
        ("X-Forwarded-For: ,,,\r\n", "127.0.0.1"),
        ("X-Forwarded-For: \r\n", "127.0.0.1"),
        (
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For:\r\n",
            "127.0.0.1",
        ),
        ("X-Forwarded-For: [2001:db8::1]:99\r\n", "2001:db8::1"),
    ] {
        assert_eq!(asked("127.0.0.1", headers), expected, "{headers}");
    }
    let many = format!("X-Forwarded-For: {}\r\n", "10.0.0.1,".repeat(700));
    assert_eq!(
        asked(
            "127.0.0.1",
            &format!("{many}X-Forwarded-For: 192.0.2.1\r\n")
        ),
        "192.0.2.1"
    );
    assert_eq!(
        asked("127.0.0.2", "X-Forwarded-For: 192.0.2.1\r\n"),
        "127.0.0.2"
    );
}

#[test]
fn a_scrape_tells_of_all_torrents_only_if_that_is_switched_on_and_of_so_many_at_most() {
    let other = InfoHash([0xb2; 20]);
    let filled = |options: &[&str]| {
        let site = Site::start(options);
        for hash in [HASH, other] {
            site.announce("127.0.0.1", &peer(hash, 1, 9, Event::Started))
                .unwrap();
        }
        site
    };
    let site = filled(&[]);
    let (_, body) = site.get("/scrape");
    assert!(reason(parse_scrape(&body)).contains("info_hash is missing"));
    let hashes: Vec<_> = (0..=MAX_SCRAPE)
        .map(|n| InfoHash([u8::try_from(n % 26).unwrap() + b'a'; 20]))
        .collect();
    let (_, body) = site.get(&scrape_url("/scrape", &hashes));
    assert!(reason(parse_scrape(&body)).contains("at most"));
    let (_, body) = site.get(&scrape_url("/scrape", &hashes[1..]));
    assert!(parse_scrape(&body).is_ok());

    let site = filled(&["--full-scrape"]);
    let (head, body) = site.get("/scrape");
    assert!(head.contains("application/x-bittorrent"), "{head}");
    let told: Vec<_> = parse_scrape(&body)
        .unwrap()
        .into_iter()
        .map(|(hash, _)| hash)
        .collect();
    assert_eq!(told, [HASH, other]);
    assert_eq!(
        site.scrape(HASH).incomplete,
        1,
        "one alone can be asked for, too"
    );
    let path = announce_url("/scrape", &peer(HASH, 1, 9, Event::None)).replace("info_hash", "x");
    assert!(String::from_utf8_lossy(&site.get(&path).1).contains("info_hash is missing"));
    let (head, _) = site.get("/scrape/");
    assert!(head.contains(" 404 "), "{head}");
}

#[test]
fn a_burst_of_connections_is_served_to_the_last() {
    let site = Site::start(&[]);
    let at: SocketAddr = site.at[0];
    let streams: Vec<_> = (0..500).map(|_| TcpStream::connect(at).unwrap()).collect();
    for (n, mut stream) in streams.into_iter().enumerate() {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let request = announce_of(u8::try_from(n % 200).unwrap());
        stream.write_all(&request).unwrap();
        let mut begin = [0; 15];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200 OK");
    }
    is_well(&site);
}
