//! From a magnet link to a torrent: the metadata is fetched, kept if that is wanted, and then everything goes on as with a .torrent.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::failure::{Exit, Failure};
use crate::app::torrent_file;
use crate::base::json::json;
use crate::core::swarm::event::Source;
use crate::disk::publish::write_whole;
use crate::proto::magnet::Magnet;
use crate::proto::metainfo::Metainfo;

use super::announcer::Announcer;
use super::job::Phase;
use super::progress::FETCHING;
use super::run::{Occurrence, Run};
use super::selection::Selection;
use super::subject::Subject;

impl Run {
    /// Looks for peers that have the metadata.
    pub(super) fn fetch(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        let Some(magnet) = job.magnet.clone() else {
            return;
        };
        job.phase = Phase::Fetching;
        let sender = self.sender.clone();
        let found = move |info| drop(sender.send(Occurrence::Described(index, info)));
        let fetcher = self.session.fetch(&magnet, found);
        fetcher.discovered(&self.plan.options.peers, Source::Operator);
        job.fetcher = Some(fetcher.clone());
        self.announce(index, fetcher, &tiers(&magnet));
        let (job, port) = (&self.jobs[index], self.plan.identity.door.port());
        let event = json!({"name": job.name, "port": port});
        let line = format!("{}: {FETCHING}, listening on port {port}", job.name);
        self.teller
            .event("fetching_metadata", magnet.info_hash, event);
        self.teller.note(&line);
    }

    /// Tells the trackers in `tiers` about a torrent, or about what wants to become one; and the local network, unless it is private.
    pub(super) fn announce(
        &mut self,
        index: usize,
        subject: Arc<dyn Subject>,
        tiers: &[Vec<String>],
    ) {
        let sender = self.sender.clone();
        let said = move |url: &str, word| {
            drop(sender.send(Occurrence::Tracker(index, url.to_owned(), word)))
        };
        let job = &mut self.jobs[index];
        if let Some(local) = self.plan.local.as_ref().filter(|_| !job.metainfo.private) {
            local.join(subject.clone());
        }
        let identity = self.plan.identity.clone();
        job.announcer = Some(Announcer::start(subject, tiers, identity, said));
    }

    /// Does not tell the local network any more.
    pub(super) fn hush(&self, index: usize) {
        let local = self.plan.local.iter();
        local.for_each(|local| local.leave(self.jobs[index].info_hash()));
    }

    /// An `info` dictionary has come that has the info-hash of the link.
    pub(super) fn described(&mut self, index: usize, info: &[u8]) -> Result<(), Failure> {
        let job = &mut self.jobs[index];
        let (Phase::Fetching, Some(magnet)) = (&job.phase, job.magnet.clone()) else {
            return Ok(());
        };
        let metainfo = Metainfo::from_info(info)
            .map_err(|error| Failure::new(Exit::Input, "use the metadata of", &job.name, error))?;
        let metainfo = Arc::new(Metainfo {
            announce: tiers(&magnet),
            web_seeds: magnet.web_seeds.clone(),
            ..metainfo
        });
        self.part_from_fetcher(index, metainfo.private);
        let job = &mut self.jobs[index];
        job.name = metainfo.shown_name();
        job.metainfo = metainfo.clone();
        let select = &self.plan.options.select;
        let chosen = if select.is_empty() {
            Selection::numbered(&metainfo, &magnet.select)
        } else {
            Selection::choose(&metainfo, select)
        };
        job.selection = chosen?.map(Arc::new);
        job.phase = Phase::Checking;
        if let Some(to) = &self.plan.options.save_torrent {
            let path = save(to, &metainfo)?;
            self.teller.note(&format!("saved {}", path.display()));
        }
        if let Some(watched) = &mut self.watched {
            watched.keep(&magnet, &metainfo)?;
        }
        self.examine(index);
        Ok(())
    }

    /// Lets go of the connections that brought the metadata. The trackers hear of us again in a moment.
    fn part_from_fetcher(&mut self, index: usize, private: bool) {
        let job = &mut self.jobs[index];
        if let Some(announcer) = job.announcer.take() {
            announcer.stop();
        }
        if let Some(fetcher) = job.fetcher.take() {
            job.known = fetcher.known();
            // BEP 27: peers come from the trackers alone, or from the operator.
            job.known
                .retain(|&(_, source)| !private || source != Source::Gossip);
            self.hush(index);
            self.session.give_up(&fetcher);
        }
    }
}

/// Each tracker of a link is a tier of its own: the order is all that the link says.
fn tiers(magnet: &Magnet) -> Vec<Vec<String>> {
    let trackers = magnet.trackers.iter();
    trackers.map(|url| vec![url.clone()]).collect()
}

/// Writes the .torrent to `to`, or into it if that is a folder. What is there is replaced if it is the same torrent.
fn save(to: &Path, metainfo: &Metainfo) -> Result<PathBuf, Failure> {
    let mut name = metainfo.safe_name.clone();
    name.push(".torrent");
    let path = if to.is_dir() {
        to.join(name)
    } else {
        to.into()
    };
    let same =
        || torrent_file::read(&path).is_ok_and(|there| there.info_hash == metainfo.info_hash);
    let replace = path.is_file() && same();
    match write_whole(&path, &metainfo.to_bytes(), replace) {
        Ok(()) => Ok(path),
        Err(cause) => Err(Failure::new(Exit::Storage, "write", path.display(), cause)),
    }
}
