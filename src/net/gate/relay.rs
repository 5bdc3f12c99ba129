//! The way from the gate to the pages behind it.
//!
//! A few threads take requests that are no hot path, one at a time, from a bounded queue. A page is read whole before its client gets it, so a slow client
//! holds up one of these threads at most, for a bounded time, and never the server.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::head::Head;
use super::limits::Permit;
use super::reply;
use crate::net::http_server::{CLIENT, PageServer, TOKEN};

/// Threads that relay.
const RELAYS: usize = 4;

/// Requests that may wait for one of them.
const QUEUE: usize = 32;

/// How long the page may take, and then how long the client may take to receive it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a page.
const MAX_PAGE: u64 = 64 << 20;

/// A request with the connection to answer it on, which is closed afterwards.
pub(super) struct Job {
    pub(super) client: TcpStream,
    pub(super) permit: Permit,
    /// What has to be sent before the answer: answers to earlier requests.
    pub(super) before: Vec<u8>,
    /// The request as it goes to the server.
    pub(super) request: Vec<u8>,
}

/// The queue to the relays. They end when the last clone of it is dropped.
#[derive(Clone)]
pub(super) struct Relays {
    queue: SyncSender<Job>,
    server: Arc<PageServer>,
}

impl Relays {
    pub(super) fn start(server: PageServer) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let (server, jobs) = (Arc::new(server), Arc::new(Mutex::new(jobs)));
        for n in 0..RELAYS {
            let (server, jobs) = (Arc::clone(&server), Arc::clone(&jobs));
            let work = move || {
                while let Some(job) = next(&jobs) {
                    // A client or a page that fails concerns nobody else.
                    let _ = relay(&server, job);
                }
            };
            thread::Builder::new()
                .name(format!("relay {n}"))
                .spawn(work)?;
        }
        Ok(Self { queue, server })
    }

    /// What the server is asked in place of `head`: only what was understood, so nothing can hide in it. HTTP/1.0, since then the answer ends with the connection.
    pub(super) fn request(&self, head: &Head<'_>, from: IpAddr) -> Vec<u8> {
        let mut request = Vec::with_capacity(256);
        request.extend_from_slice(if head.head_only { b"HEAD " } else { b"GET " });
        request.extend_from_slice(head.path);
        if !head.query.is_empty() {
            request.push(b'?');
            request.extend_from_slice(head.query);
        }
        if head.accept.iter().all(|b| matches!(b, b' '..=b'~')) {
            request.extend_from_slice(b" HTTP/1.0\r\nAccept: ");
            request.extend_from_slice(head.accept);
        } else {
            request.extend_from_slice(b" HTTP/1.0");
        }
        let token = self.server.token();
        // Writing to a vector cannot fail.
        let _ = write!(
            request,
            "\r\nHost: localhost\r\nConnection: close\r\n{TOKEN}: {token}\r\n{CLIENT}: {from}\r\n\r\n"
        );
        request
    }

    /// Hands a request over; gives it back where too many wait.
    pub(super) fn submit(&self, job: Job) -> Result<(), Job> {
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
        })
    }
}

fn next(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    // Only one thread waits for the queue at a time; the others wait for the lock.
    jobs.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}

fn relay(server: &PageServer, job: Job) -> io::Result<()> {
    let Job {
        client,
        permit,
        before,
        request,
    } = job;
    client.set_nonblocking(false)?;
    send(&client, &before)?;
    let answer = fetch(server, &request).unwrap_or_else(|_| {
        server.complain();
        let mut answer = Vec::new();
        reply::write_error(503, &mut answer);
        answer
    });
    let sent = send(&client, &answer);
    drop(client);
    drop(permit);
    sent
}

fn fetch(server: &PageServer, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut inner = server.connect()?;
    inner.set_read_timeout(Some(PATIENCE))?;
    inner.set_write_timeout(Some(PATIENCE))?;
    inner.write_all(request)?;
    let mut answer = Vec::new();
    inner.take(MAX_PAGE).read_to_end(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

/// Sends it all, within [`PATIENCE`] however the client dawdles.
fn send(mut client: &TcpStream, answer: &[u8]) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut rest = answer;
    while !rest.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        client.set_write_timeout(Some(left))?;
        match client.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
