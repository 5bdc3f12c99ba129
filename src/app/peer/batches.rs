//! Memory for large batches of blocks on their way out. A fast link needs few of them at a time, and a connection that waits needs none.

use std::sync::{Mutex, PoisonError};

use crate::base::aligned::Aligned;
use crate::base::geometry::BLOCK;

/// Bytes of blocks that a writer takes at once at most: enough to make the cost of a batch small.
pub const LARGE: u32 = 16 * BLOCK;

/// What a writer does with on its own: all that it takes on a slow link, or where many links are fast at the same time.
pub const SMALL: u32 = 4 * BLOCK;

/// Large batches at a time, in the whole process: 2 MiB.
const MOST: usize = 8;

/// Lends the memory of large batches.
#[derive(Debug, Default)]
pub struct Batches(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    free: Vec<Aligned>,
    lent: usize,
}

impl Batches {
    /// Room for [`LARGE`] bytes, to be given back soon; nothing if all of it is lent.
    pub fn lend(&self) -> Option<Aligned> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lent == MOST {
            return None;
        }
        state.lent += 1;
        Some(state.free.pop().unwrap_or_default())
    }

    /// Takes back what was lent.
    pub fn give_back(&self, memory: Aligned) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.lent -= 1;
        state.free.push(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_lent_and_no_more() {
        let batches = Batches::default();
        let mut lent: Vec<_> = std::iter::repeat_with(|| batches.lend())
            .map_while(|m| m)
            .collect();
        assert_eq!(lent.len(), MOST);
        let mut memory = lent.pop().unwrap();
        memory.room(LARGE as usize).fill(7);
        batches.give_back(memory);
        let mut again = batches.lend().unwrap();
        assert!(
            again.room(LARGE as usize).iter().all(|&byte| byte == 7),
            "the same memory"
        );
        assert!(batches.lend().is_none());
    }
}
