//! One stream with the SHA instructions of ARMv8 processors.
#![allow(unsafe_code, reason = "vector loads take pointers")]

use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

use super::lanes::BLOCK;

/// Streams at a time.
pub(super) const LANES: usize = 1;

/// Whether this processor has what [`one`] needs.
pub(super) fn is_here() -> bool {
    is_aarch64_feature_detected!("sha2")
}

/// Takes the whole blocks of a stream into its state.
///
/// # Safety
/// [`is_here`] must be true.
#[target_feature(enable = "sha2")]
pub(super) unsafe fn one([state]: &mut [[u32; 5]; 1], [bytes]: &[&[u8]; 1]) {
    // SAFETY: the first four of five words.
    let mut abcd = unsafe { vld1q_u32(state.as_ptr()) };
    let mut e = state[4];
    for block in bytes.chunks_exact(BLOCK) {
        let (abcd_before, e_before) = (abcd, e);
        let mut w: [uint32x4_t; 4] = std::array::from_fn(|i| {
            // SAFETY: a block is four times sixteen bytes.
            let words = unsafe { vld1q_u8(block.as_ptr().add(16 * i)) };
            vreinterpretq_u32_u8(vrev32q_u8(words))
        });
        macro_rules! four {
            ($rounds:ident, $k:ident, $t:expr) => {
                let words = vaddq_u32(w[$t & 3], $k);
                let next = vsha1h_u32(vgetq_lane_u32::<0>(abcd));
                abcd = $rounds(abcd, e, words);
                e = next;
                if $t < 16 {
                    let sums = vsha1su0q_u32(w[$t & 3], w[($t + 1) & 3], w[($t + 2) & 3]);
                    w[$t & 3] = vsha1su1q_u32(sums, w[($t + 3) & 3]);
                }
            };
        }
        macro_rules! twenty {
            ($rounds:ident, $k:expr, $t:expr) => {
                let k = vdupq_n_u32($k);
                four!($rounds, k, $t);
                four!($rounds, k, $t + 1);
                four!($rounds, k, $t + 2);
                four!($rounds, k, $t + 3);
                four!($rounds, k, $t + 4);
            };
        }
        twenty!(vsha1cq_u32, 0x5a82_7999, 0);
        twenty!(vsha1pq_u32, 0x6ed9_eba1, 5);
        twenty!(vsha1mq_u32, 0x8f1b_bcdc, 10);
        twenty!(vsha1pq_u32, 0xca62_c1d6, 15);
        abcd = vaddq_u32(abcd, abcd_before);
        e = e.wrapping_add(e_before);
    }
    // SAFETY: the first four of five words.
    unsafe { vst1q_u32(state.as_mut_ptr(), abcd) };
    state[4] = e;
}
