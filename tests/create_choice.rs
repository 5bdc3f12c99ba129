//! What of a folder goes into a torrent, what is left out, and what is said about that.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use hivebt::base::json::Value;
use hivebt::disk::junk::JUNK;
use rustix::fs::{FileType, Mode};
use support::create::{create, run, write};
use support::tempdir::TempDir;

/// The paths that a torrent of `t` lists.
fn listed(dir: &Path, options: &[&str]) -> Vec<String> {
    let mut args = vec!["-q", "-f", "t"];
    args.extend(options);
    let made = run(dir, &args);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""), "{options:?}");
    let shown = run(dir, &["show", "--json", "t.torrent"]).json();
    let path = |file: &Value| {
        let names = file["path"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|name| name.as_str().unwrap()).collect();
        names.join("/")
    };
    shown["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(path)
        .collect()
}

fn tree(label: &str, paths: &[&str]) -> TempDir {
    let dir = TempDir::new(label);
    for path in paths {
        write(&dir.join("t").join(path), b"1");
    }
    dir
}

#[test]
fn hidden_and_junk_names_go_in_unless_they_are_told_not_to() {
    let paths = [
        ".config/x",
        ".hidden",
        "Thumbs.db",
        "a",
        "a.part",
        "sub/b~",
        "sub/c",
    ];
    let dir = tree("hidden", &paths);
    assert_eq!(listed(dir.path(), &[]), paths);
    assert_eq!(
        listed(dir.path(), &["--skip-hidden"]),
        ["Thumbs.db", "a", "a.part", "sub/b~", "sub/c"]
    );
    assert_eq!(
        listed(dir.path(), &["--skip-junk"]),
        [".config/x", ".hidden", "a", "sub/c"]
    );
    assert_eq!(
        listed(dir.path(), &["--skip-junk", "--skip-hidden"]),
        ["a", "sub/c"]
    );
}

#[test]
fn all_that_the_list_calls_junk_is_skipped_in_files_and_folders() {
    let dir = TempDir::new("junk");
    for (n, junk) in JUNK.iter().enumerate() {
        let name = junk.replace('*', "x");
        let inside = if n % 2 == 0 {
            name
        } else {
            format!("{name}/inside")
        };
        write(&dir.join("t").join(inside), b"1");
    }
    write(&dir.join("t/payload"), b"1");
    assert_eq!(listed(dir.path(), &["--skip-junk"]), ["payload"]);
    assert_eq!(listed(dir.path(), &[]).len(), JUNK.len() + 1);
}

#[test]
fn what_a_rule_takes_out_no_include_brings_back() {
    let dir = tree(
        "order",
        &[".h/a.bin", "a.bin", "b.bin", "c.txt", "x~", "sub/a.bin"],
    );
    for (options, wanted) in [
        (
            &["--include", "*.bin", "--exclude", "a.bin"][..],
            &["b.bin"][..],
        ),
        (&["--exclude", "a.bin", "--include", "*.bin"], &["b.bin"]),
        (
            &["--include", ".h", "--include", "c.txt", "--skip-hidden"],
            &["c.txt"],
        ),
        (
            &["--skip-junk", "--include", "x~", "--include", "sub"],
            &["sub/a.bin"],
        ),
        (
            &["--include", "*.bin", "--exclude", "sub/", "--skip-hidden"],
            &["a.bin", "b.bin"],
        ),
    ] {
        assert_eq!(listed(dir.path(), options), wanted, "{options:?}");
    }
    // The operator names it: no rule is asked.
    create(dir.path(), &["--skip-junk", "--exclude", "*", "t/x~"]);
    create(dir.path(), &["--skip-hidden", "t/.h"]);
}

