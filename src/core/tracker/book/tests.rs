//! What `book` promises.

use std::collections::BTreeMap;

use super::*;
use crate::core::tracker::accounts::{Account, Rule};
use crate::proto::keys::Limits;

const HASH: InfoHash = InfoHash([1; 20]);

const PATIENCE: Duration = Duration::from_secs(660);

/// Bytes a second that are believed.
const SPEED: u64 = 1000;

struct World {
    book: Book,
    accounts: Accounts,
    now: Time,
}

fn world() -> World {
    World {
        book: Book::new(10_000),
        accounts: Accounts::new(Rule {
            max_speed: SPEED,
            ..Rule::default()
        }),
        now: Time::from_secs(100_000),
    }
}

fn request(id: u8, uploaded: u64, downloaded: u64, event: Event) -> AnnounceRequest {
    AnnounceRequest {
        uploaded,
        downloaded,
        left: Some(1),
        event,
        ..AnnounceRequest::new(HASH, PeerId([id; 20]), 6881)
    }
}

impl World {
    fn visitor(&mut self, name: &str) -> Visitor {
        Visitor {
            user: self.accounts.user(name),
            limits: Limits::default(),
        }
    }

    fn say(&mut self, name: &str, request: &AnnounceRequest) -> Result<(), Refusal> {
        let visitor = self.visitor(name);
        self.book
            .note(self.now, visitor, request, &mut self.accounts)
    }

    /// Uploaded and downloaded.
    fn sums(&mut self, name: &str) -> (u64, u64) {
        let user = self.accounts.user(name);
        let account = self.accounts.get(user).unwrap();
        (account.uploaded, account.downloaded)
    }

    fn wait(&mut self, secs: u64) {
        self.now = self.now + Duration::from_secs(secs);
    }

    /// `from` sends `bytes` to `to`, who tells of it first; both have just begun.
    fn transfer(&mut self, from: &str, to: &str, bytes: u64) {
        self.say(from, &request(1, 0, 0, Event::Started)).unwrap();
        self.say(to, &request(2, 0, 0, Event::Started)).unwrap();
        self.wait(100);
        self.say(to, &request(2, 0, bytes, Event::None)).unwrap();
        self.say(from, &request(1, bytes, 0, Event::None)).unwrap();
    }
}

#[test]
fn what_one_sends_and_the_other_receives_counts_for_both() {
    let mut w = world();
    w.transfer("alice", "bob", 5000);
    assert_eq!((w.sums("alice"), w.sums("bob")), ((5000, 0), (0, 5000)));
}

#[test]
fn an_upload_that_is_told_first_waits_until_the_download_is_told() {
    let mut w = world();
    w.say("alice", &request(1, 0, 0, Event::Started)).unwrap();
    w.say("bob", &request(2, 0, 0, Event::Started)).unwrap();
    w.wait(100);
    w.say("alice", &request(1, 5000, 0, Event::Stopped))
        .unwrap();
    assert_eq!(w.sums("alice"), (0, 0));
    w.say("bob", &request(2, 0, 2000, Event::None)).unwrap();
    assert_eq!(w.sums("alice"), (2000, 0));
    w.wait(100);
    w.say("bob", &request(2, 0, 9000, Event::None)).unwrap();
    assert_eq!((w.sums("alice"), w.sums("bob")), ((5000, 0), (0, 9000)));
}

#[test]
fn repeated_old_and_reordered_announces_add_nothing() {
    let mut w = world();
    w.transfer("alice", "bob", 5000);
    for uploaded in [5000, 5000, 0, 100, 4999, 5000] {
        for event in [Event::None, Event::Started, Event::Completed] {
            w.wait(100);
            w.say("alice", &request(1, uploaded, 0, event)).unwrap();
            w.say("bob", &request(2, 0, uploaded, event)).unwrap();
        }
    }
    assert_eq!((w.sums("alice"), w.sums("bob")), ((5000, 0), (0, 5000)));
    w.wait(100);
    w.say("bob", &request(2, 0, 6000, Event::None)).unwrap();
    w.say("alice", &request(1, 6000, 0, Event::None)).unwrap();
    assert_eq!((w.sums("alice"), w.sums("bob")), ((6000, 0), (0, 6000)));
}

