//! Rate limits as connections and torrents meet them: claim what you are about to send or ask for, and be told when you may.
//!
//! Without a limit nothing here is locked, and no thread runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::base::geometry::BLOCK;
use crate::base::id::InfoHash;
use crate::core::shares::{Next, Priority, Shares};

use super::batches::LARGE;
use super::clock::Clock;
use super::threads;

/// Grants a second that a limit is made of. More would wake threads for nothing, fewer come in gusts.
const GRANTS: u64 = 128;

/// Who may wait for a grant.
pub trait Claimant: Send + Sync {
    /// These bytes may pass now. Called from the limit's thread, with none of its locks held. `false` if there is no use for them.
    fn granted(&self, bytes: u32) -> bool;
}

type Waiting = Shares<InfoHash, Arc<dyn Claimant>>;

/// One limit that all torrents of a process share.
pub struct Limit {
    clock: Clock,
    /// Bytes a second; 0 is none.
    rate: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    shares: Waiting,
    /// Whether there is a thread that grants. It stays when the limit goes.
    running: bool,
}

impl Limit {
    /// No limit.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            rate: AtomicU64::new(0),
            state: Mutex::new(State {
                shares: Shares::default(),
                running: false,
            }),
            changed: Condvar::new(),
        })
    }

    /// Changes the limit, also for those who wait; bytes a second, 0 is none. `false` if the system refuses the thread that it needs.
    pub fn set(self: &Arc<Self>, rate: u64) -> bool {
        let mut state = self.lock();
        if rate > 0 && !state.running {
            let limit = self.clone();
            if threads::spawn("limit", move || limit.run()).is_none() {
                return false;
            }
            state.running = true;
        }
        state.shares.set_rate(self.clock.now(), rate);
        self.rate.store(rate, Ordering::Relaxed);
        self.changed.notify_one();
        true
    }

    /// Bytes a second; 0 is no limit.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// Whether there is a limit, and claims have to be made.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.rate.load(Ordering::Relaxed) > 0
    }

    /// How much to claim at once: whole blocks, about a hundredth of a second of the rate.
    #[must_use]
    pub fn portion(&self) -> u32 {
        let bytes = self.rate.load(Ordering::Relaxed) / GRANTS;
        let blocks = bytes.min(LARGE.into()) / u64::from(BLOCK);
        BLOCK * u32::try_from(blocks).unwrap_or(1).max(1)
    }

    /// Waits for `bytes`, which are granted in any case, even if the limit is lifted meanwhile. To be called only if [`Limit::is_on`]
    /// has been true.
    pub fn claim(
        &self,
        torrent: InfoHash,
        priority: Priority,
        bytes: u32,
        claimant: Arc<dyn Claimant>,
    ) {
        self.lock().shares.claim(torrent, priority, bytes, claimant);
        self.changed.notify_one();
    }

    /// Says how much of a grant has passed, where that differs.
    pub fn settle(&self, torrent: InfoHash, granted: u32, used: u32) {
        if granted != used {
            self.lock().shares.settle(torrent, granted, used);
            self.changed.notify_one();
        }
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = self.clock.now();
            state = match state.shares.next(now) {
                Next::Grant(torrent, bytes, claimant) => {
                    drop(state);
                    if !claimant.granted(bytes) {
                        self.settle(torrent, bytes, 0);
                    }
                    self.lock()
                }
                Next::At(at) => {
                    let waited = self.changed.wait_timeout(state, at.since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Next::Idle => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limits of a process.
#[derive(Clone)]
pub struct Limits {
    /// Payload sent.
    pub upload: Arc<Limit>,
    /// Payload asked for.
    pub download: Arc<Limit>,
}

impl Limits {
    /// None.
    #[must_use]
    pub fn none(clock: Clock) -> Self {
        Self {
            upload: Limit::new(clock),
            download: Limit::new(clock),
        }
    }
}
