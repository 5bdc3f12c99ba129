//! Every reader of bytes that others write gets examples, and examples that were damaged. `make fuzz` looks for more, for as long as one likes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "fuzz/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use targets::TARGETS;

/// The examples of a target; none if it has no folder.
fn examples(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/fuzz");
    let Ok(entries) = fs::read_dir(folder.join(target)) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| fs::read(path).unwrap())
        .collect()
}

/// Damages `bytes` in one of the ways that fuzzers know; `other` is another example.
fn damage(bytes: &mut Vec<u8>, other: &[u8], rng: &mut fastrand::Rng) {
    let at = rng.usize(..=bytes.len());
    let end = rng.usize(at..=bytes.len().min(at + 64));
    match rng.u8(..7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        1 if at < bytes.len() => bytes[at] = rng.u8(..),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            let to = rng.usize(..=bytes.len());
            bytes.splice(to..to, copy);
        }
        5 => {
            let from = rng.usize(..=other.len());
            bytes.truncate(at);
            bytes.extend(&other[from..]);
        }
        _ => {
            let words: [&[u8]; 8] = [
                b"\0",
                b"\xff\xff\xff\xff",
                b"-1",
                b"99999999999999999999",
                b"i0e",
                b"d",
                b"l",
                b"\x7f\xff\xff\xff",
            ];
            let word = words[rng.usize(..words.len())];
            bytes.splice(at..end.min(at + word.len()), word.iter().copied());
        }
    }
}

#[test]
fn every_target_survives_its_examples_and_thousands_that_were_damaged() {
    for (name, target) in TARGETS {
        let examples = examples(name);
        assert!(!examples.is_empty(), "testdata/fuzz/{name} has no example");
        target(b"");
        let mut rng = fastrand::Rng::with_seed(1);
        for (n, example) in examples.iter().enumerate() {
            target(example);
            for end in 0..example.len() {
                target(&example[..end]);
            }
            for _ in 0..1000 {
                let mut bytes = example.clone();
                for _ in 0..rng.u8(1..6) {
                    damage(&mut bytes, &examples[(n + 1) % examples.len()], &mut rng);
                }
                // Without this nothing tells which one it was.
                let shown = bytes.escape_ascii().to_string();
                let survived = std::panic::catch_unwind(|| target(&bytes));
                assert!(survived.is_ok(), "{name}: {shown}");
            }
        }
    }
}

#[test]
fn every_folder_of_examples_has_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/fuzz");
    let folders = fs::read_dir(folder).unwrap();
    let folders = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let targets = TARGETS.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(folders.collect::<BTreeSet<_>>(), targets.collect());
}
