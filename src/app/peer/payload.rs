//! A torrent's payload on disk, from the lock that keeps other runs away to the state that the next run finds.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::app::failure::{Exit, Failure};
use crate::base::bitfield::Bitfield;
use crate::base::geometry::PieceIndex;
use crate::core::keep;
use crate::core::swarm::event::Stats;
use crate::disk::chosen::Fate;
use crate::disk::error::{OpenError, StorageError};
use crate::disk::hash::{self, Watch};
use crate::disk::holes::hash_of_zeros;
use crate::disk::layout::{Layout, LayoutFile};
use crate::disk::lock::{Lock, LockError};
use crate::disk::place::Found;
use crate::disk::state::{self, Loaded};
use crate::disk::storage::Storage;
use crate::proto::metainfo::Metainfo;
use crate::proto::resume::{Origin, Resume, Stamp};

use super::clock;
use super::selection::Selection;
use super::torrent::Holdings;

/// What a payload is opened for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// To be downloaded into this folder, unless it is there.
    Download(PathBuf),
    /// To be seeded: the payload, or the folder it lies in. Nothing is changed there.
    Seed(PathBuf),
}

/// How much of a payload is hashed before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// What the state of an earlier run does not vouch for.
    Doubtful,
    /// Everything that is there.
    Everything,
    /// Nothing: this run has just hashed it from end to end.
    Nothing,
}

/// A payload, locked and open.
pub struct Payload {
    /// Whose it is.
    pub metainfo: Arc<Metainfo>,
    /// Its files.
    pub storage: Arc<Storage>,
    /// Where its state is kept.
    folder: PathBuf,
    found: Found,
    resume: Option<Resume>,
    selection: Option<Arc<Selection>>,
    origins: Vec<Origin>,
    /// See [`Resume::automatic`].
    automatic: bool,
    /// See [`Resume::finished`].
    finished: AtomicU64,
    pieces: Mutex<Pieces>,
    /// What was saved last: verified pieces, and bytes sent and received.
    saved: Mutex<Option<(u32, u64, u64)>>,
    _lock: Option<Lock>,
}

/// What is known of the pieces, apart from what the swarm fetches.
#[derive(Clone)]
struct Pieces {
    /// As of the last examination or publication.
    verified: Bitfield,
    /// Those of them that outlive a loss of power.
    synced: Bitfield,
    /// Those of which only the bytes in wanted files are here.
    partly: Bitfield,
}

impl Payload {
    /// Takes the lock, finds what is there, and reads the state that an earlier run left. The second value is something that the
    /// operator should know, though it stops nothing.
    ///
    /// # Errors
    /// [`Exit::Locked`] if another run has it, [`Exit::Data`] if there is nothing to seed, else [`Exit::Storage`].
    pub fn open(
        metainfo: Arc<Metainfo>,
        purpose: &Purpose,
        selection: Option<Arc<Selection>>,
    ) -> Result<(Self, Option<String>), Failure> {
        let layout = layout(&metainfo);
        let (storage, found, lock) = match purpose {
            Purpose::Download(folder) => {
                let lock = lock(folder, &metainfo, false)?;
                let (storage, found) =
                    Storage::open_download(folder, layout).map_err(|error| refused(&error))?;
                (storage, found, lock)
            }
            Purpose::Seed(data) => {
                let storage = Storage::open_seed(data, layout).map_err(|error| refused(&error))?;
                let lock = lock(storage.folder(), &metainfo, true)?;
                (storage, Found::Existing, lock)
            }
        };
        let folder = storage.folder().to_owned();
        let (resume, word) = match state::load(&folder, &metainfo.info_hash)
            .map_err(|error| storage_failure(&error))?
        {
            Loaded::Nothing => (None, None),
            Loaded::State(resume) => (Some(*resume), None),
            Loaded::Damaged { path, why, kept } => (
                None,
                Some(damaged(&path, &why.to_string(), kept.as_deref())),
            ),
        };
        let none = Bitfield::none(metainfo.geometry.pieces());
        let pieces = Pieces {
            verified: none.clone(),
            synced: none.clone(),
            partly: none,
        };
        let origins = match purpose {
            Purpose::Download(_) => {
                let known = resume.as_ref().map(|resume| &resume.origins[..]);
                let chosen = selection.as_ref().map(|chosen| &chosen.files[..]);
                origins(&storage, found, known, chosen).map_err(|error| storage_failure(&error))?
            }
            Purpose::Seed(_) => Vec::new(),
        };
        let known = resume.as_ref().filter(|_| found != Found::Nothing);
        Ok((
            Self {
                automatic: found == Found::Nothing || known.is_some_and(|known| known.automatic),
                finished: AtomicU64::new(known.map_or(0, |known| keep::believable(known.finished))),
                metainfo,
                storage: Arc::new(storage),
                folder,
                found,
                resume,
                selection,
                origins,
                pieces: Mutex::new(pieces),
                saved: Mutex::default(),
                _lock: lock,
            },
            word,
        ))
    }

