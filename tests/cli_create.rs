//! The command line of `hivebt-create`: options, exit codes, outputs, as CLI.md promises them to scripts.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use hivebt::base::json::json;
use hivebt::proto::metainfo::Metainfo;
use support::create::{content, create, program, run, run_with, write};
use support::tempdir::TempDir;

fn payload(label: &str) -> TempDir {
    let dir = TempDir::new(label);
    write(&dir.join("pay.bin"), &content(200_000, 1));
    dir
}

fn torrent(path: &Path) -> Metainfo {
    Metainfo::from_bytes(&fs::read(path).unwrap()).unwrap()
}

fn fixture(name: &str) -> String {
    format!(
        "{}/testdata/torrents/{name}.torrent",
        env!("CARGO_MANIFEST_DIR")
    )
}

#[test]
fn the_path_written_is_printed_and_lies_beside_the_payload() {
    let dir = payload("beside");
    let made = run(dir.path(), &["pay.bin"]);
    assert_eq!(
        (made.code, made.stdout.as_str(), made.stderr.as_str()),
        (0, "pay.bin.torrent\n", "")
    );
    let m = torrent(&dir.join("pay.bin.torrent"));
    assert_eq!(m.announce, [["http://localhost:8080/announce"]]);
    assert_eq!((m.geometry.piece_length(), m.geometry.pieces()), (65536, 4));
    assert_eq!(
        m.created_by.unwrap(),
        concat!("hivebt/", env!("CARGO_PKG_VERSION"))
    );
    assert!(m.creation_date.unwrap() > 1_700_000_000 && !m.private);
}

#[test]
fn what_is_there_already_is_replaced_only_by_force() {
    let dir = payload("guard");
    write(&dir.join("pay.bin.torrent"), b"precious");
    let made = run(dir.path(), &["pay.bin"]);
    assert_eq!(made.code, 1);
    assert_eq!(
        made.stderr,
        "error: cannot write `pay.bin.torrent`: it is there already; --force replaces it\n"
    );
    assert_eq!(fs::read(dir.join("pay.bin.torrent")).unwrap(), b"precious");
    assert_eq!(run(dir.path(), &["--force", "pay.bin"]).code, 0);
    torrent(&dir.join("pay.bin.torrent"));
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 2, "no working file is left");
}

#[test]
fn every_option_of_what_a_torrent_says_is_heard() {
    let dir = payload("options");
    let args = [
        "-a",
        "http://a:1/x,udp://b:2",
        "--announce=http://c/",
        "-w",
        "http://w/",
        "--web-seed",
        "https://v/",
        "-l",
        "32K",
        "-n",
        "other name",
        "-p",
        "-s",
        "MARK",
        "-c",
        "a comment",
        "--created-by",
        "me",
        "--date",
        "12345",
        "-o",
        "x.torrent",
        "pay.bin",
    ];
    assert_eq!(run(dir.path(), &args).code, 0);
    let m = torrent(&dir.join("x.torrent"));
    assert_eq!(
        m.announce,
        [vec!["http://a:1/x", "udp://b:2"], vec!["http://c/"]]
    );
    assert_eq!(m.web_seeds, ["http://w/", "https://v/"]);
    assert_eq!(
        (m.geometry.piece_length(), m.name.as_slice()),
        (32768, &b"other name"[..])
    );
    assert!(m.private);
    assert_eq!(m.source.as_deref(), Some("MARK"));
    assert_eq!(m.comment.as_deref(), Some("a comment"));
    assert_eq!(
        (m.created_by.as_deref(), m.creation_date),
        (Some("me"), Some(12345))
    );
    let bare = [
        "-f",
        "--no-announce",
        "--no-created-by",
        "--no-date",
        "pay.bin",
    ];
    assert_eq!(run(dir.path(), &bare).code, 0);
    let m = torrent(&dir.join("pay.bin.torrent"));
    assert!(m.announce.is_empty() && m.created_by.is_none() && m.creation_date.is_none());
}

#[test]
fn the_date_comes_from_the_environment_of_reproducible_builds() {
    let dir = payload("epoch");
    let epoch =
        |value: &str, args: &[&str]| run_with(dir.path(), args, &[("SOURCE_DATE_EPOCH", value)]);
    assert_eq!(epoch("777", &["pay.bin"]).code, 0);
    assert_eq!(
        torrent(&dir.join("pay.bin.torrent")).creation_date,
        Some(777)
    );
    assert_eq!(epoch("777", &["-f", "--date", "5", "pay.bin"]).code, 0);
    assert_eq!(torrent(&dir.join("pay.bin.torrent")).creation_date, Some(5));
    let bad = epoch("soon", &["-f", "pay.bin"]);
    assert_eq!(bad.code, 2);
    assert!(
        bad.stderr
            .contains("`SOURCE_DATE_EPOCH` does not take `soon`")
    );
}

