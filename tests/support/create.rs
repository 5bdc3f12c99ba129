//! Runs `hivebt-create` as a shell would, and makes its payloads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hivebt::base::json::{self, Value};

/// The program under test.
pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_hivebt-create").into()
}

/// What a run came to.
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// Standard output as text.
    pub stdout: String,
    /// Standard output as it was.
    pub raw: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Standard output as one line of JSON.
    pub fn json(&self) -> Value {
        assert_eq!(
            self.stdout.lines().count(),
            1,
            "{} {}",
            self.stdout,
            self.stderr
        );
        json::parse(self.raw.as_slice()).expect("a line of JSON")
    }
}

/// Runs it in `folder`.
pub fn run(folder: &Path, args: &[&str]) -> Ended {
    run_with(folder, args, &[])
}

/// Runs it in `folder` with more in its environment.
pub fn run_with(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> Ended {
    let output = Command::new(program())
        .args(args)
        .current_dir(folder)
        .env_remove("SOURCE_DATE_EPOCH")
        .envs(environment.iter().copied())
        .output()
        .expect("the program runs");
    Ended {
        code: output.status.code().expect("no signal ends it"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        raw: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Makes a torrent, which must work; returns the line of JSON.
pub fn create(folder: &Path, args: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(args);
    let made = run(folder, &all);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""), "{args:?}");
    made.json()
}

/// Writes a file, with the folders above it.
pub fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder");
    fs::write(path, bytes).expect("a file");
}

/// The same bytes on every machine, in any language: a linear congruential generator, a byte a step.
pub fn content(len: usize, seed: u32) -> Vec<u8> {
    let mut x = seed;
    let step = || {
        x = x.wrapping_mul(1_103_515_245).wrapping_add(12345) & 0x7fff_ffff;
        x.to_be_bytes()[1]
    };
    std::iter::repeat_with(step).take(len).collect()
}
