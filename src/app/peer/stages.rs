//! The stages that a torrent goes through in a run, one after another.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::base::json::json;

use crate::app::failure::{Exit, Failure};
use crate::app::human;
use crate::base::bitfield::Bitfield;
use crate::core::swarm::event::{Source, Stats};
use crate::disk::hash::Watch;
use crate::disk::place::Found;
use crate::disk::space;
use crate::proto::metainfo::Metainfo;

use super::hook;
use super::job::{Job, Phase};
use super::payload::{Care, Payload, Purpose};
use super::run::{Examined, Occurrence, Run};
use super::selection::Selection;
use super::threads;
use super::web_seed;

impl Run {
    /// Begins with a torrent: opens and examines its payload on a thread of its own, once it is known what that is.
    pub(super) fn examine(&mut self, index: usize) {
        if !self.jobs[index].metainfo.is_known() {
            return self.fetch(index);
        }
        self.tell_started(index);
        let job = &self.jobs[index];
        let (metainfo, purpose, watch) =
            (job.metainfo.clone(), job.purpose.clone(), job.watch.clone());
        let selection = job.selection.clone();
        let (care, turn, sender) = (job.care, self.turn.clone(), self.sender.clone());
        let body = move || {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let examined = examine(metainfo, &purpose, selection, care, &watch);
            let _ = sender.send(Occurrence::Examined(index, Box::new(examined)));
        };
        self.aside(index, "examine", body);
    }

    /// Does what takes long on a thread of its own.
    pub(super) fn aside(&mut self, index: usize, name: &str, body: impl FnOnce() + Send + 'static) {
        self.jobs[index].busy = true;
        if threads::spawn(name, body).is_none() {
            self.jobs[index].busy = false;
            let none = "cannot start a thread: the system gives none";
            self.end(index, Err(Failure::plain(Exit::Failed, none)));
        }
    }

    fn tell_started(&mut self, index: usize) {
        let job = &self.jobs[index];
        let (total, port) = (
            job.metainfo.geometry.total(),
            self.plan.identity.door.port(),
        );
        let mut started = json!({"name": job.name, "total_length": total, "port": port});
        if let Some(chosen) = &job.selection {
            started["selected"] = chosen.bytes.into();
        }
        let (total, pieces) = (human::bytes(total), job.metainfo.geometry.pieces());
        let line = format!(
            "{}: {total} in {pieces} pieces, listening on port {port}",
            job.name
        );
        self.teller
            .event("started", job.metainfo.info_hash, started);
        self.teller.detail(&line);
    }

    /// With what is there known, goes on to whatever comes next.
    pub(super) fn join(&mut self, index: usize, examined: Examined) -> Result<(), Failure> {
        let Examined { mut payload, word } = examined;
        word.iter().for_each(|word| self.teller.note(word));
        let have = payload.verified();
        self.tell_checked(index, &have);
        let whole = payload.is_whole();
        if matches!(self.jobs[index].purpose, Purpose::Seed(_)) && !whole {
            return Err(incomplete(&self.jobs[index], &have));
        }
        let mut published = payload.found() == Found::Existing;
        if published && !whole && !payload.is_ours(&have) {
            return Err(foreign(&payload));
        }
        if matches!(self.jobs[index].purpose, Purpose::Download(_)) {
            payload.downloaded_by(self.is_long_lived());
        }
        // Before anything is changed: a state that claims a clean end would make our own writes look like somebody else's.
        payload.remember(have, &self.jobs[index].stats(), false)?;
        if published && whole && payload.lacks_empty_file()? {
            payload.demote()?;
            published = false;
        }
        if published && !whole {
            payload.demote()?;
            let (name, part) = (&self.jobs[index].name, payload.storage.path());
            self.teller.note(&format!(
                "{name}: incomplete or damaged; lies at `{}` until it is whole",
                part.display()
            ));
        }
        self.warn_of_space(index, &payload);
        let payload = Arc::new(payload);
        self.jobs[index].payload = Some(payload);
        if !whole && !self.plan.options.reuse.is_empty() {
            self.reuse(index);
            return Ok(());
        }
        self.settle(index, published)
    }

    /// Joins the swarm if there is anything to fetch or to serve, and publishes what is whole and is not `published`.
    pub(super) fn settle(&mut self, index: usize, published: bool) -> Result<(), Failure> {
        let payload = self.jobs[index].payload.as_ref();
        let whole = payload.is_some_and(|payload| payload.is_whole());
        if !whole || self.plan.options.seeds_afterwards() {
            self.enter(index);
        }
        match (whole, published) {
            (true, true) => self.finish(index),
            (true, false) => {
                self.publish(index);
                Ok(())
            }
            (false, _) => {
                self.jobs[index].phase = Phase::Downloading;
                Ok(())
            }
        }
    }

