//! A private tracker: who may come in, by the key in the announce URL (R55).

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use crate::app::failure::{Exit, Failure};
use crate::base::sha1::{self, Digest};
use crate::proto::keys::{self, Limits};
use crate::proto::tracker::Refusal;

/// Decides who may come in. An open tracker has none; that this is a trait keeps what it takes out of programs that only ever run an open one.
pub(super) trait Doorman: Debug + Send + Sync {
    /// Whether whoever shows this key may come in.
    ///
    /// # Errors
    /// The refusal that he gets.
    fn admit(&self, key: Option<&[u8]>) -> Result<(), Refusal>;
}

/// The key in the path of an announce URL: what follows `/announce/` or `/scrape/`, up to a query. The same for every carrier (over UDP the path
/// comes as URL data, BEP 41).
pub(super) fn key_in(path: &[u8]) -> Option<&[u8]> {
    let path = path.split(|&b| b == b'?').next()?;
    let key = path
        .strip_prefix(b"/announce/")
        .or_else(|| path.strip_prefix(b"/scrape/"))?;
    (!key.is_empty()).then_some(key)
}

/// The doorman who has a file of keys.
pub(super) struct Keys {
    path: PathBuf,
    /// Found by their SHA-1: how long a search takes tells nothing about a key that was guessed in part.
    known: RwLock<HashMap<Digest, Holder>>,
}

/// Whose key it is.
#[derive(Clone, Debug)]
struct Holder {
    limits: Limits,
}

impl Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.path.display())
    }
}

impl Keys {
    /// Reads the keys at `path`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(super) fn open(path: PathBuf) -> Result<Self, Failure> {
        let known = RwLock::new(read(&path)?);
        Ok(Self { path, known })
    }

    /// Reads them again.
    ///
    /// # Errors
    /// If they cannot be read; then the old ones stay.
    pub(super) fn reload(&self) -> Result<(), Failure> {
        let fresh = read(&self.path)?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

impl Doorman for Keys {
    fn admit(&self, key: Option<&[u8]>) -> Result<(), Refusal> {
        let Some(key) = key else {
            return Err(Refusal::new(
                "this tracker is private: the announce URL must end with your key",
            ));
        };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(&sha1::digest(key)) {
            None => Err(Refusal::new("this tracker does not know your key")),
            Some(holder) if holder.limits.disabled => Err(Refusal::new("your key is disabled")),
            Some(_) => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<HashMap<Digest, Holder>, Failure> {
    let fail = |exit, cause: &dyn std::fmt::Display| {
        Failure::new(exit, "read the keys", path.display(), cause)
    };
    let bytes = fs::read(path).map_err(|error| fail(Exit::Storage, &error))?;
    let entries = keys::parse(&bytes).map_err(|error| fail(Exit::Input, &error))?;
    let known = entries.into_iter().map(|entry| {
        let holder = Holder {
            limits: entry.limits,
        };
        (sha1::digest(entry.key.as_bytes()), holder)
    });
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_follows_the_path_up_to_a_query() {
        for (path, key) in [
            ("/announce/abc", Some("abc")),
            ("/scrape/abc", Some("abc")),
            ("/announce/abc?x=/y", Some("abc")),
            ("/announce/a/b", Some("a/b")),
            ("/announce/", None),
            ("/announce/?a", None),
            ("/announce", None),
            ("/stats/abc", None),
            ("announce/abc", None),
            ("", None),
        ] {
            assert_eq!(key_in(path.as_bytes()), key.map(str::as_bytes), "{path}");
        }
    }
}
