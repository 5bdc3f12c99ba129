//! Payloads on disk: what is read is what was written, nothing leaves the folder, nothing good is lost.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test may"
)]

#[path = "../support/mod.rs"]
mod support;

mod bytes;
mod full;
mod names;
mod pieces;
mod state;

use std::path::Path;

use hivebt::disk::layout::{Layout, LayoutFile};
use hivebt::disk::place::Found;
use hivebt::disk::storage::Storage;

/// A folder called `name` of files with these paths and lengths. A path that begins with `.pad` is padding.
fn folder(name: &str, files: &[(&str, u64)]) -> Layout {
    let file = |(path, len): &(&str, u64)| LayoutFile {
        path: path.into(),
        len: *len,
        pad: path.starts_with(".pad"),
    };
    Layout {
        name: name.into(),
        single: false,
        files: files.iter().map(file).collect(),
    }
}

/// One file called `name`.
fn single(name: &str, len: u64) -> Layout {
    Layout {
        name: name.into(),
        single: true,
        files: vec![LayoutFile {
            path: "".into(),
            len,
            pad: false,
        }],
    }
}

fn open(at: &Path, layout: &Layout, expected: Found) -> Storage {
    let (storage, found) = Storage::open_download(at, layout.clone()).unwrap();
    assert_eq!(found, expected);
    storage
}

/// Bytes that differ from place to place.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
