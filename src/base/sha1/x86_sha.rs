//! Up to four streams with the SHA instructions of x86 processors.
//!
//! A round waits for the one before, and the processor meanwhile has time for those of other streams: on a Zen 3 core two streams are hashed
//! at 3.1 GB/s and four at 4.1, one at 1.7.
//!
//! Only `sha`, `sse4.1` and `ssse3` are enabled: with VEX encodings around them these instructions run many times slower.
#![allow(unsafe_code, reason = "vector loads take pointers")]

use std::arch::x86_64::*;

use super::lanes::BLOCK;

/// Streams at a time that still make a difference.
pub(super) const LANES: usize = 4;

/// Whether this processor has what the others in here need.
pub(super) fn is_here() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3")
}

// Text for each number of streams and not a loop over them: programs are built for size, in which loops stay loops, and the states would not
// stay in registers.
macro_rules! by_turns {
    ($name:ident, $count:literal: $($s:literal $abcd:ident $last:ident $next:ident $w:ident),+) => {
        /// Takes the whole blocks of each stream into its state; as many as the shortest has.
        ///
        /// # Safety
        /// [`is_here`] must be true.
        #[target_feature(enable = "sha,sse4.1,ssse3")]
        pub(super) unsafe fn $name(states: &mut [[u32; 5]; $count], streams: &[&[u8]; $count]) {
            let swap = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
            let blocks = streams.iter().map(|s| s.len() / BLOCK).min().unwrap_or(0);
            $(
                // The first word in the highest place.
                let [a, b, c, d, e] = states[$s].map(u32::cast_signed);
                let (mut $abcd, mut $last) = (_mm_set_epi32(a, b, c, d), _mm_set_epi32(e, 0, 0, 0));
            )+
            for block in 0..blocks {
                let before_all = [$(($abcd, $last)),+];
                $(
                    let mut $w: [__m128i; 4] = std::array::from_fn(|i| {
                        let at = block * BLOCK + 16 * i;
                        // SAFETY: every stream has at least `blocks` blocks of four times sixteen bytes.
                        let words = unsafe { _mm_loadu_si128(streams[$s].as_ptr().add(at).cast()) };
                        _mm_shuffle_epi8(words, swap)
                    });
                    // `last` is the state before the preceding four rounds, of which the next ones need `e`.
                    let mut $next = _mm_add_epi32($last, $w[0]);
                )+
                macro_rules! rounds {
                    ($f:literal, $t:expr) => {
                        $(
                            let before = $abcd;
                            $abcd = _mm_sha1rnds4_epu32::<$f>($abcd, $next);
                            if $t >= 3 && $t < 19 {
                                let sums = _mm_xor_si128(
                                    _mm_sha1msg1_epu32($w[($t + 1) & 3], $w[($t + 2) & 3]),
                                    $w[($t + 3) & 3],
                                );
                                $w[($t + 1) & 3] = _mm_sha1msg2_epu32(sums, $w[$t & 3]);
                            }
                            $next = if $t < 19 {
                                _mm_sha1nexte_epu32(before, $w[($t + 1) & 3])
                            } else {
                                _mm_sha1nexte_epu32(before, before_all[$s].1)
                            };
                        )+
                    };
                }
                macro_rules! twenty {
                    ($f:literal, $t:expr) => {
                        rounds!($f, $t);
                        rounds!($f, $t + 1);
                        rounds!($f, $t + 2);
                        rounds!($f, $t + 3);
                        rounds!($f, $t + 4);
                    };
                }
                twenty!(0, 0);
                twenty!(1, 5);
                twenty!(2, 10);
                twenty!(3, 15);
                $(
                    $abcd = _mm_add_epi32($abcd, before_all[$s].0);
                    $last = $next;
                )+
            }
            $(
                states[$s] = [
                    _mm_extract_epi32::<3>($abcd),
                    _mm_extract_epi32::<2>($abcd),
                    _mm_extract_epi32::<1>($abcd),
                    _mm_extract_epi32::<0>($abcd),
                    _mm_extract_epi32::<3>($last),
                ]
                .map(i32::cast_unsigned);
            )+
        }
    };
}

by_turns!(one, 1: 0 abcd0 last0 next0 w0);
by_turns!(two, 2: 0 abcd0 last0 next0 w0, 1 abcd1 last1 next1 w1);
by_turns!(three, 3: 0 abcd0 last0 next0 w0, 1 abcd1 last1 next1 w1, 2 abcd2 last2 next2 w2);
by_turns!(four, 4: 0 abcd0 last0 next0 w0, 1 abcd1 last1 next1 w1, 2 abcd2 last2 next2 w2, 3 abcd3 last3 next3 w3);
