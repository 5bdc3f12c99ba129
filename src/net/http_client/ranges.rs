//! Parts of files over HTTP, taken as they come: for web seeds.

use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ureq::config::{Config, IpFamily};
use ureq::http::{HeaderMap, header};
use ureq::unversioned::transport::Connector;
use ureq::{Agent, BodyReader};

use super::wary::{Shared, Wary};
use super::{HttpError, MAX_HEAD, USER_AGENT, checked, explain};
use crate::net::tcp::Bind;
use crate::proto::url;
use crate::proto::web_seed::{Head, Wanted};

use super::transport::Dial;

/// Redirects that are followed for one request.
const MAX_REDIRECTS: u32 = 5;

/// For a name's address, for a connection, and for sending a request, each.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes read from a connection at once.
const INPUT: usize = 128 << 10;

/// Makes requests for parts of files, one after another over the same connection as long as the server keeps it.
pub struct Ranges {
    agent: Agent,
    wary: Arc<Wary>,
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ranges").finish_non_exhaustive()
    }
}

impl Ranges {
    /// Opens nothing yet. `patience`: how long a server may take for a head, and how long it may send nothing. `trusted`: the operator has named
    /// the server himself, so that it may be asked anything.
    #[must_use]
    pub fn new(bind: &Bind, patience: Duration, trusted: bool) -> Self {
        let config = Config::builder()
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(CONNECT))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEAD)
            .input_buffer_size(INPUT)
            .output_buffer_size(MAX_HEAD)
            .max_idle_connections(2)
            .user_agent(USER_AGENT)
            .accept_encoding("identity")
            .ip_family(match bind.addr {
                None => IpFamily::Any,
                Some(IpAddr::V4(_)) => IpFamily::Ipv4Only,
                Some(IpAddr::V6(_)) => IpFamily::Ipv6Only,
            })
            .build();
        let connector = ().chain(Dial { bind: bind.clone() });
        #[cfg(feature = "tls")]
        let connector = connector.chain(ureq::unversioned::transport::RustlsConnector::default());
        let wary = Arc::new(Wary::new(trusted));
        Self {
            agent: Agent::with_parts(config, connector, Shared(wary.clone())),
            wary,
        }
    }

    /// Asks for the bytes of a file, or without `range` for all of it, and returns the head of the answer and what follows it. Redirects are
    /// followed, to `http` and `https`, never from `https` to `http` and never nearer to this host.
    ///
    /// # Errors
    /// If no head came. One that means failure is none.
    pub fn get(&self, url: &str, range: Option<&Wanted>) -> Result<(Head, Bytes), HttpError> {
        self.wary.begin();
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            checked(&url)?;
            let mut request = self.agent.get(&url);
            if let Some(range) = range {
                request = request.header(header::RANGE, range.header());
            }
            let response = request.call().map_err(explain)?;
            let head = head(response.status().as_u16(), response.headers());
            let location = text(response.headers(), header::LOCATION);
            match location.filter(|_| matches!(head.status, 301 | 302 | 303 | 307 | 308)) {
                Some(location) => url = led(&url, &location).ok_or(HttpError::Redirects)?,
                None => return Ok((head, Bytes(response.into_body().into_reader()))),
            }
        }
        Err(HttpError::Redirects)
    }

    /// Breaks off what is under way in another thread, and fails all that comes later.
    pub fn abort(&self) {
        self.agent.clone().shutdown();
    }
}

/// Where a redirect leads; what was asked for in secret is not asked for in public.
fn led(from: &str, location: &str) -> Option<String> {
    let to = url::join(from, location)?;
    let is_secret = |url: &str| {
        let scheme = url.get(..8);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
    };
    (is_secret(&to) || !is_secret(from)).then_some(to)
}

fn head(status: u16, headers: &HeaderMap) -> Head {
    let length = text(headers, header::CONTENT_LENGTH);
    Head {
        status,
        content_range: text(headers, header::CONTENT_RANGE),
        content_length: length.and_then(|text| text.parse().ok()),
        content_encoding: text(headers, header::CONTENT_ENCODING),
        retry_after: text(headers, header::RETRY_AFTER),
        date: text(headers, header::DATE),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// The bytes that follow a head. Read to their end, they leave the connection to the next request; else it is closed.
pub struct Bytes(BodyReader<'static>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bytes").finish_non_exhaustive()
    }
}

impl Bytes {
    /// Reads what has come, at least a byte; 0 at the end.
    ///
    /// # Errors
    /// If the link fails, the server is silent for too long, or ends before it has sent what its head says.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        self.0.read(buffer).map_err(|error| explain(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_does_not_make_public_what_was_secret() {
        for (from, location, wanted) in [
            ("http://a/x", "https://b/", Some("https://b/")),
            ("http://a/x", "http://b/", Some("http://b/")),
            ("https://a/x", "y", Some("https://a/y")),
            ("https://a/x", "HTTPS://b/", Some("HTTPS://b/")),
            ("https://a/x", "http://a/x", None),
            ("http://a/x", "", None),
        ] {
            assert_eq!(led(from, location).as_deref(), wanted, "{from} {location}");
        }
    }
}
