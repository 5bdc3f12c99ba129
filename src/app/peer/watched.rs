//! `hivebt-peer run`: torrents come and go with the files in a folder.
//!
//! The folder is the list. What the API adds is put there under its info-hash, and what it removes is taken away from there, so that the next run does the same.

use std::fs;
use std::path::{self, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::app::failure::{Exit, Failure};
use crate::app::torrent_folder::TorrentFolder;
use crate::base::id::InfoHash;
use crate::disk::folder;
use crate::disk::publish::write_whole;
use crate::proto::metainfo::Metainfo;

use super::job::{Job, Phase, Wish};
use super::options::Options;
use super::payload::{Care, Purpose};
use super::run::Run;

/// Where the list lies if nobody says where: below the folder of the payloads.
const USUAL: &str = ".hivebt/torrents";

/// See the module.
pub struct Watched {
    torrents: TorrentFolder<Arc<Metainfo>>,
    /// When it is to be looked at again.
    due: Instant,
    /// Where payloads go.
    payloads: PathBuf,
}

impl Watched {
    /// The folder that the operator names, else one that is made.
    ///
    /// # Errors
    /// [`Exit::Storage`] if it cannot be made or read.
    pub fn open(options: &Options) -> Result<Self, Failure> {
        let output = options.output.clone();
        let (list, payloads) = match &options.watch {
            Some(list) => (list.clone(), output.unwrap_or_else(|| list.clone())),
            None => {
                let output = super::here(output.unwrap_or_default());
                (output.join(USUAL), output)
            }
        };
        let made = if options.watch.is_none() {
            fs::create_dir_all(&list)
        } else {
            Ok(())
        };
        let readable = made.and_then(|()| fs::read_dir(&list).map(drop));
        readable.map_err(|cause| {
            Failure::new(Exit::Storage, "read the folder", list.display(), cause)
        })?;
        // Others are told of paths who have another working directory.
        let payloads = path::absolute(&payloads).unwrap_or(payloads);
        Ok(Self {
            torrents: TorrentFolder::new(list, |_, metainfo, _| metainfo.clone()),
            due: Instant::now(),
            payloads,
        })
    }

    /// Puts a torrent there.
    fn put(&self, info_hash: InfoHash, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.torrents.path().join(file_name(info_hash));
        write_whole(&path, bytes, true)
            .map_err(|cause| Failure::new(Exit::Storage, "write", path.display(), cause))
    }

    /// Takes a torrent away from there. A file that somebody else has put there is only renamed.
    pub(super) fn take_away(&self, info_hash: InfoHash) -> Result<(), Failure> {
        let ours = file_name(info_hash);
        let entries = self.torrents.entries();
        let mut named = entries.filter(|(_, metainfo)| metainfo.info_hash == info_hash);
        named.try_for_each(|(name, _)| {
            let path = self.torrents.path().join(name);
            let gone = if name.as_os_str() == ours.as_str() {
                fs::remove_file(&path)
            } else {
                folder::set_aside(self.torrents.path(), name)
            };
            gone.map_err(|cause| Failure::new(Exit::Storage, "remove", path.display(), cause))
        })
    }

    /// The torrents; one that several files hold, several times.
    fn list(&self) -> Vec<Arc<Metainfo>> {
        let entries = self.torrents.entries();
        entries
            .map(|(_, metainfo)| Arc::clone(&**metainfo))
            .collect()
    }
}

fn file_name(info_hash: InfoHash) -> String {
    format!("{info_hash}.torrent")
}

impl Run {
    /// Whether torrents come and go, and the run goes on without any.
    pub(super) const fn is_long_lived(&self) -> bool {
        self.watched.is_some()
    }

    /// Looks through the folder if it is time to.
    pub(super) fn look_if_due(&mut self) {
        let now = Instant::now();
        if self
            .watched
            .as_ref()
            .is_some_and(|watched| watched.due <= now)
        {
            self.look();
        }
    }

    /// Looks through the folder, and lets torrents come and go with its files.
    pub(super) fn look(&mut self) {
        let Some(watched) = &mut self.watched else {
            return;
        };
        let (seen, pause) = watched.torrents.look_again();
        watched.due = Instant::now() + pause;
        let list = (seen.changed > 0).then(|| watched.list());
        seen.faults
            .iter()
            .for_each(|fault| self.teller.error(fault));
        let Some(list) = list else { return };
        for index in self.jobs.numbers() {
            let info_hash = self.jobs[index].info_hash();
            if !list.iter().any(|listed| listed.info_hash == info_hash) {
                self.discard(index);
            }
        }
        for metainfo in list {
            self.adopt(metainfo);
        }
    }

    /// Begins with a torrent, unless it is there.
    fn adopt(&mut self, metainfo: Arc<Metainfo>) {
        match self.jobs.find(metainfo.info_hash) {
            Some(index) if self.jobs[index].wish == Wish::Leave => {
                self.jobs[index].wish = Wish::Run;
            }
            Some(_) => {}
            None => {
                self.cleanup.forget(metainfo.info_hash);
                let Some(watched) = &self.watched else { return };
                let purpose = Purpose::Download(watched.payloads.clone());
                let index = self.jobs.insert(Job {
                    priority: self.plan.options.priority,
                    ..Job::new(metainfo, purpose, Care::Doubtful)
                });
                self.examine(index);
            }
        }
    }

    /// Adds a torrent for good. `true` if it is new.
    ///
    /// # Errors
    /// [`Exit::Storage`] if it cannot be written down.
    pub(super) fn add(&mut self, metainfo: Metainfo, bytes: &[u8]) -> Result<bool, Failure> {
        let there = self.jobs.find(metainfo.info_hash);
        if there.is_some_and(|index| self.jobs[index].wish != Wish::Leave) {
            return Ok(false);
        }
        if let Some(watched) = &self.watched {
            watched.put(metainfo.info_hash, bytes)?;
        }
        self.adopt(Arc::new(metainfo));
        Ok(true)
    }

    /// Removes a torrent for good; its data stays.
    ///
    /// # Errors
    /// [`Exit::Storage`] if it cannot be taken off the list; then it stays.
    pub(super) fn remove(&mut self, index: usize) -> Result<(), Failure> {
        // Somebody may have put it there just now.
        self.look();
        if !self.jobs.contains(index) {
            return Ok(());
        }
        if let Some(watched) = &self.watched {
            watched.take_away(self.jobs[index].info_hash())?;
        }
        self.discard(index);
        Ok(())
    }

    /// Lets a torrent go; its data stays.
    fn discard(&mut self, index: usize) {
        self.jobs[index].wish = Wish::Leave;
        self.obey(index);
    }

    /// Does what the operator wants of a torrent, unless a thread of ours has its payload: then as soon as that is done.
    pub(super) fn obey(&mut self, index: usize) {
        let job = &self.jobs[index];
        if job.busy {
            job.watch.cancel();
            return;
        }
        if job.wish == Wish::Run {
            return;
        }
        if job.is_active()
            && let Err(failure) = self.withdraw(index)
        {
            self.teller.error(&failure.to_string());
        }
        if self.jobs[index].wish == Wish::Pause {
            self.jobs[index].phase = Phase::Paused;
        } else {
            self.jobs.remove(index);
        }
    }

    /// A thread of ours has finished with the payload. `false` if what it did is of no use any more.
    pub(super) fn is_free(&mut self, index: usize) -> bool {
        self.jobs[index].busy = false;
        if self.jobs[index].wish == Wish::Run {
            return self.jobs[index].is_active();
        }
        self.obey(index);
        false
    }

    /// Lets a torrent rest.
    pub(super) fn pause(&mut self, index: usize) {
        self.jobs[index].wish = Wish::Pause;
        self.obey(index);
    }

    /// Lets a torrent go on: one that rests, has failed, or has been seeded enough.
    pub(super) fn resume(&mut self, index: usize) {
        self.jobs[index].wish = Wish::Run;
        let job = &self.jobs[index];
        if !job.busy && !job.is_active() {
            let index = self.jobs.renumber(index);
            self.jobs[index].renew();
            self.examine(index);
        }
    }

    /// Tries those again that have failed, if `is_due`.
    pub(super) fn retry(&mut self, is_due: impl Fn(&Job) -> bool) {
        for index in self.jobs.numbers() {
            let job = &self.jobs[index];
            if job.wish == Wish::Run && matches!(job.phase, Phase::Ended(Err(_))) && is_due(job) {
                self.resume(index);
            }
        }
    }

    /// SIGHUP: looks now, and tries again whatever has failed.
    pub(super) fn reload(&mut self) {
        if self.is_long_lived() {
            self.look();
            self.retry(|_| true);
        }
    }
}
