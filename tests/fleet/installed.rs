//! Programs in a folder of their own, which every user may read and where others can take their place.

use std::fs;
use std::path::{Path, PathBuf};

use super::support::tempdir::TempDir;

/// See the module.
pub(crate) struct Installed {
    dir: TempDir,
}

impl Installed {
    pub(crate) fn new() -> Self {
        Self {
            dir: TempDir::new("installed"),
        }
    }

    /// Where `hivebt-<name>` lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("hivebt-{name}"))
    }

    /// Puts one there, or in the place of another. A file that runs cannot be written to, but its name can be given to another.
    pub(crate) fn install(&self, name: &str, from: &Path) {
        let half = self.dir.join("half");
        fs::copy(from, &half).unwrap();
        fs::rename(half, self.path(name)).unwrap();
    }
}
