//! A torrent's web seeds, beside its peers.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::core::swarm::event::{Event, PeerKey};
use crate::core::swarm::{addr_of, number_of};

use super::Wishes;
use crate::app::peer::link::{Far, Link};
use crate::app::peer::torrent::Torrent;

impl Torrent {
    /// A web seed is going to be used. Returns which one it is, or nothing if the torrent has been stopped.
    pub fn add_web_seed(&self, wishes: Arc<Wishes>) -> Option<u16> {
        let mut state = self.lock();
        let number = u16::try_from(state.web_seeds.len()).ok();
        number
            .filter(|_| !state.stopped)
            .inspect(|_| state.web_seeds.push(wishes))
    }

    /// A web seed may be asked from now on. Returns its number among connections, or nothing if the torrent has been stopped.
    pub fn web_seed(&self, wishes: Arc<Wishes>, number: u16, in_order: bool) -> Option<PeerKey> {
        let peer = {
            let mut state = self.lock();
            if state.stopped {
                return None;
            }
            let (addr, far) = (addr_of(number), Far::WebSeed(wishes));
            state.link(Link { addr, far })
        };
        self.tell(Event::WebSeed {
            peer,
            number,
            in_order,
        });
        Some(peer)
    }

    /// Who an address of the swarm stands for, for the operator.
    #[must_use]
    pub fn who(&self, addr: SocketAddr) -> String {
        self.url_of(addr)
            .map_or_else(|| format!("peer {addr}"), |url| format!("web seed {url}"))
    }

    /// The URL of the web seed that an address of the swarm stands for, if it does.
    #[must_use]
    pub fn url_of(&self, addr: SocketAddr) -> Option<String> {
        let number = number_of(addr)?;
        let state = self.lock();
        let wishes = state.web_seeds.get(usize::from(number))?;
        Some(wishes.name.clone())
    }
}
