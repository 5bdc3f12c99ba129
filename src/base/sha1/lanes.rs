//! Several streams of the same length side by side.

use std::array::from_fn;

use super::way::{self, Way};
use super::{Digest, Sha1};

#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512, x86_sha};

/// Bytes that one step of SHA-1 takes in.
pub(super) const BLOCK: usize = 64;

/// The state before the first block.
pub(super) const INITIAL: [u32; 5] = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

/// Most lanes of any way.
const MOST: usize = 16;

/// The five words of the state, each for all lanes.
pub(super) type State = [[u32; MOST]; 5];

/// So many streams have to be there for lanes to be worth their while where others have instructions of their own: those hash one stream 4.1
/// times as fast as one lane of AVX-512, 4.5 times as one of AVX2, and are faster still with several.
const WORTH_BESIDE_SHA: usize = 8;

/// The same where a single stream would else be hashed by portable code, 1.3 and 1.4 times as fast as one lane, or by itself.
const WORTH: usize = 2;

/// SHA-1 of streams of equal length, such as the pieces of a payload.
///
/// ```
/// use hivebt::base::sha1::{SideBySide, digest};
/// let mut both = SideBySide::new(2);
/// both.update(&[b"abcd", b"efgh"]);
/// assert_eq!(both.finish(), [digest(b"abcd"), digest(b"efgh")]);
/// ```
#[derive(Debug)]
pub struct SideBySide {
    groups: Vec<Lanes>,
    /// Those that are too few for lanes.
    singles: Vec<Sha1>,
}

/// How many streams are best hashed at a time: as many as there are lanes.
#[must_use]
pub fn width() -> usize {
    way::side_by_side().lanes()
}

impl SideBySide {
    /// `count` streams, as many as the caller likes; [`width`] of them or a multiple is best.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let (many, one) = (way::side_by_side(), way::single());
        let worth = if one == Way::Sha && many != Way::Sha {
            WORTH_BESIDE_SHA
        } else {
            WORTH
        };
        Self::with([(many, worth), (one, WORTH)], one, count)
    }

    /// All of them by one way, even where another is faster: for tests and measurements.
    ///
    /// # Panics
    /// If this processor does not have it.
    #[must_use]
    pub fn by(way: Way, count: usize) -> Self {
        Self::with([(way, 1); 2], way, count)
    }

    /// With the first of `ways` for groups of at least so many streams, then the other, and `one` for those that remain.
    fn with(ways: [(Way, usize); 2], one: Way, count: usize) -> Self {
        let (mut groups, mut left) = (Vec::new(), count);
        for (way, worth) in ways {
            while way.lanes() > 1 && left >= worth {
                let used = left.min(way.lanes());
                groups.push(Lanes::new(way, used));
                left -= used;
            }
        }
        let singles = (0..left).map(|_| Sha1::by(one)).collect();
        Self { groups, singles }
    }

    /// Takes in what comes next of each stream: the same number of bytes of all, a multiple of 64 but for the last time.
    ///
    /// # Panics
    /// If there are not as many parts as streams, their lengths differ, or bytes come after a part that was no multiple of 64.
    pub fn update(&mut self, parts: &[&[u8]]) {
        let len = parts.first().map_or(0, |part| part.len());
        let equal = parts.iter().all(|part| part.len() == len);
        assert!(equal, "parts of the same length");
        let mut parts = parts;
        for group in &mut self.groups {
            let (these, others) = parts.split_at(group.used);
            group.update(these);
            parts = others;
        }
        assert_eq!(self.singles.len(), parts.len(), "a part for each stream");
        for (single, part) in self.singles.iter_mut().zip(parts) {
            single.update(part);
        }
    }

    /// The digests of all streams, in their order.
    #[must_use]
    pub fn finish(self) -> Vec<Digest> {
        let mut digests = Vec::with_capacity(self.groups.len() * MOST + self.singles.len());
        for group in self.groups {
            group.finish(&mut digests);
        }
        digests.extend(self.singles.iter().map(Sha1::finish));
        digests
    }
}

/// Takes the whole blocks of `N` streams into their states, if the processor has what that needs.
#[cfg(target_arch = "x86_64")]
type Compress<const N: usize> = unsafe fn(&mut [[u32; 5]; N], &[&[u8]; N]);

