//! Where the bytes of a payload lie in its files.

use std::ops::Range;

/// A stretch of a payload that lies in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which file, counted from 0 in the torrent's order.
    pub file: usize,
    /// Offset in the file.
    pub offset: u64,
    /// Number of bytes; never 0.
    pub len: u64,
}

/// The files of a payload laid end to end, in the torrent's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMap {
    /// Where each file begins; one more at the end, the total.
    starts: Vec<u64>,
}

impl FileMap {
    /// Lays files of these lengths end to end. `None` if they add up to more than `u64` holds.
    #[must_use]
    pub fn new(lengths: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut starts = vec![0];
        let mut at = 0_u64;
        for len in lengths {
            at = at.checked_add(len)?;
            starts.push(at);
        }
        Some(Self { starts })
    }

    /// Number of files.
    #[must_use]
    pub fn files(&self) -> usize {
        self.starts.len() - 1
    }

    /// Bytes of payload.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The bytes of the payload that lie in `file`.
    ///
    /// # Panics
    /// If there is no such file.
    #[must_use]
    pub fn range(&self, file: usize) -> Range<u64> {
        self.starts[file]..self.starts[file + 1]
    }

    /// The stretches of files that hold `len` bytes at `offset`, in order; empty files have none. Stops at the end of the payload.
    pub fn spans(&self, offset: u64, len: u64) -> impl Iterator<Item = Span> + '_ {
        let end = offset.saturating_add(len).min(self.total());
        let first = self
            .starts
            .partition_point(|&start| start <= offset)
            .saturating_sub(1);
        let files = (first..self.files()).take_while(move |&file| self.starts[file] < end);
        files.filter_map(move |file| {
            let range = self.range(file);
            let (from, to) = (offset.max(range.start), end.min(range.end));
            (from < to).then(|| Span {
                file,
                offset: from - range.start,
                len: to - from,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_name_every_byte_once_for_every_range() {
        let lengths = [0, 3, 0, 0, 1, 5, 0, 2, 0];
        let map = FileMap::new(lengths).unwrap();
        let bytes: Vec<_> = lengths
            .iter()
            .enumerate()
            .flat_map(|(f, &n)| (0..n).map(move |o| (f, o)))
            .collect();
        assert_eq!(map.total(), 11);
        for from in 0..=12_usize {
            for len in 0..=13_usize {
                let got: Vec<_> = map
                    .spans(from as u64, len as u64)
                    .inspect(|s| assert!(s.len > 0))
                    .flat_map(|s| (0..s.len).map(move |i| (s.file, s.offset + i)))
                    .collect();
                let want: Vec<_> = bytes.iter().copied().skip(from).take(len).collect();
                assert_eq!(got, want, "{len} bytes at {from}");
            }
        }
    }

    #[test]
    fn an_overflowing_payload_is_refused() {
        assert!(FileMap::new([u64::MAX, 1]).is_none());
        assert_eq!(FileMap::new([]).unwrap().spans(0, u64::MAX).count(), 0);
    }
}
