//! The rates of a torrent over the last minutes.

use std::collections::VecDeque;

/// Seconds between two samples.
pub const EVERY: u64 = 3;

/// Samples that are kept: five minutes.
pub const SAMPLES: usize = 100;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<(u64, u64)>);

impl History {
    /// Adds rates in bytes a second, in place of the oldest.
    pub fn push(&mut self, download: u64, upload: u64) {
        if self.0.len() >= SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((download, upload));
    }

    /// Rates of download and upload, oldest first.
    #[must_use]
    pub fn samples(&self) -> Vec<(u64, u64)> {
        self.0.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_latest_in_order() {
        let mut history = History::default();
        (0..250).for_each(|n| history.push(n, n * 2));
        let samples = history.samples();
        assert_eq!(samples.len(), SAMPLES);
        assert_eq!((samples[0], samples[99]), ((150, 300), (249, 498)));
    }
}
