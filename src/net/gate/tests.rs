//! The gate as clients see it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::net::http_server::{Method, Page, PageRequest};
use crate::net::tcp;

/// Answers `/hot` with a number that grows, `/big` with 100,000 bytes, and panics at `/fault`; the rest is for the pages.
struct Counter(Arc<AtomicU32>);

impl Handler for Counter {
    fn answer(&mut self, head: &Head<'_>, from: SocketAddr, body: &mut Vec<u8>) -> Answer {
        match head.path {
            b"/hot" => {
                let n = self.0.fetch_add(1, Ordering::Relaxed);
                body.extend_from_slice(format!("hot {n}").as_bytes());
            }
            b"/big" => body.resize(100_000, b'b'),
            b"/fault" => panic!("a fault, on purpose"),
            b"/refused" => {
                return Answer::Reply {
                    status: 401,
                    content_type: "text/plain",
                };
            }
            _ => {
                return Answer::Page {
                    asker: Some(from.ip()),
                };
            }
        }
        Answer::Reply {
            status: 200,
            content_type: "text/plain",
        }
    }

    fn exempts(&self, from: IpAddr) -> bool {
        from == IpAddr::from([127, 0, 0, 99])
    }
}

fn page(wanted: &PageRequest) -> Page {
    assert_ne!(wanted.path, "/page-fault");
    Page {
        status: if wanted.path == "/none" { 404 } else { 200 },
        content_type: "text/plain",
        body: if wanted.method.is_safe() {
            format!("{}?{} for {:?}", wanted.path, wanted.query, wanted.from).into_bytes()
        } else {
            let sum: u64 = wanted.body.iter().map(|&b| u64::from(b)).sum();
            let method: Method = wanted.method;
            format!("{} {} bytes, {sum}", method.name(), wanted.body.len()).into_bytes()
        },
    }
}

struct Server {
    at: SocketAddr,
    _gate: Gate,
}

fn server(config: Config) -> Server {
    let listener = tcp::listen_public("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    let pages = PageServer::start(Box::new(page)).unwrap();
    let count = Arc::new(AtomicU32::new(0));
    let handler = || Counter(Arc::clone(&count));
    Server {
        at,
        _gate: Gate::start(config, vec![listener], pages, handler).unwrap(),
    }
}

fn usual() -> Server {
    server(Config {
        workers: 2,
        ..Config::default()
    })
}

impl Server {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        // Only a failure waits this long.
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    }

    /// Everything that comes back, to the end of the connection.
    fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may be closed before all of it is sent.
        let _ = stream.write_all(bytes);
        text_to_end(stream)
    }
}