    /// A full disk is no surprise if it can be seen coming; but files may shrink or go meanwhile, so this is no refusal.
    fn warn_of_space(&mut self, index: usize, payload: &Payload) {
        let job = &self.jobs[index];
        let needed = job.total().saturating_sub(job.kept);
        let free = space::free(payload.storage.folder()).unwrap_or(u64::MAX);
        if needed > free {
            let (needed, free) = (human::bytes(needed), human::bytes(free));
            let line = format!(
                "warning: {}: {needed} are missing, and {free} are free on the disk",
                job.name
            );
            self.teller.note(&line);
        }
    }

    fn tell_checked(&mut self, index: usize, have: &Bitfield) {
        let job = &mut self.jobs[index];
        job.kept = job.bytes_in(have);
        let wanted = job.metainfo.geometry.all().filter(|&p| job.wants(p));
        let (pieces, good) = wanted.fold((0_u32, 0_u32), |(all, good), piece| {
            (all + 1, good + u32::from(have.has(piece)))
        });
        let total = job.total();
        let checked = json!({"pieces": pieces, "good": good, "kept": job.kept, "total": total, "hashed": job.watch.done()});
        self.teller
            .event("checked", job.metainfo.info_hash, checked);
        if job.kept > 0 && job.care != Care::Nothing {
            let percent = human::percent(job.kept, total);
            let line = format!(
                "{}: {} of {} are here already ({percent:.1} %)",
                job.name,
                human::bytes(job.kept),
                human::bytes(total)
            );
            self.teller.note(&line);
        }
    }

    /// Joins the swarm and tells the trackers.
    pub(super) fn enter(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        let Some(payload) = &job.payload else { return };
        let sender = self.sender.clone();
        let happened = move |happening| drop(sender.send(Occurrence::Swarm(index, happening)));
        let torrent = self.session.add(
            job.metainfo.clone(),
            payload.storage.clone(),
            payload.holdings(),
            self.plan.swarm.clone(),
            happened,
        );
        torrent.set_priority(job.priority);
        torrent.discovered(&self.plan.options.peers, Source::Operator);
        let choice = web_seed::Choice {
            named: self.plan.options.web_seeds.clone(),
            no_others: self.plan.options.no_web_seeds,
        };
        if torrent.stats().left > 0 {
            web_seed::start(&torrent, &choice, self.session.bind());
        }
        for (addr, source) in job.known.drain(..) {
            torrent.discovered(&[addr], source);
        }
        job.torrent = Some(torrent.clone());
        let metainfo = job.metainfo.clone();
        self.announce(index, torrent, &metainfo.announce);
    }

    /// The last piece is here.
    pub(super) fn complete(&mut self, index: usize) {
        if let (Phase::Downloading, Some(announcer)) =
            (&self.jobs[index].phase, &self.jobs[index].announcer)
        {
            // Of a torrent that is wanted in part nobody has completed a copy (BEP 21).
            if self.jobs[index].selection.is_none() {
                announcer.completed();
            }
            self.publish(index);
        }
    }

    /// Syncs and renames on a thread of its own; the swarm goes on meanwhile.
    pub(super) fn publish(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        let (Some(payload), Some(verified)) = (job.payload.clone(), job.verified()) else {
            return;
        };
        job.phase = Phase::Publishing;
        let sender = self.sender.clone();
        let body =
            move || drop(sender.send(Occurrence::Published(index, payload.publish(verified))));
        self.aside(index, "publish", body);
    }

