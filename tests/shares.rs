//! Limits as connections meet them: who gets how much, and what happens when they change.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hivebt::app::peer::doors::Transport;
use hivebt::app::peer::payload::{Payload, Purpose};
use hivebt::app::peer::session::{Session, SessionOptions};
use hivebt::app::peer::torrent::{Holdings, Torrent};
use hivebt::base::bitfield::Bitfield;
use hivebt::core::shares::Priority;
use hivebt::core::swarm::event::{Config, Source};
use hivebt::net::tcp::Bind;
use hivebt::proto::metainfo::Metainfo;
use hivebt::proto::peer::mse::Encryption;
use support::ours::{self, LIMIT};
use support::payload;
use support::say::say;
use support::tempdir::TempDir;

const MIB: u64 = 1 << 20;

fn session() -> Arc<Session> {
    Session::start(&SessionOptions {
        bind: Bind::parse("127.0.0.1"),
        ports: 0..=0,
        max_upload: 0,
        max_download: 0,
        cache: 24 << 20,
        encryption: Encryption::default(),
        transport: Transport::default(),
        dht: None,
    })
    .unwrap()
}

/// A torrent of so many bytes; the files lie in `folder`.
fn torrent(folder: &Path, bytes: u64, seed: u64) -> Arc<Metainfo> {
    let file = folder.join(format!("payload {seed}"));
    payload::file(&file, bytes, seed);
    let made = ours::Torrent::create(&file, "http://127.0.0.1:1/announce", &["-l", "64K"]);
    let bytes = std::fs::read(made.file).unwrap();
    Arc::new(Metainfo::from_bytes(&bytes).unwrap())
}

/// Joins `session`, with everything or with nothing.
fn join(
    session: &Arc<Session>,
    metainfo: &Arc<Metainfo>,
    purpose: &Purpose,
    priority: Priority,
) -> (Arc<Torrent>, Payload) {
    let pieces = metainfo.geometry.pieces();
    let have = match purpose {
        Purpose::Seed(_) => Bitfield::all(pieces),
        Purpose::Download(_) => Bitfield::none(pieces),
    };
    let (payload, _) = Payload::open(metainfo.clone(), purpose, None).unwrap();
    let holdings = Holdings {
        have,
        wanted: None,
        withheld: Bitfield::none(pieces),
        withheld_here: Bitfield::none(pieces),
    };
    let torrent = session.add(
        metainfo.clone(),
        payload.storage.clone(),
        holdings,
        Config::default(),
        |_| {},
    );
    torrent.set_priority(priority);
    (torrent, payload)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn downloaded(torrents: &[(Arc<Torrent>, Payload)]) -> u64 {
    torrents.iter().map(|(t, _)| t.stats().downloaded).sum()
}

/// A seeder with a low and a high torrent, a leecher for both, and a limit of `rate` on the one side or the other.
fn share(limit_upload: bool, rate: u64, leechers: usize) {
    let folder = TempDir::new("shares");
    let (seeder, files) = (session(), folder.folder("from"));
    let limit = |session: &Session| {
        let limits = session.limits();
        let limit = if limit_upload {
            &limits.upload
        } else {
            &limits.download
        };
        limit.clone()
    };
    let both = [Priority::Low, Priority::High].map(|priority| {
        let metainfo = torrent(&files, 64 * MIB, priority.weight());
        let purpose = Purpose::Seed(files.join(metainfo.shown_name()));
        let seed = join(&seeder, &metainfo, &purpose, priority);
        (metainfo, seed, priority)
    });
    let begun = Instant::now();
    let mut limits = vec![limit(&seeder)];
    let mut sessions = Vec::new();
    for n in 0..leechers {
        let leecher = session();
        let to = folder.folder(format!("to {n}"));
        if !limit_upload {
            limits.push(limit(&leecher));
        }
        let torrents = both.each_ref().map(|(metainfo, _, priority)| {
            join(
                &leecher,
                metainfo,
                &Purpose::Download(to.clone()),
                *priority,
            )
        });
        sessions.push((leecher, torrents));
    }
    if !limit_upload {
        limits.remove(0);
    }
    limits.iter().for_each(|limit| assert!(limit.set(rate)));
    for (_, torrents) in &sessions {
        for (torrent, _) in torrents {
            torrent.discovered(&[seeder.listening()], Source::Operator);
        }
    }
    let total = || -> u64 { sessions.iter().map(|(_, t)| downloaded(t)).sum() };
    let all = rate * limits.len() as u64;
    wait_until("two seconds' worth", || total() >= all * 2);
    let took = begun.elapsed().as_secs_f64();
    let by_priority = [0, 1].map(|n| -> u64 {
        sessions
            .iter()
            .map(|(_, t)| t[n].0.stats().downloaded)
            .sum()
    });
    say(format_args!(
        "{} MiB/s, {leechers} leechers: {:.2} s for two seconds' worth, low and high {by_priority:?}",
        rate / MIB,
        took
    ));
    assert!(took > 1.6, "{took} s");
    assert!(by_priority[1] > by_priority[0] * 4, "{by_priority:?}");

    // Lifted while it runs, for those who wait, too.
    limits.iter().for_each(|limit| assert!(limit.set(0)));
    wait_until("everything has come", || {
        total() >= leechers as u64 * 128 * MIB
    });
    for (session, torrents) in &sessions {
        torrents
            .iter()
            .for_each(|(torrent, _)| session.remove(torrent));
    }
    both.iter()
        .for_each(|(_, (torrent, _), _)| seeder.remove(torrent));
}

#[test]
fn an_upload_limit_holds_is_shared_by_priority_and_can_be_lifted() {
    share(true, 4 * MIB, 1);
}

#[test]
fn a_download_limit_holds_is_shared_by_priority_and_can_be_lifted() {
    share(false, 4 * MIB, 1);
}
