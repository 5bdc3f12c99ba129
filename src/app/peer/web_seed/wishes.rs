//! What a web seed has been asked for. The swarm fills it under its lock; the web seed's thread empties it outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::base::geometry::{Block, Geometry};
use crate::core::swarm::event::Close;
use crate::net::http_client::ranges::Ranges;
use crate::proto::peer::message::Message;

/// Under a limit, requests come block by block; for so long they are gathered into a range.
const GATHER: Duration = Duration::from_millis(200);

/// Blocks that are range enough not to wait for more.
const ENOUGH: usize = 64;

/// The requests to one web seed, and its fate.
#[derive(Debug)]
pub struct Wishes {
    /// The URL as it may be shown.
    pub name: String,
    geometry: Geometry,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Not asked of the server yet: by their place in the payload, with a number that tells which has waited longest.
    waiting: BTreeMap<u64, (u64, Block)>,
    count: u64,
    /// On their way, and still wanted.
    coming: BTreeSet<u64>,
    /// Not wanted any more, and to be rejected.
    rejected: Vec<Block>,
    /// The swarm wants no more of it, for this reason.
    over: Option<Close>,
    /// The torrent has been stopped.
    stopped: bool,
    /// Whose requests are to be broken off when it is over.
    client: Option<Arc<Ranges>>,
}

/// What a web seed's thread has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Fetch these blocks, which follow one another in the payload.
    Fetch(Vec<Block>),
    /// Say that these will not come.
    Reject(Vec<Block>),
    /// Nothing more, for this reason.
    Over(Close),
}

