//! HTTP requests to trackers and to whoever serves torrents. The only folder that names `ureq`.
//!
//! Nothing is sent to a host that the URL (or a redirect of its server) does not name: proxies that the environment suggests are not used.

pub mod ranges;
mod transport;
mod wary;

use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::time::Duration;

use ureq::config::{Config, IpFamily};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::Connector;
use ureq::{Agent, Body, Error};

use super::tcp::Bind;
use transport::Dial;

/// Redirects that are followed for one request, usually.
const MAX_REDIRECTS: u32 = 3;

/// What requests say they come from.
const USER_AGENT: &str = concat!("hivebt/", env!("CARGO_PKG_VERSION"));

/// Bytes of the head of a response.
const MAX_HEAD: usize = 16 << 10;

/// How requests are made.
#[derive(Clone, Debug)]
pub struct Options {
    /// From the call to the last byte of the body, redirects included.
    pub timeout: Duration,
    /// Bytes of a body; a longer one is an error.
    pub limit: u64,
    /// Where to connect from; with an address, hosts of the other family are out of reach.
    pub bind: Bind,
    /// Redirects that are followed for one request; with 0, the first one is what comes back.
    pub redirects: u32,
}

impl Default for Options {
    /// For a tracker: ten seconds, 4 MiB, three redirects.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            limit: 4 << 20,
            bind: Bind::default(),
            redirects: MAX_REDIRECTS,
        }
    }
}

/// What came back, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// What the server says of the time, as it says it.
    pub date: Option<String>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body of a success.
    ///
    /// # Errors
    /// [`HttpError::Status`] for any status outside 200 to 299.
    pub fn success(self) -> Result<Vec<u8>, HttpError> {
        if (200..300).contains(&self.status) {
            Ok(self.body)
        } else {
            Err(HttpError::Status(self.status))
        }
    }
}

/// Why there is no response, or none to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// Not an `http` or `https` URL that can be asked for; holds what is wrong.
    BadUrl(String),
    /// An `https` URL, and this program was built without TLS.
    NoTls,
    /// The host has no address (of the family that is bound).
    UnknownHost,
    /// Connecting, sending or receiving failed.
    Link(String),
    /// The time was up.
    TimedOut,
    /// The server redirects in circles, or to nowhere.
    Redirects,
    /// More than [`Options::limit`]; holds that limit.
    TooLarge(u64),
    /// A status that means failure.
    Status(u16),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadUrl(what) => write!(f, "not a usable URL: {what}"),
            Self::NoTls => f.write_str("https needs a build with the `tls` feature; this is none"),
            Self::UnknownHost => f.write_str("no address is known for the host"),
            Self::Link(what) => f.write_str(what),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Redirects => f.write_str("too many redirects"),
            Self::TooLarge(limit) => write!(f, "the answer is larger than {limit} bytes"),
            Self::Status(status) => write!(f, "the server answered with status {status}"),
        }
    }
}

impl std::error::Error for HttpError {}

/// Makes requests; may be shared by threads. Clones share connections and fate.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    limit: u64,
}

impl Client {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let config = Config::builder()
            .timeout_global(Some(options.timeout))
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(options.redirects)
            .max_response_header_size(MAX_HEAD)
            .input_buffer_size(MAX_HEAD)
            .output_buffer_size(MAX_HEAD)
            .max_idle_connections(2)
            .user_agent(USER_AGENT)
            .accept_encoding("")
            .ip_family(match options.bind.addr {
                None => IpFamily::Any,
                Some(IpAddr::V4(_)) => IpFamily::Ipv4Only,
                Some(IpAddr::V6(_)) => IpFamily::Ipv6Only,
            })
            .build();
        let connector = ().chain(Dial {
            bind: options.bind.clone(),
        });
        #[cfg(feature = "tls")]
        let connector = connector.chain(ureq::unversioned::transport::RustlsConnector::default());
        Self {
            agent: Agent::with_parts(config, connector, DefaultResolver::default()),
            limit: options.limit,
        }
    }

    /// Fetches `url`. Blocks for at most [`Options::timeout`].
    ///
    /// # Errors
    /// If no complete response came; a status that means failure is none, see [`Response::success`].
    pub fn get(&self, url: &str) -> Result<Response, HttpError> {
        self.get_with(url, None)
    }

    /// Fetches `url` with a token (RFC 6750), which no other host is told that the server may redirect to.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub fn get_with(&self, url: &str, token: Option<&str>) -> Result<Response, HttpError> {
        checked(url)?;
        let mut request = self.agent.get(url);
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        self.read(request.call().map_err(explain)?)
    }

    /// Sends `body` to `url` with these headers.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Response, HttpError> {
        checked(url)?;
        let mut request = self.agent.post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.read(request.send(body).map_err(explain)?)
    }

    fn read(&self, mut response: ureq::http::Response<Body>) -> Result<Response, HttpError> {
        let status = response.status().as_u16();
        let date = response.headers().get("date");
        let date = date.and_then(|date| Some(date.to_str().ok()?.to_owned()));
        let mut body = Vec::new();
        // One byte more than the limit tells that there is more.
        let reader = response.body_mut().as_reader();
        let read = reader
            .take(self.limit.saturating_add(1))
            .read_to_end(&mut body);
        read.map_err(|e| explain(e.into()))?;
        if body.len() as u64 > self.limit {
            return Err(HttpError::TooLarge(self.limit));
        }
        Ok(Response { status, date, body })
    }

    /// Breaks off requests under way in other threads, and fails all later ones: for stopping in time.
    pub fn abort(&self) {
        self.agent.clone().shutdown();
    }
}

