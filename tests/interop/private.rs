//! Other people's clients on our tracker with a key in the announce URL: they are served, and their accounts are right.

use hivebt::proto::tracker_state::TrackerState;

use crate::network;
use crate::support::foreign::Client;
use crate::support::ours::{LIMIT, Peer, Torrent, Tracker};
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};

#[test]
#[ignore = "needs aria2, libtorrent and root; `make interop` runs it"]
fn clients_with_a_key_are_served_and_counted() {
    let clients = [Client::Aria2, Client::Libtorrent];
    let Some(network) = network(4, clients.map(Client::missing)) else {
        return;
    };
    let dir = TempDir::new("private-interop");
    let folder = payload::odd_folder(&dir.join("from/lot"), 23);
    let names = ["ours", "aria2", "libtorrent"];
    let key = |name: &str| format!("the-key-of-{name}");
    let lines = names.map(|name| format!("{} {name}\n", key(name)));
    let (keys, state) = (dir.join("keys"), dir.join("state"));
    std::fs::write(&keys, lines.concat()).unwrap();
    let options = [
        "--keys",
        keys.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
    ];
    let mut tracker = Tracker::start(network.host(0), 0, &options);

    let torrents = names.map(|name| {
        let announce = format!("{}/{}", tracker.url(), key(name));
        let file = dir.join(format!("{name}.torrent"));
        Torrent::create(&folder, &announce, &["-o", file.to_str().unwrap()])
    });
    let [ours, theirs @ ..] = &torrents;
    let mut seeder = Peer::seed(network.host(1), &ours.file, &ours.parent, &[]);
    let leechers = [0, 1].map(|i| {
        let to = dir.folder(format!("to {i}"));
        let home = dir.join(format!("home {i}"));
        let host = network.host(i + 2);
        (
            clients[i],
            clients[i].get(host, &theirs[i].file, &to, &home),
            to,
        )
    });
    for (client, leecher, to) in leechers {
        client.finish(leecher, LIMIT);
        tree::assert_same(&ours.payload(), &to.join(&ours.name));
    }
    assert_eq!(seeder.process.stop(LIMIT).code, 0);
    let ended = tracker.process.stop(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("the-key-of"), "{}", ended.stderr);

    let state = TrackerState::parse(&std::fs::read(&state).unwrap()).unwrap();
    let users: Vec<_> = state.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(users, names);
    let sum = |of: fn(&hivebt::proto::tracker_state::UserRow) -> u64| {
        state.users.iter().map(of).sum::<u64>()
    };
    let (uploaded, downloaded) = (sum(|user| user.uploaded), sum(|user| user.downloaded));
    assert!(uploaded <= downloaded, "{:?}", state.users);
    assert!(state.users[0].uploaded >= ours.bytes, "{:?}", state.users);
    for user in &state.users[1..] {
        assert!(user.downloaded >= ours.bytes, "{:?}", state.users);
    }
}