#[test]
fn who_begins_anew_counts_from_where_it_begins() {
    let mut w = world();
    w.transfer("alice", "bob", 5000);
    w.say("alice", &request(1, 5000, 0, Event::Stopped))
        .unwrap();
    w.say("alice", &request(1, 5000, 0, Event::Stopped))
        .unwrap();
    w.say("alice", &request(1, 300, 0, Event::Started)).unwrap();
    // Under another id, and without a word about the beginning: the tracker was not there to hear it.
    w.say("bob", &request(7, 0, 100_000, Event::None)).unwrap();
    w.wait(100);
    w.say("bob", &request(7, 0, 101_000, Event::None)).unwrap();
    w.say("alice", &request(1, 1300, 0, Event::None)).unwrap();
    assert_eq!((w.sums("alice"), w.sums("bob")), ((6000, 0), (0, 6000)));
}

#[test]
fn peers_and_torrents_of_a_user_are_counted_each_by_itself() {
    let mut w = world();
    let other = |request: AnnounceRequest| AnnounceRequest {
        info_hash: InfoHash([2; 20]),
        ..request
    };
    let (start, none) = (Event::Started, Event::None);
    for n in [1, 2] {
        w.say("alice", &request(n, 0, 0, start)).unwrap();
        w.say("alice", &other(request(n, 0, 0, start))).unwrap();
    }
    w.say("bob", &request(9, 0, 0, start)).unwrap();
    w.say("bob", &other(request(9, 0, 0, start))).unwrap();
    w.wait(100);
    w.say("bob", &request(9, 0, 500, none)).unwrap();
    w.say("bob", &other(request(9, 0, 70, none))).unwrap();
    for n in [1, 2] {
        w.say("alice", &request(n, 250, 0, none)).unwrap();
        w.say("alice", &other(request(n, 250, 0, none))).unwrap();
    }
    assert_eq!(
        w.sums("alice"),
        (570, 0),
        "70 of the other torrent, not 500"
    );
    let id = w.accounts.user("alice");
    let account = w.accounts.get(id).unwrap();
    assert_eq!((account.torrents, account.peers), (2, 4));
}

#[test]
fn jumps_count_only_as_far_as_the_time_allows() {
    let mut w = world();
    w.say("alice", &request(1, 0, 0, Event::Started)).unwrap();
    w.say("bob", &request(2, 0, 0, Event::Started)).unwrap();
    w.say("bob", &request(2, 0, u64::MAX, Event::None)).unwrap();
    assert_eq!(w.sums("bob"), (0, 0), "no time has passed");
    w.wait(10);
    w.say("alice", &request(1, u64::MAX, u64::MAX, Event::None))
        .unwrap();
    assert_eq!(w.sums("alice"), (0, 10 * SPEED));
    w.wait(10);
    w.say("alice", &request(1, 5, 5, Event::None)).unwrap();
    w.say("bob", &request(2, 5, 5, Event::None)).unwrap();
    assert_eq!((w.sums("alice"), w.sums("bob")), ((0, 10 * SPEED), (5, 0)));
    // Two announces may arrive at the same time although they were sent at different ones.
    w.say("bob", &request(2, 500, 0, Event::None)).unwrap();
    assert_eq!(w.sums("bob"), (500, 0));
    w.wait(100);
    w.say("bob", &request(2, 500, 0, Event::None)).unwrap();
    w.say("bob", &request(2, 500_000, 0, Event::None)).unwrap();
    assert_eq!(
        w.sums("bob"),
        (10 * SPEED, 0),
        "ten seconds' worth, but alice told of no more"
    );
}

#[test]
fn nobody_is_credited_for_what_only_it_told_itself() {
    let mut w = world();
    w.transfer("alice", "alice", 5000);
    assert_eq!(w.sums("alice"), (0, 5000));
    w.say("bob", &request(3, 0, 0, Event::Started)).unwrap();
    w.wait(100);
    w.say("bob", &request(3, 800, 300, Event::None)).unwrap();
    assert_eq!(w.sums("alice"), (300, 5000), "what bob told");
    assert_eq!(w.sums("bob"), (800, 300), "what alice told");
}

