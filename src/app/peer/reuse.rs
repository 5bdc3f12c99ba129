//! `--reuse DIR`: what older versions already hold is taken from there before anybody is asked.

use std::path::{Path, PathBuf};

use crate::app::failure::{Exit, Failure};
use crate::app::human;
use crate::base::json::{Value, json};
use crate::disk::hash::Watch;
use crate::disk::older::Leads;

use super::job::Phase;
use super::payload::{Payload, storage_failure};
use super::run::{Occurrence, Run};

/// What was taken over.
pub struct Reused {
    pieces: u32,
    /// Bytes from each older version.
    bytes: Vec<u64>,
    /// Bytes that were hashed to find it, and to see that it came over well.
    hashed: u64,
    /// What could not be looked at.
    words: Vec<String>,
}

/// Sees that every older version is there.
///
/// # Errors
/// [`Exit::Storage`] for the first that is not.
pub(super) fn check(places: &[PathBuf]) -> Result<(), Failure> {
    places.iter().try_for_each(|place| {
        let there = place.metadata().map(drop);
        there.map_err(|cause| Failure::new(Exit::Storage, "reuse", place.display(), cause))
    })
}

impl Payload {
    /// Takes from `places` what is missing. What is taken counts at once, see [`Payload::verified`].
    fn reuse(&self, places: &[PathBuf], watch: &Watch) -> Result<Reused, Failure> {
        let failed = |error| storage_failure(&error);
        let wanted = |file| self.wants(file);
        let leads = Leads::find(&self.storage, wanted, places, watch).map_err(failed)?;
        let geometry = self.metainfo.geometry;
        let mut reused = Reused {
            pieces: 0,
            bytes: vec![0; places.len()],
            hashed: 0,
            words: leads.faults.iter().map(ToString::to_string).collect(),
        };
        let is_right = |piece, digest: &_| *digest == self.metainfo.piece_hash(piece);
        let told = |taken: Vec<_>| {
            for (piece, older) in &taken {
                reused.pieces += 1;
                reused.bytes[*older] += u64::from(geometry.piece_len(*piece));
            }
            self.add_verified(taken.iter().map(|(piece, _)| *piece));
        };
        let taken =
            self.storage
                .take_over(geometry, self.missing(), &leads, &is_right, watch, told);
        taken.map_err(failed)?;
        reused.hashed = watch.done();
        Ok(reused)
    }
}

impl Run {
    /// Takes what older versions hold, on a thread of its own.
    pub(super) fn reuse(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        let Some(payload) = job.payload.clone() else {
            return;
        };
        job.phase = Phase::Reusing;
        job.watch = std::sync::Arc::default();
        let (watch, places) = (job.watch.clone(), self.plan.options.reuse.clone());
        let sender = self.sender.clone();
        let body = move || {
            let reused = payload.reuse(&places, &watch);
            let _ = sender.send(Occurrence::Reused(index, reused));
        };
        self.aside(index, "reuse", body);
    }

    /// Tells what was taken over, and goes on with what is missing then.
    pub(super) fn reused(&mut self, index: usize, reused: &Reused) {
        let job = &mut self.jobs[index];
        let Some(payload) = job.payload.clone() else {
            return;
        };
        job.kept = job.bytes_in(&payload.verified());
        let (places, total) = (&self.plan.options.reuse, job.total());
        let event = reused.json(places, total);
        let lines = reused.lines(&job.name, places, total);
        self.teller.event("reused", job.metainfo.info_hash, event);
        let words = reused.words.iter();
        let words = words.map(|word| format!("warning: {word}; it is passed over"));
        words.chain(lines).for_each(|line| self.teller.note(&line));
        let settled = self.settle(index, false);
        self.check(index, settled);
    }
}

impl Reused {
    fn json(&self, places: &[PathBuf], total: u64) -> Value {
        let from = places.iter().zip(&self.bytes);
        let from =
            from.map(|(place, bytes)| json!({"path": place.to_string_lossy(), "bytes": bytes}));
        json!({
            "pieces": self.pieces,
            "bytes": self.bytes.iter().sum::<u64>(),
            "total": total,
            "hashed": self.hashed,
            "from": from.collect::<Vec<_>>(),
        })
    }

    /// A line for each older version that something was taken from.
    fn lines(&self, name: &str, places: &[PathBuf], total: u64) -> Vec<String> {
        let total = human::bytes(total);
        let line = |(place, bytes): (&PathBuf, &u64)| {
            let (bytes, place) = (human::bytes(*bytes), place.display());
            format!("{name}: reused {bytes} of {total} from `{place}`")
        };
        let used = places
            .iter()
            .zip(&self.bytes)
            .filter(|(_, bytes)| **bytes > 0);
        let lines: Vec<_> = used.map(line).collect();
        if !lines.is_empty() {
            return lines;
        }
        let quoted = |place: &PathBuf| format!("`{}`", Path::display(place));
        let places: Vec<_> = places.iter().map(quoted).collect();
        vec![format!(
            "{name}: nothing of it lies in {}",
            places.join(", ")
        )]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_that_gave_something_has_a_line_and_nothing_at_all_is_said_too() {
        let mut reused = Reused {
            pieces: 2,
            bytes: vec![2048, 0],
            hashed: 9,
            words: Vec::new(),
        };
        let places = ["a".into(), "b".into()];
        assert_eq!(
            reused.lines("x", &places, 4096),
            ["x: reused 2.0 KiB of 4.0 KiB from `a`"]
        );
        reused.bytes[0] = 0;
        assert_eq!(
            reused.lines("x", &places, 4096),
            ["x: nothing of it lies in `a`, `b`"]
        );
    }
}
