//! Magnet links between theirs and ours, in both directions: by way of a tracker, and by a peer that the link names.

use std::path::Path;
use std::process::Command;

use crate::network;
use crate::pairs::assert_arrived;
use crate::support::foreign::Client;
use crate::support::hosts::Network;
use crate::support::ours::{LIMIT, Peer, Torrent, Tracker, program};
use crate::support::process::run_ok;
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};

/// Whether a link names the tracker, or a peer and no tracker.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Tracker,
    Peer,
}

/// A network, a tracker on its first host, and a torrent whose metadata takes several parts.
struct Scene {
    network: Network,
    dir: TempDir,
    tracker: Tracker,
    torrent: Torrent,
}

impl Scene {
    fn new(client: Client) -> Option<Self> {
        let network = network(3, [client.missing()])?;
        let dir = TempDir::new("magnet");
        let tracker = Tracker::start(network.host(0), 8080, &[]);
        let file = dir.join("from/ein größeres Bild.img");
        payload::file(&file, (40 << 20) + 12_345, 1);
        let torrent = Torrent::create(&file, &tracker.url(), &["-l", "16K"]);
        Some(Self {
            network,
            dir,
            tracker,
            torrent,
        })
    }

    /// The link, in base32 if it names a peer.
    fn link(&self, way: Way, seeder: &str) -> String {
        if way == Way::Peer {
            return format!(
                "magnet:?xt=urn:btih:{}&x.pe={seeder}",
                base32(&self.torrent.info_hash)
            );
        }
        let mut command = Command::new(program("create"));
        command.arg("magnet").arg(&self.torrent.file);
        run_ok("hivebt-create magnet", command, LIMIT)
            .trim()
            .to_owned()
    }

    fn to(&self) -> std::path::PathBuf {
        self.dir.folder("to")
    }
}

/// 40 hex digits in base32 (RFC 4648).
fn base32(hex: &str) -> String {
    let bits: String = hex
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| format!("{digit:04b}"))
        .collect();
    let fives = (0..bits.len()).step_by(5).map(|i| &bits[i..i + 5]);
    let letters = fives.map(|five| usize::from_str_radix(five, 2).expect("bits"));
    letters
        .map(|n| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[n]))
        .collect()
}

/// `client` fetches what our link names from our seeder.
fn they_fetch(client: Client, way: Way) {
    let Some(scene) = Scene::new(client) else {
        return;
    };
    let (network, torrent) = (&scene.network, &scene.torrent);
    let seeder = Peer::seed(network.host(1), &torrent.file, &torrent.parent, &[]);
    scene
        .tracker
        .wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    let at = seeder.address(network.host(1));
    let link = scene.link(way, &at);
    let (to, home) = (scene.to(), scene.dir.folder("home"));
    let leecher = client.get(network.host(2), Path::new(&link), &to, &home);
    client.finish(leecher, LIMIT);
    assert_arrived(client, torrent, &to);
}

/// We fetch what a link names from `client`.
fn we_fetch(client: Client, way: Way) {
    let Some(scene) = Scene::new(client) else {
        return;
    };
    let (network, torrent) = (&scene.network, &scene.torrent);
    let home = scene.dir.folder("home");
    let seeder = client.seed(network.host(1), &torrent.file, &torrent.parent, &home);
    scene.tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder);
    let at = format!("{}:{}", network.host(1).address, client.port());
    let link = scene.link(way, &at);
    let to = scene.to();
    let mut leecher = Peer::get(network.host(2), Path::new(&link), &to, &[]);
    let ended = leecher.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    tree::assert_same(&torrent.payload(), &to.join(&torrent.name));
}

#[test]
#[ignore = "needs aria2c and root; `make interop` runs it"]
fn aria2_fetches_by_a_link_from_us() {
    they_fetch(Client::Aria2, Way::Tracker);
}

#[test]
#[ignore = "needs transmission-daemon and root; `make interop` runs it"]
fn transmission_fetches_by_a_link_from_us() {
    they_fetch(Client::Transmission, Way::Tracker);
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn libtorrent_fetches_by_a_link_from_us() {
    they_fetch(Client::Libtorrent, Way::Tracker);
    they_fetch(Client::Libtorrent, Way::Peer);
}

#[test]
#[ignore = "needs aria2c and root; `make interop` runs it"]
fn we_fetch_by_a_link_from_aria2() {
    we_fetch(Client::Aria2, Way::Tracker);
    we_fetch(Client::Aria2, Way::Peer);
}

#[test]
#[ignore = "needs transmission-daemon and root; `make interop` runs it"]
fn we_fetch_by_a_link_from_transmission() {
    we_fetch(Client::Transmission, Way::Tracker);
    we_fetch(Client::Transmission, Way::Peer);
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn we_fetch_by_a_link_from_libtorrent() {
    we_fetch(Client::Libtorrent, Way::Tracker);
    we_fetch(Client::Libtorrent, Way::Peer);
}
