//! The programs that swarm, and how each is started.

use crate::support::foreign::Client;
use crate::support::hosts::Host;
use crate::support::ours::{Peer, Torrent};
use crate::support::process::Process;
use crate::support::tempdir::TempDir;

/// Who swarms.
#[derive(Clone, Copy)]
pub enum Program {
    Ours,
    Theirs(Client),
}

/// All that there are, ours first.
pub const PROGRAMS: [(&str, Program); 6] = [
    ("hivebt", Program::Ours),
    ("libtorrent", Program::Theirs(Client::Libtorrent)),
    ("libtorrent-super", Program::Theirs(Client::LibtorrentSuper)),
    ("aria2c", Program::Theirs(Client::Aria2)),
    ("rqbit", Program::Theirs(Client::Rqbit)),
    ("Transmission", Program::Theirs(Client::Transmission)),
];

impl Program {
    /// The host as the program is told about it.
    fn place(self, host: &Host) -> Host {
        let mut place = host.clone();
        // With an address it uses TCP alone, which on these links is faster than its uTP: 2.1 × bound in place of 2.6, with 8 workers.
        place.shared = matches!(
            self,
            Self::Theirs(Client::Libtorrent | Client::LibtorrentSuper)
        );
        place
    }

    /// Starts the origin, whose payload lies in the folder `data`.
    pub fn seed(self, host: &Host, torrent: &Torrent, data: &TempDir, options: &[&str]) -> Process {
        let host = &self.place(host);
        match self {
            Self::Ours => Peer::seed(host, &torrent.file, data.path(), options).process,
            Self::Theirs(client) => {
                client.seed(host, &torrent.file, data.path(), &data.join("home"))
            }
        }
    }

    /// Starts a worker that downloads into the folder `to` and then seeds.
    pub fn get(self, host: &Host, torrent: &Torrent, to: &TempDir, options: &[&str]) -> Process {
        let host = &self.place(host);
        match self {
            Self::Ours => {
                let options = [&["--seed"], options].concat();
                Peer::get(host, &torrent.file, to.path(), &options).process
            }
            Self::Theirs(client) => {
                client.get_and_stay(host, &torrent.file, to.path(), &to.join("home"))
            }
        }
    }

    /// Whether a worker says with this line that it has the payload.
    pub fn says_complete(self, line: &str) -> bool {
        match self {
            Self::Ours => line.starts_with("{\"event\":\"complete\""),
            Self::Theirs(client) => client.says_complete(line),
        }
    }
}
