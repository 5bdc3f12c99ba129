//! A sequence that grows without copying what it holds: full segments of a fixed size, and a last one that grows a little at a time.
//!
//! A vector that doubles leaves up to half of its memory unused, and needs both halves and the whole while it grows. Here at most a quarter of one
//! segment is unused, whatever the length.

/// Entries of a full segment.
const SEGMENT: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Segments<T> {
    full: Vec<Box<[T; SEGMENT]>>,
    /// What comes after them; always shorter than a segment.
    tail: Vec<T>,
}

impl<T> Segments<T> {
    /// An empty one, which takes no heap.
    pub(super) const fn new() -> Self {
        Self {
            full: Vec::new(),
            tail: Vec::new(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.full.len() * SEGMENT + self.tail.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        match self.full.get(at / SEGMENT) {
            Some(segment) => segment.get(at % SEGMENT),
            None => self.tail.get(at - self.full.len() * SEGMENT),
        }
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        let before = self.full.len() * SEGMENT;
        match self.full.get_mut(at / SEGMENT) {
            Some(segment) => segment.get_mut(at % SEGMENT),
            None => self.tail.get_mut(at - before),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let full = self.full.iter().flat_map(|segment| segment.iter());
        full.chain(&self.tail)
    }

    /// Adds an entry at the end.
    pub(super) fn push(&mut self, entry: T) {
        if self.tail.len() == self.tail.capacity() {
            self.tail.reserve_exact(self.more());
        }
        self.tail.push(entry);
        if self.tail.len() == SEGMENT {
            let tail = std::mem::take(&mut self.tail);
            let full = Box::<[T; SEGMENT]>::try_from(tail).ok();
            self.full
                .push(full.expect("as many entries as a segment holds"));
        }
    }

    /// Takes the last entry.
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.tail.is_empty() {
            let segment: Box<[T]> = self.full.pop()?;
            self.tail = segment.into_vec();
        }
        let entry = self.tail.pop();
        if self.tail.len() * 4 < self.tail.capacity() {
            self.tail.shrink_to(self.tail.len() * 2);
        }
        if self.full.len() * 4 < self.full.capacity() {
            self.full.shrink_to(self.full.len() * 2);
        }
        entry
    }

    pub(super) fn swap(&mut self, a: usize, b: usize) {
        let (low, high) = (a.min(b), a.max(b));
        let (low_segment, high_segment) = (low / SEGMENT, high / SEGMENT);
        let before = self.full.len() * SEGMENT;
        if low_segment == high_segment {
            match self.full.get_mut(low_segment) {
                Some(segment) => segment.swap(low % SEGMENT, high % SEGMENT),
                None => self.tail.swap(low - before, high - before),
            }
            return;
        }
        let (firsts, lasts) = self.full.split_at_mut(high_segment.min(before / SEGMENT));
        let a = firsts
            .get_mut(low_segment)
            .and_then(|s| s.get_mut(low % SEGMENT));
        let b = match lasts.first_mut() {
            Some(segment) => segment.get_mut(high % SEGMENT),
            None => self.tail.get_mut(high - before),
        };
        if let (Some(a), Some(b)) = (a, b) {
            std::mem::swap(a, b);
        }
    }

    /// Bytes of heap.
    pub(super) const fn heap(&self) -> usize {
        self.full.capacity() * size_of::<usize>()
            + self.full.len() * SEGMENT * size_of::<T>()
            + self.tail.capacity() * size_of::<T>()
    }

    /// Bytes of heap that one more entry may cost.
    pub(super) const fn growth(&self) -> usize {
        if self.tail.len() == self.tail.capacity() {
            self.more() * size_of::<T>()
        } else {
            0
        }
    }

    /// By how many entries the tail grows: a quarter, which divides nothing by surprise and never exceeds a segment.
    const fn more(&self) -> usize {
        let (len, room) = (self.tail.len(), SEGMENT - self.tail.len());
        let more = match len {
            0 => 1,
            1..8 => 2,
            _ => len / 4,
        };
        if more < room { more } else { room }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_a_vector_whatever_is_done_to_it() {
        let mut rng = fastrand::Rng::with_seed(2);
        let (mut segments, mut model) = (Segments::new(), Vec::new());
        let mut growing = true;
        for step in 0..60_000_u32 {
            if model.len() > 300 || model.is_empty() {
                growing = model.is_empty();
            }
            match rng.u8(..10) {
                0..3 => {
                    let (a, b) = (rng.usize(..=model.len()), rng.usize(..=model.len()));
                    if a < model.len() && b < model.len() {
                        segments.swap(a, b);
                        model.swap(a, b);
                    }
                }
                3..7 if growing => {
                    segments.push(step);
                    model.push(step);
                }
                _ => assert_eq!(segments.pop(), model.pop()),
            }
            assert_eq!(segments.len(), model.len());
            let at = rng.usize(..400);
            assert_eq!(segments.get(at), model.get(at));
            assert_eq!(segments.get_mut(at), model.get_mut(at));
            if step % 64 == 0 {
                assert!(segments.iter().eq(&model));
            }
        }
    }

    #[test]
    fn little_memory_is_left_unused_and_growth_is_foreseen() {
        let mut segments = Segments::<[u8; 32]>::new();
        assert_eq!(segments.heap(), 0);
        for n in 1..10_000 {
            let (before, foreseen) = (segments.heap(), segments.growth());
            segments.push([0; 32]);
            let pointers = segments.full.capacity() * size_of::<usize>();
            assert!(segments.heap() <= before + foreseen + pointers, "{n}");
            assert!(segments.heap() - pointers <= (n + 16) * 32, "{n}");
        }
        while segments.pop().is_some() {}
        assert!(segments.heap() <= 128, "{}", segments.heap());
    }
}
