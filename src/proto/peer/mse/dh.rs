//! Diffie-Hellman in the group that message stream encryption prescribes: modulo a prime of 768 bits, with the generator 2.
//!
//! Numbers are twelve words, so nothing is allocated and nothing grows. The time that a power takes depends on its exponent; that tells nobody anything
//! worth knowing, because an exponent is used for one connection and what it protects is shown to whoever knows the info-hash.

/// Bytes of a public key, and of what two sides come to share.
pub const KEY_LEN: usize = 96;

/// Bytes of a private key. The specification asks for 128 bits at least and calls more than 160 of no use.
pub const PRIVATE_LEN: usize = 20;

const WORDS: usize = KEY_LEN / 8;

/// A number below 2^768, its least significant word first.
type Number = [u64; WORDS];

/// The prime.
const P: Number = [
    0x0000_0000_0009_0563,
    0xf44c_42e9_a63a_3621,
    0xe485_b576_625e_7ec6,
    0x4fe1_356d_6d51_c245,
    0x302b_0a6d_f25f_1437,
    0xef95_19b3_cd3a_431b,
    0x514a_0879_8e34_04dd,
    0x020b_bea6_3b13_9b22,
    0x2902_4e08_8a67_cc74,
    0xc4c6_628b_80dc_1cd1,
    0xc90f_daa2_2168_c234,
    0xffff_ffff_ffff_ffff,
];

const ONE: Number = number(1);
const TWO: Number = number(2);

/// 2^768 modulo the prime: one in Montgomery's form, in which numbers are multiplied here.
const R: Number = subtract_p(&number(0)).0;

/// Its square, which brings a number into that form.
const R_SQUARED: Number = {
    let (mut n, mut i) = (R, 0);
    while i < WORDS * 64 {
        n = double(&n);
        i += 1;
    }
    n
};

/// -1 / P modulo 2^64. Each round of Newton's method doubles the bits that are right; an odd number is its own inverse in three bits.
const MINUS_INVERSE: u64 = {
    let (mut inverse, mut i) = (P[0], 0);
    while i < 5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(P[0].wrapping_mul(inverse)));
        i += 1;
    }
    inverse.wrapping_neg()
};

/// What is to be told to the other side.
#[must_use]
pub(super) fn public_key(private: &[u8; PRIVATE_LEN]) -> [u8; KEY_LEN] {
    to_bytes(&power(&TWO, private))
}

/// What both sides know once each has told its public key. `None` for a key that nobody comes by: one below 2, or not below the prime less one,
/// which would make the secret known to everybody.
#[must_use]
pub(super) fn shared_secret(
    private: &[u8; PRIVATE_LEN],
    theirs: &[u8; KEY_LEN],
) -> Option<[u8; KEY_LEN]> {
    let theirs = from_bytes(theirs);
    let largest = subtract_p(&ONE).0.map(|word| !word);
    let below = |a: &Number, b: &Number| a.iter().rev().lt(b.iter().rev());
    // The complement of 1 - P modulo 2^768 is P - 2, the largest key that anybody can have.
    let possible = !below(&theirs, &TWO) && !below(&largest, &theirs);
    possible.then(|| to_bytes(&power(&theirs, private)))
}

fn power(base: &Number, exponent: &[u8; PRIVATE_LEN]) -> Number {
    let base = multiply(base, &R_SQUARED);
    let mut result = R;
    for bit in (0..8 * PRIVATE_LEN).map(|i| exponent[i / 8] >> (7 - i % 8) & 1) {
        result = multiply(&result, &result);
        if bit == 1 {
            result = multiply(&result, &base);
        }
    }
    multiply(&result, &ONE)
}

/// Montgomery's product: a · b / 2^768 modulo the prime.
fn multiply(a: &Number, b: &Number) -> Number {
    let (mut t, mut above) = ([0; WORDS], 0_u64);
    for &word in b {
        let mut carry = 0;
        for (t, &a) in t.iter_mut().zip(a) {
            (*t, carry) = multiply_add(a, word, *t, carry);
        }
        let (high, over) = above.overflowing_add(carry);
        let factor = t[0].wrapping_mul(MINUS_INVERSE);
        let (_, mut carry) = multiply_add(factor, P[0], t[0], 0);
        for i in 1..WORDS {
            (t[i - 1], carry) = multiply_add(factor, P[i], t[i], carry);
        }
        let (top, over_again) = high.overflowing_add(carry);
        t[WORDS - 1] = top;
        above = u64::from(over) + u64::from(over_again);
    }
    let (less, borrowed) = subtract_p(&t);
    if above > 0 || !borrowed { less } else { t }
}

/// a · b + c + d, which fits into two words: the lower and the higher.
fn multiply_add(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let sum = u128::from(a) * u128::from(b) + u128::from(c) + u128::from(d);
    (sum as u64, (sum >> 64) as u64)
}

