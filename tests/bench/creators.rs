//! Who makes torrents: ours, and whatever else is installed, each with two threads if it can be told so.

use std::path::Path;
use std::process::Command;

use crate::support::foreign::{missing_module, missing_program};
use crate::support::ours::program;

const ANNOUNCE: &str = "http://127.0.0.1:9/announce";

/// Threads for everybody, because mktorrent is measured with two.
pub const THREADS: &str = "2";

/// Arguments: the payload, the piece length in bytes, where the torrent goes. Its own walk is unsorted, so it is given the files.
const LIBTORRENT: &str = "
import sys, os, time, libtorrent
path, piece, out = sys.argv[1:4]
begun = time.monotonic()
files = [path] if os.path.isfile(path) else sorted(os.path.join(f, n) for f, _, names in os.walk(path) for n in names)
parent = os.path.dirname(path)
entries = [libtorrent.create_file_entry(os.path.relpath(f, parent), os.path.getsize(f)) for f in files]
made = libtorrent.create_torrent(entries, int(piece), libtorrent.create_torrent.v1_only)
libtorrent.set_piece_hashes(made, parent)
open(out, 'wb').write(libtorrent.bencode(made.generate()))
print('took', time.monotonic() - begun)";

/// The same arguments.
const TORF: &str = "
import sys, time, torf
path, piece, out = sys.argv[1:4]
begun = time.monotonic()
made = torf.Torrent(path=path, piece_size=int(piece), trackers=['http://127.0.0.1:9/announce'])
made.generate(threads=2)
made.write(out)
print('took', time.monotonic() - begun)";

/// Somebody who makes torrents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creator {
    /// With the fastest hashing that there is, or the one that is named (`HIVEBT_SHA1`).
    Ours(Option<&'static str>),
    Mktorrent,
    Libtorrent,
    Transmission,
    Torf,
    Imdl,
}

impl Creator {
    /// All of them, ours first.
    pub const ALL: [Self; 6] = [
        Self::Ours(None),
        Self::Mktorrent,
        Self::Libtorrent,
        Self::Transmission,
        Self::Torf,
        Self::Imdl,
    ];

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours(way) => way.unwrap_or("hivebt-create"),
            Self::Mktorrent => "mktorrent",
            Self::Libtorrent => "libtorrent",
            Self::Transmission => "transmission-create",
            Self::Torf => "torf",
            Self::Imdl => "imdl",
        }
    }

    /// Why it cannot be used here, if so.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Ours(_) => None,
            Self::Libtorrent | Self::Torf => missing_module(self.name()),
            Self::Mktorrent | Self::Transmission | Self::Imdl => missing_program(self.name()),
        }
    }

    /// The command that makes `out` of `payload`, with pieces of `piece` bytes.
    pub fn command(self, payload: &Path, piece: u64, out: &Path) -> Command {
        let mut command = match self {
            Self::Ours(way) => {
                let mut command = ours(way, piece);
                command.args(["-a", ANNOUNCE, "-o"]).arg(out);
                command
            }
            Self::Mktorrent => {
                let mut command = Command::new("mktorrent");
                let power = piece.ilog2().to_string();
                command.args(["-t", THREADS, "-l", &power, "-a", ANNOUNCE, "-o"]);
                command.arg(out);
                command
            }
            Self::Libtorrent => return python(LIBTORRENT, payload, piece, out),
            Self::Torf => return python(TORF, payload, piece, out),
            Self::Transmission => {
                let mut command = Command::new("transmission-create");
                let kib = (piece >> 10).to_string();
                command.args(["-s", &kib, "-t", ANNOUNCE, "-o"]).arg(out);
                command
            }
            Self::Imdl => {
                let mut command = Command::new("imdl");
                command.args(["torrent", "create", "--announce", ANNOUNCE]);
                command.args(["--piece-length", &format!("{}KiB", piece >> 10)]);
                command.arg("--output").arg(out).arg("--input");
                command
            }
        };
        command.arg(payload);
        command
    }
}

/// Ours, but for what it reads and where it writes.
pub fn ours(way: Option<&str>, piece: u64) -> Command {
    let mut command = Command::new(program("create"));
    let kib = format!("{}K", piece >> 10);
    command.args(["-q", "-t", THREADS, "-l", &kib]);
    command.env_remove("HIVEBT_SHA1");
    if let Some(way) = way {
        command.env("HIVEBT_SHA1", way);
    }
    command
}

fn python(script: &str, payload: &Path, piece: u64, out: &Path) -> Command {
    let mut command = Command::new("python3");
    command.args(["-W", "ignore", "-c", script]).arg(payload);
    command.arg(piece.to_string()).arg(out);
    command
}