/// As many streams as a vector has lanes.
#[derive(Debug)]
struct Lanes {
    way: Way,
    /// Lanes that hold a stream; the others go through the motions.
    used: usize,
    state: State,
    /// Bytes taken in by each.
    len: u64,
    /// The last `len % 64` of them.
    rests: [[u8; BLOCK]; MOST],
}

impl Lanes {
    fn new(way: Way, used: usize) -> Self {
        assert!(way.is_here(), "{way} is not on this processor");
        Self {
            way,
            used,
            state: INITIAL.map(|word| [word; MOST]),
            len: 0,
            rests: [[0; BLOCK]; MOST],
        }
    }

    fn update(&mut self, parts: &[&[u8]]) {
        assert!(
            self.len.is_multiple_of(BLOCK as u64),
            "the last part has come"
        );
        let len = parts.first().map_or(0, |part| part.len());
        let whole = len - len % BLOCK;
        let mut blocks: [&[u8]; MOST] = [&[]; MOST];
        for (lane, part) in parts.iter().enumerate() {
            let (these, rest) = part.split_at(whole);
            blocks[lane] = these;
            self.rests[lane][..rest.len()].copy_from_slice(rest);
        }
        self.compress(&blocks);
        self.len += len as u64;
    }

    fn finish(mut self, digests: &mut Vec<Digest>) {
        let held = usize::try_from(self.len % BLOCK as u64).unwrap_or(0);
        let ends = self.rests.map(|rest| padding(&rest[..held], self.len));
        let mut blocks: [&[u8]; MOST] = [&[]; MOST];
        for (slot, (end, count)) in blocks.iter_mut().zip(&ends) {
            *slot = &end[..count * BLOCK];
        }
        self.compress(&blocks);
        digests.extend((0..self.used).map(|lane| big_endian(self.state.map(|row| row[lane]))));
    }

    /// Takes in whole blocks. Lanes without a stream get those of the first.
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "calls what this processor was found to have")]
    fn compress(&mut self, blocks: &[&[u8]; MOST]) {
        let of = |lane: usize| blocks[if lane < self.used { lane } else { 0 }];
        match self.way {
            // SAFETY: `new` has asked the processor.
            Way::Avx512 => unsafe {
                avx512::compress(&mut self.state, &from_fn(of));
            },
            // SAFETY: `new` has asked the processor.
            Way::Avx2 => unsafe { avx2::compress(&mut self.state, &from_fn(of)) },
            Way::Sha => match self.used {
                1 => self.by_turns(blocks, x86_sha::one),
                2 => self.by_turns(blocks, x86_sha::two),
                3 => self.by_turns(blocks, x86_sha::three),
                _ => self.by_turns(blocks, x86_sha::four),
            },
            Way::Portable => unreachable!("{} has no lanes", self.way),
        }
    }

    /// The same with one of the functions for SHA instructions, for the first `N` lanes.
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "calls what this processor was found to have")]
    fn by_turns<const N: usize>(&mut self, blocks: &[&[u8]; MOST], compress: Compress<N>) {
        let mut states: [[u32; 5]; N] = from_fn(|lane| self.state.map(|row| row[lane]));
        // SAFETY: `new` has asked the processor.
        unsafe { compress(&mut states, &from_fn(|lane| blocks[lane])) };
        for (lane, state) in states.into_iter().enumerate() {
            for (row, word) in self.state.iter_mut().zip(state) {
                row[lane] = word;
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn compress(&mut self, _blocks: &[&[u8]; MOST]) {
        unreachable!("{} has no lanes", self.way);
    }
}

/// The last block or two (their number): the last bytes of a message, a bit, zeros and its length (FIPS 180-4, 5.1.1).
pub(super) fn padding(rest: &[u8], len: u64) -> ([u8; 2 * BLOCK], usize) {
    let mut end = [0; 2 * BLOCK];
    end[..rest.len()].copy_from_slice(rest);
    end[rest.len()] = 0x80;
    let blocks = if rest.len() < BLOCK - 8 { 1 } else { 2 };
    end[blocks * BLOCK - 8..blocks * BLOCK].copy_from_slice(&(len * 8).to_be_bytes());
    (end, blocks)
}

/// The words of a state as a digest.
pub(super) fn big_endian(state: [u32; 5]) -> Digest {
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}
