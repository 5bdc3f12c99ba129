//! What an operator gets: archives, units, the sample of `bt_config.json`, completions. What needs archives (`make dist vendor`), root or systemd is
//! ignored in a plain `cargo test` and run by `make interop`.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod archive;
mod completions;
mod install;
mod sample;
mod source;
mod units;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::ours::LIMIT;
use support::process::run_ok;
use support::say::skip;
use support::tempdir::TempDir;

/// The sources of what is packed.
fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/packaging")
}

/// The archive that `make` has put into the folder `HIVEBT_DIST`, by the end of its name; `None` (after a word) if that names none.
fn archive_of(ending: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("HIVEBT_DIST") else {
        skip("HIVEBT_DIST does not name the folder of the archives");
        return None;
    };
    let begin = concat!("hivebt-", env!("CARGO_PKG_VERSION"), "-");
    let mut found = fs::read_dir(&folder).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?;
        (name.starts_with(begin) && name.ends_with(ending)).then_some(path)
    });
    let archive = found.next();
    assert!(archive.is_some(), "no {ending} in {}", folder.display());
    archive
}

/// Unpacks an archive and returns the one folder that it holds.
fn unpack(archive: &Path, into: &TempDir) -> PathBuf {
    let mut command = Command::new("tar");
    command.arg("-xf").arg(archive).arg("-C").arg(into.path());
    run_ok("tar", command, LIMIT);
    let mut entries = fs::read_dir(into.path()).unwrap();
    let folder = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none(), "one folder in an archive");
    folder
}

/// `program` as somebody starts it who knows nothing of the cargo and the make that run this test.
fn afresh(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let ours = ["CARGO", "HIVEBT_", "MAKE", "MFLAGS", "RUST_"];
        if ours.iter().any(|begin| name.starts_with(begin)) {
            command.env_remove(name);
        }
    }
    command
}
