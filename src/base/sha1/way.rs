//! The ways in which SHA-1 can be computed, and which of them this processor has.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(target_arch = "aarch64")]
use super::arm_sha as sha;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512, x86_sha as sha};

/// A way to compute SHA-1. All of them give the same digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Sixteen streams side by side in AVX-512 registers.
    Avx512,
    /// The SHA instructions of x86, for four streams by turns, or of ARMv8, for one.
    Sha,
    /// Eight streams side by side in AVX2 registers.
    Avx2,
    /// One stream, on any processor.
    Portable,
}

impl Way {
    /// All of them, the best first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Sha, Self::Avx2, Self::Portable];

    /// The name by which [`choose`] is told.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Sha => "sha",
            Self::Portable => "portable",
        }
    }

    /// Whether this processor can.
    #[must_use]
    pub fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::is_here(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::is_here(),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Self::Sha => sha::is_here(),
            Self::Portable => true,
            #[allow(unreachable_patterns, reason = "not on every architecture")]
            _ => false,
        }
    }

    /// Streams side by side.
    #[must_use]
    pub const fn lanes(self) -> usize {
        match self {
            Self::Avx512 => 16,
            Self::Avx2 => 8,
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Self::Sha => sha::LANES,
            _ => 1,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Way {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|way| way.name() == name)
            .ok_or(())
    }
}

/// What [`choose`] was told or the processor has: the place in [`Way::ALL`], or [`UNDECIDED`].
static CHOSEN: AtomicU8 = AtomicU8::new(UNDECIDED);

const UNDECIDED: u8 = u8::MAX;

/// Makes the whole process use `way` from now on, for what is hashed side by side and, if it is one for single streams, for these too.
///
/// # Errors
/// If this processor cannot; then nothing changes.
pub fn choose(way: Way) -> Result<(), Way> {
    if !way.is_here() {
        return Err(way);
    }
    decide(way);
    Ok(())
}

/// The way for streams side by side: the best that this processor has, unless [`choose`] was told another.
pub(super) fn side_by_side() -> Way {
    let chosen = Way::ALL.get(usize::from(CHOSEN.load(Ordering::Relaxed)));
    chosen.copied().unwrap_or_else(|| {
        let best = Way::ALL.into_iter().find(|way| way.is_here());
        let best = best.unwrap_or(Way::Portable);
        // Whoever comes here at the same time finds the same.
        decide(best);
        best
    })
}

fn decide(way: Way) {
    let place = Way::ALL.iter().position(|&other| other == way);
    let place = place.and_then(|place| u8::try_from(place).ok());
    CHOSEN.store(place.unwrap_or(UNDECIDED), Ordering::Relaxed);
}

/// The way for a single stream.
pub(super) fn single() -> Way {
    match side_by_side() {
        Way::Portable => Way::Portable,
        _ if Way::Sha.is_here() => Way::Sha,
        _ => Way::Portable,
    }
}
