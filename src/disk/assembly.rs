//! Blocks on their way to being pieces. Does no I/O: says which block must be written by the caller.
//!
//! A block that arrives while the pool is within its cache stays in memory, and moves by ownership. Beyond it, the block goes to its
//! place in the file at once ("spilled"), and its buffer back to the pool. A piece may be part in memory and part in the file; it is
//! complete when each of its blocks is one or the other, and the hasher reads what was spilled back. Partial pieces of any number and
//! size get by with any cache, down to none.

use std::collections::HashMap;

use crate::base::geometry::{Block, Geometry, PieceIndex};

use super::pool::{Buffer, Pool};

/// What became of a block, see [`Assembly::insert`].
#[derive(Debug)]
#[must_use]
pub enum Inserted {
    /// It is kept; the piece needs more.
    Kept,
    /// It was the last one that the piece needed.
    Complete(Finished),
    /// There is no room in memory: write it to [`Geometry::block_offset`], then call [`Assembly::written`].
    Spill(Buffer),
    /// It is here already, on its way to the file, or no block of this payload. It was dropped.
    Unwanted,
}

/// A piece of which every block is in memory or in the file. Not verified.
#[derive(Debug)]
pub struct Finished {
    /// Which piece.
    pub piece: PieceIndex,
    /// Its blocks in order; `None` for those in the file.
    pub blocks: Vec<Option<Buffer>>,
}

/// The partial pieces of a torrent.
#[derive(Debug)]
pub struct Assembly {
    geometry: Geometry,
    pool: Pool,
    pieces: HashMap<PieceIndex, Partial>,
}

#[derive(Debug)]
struct Partial {
    blocks: Vec<State>,
    /// Blocks that are neither in memory nor in the file.
    missing: u32,
}

#[derive(Debug)]
enum State {
    Missing,
    InMemory(Buffer),
    /// The caller is writing it.
    Spilling,
    InFile,
    /// The caller is still writing one that has been forgotten. One that comes meanwhile waits in memory until that is over, and goes to
    /// the file last, so that the file ends up with what was verified.
    Overtaken(Option<Buffer>),
}

impl Assembly {
    /// No piece yet. `pool` is where the buffers come from; several torrents may share one.
    #[must_use]
    pub fn new(geometry: Geometry, pool: Pool) -> Self {
        Self {
            geometry,
            pool,
            pieces: HashMap::new(),
        }
    }

    /// Takes in a block that arrived.
    ///
    /// Only for pieces that are still wanted: one that was handed out as [`Finished`] is forgotten here, and a late block would start it anew.
    /// A buffer whose length is not the block's is unwanted too.
    pub fn insert(&mut self, block: Block, buffer: Buffer) -> Inserted {
        let Some(n) = self.geometry.block_number(block) else {
            return Inserted::Unwanted;
        };
        if buffer.len() != block.len as usize {
            return Inserted::Unwanted;
        }
        let count = self.geometry.blocks(block.piece);
        let partial = self
            .pieces
            .entry(block.piece)
            .or_insert_with(|| Partial::new(count));
        let state = &mut partial.blocks[n as usize];
        if let State::Overtaken(waits @ None) = state {
            *waits = Some(buffer);
            return Inserted::Kept;
        }
        if !matches!(state, State::Missing) {
            return Inserted::Unwanted;
        }
        if self.pool.is_over() {
            *state = State::Spilling;
            return Inserted::Spill(buffer);
        }
        *state = State::InMemory(buffer);
        self.got_one(block.piece)
            .map_or(Inserted::Kept, Inserted::Complete)
    }

    /// A spilled block is in the file now. Returns the piece if it needed nothing else.
    pub fn written(&mut self, block: Block) -> Option<Finished> {
        let n = self.geometry.block_number(block)?;
        let partial = self.pieces.get_mut(&block.piece)?;
        let state = &mut partial.blocks[n as usize];
        *state = match state {
            State::Spilling => State::InFile,
            State::Overtaken(waits) => match waits.take() {
                Some(buffer) => State::InMemory(buffer),
                None => {
                    *state = State::Missing;
                    self.drop_if_empty(block.piece);
                    return None;
                }
            },
            _ => return None,
        };
        self.got_one(block.piece)
    }

