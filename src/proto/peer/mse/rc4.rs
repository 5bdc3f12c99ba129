//! RC4 as message stream encryption uses it: the first 1,024 bytes of the key stream, which give the key away, are thrown away.

/// Bytes of the key stream that are not used.
const DROPPED: usize = 1024;

/// One direction of an encrypted stream. What it does to bytes it undoes when it is done again at the same place of the stream.
#[derive(Clone)]
pub struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl std::fmt::Debug for Rc4 {
    /// Its state is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rc4")
    }
}

impl Rc4 {
    /// The stream of this key, from its 1,025th byte on.
    #[must_use]
    pub fn new(key: &[u8; 20]) -> Self {
        let mut rc4 = Self::keyed(key);
        rc4.skip(DROPPED);
        rc4
    }

    fn keyed(key: &[u8]) -> Self {
        let mut state = [0; 256];
        (0..=255).for_each(|i| state[usize::from(i)] = i);
        let mut j = 0_u8;
        for i in 0..256 {
            j = j.wrapping_add(state[i]).wrapping_add(key[i % key.len()]);
            state.swap(i, j.into());
        }
        Self { state, i: 0, j: 0 }
    }

    /// Encrypts or decrypts the bytes that come next, in their place.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte ^= self.next();
        }
    }

    /// Leaves out so many bytes of the stream.
    pub fn skip(&mut self, bytes: usize) {
        for _ in 0..bytes {
            self.next();
        }
    }

    // Programs are compiled for size, and with a call for each byte this takes three times as long.
    #[inline(always)]
    fn next(&mut self) -> u8 {
        self.i = self.i.wrapping_add(1);
        let a = self.state[usize::from(self.i)];
        self.j = self.j.wrapping_add(a);
        let b = self.state[usize::from(self.j)];
        self.state[usize::from(self.i)] = b;
        self.state[usize::from(self.j)] = a;
        self.state[usize::from(a.wrapping_add(b))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stream_is_that_of_rfc_6229() {
        for (key, first, after_1024) in [
            (
                &[1, 2, 3, 4, 5][..],
                0xb239_6305_f03d_c027_ccc3_524a_0a11_18a8_u128,
                0x30ab_bcc7_c20b_0160_9f23_ee2d_5f6b_b7df_u128,
            ),
            (
                &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
                0x9ac7_cc9a_609d_1ef7_b293_2899_cde4_1b97,
                0xbdf0_324e_6083_dcc6_d3ce_dd3c_a8c5_3c16,
            ),
        ] {
            let mut rc4 = Rc4::keyed(key);
            let mut bytes = [0; 16];
            rc4.apply(&mut bytes);
            assert_eq!(u128::from_be_bytes(bytes), first);
            rc4.skip(DROPPED - 16);
            bytes = [0; 16];
            rc4.apply(&mut bytes);
            assert_eq!(u128::from_be_bytes(bytes), after_1024);
        }
    }

    #[test]
    fn a_stream_begins_behind_what_is_thrown_away_and_is_undone_in_any_portions() {
        let key = [9; 20];
        let mut text: Vec<u8> = (0..=255).collect();
        let (mut whole, mut skipped) = (Rc4::new(&key), Rc4::keyed(&key));
        skipped.skip(1024);
        whole.apply(&mut text);
        for part in text.chunks_mut(7) {
            skipped.apply(part);
        }
        assert!(text.iter().copied().eq(0..=255));
    }
}
