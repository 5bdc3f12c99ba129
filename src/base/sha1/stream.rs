//! One stream, block by block, with the SHA instructions of the processor.

use super::Digest;
use super::lanes::{BLOCK, INITIAL, padding};
use super::way::Way;

#[cfg(target_arch = "aarch64")]
use super::arm_sha as sha;
#[cfg(target_arch = "x86_64")]
use super::x86_sha as sha;

/// A SHA-1 in the making. Only where [`Way::Sha`] is.
#[derive(Clone)]
pub(super) struct Stream {
    state: [u32; 5],
    /// Bytes taken in.
    len: u64,
    /// The last `len % 64` of them.
    rest: [u8; BLOCK],
}

impl Stream {
    /// `None` where this processor has no SHA instructions.
    pub(super) fn new() -> Option<Self> {
        Way::Sha.is_here().then_some(Self {
            state: INITIAL,
            len: 0,
            rest: [0; BLOCK],
        })
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        let held = usize::try_from(self.len % BLOCK as u64).unwrap_or(0);
        self.len += bytes.len() as u64;
        if held > 0 {
            let (first, others) = bytes.split_at(bytes.len().min(BLOCK - held));
            self.rest[held..held + first.len()].copy_from_slice(first);
            if held + first.len() < BLOCK {
                return;
            }
            let full = self.rest;
            self.compress(&full);
            bytes = others;
        }
        let (blocks, rest) = bytes.split_at(bytes.len() - bytes.len() % BLOCK);
        self.compress(blocks);
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    pub(super) fn finish(mut self) -> Digest {
        let held = usize::try_from(self.len % BLOCK as u64).unwrap_or(0);
        let (end, blocks) = padding(&self.rest[..held], self.len);
        self.compress(&end[..blocks * BLOCK]);
        super::lanes::big_endian(self.state)
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[allow(unsafe_code, reason = "calls what this processor was found to have")]
    fn compress(&mut self, blocks: &[u8]) {
        // SAFETY: `new` gave this only after it had asked.
        unsafe { sha::one(std::array::from_mut(&mut self.state), &[blocks]) };
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn compress(&mut self, _blocks: &[u8]) {
        unreachable!("`new` gives none on other processors");
    }
}
