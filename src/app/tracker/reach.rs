//! `/reach?port=N`: dials whoever asks, once, so that it learns whether others can reach it there.
//!
//! Only the asker's own address is dialled, which its connection has proven; nothing is sent, and the answer does not wait for the outcome:
//! who listens at that port sees the connection come, and nobody else learns anything.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::service::Service;
use crate::base::endpoint::is_dialable;
use crate::base::json::json;
use crate::net::http_server::{Page, PageRequest};
use crate::net::tcp::{self, Bind};

/// Dials under way at once. Each takes at most [`PATIENCE`], so strangers can make us open very few connections.
const MOST: usize = 8;

/// How long a dial may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who is dialled at the moment: a thing for each.
#[derive(Debug, Default)]
pub(super) struct Reach(Arc<()>);

impl Reach {
    /// Answers at once, and dials on a thread of its own.
    pub(super) fn page(&self, service: &Service, wanted: &PageRequest) -> Page {
        let port = wanted
            .query
            .split('&')
            .find_map(|p| p.strip_prefix("port="));
        let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else {
            return refused(400, "`port` must be a number from 1 to 65535");
        };
        let Some(asker) = wanted.from else {
            return refused(
                403,
                "who asks is hidden by a proxy that --trust-proxy does not name",
            );
        };
        let at = SocketAddr::new(told(service, asker), port);
        if !is_dialable(at) {
            return refused(400, "`port` must be a number from 1 to 65535");
        }
        if !self.dial(at) {
            return refused(503, "too many ask at once; try again");
        }
        let body = json!({"address": at.ip().to_string(), "port": port});
        answer(200, &body.to_string())
    }

    /// `false` if there are dials enough.
    fn dial(&self, at: SocketAddr) -> bool {
        let place = Arc::clone(&self.0);
        if Arc::strong_count(&place) > MOST + 1 {
            return false;
        }
        let dial = move || {
            // Whether it came to anything shows at the other end.
            let _ = tcp::dial(&Bind::default(), at, PATIENCE);
            drop(place);
        };
        let thread = thread::Builder::new().name("reach".into()).spawn(dial);
        thread.is_ok()
    }
}

/// Where others are told that the asker is.
fn told(service: &Service, asker: IpAddr) -> IpAddr {
    service.told(asker).to_canonical()
}

fn refused(status: u16, why: &str) -> Page {
    let body = json!({"error": why}).to_string();
    answer(status, &body)
}

fn answer(status: u16, body: &str) -> Page {
    Page {
        status,
        content_type: "application/json",
        body: format!("{body}\n").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tracker::{Config, Mapping};
    use crate::core::tracker::Access;
    use crate::net::http_server::Method;
    use std::net::TcpListener;

    fn ask(reach: &Reach, service: &Service, from: Option<IpAddr>, query: &str) -> Page {
        let wanted = PageRequest {
            method: Method::Get,
            path: "/reach".into(),
            query: query.into(),
            accept: String::new(),
            from,
            body: Vec::new(),
        };
        reach.page(service, &wanted)
    }

    fn service(map: Vec<Mapping>) -> Service {
        let config = Config {
            map,
            ..Config::default()
        };
        Service::new(&config, Access::default(), None)
    }

    #[test]
    fn the_asker_is_dialled_at_the_address_that_others_are_told() {
        let listener = TcpListener::bind("127.0.0.78:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let map = Mapping {
            block: "10.9.0.0/16".parse().unwrap(),
            host: "127.0.0.78".parse().unwrap(),
        };
        let (reach, service) = (Reach::default(), service(vec![map]));
        for from in ["127.0.0.78", "::ffff:127.0.0.78", "10.9.1.1"] {
            let from = from.parse().ok();
            let page = ask(&reach, &service, from, &format!("x=1&port={port}"));
            let body = String::from_utf8(page.body).unwrap();
            assert_eq!(page.status, 200, "{body}");
            assert!(body.contains("\"address\":\"127.0.0.78\""), "{body}");
            listener.accept().expect("it is dialled");
        }
    }

    #[test]
    fn nobody_is_dialled_who_is_not_known_and_no_port_that_is_none() {
        let (reach, service) = (Reach::default(), service(Vec::new()));
        let known = "127.0.0.1".parse().ok();
        assert_eq!(ask(&reach, &service, None, "port=6881").status, 403);
        for query in ["", "port=", "port=0", "port=65536", "port=a"] {
            assert_eq!(ask(&reach, &service, known, query).status, 400, "{query}");
        }
    }

    #[test]
    fn dials_under_way_are_few() {
        let (reach, service) = (Reach::default(), service(Vec::new()));
        let others: Vec<_> = (0..MOST).map(|_| Arc::clone(&reach.0)).collect();
        let from = "127.0.0.1".parse().ok();
        assert_eq!(ask(&reach, &service, from, "port=9").status, 503);
        drop(others);
        assert_eq!(ask(&reach, &service, from, "port=9").status, 200);
    }
}