    /// Finds out which pieces are good, see [`Payload::verified`].
    ///
    /// # Errors
    /// [`Exit::Storage`] if files cannot be examined. A piece that cannot be read is not good, and no error.
    pub fn examine(&self, care: Care, watch: &Watch) -> Result<(), Failure> {
        if care == Care::Nothing {
            self.pieces().verified = Bitfield::all(self.metainfo.geometry.pieces());
            return Ok(());
        }
        let (info_hash, geometry) = (&self.metainfo.info_hash, self.metainfo.geometry);
        let resume = self.resume.as_ref().filter(|_| care == Care::Doubtful);
        let assessment = self
            .storage
            .assess(info_hash, &geometry, resume)
            .map_err(|error| storage_failure(&error))?;
        let (mut have, mut doubtful) = (assessment.trusted, assessment.doubtful);
        let trusted = have.clone();
        self.settle_hollow(&mut doubtful, &mut have)?;
        let open = || |offset: u64, out: &mut [u8]| self.storage.read_at(offset, out);
        hash::run(
            geometry,
            doubtful.iter().collect::<Vec<_>>().into_iter(),
            hash::default_threads(),
            watch,
            open,
            |piece, digest| {
                if digest.is_ok_and(|digest| digest == self.metainfo.piece_hash(piece)) {
                    have.set(piece);
                }
            },
        );
        let mut pieces = self.pieces();
        pieces.verified = have;
        if let Some(resume) = resume {
            pieces.synced = both(&resume.synced, &trusted);
            if let Some(chosen) = &self.selection {
                let storage = &self.storage;
                let partly = storage
                    .assess_partly(&geometry, resume, &chosen.files)
                    .map_err(|error| storage_failure(&error))?;
                add(&mut pieces.verified, &partly);
                pieces.partly = partly;
            }
        }
        Ok(())
    }

    /// Decides on the pieces of which it is known, without reading them, that they hold nothing but zeros.
    fn settle_hollow(&self, doubtful: &mut Bitfield, have: &mut Bitfield) -> Result<(), Failure> {
        if doubtful.ones() == 0 {
            return Ok(());
        }
        let geometry = self.metainfo.geometry;
        let hollow = self
            .storage
            .hollow(&geometry)
            .map_err(|error| storage_failure(&error))?;
        let mut zeros = None;
        for piece in both(doubtful, &hollow).iter() {
            let len = geometry.piece_len(piece);
            let digest = match zeros {
                Some((known, digest)) if known == len => digest,
                _ => hash_of_zeros(len),
            };
            zeros = Some((len, digest));
            doubtful.clear(piece);
            if digest == self.metainfo.piece_hash(piece) {
                have.set(piece);
            }
        }
        Ok(())
    }

    /// The pieces that are good, as of the last examination or publication: also those of which only the bytes that are wanted are here.
    #[must_use]
    pub fn verified(&self) -> Bitfield {
        self.pieces().verified.clone()
    }

