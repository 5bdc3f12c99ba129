//! The torrents of a run. Each has a number, which is never used twice: news of one that has gone, or of an earlier attempt, finds nobody.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use crate::base::id::InfoHash;

use super::job::Job;

/// See the module.
#[derive(Default)]
pub struct Jobs {
    next: usize,
    jobs: BTreeMap<usize, Job>,
}

impl Jobs {
    /// Takes one in; returns its number.
    pub fn insert(&mut self, job: Job) -> usize {
        let index = self.next;
        self.next += 1;
        self.jobs.insert(index, job);
        index
    }

    /// Lets one go.
    pub fn remove(&mut self, index: usize) -> Option<Job> {
        self.jobs.remove(&index)
    }

    /// Gives one another number, for another attempt.
    pub fn renumber(&mut self, index: usize) -> usize {
        match self.remove(index) {
            Some(job) => self.insert(job),
            None => index,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether there is one of this number.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        self.jobs.contains_key(&index)
    }

    /// All numbers, as of now.
    #[must_use]
    pub fn numbers(&self) -> Vec<usize> {
        self.jobs.keys().copied().collect()
    }

    /// The number of a torrent.
    #[must_use]
    pub fn find(&self, info_hash: InfoHash) -> Option<usize> {
        let mut jobs = self.jobs.iter();
        jobs.find_map(|(&index, job)| (job.info_hash() == info_hash).then_some(index))
    }

    /// All of them, those that came first in front.
    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.jobs.values_mut()
    }

    /// Takes all of them.
    pub fn take(&mut self) -> impl Iterator<Item = Job> + use<> {
        std::mem::take(&mut self.jobs).into_values()
    }
}

impl FromIterator<Job> for Jobs {
    fn from_iter<I: IntoIterator<Item = Job>>(iter: I) -> Self {
        let mut jobs = Self::default();
        for job in iter {
            jobs.insert(job);
        }
        jobs
    }
}

impl Index<usize> for Jobs {
    type Output = Job;

    fn index(&self, index: usize) -> &Job {
        &self.jobs[&index]
    }
}

impl IndexMut<usize> for Jobs {
    fn index_mut(&mut self, index: usize) -> &mut Job {
        self.jobs
            .get_mut(&index)
            .expect("whoever has a number asks `contains` first")
    }
}
