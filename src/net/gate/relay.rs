//! The way from the gate to the pages behind it, and back.
//!
//! A few threads take requests that are no hot path, one at a time, from a bounded queue, and read the page whole. They never wait for a client: the worker that
//! the connection came from sends the page. One address has at most [`PER_ADDRESS`] pages waited for, made or on their way, and all of them at most
//! [`MAX_LOAD`] bytes on their way.

use std::io::{self, Read, Write};
use std::mem;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use super::conn::Conn;
use super::head::Head;
use super::limits::{Limits, Permit};
use super::reply;
use crate::net::http_server::{CLIENT, PageServer, TOKEN};

/// Threads that relay.
const RELAYS: usize = 4;

/// Requests that may wait for one of them.
const QUEUE: usize = 32;

/// How long the page may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a page.
const MAX_PAGE: u64 = 64 << 20;

/// Bytes of pages that clients have not taken yet; one page may always go.
const MAX_LOAD: usize = 64 << 20;

/// Pages of one address, from the request to the last byte.
const PER_ADDRESS: u32 = 8;

/// A request with the connection to answer it on, which is closed afterwards.
pub(super) struct Job {
    pub(super) conn: Conn,
    /// The request as it goes to the server, with its body.
    pub(super) request: Vec<u8>,
    /// Where the answer goes.
    pub(super) back: Arc<Back>,
}

/// The right to have a page on its way; its weight counts until it is dropped.
#[derive(Debug)]
pub(super) struct Load {
    total: Arc<AtomicUsize>,
    bytes: usize,
    _permit: Permit,
}

impl Load {
    /// Notes the weight of the page; `false` if there is too much on its way already.
    fn weigh(&mut self, bytes: usize) -> bool {
        let before = self.total.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        before == 0 || before.saturating_add(bytes) <= MAX_LOAD
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Connections on their way back to the worker that they came from.
#[derive(Debug)]
pub(super) struct Back {
    bell: OwnedFd,
    conns: Mutex<Vec<Conn>>,
}

impl Back {
    pub(super) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self {
            bell: eventfd(0, flags)?,
            conns: Mutex::default(),
        })
    }

    /// Readable when there is something to take.
    pub(super) const fn bell(&self) -> &OwnedFd {
        &self.bell
    }

    pub(super) fn take(&self) -> Vec<Conn> {
        // Before the list is looked at: what is put there afterwards rings anew.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        mem::take(&mut *self.conns.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, conn: Conn) {
        let mut conns = self.conns.lock().unwrap_or_else(PoisonError::into_inner);
        conns.push(conn);
        drop(conns);
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

/// The queue to the relays. They end when the last clone of it is dropped.
#[derive(Clone)]
pub(super) struct Relays {
    queue: SyncSender<Job>,
    server: Arc<PageServer>,
    limits: Arc<Limits>,
    load: Arc<AtomicUsize>,
}

impl Relays {
    pub(super) fn start(server: PageServer) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let (server, jobs) = (Arc::new(server), Arc::new(Mutex::new(jobs)));
        for n in 0..RELAYS {
            let (server, jobs) = (Arc::clone(&server), Arc::clone(&jobs));
            let work = move || {
                while let Some(job) = next(&jobs) {
                    relay(&server, job);
                }
            };
            thread::Builder::new()
                .name(format!("relay {n}"))
                .spawn(work)?;
        }
        Ok(Self {
            queue,
            server,
            limits: Limits::new(PER_ADDRESS),
            load: Arc::default(),
        })
    }

    /// What the server is asked in place of `head`: only what was understood, so nothing can hide in it. HTTP/1.0, since then the answer ends with the connection.
    pub(super) fn request(&self, head: &Head<'_>, asker: Option<IpAddr>) -> Vec<u8> {
        let mut request = Vec::with_capacity(256);
        request.extend_from_slice(head.method.name().as_bytes());
        request.push(b' ');
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
            "\r\nHost: localhost\r\nConnection: close\r\n{TOKEN}: {token}\r\n"
        );
        if let Some(asker) = asker {
            let _ = write!(request, "{CLIENT}: {asker}\r\n");
        }
        if head.body > 0 {
            let _ = write!(request, "Content-Length: {}\r\n", head.body);
        }
        request.extend_from_slice(b"\r\n");
        request
    }

    /// Hands a request over; gives it back where too many wait, or too many of this address. Who is `exempt` may have as many as there is room for.
    pub(super) fn submit(&self, mut job: Job, exempt: bool) -> Result<(), Box<Job>> {
        let permit = if exempt {
            Some(Permit::exempt())
        } else {
            self.limits.acquire(job.conn.from.ip())
        };
        let Some(permit) = permit else {
            return Err(job.into());
        };
        job.conn.load = Some(Box::new(Load {
            total: Arc::clone(&self.load),
            bytes: 0,
            _permit: permit,
        }));
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => job.into(),
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

fn relay(server: &PageServer, job: Job) {
    let Job {
        mut conn,
        request,
        back,
    } = job;
    let answer = fetch(server, &request);
    if answer.is_err() {
        server.complain();
    }
    let load = conn.load.as_mut();
    match answer {
        Ok(page) if load.is_none_or(|load| load.weigh(page.len())) => conn.output.extend(page),
        _ => {
            conn.load = None;
            reply::write_error(503, &mut conn.output);
        }
    }
    back.put(conn);
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