    /// The payload is whole and has its own name.
    pub(super) fn finish(&mut self, index: usize) -> Result<(), Failure> {
        let job = &mut self.jobs[index];
        let Some(payload) = job.payload.clone() else {
            return Ok(());
        };
        let stats = job.stats();
        payload.finish();
        payload.remember(payload.verified(), &stats, true)?;
        job.fetched = payload.fetched();
        let path = job.path().display().to_string();
        self.teller.event("complete", job.metainfo.info_hash, json!({"path": path, "downloaded": stats.downloaded, "uploaded": stats.uploaded, "seconds": job.begun.elapsed().as_secs_f64()}));
        if matches!(job.purpose, Purpose::Download(_)) {
            self.teller.result(&path);
            let (took, got) = (job.begun.elapsed(), job.total().saturating_sub(job.kept));
            let line = if got == 0 {
                format!("{}: complete", job.name)
            } else {
                #[allow(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss
                )]
                let rate = (got as f64 / took.as_secs_f64().max(1e-3)) as u64;
                format!(
                    "{}: complete, {} in {} ({})",
                    job.name,
                    human::bytes(got),
                    human::span(took),
                    human::rate(rate)
                )
            };
            self.teller.note(&line);
            if let Some(command) = self.plan.options.on_complete.clone() {
                self.run_hook(index, command);
                return Ok(());
            }
        }
        self.seed_or_end(index);
        Ok(())
    }

    pub(super) fn seed_or_end(&mut self, index: usize) {
        if self.plan.options.seeds_afterwards() {
            self.jobs[index].phase = Phase::Seeding(Instant::now());
            self.jobs[index].failures = 0;
            let line = format!(
                "{}: seeding on port {}",
                self.jobs[index].name,
                self.plan.identity.door.port()
            );
            self.teller.note(&line);
        } else {
            self.end(index, Ok(()));
        }
    }

    pub(super) fn run_hook(&mut self, index: usize, command: Vec<String>) {
        let job = &self.jobs[index];
        let (path, info_hash, name) = (
            job.path(),
            job.info_hash().to_string(),
            job.metainfo.safe_name.clone(),
        );
        let sender = self.sender.clone();
        let body = move || {
            let outcome = hook::run(&command, path.as_os_str(), &info_hash, &name);
            let _ = sender.send(Occurrence::Hooked(index, outcome));
        };
        self.aside(index, "on-complete", body);
    }

    /// Saves what is verified; as a clean end only if none of our threads may be writing. A payload that is complete was saved for good when it was published.
    pub(super) fn remember(&self, index: usize, clean: bool) -> Result<(), Failure> {
        let job = &self.jobs[index];
        match (&job.phase, &job.payload, &job.torrent) {
            (Phase::Downloading, Some(payload), Some(torrent)) => {
                payload.remember(torrent.verified(), &torrent.stats(), clean)
            }
            (Phase::Reusing, Some(payload), _) => {
                let clean = clean && !job.busy;
                payload.remember(payload.verified(), &Stats::default(), clean)
            }
            _ => Ok(()),
        }
    }

    /// A torrent is over. Its farewell to the trackers goes on beside the others.
    pub(super) fn end(&mut self, index: usize, outcome: Result<(), Failure>) {
        if self.jobs[index].is_over() {
            return;
        }
        let saved = self.withdraw(index);
        // With one torrent, it is what the program ends with.
        let told = self.jobs.len() > 1 || self.is_long_lived();
        let job = &mut self.jobs[index];
        if let Err(failure) = &outcome {
            if told {
                self.teller.error(&failure.to_string());
            }
            self.teller.event(
                "error",
                job.metainfo.info_hash,
                json!({"message": failure.to_string(), "exit": failure.exit as u8}),
            );
            job.failures += 1;
            job.failed = Some(Instant::now());
        }
        // A second failure would only hide the first.
        job.phase = Phase::Ended(outcome.and(saved));
    }

    /// Ends what a torrent does, says farewell to its trackers, and saves what is verified.
    pub(super) fn withdraw(&mut self, index: usize) -> Result<(), Failure> {
        self.jobs[index].watch.cancel();
        self.leave(index);
        let saved = self.remember(index, true);
        self.jobs[index].let_go();
        saved
    }

    pub(super) fn leave(&mut self, index: usize) {
        if self.jobs[index].is_active() {
            self.hush(index);
        }
        let job = &mut self.jobs[index];
        if !job.is_active() {
            return;
        }
        if let Some(announcer) = &job.announcer {
            announcer.stop();
            self.farewells.push(announcer.farewell());
        }
        if let Some(torrent) = &job.torrent {
            self.session.remove(torrent);
        }
        if let Some(fetcher) = &job.fetcher {
            self.session.give_up(fetcher);
        }
        // What the last second moved belongs to the totals. A download that ends by itself has told them with `complete`.
        if matches!(job.phase, Phase::Downloading | Phase::Seeding(_)) {
            self.teller.totals(&job.snapshot());
        }
    }
}

fn examine(
    metainfo: Arc<Metainfo>,
    purpose: &Purpose,
    selection: Option<Arc<Selection>>,
    care: Care,
    watch: &Watch,
) -> Result<Examined, Failure> {
    let (payload, word) = Payload::open(metainfo, purpose, selection)?;
    payload.examine(care, watch)?;
    Ok(Examined { payload, word })
}

fn foreign(payload: &Payload) -> Failure {
    let cause =
        "nothing in it matches the torrent; move it away, or name another folder with `--output`";
    Failure::new(
        Exit::Storage,
        "repair",
        payload.storage.path().display(),
        cause,
    )
}

fn incomplete(job: &Job, have: &Bitfield) -> Failure {
    let (good, pieces) = (have.ones(), job.metainfo.geometry.pieces());
    Failure::new(
        Exit::Data,
        "seed",
        &job.name,
        format_args!("{good} of {pieces} pieces are good; `hivebt-peer get` fetches the others"),
    )
}