/// Less the prime, modulo 2^768, and whether that was more than there was.
const fn subtract_p(n: &Number) -> (Number, bool) {
    let (mut out, mut borrowed, mut i) = ([0; WORDS], false, 0);
    while i < WORDS {
        let (less, under) = n[i].overflowing_sub(P[i]);
        let (less, under_again) = less.overflowing_sub(borrowed as u64);
        out[i] = less;
        borrowed = under || under_again;
        i += 1;
    }
    (out, borrowed)
}

/// Twice a number below the prime, modulo the prime.
const fn double(n: &Number) -> Number {
    let (mut out, mut carry, mut i) = ([0; WORDS], 0, 0);
    while i < WORDS {
        out[i] = n[i] << 1 | carry;
        carry = n[i] >> 63;
        i += 1;
    }
    let (less, borrowed) = subtract_p(&out);
    if carry > 0 || !borrowed { less } else { out }
}

const fn number(n: u64) -> Number {
    let mut out = [0; WORDS];
    out[0] = n;
    out
}

fn from_bytes(bytes: &[u8; KEY_LEN]) -> Number {
    let mut out = [0; WORDS];
    for (word, bytes) in out.iter_mut().rev().zip(bytes.as_chunks().0) {
        *word = u64::from_be_bytes(*bytes);
    }
    out
}

fn to_bytes(n: &Number) -> [u8; KEY_LEN] {
    let mut out = [0; KEY_LEN];
    for (bytes, word) in out.as_chunks_mut().0.iter_mut().zip(n.iter().rev()) {
        *bytes = word.to_be_bytes();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed with `pow(base, exponent, prime)`.
    const PRIVATE: &str = "11f6ad8ec52a2984abaafd7c3b516503785c2072";
    const PUBLIC: &str = "ade0f8f4024fe0f59201dc16c8d37f4b37195ca171b13e26e5d00a987836111e \
         807e489e683d2e2d4156b00cb6b03982637b7e88207b35865fc31ea59a11606b \
         000f304fd83278b42f6da3616aa505b36e8e8f846569fc0ac584662a90b9622d";
    const OTHER: &str = "15c90ae8ac1d912abf0ec9ed24d860132693a0e5ce4121e9c9f596b8aeb9283a \
         3e18dfff55768646af54558fe8f742e9a2bfc7e11e7fc3c0af73e6ab7aa1631e \
         7d7b4b1100850032a32eba35a73c01051aad087664e2267dc61f19530a2b3596";
    const SHARED: &str = "ac912022898c14ef7c29b94cacefb37799dbe0799f0714c49905484c14291e1c \
         1dcea6b71b6f1b787985f2f7b709a18baf43b3001ea17bf265c1ce1b49589358 \
         d70666041c5b020ff8df313b2947f144f86198b62850fb19840c1d9646b4c470";
    const SHARED_OF_LARGEST: &str = "ade0f8f4024fe0f59201dc16c8d37f4b37195ca171b13e26e5d00a987836111e \
         807e489e683d2e2d4156b00cb6b03982637b7e88207b35865fc31ea59a11606b \
         000f304fd83278b42f6da3616aa505b36e8e8f846569fc0ac584662a90b9622d";

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let hex: String = hex.split_whitespace().collect();
        assert_eq!(hex.len(), 2 * N);
        std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
    }

    #[test]
    fn powers_are_those_that_python_computes() {
        let private = bytes(PRIVATE);
        assert_eq!(public_key(&private), bytes(PUBLIC));
        assert_eq!(shared_secret(&private, &bytes(OTHER)), Some(bytes(SHARED)));
        let mut largest = to_bytes(&P);
        largest[KEY_LEN - 1] -= 2;
        assert_eq!(
            shared_secret(&private, &largest),
            Some(bytes(SHARED_OF_LARGEST))
        );
    }

    #[test]
    fn both_sides_come_to_the_same_secret() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..50 {
            let [mine, theirs] = [[(); PRIVATE_LEN]; 2].map(|bytes| bytes.map(|()| rng.u8(..)));
            let secret = shared_secret(&mine, &public_key(&theirs));
            assert!(secret.is_some());
            assert_eq!(secret, shared_secret(&theirs, &public_key(&mine)));
        }
        let ten: [u8; PRIVATE_LEN] = std::array::from_fn(|i| if i == 19 { 10 } else { 0 });
        assert_eq!(from_bytes(&public_key(&ten)), number(1024));
    }

    #[test]
    fn a_key_that_makes_the_secret_known_is_refused() {
        let changed = |by: i64| {
            let mut n = P;
            n[0] = n[0].wrapping_add_signed(by);
            n
        };
        for (key, good) in [
            (number(0), false),
            (ONE, false),
            (TWO, true),
            (changed(-2), true),
            (changed(-1), false),
            (P, false),
            (changed(1), false),
            ([u64::MAX; WORDS], false),
        ] {
            let secret = shared_secret(&[7; PRIVATE_LEN], &to_bytes(&key));
            assert_eq!(secret.is_some(), good, "{key:x?}");
        }
    }
}
