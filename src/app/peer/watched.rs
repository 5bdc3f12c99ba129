//! `hivebt-peer run`: torrents come and go with the files in a folder, .torrent files and .magnet files.
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
use crate::proto::magnet::Magnet;
use crate::proto::metainfo::Metainfo;

use super::job::{Job, Phase, Wish};
use super::options::Options;
use super::payload::{Care, Purpose};
use super::run::Run;

/// Where the list lies if nobody says where: below the folder of the payloads.
const USUAL: &str = ".hivebt/torrents";

/// See the module.
pub struct Watched {
    torrents: TorrentFolder<Listed>,
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
        let payloads = Self::payloads(options);
        let list = options.watch.clone();
        let list = list.unwrap_or_else(|| payloads.join(USUAL));
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
            torrents: TorrentFolder::new(list, |_, metainfo, _| Listed::Torrent(metainfo.clone()))
                .with_links(|link| Listed::Link(link.into())),
            due: Instant::now(),
            payloads,
        })
    }

    /// Where payloads go.
    pub(super) fn payloads(options: &Options) -> PathBuf {
        let output = options.output.as_ref().or(options.watch.as_ref());
        match &options.watch {
            Some(_) => output.cloned().unwrap_or_default(),
            None => super::here(output.cloned().unwrap_or_default()),
        }
    }

    /// Puts a torrent there, or a link.
    fn put(&self, listed: &Listed, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.torrents.path().join(listed.file_name());
        write_whole(&path, bytes, true)
            .map_err(|cause| Failure::new(Exit::Storage, "write", path.display(), cause))
    }

    /// Puts the torrent of a link there in its stead. A link that chooses files stays: the torrent does not say which.
    ///
    /// # Errors
    /// [`Exit::Storage`] if that cannot be done.
    pub(super) fn keep(
        &mut self,
        magnet: &Arc<Magnet>,
        metainfo: &Arc<Metainfo>,
    ) -> Result<(), Failure> {
        if !magnet.select.is_empty() {
            return Ok(());
        }
        self.put(&Listed::Torrent(metainfo.clone()), &metainfo.to_bytes())?;
        self.take_away_those(magnet.info_hash, |listed| matches!(listed, Listed::Link(_)))
    }

    /// Takes a torrent away from there. A file that somebody else has put there is only renamed.
    pub(super) fn take_away(&self, info_hash: InfoHash) -> Result<(), Failure> {
        self.take_away_those(info_hash, |_| true)
    }

    fn take_away_those(
        &self,
        info_hash: InfoHash,
        which: impl Fn(&Listed) -> bool,
    ) -> Result<(), Failure> {
        let entries = self.torrents.entries();
        let mut named = entries.filter(|(_, l)| l.info_hash() == info_hash && which(l));
        named.try_for_each(|(name, listed)| {
            let path = self.torrents.path().join(name);
            let gone = if name.as_os_str() == listed.file_name().as_str() {
                fs::remove_file(&path)
            } else {
                folder::set_aside(self.torrents.path(), name)
            };
            gone.map_err(|cause| Failure::new(Exit::Storage, "remove", path.display(), cause))
        })
    }

    /// What the folder lists, torrents first; one that several files hold, several times.
    fn list(&self) -> Vec<Listed> {
        let entries = self.torrents.entries();
        let mut list: Vec<_> = entries.map(|(_, listed)| Listed::clone(listed)).collect();
        list.sort_by_key(|listed| matches!(listed, Listed::Link(_)));
        list
    }
}

/// What a file of the folder stands for.
#[derive(Clone, Debug)]
pub enum Listed {
    /// A torrent.
    Torrent(Arc<Metainfo>),
    /// A magnet link, in a text file whose name ends in `.magnet`.
    Link(Arc<Magnet>),
}

impl Listed {
    /// The torrent's name in the protocol.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        match self {
            Self::Torrent(metainfo) => metainfo.info_hash,
            Self::Link(magnet) => magnet.info_hash,
        }
    }

    /// What its file is called if it was not put there by somebody else.
    fn file_name(&self) -> String {
        match self {
            Self::Torrent(metainfo) => format!("{}.torrent", metainfo.info_hash),
            Self::Link(magnet) => format!("{}.magnet", magnet.info_hash),
        }
    }

    fn job(self, purpose: Purpose) -> Job {
        match self {
            Self::Torrent(metainfo) => Job::new(metainfo, purpose, Care::Doubtful),
            Self::Link(magnet) => Job::of_link(magnet, purpose, Care::Doubtful),
        }
    }
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
            if !list.iter().any(|listed| listed.info_hash() == info_hash) {
                self.discard(index);
            }
        }
        for listed in list {
            self.adopt(listed);
        }
    }

    /// Begins with a torrent, unless it is there.
    fn adopt(&mut self, listed: Listed) {
        match self.jobs.find(listed.info_hash()) {
            Some(index) if self.jobs[index].wish == Wish::Leave => {
                self.jobs[index].wish = Wish::Run;
            }
            Some(_) => {}
            None => {
                self.cleanup.forget(listed.info_hash());
                let Some(watched) = &self.watched else { return };
                let purpose = Purpose::Download(watched.payloads.clone());
                let index = self.jobs.insert(Job {
                    priority: self.plan.options.priority,
                    ..listed.job(purpose)
                });
                self.examine(index);
            }
        }
    }

    /// Adds a torrent for good. `true` if it is new.
    ///
    /// # Errors
    /// [`Exit::Storage`] if it cannot be written down.
    pub(super) fn add(&mut self, listed: Listed, bytes: &[u8]) -> Result<bool, Failure> {
        let there = self.jobs.find(listed.info_hash());
        if there.is_some_and(|index| self.jobs[index].wish != Wish::Leave) {
            return Ok(false);
        }
        if let Some(watched) = &self.watched {
            watched.put(&listed, bytes)?;
        }
        self.adopt(listed);
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
