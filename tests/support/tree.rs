//! Whether two files or folders are the same, byte by byte.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Fails unless both are files with the same bytes, or folders with the same files in them.
pub fn assert_same(expected: &Path, actual: &Path) {
    if let Some(difference) = difference(expected, actual) {
        panic!(
            "{} is not what {} is: {difference}",
            actual.display(),
            expected.display()
        );
    }
}

/// The same for what a program has written that makes no empty files, such as Transmission.
pub fn assert_same_but_for_empty_files(expected: &Path, actual: &Path) {
    if let Some(difference) = difference_of(expected, actual, |path| length_of(path) > 0) {
        panic!("{} differs: {difference}", actual.display());
    }
}

/// The first difference, in words.
pub fn difference(expected: &Path, actual: &Path) -> Option<String> {
    difference_of(expected, actual, |_| true)
}

fn difference_of(expected: &Path, actual: &Path, counts: impl Fn(&Path) -> bool) -> Option<String> {
    if expected.is_file() {
        return file_difference(expected, actual);
    }
    let (mut left, mut right) = (files(expected), files(actual));
    left.retain(|path| counts(&expected.join(path)));
    right.retain(|path| counts(&actual.join(path)));
    if let Some(path) = left.difference(&right).next() {
        return Some(format!("{} is missing", path.display()));
    }
    if let Some(path) = right.difference(&left).next() {
        return Some(format!("{} is too much", path.display()));
    }
    left.iter().find_map(|path| {
        file_difference(&expected.join(path), &actual.join(path))
            .map(|difference| format!("{}: {difference}", path.display()))
    })
}

/// The paths of all files below `root`, relative to it.
pub fn files(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(relative) = path.strip_prefix(root) {
                found.insert(relative.to_path_buf());
            }
        }
    }
    found
}

fn file_difference(expected: &Path, actual: &Path) -> Option<String> {
    let (left, right) = match (File::open(expected), File::open(actual)) {
        (Ok(left), Ok(right)) => (left, right),
        (Err(e), _) | (_, Err(e)) => return Some(format!("cannot be opened: {e}")),
    };
    let lengths = (length(&left), length(&right));
    if lengths.0 != lengths.1 {
        return Some(format!("{} bytes, not {}", lengths.1, lengths.0));
    }
    let (mut left, mut right) = (BufReader::new(left), BufReader::new(right));
    let (mut a, mut b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut at = 0;
    while at < lengths.0 {
        let n = usize::try_from(lengths.0 - at).map_or(a.len(), |rest| rest.min(a.len()));
        if let Err(e) = left
            .read_exact(&mut a[..n])
            .and_then(|()| right.read_exact(&mut b[..n]))
        {
            return Some(format!("cannot be read: {e}"));
        }
        if a[..n] != b[..n] {
            let offset = a[..n].iter().zip(&b[..n]).take_while(|(a, b)| a == b);
            return Some(format!("differs at byte {}", at + offset.count() as u64));
        }
        at += n as u64;
    }
    None
}

fn length_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn length(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}
