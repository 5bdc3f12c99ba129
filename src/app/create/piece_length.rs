//! How long pieces are when nobody says so.
//!
//! The rule is frozen, because the piece length is part of the info-hash: the shortest power of two from 64 KiB to 16 MiB that gives at most
//! 2,000 pieces, so more than 1,000 from 62.5 MiB up to the top of the range. Swarms start faster with many pieces; beyond 2,000 the torrent only grows.
//!
//! | payload up to | piece length |
//! | --- | --- |
//! | 125 MiB | 64 KiB |
//! | 250 MiB | 128 KiB |
//! | 500 MiB | 256 KiB |
//! | 1,000 MiB | 512 KiB |
//! | 2,000 MiB | 1 MiB |
//! | 4,000 MiB | 2 MiB |
//! | 8,000 MiB | 4 MiB |
//! | 16,000 MiB | 8 MiB |
//! | more | 16 MiB, and as many pieces as it takes |

/// The shortest automatic piece, in bytes.
const SHORTEST: u32 = 64 << 10;

/// The longest automatic piece, in bytes.
const LONGEST: u32 = 16 << 20;

/// Pieces at most, while pieces can still grow.
const PIECES: u64 = 2000;

/// The piece length for a payload of `total` bytes.
#[must_use]
pub fn automatic(total: u64) -> u32 {
    let mut length = SHORTEST;
    while length < LONGEST && total.div_ceil(u64::from(length)) > PIECES {
        length *= 2;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_frozen() {
        const MIB: u64 = 1 << 20;
        for (mib, kib) in [
            (125, 64),
            (250, 128),
            (500, 256),
            (1000, 512),
            (2000, 1024),
            (4000, 2048),
            (8000, 4096),
            (16_000, 8192),
        ] {
            assert_eq!(automatic(mib * MIB), kib << 10);
            assert_eq!(automatic(mib * MIB + 1), kib << 11);
        }
        assert_eq!(automatic(0), 64 << 10);
        assert_eq!(automatic(u64::MAX), 16 << 20);
    }

    #[test]
    fn there_are_one_to_two_thousand_pieces_in_the_middle() {
        let mut total = 64_u64 << 20;
        while total < 16_000 << 20 {
            let pieces = total.div_ceil(u64::from(automatic(total)));
            assert!((1000..=2000).contains(&pieces), "{total}: {pieces}");
            total += total / 7;
        }
    }
}
