//! A torrent's payload on disk, from the lock that keeps other runs away to the state that the next run finds.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::app::failure::{Exit, Failure};
use crate::base::bitfield::Bitfield;
use crate::core::swarm::event::Stats;
use crate::disk::error::{OpenError, StorageError};
use crate::disk::hash::{self, Watch};
use crate::disk::layout::{Layout, LayoutFile};
use crate::disk::lock::{Lock, LockError};
use crate::disk::place::Found;
use crate::disk::state::{self, Loaded};
use crate::disk::storage::Storage;
use crate::proto::metainfo::Metainfo;
use crate::proto::resume::Resume;

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
    /// Pieces that outlive a loss of power.
    synced: Mutex<Bitfield>,
    _lock: Option<Lock>,
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
        let synced = Mutex::new(Bitfield::none(metainfo.geometry.pieces()));
        Ok((
            Self {
                metainfo,
                storage: Arc::new(storage),
                folder,
                found,
                resume,
                synced,
                _lock: lock,
            },
            word,
        ))
    }

    /// Finds out which pieces are good.
    ///
    /// # Errors
    /// [`Exit::Storage`] if files cannot be examined. A piece that cannot be read is not good, and no error.
    pub fn examine(&self, care: Care, watch: &Watch) -> Result<Bitfield, Failure> {
        if care == Care::Nothing {
            return Ok(Bitfield::all(self.metainfo.geometry.pieces()));
        }
        let (info_hash, geometry) = (&self.metainfo.info_hash, self.metainfo.geometry);
        let resume = self.resume.as_ref().filter(|_| care == Care::Doubtful);
        let assessment = self
            .storage
            .assess(info_hash, &geometry, resume)
            .map_err(|error| storage_failure(&error))?;
        let (mut have, doubtful) = (assessment.trusted, assessment.doubtful);
        if let Some(resume) = resume {
            let mut synced = self.synced();
            resume
                .synced
                .iter()
                .filter(|&piece| have.has(piece))
                .for_each(|piece| {
                    synced.set(piece);
                });
        }
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
        Ok(have)
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

    /// Gives a complete payload its own name, after everything has reached the disk.
    ///
    /// # Errors
    /// [`Exit::Storage`] if the system refuses, or something else has taken the name meanwhile.
    pub fn publish(&self) -> Result<(), Failure> {
        self.storage
            .sync()
            .and_then(|()| self.storage.publish())
            .map_err(|error| storage_failure(&error))?;
        *self.synced() = Bitfield::all(self.metainfo.geometry.pieces());
        Ok(())
    }

    /// Remembers for the next run what is good. `clean` says that nothing is being written.
    ///
    /// # Errors
    /// [`Exit::Storage`] if the system refuses, but for a place that is read-only: there is nothing to remember that could change.
    pub fn remember(&self, have: &Bitfield, stats: &Stats, clean: bool) -> Result<(), Failure> {
        let earlier = self
            .resume
            .as_ref()
            .map_or((0, 0), |resume| (resume.uploaded, resume.downloaded));
        let state = Resume {
            info_hash: self.metainfo.info_hash,
            geometry: self.metainfo.geometry,
            verified: have.clone(),
            synced: self.synced().clone(),
            stamps: self
                .storage
                .stamps()
                .map_err(|error| storage_failure(&error))?,
            clean,
            boot_id: state::boot_id(),
            published: self.storage.is_published(),
            uploaded: earlier.0 + stats.uploaded,
            downloaded: earlier.1 + stats.downloaded,
        };
        match state::save(&self.folder, &state) {
            Err(error) if !error.is_read_only() => Err(storage_failure(&error)),
            _ => Ok(()),
        }
    }

    fn synced(&self) -> std::sync::MutexGuard<'_, Bitfield> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

fn lock(folder: &Path, metainfo: &Metainfo, read_only: bool) -> Result<Option<Lock>, Failure> {
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

fn layout(metainfo: &Metainfo) -> Layout {
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
