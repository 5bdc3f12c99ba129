//! `--keep-for` and `--keep-size`: finished downloads go by a rule (R114), and nothing else ever does.
//!
//! Only what this kind of run has begun and fetched itself goes. First the torrent is taken off the list, then the data is removed, so that no run fetches it anew.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::failure::{Exit, Failure};
use crate::app::human;
use crate::base::id::InfoHash;
use crate::base::json::{Value, json};
use crate::core::keep::{Calendar, Finished, QUIET, Reason, Rule};
use crate::disk::discard::{Discarded, discard};
use crate::disk::state::{self, Loaded};
use crate::proto::metainfo::Metainfo;

use super::clock;
use super::job::{Job, Phase, Wish, pause_after};
use super::payload::{Purpose, layout, lock, storage_failure};
use super::run::{Occurrence, Run};
use super::threads;

/// Removals that are remembered to be shown.
const SHOWN: usize = 20;

/// How long the end of a run waits for a removal that is under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// What has been removed, and what is to be.
pub struct Cleanup {
    rule: Rule,
    calendar: Calendar,
    /// Off the list, and not gone yet.
    waiting: Vec<Removal>,
    removed: VecDeque<Removed>,
    /// Torrents and bytes in all.
    totals: (u64, u64),
    /// The list could not be written to: nothing is tried before this.
    due: Option<Instant>,
}

/// A removal that is under way, or has failed and is tried again.
struct Removal {
    metainfo: Arc<Metainfo>,
    folder: PathBuf,
    reason: Reason,
    failures: u32,
    /// When it is tried again; `None` while a thread of ours is at it.
    due: Option<Instant>,
    error: Option<String>,
}

/// A removal as others see it.
#[derive(Clone, Debug)]
pub struct Removed {
    /// Whose data it was.
    pub info_hash: InfoHash,
    /// Its name for people; anybody may have chosen it.
    pub name: String,
    /// Bytes that were freed.
    pub bytes: u64,
    /// Why it had to go.
    pub reason: Reason,
    /// When, in seconds since 1970.
    pub at: u64,
    /// What stays, for it is not ours.
    pub left: Option<PathBuf>,
    /// Why it is not gone yet.
    pub error: Option<String>,
}

impl Cleanup {
    /// Nothing has been removed.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            calendar: Calendar::new(clock::since_1970()),
            waiting: Vec::new(),
            removed: VecDeque::new(),
            totals: (0, 0),
            due: None,
        }
    }

    /// Those that have failed, then the last ones that are done.
    #[must_use]
    pub fn shown(&self) -> Vec<Removed> {
        let failed = self.waiting.iter().filter(|one| one.error.is_some());
        let failed = failed.map(|one| Removed {
            info_hash: one.metainfo.info_hash,
            name: one.metainfo.shown_name(),
            bytes: 0,
            reason: one.reason,
            at: clock::since_1970(),
            left: None,
            error: one.error.clone(),
        });
        failed.chain(self.removed.iter().rev().cloned()).collect()
    }

    /// Torrents and bytes that have been removed since the run began.
    #[must_use]
    pub const fn totals(&self) -> (u64, u64) {
        self.totals
    }

    /// A torrent is wanted again: what is still there of it stays.
    pub(super) fn forget(&mut self, info_hash: InfoHash) {
        self.waiting
            .retain(|one| one.metainfo.info_hash != info_hash);
    }

    fn is_busy(&self) -> bool {
        self.waiting.iter().any(|one| one.due.is_none())
    }
}

impl Job {
    /// How the rule sees it; `None` if it has no say here.
    fn as_finished(&self) -> Option<Finished> {
        let at = self.fetched.filter(|_| self.is_complete() && !self.busy)?;
        let lately = self.served.0.is_some_and(|then| then.elapsed() < QUIET);
        let stats = self.stats();
        Some(Finished {
            bytes: self.total(),
            at,
            in_use: matches!(self.phase, Phase::Seeding(_))
                && (stats.peers > stats.seeds || lately),
            paused: matches!(self.phase, Phase::Paused) || self.wish == Wish::Pause,
        })
    }

    /// The host's clock was set forward: what was finished before is no older for that.
    fn note_leap(&mut self, seconds: u64) {
        if let (Some(at), Some(payload)) = (&mut self.fetched, &self.payload) {
            *at += seconds;
            payload.finished_at(*at);
        }
    }

    fn note_served(&mut self) {
        let uploaded = self.stats().uploaded;
        if uploaded > self.served.1 {
            self.served.0 = Some(Instant::now());
        }
        self.served.1 = uploaded;
    }
}

impl Run {
    /// Lets go what the rule does not want to keep, and tries again what could not be removed.
    pub(super) fn clean_up(&mut self) {
        if !self.cleanup.rule.is_any() || !self.is_long_lived() {
            return;
        }
        self.jobs.iter_mut().for_each(Job::note_served);
        let (passed, date) = (self.begun.elapsed(), clock::since_1970());
        let leap = self.cleanup.calendar.leap(passed, date);
        if leap > 0 {
            self.jobs.iter_mut().for_each(|job| job.note_leap(leap));
            let by = human::span(Duration::from_secs(leap));
            self.teller.note(&format!(
                "the clock was set forward by {by}, which is no time that anything has been kept"
            ));
        }
        let now = Instant::now();
        if self.cleanup.due.is_none_or(|due| due <= now) {
            let numbers = self.jobs.numbers().into_iter();
            let finished = numbers.filter_map(|index| {
                let job = &self.jobs[index];
                Some((index, job.as_finished()?)).filter(|_| job.wish != Wish::Leave)
            });
            let (numbers, all): (Vec<_>, Vec<_>) = finished.unzip();
            for (n, reason) in self.cleanup.rule.expired(date, &all) {
                self.dismiss(numbers[n], reason);
            }
        }
        for n in 0..self.cleanup.waiting.len() {
            if self.cleanup.waiting[n].due.is_some_and(|due| due <= now) {
                self.remove_data(n);
            }
        }
    }

