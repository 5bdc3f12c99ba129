//! Connections that are encrypted because one side, or the other, takes nothing else.

use std::path::Path;

use crate::network;
use crate::support::foreign::Client;
use crate::support::hosts::{Host, Network};
use crate::support::ours::{LIMIT, Peer, Torrent, Tracker};
use crate::support::payload;
use crate::support::process::Process;
use crate::support::say::say;
use crate::support::tempdir::TempDir;
use crate::support::tree;

/// A payload on a tracker, and five hosts: the tracker's, their seeder's, our leecher's, our seeder's, their leecher's. Several clients know one peer for each address.
struct Scene {
    network: Network,
    dir: TempDir,
    tracker: Tracker,
    torrent: Torrent,
}

impl Scene {
    fn new(client: Client) -> Option<Self> {
        let network = network(5, [client.missing()])?;
        let dir = TempDir::new("encryption");
        let tracker = Tracker::start(network.host(0), 8080, &[]);
        let file = dir.join("from/payload.bin");
        payload::file(&file, (8 << 20) + 77, 31);
        let torrent = Torrent::create(&file, &tracker.url(), &[]);
        Some(Self {
            network,
            dir,
            tracker,
            torrent,
        })
    }

    fn wait_for_seed(&self, seeder: &Process) {
        self.tracker
            .wait_for_seeds(&self.torrent.info_hash, 1, seeder);
    }

    fn host(&self, n: usize) -> &Host {
        self.network.host(n)
    }

    /// They seed as `start` says, and we fetch with `encryption`.
    fn we_fetch(&self, name: &str, encryption: &str, start: impl Fn(&Path) -> Process) {
        say(format_args!("we fetch, {encryption}, from {name}"));
        let mut seeder = start(&self.dir.folder(format!("home {name} {encryption}")));
        self.wait_for_seed(&seeder);
        let to = self.dir.folder(format!("to {name} {encryption}"));
        let options = ["--encryption", encryption];
        let mut leecher = Peer::get(self.host(2), &self.torrent.file, &to, &options);
        let ended = leecher.process.wait(LIMIT);
        let said = format!("{}\n{}", ended.stderr, seeder.tail());
        assert_eq!(ended.code, 0, "{said}");
        tree::assert_same(&self.torrent.payload(), &to.join(&self.torrent.name));
        seeder.stop(LIMIT);
    }

    /// We seed with `encryption`, and they fetch from us; they take no connection without an encrypted handshake.
    fn they_fetch(&self, client: Client, encryption: &str, rc4: bool) {
        say(format_args!(
            "{client:?} fetches from us, {encryption}, rc4 {rc4}"
        ));
        let torrent = &self.torrent;
        let options = ["--encryption", encryption, "-p", "6881"];
        let mut seeder = Peer::seed(self.host(3), &torrent.file, &torrent.parent, &options);
        self.wait_for_seed(&seeder.process);
        let to = self.dir.folder(format!("to them {encryption} {rc4}"));
        let home = self.dir.folder(format!("home of them {encryption} {rc4}"));
        let host = self.host(4);
        let leecher = client.start_encrypted("get", host, &torrent.file, &to, &home, rc4);
        client.finish(leecher, LIMIT);
        tree::assert_same(&torrent.payload(), &to.join(&torrent.name));
        assert_eq!(seeder.process.stop(LIMIT).code, 0);
    }
}

/// Both directions, with encryption required by them, by us and by both.
fn both_ways(client: Client) {
    let Some(scene) = Scene::new(client) else {
        return;
    };
    let (torrent, host) = (&scene.torrent, scene.host(1));
    let seed = |rc4: bool| {
        move |home: &Path| {
            client.start_encrypted("seed", host, &torrent.file, &torrent.parent, home, rc4)
        }
    };
    scene.we_fetch("them with rc4", "preferred", seed(true));
    scene.we_fetch("them with rc4", "required", seed(true));
    scene.we_fetch("them without", "preferred", seed(false));
    scene.we_fetch("them as they come", "required", |home| {
        client.seed(host, &torrent.file, &torrent.parent, home)
    });
    scene.they_fetch(client, "plain", true);
    scene.they_fetch(client, "plain", false);
    scene.they_fetch(client, "preferred", false);
    scene.they_fetch(client, "required", true);
}

#[test]
#[ignore = "needs aria2c and root; `make interop` runs it"]
fn with_aria2() {
    both_ways(Client::Aria2);
}

#[test]
#[ignore = "needs transmission-daemon and root; `make interop` runs it"]
fn with_transmission() {
    both_ways(Client::Transmission);
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn with_libtorrent() {
    both_ways(Client::Libtorrent);
}