/// Refuses what cannot be asked for here.
fn checked(url: &str) -> Result<(), HttpError> {
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    if lower.starts_with("https:") && !cfg!(feature = "tls") {
        return Err(HttpError::NoTls);
    }
    check(url, &lower)
}

/// What `ureq` would let pass: another scheme, and a port out of range, for which it takes the scheme's own.
fn check(url: &str, lower: &str) -> Result<(), HttpError> {
    let bad = |what: &str| Err(HttpError::BadUrl(what.to_owned()));
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| lower.starts_with(scheme));
    let Some(rest) = scheme.and_then(|scheme| url.get(scheme.len()..)) else {
        return bad("it begins with neither http:// nor https://");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let port = host
        .rsplit_once(':')
        .map(|(_, port)| port)
        .filter(|port| !port.ends_with(']'));
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |n| n == 0)) {
        return bad("the port is not a number from 1 to 65535");
    }
    Ok(())
}

fn explain(error: Error) -> HttpError {
    match error {
        Error::BadUri(what) => HttpError::BadUrl(what),
        Error::Http(e) => HttpError::BadUrl(e.to_string()),
        Error::TlsRequired => HttpError::NoTls,
        Error::HostNotFound => HttpError::UnknownHost,
        Error::Timeout(_) => HttpError::TimedOut,
        Error::TooManyRedirects | Error::RedirectFailed => HttpError::Redirects,
        Error::BodyExceedsLimit(limit) => HttpError::TooLarge(limit),
        // While a body is read, errors come wrapped.
        Error::Io(e) => match e.downcast::<Error>() {
            Ok(inner) => explain(inner),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => HttpError::TimedOut,
            Err(e) => HttpError::Link(e.to_string()),
        },
        other => HttpError::Link(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener};
    use std::sync::mpsc;
    use std::thread;

    /// Answers one connection after another, each with the next of `replies`; tells the requests and where they came from.
    fn server(replies: Vec<Vec<u8>>) -> (String, mpsc::Receiver<(SocketAddr, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (tell, told) = mpsc::channel();
        let url = base.clone();
        thread::spawn(move || {
            for reply in replies {
                let (mut stream, from) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.extend(byte);
                }
                tell.send((from, String::from_utf8(head).unwrap())).unwrap();
                let text = String::from_utf8_lossy(&reply).replace("BASE", &url);
                let reply = if text.contains(&url) {
                    text.into_bytes()
                } else {
                    reply
                };
                // The client may have gone, as it should where the answer is too large.
                let _ = stream.write_all(&reply);
            }
        });
        (base, told)
    }

    fn response(body: &[u8]) -> Vec<u8> {
        [
            format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
            body,
        ]
        .concat()
    }

    fn client(options: &Options) -> Client {
        Client::new(options)
    }

    #[test]
    fn a_body_comes_as_it_is_and_the_query_goes_as_it_is() {
        let (base, told) = server(vec![response(b"d\xff\0e")]);
        let url = format!("{base}/announce?a=%00%FF%2f&b=x~");
        let body = client(&Options::default()).get(&url).unwrap().success();
        assert_eq!(body, Ok(b"d\xff\0e".to_vec()));
        let (_, head) = told.recv().unwrap();
        assert!(
            head.starts_with("GET /announce?a=%00%FF%2f&b=x~ HTTP/1.1\r\n"),
            "{head}"
        );
        let lower = head.to_ascii_lowercase();
        assert!(lower.contains("user-agent: hivebt/"), "{head}");
        assert!(!lower.contains("accept-encoding"), "{head}");
    }

    #[test]
    fn a_failure_keeps_its_body_but_is_no_success() {
        let (base, _told) = server(vec![
            b"HTTP/1.1 404 no\r\nDate: today\r\nContent-Length: 2\r\n\r\nhm".to_vec(),
        ]);
        let response = client(&Options::default()).get(&base).unwrap();
        assert_eq!((response.status, &response.body[..]), (404, &b"hm"[..]));
        assert_eq!(response.date.as_deref(), Some("today"));
        assert_eq!(response.success(), Err(HttpError::Status(404)));
    }

    #[test]
    fn a_body_beyond_the_limit_is_refused_with_and_without_a_length() {
        let endless = [&b"HTTP/1.0 200 OK\r\n\r\n"[..], &[b'x'; 1000]].concat();
        let (base, _told) = server(vec![
            response(&[b'x'; 1000]),
            endless,
            response(&[b'x'; 999]),
        ]);
        let client = client(&Options {
            limit: 999,
            ..Options::default()
        });
        assert_eq!(client.get(&base), Err(HttpError::TooLarge(999)));
        assert_eq!(client.get(&base), Err(HttpError::TooLarge(999)));
        assert_eq!(client.get(&base).unwrap().body.len(), 999);
    }

    #[test]
    fn a_redirect_is_followed_but_not_in_circles() {
        let moved = b"HTTP/1.1 302 x\r\nLocation: BASE/there\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
        let (base, told) = server(vec![moved.clone(), response(b"here")]);
        assert_eq!(
            client(&Options::default()).get(&base).unwrap().body,
            b"here"
        );
        assert!(told.iter().nth(1).unwrap().1.starts_with("GET /there "));
        let (base, _told) = server(vec![moved; 9]);
        assert_eq!(
            client(&Options::default()).get(&base),
            Err(HttpError::Redirects)
        );
    }

    #[test]
    fn a_body_is_posted_and_a_redirect_not_followed_where_none_may_be() {
        let moved = b"HTTP/1.1 302 x\r\nLocation: BASE/there\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
        let (base, told) = server(vec![response(b"done"), moved]);
        let client = client(&Options {
            redirects: 0,
            ..Options::default()
        });
        let posted = client.post(&base, &[("SOAPAction", "\"x\"")], "hello");
        assert_eq!(posted.unwrap().body, b"done");
        let (_, head) = told.recv().unwrap();
        let lower = head.to_ascii_lowercase();
        assert!(lower.contains("soapaction: \"x\"\r\n") && lower.contains("content-length: 5"));
        assert_eq!(client.get(&base).unwrap().status, 302);
        assert_eq!(
            told.iter().count(),
            1,
            "nobody was asked for what it leads to"
        );
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = Options {
            timeout: Duration::from_millis(100),
            ..Options::default()
        };
        let url = format!("http://{}/", silent.local_addr().unwrap());
        assert_eq!(client(&options).get(&url), Err(HttpError::TimedOut));
    }

    #[test]
    fn a_server_that_is_not_there_is_a_fault_of_the_link() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let error = client(&Options::default()).get(&url).unwrap_err();
        assert!(matches!(error, HttpError::Link(_)), "{error:?}");
    }

    #[test]
    fn a_cut_body_is_a_fault_of_the_link() {
        let (base, _told) = server(vec![
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec(),
        ]);
        let error = client(&Options::default()).get(&base).unwrap_err();
        assert!(matches!(error, HttpError::Link(_)), "{error:?}");
    }

    #[test]
    fn a_bound_client_connects_from_its_address() {
        let (base, told) = server(vec![response(b"ok"), response(b"ok")]);
        let client = |bind: &str| {
            let bind = Bind::parse(bind);
            client(&Options {
                bind,
                ..Options::default()
            })
        };
        assert_eq!(client("127.0.0.9").get(&base).unwrap().body, b"ok");
        assert_eq!(told.recv().unwrap().0.ip().to_string(), "127.0.0.9");
        assert!(client("::1").get(&base).is_err());
    }

    #[test]
    fn requests_under_way_are_broken_off() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        for bind in [Bind::default(), Bind::parse("127.0.0.1")] {
            let client = client(&Options {
                bind,
                timeout: Duration::from_secs(600),
                ..Options::default()
            });
            let (asker, url) = (client.clone(), url.clone());
            let waiting = thread::spawn(move || asker.get(&url));
            // Once it is here it has been sent, and only then is there something to break off.
            let (mut stream, _) = silent.accept().unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            client.abort();
            assert!(waiting.join().unwrap().is_err());
        }
    }

    #[test]
    fn what_is_no_http_url_is_refused() {
        let client = client(&Options::default());
        for bad in [
            "",
            "udp://t:1",
            "ftp://t",
            "http//t",
            "é",
            "http://",
            "http://t:99999/",
            "http://t/ x",
        ] {
            let error = client.get(bad).unwrap_err();
            assert!(matches!(error, HttpError::BadUrl(_)), "{bad}: {error:?}");
        }
        #[cfg(not(feature = "tls"))]
        assert_eq!(client.get("HTTPS://t/"), Err(HttpError::NoTls));
    }
}
