//! Pages: what is asked for seldom and may take its time. The only file that names `tiny_http`.
//!
//! `tiny_http` has no timeouts, starts a thread for every connection and gives up at the first error, so strangers never reach it: it listens on a local socket without a name in any
//! folder, takes only what carries a token that this process made up, and gets its requests from the [gate](super::gate), which passes on a few at a time.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, Shutdown};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tiny_http::{Header, Request, Response, Server};

/// The header that carries the token.
pub(super) const TOKEN: &str = "X-Hivebt-Token";

/// The header that carries the address of the client.
pub(super) const CLIENT: &str = "X-Hivebt-Client";

/// What a browser may load for a page, and from where: what belongs to it, from here. Nothing in it can be a script, a frame or a form.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What is to be done with what is at a path (RFC 9110).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`: to be shown.
    Get,
    /// `HEAD`: only the head of what `GET` would bring.
    Head,
    /// `POST`: to take what the body holds.
    Post,
    /// `DELETE`: to go.
    Delete,
}

impl Method {
    /// As it stands in a request.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    /// Whether it only looks.
    #[must_use]
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }

    /// The method of that name, if it is one of these.
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        let all = [Self::Get, Self::Head, Self::Post, Self::Delete];
        all.into_iter()
            .find(|method| method.name().as_bytes() == name)
    }
}

/// What somebody wants to see, or to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// What is to be done.
    pub method: Method,
    /// The path, as it stood in the request.
    pub path: String,
    /// What followed the `?`.
    pub query: String,
    /// The value of `Accept`; empty without one.
    pub accept: String,
    /// Who asks.
    pub from: Option<IpAddr>,
    /// The whole body; empty without one.
    pub body: Vec<u8>,
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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    token: String,
    /// Where it listens, while it does.
    entrance: Mutex<Option<Entrance>>,
    /// Somebody got no answer.
    broken: AtomicBool,
    stopping: AtomicBool,
}

/// How often the server is asked whether it got anything, and so how long it may stay broken.
const GLANCE: Duration = Duration::from_millis(500);

/// How long to wait where the system has nothing to give, before trying again.
const PAUSE: Duration = Duration::from_millis(100);

impl PageServer {
    /// Starts to serve `pages`, on a thread of its own.
    ///
    /// # Errors
    /// If the system has no socket or thread to give.
    pub fn start(pages: Box<Pages>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            token: token(),
            entrance: Mutex::default(),
            broken: AtomicBool::default(),
            stopping: AtomicBool::default(),
        });
        let mut server = Some(shared.open()?);
        let serving = Arc::clone(&shared);
        let serve = move || {
            while !serving.stopping.load(Ordering::SeqCst) {
                match server.take().map_or_else(|| serving.open(), Ok) {
                    Ok(server) => serving.serve(&server, &*pages),
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        };
        thread::Builder::new().name("pages".into()).spawn(serve)?;
        Ok(Self { shared })
    }

    /// A connection to it.
    ///
    /// # Errors
    /// As the system says, or if it is just starting again.
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        match &*self.shared.entrance() {
            Some(entrance) => UnixStream::connect_addr(&entrance.address),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// What requests have to carry.
    pub(super) fn token(&self) -> &str {
        &self.shared.token
    }

    /// Tells that a request got no answer, so that the server is started again.
    pub(super) fn complain(&self) {
        self.shared.broken.store(true, Ordering::SeqCst);
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.close();
    }
}

impl Shared {
    fn entrance(&self) -> MutexGuard<'_, Option<Entrance>> {
        self.entrance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server at a new place. Its destructor cannot cope with a socket that has no name in a folder, so it is never called.
    fn open(&self) -> io::Result<ManuallyDrop<Server>> {
        let address = SocketAddr::from_abstract_name(format!("hivebt-{}", token()))?;
        let listener = UnixListener::bind_addr(&address)?;
        let handle = UnixStream::from(OwnedFd::from(listener.try_clone()?));
        let server = Server::from_listener(listener, None).map_err(io::Error::other)?;
        *self.entrance() = Some(Entrance { address, handle });
        Ok(ManuallyDrop::new(server))
    }

    fn close(&self) {
        *self.entrance() = None;
    }

    /// Serves until the end, or until the server fails: its thread that accepts ends for good at the first error, with a word or without one, even if there
    /// is just no free descriptor.
    fn serve(&self, server: &Server, pages: &Pages) {
        while !self.stopping.load(Ordering::SeqCst) {
            match server.recv_timeout(GLANCE) {
                Ok(Some(request)) => answer(request, &self.token, pages),
                Ok(None) if !self.broken.swap(false, Ordering::SeqCst) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.close();
    }
}

/// Where a server listens; it ends when this is dropped.
#[derive(Debug)]
struct Entrance {
    address: SocketAddr,
    /// The listening socket, as what has a method to shut it down.
    handle: UnixStream,
}

impl Drop for Entrance {
    fn drop(&mut self) {
        // Whoever waits for connections gets an error.
        let _ = self.handle.shutdown(Shutdown::Both);
    }
}

/// 32 hexadecimal digits that nobody can foresee: the standard library seeds its hashers from the system's random numbers.
fn token() -> String {
    let half = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", half(), half())
}

fn answer(mut request: Request, token: &str, pages: &Pages) {
    let page = if header(&request, TOKEN) == Some(token) {
        let wanted = wanted(&mut request);
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
        ("Content-Security-Policy", POLICY),
        ("Referrer-Policy", "no-referrer"),
    ] {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    // Whoever asked may have gone.
    let _ = request.respond(response);
}

/// The gate has bounded all of it, and sends whole bodies only.
fn wanted(request: &mut Request) -> PageRequest {
    let mut body = Vec::with_capacity(request.body_length().unwrap_or(0));
    let whole = request.as_reader().read_to_end(&mut body);
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    PageRequest {
        method: Method::from_name(request.method().as_str().as_bytes()).unwrap_or(Method::Get),
        path: path.to_owned(),
        query: query.to_owned(),
        accept: header(request, "Accept").unwrap_or_default().to_owned(),
        from: header(request, CLIENT).and_then(|ip| ip.parse().ok()),
        body: whole.map(|_| body).unwrap_or_default(),
    }
}

fn header<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    let found = request
        .headers()
        .iter()
        .find(|header| header.field.equiv(name));
    found.map(|header| header.value.as_str())
}