    /// Takes a torrent off the list, and its data away.
    fn dismiss(&mut self, index: usize, reason: Reason) {
        // Somebody may have put it there a second time just now.
        self.look();
        if !self.jobs.contains(index) {
            return;
        }
        let listed = self.jobs[index].info_hash();
        if let Some(watched) = &self.watched
            && let Err(failure) = watched.take_away(listed)
        {
            self.teller.error(&failure.to_string());
            self.cleanup.due = Some(Instant::now() + pause_after(1));
            return;
        }
        let Purpose::Download(folder) = self.jobs[index].purpose.clone() else {
            return;
        };
        if let Err(failure) = self.withdraw(index) {
            self.teller.error(&failure.to_string());
        }
        self.cleanup.waiting.push(Removal {
            metainfo: self.jobs[index].metainfo.clone(),
            folder,
            reason,
            failures: 0,
            due: Some(Instant::now()),
            error: None,
        });
        self.jobs.remove(index);
    }

    fn remove_data(&mut self, n: usize) {
        let one = &mut self.cleanup.waiting[n];
        let (metainfo, folder) = (one.metainfo.clone(), one.folder.clone());
        let sender = self.sender.clone();
        let body = move || {
            let outcome = remove(&metainfo, &folder);
            let _ = sender.send(Occurrence::Removed(metainfo.info_hash, outcome));
        };
        one.due = None;
        if threads::spawn("remove", body).is_none() {
            one.due = Some(Instant::now() + pause_after(1));
        }
    }

    /// A removal has come to an end. If the torrent is wanted again meanwhile, nobody asks any more.
    pub(super) fn removed(&mut self, info_hash: InfoHash, outcome: Result<Discarded, Failure>) {
        let mut waiting = self.cleanup.waiting.iter();
        let Some(n) = waiting.position(|one| one.metainfo.info_hash == info_hash) else {
            return;
        };
        match outcome {
            Ok(discarded) => {
                let one = self.cleanup.waiting.remove(n);
                self.tell_removed(&one, discarded);
            }
            Err(failure) => {
                let one = &mut self.cleanup.waiting[n];
                one.failures += 1;
                one.due = Some(Instant::now() + pause_after(one.failures));
                let message = failure.to_string();
                if one.error.as_ref() != Some(&message) {
                    self.teller.error(&message);
                    let exit = failure.exit as u8;
                    let event = json!({"message": message, "exit": exit});
                    self.teller.event("error", info_hash, event);
                    one.error = Some(message);
                }
            }
        }
    }

    fn tell_removed(&mut self, one: &Removal, discarded: Discarded) {
        let removed = Removed {
            info_hash: one.metainfo.info_hash,
            name: one.metainfo.shown_name(),
            bytes: discarded.bytes,
            reason: one.reason,
            at: clock::since_1970(),
            left: discarded.left,
            error: None,
        };
        self.teller.note(&removed.line());
        self.teller
            .event("removed", removed.info_hash, removed.json());
        let totals = &mut self.cleanup.totals;
        *totals = (totals.0 + 1, totals.1 + removed.bytes);
        if self.cleanup.removed.len() == SHOWN {
            self.cleanup.removed.pop_front();
        }
        self.cleanup.removed.push_back(removed);
    }

    /// Gives a removal that is under way the time to end.
    pub(super) fn finish_removals(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.cleanup.is_busy() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(left) {
                Ok(Occurrence::Removed(info_hash, outcome)) => self.removed(info_hash, outcome),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

impl Removed {
    /// What it was, and why it had to go.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "bytes": self.bytes,
            "reason": self.option(),
            "left": self.left.as_deref().map(Path::to_string_lossy),
        })
    }

    /// The option that wants it so.
    #[must_use]
    pub const fn option(&self) -> &'static str {
        match self.reason {
            Reason::Age => "keep-for",
            Reason::Size => "keep-size",
        }
    }

    fn line(&self) -> String {
        let (name, bytes, option) = (&self.name, human::bytes(self.bytes), self.option());
        let left = self.left.as_ref().map_or_else(String::new, |left| {
            format!("; `{}` stays, for it was changed by others", left.display())
        });
        format!("{name}: removed, {bytes} are free (--{option}){left}")
    }
}

/// Removes a payload that was fetched by a run like this, and its state.
fn remove(metainfo: &Metainfo, folder: &Path) -> Result<Discarded, Failure> {
    let failed = |error| storage_failure(&error);
    let _lock = lock(folder, metainfo, false)?;
    let known = match state::load(folder, &metainfo.info_hash).map_err(failed)? {
        Loaded::State(known) if known.automatic && known.published && known.clean => known,
        _ => {
            let cause = "its state does not say any more that it is ours; remove it by hand";
            let path = folder.join(&metainfo.safe_name);
            return Err(Failure::new(Exit::Storage, "remove", path.display(), cause));
        }
    };
    let discarded = discard(folder, &layout(metainfo), &known.stamps).map_err(failed)?;
    state::remove(folder, &metainfo.info_hash).map_err(failed)?;
    Ok(discarded)
}
