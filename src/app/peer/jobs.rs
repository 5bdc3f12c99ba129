//! The torrents of a run. Each has a number, which is never used twice: news of one that has gone, or of an earlier attempt, finds nobody.

use std::ops::{Index, IndexMut};

use crate::base::id::InfoHash;

use super::job::Job;

/// What a fault in the program would say.
const NONE: &str = "whoever has a number asks `contains` first";

/// See the module. There are few enough of them to be looked through.
#[derive(Default)]
pub struct Jobs {
    next: usize,
    jobs: Vec<(usize, Job)>,
}

impl Jobs {
    /// Takes one in; returns its number.
    pub fn insert(&mut self, job: Job) -> usize {
        let index = self.fresh();
        self.jobs.push((index, job));
        index
    }

    fn fresh(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// Lets one go.
    pub fn remove(&mut self, index: usize) {
        self.jobs.retain(|(number, _)| *number != index);
    }

    /// Gives one another number, for another attempt; returns it.
    pub fn renumber(&mut self, index: usize) -> usize {
        let fresh = self.fresh();
        let mut jobs = self.jobs.iter_mut();
        if let Some((number, _)) = jobs.find(|(number, _)| *number == index) {
            *number = fresh;
        }
        fresh
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
        self.jobs.iter().any(|(number, _)| *number == index)
    }

    /// All numbers, as of now.
    #[must_use]
    pub fn numbers(&self) -> Vec<usize> {
        self.jobs.iter().map(|(number, _)| *number).collect()
    }

    /// The number of a torrent.
    #[must_use]
    pub fn find(&self, info_hash: InfoHash) -> Option<usize> {
        let mut jobs = self.jobs.iter();
        jobs.find_map(|(number, job)| (job.info_hash() == info_hash).then_some(*number))
    }

    /// All of them, those that came first in front.
    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().map(|(_, job)| job)
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.jobs.iter_mut().map(|(_, job)| job)
    }

    /// Takes all of them.
    pub fn take(&mut self) -> impl Iterator<Item = Job> + use<> {
        std::mem::take(&mut self.jobs)
            .into_iter()
            .map(|(_, job)| job)
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
        let mut jobs = self.jobs.iter();
        let found = jobs.find(|(number, _)| *number == index);
        &found.expect(NONE).1
    }
}

impl IndexMut<usize> for Jobs {
    fn index_mut(&mut self, index: usize) -> &mut Job {
        let mut jobs = self.jobs.iter_mut();
        let found = jobs.find(|(number, _)| *number == index);
        &mut found.expect(NONE).1
    }
}