    /// The pieces that are wanted and not here.
    pub(super) fn missing(&self) -> Bitfield {
        let all = Bitfield::all(self.metainfo.geometry.pieces());
        let chosen = self.selection.as_ref();
        let mut missing = chosen.map_or(all, |chosen| chosen.pieces.clone());
        self.verified().iter().for_each(|piece| {
            missing.clear(piece);
        });
        missing
    }

    /// These pieces are written and good, too.
    pub(super) fn add_verified(&self, good: impl Iterator<Item = PieceIndex>) {
        let mut pieces = self.pieces();
        good.for_each(|piece| {
            pieces.verified.set(piece);
        });
    }

    /// Whether every piece that is wanted is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let verified = &self.pieces().verified;
        match &self.selection {
            Some(chosen) => !verified.lacks_any_of(&chosen.pieces),
            None => verified.is_full(),
        }
    }

    /// Whether a wanted file without bytes, which no piece vouches for, is not there.
    ///
    /// # Errors
    /// [`Exit::Storage`] if files cannot be examined.
    pub fn lacks_empty_file(&self) -> Result<bool, Failure> {
        let stamps = self.stamps()?;
        let mut files = self.metainfo.files.iter().zip(stamps).enumerate();
        Ok(files.any(|(n, (file, stamp))| {
            file.length == 0 && !file.pad && stamp.is_none() && self.wants(n)
        }))
    }

    /// What the swarm begins with.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        let pieces = self.pieces().clone();
        let Some(chosen) = &self.selection else {
            return Holdings {
                have: pieces.verified,
                wanted: None,
                withheld: Bitfield::none(self.metainfo.geometry.pieces()),
                withheld_here: pieces.partly,
            };
        };
        let mut withheld = self.touched(|file| self.fate(file, |_| false) == Fate::Removed);
        add(&mut withheld, &pieces.partly);
        let withheld_here = both(&pieces.verified, &withheld);
        let (mut have, mut wanted) = (pieces.verified, chosen.pieces.clone());
        withheld_here.iter().for_each(|piece| {
            have.clear(piece);
            wanted.clear(piece);
        });
        Holdings {
            have,
            wanted: Some(wanted),
            withheld,
            withheld_here,
        }
    }

    /// Whether a file is to be fetched.
    pub(super) fn wants(&self, file: usize) -> bool {
        let chosen = self.selection.as_ref();
        chosen.is_none_or(|chosen| chosen.files.get(file) == Some(&true))
    }

    /// What becomes of `file` when the payload is published, given whether it is complete.
    fn fate(&self, file: usize, is_complete: impl Fn(usize) -> bool) -> Fate {
        let origin = self.origins.get(file).copied().unwrap_or_default();
        match origin {
            _ if self.wants(file) => Fate::Wanted,
            Origin::Published => Fate::Kept,
            Origin::Ours if is_complete(file) => Fate::Kept,
            Origin::Ours | Origin::Stray => Fate::Removed,
        }
    }

    /// The pieces with bytes in files for which `is_one` holds, padding apart.
    fn touched(&self, is_one: impl Fn(usize) -> bool) -> Bitfield {
        let (geometry, map) = (self.metainfo.geometry, self.storage.map());
        let mut pieces = Bitfield::none(geometry.pieces());
        for (n, file) in self.metainfo.files.iter().enumerate() {
            if !file.pad && is_one(n) {
                for piece in geometry.touched(map.range(n)) {
                    pieces.set(piece);
                }
            }
        }
        pieces
    }

    /// A run downloads it that takes and leaves torrents by itself, or one that does as it is told: what that has once had a hand in is nobody's to remove.
    pub fn downloaded_by(&mut self, automatic: bool) {
        self.automatic &= automatic;
    }

    /// When all of it was here, in seconds since 1970, if runs that take and leave torrents by themselves have fetched it and nobody else.
    #[must_use]
    pub fn fetched(&self) -> Option<u64> {
        let at = self.finished.load(Ordering::Relaxed);
        (self.automatic && at > 0).then_some(at)
    }

    /// All of it is here and published, if not since an earlier run then since now.
    pub fn finish(&self) {
        let now = clock::since_1970();
        let _ = self
            .finished
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// By a clock that is right now, it was finished then, in seconds since 1970.
    pub fn finished_at(&self, at: u64) {
        self.finished.store(at, Ordering::Relaxed);
    }

    /// What was there when it was opened.
    #[must_use]
    pub fn found(&self) -> Found {
        self.found
    }

    /// Whether what was there may be repaired, which overwrites what does not match. Not if there is no sign that it has anything to
    /// do with this torrent: then it is somebody's file that happens to have the same name.
    #[must_use]
    pub fn is_ours(&self, have: &Bitfield) -> bool {
        have.ones() > 0 || self.resume.is_some() || self.metainfo.geometry.total() == 0
    }

    /// Makes a payload under its own name writable again, under its `.part` name, so that it can be repaired.
    ///
    /// # Errors
    /// [`Exit::Storage`] if the system refuses.
    pub fn demote(&self) -> Result<(), Failure> {
        self.storage
            .demote()
            .map_err(|error| storage_failure(&error))
    }

    /// Gives a payload of which everything that is wanted is `verified` its own name, after it has reached the disk. Of files that are not
    /// wanted, those stay that are complete or have been published before.
    ///
    /// # Errors
    /// [`Exit::Storage`] if the system refuses, or something else has taken the name meanwhile.
    pub fn publish(&self, verified: Bitfield) -> Result<(), Failure> {
        let published = match &self.selection {
            None => self.storage.sync().and_then(|()| self.storage.publish()),
            Some(_) => self.storage.publish_chosen(&self.fates(&verified)),
        };
        published.map_err(|error| storage_failure(&error))?;
        self.finished_at(clock::since_1970());
        let mut partly = self.pieces().partly.clone();
        if self.selection.is_some() {
            let stamps = self.stamps()?;
            let cut = self.touched(|file| stamps.get(file).is_some_and(Option::is_none));
            add(&mut partly, &both(&cut, &verified));
        }
        let mut synced = verified.clone();
        partly.iter().for_each(|piece| {
            synced.clear(piece);
        });
        *self.pieces() = Pieces {
            verified,
            synced,
            partly,
        };
        Ok(())
    }

    fn fates(&self, verified: &Bitfield) -> Vec<Fate> {
        let (geometry, map) = (self.metainfo.geometry, self.storage.map());
        let partly = self.pieces().partly.clone();
        let good = |piece| verified.has(piece) && !partly.has(piece);
        let is_complete = |file| geometry.touched(map.range(file)).all(good);
        let files = 0..self.metainfo.files.len();
        files.map(|file| self.fate(file, is_complete)).collect()
    }

    fn stamps(&self) -> Result<Vec<Option<Stamp>>, Failure> {
        self.storage
            .stamps()
            .map_err(|error| storage_failure(&error))
    }

    /// Remembers for the next run what is good. `clean` says that nothing is being written; otherwise what has not changed is not saved again.
    ///
    /// # Errors
    /// [`Exit::Storage`] if the system refuses, but for a place that is read-only: there is nothing to remember that could change.
    pub fn remember(&self, verified: Bitfield, stats: &Stats, clean: bool) -> Result<(), Failure> {
        let earlier = self
            .resume
            .as_ref()
            .map_or((0, 0), |resume| (resume.uploaded, resume.downloaded));
        let now = Some((verified.ones(), stats.uploaded, stats.downloaded));
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if !clean && *saved == now {
            return Ok(());
        }
        let Pieces { synced, partly, .. } = self.pieces().clone();
        let mut verified = verified;
        partly.iter().for_each(|piece| {
            verified.clear(piece);
        });
        let published = self.storage.is_published();
        let origins = if published { &[] } else { &self.origins[..] };
        let state = Resume {
            info_hash: self.metainfo.info_hash,
            geometry: self.metainfo.geometry,
            verified,
            synced,
            partly,
            stamps: self.stamps()?,
            origins: origins.to_vec(),
            clean,
            boot_id: state::boot_id(),
            published,
            automatic: self.automatic,
            finished: self.finished.load(Ordering::Relaxed),
            uploaded: earlier.0 + stats.uploaded,
            downloaded: earlier.1 + stats.downloaded,
        };
        match state::save(&self.folder, &state) {
            Err(error) if !error.is_read_only() => Err(storage_failure(&error)),
            _ => {
                *saved = now;
                Ok(())
            }
        }
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where each file of a payload comes from; empty if all are [`Origin::Ours`].
fn origins(
    storage: &Storage,
    found: Found,
    known: Option<&[Origin]>,
    chosen: Option<&[bool]>,
) -> Result<Vec<Origin>, StorageError> {
    let wanted = |file: usize| chosen.is_none_or(|chosen| chosen.get(file) == Some(&true));
    let stamps = storage.stamps()?;
    let files = stamps.iter().enumerate();
    let origins = files.map(|(file, stamp)| match stamp {
        None if wanted(file) => Origin::Ours,
        None => Origin::Stray,
        Some(_) if found == Found::Existing => Origin::Published,
        Some(_) => match known.and_then(|known| known.get(file)) {
            Some(Origin::Stray) if wanted(file) => Origin::Ours,
            known => known.copied().unwrap_or_default(),
        },
    });
    let origins: Vec<_> = origins.collect();
    let all_ours = origins.iter().all(|&origin| origin == Origin::Ours);
    Ok(if all_ours { Vec::new() } else { origins })
}

/// The pieces in both sets.
fn both(a: &Bitfield, b: &Bitfield) -> Bitfield {
    let mut both = Bitfield::none(a.len());
    a.iter().filter(|&piece| b.has(piece)).for_each(|piece| {
        both.set(piece);
    });
    both
}

fn add(to: &mut Bitfield, pieces: &Bitfield) {
    pieces.iter().for_each(|piece| {
        to.set(piece);
    });
}

/// The failure that a storage error ends a run with; tells what helps where the disk is full.
#[must_use]
pub fn storage_failure(error: &StorageError) -> Failure {
    let hint = if error.is_full() {
        "; what is there is kept: make room and run the same command again"
    } else {
        ""
    };
    Failure::plain(Exit::Storage, format_args!("{error}{hint}"))
}

fn refused(error: &OpenError) -> Failure {
    match error {
        OpenError::Storage(error) => storage_failure(error),
        OpenError::NotThere(_) => Failure::plain(Exit::Data, error),
        _ => Failure::plain(Exit::Storage, error),
    }
}

/// Keeps other runs away; `None` where that is not possible and nothing is changed.
pub(super) fn lock(
    folder: &Path,
    metainfo: &Metainfo,
    read_only: bool,
) -> Result<Option<Lock>, Failure> {
    match Lock::acquire(folder, &metainfo.info_hash) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if read_only && error.is_unavailable() => Ok(None),
        Err(LockError::Storage(error)) => Err(storage_failure(&error)),
        Err(held) => Err(Failure::plain(Exit::Locked, held)),
    }
}

fn damaged(path: &Path, why: &str, kept: Option<&Path>) -> String {
    let kept = kept.map_or_else(String::new, |kept| {
        format!("; it was set aside as `{}`", kept.display())
    });
    format!(
        "the state in `{}` is damaged ({why}), so everything is hashed again{kept}",
        path.display()
    )
}

pub(super) fn layout(metainfo: &Metainfo) -> Layout {
    let files = metainfo.files.iter();
    Layout {
        name: metainfo.safe_name.clone(),
        single: metainfo.single,
        files: files
            .map(|file| LayoutFile {
                path: file.safe_path.clone(),
                len: file.length,
                pad: file.pad,
            })
            .collect(),
    }
}
