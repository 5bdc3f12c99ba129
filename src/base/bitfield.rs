//! A set of pieces: one bit each, the first piece in the high bit of the first byte (BEP 3).

use super::geometry::PieceIndex;

/// Which pieces somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitfield {
    bytes: Vec<u8>,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// None of `len` pieces.
    #[must_use]
    pub fn none(len: u32) -> Self {
        Self {
            bytes: vec![0; len.div_ceil(8) as usize],
            len,
            ones: 0,
        }
    }

    /// All of `len` pieces.
    #[must_use]
    pub fn all(len: u32) -> Self {
        let mut bytes = vec![0xff; len.div_ceil(8) as usize];
        if let (Some(last), true) = (bytes.last_mut(), !len.is_multiple_of(8)) {
            *last <<= 8 - len % 8;
        }
        Self {
            bytes,
            len,
            ones: len,
        }
    }

    /// The payload of a `bitfield` message. `None` if the length is wrong or a spare bit at the end is set (BEP 3 says to drop such a peer).
    #[must_use]
    pub fn from_wire(bytes: &[u8], len: u32) -> Option<Self> {
        let spare = (8 - len % 8) % 8;
        let tidy = bytes.last().is_none_or(|b| b.trailing_zeros() >= spare);
        (bytes.len() == len.div_ceil(8) as usize && tidy).then(|| {
            let ones = bytes.iter().map(|b| b.count_ones()).sum();
            Self {
                bytes: bytes.to_vec(),
                len,
                ones,
            }
        })
    }

    /// The payload of a `bitfield` message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of pieces there are.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no pieces at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of pieces in the set.
    #[must_use]
    pub const fn ones(&self) -> u32 {
        self.ones
    }

    /// Whether every piece is in the set; true of an empty payload.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Whether `piece` is in the set; false for one that does not exist.
    #[must_use]
    pub fn has(&self, piece: PieceIndex) -> bool {
        self.bytes
            .get(piece.idx() / 8)
            .is_some_and(|b| b & mask(piece) != 0)
    }

    /// Adds `piece`. Returns whether that changed anything.
    ///
    /// # Panics
    /// If there is no such piece; [`super::geometry::Geometry::piece`] is the door for numbers from outside.
    pub fn set(&mut self, piece: PieceIndex) -> bool {
        assert!(piece.0 < self.len, "piece {piece} of {}", self.len);
        let fresh = !self.has(piece);
        self.bytes[piece.idx() / 8] |= mask(piece);
        self.ones += u32::from(fresh);
        fresh
    }

    /// Takes `piece` out. Returns whether that changed anything.
    pub fn clear(&mut self, piece: PieceIndex) -> bool {
        let held = self.has(piece);
        if held {
            self.bytes[piece.idx() / 8] &= !mask(piece);
            self.ones -= 1;
        }
        held
    }

    /// The pieces in the set, in order. Skips empty bytes at once.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        let bytes = self.bytes.iter().zip(0_u32..).filter(|(b, _)| **b != 0);
        bytes.flat_map(|(&b, at)| {
            (0..8)
                .filter(move |bit| b & (0x80 >> bit) != 0)
                .map(move |bit| PieceIndex(at * 8 + bit))
        })
    }

    /// The pieces that are in `other`, too, in order, from the `64 * word`th piece on. Skips 64 at a time of those that are not.
    pub fn common<'a>(
        &'a self,
        other: &'a Self,
        word: usize,
    ) -> impl Iterator<Item = PieceIndex> + 'a {
        let both = self.words(word).zip(other.words(word)).zip(word..);
        both.map(|((a, b), at)| (a & b, at))
            .filter(|(word, _)| *word != 0)
            .flat_map(|(mut word, at)| {
                std::iter::from_fn(move || {
                    let bit = word.leading_zeros();
                    word &= !(1 << 63_u32.checked_sub(bit)?);
                    Some((at, bit))
                })
            })
            .filter_map(|(at, bit)| Some(PieceIndex(u32::try_from(at * 64).ok()? + bit)))
    }

    /// 64 pieces each, the first one in the high bit.
    fn words(&self, from: usize) -> impl Iterator<Item = u64> + '_ {
        let bytes = self.bytes.get(from * 8..).unwrap_or_default();
        let (whole, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let words = whole.iter().map(|word| u64::from_be_bytes(*word));
        words.chain((!rest.is_empty()).then(|| u64::from_be_bytes(last)))
    }

    /// Whether `other` has a piece that this set lacks: whether its owner is interesting to us (BEP 3).
    #[must_use]
    pub fn lacks_any_of(&self, other: &Self) -> bool {
        self.bytes
            .iter()
            .zip(&other.bytes)
            .any(|(mine, theirs)| theirs & !mine != 0)
    }
}

const fn mask(piece: PieceIndex) -> u8 {
    0x80 >> (piece.0 % 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_sets_have_in_common_is_found_from_any_word_on() {
        let mut rng = fastrand::Rng::with_seed(4);
        for len in [0, 1, 7, 63, 64, 65, 130, 200] {
            let mut random = || {
                let mut set = Bitfield::none(len);
                for i in (0..len).filter(|_| rng.bool()) {
                    set.set(PieceIndex(i));
                }
                set
            };
            let all = Bitfield::all(len);
            for (a, b) in [
                (random(), random()),
                (all.clone(), random()),
                (all.clone(), all),
            ] {
                for word in 0..5 {
                    let found: Vec<_> = a.common(&b, word).map(PieceIndex::idx).collect();
                    let both = |&i: &usize| {
                        let piece = PieceIndex(u32::try_from(i).unwrap());
                        a.has(piece) && b.has(piece)
                    };
                    let wanted: Vec<_> = (64 * word..len as usize).filter(both).collect();
                    assert_eq!(found, wanted, "{len} {word}");
                }
            }
        }
    }

    #[test]
    fn counts_and_members_agree_for_every_length() {
        for len in 0..40 {
            let mut set = Bitfield::none(len);
            for i in (0..len).step_by(3) {
                assert!(set.set(PieceIndex(i)));
                assert!(!set.set(PieceIndex(i)));
            }
            let members: Vec<_> = set.iter().map(|p| p.0).collect();
            assert_eq!(members, (0..len).step_by(3).collect::<Vec<_>>());
            assert_eq!(set.ones() as usize, members.len());
            assert_eq!(Bitfield::from_wire(set.as_bytes(), len), Some(set.clone()));
            let all = Bitfield::all(len);
            assert_eq!(all.iter().count(), len as usize);
            assert!(all.is_full() && !all.lacks_any_of(&set));
            assert_eq!(set.lacks_any_of(&all), !set.is_full());
            for p in all.iter() {
                set.clear(p);
            }
            assert_eq!(set, Bitfield::none(len));
        }
    }

    #[test]
    fn the_first_piece_is_the_high_bit() {
        let mut set = Bitfield::none(9);
        set.set(PieceIndex(0));
        set.set(PieceIndex(8));
        assert_eq!(set.as_bytes(), [0x80, 0x80]);
    }

    #[test]
    fn wrong_lengths_and_spare_bits_are_refused() {
        assert!(Bitfield::from_wire(&[0xff], 9).is_none());
        assert!(Bitfield::from_wire(&[0xff, 0x80, 0], 9).is_none());
        assert!(Bitfield::from_wire(&[0xff, 0xc0], 9).is_none());
        assert!(Bitfield::from_wire(&[0xff, 0x80], 9).is_some());
        assert!(Bitfield::from_wire(&[], 0).is_some());
        assert!(!Bitfield::none(9).has(PieceIndex(70)));
    }
}