#[test]
fn silent_sessions_are_forgotten_and_give_their_places_back() {
    let mut w = world();
    w.transfer("alice", "bob", 5000);
    w.wait(600);
    w.say("bob", &request(2, 0, 5000, Event::None)).unwrap();
    w.wait(61);
    w.book.cleanup(w.now, PATIENCE, &mut w.accounts);
    assert_eq!(w.book.sessions(), 1);
    let alice = w.accounts.user("alice");
    assert_eq!(w.accounts.get(alice).unwrap().peers, 0);
    w.wait(1000);
    w.book.cleanup(w.now, PATIENCE, &mut w.accounts);
    assert_eq!((w.book.sessions(), w.book.pools.len()), (0, 0));
    assert!(
        w.accounts
            .rows()
            .iter()
            .all(|a| (a.peers, a.torrents) == (0, 0))
    );
}

#[test]
fn a_full_book_refuses_new_sessions_and_those_who_come_and_go_take_no_room() {
    let mut w = world();
    w.book = Book::new(3);
    for id in 0..3 {
        w.say("alice", &request(id, 0, 0, Event::Started)).unwrap();
    }
    let refusal = w.say("bob", &request(7, 0, 0, Event::Started)).unwrap_err();
    assert_eq!(refusal.retry, Retry::Minutes(5));
    assert!(w.say("alice", &request(0, 0, 0, Event::None)).is_ok());
    w.say("alice", &request(2, 0, 0, Event::Stopped)).unwrap();
    for n in 0..1000 {
        let name = n.to_string();
        w.say(&name, &request(7, 0, 0, Event::Started)).unwrap();
        w.wait(1);
        w.say(&name, &request(7, 900, 900, Event::Stopped)).unwrap();
    }
    let pool = &w.book.pools[&HASH];
    assert!(
        pool.members.len() <= 2 * 3 + ABSENT + 1,
        "{}",
        pool.members.len()
    );
    assert!(pool.queue.len() <= pool.members.len());
}

#[test]
fn a_user_who_is_short_is_refused_as_a_leecher_but_what_it_tells_counts() {
    let mut w = world();
    let rule = Rule {
        min_ratio: "1".parse().unwrap(),
        grace: 100,
        ..*w.accounts.rule()
    };
    w.accounts = Accounts::new(rule);
    let seed = |request| AnnounceRequest {
        left: Some(0),
        ..request
    };
    w.say("bob", &request(2, 0, 0, Event::Started)).unwrap();
    w.wait(10);
    assert!(w.say("bob", &request(2, 0, 101, Event::None)).is_err());
    assert!(w.say("bob", &request(2, 0, 200, Event::None)).is_err());
    assert_eq!(w.sums("bob"), (0, 200));
    assert!(w.say("bob", &request(3, 0, 0, Event::Started)).is_err());
    assert_eq!(w.book.sessions(), 1, "who is refused at once takes no room");
    w.say("bob", &seed(request(4, 0, 0, Event::Started)))
        .unwrap();
    w.say("eve", &request(5, 0, 0, Event::Started)).unwrap();
    w.wait(10);
    assert!(w.say("eve", &request(5, 0, 200, Event::None)).is_err());
    w.say("bob", &seed(request(4, 200, 0, Event::None)))
        .unwrap();
    assert_eq!(w.sums("bob"), (200, 200));
    assert!(w.say("bob", &request(3, 0, 0, Event::Started)).is_ok());
}

#[test]
fn another_run_goes_on_where_this_one_was() {
    let mut w = world();
    w.transfer("alice", "bob", 5000);
    w.wait(10);
    w.say("alice", &request(1, 6000, 0, Event::None)).unwrap();
    let rows = w.book.rows(w.now);
    let mut next = world();
    next.now = Time::from_secs(50_000);
    next.accounts.user("zoe");
    let known: Vec<_> = w.accounts.rows().to_vec();
    let users: Vec<_> = known
        .iter()
        .map(|a| next.accounts.restore(&a.user, a.uploaded, a.downloaded))
        .collect();
    let downtime = Duration::from_secs(3600);
    let World {
        book,
        accounts,
        now,
    } = &mut next;
    book.restore(*now, downtime, PATIENCE, rows, &users, accounts);
    next.book.cleanup(next.now, PATIENCE, &mut next.accounts);
    assert_eq!((next.book.sessions(), next.sums("alice")), (2, (5000, 0)));
    next.say("alice", &request(1, 6000, 0, Event::None))
        .unwrap();
    next.say("bob", &request(2, 0, 10_000, Event::None))
        .unwrap();
    assert_eq!(
        next.sums("alice"),
        (6000, 0),
        "what waited then is credited now"
    );
    assert_eq!(
        next.sums("bob"),
        (0, 10_000),
        "it had an hour to receive it"
    );
    next.wait(5000);
    next.book.cleanup(next.now, PATIENCE, &mut next.accounts);
    assert_eq!(next.book.sessions(), 0);
}

