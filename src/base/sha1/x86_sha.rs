//! One stream with the SHA instructions of x86 processors.
//!
//! Only `sha`, `sse4.1` and `ssse3` are enabled: with VEX encodings around them these instructions run many times slower.
#![allow(unsafe_code, reason = "vector loads take pointers")]

use std::arch::x86_64::*;

use super::lanes::BLOCK;

/// Whether this processor has what [`compress`] needs.
pub(super) fn is_here() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3")
}

/// Takes the whole blocks of `bytes` into `state`.
///
/// # Safety
/// [`is_here`] must be true.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) unsafe fn compress(state: &mut [u32; 5], bytes: &[u8]) {
    let swap = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    // The first word in the highest place.
    let [a, b, c, d, e] = state.map(u32::cast_signed);
    let (mut abcd, mut last) = (_mm_set_epi32(a, b, c, d), _mm_set_epi32(e, 0, 0, 0));
    for block in bytes.chunks_exact(BLOCK) {
        let (abcd_before, last_before) = (abcd, last);
        let mut w: [__m128i; 4] = std::array::from_fn(|i| {
            // SAFETY: a block is four times sixteen bytes.
            let words = unsafe { _mm_loadu_si128(block.as_ptr().add(16 * i).cast()) };
            _mm_shuffle_epi8(words, swap)
        });
        // `last` is the state before the preceding four rounds, of which the next ones need `e`.
        let mut next = _mm_add_epi32(last, w[0]);
        macro_rules! four {
            ($f:literal, $t:expr) => {
                let before = abcd;
                abcd = _mm_sha1rnds4_epu32::<$f>(abcd, next);
                if $t >= 3 && $t < 19 {
                    let sums = _mm_xor_si128(
                        _mm_sha1msg1_epu32(w[($t + 1) & 3], w[($t + 2) & 3]),
                        w[($t + 3) & 3],
                    );
                    w[($t + 1) & 3] = _mm_sha1msg2_epu32(sums, w[$t & 3]);
                }
                next = if $t < 19 {
                    _mm_sha1nexte_epu32(before, w[($t + 1) & 3])
                } else {
                    _mm_sha1nexte_epu32(before, last_before)
                };
            };
        }
        macro_rules! twenty {
            ($f:literal, $t:expr) => {
                four!($f, $t);
                four!($f, $t + 1);
                four!($f, $t + 2);
                four!($f, $t + 3);
                four!($f, $t + 4);
            };
        }
        twenty!(0, 0);
        twenty!(1, 5);
        twenty!(2, 10);
        twenty!(3, 15);
        abcd = _mm_add_epi32(abcd, abcd_before);
        last = next;
    }
    *state = [
        _mm_extract_epi32::<3>(abcd),
        _mm_extract_epi32::<2>(abcd),
        _mm_extract_epi32::<1>(abcd),
        _mm_extract_epi32::<0>(abcd),
        _mm_extract_epi32::<3>(last),
    ]
    .map(i32::cast_unsigned);
}
