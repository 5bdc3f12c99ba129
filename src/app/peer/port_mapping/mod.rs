//! Keeps the listening port reachable through a home router, where the operator wants it: asks the default gateway, renews, and takes it back.

mod ask;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::core::port_mapping::Upkeep;
use crate::net::tcp::Bind;

use super::threads;

pub(super) use ask::{Held, Place, nonce};

/// How long the end of a run waits until the gateway has taken a mapping back.
const FAREWELL: Duration = Duration::from_millis(2500);

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Others can connect at this port of this address, if the gateway says which; and the protocol by which that was achieved.
    Mapped(Option<Ipv4Addr>, u16, &'static str),
    /// They cannot, for this reason.
    Failed(String),
}

/// The port that others can connect to, as it is at the moment; clones are the same.
#[derive(Clone, Debug)]
pub struct Door(Arc<AtomicU16>);

impl Door {
    /// This port, for now.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self(Arc::new(AtomicU16::new(port)))
    }

    /// Where others can connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.load(Ordering::Relaxed)
    }

    fn lead(&self, port: u16) {
        self.0.store(port, Ordering::Relaxed);
    }
}

/// A mapping that is kept up until it is stopped.
pub struct PortMapping {
    shared: Arc<Shared>,
    done: mpsc::Receiver<()>,
}

struct Shared {
    stopping: Mutex<bool>,
    wake: Condvar,
}

impl PortMapping {
    /// Begins to ask for a mapping of `port` on a thread of its own. `tell` hears of every change; `door` leads where the mapping does.
    pub fn start(bind: Bind, port: u16, door: Door, tell: impl Fn(Word) + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            stopping: Mutex::new(false),
            wake: Condvar::new(),
        });
        let (sender, done) = mpsc::channel::<()>();
        let keeper = shared.clone();
        threads::spawn("port-mapping", move || {
            keeper.keep(&bind, port, &door, &tell);
            drop(sender);
        });
        Self { shared, done }
    }

    /// Begins to take the mapping back.
    pub fn stop(&self) {
        *self.shared.stopping() = true;
        self.shared.wake.notify_all();
    }

    /// Waits until that is done, but not for long.
    pub fn wait(self) {
        self.stop();
        // Nothing is ever sent; the channel closes when the thread is done.
        let _ = self.done.recv_timeout(FAREWELL);
    }
}

impl Shared {
    fn keep(&self, bind: &Bind, port: u16, door: &Door, tell: &dyn Fn(Word)) {
        let (mut upkeep, mut rng) = (Upkeep::default(), fastrand::Rng::new());
        let nonce = nonce();
        let (mut held, mut told): (Option<Held>, Option<Word>) = (None, None);
        loop {
            let renewed = held.take().and_then(|mut held| {
                let renewed = held.renew();
                renewed.is_ok().then_some(held)
            });
            let outcome = match renewed {
                Some(held) => Ok(held),
                // Whatever was has gone; the gateway may be another one.
                None => Place::find(bind, port, nonce).and_then(|place| place.map()),
            };
            let (word, pause) = match outcome {
                Ok(now) => {
                    let mapping = now.mapping();
                    let word = Word::Mapped(mapping.address, mapping.port, now.name());
                    let pause = upkeep.granted(mapping.lease);
                    door.lead(mapping.port);
                    held = Some(now);
                    (word, pause)
                }
                Err(cause) => {
                    door.lead(port);
                    (Word::Failed(cause), upkeep.refused(&mut rng))
                }
            };
            if told.as_ref() != Some(&word) {
                told = Some(word.clone());
                tell(word);
            }
            if !self.pause(pause) {
                break;
            }
        }
        if let Some(held) = held {
            held.end();
        }
    }

    /// Waits for so long. Returns `false` as soon as it is to end.
    fn pause(&self, span: Duration) -> bool {
        let end = Instant::now() + span;
        let mut stopping = self.stopping();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if *stopping || left.is_zero() {
                return !*stopping;
            }
            let waited = self.wake.wait_timeout(stopping, left);
            stopping = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn stopping(&self) -> MutexGuard<'_, bool> {
        self.stopping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
