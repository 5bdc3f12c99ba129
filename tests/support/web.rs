//! A web server that does what a test wants, right or wrong.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What a client has asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path as it stands in the request line.
    pub path: String,
    /// First and last byte of the `Range` header.
    pub range: Option<(usize, usize)>,
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// How many requests came before it.
    pub number: usize,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Keep,
    Close,
    /// It stays open, and nothing more comes.
    Hang,
}

/// An answer, byte for byte.
#[derive(Clone, Debug)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
    pub after: After,
}

impl Answer {
    /// A status and these header lines.
    pub fn status(status: &str, lines: &[&str]) -> Self {
        let mut head = format!("HTTP/1.1 {status}\r\n");
        lines.iter().for_each(|line| head += &format!("{line}\r\n"));
        Self {
            head,
            body: Vec::new(),
            after: After::Keep,
        }
        .with_length(0)
    }

    /// What an ordinary server says to a request for `file`.
    pub fn of(file: &[u8], request: &Request) -> Self {
        let Some((first, last)) = request.range else {
            return Self::whole(file);
        };
        let last = last.min(file.len().saturating_sub(1));
        if first > last {
            return Self::status("416 Range Not Satisfiable", &[]);
        }
        let body = file[first..=last].to_vec();
        Self::part(&format!("bytes {first}-{last}/{}", file.len()), body)
    }

    /// The whole file, whatever was asked for.
    pub fn whole(file: &[u8]) -> Self {
        let mut answer = Self {
            head: "HTTP/1.1 200 OK\r\n".into(),
            body: file.to_vec(),
            after: After::Keep,
        };
        answer = answer.with_length(file.len());
        answer
    }

    /// A part of which the server says that it is this one.
    pub fn part(content_range: &str, body: Vec<u8>) -> Self {
        let head = format!("HTTP/1.1 206 Partial Content\r\nContent-Range: {content_range}\r\n");
        let length = body.len();
        Self {
            head,
            body,
            after: After::Keep,
        }
        .with_length(length)
    }

    fn with_length(mut self, length: usize) -> Self {
        self.head += &format!("Content-Length: {length}\r\n");
        self
    }
}

/// A server; it ends with the test.
pub struct WebServer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl WebServer {
    /// Answers at a free port of 127.0.0.1 as `answer` says.
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1", answer)
    }

    /// The same at another address of this machine.
    pub fn at(ip: &str, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let (answer, log) = (Arc::new(answer), seen.clone());
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().flatten().enumerate() {
                let (answer, log) = (answer.clone(), log.clone());
                thread::spawn(move || serve(&stream, connection, &*answer, &log));
            }
        });
        Self { address, seen }
    }

    /// A server of one file, at any path.
    pub fn of_file(file: Vec<u8>) -> Self {
        Self::start(move |request| Answer::of(&file, request))
    }

    /// The URL of `path` here.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it has been asked for so far.
    pub fn seen(&self) -> Vec<Request> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

fn serve(
    stream: &TcpStream,
    connection: usize,
    answer: &(dyn Fn(&Request) -> Answer + Send + Sync),
    log: &Mutex<Vec<Request>>,
) {
    let mut lines = BufReader::new(stream);
    while let Some(mut request) = read_request(&mut lines) {
        request.connection = connection;
        {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            request.number = log.len();
            log.push(request.clone());
        }
        let answer = answer(&request);
        let mut out = stream;
        let head = answer.head + "\r\n";
        // The client may have gone.
        let sent = out.write_all(head.as_bytes());
        if sent.and_then(|()| out.write_all(&answer.body)).is_err() {
            return;
        }
        match answer.after {
            After::Keep => {}
            After::Close => {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
            After::Hang => {
                // Until the client goes.
                let mut line = String::new();
                let _ = lines.read_line(&mut line);
                return;
            }
        }
    }
}

fn read_request(lines: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    lines.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut range = None;
    loop {
        line.clear();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ")?;
        if name.eq_ignore_ascii_case("range") {
            let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
            range = Some((first.parse().ok()?, last.parse().ok()?));
        }
    }
    Some(Request {
        path,
        range,
        connection: 0,
        number: 0,
    })
}
