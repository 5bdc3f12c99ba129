//! SHA-1 of pieces and `info` dictionaries: one stream, or several side by side in the lanes of vector registers.
//!
//! | way | streams at a time | where |
//! | --- | --- | --- |
//! | [`Way::Avx512`] | 16 | x86-64 with AVX-512 F and BW |
//! | [`Way::Sha`] | 4, or 1 | x86-64 with SHA; aarch64 with SHA |
//! | [`Way::Avx2`] | 8 | x86-64 with AVX2 |
//! | [`Way::Portable`] | 1 | anywhere; the package `sha1_smol` |
//!
//! The processor decides at run time; [`choose`] overrules it. This folder is the only place that computes, so it has the `unsafe` that
//! vector instructions need.

#[cfg(target_arch = "aarch64")]
mod arm_sha;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod rounds;
mod stream;
mod way;
#[cfg(target_arch = "x86_64")]
mod x86_sha;

use std::fmt;

pub use lanes::{SideBySide, width};
use stream::Stream;
pub use way::{Way, choose};

/// A SHA-1 digest: 20 bytes.
pub type Digest = [u8; 20];

/// The SHA-1 of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    digest_parts([bytes])
}

/// The SHA-1 of `parts` laid end to end, such as the blocks of a piece.
#[must_use]
pub fn digest_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = Sha1::default();
    parts.into_iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

/// A SHA-1 in the making, for bytes that are not all in memory at the same time.
#[derive(Clone)]
pub struct Sha1(Kind);

#[derive(Clone)]
enum Kind {
    Processor(Stream),
    Portable(sha1_smol::Sha1),
}

impl Default for Sha1 {
    fn default() -> Self {
        Self::by(way::single())
    }
}

impl fmt::Debug for Sha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha1")
    }
}

impl Sha1 {
    /// By the SHA instructions if `way` says so and they are there, else by portable code: for tests and measurements.
    #[must_use]
    pub fn by(way: Way) -> Self {
        let stream = if way == Way::Sha { Stream::new() } else { None };
        Self(stream.map_or_else(|| Kind::Portable(sha1_smol::Sha1::new()), Kind::Processor))
    }

    /// Takes in the bytes that come next.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Kind::Processor(stream) => stream.update(bytes),
            Kind::Portable(sha1) => sha1.update(bytes),
        }
    }

    /// The SHA-1 of all bytes taken in.
    #[must_use]
    pub fn finish(&self) -> Digest {
        match &self.0 {
            Kind::Processor(stream) => stream.clone().finish(),
            Kind::Portable(sha1) => sha1.digest().bytes(),
        }
    }
}