impl Wishes {
    /// Nothing has been asked for.
    #[must_use]
    pub fn new(name: String, geometry: Geometry) -> Self {
        Self {
            name,
            geometry,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Begins anew, with `client` to fetch from. `false` once the torrent has been stopped.
    pub fn begin(&self, client: Arc<Ranges>) -> bool {
        let mut state = self.lock();
        let stopped = state.stopped;
        *state = State {
            stopped,
            client: Some(client),
            ..State::default()
        };
        !stopped
    }

    /// Takes a request or a cancel; the swarm says nothing else to a web seed.
    pub fn send(&self, message: &Message<'_>) {
        let mut state = self.lock();
        match *message {
            Message::Request(block) => {
                state.count += 1;
                let count = state.count;
                let at = self.geometry.block_offset(block);
                state.waiting.insert(at, (count, block));
            }
            Message::Cancel(block) => {
                let at = self.geometry.block_offset(block);
                if state.waiting.remove(&at).is_some() {
                    state.rejected.push(block);
                } else {
                    state.coming.remove(&at);
                }
            }
            _ => {}
        }
        self.changed.notify_one();
    }

    /// The swarm wants no more of it. What is under way is broken off.
    pub fn end(&self, reason: Close) {
        let mut state = self.lock();
        state.over.get_or_insert(reason);
        state.client.iter().for_each(|client| client.abort());
        self.changed.notify_one();
    }

    /// The torrent has been stopped: its thread ends.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.end(Close::Stopping);
    }

    /// Waits for work. A range begins with what has waited longest, or where `ahead` is given, with what comes first in the payload from there
    /// on. With `gather`, it waits a little for more.
    pub fn next(&self, ahead: Option<u64>, gather: bool) -> Work {
        let mut state = self.lock();
        let mut until = None;
        loop {
            if let Some(reason) = state.over {
                return Work::Over(reason);
            }
            if !state.rejected.is_empty() {
                return Work::Reject(std::mem::take(&mut state.rejected));
            }
            let wait = if state.waiting.is_empty() {
                None
            } else if gather && state.waiting.len() < ENOUGH {
                let until = *until.get_or_insert_with(|| Instant::now() + GATHER);
                Some(until.saturating_duration_since(Instant::now()))
            } else {
                Some(Duration::ZERO)
            };
            state = match wait {
                Some(Duration::ZERO) => return Work::Fetch(state.take_run(ahead)),
                Some(wait) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    /// A block of the range under way is here. Returns what is to be rejected meanwhile.
    pub fn arrived(&self, block: Block) -> Vec<Block> {
        let mut state = self.lock();
        state.coming.remove(&self.geometry.block_offset(block));
        std::mem::take(&mut state.rejected)
    }

    /// Whether anything of the range under way is still wanted.
    pub fn is_wanted(&self) -> bool {
        !self.lock().coming.is_empty()
    }

    /// Why it is over, if it is.
    pub fn over(&self) -> Option<Close> {
        self.lock().over
    }

    /// Waits for so long. Returns `false` as soon as the torrent has been stopped.
    pub fn pause(&self, span: Duration) -> bool {
        let end = Instant::now() + span;
        let mut state = self.lock();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if state.stopped || left.is_zero() {
                return !state.stopped;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the longest run of blocks that follow one another.
    fn take_run(&mut self, ahead: Option<u64>) -> Vec<Block> {
        let next = ahead.and_then(|from| self.waiting.range(from..).next());
        let oldest = || self.waiting.iter().min_by_key(|(_, (count, _))| *count);
        let start = match ahead {
            None => oldest(),
            Some(_) => next.or_else(|| self.waiting.iter().next()),
        };
        let mut at = start.map_or(0, |(&at, _)| at);
        let mut run = Vec::new();
        while let Some((_, block)) = self.waiting.remove(&at) {
            self.coming.insert(at);
            at += u64::from(block.len);
            run.push(block);
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::BLOCK;

    /// Ten pieces of four blocks; a request for each of these blocks, by number.
    fn asked(blocks: &[u32]) -> Wishes {
        let geometry = Geometry::new(40 * u64::from(BLOCK), 4 * BLOCK).unwrap();
        let wishes = Wishes::new("http://w/".into(), geometry);
        for &n in blocks {
            wishes.send(&Message::Request(block(&wishes, n)));
        }
        wishes
    }

    fn block(wishes: &Wishes, n: u32) -> Block {
        let geometry = wishes.geometry;
        let piece = geometry.piece(n / 4).unwrap();
        geometry.block(piece, n % 4)
    }

    fn next(wishes: &Wishes, ahead: Option<u32>) -> Vec<u32> {
        let ahead = ahead.map(|n| u64::from(n * BLOCK));
        let number = |b: &Block| b.piece.0 * 4 + b.begin / BLOCK;
        match wishes.next(ahead, false) {
            Work::Fetch(blocks) => blocks.iter().map(number).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_range_is_a_run_across_pieces_from_what_has_waited_longest() {
        let wishes = asked(&[6, 20, 7, 9, 8, 4, 21]);
        assert_eq!(next(&wishes, None), [6, 7, 8, 9]);
        assert_eq!(next(&wishes, None), [20, 21]);
        assert_eq!(next(&wishes, None), [4]);
    }

    #[test]
    fn who_only_reads_on_is_asked_for_what_lies_ahead_first() {
        let wishes = asked(&[3, 20, 7, 8]);
        assert_eq!(next(&wishes, Some(5)), [7, 8]);
        assert_eq!(next(&wishes, Some(9)), [20]);
        assert_eq!(next(&wishes, Some(21)), [3], "from the start again");
    }

    #[test]
    fn what_is_cancelled_in_time_is_rejected_and_the_rest_comes() {
        let wishes = asked(&[1, 2]);
        wishes.send(&Message::Cancel(block(&wishes, 2)));
        let rejected = vec![block(&wishes, 2)];
        assert_eq!(wishes.next(None, false), Work::Reject(rejected));
        assert_eq!(next(&wishes, None), [1]);
        assert!(wishes.is_wanted());
        wishes.send(&Message::Cancel(block(&wishes, 1)));
        assert!(!wishes.is_wanted(), "on its way, and of no use");
        assert_eq!(wishes.arrived(block(&wishes, 1)), []);
    }

    #[test]
    fn under_a_limit_what_comes_soon_is_gathered() {
        let wishes = Arc::new(asked(&[1]));
        let later = wishes.clone();
        let asker = std::thread::Builder::new();
        let asker = asker.spawn(move || later.send(&Message::Request(block(&later, 2))));
        asker.unwrap().join().unwrap();
        assert!(matches!(wishes.next(None, true), Work::Fetch(run) if run.len() == 2));
    }

    #[test]
    fn the_end_comes_before_everything_else_and_ends_pauses() {
        let wishes = asked(&[1]);
        wishes.end(Close::BadData);
        wishes.stop();
        assert_eq!(wishes.next(None, false), Work::Over(Close::BadData));
        assert!(!wishes.pause(Duration::from_secs(3600)));
        assert!(!wishes.begin(Arc::new(Ranges::new(
            &crate::net::tcp::Bind::default(),
            Duration::from_secs(1),
            false
        ))));
    }
}
