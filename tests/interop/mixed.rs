//! A swarm of everybody on our tracker: some of theirs and some of ours, one seeder, all at once.

use crate::network;
use crate::pairs::assert_arrived;
use crate::support::foreign::Client;
use crate::support::ours::{LIMIT, Peer, Torrent, Tracker};
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};

const OURS: usize = 4;

#[test]
#[ignore = "needs the other clients and root; `make interop` runs it"]
fn a_swarm_of_all_clients_completes_on_our_tracker() {
    let clients = Client::ALL.map(Client::missing);
    let Some(network) = network(12, clients) else {
        return;
    };
    let dir = TempDir::new("mixed");
    let tracker = Tracker::start(network.host(0), 8080, &[]);
    let folder = payload::mixed_folder(&dir.join("from/a mixed lot"), 48 << 20, 60, 7);
    let torrent = Torrent::create(&folder, &tracker.url(), &[]);
    let seeder = Peer::seed(network.host(1), &torrent.file, &torrent.parent, &[]);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);

    let theirs: Vec<_> = Client::ALL
        .into_iter()
        .enumerate()
        .map(|(i, client)| {
            let to = dir.folder(format!("theirs {i}"));
            let home = dir.folder(format!("home {i}"));
            let leecher = client.get(network.host(2 + i), &torrent.file, &to, &home);
            (client, leecher, to)
        })
        .collect();
    let ours: Vec<_> = (0..OURS)
        .map(|i| {
            let to = dir.folder(format!("ours {i}"));
            let host = network.host(2 + theirs.len() + i);
            // They go on seeding, as the workers of a cluster do.
            (Peer::get(host, &torrent.file, &to, &["--seed"]), to)
        })
        .collect();
    for (peer, to) in &ours {
        peer.wait_event("complete", LIMIT);
        tree::assert_same(&torrent.payload(), &to.join(&torrent.name));
    }
    for (client, leecher, to) in theirs {
        client.finish(leecher, LIMIT);
        assert_arrived(client, &torrent, &to);
    }
    for (mut peer, _) in ours {
        let ended = peer.process.stop(LIMIT);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn libtorrent_stays_with_a_seeder_that_shows_piece_by_piece() {
    const THEIRS: u8 = 3;
    let clients = [Client::Libtorrent.missing()];
    let Some(network) = network(2 + THEIRS, clients) else {
        return;
    };
    let dir = TempDir::new("stays");
    let tracker = Tracker::start(network.host(0), 8080, &[]);
    let file = dir.join("from/payload.bin");
    payload::file(&file, 48 << 20, 5);
    let torrent = Torrent::create(&file, &tracker.url(), &[]);
    let seeder = Peer::seed(network.host(1), &torrent.file, &torrent.parent, &[]);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    let theirs: Vec<_> = (0..THEIRS)
        .map(|i| {
            let to = dir.folder(format!("theirs {i}"));
            let home = dir.folder(format!("home {i}"));
            let host = network.host(2 + usize::from(i));
            let leecher = Client::Libtorrent.get(host, &torrent.file, &to, &home);
            (leecher, to)
        })
        .collect();
    let origin = format!("peer {}:", network.host(1).address);
    for (leecher, to) in theirs {
        Client::Libtorrent.wait_complete(&leecher, LIMIT);
        // Its word for one that has nothing for it and wants nothing of it.
        let left =
            |line: &str| line.contains(&origin) && line.contains("uninteresting upload-only peer");
        assert!(!leecher.has_said(left), "{}", leecher.tail());
        Client::Libtorrent.finish(leecher, LIMIT);
        assert_arrived(Client::Libtorrent, &torrent, &to);
    }
}
