//! A private tracker: who may come in, by the key in the announce URL, and what of it counts (R55).

use std::collections::HashMap;
use std::fmt::{self, Debug, Display};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::app::failure::{Exit, Failure};
use crate::base::sha1::{self, Digest};
use crate::base::time::Time;
use crate::core::tracker::{Account, Accounts, Book, Rule, Visitor, shard_of};
use crate::net::random;
use crate::proto::keys;
use crate::proto::tracker::{AnnounceRequest, Refusal};
use crate::proto::tracker_state::{PoolRow, UserRow};

/// Decides who may come in. An open tracker has none; that this is a trait keeps what it takes out of programs that only ever run an open one.
pub(super) trait Doorman: Debug + Send + Sync {
    /// Who it is that shows this key.
    ///
    /// # Errors
    /// The refusal for whoever may not come in.
    fn admit(&self, key: Option<&[u8]>) -> Result<Visitor, Refusal>;

    /// Notes what the visitor's announce tells.
    ///
    /// # Errors
    /// If it may not go on.
    fn note(&self, now: Time, visitor: Visitor, request: &AnnounceRequest) -> Result<(), Refusal>;
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

/// Peers of users that are known at once: about 100 MiB of them.
const SESSIONS: usize = 500_000;

/// Books. Far more than processors, so that two of them rarely want the same one.
const BOOKS: usize = 32;

/// The doorman who has a file of keys and keeps accounts.
pub(super) struct Keys {
    path: PathBuf,
    /// Found by their SHA-1: how long a search takes tells nothing about a key that was guessed in part.
    known: RwLock<HashMap<Digest, Visitor>>,
    books: Vec<Mutex<Book>>,
    secret: u64,
    /// Locked after a book, never before one.
    accounts: Mutex<Accounts>,
}

impl Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.path.display())
    }
}

impl Keys {
    /// Reads the keys at `path`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(super) fn open(path: PathBuf, rule: Rule) -> Result<Self, Failure> {
        let book = || Mutex::new(Book::new(SESSIONS.div_ceil(BOOKS)));
        let keys = Self {
            path,
            known: RwLock::default(),
            books: (0..BOOKS).map(|_| book()).collect(),
            // The standard library seeds its hashers from the system's random numbers.
            secret: RandomState::new().hash_one(0),
            accounts: Mutex::new(Accounts::new(rule)),
        };
        keys.reload()?;
        Ok(keys)
    }

    /// Reads them again.
    ///
    /// # Errors
    /// If they cannot be read; then the old ones stay.
    pub(super) fn reload(&self) -> Result<(), Failure> {
        let entries = read(&self.path)?;
        let mut accounts = held(&self.accounts);
        let known = entries.into_iter().map(|entry| {
            let visitor = Visitor {
                user: accounts.user(&entry.user),
                limits: entry.limits,
            };
            (sha1::digest(entry.key.as_bytes()), visitor)
        });
        let known = known.collect();
        drop(accounts);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// What another run has to know: the accounts, and then, book by book, what they rest on. An announce in between counts again then, as it has not
    /// been counted in these accounts. Not while keys are read.
    pub(super) fn rows(&self, now: Time) -> (Vec<UserRow>, Vec<PoolRow>) {
        let row = |account: &Account| UserRow {
            name: account.user.clone(),
            uploaded: account.uploaded,
            downloaded: account.downloaded,
        };
        let users = held(&self.accounts).rows().iter().map(row).collect();
        let pools = self.books.iter().flat_map(|book| held(book).rows(now));
        (users, pools.collect())
    }

    /// Takes in what another run knew, `downtime` ago.
    pub(super) fn restore(
        &self,
        now: Time,
        downtime: Duration,
        patience: Duration,
        (users, pools): (Vec<UserRow>, Vec<PoolRow>),
    ) {
        let mut accounts = held(&self.accounts);
        let restore = |row: UserRow| accounts.restore(&row.name, row.uploaded, row.downloaded);
        let users: Vec<_> = users.into_iter().map(restore).collect();
        drop(accounts);
        let mut shelves: Vec<Vec<PoolRow>> = (0..BOOKS).map(|_| Vec::new()).collect();
        for pool in pools {
            shelves[shard_of(pool.hash, self.secret, BOOKS)].push(pool);
        }
        for (book, rows) in self.books.iter().zip(shelves) {
            let (mut book, mut accounts) = (held(book), held(&self.accounts));
            book.restore(now, downtime, patience, rows, &users, &mut accounts);
        }
    }

    /// Forgets peers that were silent for longer than `patience`.
    pub(super) fn cleanup(&self, now: Time, patience: Duration) {
        for book in &self.books {
            held(book).cleanup(now, patience, &mut held(&self.accounts));
        }
    }
}

impl Doorman for Keys {
    fn admit(&self, key: Option<&[u8]>) -> Result<Visitor, Refusal> {
        let Some(key) = key else {
            return Err(Refusal::new(
                "this tracker is private: the announce URL must end with your key",
            ));
        };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(&sha1::digest(key)) {
            None => Err(Refusal::new("this tracker does not know your key")),
            Some(visitor) if visitor.limits.disabled => Err(Refusal::new("your key is disabled")),
            Some(visitor) => Ok(*visitor),
        }
    }

    fn note(&self, now: Time, visitor: Visitor, request: &AnnounceRequest) -> Result<(), Refusal> {
        let book = &self.books[shard_of(request.info_hash, self.secret, BOOKS)];
        let (mut book, mut accounts) = (held(book), held(&self.accounts));
        book.note(now, visitor, request, &mut accounts)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path) -> Result<Vec<keys::Entry>, Failure> {
    let fail =
        |exit, cause: &dyn Display| Failure::new(exit, "read the keys", path.display(), cause);
    let bytes = fs::read(path).map_err(|error| fail(Exit::Storage, &error))?;
    keys::parse(&bytes).map_err(|error| fail(Exit::Input, &error))
}

/// A line with a new key for `user`: 32 hexadecimal digits from the system's random numbers.
///
/// # Errors
/// If the system has none.
pub(super) fn new_key(user: &str) -> Result<String, Failure> {
    let random: [u8; 16] = random::secret()
        .map_err(|cause| Failure::new(Exit::Failed, "get", "random bytes", cause))?;
    let key = random.map(|byte| format!("{byte:02x}")).concat();
    Ok(format!("{key} {user}"))
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

    #[test]
    fn a_new_key_is_a_line_that_the_reader_takes_and_no_two_are_alike() {
        let (one, two) = (new_key("alice").unwrap(), new_key("alice").unwrap());
        let entries = keys::parse(format!("{one}\n{two}\n").as_bytes()).unwrap();
        assert_eq!(entries[0].user, "alice");
        assert_ne!(entries[0].key, entries[1].key);
    }
}
