//! What torrents say about data: info-hashes that other programs agree with, trees of every kind, data that changes, and verification.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use hivebt::app::create::make::{Plan, Recipe};
use hivebt::app::failure::Exit;
use hivebt::base::json::{Value, json};
use hivebt::disk::hash::Watch;
use support::create::{content, create, run, write};
use support::tempdir::TempDir;

/// Name, piece length, files with their lengths, info-hash.
type Golden<'a> = (&'a str, &'a str, &'a [(&'a [u8], usize)], &'a str);

const FOLDER: &[(&[u8], usize)] = &[
    (b"a", 70_000),
    (b"deep/er/and/deeper/x", 131_072),
    (b"empty", 0),
    (b"one", 1),
    (b"z.bin", 200_000),
];

const NAMES: &[(&[u8], usize)] = &[
    (b"B", 10),
    (b"a", 11),
    ("café".as_bytes(), 12),
    ("日本語".as_bytes(), 13),
    ("🐝".as_bytes(), 14),
];

const ORDER: &[(&[u8], usize)] = &[(b"a-b", 10), (b"a/z", 11), (b"a.b/c", 12), (b"a0", 13)];

/// Made with mktorrent 1.1 (64 KiB pieces) and libtorrent 2.1 (16 KiB pieces, v1 only, files in our order). mktorrent compares whole paths
/// where we compare components, so `order` is libtorrent's alone.
#[rustfmt::skip]
const GOLDEN: &[Golden<'_>] = &[
    ("one", "64K", &[(b"", 1)], "23cd197e11ccd93b5d65d497d1e82b36da301549"),
    ("one", "16K", &[(b"", 1)], "f8d603646fe984f1249c69a1d545bab4e8922d7c"),
    ("file.bin", "64K", &[(b"", 1_000_003)], "6dafc3bcde580d421d76b6bb2088c3fe4d1ea1e0"),
    ("file.bin", "16K", &[(b"", 1_000_003)], "3f089e48812f06a19f3b5c41accd60f72282693f"),
    ("exact.bin", "64K", &[(b"", 262_144)], "ee11d5d344bb72c8a4a1e75fcd5b0b1312ed9322"),
    ("exact.bin", "16K", &[(b"", 262_144)], "02da68b9e0cd65fca8fe5bec42b27980f0b14221"),
    ("folder", "64K", FOLDER, "f03c91ae9962c7765cf60645be5001fa1c21fdf5"),
    ("folder", "16K", FOLDER, "de45b8cf32a9487da9fba9c3083fd0b2817f89ac"),
    ("names", "64K", NAMES, "9c4a7210a565422951237669ccd185c22f8a8f8f"),
    ("names", "16K", NAMES, "c7bd5d98f23b4df4f32d715cbac28799dd4601ec"),
    ("order", "16K", ORDER, "fb86b1a312227b07dc1406c68a201d01a02bf0e4"),
    ("bytes", "64K", &[(b"caf\xe9", 10), (b"x", 11)], "6258c66f4813b16f25ed29f22ebaddbd6c69bae4"),
];

#[test]
fn info_hashes_are_those_that_mktorrent_and_libtorrent_give() {
    for (name, piece_length, files, info_hash) in GOLDEN {
        let dir = TempDir::new("golden");
        for (n, (path, len)) in files.iter().enumerate() {
            let mut full = dir.join(name);
            if !path.is_empty() {
                full.push(std::ffi::OsStr::from_bytes(path));
            }
            write(&full, &content(*len, n as u32 + 1));
        }
        for threads in ["1", "5"] {
            let made = create(dir.path(), &["-f", "-l", piece_length, "-t", threads, name]);
            assert_eq!(made["info_hash"], *info_hash, "{name} {piece_length}");
        }
    }
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    let dir = TempDir::new("same");
    write(&dir.join("x/payload"), &content(500_000, 7));
    write(&dir.join("y/payload"), &content(500_000, 7));
    let torrent = |folder: &str, threads: &str| {
        let args = ["--date", "5", "-t", threads, "-o", "-", "payload"];
        let made = run(&dir.join(folder), &args);
        assert_eq!((made.code, made.stderr.as_str()), (0, ""));
        made.raw
    };
    assert_eq!(torrent("x", "1"), torrent("y", "3"));
}

#[test]
fn files_are_listed_by_components_and_bytes() {
    let dir = TempDir::new("order");
    for path in ["t/b", "t/a/z", "t/a-b", "t/B", "t/a.b/c", "t/a/Z/q", "t/ä"] {
        write(&dir.join(path), b"1");
    }
    create(dir.path(), &["t"]);
    assert_eq!(
        listed(dir.path(), "t.torrent"),
        ["B", "a/Z/q", "a/z", "a-b", "a.b/c", "b", "ä"]
    );
}

fn listed(dir: &Path, torrent: &str) -> Vec<String> {
    let shown = run(dir, &["show", "--json", torrent]).json();
    let files = shown["files"].as_array().unwrap();
    let path = |file: &Value| {
        let components = file["path"].as_array().unwrap().clone();
        let text = |c: &Value| c.as_str().unwrap().to_owned();
        components.iter().map(text).collect::<Vec<_>>().join("/")
    };
    files.iter().map(path).collect()
}

#[test]
fn links_and_special_files_are_skipped_with_a_note() {
    let dir = TempDir::new("links");
    write(&dir.join("t/file"), b"12345");
    write(&dir.join("outside"), b"secret");
    symlink("../outside", dir.join("t/link")).unwrap();
    symlink("nowhere", dir.join("t/dangling")).unwrap();
    symlink(".", dir.join("t/loop")).unwrap();
    let _socket = UnixListener::bind(dir.join("t/socket")).unwrap();
    let made = run(dir.path(), &["t"]);
    assert_eq!(made.code, 0);
    assert_eq!(
        made.stderr,
        "skipped 3 symbolic links (--follow-symlinks follows them): `t/dangling`, `t/link`, `t/loop`\n\
         skipped 1 socket: `t/socket`\n"
    );
    assert_eq!(listed(dir.path(), "t.torrent"), ["file"]);
    let quiet = run(dir.path(), &["-f", "-q", "t"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
}

#[test]
fn links_are_followed_on_request_but_never_round_in_circles() {
    let dir = TempDir::new("follow");
    write(&dir.join("t/file"), b"12345");
    write(&dir.join("other/inner/file"), b"678");
    symlink("../other", dir.join("t/other")).unwrap();
    symlink("../../t", dir.join("other/inner/back")).unwrap();
    symlink("self", dir.join("t/self")).unwrap();
    symlink("gone", dir.join("t/dangling")).unwrap();
    let made = run(dir.path(), &["--follow-symlinks", "t"]);
    assert_eq!(
        (made.code, made.stderr.as_str()),
        (
            0,
            "skipped 2 symbolic links that lead in a circle: `t/other/inner/back`, `t/self`\n\
             skipped 1 symbolic link that leads nowhere: `t/dangling`\n"
        )
    );
    assert_eq!(
        listed(dir.path(), "t.torrent"),
        ["file", "other/inner/file"]
    );
    assert_eq!(run(dir.path(), &["verify", "t.torrent", "t"]).code, 0);
}

#[test]
fn a_link_that_the_operator_names_is_followed() {
    let dir = TempDir::new("named-link");
    write(&dir.join("v2/file"), b"12345");
    symlink("v2", dir.join("latest")).unwrap();
    let made = create(dir.path(), &["latest"]);
    assert_eq!(
        (&made["name"], &made["files"]),
        (&json!("latest"), &json!(1))
    );
}

#[test]
fn patterns_choose_what_goes_in_and_exclude_wins() {
    let dir = TempDir::new("globs");
    for path in [
        "a.bin",
        "a.tmp",
        "sub/b.bin",
        "sub/b.tmp",
        "sub/deep/c.bin",
        "skip/d.bin",
        "notes",
    ] {
        write(&dir.join("t").join(path), b"1");
    }
    symlink("a.bin", dir.join("t/link.tmp")).unwrap();
    let all = [
        "a.bin",
        "notes",
        "skip/d.bin",
        "sub/b.bin",
        "sub/deep/c.bin",
    ];
    for (options, wanted) in [
        (&["--exclude", "*.tmp"][..], &all[..]),
        (
            &["--exclude=*.tmp", "--exclude=skip/"],
            &["a.bin", "notes", "sub/b.bin", "sub/deep/c.bin"],
        ),
        (
            &[
                "--include",
                "*.bin",
                "--exclude",
                "*.tmp",
                "--exclude",
                "sub/**",
            ],
            &["a.bin", "skip/d.bin"],
        ),
        (
            &["--include", "sub", "--exclude", "*.tmp"],
            &["sub/b.bin", "sub/deep/c.bin"],
        ),
        (
            &[
                "--exclude",
                "*.tmp",
                "--include",
                "sub/*.bin",
                "--include",
                "/notes",
            ],
            &["notes", "sub/b.bin"],
        ),
    ] {
        let mut args = vec!["-f", "t"];
        args.extend(options);
        create(dir.path(), &args);
        assert_eq!(listed(dir.path(), "t.torrent"), wanted, "{options:?}");
    }
    let none = run(dir.path(), &["-f", "--include", "*.iso", "t"]);
    assert_eq!(none.code, 1);
    assert_eq!(
        none.stderr,
        "error: cannot make a torrent of `t`: --include, --exclude, --skip-hidden and --skip-junk leave no files of it\n"
    );
    create(dir.path(), &["-f", "--exclude", "*", "t/a.bin"]);
}

#[test]
fn names_that_are_not_text_go_in_and_are_verified() {
    let dir = TempDir::new("bytes");
    let name = std::ffi::OsStr::from_bytes(b"t/caf\xe9\x1b[2J");
    write(&dir.join(name), b"12345");
    create(dir.path(), &["t"]);
    assert_eq!(listed(dir.path(), "t.torrent"), ["caf\u{fffd}\u{1b}[2J"]);
    let text = run(dir.path(), &["show", "t.torrent"]).stdout;
    assert!(text.contains("caf\u{fffd}\u{fffd}[2J") && !text.contains('\u{1b}'));
    assert_eq!(run(dir.path(), &["verify", "t.torrent", "t"]).code, 0);
}

#[test]
fn a_folder_without_files_is_refused_and_one_of_empty_files_is_not() {
    let dir = TempDir::new("empty");
    dir.folder("t/inner");
    let made = run(dir.path(), &["t"]);
    assert_eq!(made.code, 1);
    assert_eq!(
        made.stderr,
        "error: cannot make a torrent of `t`: there are no files in it\n"
    );
    write(&dir.join("t/inner/empty"), b"");
    let made = create(dir.path(), &["t"]);
    assert_eq!((&made["pieces"], &made["files"]), (&json!(0), &json!(1)));
    assert_eq!(run(dir.path(), &["verify", "t.torrent", "t"]).code, 0);
    fs::remove_file(dir.join("t/inner/empty")).unwrap();
    assert_eq!(run(dir.path(), &["verify", "t.torrent", "t"]).code, 4);
}

#[test]
fn what_cannot_be_read_is_told_and_leaves_nothing_behind() {
    let dir = TempDir::new("unreadable");
    write(&dir.join("t/a"), b"12345");
    write(&dir.join("t/locked"), b"12345");
    fs::set_permissions(dir.join("t/locked"), PermissionsExt::from_mode(0o000)).unwrap();
    if fs::read(dir.join("t/locked")).is_ok() {
        // The superuser reads everything.
        return;
    }
    let made = run(dir.path(), &["t"]);
    assert_eq!(made.code, 6);
    assert!(
        made.stderr.starts_with("error: cannot read `t/locked`: "),
        "{}",
        made.stderr
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// Looks at a tree of three files, changes it, and hashes it. Returns the failure.
fn changed_by(change: impl FnOnce(&Path)) -> (Exit, String) {
    let dir = TempDir::new("changed");
    write(&dir.join("t/a"), &content(100_000, 1));
    write(&dir.join("t/b"), &content(300_000, 2));
    write(&dir.join("t/empty"), b"");
    let recipe = Recipe::default();
    let plan = Plan::new(&dir.join("t"), &recipe).unwrap();
    change(&dir.join("t"));
    let failure = plan.hash(&recipe, &Watch::default()).unwrap_err();
    let text = failure.to_string();
    (failure.exit, text.replace(dir.path().to_str().unwrap(), ""))
}

#[test]
fn data_that_changes_under_our_hands_is_an_error_and_not_a_wrong_torrent() {
    let change = "it changed while it was read";
    let shorter = |t: &Path| write(&t.join("b"), &content(299_999, 2));
    let longer = |t: &Path| write(&t.join("a"), &content(100_001, 1));
    let cut = |t: &Path| write(&t.join("a"), &content(99_999, 1));
    let filled = |t: &Path| write(&t.join("empty"), b"1");
    let replaced = |t: &Path| {
        write(&t.join("new"), &content(300_000, 1));
        fs::rename(t.join("new"), t.join("b")).unwrap();
    };
    let touched = |t: &Path| {
        let file = fs::File::options().write(true).open(t.join("b")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
    };
    assert_eq!(
        changed_by(shorter),
        (Exit::Storage, format!("cannot read `/t/b`: {change}"))
    );
    assert_eq!(
        changed_by(longer),
        (Exit::Storage, format!("cannot read `/t/a`: {change}"))
    );
    assert_eq!(
        changed_by(cut),
        (Exit::Storage, format!("cannot read `/t/a`: {change}"))
    );
    assert_eq!(
        changed_by(filled),
        (Exit::Storage, format!("cannot read `/t/empty`: {change}"))
    );
    assert_eq!(
        changed_by(replaced),
        (Exit::Storage, format!("cannot read `/t/b`: {change}"))
    );
    assert_eq!(
        changed_by(touched),
        (Exit::Storage, format!("cannot read `/t/b`: {change}"))
    );
    let (exit, text) = changed_by(|t| fs::remove_file(t.join("b")).unwrap());
    assert_eq!(exit, Exit::Storage);
    assert!(
        text.starts_with("cannot read `/t/b`: No such file"),
        "{text}"
    );
}

#[test]
fn a_small_file_that_was_replaced_before_it_was_read_counts_as_it_is_then() {
    let dir = TempDir::new("replaced");
    write(&dir.join("t/a"), &content(100_000, 1));
    let recipe = Recipe::default();
    let plan = Plan::new(&dir.join("t"), &recipe).unwrap();
    write(&dir.join("t/a"), &content(100_000, 2));
    let made = plan.hash(&recipe, &Watch::default()).unwrap();
    let afresh = Plan::new(&dir.join("t"), &recipe).unwrap();
    let afresh = afresh.hash(&recipe, &Watch::default()).unwrap();
    assert_eq!(made.info_hash, afresh.info_hash);
}

fn tree(label: &str) -> TempDir {
    let dir = TempDir::new(label);
    for (n, (path, len)) in FOLDER.iter().enumerate() {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        write(
            &dir.join(Path::new("t").join(path)),
            &content(*len, n as u32 + 1),
        );
    }
    create(dir.path(), &["-l", "16K", "t"]);
    dir
}

#[test]
fn whole_data_verifies_wherever_it_is_pointed_at() {
    let dir = tree("whole");
    let whole = json!({
        "info_hash": run(dir.path(), &["show", "--json", "t.torrent"]).json()["info_hash"],
        "pieces": 25, "good": 25, "complete": true, "bad": [], "missing": [], "too_long": [],
        "damaged": [], "respelt": [],
    });
    for data in ["t", ".", "t/", "./t/."] {
        let verified = run(dir.path(), &["verify", "--json", "t.torrent", data]);
        assert_eq!((verified.code, verified.stderr.as_str()), (0, ""), "{data}");
        assert_eq!(verified.json(), whole);
    }
    write(&dir.join("file"), &content(70_000, 9));
    create(dir.path(), &["file"]);
    for data in ["file", "."] {
        let verified = run(dir.path(), &["verify", "file.torrent", data]);
        let wanted = "file.torrent: complete, 2 of 2 pieces are good\n";
        assert_eq!((verified.code, verified.stdout.as_str()), (0, wanted));
    }
}

#[test]
fn a_payload_that_holds_a_folder_of_its_own_name_is_found() {
    let dir = TempDir::new("nested");
    for path in ["t/a", "t/b", "t/t/a"] {
        write(&dir.join(path), path.as_bytes());
    }
    create(dir.path(), &["t"]);
    for data in ["t", "."] {
        assert_eq!(
            run(dir.path(), &["verify", "t.torrent", data]).code,
            0,
            "{data}"
        );
    }
}

#[test]
fn a_changed_byte_is_found_in_its_piece_and_its_file() {
    let dir = tree("flipped");
    let path = dir.join("t/z.bin");
    let mut bytes = fs::read(&path).unwrap();
    bytes[199_999] ^= 1;
    write(&path, &bytes);
    let verified = run(dir.path(), &["verify", "t.torrent", "t"]);
    assert_eq!(verified.code, 4);
    assert_eq!(
        verified.stdout,
        "t.torrent: not complete, 24 of 25 pieces are good\n"
    );
    assert_eq!(verified.stderr, "bad: z.bin (lacks 1 of 13 pieces)\n");
    let verified = run(dir.path(), &["verify", "--json", "t.torrent", "t"]);
    assert_eq!((verified.code, &verified.json()["bad"]), (4, &json!([24])));
}

#[test]
fn missing_short_and_long_files_are_named() {
    let dir = tree("lacking");
    fs::remove_dir_all(dir.join("t/deep")).unwrap();
    fs::remove_file(dir.join("t/one")).unwrap();
    // A folder in the place of a file.
    dir.folder("t/one");
    write(&dir.join("t/a"), &content(69_999, 1));
    write(&dir.join("t/empty"), b"not empty");
    let verified = run(dir.path(), &["verify", "--json", "t.torrent", "t"]);
    assert_eq!(verified.code, 4);
    let report = verified.json();
    assert_eq!(report["missing"], json!(["deep/er/and/deeper/x", "one"]));
    assert_eq!(report["too_long"], json!(["empty"]));
    assert_eq!(report["complete"], false);
    assert_eq!(report["good"], 4 + 12, "whole pieces of `a` and of `z.bin`");
    let verified = run(dir.path(), &["verify", "t.torrent", "t"]);
    assert_eq!(
        verified.stderr,
        "missing: deep/er/and/deeper/x (lacks 9 of 9 pieces)\n\
         missing: one (lacks 1 of 1 pieces)\n\
         too long: empty (9 bytes instead of 0; lacks 0 of 0 pieces)\n\
         too short: a (69999 bytes instead of 70000; lacks 1 of 5 pieces)\n\
         unsure: z.bin (shares bad pieces with a file named above: 1 of 13 pieces)\n"
    );
}

#[test]
fn a_hybrid_is_verified_by_its_v1_side_and_its_padding_needs_no_files() {
    let dir = TempDir::new("hybrid");
    let bytes: Vec<u8> = (0..=255).collect();
    write(&dir.join("hybrid/a"), &bytes.repeat(200));
    write(&dir.join("hybrid/sub/b"), &[b'b'; 20_000]);
    write(&dir.join("hybrid/sub/c"), b"");
    let torrent = fixture("good/hybrid.torrent");
    let verified = run(
        dir.path(),
        &["verify", "--json", torrent.to_str().unwrap(), "hybrid"],
    );
    assert_eq!((verified.code, verified.stderr.as_str()), (0, ""));
    assert_eq!(verified.json()["complete"], true);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/torrents")
        .join(name)
}
