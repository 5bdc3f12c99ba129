//! The state file: what a tracker knows outlives its end, however that comes.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::private::Keys;
use super::service::Service;
use crate::app::failure::{Exit, Failure};
use crate::app::output;
use crate::base::json::json;
use crate::disk::error::StorageError;
use crate::disk::keep::Kept;
use crate::disk::lock::LockError;
use crate::proto::tracker_state::{PoolRow, TrackerState, UserRow};

/// What the operator wants of it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Whether peers are kept, too.
    pub(super) peers: bool,
    /// How often it is written, if anything has changed.
    pub(super) every: Duration,
}

/// The file of a running tracker.
pub(super) struct StateFile {
    kept: Kept,
    plan: Plan,
    service: Arc<Service>,
    keys: Option<Arc<Keys>>,
    /// Accounts of an earlier run, where this one is not private.
    idle: (Vec<UserRow>, Vec<PoolRow>),
    /// What had happened when it was last written.
    written: u64,
    /// When it is to be written next.
    due: Instant,
}

impl StateFile {
    /// Takes the file, gives the tracker what it holds, and writes it anew to prove that this is possible. A file that is not understood is moved aside,
    /// with a message.
    ///
    /// # Errors
    /// If another tracker has it, or it can be neither read nor written.
    pub(super) fn open(
        plan: Plan,
        service: Arc<Service>,
        keys: Option<Arc<Keys>>,
    ) -> Result<Self, Failure> {
        let kept = Kept::open(&plan.path).map_err(|error| refused(&plan, error))?;
        let state = load(&kept)?;
        let mut file = Self {
            kept,
            service,
            keys,
            idle: (Vec::new(), Vec::new()),
            written: 0,
            due: Instant::now() + plan.every,
            plan,
        };
        file.give(state);
        file.write().map_err(storage)?;
        Ok(file)
    }

    /// When it wants to be [looked after](Self::look_after).
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Writes the file if it is time and anything has changed. What stands against it is told, every time.
    pub(super) fn look_after(&mut self) {
        if Instant::now() < self.due {
            return;
        }
        if self.service.announces() != self.written
            && let Err(error) = self.write()
        {
            let every = self.plan.every.as_secs();
            output::note(format_args!(
                "error: {error}; what is there stays, and is tried again in {every} s"
            ));
        }
        self.due = Instant::now() + self.plan.every;
    }

    /// Writes the file for the last time.
    ///
    /// # Errors
    /// If it cannot be written; then what was written last is still there.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.write().map_err(storage)
    }

    fn write(&mut self) -> Result<(), StorageError> {
        let announces = self.service.announces();
        self.kept.replace(&self.gather().to_bytes())?;
        self.written = announces;
        Ok(())
    }

    /// What the tracker knows now. Only a shard at a time is held up by it.
    fn gather(&self) -> TrackerState {
        let now = self.service.now();
        let keys = self.keys.as_ref();
        let (users, pools) = keys.map_or_else(|| self.idle.clone(), |keys| keys.rows(now));
        let mut state = TrackerState {
            saved: since_1970().as_secs(),
            users,
            pools,
            ..TrackerState::default()
        };
        self.service.each(|shard| {
            state.completed.extend(shard.completed());
            if self.plan.peers {
                state.swarms.extend(shard.rows(now));
            }
        });
        state
    }

    /// Gives the tracker what another run knew.
    fn give(&mut self, state: TrackerState) {
        let TrackerState {
            saved,
            completed,
            users,
            pools,
            swarms,
        } = state;
        let downtime = Duration::from_secs(since_1970().as_secs().saturating_sub(saved));
        let (service, mut rng) = (&self.service, fastrand::Rng::new());
        let now = service.now();
        if self.plan.peers {
            for row in swarms {
                service.with(row.hash, |shard| {
                    shard.restore(now, downtime, &row, &mut rng);
                });
            }
        }
        for (hash, completed) in completed {
            service.with(hash, |shard| shard.set_completed(now, hash, completed));
        }
        match &self.keys {
            Some(keys) => keys.restore(now, downtime, service.patience(), (users, pools)),
            None => self.idle = (users, pools),
        }
    }
}

/// Prints the accounts in a state file, a line of JSON each, by name. The tracker that has the file may go on meanwhile.
///
/// # Errors
/// If the file cannot be read, or is none.
pub(super) fn show_accounts(path: &Path) -> Result<(), Failure> {
    let fail =
        |exit, cause: &dyn Display| Failure::new(exit, "read the state", path.display(), cause);
    let bytes = fs::read(path).map_err(|error| fail(Exit::Storage, &error))?;
    let state = TrackerState::parse(&bytes).map_err(|error| fail(Exit::Input, &error))?;
    let mut users = state.users;
    users.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    for UserRow {
        name,
        uploaded,
        downloaded,
    } in users
    {
        output::result(json!({"user": name, "uploaded": uploaded, "downloaded": downloaded}));
    }
    Ok(())
}

fn load(kept: &Kept) -> Result<TrackerState, Failure> {
    let Some(bytes) = kept.read().map_err(storage)? else {
        return Ok(TrackerState::default());
    };
    match TrackerState::parse(&bytes) {
        Ok(state) => Ok(state),
        Err(error) => {
            let aside = kept.set_aside().map_err(storage)?;
            output::note(format_args!(
                "warning: cannot use the state `{}`: {error}; it lies at `{}` now, and counting begins anew",
                kept.path().display(),
                aside.display()
            ));
            Ok(TrackerState::default())
        }
    }
}

fn refused(plan: &Plan, error: LockError) -> Failure {
    match error {
        LockError::Held(_) => Failure::new(
            Exit::Locked,
            "use the state",
            plan.path.display(),
            "another tracker uses it",
        ),
        LockError::Storage(error) => storage(error),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "what `map_err` gives")]
fn storage(error: StorageError) -> Failure {
    Failure::plain(Exit::Storage, error)
}

/// By the clock of the machine, which may be wrong: only differences are used, and none of them for anything that must not be wrong.
fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
