//! Sixteen streams side by side in AVX-512 registers.
#![allow(unsafe_code, reason = "vector loads take pointers")]

use std::arch::x86_64::*;

use super::lanes::{BLOCK, State};
use super::rounds::rounds;

/// Lanes.
pub(super) const LANES: usize = 16;

/// Whether this processor has what [`compress`] needs.
pub(super) fn is_here() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Takes the whole blocks of each stream into `state`; as many as the shortest has.
///
/// # Safety
/// [`is_here`] must be true.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn compress(state: &mut State, streams: &[&[u8]; LANES]) {
    let blocks = streams.iter().map(|s| s.len() / BLOCK).min().unwrap_or(0);
    // SAFETY: each of the five rows has sixteen words.
    let mut h: [__m512i; 5] =
        std::array::from_fn(|i| unsafe { _mm512_loadu_si512(state[i].as_ptr().cast()) });
    for block in 0..blocks {
        let mut w: [__m512i; 16] = std::array::from_fn(|lane| {
            // SAFETY: every stream has at least `blocks` blocks, and a block is 64 bytes.
            unsafe { _mm512_loadu_si512(streams[lane].as_ptr().add(block * BLOCK).cast()) }
        });
        transpose(&mut w);
        rounds!(h, w);
    }
    for (row, vector) in state.iter_mut().zip(h) {
        // SAFETY: a row has sixteen words.
        unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), vector) };
    }
}

/// Makes vectors of words, one of each stream, out of vectors of one stream's words, and big-endian words native.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(w: &mut [__m512i; 16]) {
    let swap = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    // Among four neighbours first: within each quarter of 128 bits.
    for four in w.chunks_exact_mut(4) {
        let low01 = _mm512_unpacklo_epi32(four[0], four[1]);
        let high01 = _mm512_unpackhi_epi32(four[0], four[1]);
        let low23 = _mm512_unpacklo_epi32(four[2], four[3]);
        let high23 = _mm512_unpackhi_epi32(four[2], four[3]);
        four[0] = _mm512_unpacklo_epi64(low01, low23);
        four[1] = _mm512_unpackhi_epi64(low01, low23);
        four[2] = _mm512_unpacklo_epi64(high01, high23);
        four[3] = _mm512_unpackhi_epi64(high01, high23);
    }
    // Then the quarters.
    for i in 0..4 {
        let (a, b, c, d) = (w[i], w[i + 4], w[i + 8], w[i + 12]);
        let ab_low = _mm512_shuffle_i32x4::<0x88>(a, b);
        let ab_high = _mm512_shuffle_i32x4::<0xdd>(a, b);
        let cd_low = _mm512_shuffle_i32x4::<0x88>(c, d);
        let cd_high = _mm512_shuffle_i32x4::<0xdd>(c, d);
        w[i] = _mm512_shuffle_i32x4::<0x88>(ab_low, cd_low);
        w[i + 4] = _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high);
        w[i + 8] = _mm512_shuffle_i32x4::<0xdd>(ab_low, cd_low);
        w[i + 12] = _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high);
    }
    for word in w {
        *word = _mm512_shuffle_epi8(*word, swap);
    }
}

macro_rules! rol {
    ($x:expr, $n:literal) => {
        _mm512_rol_epi32::<$n>($x)
    };
}
use rol;

#[inline]
#[target_feature(enable = "avx512f")]
fn constant(k: i32) -> __m512i {
    _mm512_set1_epi32(k)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn choose(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xca>(b, c, d)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn parity(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(b, c, d)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn majority(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xe8>(b, c, d)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn schedule(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    _mm512_xor_si512(parity(a, b, c), d)
}
