//! How a payload is cut into pieces and pieces into blocks. The only place that divides.

use std::fmt;
use std::ops::Range;

/// Bytes in a block, the unit of a request: 16 KiB, which is what every client asks for and serves (BEP 3).
pub const BLOCK: u32 = 16 * 1024;

/// The largest piece that is read from a torrent: 1 GiB. What we create stops at 128 MiB.
pub const MAX_PIECE_LENGTH: u32 = 1 << 30;

/// The number of a piece, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceIndex(pub u32);

impl PieceIndex {
    /// The index as a subscript.
    #[must_use]
    pub const fn idx(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A range of bytes inside a piece, as requests and cancels name it on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The piece.
    pub piece: PieceIndex,
    /// Offset of the first byte inside the piece.
    pub begin: u32,
    /// Number of bytes.
    pub len: u32,
}

/// The sums that follow from a payload's length and its piece length.
///
/// Every piece has `piece_length` bytes but the last, which has what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    total: u64,
    piece_length: u32,
}

impl Default for Geometry {
    /// No bytes, and so no pieces.
    fn default() -> Self {
        Self {
            total: 0,
            piece_length: BLOCK,
        }
    }
}

impl Geometry {
    /// `None` if `piece_length` is 0 or above [`MAX_PIECE_LENGTH`], or if there would be more than 2^32 - 1 pieces.
    #[must_use]
    pub fn new(total: u64, piece_length: u32) -> Option<Self> {
        let sane = (1..=MAX_PIECE_LENGTH).contains(&piece_length);
        (sane && total.div_ceil(u64::from(piece_length)) < u64::from(u32::MAX)).then_some(Self {
            total,
            piece_length,
        })
    }

    /// Bytes of payload.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes in every piece but the last.
    #[must_use]
    pub const fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Number of pieces; 0 for an empty payload.
    #[must_use]
    pub fn pieces(&self) -> u32 {
        u32::try_from(self.total.div_ceil(u64::from(self.piece_length))).unwrap_or(u32::MAX)
    }

    /// All pieces in order.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + ExactSizeIterator + use<> {
        (0..self.pieces()).map(PieceIndex)
    }

    /// A number from outside as a piece of this payload.
    #[must_use]
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.pieces()).then_some(PieceIndex(index))
    }

    /// Bytes in `piece`; 0 for one that does not exist.
    #[must_use]
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        let left = self.total.saturating_sub(self.piece_offset(piece));
        u32::try_from(left)
            .unwrap_or(u32::MAX)
            .min(self.piece_length)
    }

    /// Where `piece` begins in the payload.
    #[must_use]
    pub fn piece_offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// The piece that holds the byte at `offset` of the payload.
    #[must_use]
    pub fn piece_at(&self, offset: u64) -> Option<PieceIndex> {
        let index = u32::try_from(offset / u64::from(self.piece_length)).ok()?;
        (offset < self.total).then_some(PieceIndex(index))
    }

    /// The pieces that hold at least one byte of `range` of the payload.
    pub fn touched(&self, range: Range<u64>) -> impl Iterator<Item = PieceIndex> + use<> {
        let last = range.end.min(self.total).checked_sub(1);
        let last = last.filter(|&last| range.start <= last);
        let ends = self
            .piece_at(range.start)
            .zip(last.and_then(|at| self.piece_at(at)));
        ends.into_iter()
            .flat_map(|(first, last)| (first.0..=last.0).map(PieceIndex))
    }

    /// Number of blocks in `piece`.
    #[must_use]
    pub fn blocks(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK)
    }

    /// The `n`-th block of `piece`, from 0. The last one of a piece may be short.
    #[must_use]
    pub fn block(&self, piece: PieceIndex, n: u32) -> Block {
        let begin = n * BLOCK;
        Block {
            piece,
            begin,
            len: self.piece_len(piece).saturating_sub(begin).min(BLOCK),
        }
    }

    /// Which block of its piece `block` is, if it is exactly one of those that [`Geometry::block`] makes.
    #[must_use]
    pub fn block_number(&self, block: Block) -> Option<u32> {
        let n = block.begin / BLOCK;
        let whole = block.begin.is_multiple_of(BLOCK)
            && self.holds(block)
            && self.block(block.piece, n) == block;
        whole.then_some(n)
    }

    /// Whether the bytes that `block` names exist, and are more than none. For requests, which may be cut at will.
    #[must_use]
    pub fn holds(&self, block: Block) -> bool {
        let end = u64::from(block.begin) + u64::from(block.len);
        block.len > 0
            && self.piece(block.piece.0).is_some()
            && end <= u64::from(self.piece_len(block.piece))
    }

    /// Where `block` begins in the payload.
    #[must_use]
    pub fn block_offset(&self, block: Block) -> u64 {
        self.piece_offset(block.piece) + u64::from(block.begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_blocks_tile_every_small_payload() {
        for piece_length in [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 7] {
            for total in [0, 1, 4, 5, 6, 16383, 16384, 16385, 40_000, 98_304, 98_305] {
                let g = Geometry::new(total, piece_length).unwrap();
                let mut at = 0;
                for piece in g.all() {
                    assert_eq!(g.piece_offset(piece), at);
                    assert_eq!(g.piece_at(at), Some(piece));
                    for n in 0..g.blocks(piece) {
                        let block = g.block(piece, n);
                        assert!((1..=BLOCK).contains(&block.len) && g.holds(block));
                        assert_eq!(g.block_number(block), Some(n));
                        assert_eq!(g.block_offset(block), at);
                        at += u64::from(block.len);
                    }
                }
                assert_eq!(at, total, "{total} bytes in pieces of {piece_length}");
                assert_eq!(g.piece_at(total), None);
            }
        }
    }

    #[test]
    fn a_block_that_reaches_outside_its_piece_does_not_exist() {
        let g = Geometry::new(u64::from(BLOCK) * 5 + 10, 2 * BLOCK).unwrap();
        let block = |piece, begin, len| Block {
            piece: PieceIndex(piece),
            begin,
            len,
        };
        assert!(g.holds(block(2, BLOCK, 10)));
        for bad in [
            block(2, BLOCK, 11),
            block(3, 0, 1),
            block(0, 0, 0),
            block(0, u32::MAX, u32::MAX),
            block(u32::MAX, 0, 1),
        ] {
            assert!(!g.holds(bad), "{bad:?}");
            assert_eq!(g.block_number(bad), None);
        }
        assert_eq!(
            g.block_number(block(0, 1, BLOCK)),
            None,
            "not on a boundary"
        );
        assert_eq!(g.block_number(block(0, 0, BLOCK - 1)), None, "cut short");
    }

    #[test]
    fn a_range_touches_every_piece_that_has_a_byte_of_it() {
        let g = Geometry::new(11, 3).unwrap();
        for from in 0..14 {
            for to in 0..14 {
                let touched: Vec<_> = g.touched(from..to).collect();
                let mut expected: Vec<_> = (from..to).filter_map(|at| g.piece_at(at)).collect();
                expected.dedup();
                assert_eq!(touched, expected, "{from}..{to}");
            }
        }
    }

    #[test]
    fn senseless_sizes_are_refused() {
        assert!(Geometry::new(1, 0).is_none());
        assert!(Geometry::new(1, MAX_PIECE_LENGTH + 1).is_none());
        assert!(Geometry::new(u64::MAX, 16384).is_none());
    }
}
