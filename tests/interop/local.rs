//! Peers that find each other on a link without a tracker (BEP 14): ours and libtorrent's, over IPv4 and where there is no IPv4.

use std::path::Path;
use std::process::Command;

use crate::support::foreign::{Client, libtorrent_with};
use crate::support::hosts::{Host, Network};
use crate::support::ours::{LIMIT, Torrent, program};
use crate::support::process::Process;
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};
use crate::{network, network_v6};

const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

/// Two hosts on a link, and a torrent that no tracker knows.
struct Scene {
    network: Network,
    dir: TempDir,
    torrent: Torrent,
}

impl Scene {
    fn new(v6: bool, client: Option<Client>, create: &[&str]) -> Option<Self> {
        let missing = client.map(Client::missing);
        let network = if v6 {
            network_v6(2, missing)
        } else {
            network(2, missing)
        };
        let network = network?;
        let dir = TempDir::new("local");
        let file = dir.join("from/payload.bin");
        payload::file(&file, (3 << 20) + 7, 5);
        let torrent = Torrent::create(&file, NO_TRACKER, create);
        Some(Self {
            network,
            dir,
            torrent,
        })
    }

    fn ours(&self, host: &Host, verb: &str, options: &[&str], folder: &Path) -> Process {
        let mut command: Command = host.command(program("peer"));
        command.args([verb, "--json", "-p", "0", "--lsd"]);
        command.args(options).arg(folder).arg(&self.torrent.file);
        Process::start(&format!("hivebt-peer {verb}"), command)
    }

    fn we_seed(&self) -> Process {
        let seeder = self.ours(self.network.host(0), "seed", &["-d"], &self.torrent.parent);
        seeder.wait_line("\"complete\"", LIMIT);
        seeder
    }

    fn we_fetch(&self, options: &[&str]) -> i32 {
        let to = self.dir.folder("to");
        let options = [options, &["-o"]].concat();
        let mut leecher = self.ours(self.network.host(1), "get", &options, &to);
        let ended = leecher.wait(LIMIT);
        if ended.code == 0 {
            tree::assert_same(&self.torrent.payload(), &to.join(&self.torrent.name));
        }
        ended.code
    }

    fn libtorrent(&self, verb: &str, n: usize, folder: &Path) -> Process {
        libtorrent_with(
            verb,
            self.network.host(n),
            &self.torrent.file,
            folder,
            "lsd",
        )
    }
}

fn ours_and_ours(v6: bool) {
    let Some(scene) = Scene::new(v6, None, &[]) else {
        return;
    };
    let _seeder = scene.we_seed();
    assert_eq!(scene.we_fetch(&[]), 0);
}

fn from_libtorrent(v6: bool) {
    let Some(scene) = Scene::new(v6, Some(Client::Libtorrent), &[]) else {
        return;
    };
    let seeder = scene.libtorrent("seed", 0, &scene.torrent.parent);
    seeder.wait_line("seeding", LIMIT);
    assert_eq!(scene.we_fetch(&[]), 0);
}

fn to_libtorrent(v6: bool) {
    let Some(scene) = Scene::new(v6, Some(Client::Libtorrent), &[]) else {
        return;
    };
    let _seeder = scene.we_seed();
    let to = scene.dir.folder("to");
    let leecher = scene.libtorrent("get", 1, &to);
    Client::Libtorrent.finish(leecher, LIMIT);
    tree::assert_same(&scene.torrent.payload(), &to.join(&scene.torrent.name));
}

#[test]
#[ignore = "needs root; `make interop` runs it"]
fn two_of_ours_find_each_other_on_a_link() {
    ours_and_ours(false);
}

#[test]
#[ignore = "needs root; `make interop` runs it"]
fn two_of_ours_find_each_other_where_there_is_no_ipv4() {
    ours_and_ours(true);
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn we_find_libtorrent_on_a_link() {
    from_libtorrent(false);
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn we_find_libtorrent_where_there_is_no_ipv4() {
    from_libtorrent(true);
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn libtorrent_finds_us_on_a_link() {
    to_libtorrent(false);
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn libtorrent_finds_us_where_there_is_no_ipv4() {
    to_libtorrent(true);
}

#[test]
#[ignore = "needs root; `make interop` runs it"]
fn a_private_torrent_is_not_told_to_the_link() {
    let Some(scene) = Scene::new(false, None, &["--private"]) else {
        return;
    };
    let _seeder = scene.we_seed();
    assert_eq!(scene.we_fetch(&["--timeout", "6s"]), 5);
}
