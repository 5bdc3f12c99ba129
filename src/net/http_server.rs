//! Pages: what is asked for seldom and may take its time. The only file that names `tiny_http`.
//!
//! `tiny_http` has no timeouts and starts a thread for every connection, so strangers never reach it: it listens on a local socket without a name in any
//! folder, takes only what carries a token that this process made up, and gets its requests from the [gate](super::gate), which passes on a few at a time.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, Shutdown};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tiny_http::{Header, Request, Response, Server};

/// The header that carries the token.
pub(super) const TOKEN: &str = "X-Hivebt-Token";

/// The header that carries the address of the client.
pub(super) const CLIENT: &str = "X-Hivebt-Client";

/// What somebody wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The path, as it stood in the request.
    pub path: String,
    /// What followed the `?`.
    pub query: String,
    /// Who asks.
    pub from: Option<IpAddr>,
}

/// What he gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status code.
    pub status: u16,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The whole of it.
    pub body: Vec<u8>,
}

/// Makes pages.
pub type Pages = dyn Fn(&PageRequest) -> Page + Send;

/// The server behind the gate.
#[derive(Debug)]
pub struct PageServer {
    address: SocketAddr,
    listener: UnixListener,
    token: String,
    stopping: Arc<AtomicBool>,
}

impl PageServer {
    /// Starts to serve `pages`, on a thread of its own.
    ///
    /// # Errors
    /// If the system has no socket or thread to give.
    pub fn start(pages: Box<Pages>) -> io::Result<Self> {
        let address = SocketAddr::from_abstract_name(format!("hivebt-{}", token()))?;
        let server = Self {
            listener: UnixListener::bind_addr(&address)?,
            address,
            token: token(),
            stopping: Arc::default(),
        };
        let (listener, token) = (server.listener.try_clone()?, server.token.clone());
        let stopping = Arc::clone(&server.stopping);
        let serve = move || {
            while !stopping.load(Ordering::Relaxed) {
                serve(&listener, &token, &*pages);
            }
        };
        thread::Builder::new().name("pages".into()).spawn(serve)?;
        Ok(server)
    }

    /// A connection to it.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&self.address)
    }

    /// What requests have to carry.
    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Ends the wait for connections with an error, which ends the server. Only streams have the method, but every socket has the call.
        if let Ok(listener) = self.listener.try_clone() {
            let _ = UnixStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both);
        }
    }
}

/// How long to wait where the system has nothing to give, before trying again.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until an error: `tiny_http` gives up for good at the first one, even if there is just no free descriptor.
fn serve(listener: &UnixListener, token: &str, pages: &Pages) {
    let server = listener
        .try_clone()
        .map(|listener| Server::from_listener(listener, None));
    let Ok(Ok(server)) = server else {
        thread::sleep(PAUSE);
        return;
    };
    // Its destructor cannot cope with a socket that has no name in a folder. What it would do has happened: there was an error.
    let server = ManuallyDrop::new(server);
    while let Ok(request) = server.recv() {
        answer(request, token, pages);
    }
    thread::sleep(PAUSE);
}

/// 32 hexadecimal digits that nobody can foresee: the standard library seeds its hashers from the system's random numbers.
fn token() -> String {
    let half = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", half(), half())
}

fn answer(request: Request, token: &str, pages: &Pages) {
    let page = if header(&request, TOKEN) == Some(token) {
        let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
        let wanted = PageRequest {
            path: path.to_owned(),
            query: query.to_owned(),
            from: header(&request, CLIENT).and_then(|ip| ip.parse().ok()),
        };
        // A fault in one page must not end the thread that makes the others.
        panic::catch_unwind(AssertUnwindSafe(|| pages(&wanted))).unwrap_or_else(|_| Page {
            status: 500,
            content_type: "text/plain; charset=utf-8",
            body: b"internal error\n".to_vec(),
        })
    } else {
        Page {
            status: 403,
            content_type: "text/plain; charset=utf-8",
            body: b"forbidden\n".to_vec(),
        }
    };
    let mut response = Response::from_data(page.body).with_status_code(page.status);
    for (name, value) in [
        ("Content-Type", page.content_type),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ] {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    // Whoever asked may have gone.
    let _ = request.respond(response);
}

fn header<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    let found = request
        .headers()
        .iter()
        .find(|header| header.field.equiv(name));
    found.map(|header| header.value.as_str())
}
