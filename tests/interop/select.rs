//! We download some files of a torrent from one of theirs.

use crate::network;
use crate::support::foreign::Client;
use crate::support::ours::{LIMIT, Peer, Torrent, Tracker};
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};

fn we_select_from(client: Client) {
    let Some(network) = network(2, [client.missing()]) else {
        return;
    };
    let dir = TempDir::new("select");
    let tracker = Tracker::start(network.host(0), 8080, &[]);
    let folder = payload::odd_folder(&dir.join("from/folder"), 2);
    let torrent = Torrent::create(&folder, &tracker.url(), &["-l", "16K"]);
    let home = dir.folder("home");
    let seeder = client.seed(network.host(1), &torrent.file, &torrent.parent, &home);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder);
    let to = dir.folder("to");
    // Files whose pieces they share with others, an empty one, and those of a folder.
    let options = ["--select", "0[0-3] *", "--select", "sub/"];
    let mut leecher = Peer::get(network.host(0), &torrent.file, &to, &options);
    let ended = leecher.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    let arrived = tree::files(&to.join("folder"));
    let chosen = |path: &&std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let numbers = ["00 ", "01 ", "02 ", "03 "];
        path.starts_with("sub") || numbers.iter().any(|n| name.starts_with(n))
    };
    let all = tree::files(&folder);
    let expected: Vec<_> = all.iter().filter(chosen).collect();
    assert!(expected.len() > 4);
    assert_eq!(arrived.iter().collect::<Vec<_>>(), expected);
    for file in expected {
        tree::assert_same(&folder.join(file), &to.join("folder").join(file));
    }
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn we_download_some_files_from_libtorrent() {
    we_select_from(Client::Libtorrent);
}

#[test]
#[ignore = "needs aria2c and root; `make interop` runs it"]
fn we_download_some_files_from_aria2() {
    we_select_from(Client::Aria2);
}
