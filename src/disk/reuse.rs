//! Taking over from older versions what a payload lacks.
//!
//! Pieces are hashed where they lie in the older version, several side by side; those that are right are copied to their place, within the kernel where it can, and
//! hashed again there. So whatever happens to the older version meanwhile, a piece that counts is one that was read back with the right hash.
//! This goes stretch by stretch, so that what is done so far can be saved at any time. Nothing of an older version is changed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use super::error::{Act, StorageError};
use super::hash::{self, Reader, Watch};
use super::older::{Lead, Leads};
use super::storage::{Storage, UNSTAMPED, UNSYNCED};
use super::sys;
use crate::base::bitfield::Bitfield;
use crate::base::filemap::Span;
use crate::base::geometry::{Geometry, PieceIndex};
use crate::base::sha1::Digest;

/// Bytes of payload that are hashed, copied and hashed again before what is right is told, about; they are still in the page cache then.
const STRETCH: u64 = 128 << 20;

/// Pieces in such a stretch at least, so that every lane of every thread has one.
const MOST_SIDE_BY_SIDE: usize = 64;

/// Bytes that are copied at a time where the kernel does not do it.
const STEP: usize = 1 << 20;

/// Pieces that were taken over, and the older version, counted from 0, that each is from.
pub type Taken = Vec<(PieceIndex, usize)>;

impl Storage {
    /// Takes over those of `missing` that are found, and tells them stretch by stretch; they are written and verified by then. `is_right` says whether a piece has this
    /// hash. Ends early when `watch` is cancelled.
    ///
    /// # Errors
    /// If something cannot be written. What cannot be read is not found.
    pub fn take_over(
        &self,
        geometry: Geometry,
        mut missing: Bitfield,
        leads: &Leads,
        is_right: &(dyn Fn(PieceIndex, &Digest) -> bool + Sync),
        watch: &Watch,
        mut told: impl FnMut(Taken),
    ) -> Result<(), StorageError> {
        let mut trial = Trial {
            storage: self,
            leads,
            round: 0,
            proved: vec![0; self.layout().files.len()],
        };
        let stretch = STRETCH / u64::from(geometry.piece_length());
        let stretch =
            usize::try_from(stretch).map_or(MOST_SIDE_BY_SIDE, |n| n.max(MOST_SIDE_BY_SIDE));
        for round in 0..leads.rounds() {
            trial.round = round;
            let open = missing
                .iter()
                .filter(|&piece| trial.is_open(geometry, piece));
            let open: Vec<_> = open.collect();
            for pieces in open.chunks(stretch) {
                let found = right(geometry, pieces, is_right, watch, || trial.reader());
                let copied = self.copy(geometry, &trial, found, watch)?;
                let read = || |offset: u64, out: &mut [u8]| self.read_at(offset, out);
                let good = right(geometry, &copied, is_right, watch, read);
                let of = |&piece: &PieceIndex| (piece, trial.prove(geometry, piece));
                let taken: Taken = good.iter().map(of).collect();
                good.iter().for_each(|&piece| {
                    missing.clear(piece);
                });
                told(taken);
                if watch.is_cancelled() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Copies pieces to their places; returns those that could be read.
    fn copy(
        &self,
        geometry: Geometry,
        trial: &Trial<'_>,
        pieces: Vec<PieceIndex>,
        watch: &Watch,
    ) -> Result<Vec<PieceIndex>, StorageError> {
        let mut reader = trial.reader();
        let mut copied = Vec::with_capacity(pieces.len());
        for piece in pieces {
            if watch.is_cancelled() {
                break;
            }
            let (offset, len) = (geometry.piece_offset(piece), geometry.piece_len(piece));
            let mut whole = true;
            for span in self.map().spans(offset, len.into()) {
                let pad = self.layout().files[span.file].pad;
                whole = whole && (pad || self.copy_span(span, &mut reader)?);
            }
            if whole {
                copied.push(piece);
            }
        }
        Ok(copied)
    }

    /// `false` if it could not be read.
    fn copy_span(&self, span: Span, reader: &mut TrialReader<'_>) -> Result<bool, StorageError> {
        let Some(from) = reader.file(span) else {
            return Ok(false);
        };
        let to = self.handle_for(span, true)?;
        let copied = copy_bytes(from, &to, span.offset, span.len);
        self.marks[span.file].fetch_or(UNSYNCED | UNSTAMPED, Ordering::AcqRel);
        copied.map_err(StorageError::new(Act::Write, self.file_path(span.file)))
    }
}

/// Those of `pieces` that have the right hash where `open` reads them, in order.
fn right<R: Reader>(
    geometry: Geometry,
    pieces: &[PieceIndex],
    is_right: &(dyn Fn(PieceIndex, &Digest) -> bool + Sync),
    watch: &Watch,
    open: impl Fn() -> R + Sync,
) -> Vec<PieceIndex> {
    let mut found = Vec::new();
    let threads = hash::default_threads();
    let all = pieces.iter().copied();
    hash::run(geometry, all, threads, watch, open, |piece, digest| {
        if digest.is_ok_and(|digest| is_right(piece, &digest)) {
            found.push(piece);
        }
    });
    found.sort_unstable();
    found
}

/// Copies `len` bytes at `offset` to the same place in `to`; `false` if they cannot be read, an error if they cannot be written.
fn copy_bytes(from: &File, to: &File, offset: u64, len: u64) -> std::io::Result<bool> {
    let (mut at, end) = (offset, offset + len);
    // A kernel or a file system that cannot do it says so with one of many errors, and may do so in the middle.
    while at < end
        && let Ok(copied @ 1..) = sys::copy_within(from, to, at, end - at)
    {
        at += copied;
    }
    let mut buffer = Vec::new();
    while at < end {
        buffer.resize(STEP.min(usize::try_from(end - at).unwrap_or(STEP)), 0);
        if from.read_exact_at(&mut buffer, at).is_err() {
            return Ok(false);
        }
        to.write_all_at(&buffer, at)?;
        at += buffer.len() as u64;
    }
    Ok(true)
}

/// Each file with one of its leads: in each round another, and where there are no more, the one that has proved good.
struct Trial<'a> {
    storage: &'a Storage,
    leads: &'a Leads,
    round: usize,
    /// For each file the lead that last held a piece of it.
    proved: Vec<usize>,
}

impl Trial<'_> {
    fn number(&self, file: usize) -> usize {
        if self.round < self.leads.of(file).len() {
            self.round
        } else {
            self.proved[file]
        }
    }

    fn lead(&self, span: Span) -> Option<&Lead> {
        let lead = self.leads.of(span.file).get(self.number(span.file))?;
        (span.offset + span.len <= lead.len).then_some(lead)
    }

    /// The stretches of a piece that lie in files.
    fn spans(&self, geometry: Geometry, piece: PieceIndex) -> impl Iterator<Item = Span> {
        let (offset, len) = (geometry.piece_offset(piece), geometry.piece_len(piece));
        let files = &self.storage.layout().files;
        let spans = self.storage.map().spans(offset, len.into());
        spans.filter(|span| !files[span.file].pad)
    }

    /// Whether all of a piece may be there, in a combination that was not tried before.
    fn is_open(&self, geometry: Geometry, piece: PieceIndex) -> bool {
        let mut new = false;
        let there = self.spans(geometry, piece).all(|span| {
            new |= self.round < self.leads.of(span.file).len();
            self.lead(span).is_some()
        });
        there && new
    }

    /// A piece is good: remembers its leads, and tells the older version that it begins in.
    fn prove(&mut self, geometry: Geometry, piece: PieceIndex) -> usize {
        let spans: Vec<_> = self.spans(geometry, piece).collect();
        let older = spans.first().and_then(|&span| Some(self.lead(span)?.older));
        for span in spans {
            self.proved[span.file] = self.number(span.file);
        }
        older.unwrap_or(0)
    }

    fn reader(&self) -> TrialReader<'_> {
        TrialReader {
            trial: self,
            open: None,
        }
    }
}