/// A peer that tells the truth.
#[derive(Clone, Debug)]
struct Honest {
    user: u8,
    id: u8,
    uploaded: u64,
    downloaded: u64,
    /// What it has said since it began.
    said: Vec<AnnounceRequest>,
}

/// Random transfers among honest users, announces at random times, some of them repeated by the network at any later time, restarts with and without a
/// farewell: nobody is ever credited with more than it moved.
#[test]
fn whatever_the_network_does_nobody_is_credited_with_more_than_it_moved() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut w = world();
        let mut truth: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
        let mut fresh = 0;
        let mut peers: Vec<Honest> = Vec::new();
        for _ in 0..600 {
            w.now = w.now + Duration::from_millis(rng.u64(0..3000));
            match rng.u8(..10) {
                0 if peers.len() < 12 => {
                    fresh += 1;
                    let mut peer = Honest {
                        user: rng.u8(..5),
                        id: fresh,
                        uploaded: 0,
                        downloaded: 0,
                        said: vec![],
                    };
                    announce(&mut w, &mut peer, Event::Started);
                    peers.push(peer);
                }
                1 if !peers.is_empty() => {
                    let mut gone = peers.swap_remove(rng.usize(..peers.len()));
                    if rng.bool() {
                        announce(&mut w, &mut gone, Event::Stopped);
                    }
                    if rng.bool() {
                        // The same id again, with counters that begin anew.
                        (gone.uploaded, gone.downloaded) = (0, 0);
                        gone.said.clear();
                        announce(&mut w, &mut gone, Event::Started);
                        peers.push(gone);
                    }
                }
                2 | 3 if !peers.is_empty() => {
                    let peer = &peers[rng.usize(..peers.len())];
                    let old = peer.said[rng.usize(..peer.said.len())].clone();
                    w.say(&peer.user.to_string(), &old).unwrap();
                }
                4..=6 if !peers.is_empty() => {
                    let at = rng.usize(..peers.len());
                    announce(&mut w, &mut peers[at], Event::None);
                }
                _ if peers.len() > 1 => {
                    let (from, to) = (rng.usize(..peers.len()), rng.usize(..peers.len()));
                    let bytes = rng.u64(..3000);
                    peers[from].uploaded += bytes;
                    truth.entry(peers[from].user).or_default().0 += bytes;
                    peers[to].downloaded += bytes;
                    truth.entry(peers[to].user).or_default().1 += bytes;
                }
                _ => {}
            }
            if rng.u8(..50) == 0 {
                w.book.cleanup(w.now, PATIENCE, &mut w.accounts);
            }
            for account in w.accounts.rows() {
                let user = account.user.parse().unwrap();
                let (uploaded, downloaded) = truth.get(&user).copied().unwrap_or_default();
                assert!(
                    account.uploaded <= uploaded && account.downloaded <= downloaded,
                    "{account:?} {truth:?} seed {seed}"
                );
            }
            assert_sound(&w);
        }
        let moved: u64 = w.accounts.rows().iter().map(|a| a.uploaded).sum();
        assert!(moved > 0, "seed {seed} tests nothing");
    }
}

fn announce(w: &mut World, peer: &mut Honest, event: Event) {
    let request = request(peer.id, peer.uploaded, peer.downloaded, event);
    w.say(&peer.user.to_string(), &request).unwrap();
    peer.said.push(request);
}

