//! What a torrent says and what is said of it: DHT nodes, piece lengths, `show`, `edit`, and `verify` with its reasons.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs::{self, File};
use std::path::Path;

use hivebt::base::json::{Value, json};
use hivebt::proto::metainfo::{Layout, Metainfo, NewFile, NewInfo};
use support::create::{Ended, content, create, run, write};
use support::tempdir::TempDir;

fn payload(label: &str) -> TempDir {
    let dir = TempDir::new(label);
    write(&dir.join("pay"), &content(200_000, 1));
    dir
}

fn shown(dir: &Path, torrent: &str) -> Value {
    run(dir, &["show", "--json", torrent]).json()
}

#[test]
fn nodes_are_written_shown_and_edited() {
    let dir = payload("nodes");
    let args = [
        "--node",
        "router.example:6881",
        "--node",
        "[2001:db8::1]:1",
        "pay",
    ];
    let made = create(dir.path(), &args);
    let wanted = json!([["router.example", 6881], ["2001:db8::1", 1]]);
    assert_eq!(shown(dir.path(), "pay.torrent")["nodes"], wanted);
    let text = run(dir.path(), &["show", "pay.torrent"]).stdout;
    assert!(
        text.contains("DHT node    router.example:6881\nDHT node    [2001:db8::1]:1\n"),
        "{text}"
    );
    let edit = |args: &[&str]| {
        let all: Vec<_> = ["edit", "pay.torrent"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        run(dir.path(), &all)
    };
    assert_eq!(edit(&["--node", "10.0.0.1:5"]).code, 0);
    let after = shown(dir.path(), "pay.torrent");
    assert_eq!(after["nodes"], json!([["10.0.0.1", 5]]));
    assert_eq!(after["info_hash"], made["info_hash"]);
    let refused = edit(&["--private"]);
    assert_eq!(refused.code, 2, "it has nodes");
    assert!(
        refused
            .stderr
            .contains("`--private` and `--node` exclude each other")
    );
    assert_eq!(edit(&["--no-node", "--private"]).code, 0);
    assert_eq!(shown(dir.path(), "pay.torrent")["nodes"], json!([]));
    assert_eq!(edit(&["--node", "10.0.0.1:5"]).code, 2, "it is private");
}

#[test]
fn a_node_that_cannot_be_right_is_refused_with_the_reason() {
    let dir = payload("bad-nodes");
    for (node, why) in [
        ("router.example", "the port is missing"),
        ("", "the host is missing"),
        (":6881", "the host is missing"),
        ("a:0", "`0` is no port"),
        ("a:65536", "`65536` is no port"),
        ("a:b", "`b` is no port"),
        ("::1:6881", "an IPv6 address stands in brackets"),
        ("[::g]:6881", "is neither a host name nor an address"),
        ("1.2.3.400:1", "is neither a host name nor an address"),
        ("a b:1", "` ` cannot stand in a URL"),
        ("a:1/x", "it is no host with a port"),
        ("user@a:1", "it is no host with a port"),
        ("http://a:1", "it is no host with a port"),
    ] {
        let made = run(dir.path(), &["--node", node, "pay"]);
        assert_eq!((made.code, made.stdout.as_str()), (2, ""), "{node}");
        let start = format!("error: `--node` does not take `{node}`: ");
        assert!(made.stderr.starts_with(&start), "{}", made.stderr);
        assert!(made.stderr.contains(why), "{node}: {}", made.stderr);
    }
    let made = run(dir.path(), &["--private", "--node", "a:1", "pay"]);
    assert_eq!(made.code, 2);
    assert!(
        made.stderr
            .contains("peers of a private torrent never ask the DHT (BEP 27)")
    );
    assert!(!dir.join("pay.torrent").exists());
}

#[test]
fn a_torrent_names_only_what_the_operator_named() {
    let dir = payload("own");
    create(dir.path(), &["--no-announce", "pay"]);
    let bytes = fs::read(dir.join("pay.torrent")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for word in ["://", "announce", "nodes", "url-list"] {
        assert!(!text.contains(word), "{word}");
    }
}

/// The other rows are tested where the table is.
#[test]
fn the_automatic_piece_length_changes_where_the_table_says() {
    let dir = TempDir::new("table");
    let automatic = |bytes: u64| {
        let file = File::create(dir.join("zeros")).unwrap();
        file.set_len(bytes).unwrap();
        create(dir.path(), &["--dry-run", "zeros"])["piece_length"].clone()
    };
    const BORDER: u64 = 125 << 20;
    assert_eq!(automatic(BORDER), 64 << 10);
    assert_eq!(automatic(BORDER + 1), 128 << 10);
    assert_eq!(automatic(0), 64 << 10);
}

#[test]
fn edits_put_no_blame_on_what_was_so_before() {
    let dir = TempDir::new("blame");
    // Private, with nodes.
    let every = fixture("every-key");
    fs::copy(&every, dir.join("x.torrent")).unwrap();
    let edit = |args: &[&str]| {
        let all: Vec<_> = ["edit", "x.torrent"].iter().chain(args).copied().collect();
        run(dir.path(), &all)
    };
    let before = Metainfo::from_bytes(&fs::read(&every).unwrap()).unwrap();
    let args = [
        "-c",
        "new",
        "--created-by",
        "me",
        "--date",
        "7",
        "-a",
        "http://t/",
    ];
    let made = edit(&args);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    let after = Metainfo::from_bytes(&fs::read(dir.join("x.torrent")).unwrap()).unwrap();
    assert_eq!(after.raw_info, before.raw_info);
    assert_eq!(after.nodes, before.nodes);
    assert_eq!(
        (after.created_by.as_deref(), after.creation_date),
        (Some("me"), Some(7))
    );
    assert_eq!(edit(&["--no-created-by", "--no-date"]).code, 0);
    let after = Metainfo::from_bytes(&fs::read(dir.join("x.torrent")).unwrap()).unwrap();
    assert_eq!((after.created_by, after.creation_date), (None, None));
    assert_eq!(edit(&["--no-announce"]).code, 2);
}

fn fixture(name: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    format!("{root}/testdata/torrents/good/{name}.torrent")
}

/// A torrent of files that need not be there.
fn foreign(path: &Path, name: &[u8], files: &[(Vec<Vec<u8>>, u64)]) {
    let total: u64 = files.iter().map(|(_, length)| length).sum();
    let files = files.iter().map(|(path, length)| NewFile {
        path: path.clone(),
        length: *length,
        pad: false,
    });
    let files: Vec<_> = files.collect();
    let pieces = vec![[0; 20]; usize::try_from(total.div_ceil(1 << 20)).unwrap()];
    let info = NewInfo {
        name,
        piece_length: 1 << 20,
        pieces: &pieces,
        layout: Layout::Multi(&files),
        private: false,
        source: None,
    };
    let torrent = Metainfo::from_info(&info.to_bytes()).unwrap();
    fs::write(path, torrent.to_bytes()).unwrap();
}

fn path(text: &str) -> Vec<Vec<u8>> {
    text.split('/')
        .map(|name| name.as_bytes().to_vec())
        .collect()
}

#[test]
fn the_files_are_drawn_as_a_tree_with_their_sizes_in_a_column() {
    let dir = TempDir::new("tree");
    let files = [
        (path("a"), 70_000),
        (path("deep/er/and/deeper/x"), 3 << 20),
        (path("deep/er/and/deeper/y"), 5),
        (path("sub/one"), 1),
        (path("sub/two"), 2),
        (path("deep/late"), 7),
        (path("z"), 0),
    ];
    foreign(&dir.join("t.torrent"), b"t", &files);
    let text = run(dir.path(), &["show", "t.torrent"]).stdout;
    let tree = text.split_once("\nfiles\n").unwrap().1;
    let wanted = "   3.1 MiB  t/\n\
                  \x20 68.4 KiB  ├── a\n\
                  \x20  3.0 MiB  ├── deep/\n\
                  \x20  3.0 MiB  │   ├── er/and/deeper/\n\
                  \x20  3.0 MiB  │   │   ├── x\n\
                  \x20      5 B  │   │   └── y\n\
                  \x20      7 B  │   └── late\n\
                  \x20      3 B  ├── sub/\n\
                  \x20      1 B  │   ├── one\n\
                  \x20      2 B  │   └── two\n\
                  \x20      0 B  └── z\n";
    assert_eq!(tree, wanted);
}

#[test]
fn no_name_steers_the_terminal_and_what_lies_on_disk_is_told() {
    let dir = TempDir::new("hostile");
    let files = [
        (vec![b"\x1b]0;owned\x07".to_vec(), b"caf\xe9".to_vec()], 1),
        (path("\u{202e}txt.exe"), 1),
        (path("line\nbreak"), 1),
    ];
    foreign(&dir.join("t.torrent"), b"na\x1b[2Jme", &files);
    let args = [
        "-c",
        "com\x1bment\r",
        "-s",
        "so\u{9b}urce",
        "--created-by",
        "\x08",
        "t.torrent",
    ];
    let all: Vec<_> = ["edit", "-q"].iter().chain(&args).copied().collect();
    assert_eq!(run(dir.path(), &all).code, 0);
    let text = run(dir.path(), &["show", "t.torrent"]).stdout;
    let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(bad), "{text:?}");
    for row in [
        "name        na\u{fffd}[2Jme (on disk: $'na\\x1b[2Jme')\n",
        "├── \u{fffd}]0;owned\u{fffd} (on disk: $'\\x1b]0;owned\\x07')/\n",
        "└── caf\u{fffd} (on disk: $'caf\\xe9')\n",
        "└── line\u{fffd}break (on disk: $'line\\nbreak')\n",
    ] {
        assert!(text.contains(row), "{row}{text}");
    }
    let told = run(dir.path(), &["verify", "t.torrent", "."]);
    assert_eq!(told.code, 4);
    assert!(!told.stderr.contains(bad), "{:?}", told.stderr);
}

#[test]
fn padding_is_counted_and_not_drawn() {
    let dir = TempDir::new("pads");
    let text = run(dir.path(), &["show", &fixture("hybrid")]).stdout;
    assert!(
        text.contains("\npadding     ") && !text.contains(".pad"),
        "{text}"
    );
}

#[test]
fn a_hundred_thousand_files_and_a_thousand_folders_deep_are_drawn() {
    let dir = TempDir::new("huge");
    let mut files: Vec<_> = (0..100_000_u32)
        .map(|n| (path(&format!("{:03}/{:03}/{n}", n % 997, n % 89)), 100))
        .collect();
    // Each folder has a file beside the next one, so no two can share a line.
    files.extend((1..1000).map(|depth| (path(&format!("{}f", "d/".repeat(depth))), 1)));
    foreign(&dir.join("t.torrent"), b"t", &files);
    let text = run(dir.path(), &["show", "t.torrent"]).stdout;
    let tree = text.split_once("\nfiles\n").unwrap().1;
    let leaves = tree.lines().filter(|line| !line.ends_with('/')).count();
    assert_eq!(leaves, 100_999);
    let json = run(dir.path(), &["show", "--json", "t.torrent"]).json();
    assert_eq!(json["files"].as_array().unwrap().len(), 100_999);
}

/// A payload of four files with pieces of 16 KiB, and its torrent.
fn verified(label: &str) -> TempDir {
    let dir = TempDir::new(label);
    for (n, (name, len)) in [("a", 40_000), ("b", 20_000), ("c", 70_000), ("empty", 0)]
        .iter()
        .enumerate()
    {
        write(&dir.join("t").join(name), &content(*len, n as u32 + 1));
    }
    create(dir.path(), &["-l", "16K", "t"]);
    dir
}

fn verify(dir: &TempDir, options: &[&str]) -> Ended {
    let all: Vec<_> = ["verify"]
        .iter()
        .chain(options)
        .chain(&["t.torrent", "t"])
        .copied()
        .collect();
    run(dir.path(), &all)
}

#[test]
fn each_file_that_is_wrong_is_named_with_what_is_wrong_and_what_it_lacks() {
    let dir = verified("wrong");
    // Pieces: a 0 1 2, b 2 3, c 3 4 5 6 7.
    fs::remove_file(dir.join("t/b")).unwrap();
    let mut bytes = content(40_000, 1);
    bytes[5] ^= 1;
    write(&dir.join("t/a"), &bytes);
    write(&dir.join("t/empty"), b"123");
    let told = verify(&dir, &[]);
    assert_eq!(
        (told.code, told.stdout.as_str()),
        (4, "t.torrent: not complete, 5 of 8 pieces are good\n")
    );
    assert_eq!(
        told.stderr,
        "missing: b (lacks 2 of 2 pieces)\n\
         too long: empty (3 bytes instead of 0; lacks 0 of 0 pieces)\n\
         bad: a (lacks 2 of 3 pieces)\n\
         unsure: c (shares bad pieces with a file named above: 1 of 5 pieces)\n"
    );
    let report = verify(&dir, &["--json"]).json();
    assert_eq!(
        report["damaged"],
        json!([
            {"path": "a", "why": "bad", "length": 40_000, "found": 40_000, "pieces": 3, "lacks": 2},
            {"path": "b", "why": "missing", "length": 20_000, "found": null, "pieces": 2, "lacks": 2},
            {"path": "c", "why": "unsure", "length": 70_000, "found": 70_000, "pieces": 5, "lacks": 1},
            {"path": "empty", "why": "too_long", "length": 0, "found": 3, "pieces": 0, "lacks": 0},
        ])
    );
    assert_eq!(
        (&report["bad"], &report["missing"]),
        (&json!([0, 2, 3]), &json!(["b"]))
    );
    assert_eq!(
        (&report["too_long"], &report["respelt"]),
        (&json!(["empty"]), &json!([]))
    );
    assert_eq!(verify(&dir, &["-q"]).stderr, "");
}

#[test]
fn a_short_file_lacks_its_end_and_a_long_one_nothing() {
    let dir = verified("lengths");
    write(&dir.join("t/c"), &content(60_000, 3));
    let mut longer = content(40_000, 1);
    longer.push(0);
    write(&dir.join("t/a"), &longer);
    let told = verify(&dir, &[]);
    assert_eq!(told.code, 4);
    assert_eq!(
        told.stderr,
        "too long: a (40001 bytes instead of 40000; lacks 0 of 3 pieces)\n\
         too short: c (60000 bytes instead of 70000; lacks 1 of 5 pieces)\n"
    );
}

#[test]
fn long_lists_are_cut_unless_all_is_asked_for() {
    let dir = TempDir::new("many");
    for n in 0..30 {
        write(&dir.join(format!("t/{n:02}")), b"1");
    }
    create(dir.path(), &["t"]);
    fs::remove_dir_all(dir.join("t")).unwrap();
    dir.folder("t");
    let told = verify(&dir, &[]).stderr;
    assert_eq!(told.lines().count(), 21);
    assert!(told.ends_with("missing: 19 (lacks 1 of 1 pieces)\n… and 10 more; -v lists them\n"));
    assert_eq!(verify(&dir, &["-v"]).stderr.lines().count(), 30);
    let report = verify(&dir, &["--json"]).json();
    assert_eq!(report["missing"].as_array().unwrap().len(), 30);
}

/// é, composed and decomposed.
const NFC: &str = "\u{e9}";
const NFD: &str = "e\u{301}";

/// A folder with a file of each name, both with the same bytes, and its torrent.
fn both_forms(label: &str) -> TempDir {
    let dir = TempDir::new(label);
    write(&dir.join("t").join(NFC), b"same");
    write(&dir.join("t").join(NFD), b"same");
    create(dir.path(), &["t"]);
    dir
}

#[test]
fn names_are_written_as_they_are_on_disk() {
    let dir = both_forms("spelt");
    let files = shown(dir.path(), "t.torrent")["files"].clone();
    assert_eq!(
        (&files[0]["path"], &files[1]["path"]),
        (&json!([NFD]), &json!([NFC]))
    );
    let told = verify(&dir, &[]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
}

#[test]
fn names_in_another_unicode_form_are_found_in_files_and_folders() {
    for (written, found) in [(NFC, NFD), (NFD, NFC)] {
        let dir = TempDir::new("form");
        let name = |form: &str| format!("t{form}");
        let inside = |form: &str| format!("{}/d{form}/f{form}", name(form));
        write(&dir.join(inside(written)), b"12345");
        write(&dir.join(name(written)).join("plain"), b"678");
        let single = format!("s{written}");
        write(&dir.join(&single), b"9");
        create(dir.path(), &["-o", "t.torrent", &name(written)]);
        create(dir.path(), &["-o", "s.torrent", &single]);
        fs::rename(dir.join(name(written)), dir.join("x")).unwrap();
        fs::rename(
            dir.join(format!("x/d{written}/f{written}")),
            dir.join(format!("x/d{written}/f{found}")),
        )
        .unwrap();
        fs::rename(
            dir.join(format!("x/d{written}")),
            dir.join(format!("x/d{found}")),
        )
        .unwrap();
        fs::rename(dir.join("x"), dir.join(name(found))).unwrap();
        fs::rename(dir.join(&single), dir.join(format!("s{found}"))).unwrap();
        for data in [".", &name(found)] {
            let told = run(dir.path(), &["verify", "t.torrent", data]);
            assert_eq!(told.code, 0, "{}", told.stderr);
            assert_eq!(
                told.stderr,
                format!("found under another Unicode form: d{written}/f{written}\n")
            );
            let report = run(dir.path(), &["verify", "--json", "t.torrent", data]).json();
            assert_eq!(report["respelt"], json!([format!("d{written}/f{written}")]));
        }
        assert_eq!(run(dir.path(), &["verify", "s.torrent", "."]).code, 0);
    }
}

#[test]
fn a_file_that_is_listed_itself_stands_for_no_other() {
    let dir = both_forms("listed");
    fs::remove_file(dir.join("t").join(NFD)).unwrap();
    let report = verify(&dir, &["--json"]);
    assert_eq!(report.code, 4);
    assert_eq!(report.json()["missing"], json!([NFD]));
    // What is there under its exact name is not looked for elsewhere, even where the other would be right.
    write(&dir.join("t").join(NFD), b"same");
    write(&dir.join("t").join(NFC), b"diff");
    assert_eq!(verify(&dir, &[]).code, 4);
}
