//! Eight streams side by side in AVX2 registers.
#![allow(unsafe_code, reason = "vector loads take pointers")]

use std::arch::x86_64::*;

use super::lanes::{BLOCK, State};
use super::rounds::rounds;

/// Lanes.
pub(super) const LANES: usize = 8;

/// Whether this processor has what [`compress`] needs.
pub(super) fn is_here() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Takes the whole blocks of each stream into `state`; as many as the shortest has.
///
/// # Safety
/// [`is_here`] must be true.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn compress(state: &mut State, streams: &[&[u8]; LANES]) {
    let blocks = streams.iter().map(|s| s.len() / BLOCK).min().unwrap_or(0);
    // SAFETY: each of the five rows has sixteen words, of which eight are used.
    let mut h: [__m256i; 5] =
        std::array::from_fn(|i| unsafe { _mm256_loadu_si256(state[i].as_ptr().cast()) });
    for block in 0..blocks {
        let half = |offset: usize| -> [__m256i; 8] {
            std::array::from_fn(|lane| {
                let at = block * BLOCK + offset;
                // SAFETY: every stream has at least `blocks` blocks of 64 bytes, and `offset` is 0 or 32.
                unsafe { _mm256_loadu_si256(streams[lane].as_ptr().add(at).cast()) }
            })
        };
        let (first, second) = (transpose(half(0)), transpose(half(32)));
        let mut w: [__m256i; 16] =
            std::array::from_fn(|t| if t < 8 { first[t] } else { second[t - 8] });
        rounds!(h, w);
    }
    for (row, vector) in state.iter_mut().zip(h) {
        // SAFETY: a row has sixteen words, of which eight are used.
        unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), vector) };
    }
}

/// Makes vectors of words, one of each stream, out of vectors of one stream's words, and big-endian words native.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(w: [__m256i; 8]) -> [__m256i; 8] {
    let mut w = w;
    // Among four neighbours first: within each half of 128 bits.
    for four in w.chunks_exact_mut(4) {
        let low01 = _mm256_unpacklo_epi32(four[0], four[1]);
        let high01 = _mm256_unpackhi_epi32(four[0], four[1]);
        let low23 = _mm256_unpacklo_epi32(four[2], four[3]);
        let high23 = _mm256_unpackhi_epi32(four[2], four[3]);
        four[0] = _mm256_unpacklo_epi64(low01, low23);
        four[1] = _mm256_unpackhi_epi64(low01, low23);
        four[2] = _mm256_unpacklo_epi64(high01, high23);
        four[3] = _mm256_unpackhi_epi64(high01, high23);
    }
    // Then the halves.
    for i in 0..4 {
        let (low, high) = (w[i], w[i + 4]);
        w[i] = _mm256_permute2x128_si256::<0x20>(low, high);
        w[i + 4] = _mm256_permute2x128_si256::<0x31>(low, high);
    }
    let swap = _mm256_setr_epi32(
        0x0001_0203,
        0x0405_0607,
        0x0809_0a0b,
        0x0c0d_0e0f,
        0x0001_0203,
        0x0405_0607,
        0x0809_0a0b,
        0x0c0d_0e0f,
    );
    for word in &mut w {
        *word = _mm256_shuffle_epi8(*word, swap);
    }
    w
}

macro_rules! rol {
    ($x:expr, $n:literal) => {{
        let x = $x;
        _mm256_or_si256(
            _mm256_slli_epi32::<$n>(x),
            _mm256_srli_epi32::<{ 32 - $n }>(x),
        )
    }};
}
use rol;

#[inline]
#[target_feature(enable = "avx2")]
fn constant(k: i32) -> __m256i {
    _mm256_set1_epi32(k)
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_and_si256(_mm256_xor_si256(c, d), b), d)
}

#[inline]
#[target_feature(enable = "avx2")]
fn parity(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(b, c), d)
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_or_si256(
        _mm256_and_si256(b, c),
        _mm256_and_si256(_mm256_or_si256(b, c), d),
    )
}

#[inline]
#[target_feature(enable = "avx2")]
fn schedule(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d))
}
