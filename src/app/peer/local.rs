//! Peers on the local network (BEP 14): a thread for each family, which announces our torrents and hears of those of others.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::app::failure::{Exit, Failure};
use crate::base::id::InfoHash;
use crate::core::lsd::Lsd;
use crate::core::swarm::event::Source;
use crate::net::multicast::Group;
use crate::net::tcp::Bind;
use crate::proto::lsd::{Announcement, GROUP_V4, GROUP_V6, MAX_LEN, PORT};

use super::clock::Clock;
use super::subject::Subject;
use super::threads;

/// How long to wait when a socket fails, as it does while the network is down.
const BREATHER: Duration = Duration::from_secs(1);

/// What is announced on the local network, until the process ends.
pub struct LocalDiscovery {
    subjects: Mutex<HashMap<InfoHash, Arc<dyn Subject>>>,
}

impl LocalDiscovery {
    /// Joins the groups of both families, where there are such. Peers listen at `port`.
    ///
    /// # Errors
    /// [`Exit::Network`] if neither can be joined.
    pub fn start(bind: &Bind, port: u16, clock: Clock) -> Result<Arc<Self>, Failure> {
        let local = Arc::new(Self {
            subjects: Mutex::default(),
        });
        let groups = [(GROUP_V4, PORT).into(), (GROUP_V6, PORT).into()];
        let (mut joined, mut outcome) = (false, Ok(()));
        for group in groups {
            match Group::open(bind, group) {
                Ok(member) => {
                    joined = true;
                    let member = Member {
                        local: local.clone(),
                        lsd: Lsd::new(port, format!("{:x}", fastrand::u64(..)), fastrand::u64(..)),
                        member,
                        group,
                        clock,
                    };
                    threads::spawn("lsd", move || member.run());
                }
                Err(error) => outcome = Err(error),
            }
        }
        match outcome {
            Err(cause) if !joined => {
                let what = format_args!("{GROUP_V4}:{PORT}");
                Err(Failure::new(Exit::Network, "join", what, cause))
            }
            _ => Ok(local),
        }
    }

    /// Announces a torrent from now on, which must not be private, and tells it of peers.
    pub fn join(&self, subject: Arc<dyn Subject>) {
        self.subjects().insert(subject.info_hash(), subject);
    }

    /// Does so no more.
    pub fn leave(&self, info_hash: InfoHash) {
        self.subjects().remove(&info_hash);
    }

    fn subjects(&self) -> MutexGuard<'_, HashMap<InfoHash, Arc<dyn Subject>>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread of one family.
struct Member {
    local: Arc<LocalDiscovery>,
    lsd: Lsd,
    member: Group,
    group: SocketAddr,
    clock: Clock,
}

impl Member {
    fn run(mut self) {
        self.member.join();
        // What is longer is seen to be.
        let mut buffer = vec![0; MAX_LEN + 1];
        loop {
            let torrents: Vec<_> = self.local.subjects().keys().copied().collect();
            let now = self.clock.now();
            self.lsd.set_torrents(now, &torrents);
            if let Some(said) = self.lsd.next(now) {
                self.member.send(&said.encode(self.group));
            }
            match self.member.receive(&mut buffer) {
                Ok(Some((len, from))) => self.hear(buffer.get(..len).unwrap_or_default(), from),
                Ok(None) => {}
                Err(_) => thread::sleep(BREATHER),
            }
        }
    }

    fn hear(&mut self, datagram: &[u8], from: SocketAddr) {
        let Some(said) = Announcement::decode(datagram) else {
            return;
        };
        let Some((addr, torrents)) = self.lsd.heard(self.clock.now(), from, &said) else {
            return;
        };
        for info_hash in torrents {
            let subject = self.local.subjects().get(&info_hash).cloned();
            if let Some(subject) = subject {
                subject.discovered(&[addr], Source::Gossip);
            }
        }
    }
}