#[test]
fn json_is_a_line_for_each_torrent() {
    let dir = payload("json");
    let made = run(dir.path(), &["--json", "pay.bin"]);
    let info_hash = torrent(&dir.join("pay.bin.torrent")).info_hash.to_string();
    let magnet = format!(
        "magnet:?xt=urn:btih:{info_hash}&dn=pay.bin&tr=http%3A%2F%2Flocalhost%3A8080%2Fannounce"
    );
    let wanted = json!({
        "torrent": "pay.bin.torrent", "info_hash": info_hash, "name": "pay.bin", "total_length": 200_000,
        "piece_length": 65536, "pieces": 4, "files": 1, "magnet": magnet,
    });
    assert_eq!((made.json(), made.stderr.as_str()), (wanted, ""));
    assert_eq!(
        run(dir.path(), &["magnet", "pay.bin.torrent"]).stdout,
        format!("{magnet}\n")
    );
}

#[test]
fn several_paths_fail_and_succeed_one_by_one() {
    let dir = payload("several");
    write(&dir.join("second"), b"2");
    let made = run(dir.path(), &["pay.bin", "gone", "second"]);
    assert_eq!(made.code, 6);
    assert_eq!(made.stdout, "pay.bin.torrent\nsecond.torrent\n");
    let lines: Vec<_> = made.stderr.lines().collect();
    assert!(
        lines[0].starts_with("error: cannot read `gone`: No such file"),
        "{lines:?}"
    );
    assert_eq!(lines[1..], ["error: 1 of 3 failed"]);
    let folder = dir.folder("out");
    let made = run(
        dir.path(),
        &["-o", folder.to_str().unwrap(), "pay.bin", "second"],
    );
    assert_eq!(made.code, 0);
    torrent(&folder.join("pay.bin.torrent"));
    torrent(&folder.join("second.torrent"));
}

