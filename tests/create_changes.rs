//! Payloads that change while they are hashed, by the hand of another process: an error, and no torrent.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::inotify;
use rustix::process::Signal;
use support::create::{content, program, write};
use support::process::{Ended, Process};
use support::tempdir::TempDir;

const LIMIT: Duration = Duration::from_secs(120);

/// Tells whether files were opened.
struct Opened(OwnedFd);

impl Opened {
    fn watch(path: &Path) -> Self {
        let events = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&events, path, inotify::WatchFlags::OPEN).unwrap();
        Self(events)
    }

    fn yet(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 512];
        inotify::Reader::new(&self.0, &mut buffer).next().is_ok()
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "waited for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn is_stopped(process: &Process) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    state == Some('T')
}

/// Hashes a folder of a huge `a` and a `b` of more than 256 KiB (of smaller ones only the length counts), which `change` changes after `a` was
/// opened and before `b` is. Returns what the run came to, and what lies beside the folder then.
fn changed_by(change: impl Fn(&Path)) -> (Ended, Vec<String>) {
    // Should this machine stop the process too late, a larger file gives more time.
    for size in [128_u64 << 20, 1 << 30, 8 << 30] {
        let dir = TempDir::new("changing");
        let folder = dir.folder("t");
        // A hole: it costs no space, and its zeros are hashed like any others.
        File::create(folder.join("a"))
            .unwrap()
            .set_len(size)
            .unwrap();
        write(&folder.join("b"), &content(300_000, 2));
        // Clocks of file systems tick slowly; a change right after the creation could bear the same time.
        for name in ["a", "b"] {
            let file = OpenOptions::new().write(true).open(folder.join(name));
            file.unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        let (a, b) = (
            Opened::watch(&folder.join("a")),
            Opened::watch(&folder.join("b")),
        );
        let mut command = Command::new(program());
        command
            .args(["-t", "1", "-l", "1M", "t"])
            .current_dir(dir.path());
        let mut process = Process::start("hivebt-create", command);
        wait_until("the first file to be opened", || {
            a.yet() || process.has_ended()
        });
        process.signal(Signal::STOP);
        wait_until("the process to stop", || {
            is_stopped(&process) || process.has_ended()
        });
        if b.yet() || process.has_ended() {
            continue;
        }
        change(&folder);
        process.signal(Signal::CONT);
        let ended = process.wait(LIMIT);
        let names = fs::read_dir(dir.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        return (ended, names.collect());
    }
    panic!("the process could not be stopped between two files");
}

fn assert_refused(file: &str, cause: &str, change: impl Fn(&Path)) {
    let (ended, names) = changed_by(change);
    assert_eq!((ended.code, ended.stdout.as_str()), (6, ""), "{cause}");
    let wanted = format!("error: cannot read `t/{file}`: {cause}");
    assert!(ended.stderr.starts_with(&wanted), "{}", ended.stderr);
    assert_eq!(names, ["t"], "neither a torrent nor a part of one");
}

const CHANGED: &str = "it changed while it was read\n";

fn append(path: &Path) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(b"more").unwrap();
}

#[test]
fn a_file_that_grows_or_shrinks_while_it_is_read_is_an_error() {
    assert_refused("a", CHANGED, |t| append(&t.join("a")));
    assert_refused("a", CHANGED, |t| {
        let file = OpenOptions::new().write(true).open(t.join("a")).unwrap();
        file.set_len(1).unwrap();
    });
}

#[test]
fn a_file_that_changes_before_its_turn_comes_is_an_error() {
    assert_refused("b", CHANGED, |t| append(&t.join("b")));
    assert_refused("b", CHANGED, |t| write(&t.join("b"), b"short"));
    assert_refused("b", CHANGED, |t| write(&t.join("b"), &content(300_000, 3)));
    assert_refused("b", CHANGED, |t| {
        write(&t.join("new"), &content(300_000, 2));
        fs::rename(t.join("new"), t.join("b")).unwrap();
    });
}

#[test]
fn a_file_that_vanishes_or_is_locked_away_before_its_turn_comes_is_an_error() {
    assert_refused("b", "No such file", |t| {
        fs::remove_file(t.join("b")).unwrap()
    });
    let dir = TempDir::new("root");
    write(&dir.join("x"), b"1");
    fs::set_permissions(dir.join("x"), Permissions::from_mode(0o000)).unwrap();
    // The superuser reads everything.
    if File::open(dir.join("x")).is_err() {
        assert_refused("b", "Permission denied", |t| {
            fs::set_permissions(t.join("b"), Permissions::from_mode(0o000)).unwrap();
        });
    }
}

#[test]
fn a_payload_that_nobody_touches_is_hashed_to_its_end() {
    let (ended, mut names) = changed_by(|_| {});
    names.sort();
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "t.torrent\n"));
    assert_eq!(names, ["t", "t.torrent"]);
}