/// Reads the payload as the leads of a round have it.
struct TrialReader<'a> {
    trial: &'a Trial<'a>,
    /// The file that was read last, by the number of ours.
    open: Option<(usize, File)>,
}

/// An older version does not have it.
struct Lacking;

impl TrialReader<'_> {
    /// The file in which this stretch of ours lies.
    fn file(&mut self, span: Span) -> Option<&File> {
        let lead = self.trial.lead(span)?;
        if self
            .open
            .as_ref()
            .is_none_or(|(file, _)| *file != span.file)
        {
            let opened = self.trial.leads.open(lead)?;
            self.open = Some((span.file, opened));
        }
        self.open.as_ref().map(|(_, file)| file)
    }
}

impl Reader for TrialReader<'_> {
    type Error = Lacking;

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Lacking> {
        let storage = self.trial.storage;
        let mut rest = out;
        for span in storage.map().spans(offset, rest.len() as u64) {
            let len = usize::try_from(span.len).map_err(|_| Lacking)?;
            let (here, after) = rest.split_at_mut(len.min(rest.len()));
            rest = after;
            if storage.layout().files[span.file].pad {
                here.fill(0);
            } else {
                let file = self.file(span).ok_or(Lacking)?;
                file.read_exact_at(here, span.offset).map_err(|_| Lacking)?;
            }
        }
        Ok(())
    }
}