fn text_to_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// One answer with a length, from a connection that stays open.
fn answer(stream: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.split("Content-Length: ").nth(1).unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn a_connection_is_kept_as_long_as_the_client_likes() {
    let server = usual();
    let mut stream = server.connect();
    for n in 0..5 {
        stream.write_all(b"GET /hot HTTP/1.1\r\n\r\n").unwrap();
        let (head, body) = answer(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("Connection"));
        assert_eq!(body, format!("hot {n}"));
    }
    stream
        .write_all(b"GET /hot HTTP/1.1\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert!(text_to_end(stream).ends_with("Connection: close\r\n\r\nhot 5"));
    assert!(
        server
            .exchange(b"GET /hot HTTP/1.0\r\n\r\n")
            .ends_with("hot 6")
    );
    let mut old = server.connect();
    for n in 7..9 {
        old.write_all(b"GET /hot HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .unwrap();
        let (head, body) = answer(&mut old);
        assert!(head.contains("Connection: keep-alive\r\n"));
        assert_eq!(body, format!("hot {n}"));
    }
}

#[test]
fn requests_may_come_before_the_answers_to_earlier_ones() {
    let server = usual();
    let mut stream = server.connect();
    stream
        .write_all(&b"GET /hot HTTP/1.1\r\nHost: t\r\n\r\n".repeat(1000))
        .unwrap();
    for n in 0..1000 {
        assert_eq!(answer(&mut stream).1, format!("hot {n}"));
    }
}

#[test]
fn a_request_may_come_byte_by_byte_and_bytes_of_the_next_with_it() {
    let server = usual();
    let mut stream = server.connect();
    let request = b"GET /hot HTTP/1.1\r\nHost: t\r\n\r\nGET /hot HTTP/1.1\r\n\r\nGET /ho";
    for byte in request {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(answer(&mut stream).1, "hot 0");
    assert_eq!(answer(&mut stream).1, "hot 1");
    stream.write_all(b"t HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream).1, "hot 2");
}

#[test]
fn answers_that_do_not_fit_wait_until_the_client_takes_them() {
    let server = usual();
    let mut stream = server.connect();
    let requests = [
        b"GET /big HTTP/1.1\r\n\r\n".repeat(300),
        b"GET /hot HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(),
    ];
    // 30 MB, far more than the kernel holds; none of it is taken before all is asked for.
    stream.write_all(&requests.concat()).unwrap();
    for _ in 0..300 {
        assert_eq!(answer(&mut stream).1.len(), 100_000);
    }
    assert!(text_to_end(stream).ends_with("hot 0"));
}

#[test]
fn what_is_not_hot_comes_from_the_pages() {
    let server = usual();
    let all = server.exchange(b"GET /hot HTTP/1.1\r\n\r\nGET /page?a=%20b HTTP/1.1\r\n\r\n");
    assert!(all.contains("\r\n\r\nhot 0HTTP/1.0 200 OK\r\n"), "{all}");
    assert!(all.ends_with("/page?a=%20b for Some(127.0.0.1)"), "{all}");
    let none = server.exchange(b"GET /none HTTP/1.0\r\n\r\n");
    assert!(none.starts_with("HTTP/1.0 404 "), "{none}");
    let head = server.exchange(b"HEAD /page HTTP/1.1\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.0 200 OK") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[test]
fn nobody_can_slip_a_request_or_a_header_to_the_pages() {
    let server = usual();
    let all = server.exchange(
        b"GET /page HTTP/1.1\r\nX-Hivebt-Client: 9.9.9.9\r\nX-Hivebt-Token: x\r\n\r\nGET /second HTTP/1.1\r\n\r\n",
    );
    assert!(all.ends_with("/page? for Some(127.0.0.1)"), "{all}");
}

#[test]
fn a_fault_costs_one_answer_and_nothing_else() {
    let server = usual();
    let mut stream = server.connect();
    stream
        .write_all(b"GET /fault HTTP/1.1\r\n\r\nGET /hot HTTP/1.1\r\n\r\n")
        .unwrap();
    assert!(answer(&mut stream).0.starts_with("HTTP/1.1 500 "));
    assert_eq!(answer(&mut stream).1, "hot 0");
    let page = server.exchange(b"GET /page-fault HTTP/1.1\r\n\r\n");
    assert!(page.starts_with("HTTP/1.0 500 "), "{page}");
    assert!(
        server
            .exchange(b"GET /page HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.0 200 ")
    );
}

#[test]
fn nonsense_is_answered_and_the_connection_ends() {
    let server = usual();
    for (bytes, status) in [
        (&b"nonsense\r\n\r\n"[..], "HTTP/1.1 400 Bad Request\r\n"),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\n\n",
            "HTTP/1.1 400 Bad Request\r\n",
        ),
        (
            b"POST /hot HTTP/1.1\r\nContent-Length: 1000\r\n\r\n",
            "HTTP/1.1 405 Method Not Allowed\r\n",
        ),
        (b"GET /hot HTTP/3\r\n\r\n", "HTTP/1.1 505 "),
        (&[b'x'; 100_000], "HTTP/1.1 431 "),
        (
            &[&b"GET /hot HTTP/1.1\r\n"[..], &b"A: b\r\n".repeat(20_000)].concat(),
            "HTTP/1.1 431 ",
        ),
    ] {
        let answer = server.exchange(bytes);
        assert!(answer.starts_with(status), "{answer}");
    }
    assert!(
        server
            .exchange(b"GET /hot HTTP/1.0\r\n\r\n")
            .ends_with("hot 0")
    );
}

#[test]
fn a_head_that_takes_too_long_and_an_idle_connection_are_given_up() {
    let server = server(Config {
        workers: 1,
        head_time: Duration::from_millis(50),
        idle_time: Duration::from_millis(50),
        ..Config::default()
    });
    let silent = server.connect();
    let mut half = server.connect();
    half.write_all(b"GET /hot HT").unwrap();
    let mut idle = server.connect();
    idle.write_all(b"GET /hot HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(answer(&mut idle).1, "hot 0");
    for stream in [silent, half, idle] {
        assert_eq!(text_to_end(stream), "");
    }
}

#[test]
fn where_one_more_comes_than_there_may_be_the_longest_idle_go() {
    let server = server(Config {
        workers: 1,
        connections: 40,
        ..Config::default()
    });
    let mut idle: Vec<_> = (0..200).map(|_| server.connect()).collect();
    let mut fresh = server.connect();
    for n in 0..3 {
        fresh.write_all(b"GET /hot HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(answer(&mut fresh).1, format!("hot {n}"));
    }
    assert_eq!(text_to_end(idle.remove(0)), "", "the first has had to go");
}

#[test]
fn one_address_has_its_share_unless_it_is_exempt() {
    let server = server(Config {
        workers: 1,
        per_address: 3,
        ..Config::default()
    });
    let from = |ip: [u8; 4]| {
        let bind = tcp::Bind {
            addr: Some(ip.into()),
            ..tcp::Bind::default()
        };
        let stream = tcp::dial(&bind, server.at, Duration::from_secs(60)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    };
    let talk = |stream: &mut TcpStream| {
        stream.write_all(b"GET /hot HTTP/1.1\r\n\r\n").unwrap();
        answer(stream);
    };
    let mut held: Vec<_> = (0..3).map(|_| from([127, 0, 0, 1])).collect();
    held.iter_mut().for_each(talk);
    assert_eq!(text_to_end(from([127, 0, 0, 1])), "");
    talk(&mut from([127, 0, 0, 2]));
    let mut exempt: Vec<_> = (0..9).map(|_| from([127, 0, 0, 99])).collect();
    exempt.iter_mut().for_each(talk);
}

/// A server that takes bodies of up to a mebibyte.
fn taking(page_time: Duration) -> Server {
    server(Config {
        workers: 1,
        page_time,
        max_body: 1 << 20,
        ..Config::default()
    })
}

fn post(length: usize) -> String {
    format!("POST /torrents HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n")
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_body_reaches_the_pages_whole_however_it_comes() {
    let server = taking(LONG);
    let body = vec![3; 1 << 20];
    let all = [post(body.len()).as_bytes(), &body].concat();
    let told = "POST 1048576 bytes, 3145728";
    assert!(server.exchange(&all).ends_with(told));
    let mut stream = server.connect();
    for part in all.chunks(100_000) {
        stream.write_all(part).unwrap();
    }
    assert!(text_to_end(stream).ends_with(told));
    let short = server.exchange(b"POST /x HTTP/1.0\r\nContent-Length: 2\r\n\r\nab and more");
    assert!(short.ends_with("POST 2 bytes, 195"), "{short}");
    let none = server.exchange(b"DELETE /x HTTP/1.1\r\n\r\n");
    assert!(none.ends_with("DELETE 0 bytes, 0"), "{none}");
}

#[test]
fn a_client_that_waits_with_its_body_is_told_to_go_on() {
    let server = taking(LONG);
    let mut stream = server.connect();
    let head = post(3).replace("Host: t", "Expect: 100-continue");
    stream.write_all(head.as_bytes()).unwrap();
    let mut word = [0; 25];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").unwrap();
    assert!(text_to_end(stream).ends_with("POST 3 bytes, 294"));
}

#[test]
fn a_body_that_is_not_wanted_is_never_taken_for_a_request() {
    let server = taking(LONG);
    let inside = "GET /hot HTTP/1.1\r\n\r\n";
    let refused = post(inside.len()).replace("/torrents", "/refused") + inside;
    let told = server.exchange(refused.as_bytes());
    assert!(
        told.starts_with("HTTP/1.1 401 ") && !told.contains("hot"),
        "{told}"
    );
    assert!(
        told.contains("WWW-Authenticate: Bearer\r\nConnection: close"),
        "{told}"
    );
    let large = server.exchange(post((1 << 20) + 1).as_bytes());
    assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
    let none = usual().exchange(post(3).as_bytes());
    assert!(none.starts_with("HTTP/1.1 405 "), "{none}");
}

#[test]
fn a_body_that_does_not_come_is_given_up_and_others_are_answered_meanwhile() {
    let server = taking(Duration::from_secs(1));
    let mut slow = server.connect();
    slow.write_all(post(1000).as_bytes()).unwrap();
    slow.write_all(b"a").unwrap();
    let other = server.exchange(b"GET /page HTTP/1.0\r\n\r\n");
    assert!(other.contains(" 200 "), "{other}");
    assert_eq!(text_to_end(slow), "");
}

#[test]
fn bodies_take_up_bounded_memory_together() {
    let server = taking(LONG);
    let waiting = || {
        let mut stream = server.connect();
        let head = post(1 << 20).replace("Host: t", "Expect: 100-continue");
        stream.write_all(head.as_bytes()).unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        (stream, String::from_utf8(first.to_vec()).unwrap())
    };
    let (one, said) = waiting();
    assert_eq!(said, "HTTP/1.1 100");
    let (_two, said) = waiting();
    assert_eq!(said, "HTTP/1.1 100");
    assert_eq!(waiting().1, "HTTP/1.1 503");
    drop(one);
    // What the one had is free as soon as the worker has noticed.
    while waiting().1 != "HTTP/1.1 100" {}
}
