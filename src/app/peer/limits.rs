//! Rate limits as the threads of connections meet them: take what you are about to send or have received, then wait as long as that costs.

use std::sync::{Mutex, PoisonError};

use crate::base::geometry::BLOCK;
use crate::base::time::Time;
use crate::core::rate::Bucket;

/// One limit that many connections share.
#[derive(Debug)]
pub struct Limit(Mutex<Bucket>);

impl Limit {
    /// `rate` in bytes a second; 0 is no limit.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        // A tenth of a second, and room for a few blocks however low the limit is.
        Self(Mutex::new(Bucket::new(
            rate,
            (rate / 10).max(4 * u64::from(BLOCK)),
        )))
    }

    /// Accounts for `bytes` and says when they may pass.
    pub fn reserve(&self, now: Time, bytes: u32) -> Time {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reserve(now, bytes)
    }
}

/// The limits of a process.
#[derive(Debug)]
pub struct Limits {
    /// Payload sent.
    pub upload: Limit,
    /// Payload received.
    pub download: Limit,
}
