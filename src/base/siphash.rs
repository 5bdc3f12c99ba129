//! SipHash-2-4 (Aumasson and Bernstein) of three whole words: a keyed hash whose values nobody can foresee who does not know the key.

/// The hash of `words` under `key`.
#[must_use]
pub fn siphash(key: [u64; 2], words: [u64; 3]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let length = (words.len() as u64 * 8) << 56;
    for word in words.into_iter().chain([length]) {
        v[3] ^= word;
        v = round(round(v));
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    let [a, b, c, d] = round(round(round(round(v))));
    a ^ b ^ c ^ d
}

const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_was_published() {
        // The reference's key and message: the bytes 0, 1, 2 and so on; 24 of them.
        let word = |from: u8| u64::from_le_bytes(std::array::from_fn(|i| from + i as u8));
        let hash = siphash([word(0), word(8)], [word(0), word(8), word(16)]);
        let published = [0x94, 0xaf, 0x49, 0xf6, 0xc6, 0x50, 0xad, 0xb8];
        assert_eq!(hash.to_le_bytes(), published);
    }
}
