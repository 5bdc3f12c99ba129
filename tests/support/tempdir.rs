//! A folder of its own for a test, removed when the test ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A fresh folder; dropped, it is gone. `HIVEBT_KEEP=1` keeps those of failed tests.
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// A folder below the system's folder for temporary files.
    pub fn new(label: &str) -> Self {
        Self::within(&std::env::temp_dir(), label)
    }

    /// A folder on tmpfs where there is one, so that a measurement is not one of the disk.
    pub fn in_memory(label: &str) -> Self {
        let shm = Path::new("/dev/shm");
        if shm.is_dir() {
            Self::within(shm, label)
        } else {
            Self::new(label)
        }
    }

    /// A folder on the disk that the build lies on, which `/tmp` need not be.
    pub fn on_disk(label: &str) -> Self {
        Self::within(Path::new(env!("CARGO_TARGET_TMPDIR")), label)
    }

    fn within(parent: &Path, label: &str) -> Self {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("hivebt-{label}-{}-{serial}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder for the test");
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `name` inside.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the folder `name` inside, with its parents.
    pub fn folder(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).expect("a folder inside the test's folder");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("HIVEBT_KEEP").is_some() {
            super::say::say(format_args!("kept: {}", self.path.display()));
            return;
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}
