//! What others may ask of a run, and what it does about it, on the run's own thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::app::failure::{Exit, Failure};
use crate::base::id::InfoHash;
use crate::core::shares::Priority;

use super::job::Wish;
use super::overview::{Overview, Shown};
use super::run::Run;
use super::watched::Listed;

/// What is asked.
pub enum Ask {
    /// How it goes; with connections and rates over time, if `true`.
    Overview(bool),
    /// How one torrent goes, in detail.
    Torrent(InfoHash),
    /// To take a torrent in, or a magnet link; the bytes as they came.
    Add(Box<Listed>, Vec<u8>),
    /// To let a torrent go. Its data stays.
    Remove(InfoHash),
    /// To let a torrent rest.
    Pause(InfoHash),
    /// To let a torrent go on that rests or has failed.
    Resume(InfoHash),
    /// To give a torrent another share of the limits.
    Prioritize(InfoHash, Priority),
    /// To change the limits of upload and download, in bytes a second, where they are named.
    Limit(Option<u64>, Option<u64>),
}

/// What is answered.
pub enum Reply {
    /// How it goes.
    Overview(Box<Overview>),
    /// How one torrent goes; whether it is new.
    Torrent(Box<Shown>, bool),
    /// Nothing, because there is no such torrent.
    Unknown,
    /// Nothing, because this kind of run does no such thing.
    Fixed,
    /// Nothing, because it went wrong.
    Failed(Failure),
}

/// Where an answer is waited for. A channel would be more than one answer needs.
#[derive(Default)]
pub struct Slot {
    reply: Mutex<Option<Reply>>,
    filled: Condvar,
}

impl Slot {
    /// Puts the answer there.
    pub fn fill(&self, reply: Reply) {
        *self.lock() = Some(reply);
        self.filled.notify_one();
    }

    /// Waits for it, but not for longer than `limit`.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> Option<Reply> {
        let waited = self
            .filled
            .wait_timeout_while(self.lock(), limit, |reply| reply.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Reply>> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Does what is asked, and tells how it is then.
    pub(super) fn reply(&mut self, ask: Ask) -> Reply {
        match ask {
            Ask::Overview(detailed) => Reply::Overview(self.overview(detailed).into()),
            Ask::Torrent(info_hash) => self.about(info_hash, |_, _| ()),
            Ask::Prioritize(info_hash, priority) => self.about(info_hash, |run, index| {
                let job = &mut run.jobs[index];
                job.priority = priority;
                if let Some(torrent) = &job.torrent {
                    torrent.set_priority(priority);
                }
            }),
            Ask::Limit(upload, download) => self.limit(upload, download),
            _ if !self.is_long_lived() => Reply::Fixed,
            Ask::Add(listed, bytes) => {
                let info_hash = listed.info_hash();
                match self.add(*listed, &bytes) {
                    Ok(new) => self.shown(info_hash, new),
                    Err(failure) => Reply::Failed(failure),
                }
            }
            Ask::Pause(info_hash) => self.about(info_hash, Self::pause),
            Ask::Resume(info_hash) => self.about(info_hash, Self::resume),
            Ask::Remove(info_hash) => {
                let Some(index) = self.find(info_hash) else {
                    return Reply::Unknown;
                };
                let last = Shown::of(&self.jobs[index], true);
                match self.remove(index) {
                    Ok(()) => Reply::Torrent(last.into(), false),
                    Err(failure) => Reply::Failed(failure),
                }
            }
        }
    }

    /// Does something about a torrent that is there.
    fn about(&mut self, info_hash: InfoHash, act: impl FnOnce(&mut Self, usize)) -> Reply {
        let Some(index) = self.find(info_hash) else {
            return Reply::Unknown;
        };
        act(self, index);
        self.shown(info_hash, false)
    }

    fn shown(&self, info_hash: InfoHash, new: bool) -> Reply {
        match self.find(info_hash) {
            Some(index) => Reply::Torrent(Shown::of(&self.jobs[index], true).into(), new),
            None => Reply::Unknown,
        }
    }

    fn find(&self, info_hash: InfoHash) -> Option<usize> {
        let found = self.jobs.find(info_hash);
        found.filter(|&index| self.jobs[index].wish != Wish::Leave)
    }

    fn limit(&self, upload: Option<u64>, download: Option<u64>) -> Reply {
        let limits = self.session.limits();
        let set = [(&limits.upload, upload), (&limits.download, download)];
        let done = set
            .into_iter()
            .all(|(limit, rate)| rate.is_none_or(|rate| limit.set(rate)));
        if done {
            Reply::Overview(self.overview(false).into())
        } else {
            let cause = "cannot start a thread for the limit: the system refuses";
            Reply::Failed(Failure::plain(Exit::Failed, cause))
        }
    }
}