#[test]
fn a_line_for_each_reason_says_what_was_skipped() {
    let dir = tree("said", &["a", ".1", ".2", ".3", ".4", "b~", "c.txt"]);
    let _socket = UnixListener::bind(dir.join("t/socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.join("t/pipe"),
        FileType::Fifo,
        Mode::RUSR,
        0,
    )
    .unwrap();
    symlink("a", dir.join("t/link")).unwrap();
    let options = ["--skip-hidden", "--skip-junk", "--exclude", "*.txt", "t"];
    let with = |more: &[&str]| {
        let args: Vec<_> = options.iter().chain(more).copied().collect();
        run(dir.path(), &args)
    };
    let made = with(&[]);
    assert_eq!((made.code, made.stdout.as_str()), (0, "t.torrent\n"));
    assert_eq!(
        made.stderr,
        "skipped 1 symbolic link (--follow-symlinks follows them): `t/link`\n\
         skipped 1 named pipe: `t/pipe`\n\
         skipped 1 socket: `t/socket`\n\
         skipped 4 hidden names (--skip-hidden): `t/.1`, `t/.2`, `t/.3` and 1 more; -v lists them\n\
         skipped 1 junk name (--skip-junk): `t/b~`\n"
    );
    let every = "skipped `t/.1`: it is hidden (--skip-hidden)\n\
                 skipped `t/.2`: it is hidden (--skip-hidden)\n\
                 skipped `t/.3`: it is hidden (--skip-hidden)\n\
                 skipped `t/.4`: it is hidden (--skip-hidden)\n\
                 skipped `t/b~`: it is junk (--skip-junk)\n\
                 skipped `t/c.txt`: it is excluded (--exclude)\n\
                 skipped `t/link`: it is a symbolic link\n\
                 skipped `t/pipe`: it is a named pipe\n\
                 skipped `t/socket`: it is a socket\n";
    assert_eq!(with(&["-f", "-v"]).stderr, every);
    assert_eq!(with(&["-f", "--dry-run"]).stderr, every);
    assert_eq!(with(&["-f", "-q"]).stderr, "");
    assert_eq!(with(&["-f", "-q", "--dry-run"]).stderr, "");
    assert_eq!(with(&["-f", "-q", "-v"]).code, 2);
}

#[test]
fn a_folder_of_nothing_but_links_says_why_it_is_empty() {
    let dir = TempDir::new("only-links");
    dir.folder("t");
    symlink("gone", dir.join("t/link")).unwrap();
    let made = run(dir.path(), &["t"]);
    assert_eq!(made.code, 1);
    assert_eq!(
        made.stderr,
        "error: cannot make a torrent of `t`: there are no files in it but what is skipped\n"
    );
}

#[test]
fn a_torrent_that_lies_in_its_own_payload_is_not_part_of_it() {
    let dir = tree("within", &["a"]);
    let args = ["-f", "-o", "t/x.torrent", "t"];
    let first = run(dir.path(), &args);
    assert_eq!((first.code, first.stderr.as_str()), (0, ""));
    let again = run(dir.path(), &args);
    assert_eq!(
        (again.code, again.stderr.as_str()),
        (
            0,
            "skipped 1 file (the torrent itself goes there): `t/x.torrent`\n"
        )
    );
    assert_eq!(run(dir.path(), &["verify", "t/x.torrent", "t"]).code, 0);
    // Another torrent is a file like any other.
    assert_eq!(listed(dir.path(), &[]), ["a", "x.torrent"]);
}

#[test]
fn a_payload_is_never_replaced_by_its_torrent() {
    let dir = tree("itself", &["a"]);
    let made = run(dir.path(), &["-f", "-o", "t/a", "t/a"]);
    assert_eq!(made.code, 2);
    assert!(
        made.stderr
            .contains("cannot write `t/a`: it is the payload itself")
    );
    assert_eq!(fs::read(dir.join("t/a")).unwrap(), b"1");
}

#[test]
fn two_payloads_of_one_name_do_not_share_a_torrent() {
    let dir = tree("alike", &["x/pay", "y/pay"]);
    let made = run(dir.path(), &["-f", "-o", "t/", "t/x/pay", "t/y/pay"]);
    assert_eq!((made.code, made.stdout.as_str()), (2, "t/pay.torrent\n"));
    assert_eq!(
        made.stderr.lines().next(),
        Some("error: cannot write `t/pay.torrent`: the torrent of `t/x/pay` goes there")
    );
}
