//! What the operator sees (R83).

use crate::base::time::Time;

use super::Swarm;
use super::event::{PeerStats, Stats};

impl Swarm {
    /// Totals and rates.
    #[must_use]
    pub fn stats(&self, now: Time) -> Stats {
        Stats {
            uploaded: self.up.total,
            downloaded: self.down.total,
            wasted: self.wasted,
            upload_rate: self.up.meter.bytes_per_sec(now),
            download_rate: self.down.meter.bytes_per_sec(now),
            peers: self.connections(),
            seeds: self.peers.values().filter(|p| p.is_seed()).count() - self.web_seeds,
            web_seeds: self.web_seeds,
            finished: self.finished.len(),
            have: self.have.ones(),
            left: self.picker.left(),
        }
    }

    /// Every connection, in the order of their numbers.
    pub fn peers(&self, now: Time) -> impl Iterator<Item = PeerStats> + '_ {
        self.peers.iter().map(move |(&peer, p)| PeerStats {
            utp: p.utp,
            peer,
            addr: p.addr,
            id: p.id,
            client: p.client.clone(),
            have: p.have.ones(),
            uploaded: p.upload.traffic.total,
            downloaded: p.download.traffic.total,
            upload_rate: p.upload.traffic.meter.bytes_per_sec(now),
            download_rate: p.download.traffic.meter.bytes_per_sec(now),
            am_choking: p.am_choking,
            am_interested: p.am_interested,
            peer_choking: p.peer_choking,
            peer_interested: p.peer_interested,
        })
    }
}
