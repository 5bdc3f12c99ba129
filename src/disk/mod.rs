//! Floor 3, files: where payloads and their state lie, and the threads that hash them.
//!
//! A download, in the order of its life: [`lock`] (one run for each torrent and folder), [`state`] (what an earlier run knew),
//! [`storage`] (the payload, opened by [`place`]), [`assess`] (what of it can be trusted), [`assembly`] (blocks on their way to being
//! a piece, in buffers of a [`pool`]), [`hasher`] (pieces are checked, then written), and in the end [`storage::Storage::publish`]. What older
//! versions already hold is looked for by [`older`] and taken over by [`reuse`].
//!
//! What a tracker has: [`keep`] (what it knows), [`folder`] (the torrents that it hands out).
//!
//! A new torrent: [`scan`] (what there is to share), [`files`] and [`hash`] (its pieces; also to verify), [`publish`] (the .torrent file).

use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod assembly;
pub mod assess;
pub mod chosen;
pub mod discard;
pub mod error;
pub mod files;
pub mod folder;
mod handles;
pub mod hash;
pub mod hasher;
pub mod holes;
pub mod junk;
pub mod keep;
pub mod layout;
pub mod lock;
pub mod older;
pub mod place;
pub mod pool;
pub mod publish;
pub mod reuse;
pub mod scan;
pub mod space;
pub mod state;
pub mod storage;
mod sys;
mod tree;

/// The guarded value, also after a thread panicked over it: what the locks of this floor guard is never left half changed.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