/// Without losses on the way, everything that was moved is credited in the end.
#[test]
fn honest_users_get_all_that_they_moved() {
    let mut w = world();
    let mut rng = fastrand::Rng::with_seed(3);
    let mut peers: Vec<_> = (0..6)
        .map(|n| Honest {
            user: n,
            id: n,
            uploaded: 0,
            downloaded: 0,
            said: vec![],
        })
        .collect();
    peers
        .iter_mut()
        .for_each(|peer| announce(&mut w, peer, Event::Started));
    for _ in 0..2000 {
        let from = rng.usize(..peers.len());
        let to = (from + rng.usize(1..peers.len())) % peers.len();
        let bytes = rng.u64(..300);
        peers[from].uploaded += bytes;
        peers[to].downloaded += bytes;
        w.now = w.now + Duration::from_millis(700);
        let at = rng.usize(..peers.len());
        announce(&mut w, &mut peers[at], Event::None);
    }
    w.wait(100);
    for _ in 0..2 {
        peers
            .iter_mut()
            .for_each(|peer| announce(&mut w, peer, Event::None));
    }
    for peer in &peers {
        assert_eq!(
            w.sums(&peer.user.to_string()),
            (peer.uploaded, peer.downloaded)
        );
    }
}

/// Whatever liars say: in all never more is credited than was told as downloaded, to nobody more than the others told, and to no session more than it had
/// time for.
#[test]
fn liars_gain_no_more_than_others_pay_and_time_allows() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut w = world();
        let begun = w.now;
        for _ in 0..1500 {
            w.now = w.now + Duration::from_millis(rng.u64(0..2000));
            let number = |rng: &mut fastrand::Rng| match rng.u8(..8) {
                0 => rng.u64(..),
                1 => u64::MAX - rng.u64(..3),
                2 => 0,
                _ => {
                    let bits = rng.u8(1..30);
                    rng.u64(..1 << bits)
                }
            };
            let event = [
                Event::None,
                Event::None,
                Event::None,
                Event::Started,
                Event::Stopped,
                Event::Completed,
            ];
            let event = event[rng.usize(..event.len())];
            let (uploaded, downloaded) = (number(&mut rng), number(&mut rng));
            let request = request(rng.u8(..9), uploaded, downloaded, event);
            let name = rng.u8(..4).to_string();
            // A user who leeches too much is refused; that is not what this is about.
            let _ = w.say(&name, &request);
            if rng.u8(..60) == 0 {
                w.wait(700);
                w.book.cleanup(w.now, PATIENCE, &mut w.accounts);
            }
            assert_sound(&w);
            let rows = w.accounts.rows();
            let told: u64 = rows.iter().map(|a| a.downloaded).sum();
            assert!(rows.iter().map(|a| a.uploaded).sum::<u64>() <= told);
            // Nine ids at once at most.
            let time = reach(9 * SPEED, w.now.since(begun));
            for Account {
                uploaded,
                downloaded,
                ..
            } in rows
            {
                assert!(*uploaded <= told - downloaded, "seed {seed}");
                assert!(*uploaded <= time && *downloaded <= time);
            }
        }
        assert!(w.accounts.rows().iter().any(|a| a.uploaded > 0));
    }
}

/// The sums of each pool are those of its members, and the queue holds whom it should.
fn assert_sound(w: &World) {
    let mut sessions = 0;
    for pool in w.book.pools.values() {
        sessions += pool.sessions.len();
        let sum = |of: fn(&Member) -> u64| pool.members.values().map(of).sum::<u64>();
        assert_eq!(
            (pool.downloaded, pool.credited),
            (sum(|m| m.downloaded), sum(|m| m.credited))
        );
        assert!(pool.credited <= pool.downloaded);
        let peers: u32 = pool.members.values().map(|m| m.peers).sum();
        assert_eq!(peers as usize, pool.sessions.len());
        let queued = pool.members.iter().filter(|(_, m)| m.queued);
        let mut queued: Vec<_> = queued.map(|(user, _)| *user).collect();
        let mut queue: Vec<_> = pool.queue.iter().copied().collect();
        queued.sort_unstable();
        queue.sort_unstable();
        assert_eq!(queued, queue);
    }
    assert_eq!(sessions, w.book.sessions());
    let peers: u32 = w.accounts.rows().iter().map(|a| a.peers).sum();
    assert_eq!(peers as usize, sessions);
}
