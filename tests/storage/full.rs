//! No room: what was written stays good, and the same run goes on once there is room. Each test runs itself again in a process of its own,
//! for which the limit is real.

#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hivebt::disk::place::Found;
use hivebt::disk::{space, state};

use crate::support::tempdir::TempDir;
use crate::{folder, noise, open, single};

const FOLDER: &str = "HIVEBT_TEST_FOLDER";

/// Runs the test `name` again below `sh -c <script>`, in which `"$@"` stands for it and `$HIVEBT_TEST_FOLDER` is an empty folder.
fn again(name: &str, script: &str) -> std::process::Output {
    let dir = TempDir::new("full");
    let test = ["--exact", name, "--nocapture"];
    Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(env::current_exe().unwrap())
        .args(test)
        .env(FOLDER, dir.path())
        .output()
        .unwrap()
}

fn inside() -> Option<PathBuf> {
    env::var_os(FOLDER).map(PathBuf::from)
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_file_that_may_not_grow_is_an_error_and_what_was_written_stays() {
    let Some(at) = inside() else {
        let script = "trap '' XFSZ; ulimit -f 64; exec \"$@\"";
        let name = "full::a_file_that_may_not_grow_is_an_error_and_what_was_written_stays";
        let output = again(name, script);
        assert!(output.status.success(), "{}", said(&output));
        return;
    };
    let layout = folder("n", &[("a", 20_000), ("b", 10_000_000), ("c", 5)]);
    let storage = open(&at, &layout, Found::Nothing);
    let bytes = noise(1, 30_000);
    storage.write_vectored_at(0, &[&bytes[..1000]]).unwrap();
    let error = storage
        .write_vectored_at(1000, &[&bytes[1000..]])
        .unwrap_err();
    let path = at.join("n.part/b");
    assert_eq!(
        error.to_string(),
        format!("cannot write `{}`: File too large", path.display())
    );
    let mut back = vec![0; 20_000];
    storage.read_at(0, &mut back).unwrap();
    assert!(back == bytes[..20_000]);
    storage.write_vectored_at(10_020_000, &[b"more."]).unwrap();
}

#[test]
fn a_full_disk_is_an_error_and_with_more_room_the_download_goes_on() {
    let Some(at) = inside() else {
        let script = "unshare -m -- sh -c 'mount -t tmpfs -o size=256k hivebt-test \"$HIVEBT_TEST_FOLDER\" || exit 99; exec \"$@\"' sh \"$@\"";
        let name = "full::a_full_disk_is_an_error_and_with_more_room_the_download_goes_on";
        let output = again(name, script);
        let words = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(99) || words.contains("unshare: ") {
            eprintln!(
                "skipped: a small file system cannot be mounted here: {}",
                said(&output)
            );
            return;
        }
        assert!(output.status.success(), "{}", said(&output));
        return;
    };
    download_into(&at);
}

fn download_into(at: &Path) {
    const BLOCK: usize = 16384;
    let payload = noise(2, 30 * BLOCK);
    let storage = open(at, &single("n", payload.len() as u64), Found::Nothing);
    assert!(space::free(at).unwrap() < payload.len() as u64);
    let write = |n: usize| {
        let bytes = &payload[n * BLOCK..][..BLOCK];
        storage.write_vectored_at((n * BLOCK) as u64, &[bytes])
    };
    let full = (0..30).find_map(|n| write(n).err().map(|error| (n, error)));
    let (stopped_at, error) = full.unwrap();
    assert!(error.is_full());
    let path = at.join("n.part");
    assert_eq!(
        error.to_string(),
        format!("cannot write `{}`: No space left on device", path.display())
    );
    let mut back = vec![0; stopped_at * BLOCK];
    storage.read_at(0, &mut back).unwrap();
    assert!(back == payload[..back.len()], "what was good stays good");

    let unsaved = state::save(at, &crate::state::any_state(1 << 20)).unwrap_err();
    assert!(unsaved.is_full(), "{unsaved}");
    let left = at.join(".hivebt");
    assert!(
        !left.exists() || fs::read_dir(left).unwrap().count() == 0,
        "no litter on a full disk"
    );

    let remount = ["-o", "remount,size=2m"];
    let mounted = Command::new("mount").args(remount).arg(at).status();
    assert!(mounted.unwrap().success());
    (stopped_at..30).for_each(|n| write(n).unwrap());
    storage.publish().unwrap();
    assert!(fs::read(at.join("n")).unwrap() == payload);
}