    /// Drops the blocks of a piece. One that is being written comes to nothing; it still needs its [`Assembly::written`].
    pub fn forget(&mut self, piece: PieceIndex) {
        let Some(partial) = self.pieces.get_mut(&piece) else {
            return;
        };
        for state in &mut partial.blocks {
            *state = match state {
                State::Spilling | State::Overtaken(_) => State::Overtaken(None),
                State::Missing | State::InMemory(_) | State::InFile => State::Missing,
            };
        }
        partial.missing = u32::try_from(partial.blocks.len()).unwrap_or(u32::MAX);
        self.drop_if_empty(piece);
    }

    fn drop_if_empty(&mut self, piece: PieceIndex) {
        let nothing = |partial: &Partial| {
            let mut states = partial.blocks.iter();
            states.all(|state| matches!(state, State::Missing))
        };
        if self.pieces.get(&piece).is_some_and(nothing) {
            self.pieces.remove(&piece);
        }
    }

    /// Number of pieces that are begun.
    #[must_use]
    pub fn partial(&self) -> usize {
        self.pieces.len()
    }

    fn got_one(&mut self, piece: PieceIndex) -> Option<Finished> {
        let partial = self.pieces.get_mut(&piece)?;
        partial.missing -= 1;
        if partial.missing > 0 {
            return None;
        }
        let blocks = self.pieces.remove(&piece)?.blocks.into_iter();
        let blocks = blocks.map(|state| match state {
            State::InMemory(buffer) => Some(buffer),
            State::Missing | State::Spilling | State::InFile | State::Overtaken(_) => None,
        });
        Some(Finished {
            piece,
            blocks: blocks.collect(),
        })
    }
}

