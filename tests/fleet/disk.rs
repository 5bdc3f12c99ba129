//! A disk of its own for one folder, which can be too small and can grow.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory; dropped, it is gone.
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// One of so many bytes at the folder `at`, which is made.
    pub(crate) fn mount(at: &Path, bytes: u64) -> Self {
        std::fs::create_dir_all(at).unwrap();
        mount(&["-t", "tmpfs", "-o", &size(bytes), "hivebt-test"], at);
        Self { at: at.into() }
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, bytes: u64) {
        mount(&["-o", &format!("remount,{}", size(bytes))], &self.at);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Not waiting for those who still use it: the test has failed then, and its message says why.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

fn size(bytes: u64) -> String {
    format!("size={bytes}")
}

fn mount(options: &[&str], at: &Path) {
    let mounted = Command::new("mount").args(options).arg(at).status();
    assert!(mounted.unwrap().success(), "root may mount");
}