#[test]
fn standard_output_takes_the_torrent_itself() {
    let dir = payload("stdout");
    let made = run(dir.path(), &["-o", "-", "pay.bin"]);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    assert_eq!(Metainfo::from_bytes(&made.raw).unwrap().name, b"pay.bin");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_dry_run_does_everything_but_write() {
    let dir = payload("dry");
    let dry = create(dir.path(), &["--dry-run", "pay.bin"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(
        dry["info_hash"],
        create(dir.path(), &["pay.bin"])["info_hash"]
    );
}

#[test]
fn a_folder_is_named_by_what_its_path_means() {
    let dir = TempDir::new("dot");
    write(&dir.join("named/file"), b"1");
    for args in [["-f", "."], ["-f", "../named/"], ["-f", "../named/."]] {
        let mut all = vec!["--json"];
        all.extend(args);
        let made = run(&dir.join("named"), &all);
        assert_eq!((made.code, &made.json()["name"]), (0, &json!("named")));
        torrent(&dir.join("named.torrent"));
    }
}

#[test]
fn results_that_nobody_gets_are_a_storage_error() {
    let dir = payload("unheard");
    run(dir.path(), &["pay.bin"]);
    for arguments in [
        &["--json", "-f", "pay.bin"][..],
        &["show", "pay.bin.torrent"],
        &["magnet", "pay.bin.torrent"],
        &["--help"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let mut command = Command::new(program());
        command.args(arguments).current_dir(dir.path());
        let output = command.stdout(full.unwrap()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{arguments:?}: {said}");
        let wanted = "error: cannot write `standard output`: No space left on device";
        assert!(said.starts_with(wanted), "{said}");
    }
}

#[test]
fn a_full_disk_and_a_missing_folder_are_storage_errors() {
    let dir = payload("full");
    let full = run(dir.path(), &["-o", "/dev/full", "pay.bin"]);
    assert_eq!(full.code, 6);
    assert!(
        full.stderr
            .starts_with("error: cannot write `/dev/full`: No space left"),
        "{}",
        full.stderr
    );
    let missing = run(dir.path(), &["-o", "no/such/x.torrent", "pay.bin"]);
    assert_eq!(missing.code, 6);
    assert!(
        missing
            .stderr
            .contains("the folder it goes to does not exist")
    );
}

#[test]
fn a_mistake_on_the_command_line_is_named_before_anything_is_done() {
    let dir = payload("usage");
    for (args, named) in [
        (&[][..], "no PATH is named"),
        (&["--quux", "pay.bin"], "--quux"),
        (
            &["--include", "[a", "pay.bin"],
            "`--include` does not take `[a`: a `[` has no `]`",
        ),
        (
            &["--exclude", "", "pay.bin"],
            "`--exclude` does not take ``: it is empty",
        ),
        (
            &["-a", "ftp://x/", "pay.bin"],
            "`--announce` does not take `ftp://x/`: `ftp` is no scheme",
        ),
        (
            &["-a", "http://a/,", "pay.bin"],
            "`--announce` does not take ``",
        ),
        (&["-a", "udp://x", "pay.bin"], "must name its port"),
        (
            &["-w", "udp://x:1", "pay.bin"],
            "`--web-seed` does not take `udp://x:1`",
        ),
        (
            &["-l", "100K", "pay.bin"],
            "`--piece-length` does not take `100K`; it takes a power of two from 16K to 128M",
        ),
        (&["-l", "8K", "pay.bin"], "`--piece-length`"),
        (&["-l", "256M", "pay.bin"], "`--piece-length`"),
        (&["-t", "0", "pay.bin"], "`--threads` does not take `0`"),
        (
            &["--date", "now", "pay.bin"],
            "`--date` does not take `now`",
        ),
        (&["--date", "-1", "pay.bin"], "`--date` does not take `-1`"),
        (
            &["--name", "a/b", "pay.bin"],
            "`--name` does not take `a/b`: a name cannot contain `/`",
        ),
        (
            &["--name", ".hivebt", "pay.bin"],
            "`--name` does not take `.hivebt`",
        ),
        (
            &["--name", "x", "pay.bin", "pay.bin"],
            "`--name` takes only one PATH",
        ),
        (
            &["-o", "x", "pay.bin", "pay.bin"],
            "`--output` takes a folder",
        ),
        (
            &["-o", "-", "--json", "pay.bin"],
            "`--json` and `--output -`",
        ),
        (
            &["-a", "http://a/", "--no-announce", "pay.bin"],
            "exclude each other",
        ),
        (
            &["-p", "--no-announce", "pay.bin"],
            "`--private` needs a tracker",
        ),
        (&["show"], "`show` takes"),
        (&["show", "--quux", "x"], "--quux"),
        (&["verify", "x"], "`verify` takes FILE.torrent and DATA"),
        (
            &["verify", "x", "y", "z"],
            "`verify` takes FILE.torrent and DATA",
        ),
        (&["magnet"], "`magnet` takes"),
        (&["magnet", "--json", "x"], "--json"),
    ] {
        let made = run(dir.path(), args);
        assert_eq!(made.code, 2, "{args:?}: {}", made.stderr);
        assert!(made.stderr.contains(named), "{args:?}: {}", made.stderr);
        assert!(made.stderr.starts_with("error: ") && made.stdout.is_empty());
        assert!(
            made.stderr
                .ends_with("`hivebt-create --help` lists what it takes\n")
        );
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn help_and_version_work_everywhere() {
    let dir = TempDir::new("help");
    for verb in [&[][..], &["show"], &["verify"], &["magnet"], &["edit"]] {
        for (option, begins) in [
            ("--help", ""),
            ("-h", ""),
            ("--version", "hivebt-create "),
            ("-V", "hivebt-create "),
        ] {
            let mut args = verb.to_vec();
            args.push(option);
            let told = run(dir.path(), &args);
            assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{args:?}");
            assert!(told.stdout.starts_with(begins) && told.stdout.ends_with('\n'));
        }
    }
}

#[test]
fn a_path_named_like_a_subcommand_is_written_with_a_dot() {
    let dir = TempDir::new("verbs");
    write(&dir.join("show"), b"1");
    assert_eq!(run(dir.path(), &["./show"]).stdout, "./show.torrent\n");
    assert_eq!(run(dir.path(), &["--", "-odd"]).code, 6);
}

#[test]
fn the_configuration_is_heard_and_the_command_line_wins() {
    let dir = payload("config");
    let config = r#"{"torrent_creation": {"announce": "http://conf/", "piece_length": 131072, "private": true, "comment": "conf"}}"#;
    write(&dir.join("bt_config.json"), config.as_bytes());
    assert_eq!(run(dir.path(), &["pay.bin"]).code, 0);
    let m = torrent(&dir.join("pay.bin.torrent"));
    assert_eq!((m.geometry.piece_length(), m.private), (131_072, true));
    assert_eq!(
        (m.announce, m.comment.as_deref()),
        (vec![vec!["http://conf/".to_owned()]], Some("conf"))
    );
    let args = [
        "-f",
        "-l",
        "16K",
        "-a",
        "http://line/",
        "-c",
        "line",
        "pay.bin",
    ];
    assert_eq!(run(dir.path(), &args).code, 0);
    let m = torrent(&dir.join("pay.bin.torrent"));
    assert_eq!(
        (m.geometry.piece_length(), m.announce),
        (16384, vec![vec!["http://line/".to_owned()]])
    );
    write(
        &dir.join("bad.json"),
        br#"{"torrent_creation": {"piecelength": 1}}"#,
    );
    let bad = run(dir.path(), &["-f", "--config", "bad.json", "pay.bin"]);
    assert_eq!(bad.code, 3);
    assert_eq!(
        bad.stderr,
        "error: cannot read the configuration `bad.json`: line 1, column 23: there is no key `torrent_creation.piecelength`; \
         the nearest is `torrent_creation.piece_length`\n"
    );
    assert_eq!(
        run(dir.path(), &["-f", "--config", "none.json", "pay.bin"]).code,
        6
    );
}

#[test]
fn show_prints_every_key_as_promised() {
    let dir = TempDir::new("show");
    let shown = run(dir.path(), &["show", "--json", &fixture("good/every-key")]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    let hash = "effb39c1eb19be3f36d74f1ea5e6f8154d48a747";
    let wanted = json!({
        "info_hash": hash,
        "name": "file.bin",
        "total_length": 40_000,
        "piece_length": 16384,
        "pieces": 3,
        "private": true,
        "files": [{"path": ["file.bin"], "length": 40_000, "pad": false, "md5sum": "d41d8cd98f00b204e9800998ecf8427e"}],
        "announce": [["http://a.example/announce", "udp://b.example:80"], ["http://c.example/announce"]],
        "web_seeds": ["http://w.example/file.bin", "http://x.example/"],
        "nodes": [["router.example", 6881], ["::1", 1]],
        "comment": "all of it",
        "created_by": "hand",
        "creation_date": 1_234_567_890,
        "source": "HIVE",
        "magnet": format!("magnet:?xt=urn:btih:{hash}&dn=file.bin&tr=http%3A%2F%2Fa.example%2Fannounce\
            &tr=udp%3A%2F%2Fb.example%3A80&tr=http%3A%2F%2Fc.example%2Fannounce\
            &ws=http%3A%2F%2Fw.example%2Ffile.bin&ws=http%3A%2F%2Fx.example%2F"),
    });
    assert_eq!(shown.stdout, format!("{wanted}\n"), "keys in this order");
    let text = run(dir.path(), &["show", &fixture("good/every-key")]).stdout;
    for row in [
        "name        file.bin\n",
        "size        39.1 KiB (40000 bytes), files: 1\n",
        "pieces      3 of 16.0 KiB\n",
        "private     yes\n",
        "tracker 1   udp://b.example:80\n",
        "tracker 2   http://c.example/announce\n",
        "created on  2009-02-13 23:31:30 UTC\n",
        "  39.1 KiB  file.bin  md5 d41d8cd98f00b204e9800998ecf8427e\n",
    ] {
        assert!(text.contains(row), "{row}{text}");
    }
}

#[test]
fn torrents_that_are_none_end_with_their_own_exit_code() {
    let dir = TempDir::new("bad");
    for args in [vec!["show"], vec!["show", "--json"], vec!["magnet"]] {
        let bad = fixture("bad/v2-only");
        let mut args = args.clone();
        args.push(&bad);
        let shown = run(dir.path(), &args);
        assert_eq!(shown.code, 3);
        assert_eq!(
            shown.stderr,
            format!(
                "error: cannot read the torrent `{bad}`: a BitTorrent v2-only torrent; only v1 and hybrid torrents are supported\n"
            )
        );
    }
    let bad = fixture("bad/path-dot-dot");
    assert_eq!(run(dir.path(), &["verify", &bad, "."]).code, 3);
    assert_eq!(run(dir.path(), &["verify", "gone.torrent", "."]).code, 6);
    let good = fixture("good/single-file");
    assert_eq!(run(dir.path(), &["verify", &good, "gone"]).code, 6);
    let mixed = run(dir.path(), &["show", &good, &bad]);
    assert_eq!(mixed.code, 3);
    assert!(
        mixed
            .stdout
            .starts_with(&format!("{good}:\nname        file.bin\n"))
    );
    assert!(mixed.stderr.ends_with("error: 1 of 2 failed\n"));
}

#[test]
fn a_torrent_comes_from_standard_input_too() {
    let bytes = fs::File::open(fixture("good/folder")).unwrap();
    let output = Command::new(program())
        .args(["magnet", "-"])
        .stdin(bytes)
        .output()
        .unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"magnet:?xt=urn:btih:22583ca4"));
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let mut child = Command::new(program())
        .args(["show", "--json", &fixture("good/folder")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
}

#[test]
fn an_edit_says_when_the_info_hash_changes_and_keeps_the_rest() {
    let dir = payload("edit");
    let before = create(dir.path(), &["-c", "old", "pay.bin"]);
    let edit = |args: &[&str]| {
        let mut all = vec!["edit", "pay.bin.torrent"];
        all.extend(args);
        run(dir.path(), &all)
    };
    let made = edit(&[
        "-a",
        "http://a/,http://b/",
        "-a",
        "udp://c:1",
        "-w",
        "http://w/",
        "--no-comment",
        "--json",
    ]);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    assert_eq!(made.json()["info_hash"], before["info_hash"]);
    let m = torrent(&dir.join("pay.bin.torrent"));
    assert_eq!(
        m.announce,
        [vec!["http://a/", "http://b/"], vec!["udp://c:1"]]
    );
    assert_eq!(
        (m.web_seeds, m.comment),
        (vec!["http://w/".to_owned()], None)
    );
    let made = edit(&["-p", "-s", "MARK"]);
    let m = torrent(&dir.join("pay.bin.torrent"));
    assert_eq!((made.code, made.stdout.as_str()), (0, "pay.bin.torrent\n"));
    let old = before["info_hash"].as_str().unwrap();
    assert_eq!(
        made.stderr,
        format!(
            "the info-hash changed from {old} to {}: peers of the old torrent and of the new one do not find each other\n",
            m.info_hash
        )
    );
    assert!(m.private && m.announce.len() == 2);
    let made = edit(&["--no-announce"]);
    assert_eq!(made.code, 2, "private and no tracker");
    let made = edit(&["--no-source", "--no-private", "-q", "-o", "-"]);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    assert_eq!(
        Metainfo::from_bytes(&made.raw)
            .unwrap()
            .info_hash
            .to_string(),
        old
    );
    assert!(
        torrent(&dir.join("pay.bin.torrent")).private,
        "another file was asked for"
    );
}

#[test]
fn an_edit_replaces_nothing_that_it_was_not_told_to() {
    let dir = payload("edit-guard");
    create(dir.path(), &["pay.bin"]);
    let bytes = fs::read(dir.join("pay.bin.torrent")).unwrap();
    let args = ["edit", "-c", "x", "--dry-run", "pay.bin.torrent"];
    assert_eq!(run(dir.path(), &args).code, 0);
    assert_eq!(fs::read(dir.join("pay.bin.torrent")).unwrap(), bytes);
    let elsewhere = ["edit", "-c", "x", "-o", "other.torrent", "pay.bin.torrent"];
    assert_eq!(run(dir.path(), &elsewhere).stdout, "other.torrent\n");
    assert_eq!(torrent(&dir.join("other.torrent")).comment.unwrap(), "x");
    assert_eq!(run(dir.path(), &elsewhere).code, 1);
    fs::set_permissions(dir.join("other.torrent"), Permissions::from_mode(0o640)).unwrap();
    symlink("other.torrent", dir.join("link")).unwrap();
    assert_eq!(run(dir.path(), &["edit", "-c", "y", "link"]).code, 0);
    assert_eq!(torrent(&dir.join("other.torrent")).comment.unwrap(), "y");
    let kept = fs::symlink_metadata(dir.join("other.torrent")).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o640);
    assert!(dir.join("link").is_symlink());
    for (args, code) in [
        (&["edit", "pay.bin.torrent"][..], 2),
        (&["edit", "-c", "x"], 2),
        (&["edit", "-c", "x", "a", "b"], 2),
        (&["edit", "-c", "x", "pay.bin"], 3),
        (&["edit", "-c", "x", "gone"], 6),
    ] {
        assert_eq!(run(dir.path(), args).code, code, "{args:?}");
    }
}