impl Partial {
    fn new(count: u32) -> Self {
        Self {
            blocks: (0..count).map(|_| State::Missing).collect(),
            missing: count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::BLOCK;

    const LEN: u64 = BLOCK as u64;

    fn fill(pool: &Pool, block: Block) -> Buffer {
        let mut buffer = pool.take(block.len);
        buffer.fill(block.begin.to_le_bytes()[1]);
        buffer
    }

    #[test]
    fn a_piece_that_was_forgotten_needs_all_its_blocks_again() {
        let pool = Pool::new(1 << 20);
        let geometry = Geometry::new(2 * LEN, 2 * BLOCK).unwrap();
        let mut assembly = Assembly::new(geometry, pool.clone());
        let [first, last] = [0, 1].map(|n| geometry.block(PieceIndex(0), n));
        assert!(matches!(
            assembly.insert(first, fill(&pool, first)),
            Inserted::Kept
        ));
        assembly.forget(first.piece);
        assert_eq!(assembly.partial(), 0);
        let insert = |assembly: &mut Assembly, block| assembly.insert(block, fill(&pool, block));
        assert!(matches!(insert(&mut assembly, last), Inserted::Kept));
        assert!(matches!(
            insert(&mut assembly, first),
            Inserted::Complete(_)
        ));
    }

    #[test]
    fn a_block_that_is_written_too_late_does_not_take_the_place_of_the_one_that_is_verified() {
        let pool = Pool::new(0);
        let geometry = Geometry::new(2 * LEN, 2 * BLOCK).unwrap();
        let mut assembly = Assembly::new(geometry, pool.clone());
        let [first, last] = [0, 1].map(|n| geometry.block(PieceIndex(0), n));
        let insert = |assembly: &mut Assembly, block| assembly.insert(block, fill(&pool, block));
        let Inserted::Spill(_writing) = insert(&mut assembly, first) else {
            panic!("there is no cache");
        };
        assembly.forget(first.piece);
        assert!(matches!(insert(&mut assembly, first), Inserted::Kept));
        assert!(matches!(insert(&mut assembly, first), Inserted::Unwanted));
        assert!(matches!(insert(&mut assembly, last), Inserted::Spill(_)));
        assert!(
            assembly.written(last).is_none(),
            "the first try is still being written"
        );
        let finished = assembly.written(first).unwrap();
        let in_memory: Vec<_> = finished.blocks.iter().map(Option::is_some).collect();
        assert_eq!(in_memory, [true, false]);

        assert!(matches!(insert(&mut assembly, last), Inserted::Spill(_)));
        assembly.forget(last.piece);
        assert_eq!(assembly.partial(), 1, "until it is written");
        assert!(assembly.written(last).is_none());
        assert_eq!(assembly.partial(), 0);
    }

    #[test]
    fn a_piece_is_complete_with_its_last_block_in_whatever_order() {
        let pool = Pool::new(1 << 20);
        let geometry = Geometry::new(5 * LEN + 7, 3 * BLOCK).unwrap();
        let mut assembly = Assembly::new(geometry, pool.clone());
        let last = PieceIndex(1);
        for n in [2, 0] {
            let block = geometry.block(last, n);
            assert!(matches!(
                assembly.insert(block, fill(&pool, block)),
                Inserted::Kept
            ));
        }
        let block = geometry.block(last, 1);
        let Inserted::Complete(finished) = assembly.insert(block, fill(&pool, block)) else {
            panic!("incomplete");
        };
        let lengths: Vec<_> = finished.blocks.iter().flatten().map(|b| b.len()).collect();
        assert_eq!((finished.piece, lengths), (last, vec![16384, 16384, 7]));
        assert_eq!((assembly.partial(), pool.used()), (0, 3));
        drop(finished);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn a_block_that_is_here_or_is_none_is_dropped() {
        let pool = Pool::new(1 << 20);
        let geometry = Geometry::new(3 * LEN, 3 * BLOCK).unwrap();
        let mut assembly = Assembly::new(geometry, pool.clone());
        let block = geometry.block(PieceIndex(0), 1);
        assert!(matches!(
            assembly.insert(block, fill(&pool, block)),
            Inserted::Kept
        ));
        let odd = Block { begin: 1, ..block };
        let foreign = Block {
            piece: PieceIndex(1),
            ..block
        };
        for (block, buffer) in [
            (block, pool.take(BLOCK)),
            (odd, pool.take(BLOCK)),
            (foreign, pool.take(BLOCK)),
            (geometry.block(PieceIndex(0), 2), pool.take(5)),
        ] {
            assert!(matches!(assembly.insert(block, buffer), Inserted::Unwanted));
        }
        assert!(assembly.written(block).is_none() && assembly.written(odd).is_none());
        assert_eq!((assembly.partial(), pool.used()), (1, 1));
    }

    #[test]
    fn a_spilled_block_counts_only_when_it_is_written() {
        let pool = Pool::new(LEN);
        let geometry = Geometry::new(2 * LEN, 2 * BLOCK).unwrap();
        let mut assembly = Assembly::new(geometry, pool.clone());
        let [first, second] = [0, 1].map(|n| geometry.block(PieceIndex(0), n));
        let buffers = [fill(&pool, first), fill(&pool, second)];
        let [a, b] = buffers;
        let Inserted::Spill(a) = assembly.insert(first, a) else {
            panic!("two buffers in use, the cache has one");
        };
        assert!(
            matches!(assembly.insert(first, pool.take(BLOCK)), Inserted::Unwanted),
            "a duplicate while the first one is being written"
        );
        drop(a);
        assert!(matches!(assembly.insert(second, b), Inserted::Kept));
        let finished = assembly.written(first).unwrap();
        let in_memory: Vec<_> = finished.blocks.iter().map(Option::is_some).collect();
        assert_eq!(in_memory, [false, true]);
        assert!(assembly.written(first).is_none());
    }

    #[test]
    fn fifty_peers_on_pieces_of_16_mib_stay_within_32_mib() {
        let (peers, cache) = (50, 32 << 20);
        let pool = Pool::new(cache);
        let geometry = Geometry::new(peers * (16 << 20), 16 << 20).unwrap();
        let mut assembly = Assembly::new(geometry, pool.clone());
        let bound = usize::try_from(cache / LEN + peers).unwrap();
        let (mut done, mut spilled) = (0, 0);
        for n in 0..geometry.blocks(PieceIndex(0)) {
            // Every peer has a block in hand at the same time, each of a piece of its own.
            let arrived: Vec<_> = geometry.all().map(|p| geometry.block(p, n)).collect();
            let buffers: Vec<_> = arrived.iter().map(|b| pool.take(b.len)).collect();
            assert!(pool.used() <= bound, "{} buffers", pool.used());
            for (block, buffer) in arrived.into_iter().zip(buffers) {
                match assembly.insert(block, buffer) {
                    Inserted::Spill(buffer) => {
                        drop(buffer);
                        spilled += 1;
                        done += u64::from(assembly.written(block).is_some());
                    }
                    Inserted::Complete(_) => done += 1,
                    Inserted::Kept => {}
                    Inserted::Unwanted => panic!("{block:?}"),
                }
            }
        }
        assert_eq!((done, assembly.partial(), pool.used()), (peers, 0, 0));
        assert!(spilled > 0);
        assert_eq!(size_of::<State>(), 32, "as the pool's bound says");
    }
}
