//! The gate: what stands between strangers and the service, on a public port.
//!
//! Each worker is a thread with an epoll of its own and sockets that never block. What is asked for often is answered right there, by the
//! [`Handler`]; everything else goes to the [pages](super::http_server) by a few relay threads. A connection that waits costs a few hundred bytes and no
//! thread. What strangers can do is bounded:
//!
//! * a head has at most 8 KiB and has to be complete within [`Config::head_time`] of its first byte;
//! * there are at most [`Config::connections`]; where one more comes, those go that have waited longest;
//! * there are at most [`Config::per_address`] from one address, but for those that the handler exempts;
//! * an answer that is not taken within [`Config::head_time`] is given up (a page: within [`Config::page_time`]), and until it is taken no more is read;
//! * a body is taken only where [`Config::max_body`] says so and the handler has let the request pass; it has [`Config::page_time`], and all bodies together
//!   take up at most twice [`Config::max_body`];
//! * one address has at most a few pages at a time, and all pages that are on their way take at most 64 MiB;
//! * without a free file descriptor those go that have waited longest, and the service goes on.

mod conn;
mod descriptors;
mod head;
mod limits;
mod relay;
mod reply;
mod slab;
mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use super::http_server::PageServer;
pub use descriptors::{descriptor_limit, descriptors};
pub use head::Head;
use limits::Limits;
use relay::Relays;
use worker::{Shared, Worker};

/// What the gate puts up with.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Threads that accept and answer.
    pub workers: usize,
    /// Connections at once, over all workers.
    pub connections: usize,
    /// Connections at once from one address (of IPv6: from one /64).
    pub per_address: u32,
    /// How long a request head may take from its first byte, or from the beginning of the connection.
    pub head_time: Duration,
    /// How long a client may take to receive a page, or to send a body.
    pub page_time: Duration,
    /// How long a connection may lie idle between two requests.
    pub idle_time: Duration,
    /// Bytes of the body of a request; 0 takes none, and no methods but `GET` and `HEAD`.
    pub max_body: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: thread::available_parallelism().map_or(1, |n| n.get().min(8)),
            connections: 10_000,
            per_address: 1_000,
            head_time: Duration::from_secs(10),
            page_time: Duration::from_secs(20),
            idle_time: Duration::from_secs(60),
            max_body: 0,
        }
    }
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The body that was filled in is the answer.
    Reply {
        /// The status code.
        status: u16,
        /// The value of `Content-Type`.
        content_type: &'static str,
    },
    /// It is none of the hot path: the pages answer it, once its body is here.
    Page {
        /// Who asks, as the pages are to be told.
        asker: Option<IpAddr>,
    },
}

/// Answers what is asked for often. Each worker has one of its own.
pub trait Handler: Send {
    /// Answers at once; blocks on nothing but short-held locks. `from` is the other end of the connection. `body` is empty and has only to be filled for [`Answer::Reply`].
    fn answer(&mut self, head: &Head<'_>, from: SocketAddr, body: &mut Vec<u8>) -> Answer;

    /// Whether there is no limit on connections from `from`, such as for a proxy.
    fn exempts(&self, from: IpAddr) -> bool;
}

/// A running gate. Stops when dropped.
#[derive(Debug)]
pub struct Gate {
    stop: Arc<OwnedFd>,
    workers: Vec<JoinHandle<()>>,
}

impl Gate {
    /// Starts to serve `listeners`, which [`listen_public`](super::tcp::listen_public) made. `handler` is called once for each worker.
    ///
    /// # Errors
    /// If the system has no thread or descriptor to give.
    pub fn start<H: Handler + 'static>(
        config: Config,
        listeners: Vec<TcpListener>,
        pages: PageServer,
        mut handler: impl FnMut() -> H,
    ) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let shared = Arc::new(Shared {
            config,
            listeners,
            limits: Limits::new(config.per_address),
            stop: Arc::clone(&stop),
            bodies: Arc::default(),
        });
        let relays = Relays::start(pages)?;
        let mut gate = Self {
            stop,
            workers: Vec::new(),
        };
        for n in 0..config.workers.max(1) {
            let worker = Worker::new(Arc::clone(&shared), relays.clone(), Box::new(handler()))?;
            let thread = thread::Builder::new().name(format!("gate {n}"));
            gate.workers.push(thread.spawn(move || worker.run())?);
        }
        Ok(gate)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Every worker watches it, and nobody reads it: so it stays readable for all of them.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

/// The head in `bytes`, for whoever tests what is made of heads.
#[must_use]
pub fn head_of(bytes: &[u8]) -> Option<Head<'_>> {
    match head::parse(bytes, 1) {
        head::Parsed::Whole(head, _) => Some(head),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
