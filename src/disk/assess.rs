//! What of a payload can be trusted without hashing it again.
//!
//! - After a clean stop with unchanged stamps nothing is hashed.
//! - A file whose stamp changed since a clean stop puts its pieces in doubt.
//! - After a kill (not clean, same boot) recorded pieces are trusted: they were written before they were recorded, and what a process has
//!   written outlives it. Pieces not recorded are in doubt where the file holds data. A file older than its record was replaced; its
//!   pieces are in doubt.
//! - After a reboot only what had been synced is trusted, under the same rules; the rest is in doubt.
//! - Without a state everything that is there is in doubt.
//! - Where a file is missing or too short, its pieces are absent, whatever the state says.

use std::ops::Range;

use crate::base::bitfield::Bitfield;
use crate::base::filemap::FileMap;
use crate::base::geometry::Geometry;
use crate::base::id::InfoHash;
use crate::proto::resume::{Resume, Stamp};

use super::error::StorageError;
use super::state;
use super::storage::Storage;

/// The pieces of a payload as a run finds them. What is in neither set is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Verified by an earlier run, and unchanged since.
    pub trusted: Bitfield,
    /// To be hashed before they count.
    pub doubtful: Bitfield,
}

impl Storage {
    /// Weighs what an earlier run recorded against what the files look like now. To be called before anything is written.
    ///
    /// # Errors
    /// If a file cannot be examined.
    pub fn assess(
        &self,
        info_hash: &InfoHash,
        geometry: &Geometry,
        resume: Option<&Resume>,
    ) -> Result<Assessment, StorageError> {
        let stamps = self.stamps()?;
        let fits =
            |state: &&Resume| state.info_hash == *info_hash && state.fits(geometry, stamps.len());
        let known = resume.filter(fits);
        let now = Now {
            map: self.map(),
            geometry,
            stamps: &stamps,
            boot_id: &state::boot_id(),
        };
        let mut assessment = now.assess(known);
        if assessment.doubtful.ones() > 0 {
            keep(&mut assessment.doubtful, &self.occupied(geometry)?);
        }
        Ok(assessment)
    }

    /// The pieces of which an earlier run kept no more than the bytes in some files, as far as those files, and all that are `wanted` now,
    /// are there and unchanged. To be called before anything is written.
    ///
    /// # Errors
    /// If a file cannot be examined.
    pub fn assess_partly(
        &self,
        geometry: &Geometry,
        resume: &Resume,
        wanted: &[bool],
    ) -> Result<Bitfield, StorageError> {
        let stamps = self.stamps()?;
        if !resume.fits(geometry, stamps.len()) {
            return Ok(Bitfield::none(geometry.pieces()));
        }
        let mut pieces = resume.partly.clone();
        let then_and_now = resume.stamps.iter().zip(&stamps);
        for (file, ((then, now), &wanted)) in then_and_now.zip(wanted).enumerate() {
            let range = self.map().range(file);
            let len = range.end - range.start;
            let is_whole = |stamp: &Option<Stamp>| stamp.is_some_and(|stamp| stamp.len == len);
            let lost = then.is_some() && now.is_none();
            let lacks = wanted && !(is_whole(then) && is_whole(now));
            if lost || lacks || is_touched(resume, then.as_ref(), now.as_ref()) {
                for piece in geometry.touched(range) {
                    pieces.clear(piece);
                }
            }
        }
        Ok(pieces)
    }
}

/// How things are.
struct Now<'a> {
    map: &'a FileMap,
    geometry: &'a Geometry,
    stamps: &'a [Option<Stamp>],
    boot_id: &'a str,
}

impl Now<'_> {
    fn assess(&self, resume: Option<&Resume>) -> Assessment {
        let there = self.there();
        let Some(state) = resume else {
            return Assessment {
                trusted: Bitfield::none(self.geometry.pieces()),
                doubtful: there,
            };
        };
        let same_boot = !self.boot_id.is_empty() && state.boot_id == self.boot_id;
        let touched = self.touched_since(state);
        let durable = if same_boot {
            &state.verified
        } else {
            &state.synced
        };
        let mut trusted = durable.clone();
        keep(&mut trusted, &there);
        drop_all(&mut trusted, &touched);
        let mut doubtful = if state.clean {
            let mut doubtful = state.verified.clone();
            touched.iter().for_each(|p| {
                doubtful.set(p);
            });
            doubtful
        } else {
            Bitfield::all(self.geometry.pieces())
        };
        keep(&mut doubtful, &there);
        drop_all(&mut doubtful, &trusted);
        Assessment { trusted, doubtful }
    }

    /// The pieces whose bytes all lie inside files as long as they are now.
    fn there(&self) -> Bitfield {
        let mut pieces = Bitfield::all(self.geometry.pieces());
        for (file, stamp) in self.stamps.iter().enumerate() {
            let Range { start, end } = self.map.range(file);
            let len = stamp.map_or(0, |stamp| stamp.len);
            for piece in self.geometry.touched(start.saturating_add(len)..end) {
                pieces.clear(piece);
            }
        }
        pieces
    }

    /// The pieces with bytes in files that somebody else wrote to or replaced since `state` was saved.
    fn touched_since(&self, state: &Resume) -> Bitfield {
        let mut pieces = Bitfield::none(self.geometry.pieces());
        for (file, (now, then)) in self.stamps.iter().zip(&state.stamps).enumerate() {
            if is_touched(state, then.as_ref(), now.as_ref()) {
                for piece in self.geometry.touched(self.map.range(file)) {
                    pieces.set(piece);
                }
            }
        }
        pieces
    }
}

/// Whether somebody else wrote to a file, or replaced it, since `state` was saved.
fn is_touched(state: &Resume, then: Option<&Stamp>, now: Option<&Stamp>) -> bool {
    match (now, then) {
        _ if state.clean => now != then,
        (Some(now), Some(then)) => now.mtime < then.mtime,
        _ => false,
    }
}

/// Leaves in `set` only what is in `other` too.
fn keep(set: &mut Bitfield, other: &Bitfield) {
    let gone: Vec<_> = set.iter().filter(|&p| !other.has(p)).collect();
    gone.into_iter().for_each(|p| {
        set.clear(p);
    });
}

/// Takes out of `set` what is in `other`.
fn drop_all(set: &mut Bitfield, other: &Bitfield) {
    other.iter().for_each(|p| {
        set.clear(p);
    });
}
