//! What others see of a run, and how they steer it: HTTP, behind the gate.
//!
//! The gate bounds connections, heads and bodies, and gives up slow clients; the guard lets nobody pass whom the operator does not mean; routes
//! turn requests into questions to the run and its answers into JSON, metrics or the page.

mod guard;
mod json;
mod metrics;
mod page;
mod routes;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::app::failure::{Exit, Failure};
use crate::app::torrent_folder;
use crate::net::gate::{self, Gate};
use crate::net::http_server::PageServer;
use crate::net::tcp;

use super::run::Occurrence;
use guard::Guard;

/// Where `run` listens if nobody says otherwise: the port below those of peers.
pub const USUAL: &str = "127.0.0.1:6880";

/// Where to listen, and for whom.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where.
    pub addr: SocketAddr,
    /// What who asks has to know.
    pub token: Option<String>,
}

/// The server. Stops when dropped.
pub struct StatusServer {
    addr: SocketAddr,
    _gate: Gate,
}

impl StatusServer {
    /// Begins to listen; what is asked goes to `run`.
    ///
    /// # Errors
    /// [`Exit::Network`] if the address cannot be had.
    pub fn start(door: &Door, run: Sender<Occurrence>) -> Result<Self, Failure> {
        let open = || -> io::Result<Self> {
            let listener = tcp::listen_public(door.addr)?;
            let addr = listener.local_addr()?;
            let pages = PageServer::start(Box::new(move |wanted| routes::answer(wanted, &run)))?;
            let config = gate::Config {
                workers: 1,
                connections: 256,
                per_address: 64,
                page_time: Duration::from_secs(60),
                max_body: usize::try_from(torrent_folder::MOST).unwrap_or(usize::MAX),
                ..gate::Config::default()
            };
            let guard = || Guard::new(addr.ip(), door.token.clone());
            Ok(Self {
                addr,
                _gate: Gate::start(config, vec![listener], pages, guard)?,
            })
        };
        open().map_err(|cause| {
            let cause = format!("{cause}; `--status` chooses another address");
            Failure::new(Exit::Network, "serve the status at", door.addr, cause)
        })
    }

    /// Where it is found.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }
}
