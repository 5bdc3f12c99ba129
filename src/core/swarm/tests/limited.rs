//! Downloads under a limit: asking for less.

use super::*;

const PIECES: &str = "................................................";

impl Bench {
    fn allow(&mut self, blocks: u32) -> bool {
        self.did.clear();
        self.swarm.allow(self.now, blocks * BLOCK, &mut self.did)
    }

    fn limit(&mut self, limited: bool) {
        self.did.clear();
        self.swarm.limit(self.now, limited, &mut self.did);
    }
}

/// Under a limit from the start, with seeds `1..=seeds` that serve us.
fn limited(seeds: u64) -> Bench {
    let mut b = Bench::new(PIECES);
    b.limit(true);
    let all = PIECES.replace('.', "x");
    for n in 1..=seeds {
        b.server(n, &all);
        assert_eq!(b.asked(n), [], "nothing is allowed yet");
    }
    b
}

#[test]
fn peers_take_turns_block_by_block() {
    let mut b = limited(4);
    let mut asked = [0; 5];
    for _ in 0..6 {
        assert!(b.swarm.is_starved());
        assert!(b.allow(2));
        for n in 1..=4 {
            asked[usize::try_from(n).unwrap()] += b.asked(n).len();
        }
    }
    assert_eq!(asked, [0, 3, 3, 3, 3]);
}

#[test]
fn one_who_never_answers_does_not_hold_up_the_others() {
    let mut b = limited(2);
    let mut from_other = 0;
    for _ in 0..60 {
        assert!(b.allow(1));
        for block in b.asked(2) {
            from_other += 1;
            b.block(2, block);
        }
    }
    assert!(from_other >= 40, "{from_other}");
}

#[test]
fn what_will_not_come_may_be_asked_for_again() {
    let mut b = limited(2);
    assert!(b.allow(2));
    assert_eq!((b.asked(1).len(), b.asked(2).len()), (1, 1));
    b.says(1, Message::Choke);
    assert_eq!(b.asked(2).len(), 1, "what 1 owed");
    b.tell(Event::Disconnected { peer: PeerKey(2) });
    b.says(1, Message::Unchoke);
    assert_eq!(b.asked(1).len(), 2, "and what 2 owed");
    assert!(b.swarm.is_starved());
}

#[test]
fn a_limit_comes_and_goes() {
    let mut b = limited(1);
    b.limit(false);
    let asked = b.asked(1);
    assert!(asked.len() >= 8, "{}", asked.len());
    assert!(!b.allow(1), "there is no use for it now");
    b.limit(true);
    let more: usize = asked
        .iter()
        .map(|&block| {
            b.block(1, block);
            b.asked(1).len()
        })
        .sum();
    assert_eq!(more, 0);
    assert!(b.swarm.is_starved() && b.allow(3));
    assert_eq!(b.asked(1).len(), 3);
}

#[test]
fn nobody_to_ask_means_nothing_to_allow() {
    let mut b = Bench::new(PIECES);
    b.limit(true);
    assert!(!b.swarm.is_starved() && !b.allow(1));
    b.peer(1, &PIECES.replace('.', "x"));
    assert!(!b.swarm.is_starved(), "it chokes us");
}
