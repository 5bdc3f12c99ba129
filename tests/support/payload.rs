//! Payloads: the same seed makes the same bytes on every machine.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use fastrand::Rng;

/// Names that file systems allow and programs trip over. Not `"`, `:` and the like: Transmission puts `_` in their place, even where it seeds.
const ODD_NAMES: [&str; 8] = [
    "plain.bin",
    "with a space",
    "größe – ünïcode.txt",
    "数据文件.dat",
    "emoji 🐝.hive",
    "quote'and`more",
    ".hidden",
    "percent%20plus+&=#",
];

/// A file of `bytes` random bytes.
pub fn file(path: &Path, bytes: u64, seed: u64) {
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder");
    let mut out = File::create(path).expect("the payload's file");
    let mut rng = Rng::with_seed(seed);
    let mut buffer = vec![0; 1 << 18];
    let mut left = bytes;
    while left > 0 {
        let n = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        rng.fill(&mut buffer[..n]);
        out.write_all(&buffer[..n]).expect("room for the payload");
        left -= n as u64;
    }
}

/// A small folder with everything that goes wrong: empty files, one byte, odd names, deep paths, sizes at the borders of pieces and blocks.
pub fn odd_folder(root: &Path, seed: u64) -> PathBuf {
    let sizes = [
        0, 1, 16_383, 16_384, 16_385, 262_144, 300_001, 65_537, 0, 5, 1_048_577,
    ];
    for (i, size) in sizes.iter().enumerate() {
        let name = ODD_NAMES[i % ODD_NAMES.len()];
        let folder = match i % 3 {
            0 => String::new(),
            1 => "sub/".to_owned(),
            _ => "a/b/c/d/e/f/g/h/i/j/".to_owned(),
        };
        let path = root.join(format!("{folder}{i:02} {name}"));
        file(&path, *size, seed + i as u64);
    }
    file(&root.join("big/3 MiB"), 3 << 20, seed + 99);
    root.to_path_buf()
}

/// A folder of about `bytes` in `files` files: half of it is one file, the rest is spread unevenly; some are empty, some one byte.
pub fn mixed_folder(root: &Path, bytes: u64, files: usize, seed: u64) -> PathBuf {
    let mut rng = Rng::with_seed(seed);
    file(&root.join("huge/one.img"), bytes / 2, rng.u64(..));
    let mean = bytes / 2 / files.max(1) as u64;
    for i in 0..files {
        let size = match i % 20 {
            0 => 0,
            1 => 1,
            // Squares of a random number: many small ones and a few that are three times the mean.
            _ => {
                let x = rng.f64();
                (x * x * 3.3 * mean as f64) as u64
            }
        };
        let name = ODD_NAMES[i % ODD_NAMES.len()];
        let folder = match i % 7 {
            0 => format!("shallow/{}", i % 50),
            1 => format!("d/e/e/p/{}/d/o/w/n/{}", i % 10, i % 3),
            2 => format!("größer/数据/{}", i % 20),
            _ => format!("set {}/batch {}", i % 12, i % 5),
        };
        file(
            &root.join(format!("{folder}/{i:05} {name}")),
            size,
            rng.u64(..),
        );
    }
    root.to_path_buf()
}

/// The bytes of all files below `root`, or of the file itself.
pub fn size(root: &Path) -> u64 {
    let length = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
    if root.is_file() {
        return length(root);
    }
    let files = super::tree::files(root);
    files.iter().map(|path| length(&root.join(path))).sum()
}
