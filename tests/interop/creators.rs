//! Torrents: what others read in ours, and whether others make the same of the same data.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::foreign::{missing_module, missing_program};
use crate::support::golden::{self, Differing, Make, Payload};
use crate::support::ours::Torrent;
use crate::support::process::{run, run_ok};
use crate::support::tempdir::TempDir;
use crate::support::{payload, say};

const LIMIT: Duration = Duration::from_secs(60);
const ANNOUNCE: &str = "http://127.0.0.1:8080/announce";

/// Whether something is missing, said aloud.
fn lacks(missing: Option<String>) -> bool {
    missing.map(say::skip).is_some()
}

/// A word of `text` that is 40 hex digits.
fn info_hash_in(text: &str) -> Option<String> {
    let hex = |word: &&str| word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let found = text.split_whitespace().find(hex);
    found.map(str::to_ascii_lowercase)
}

/// The info-hash that another program sees in `torrent`.
fn seen_by(program: &str, options: &[&str], torrent: &Path) -> String {
    let mut command = Command::new(program);
    command.args(options).arg(torrent);
    let said = run_ok(program, command, LIMIT);
    info_hash_in(&said).unwrap_or_else(|| panic!("{program} names no info-hash: {said}"))
}

const READ_BY_LIBTORRENT: &str = "
import sys, libtorrent
print(libtorrent.torrent_info(sys.argv[1]).info_hash())";

fn seen_by_libtorrent(torrent: &Path) -> String {
    seen_by(
        "python3",
        &["-W", "ignore", "-c", READ_BY_LIBTORRENT],
        torrent,
    )
}

#[test]
#[ignore = "needs the other programs; `make interop` runs it"]
fn others_see_the_same_info_hash_in_our_torrents() {
    let dir = TempDir::new("seen");
    let folder = payload::odd_folder(&dir.join("ein Ordner"), 21);
    let file = dir.join("file.bin");
    payload::file(&file, 3_000_000, 22);
    for path in [folder, file] {
        for options in [&[][..], &["--private", "-s", "HIVE", "-c", "ein Wort"]] {
            let torrent = Torrent::create(&path, ANNOUNCE, options);
            let ours = &torrent.info_hash;
            if !lacks(missing_program("transmission-show")) {
                assert_eq!(&seen_by("transmission-show", &[], &torrent.file), ours);
            }
            if !lacks(missing_program("aria2c")) {
                assert_eq!(
                    &seen_by("aria2c", &["--no-conf", "-S"], &torrent.file),
                    ours
                );
            }
            if !lacks(missing_module("libtorrent")) {
                assert_eq!(&seen_by_libtorrent(&torrent.file), ours);
            }
        }
    }
}

/// Somebody who makes torrents and can be told everything that stands in the table.
#[derive(Clone, Copy)]
enum Creator {
    Torf,
    Libtorrent,
    Mktorrent,
}

/// Arguments: the payload, the piece length, whether it is private, the source or nothing, where the torrent goes.
const MADE_BY_TORF: &str = "
import sys, torf
path, piece, private, source, out = sys.argv[1:6]
made = torf.Torrent(path=path, piece_size=int(piece), private=private == 'True' or None, source=source or None)
made.generate(threads=2)
made.write(out, validate=False)";

/// The same, and the paths of the files in their order.
const MADE_BY_LIBTORRENT: &str = "
import sys, os, libtorrent
path, piece, private, source, out = sys.argv[1:6]
files = [os.path.join(path, name) for name in sys.argv[6:]] or [path]
parent = os.path.dirname(path)
entries = [libtorrent.create_file_entry(os.path.relpath(f, parent), os.path.getsize(f)) for f in files]
made = libtorrent.create_torrent(entries, int(piece), libtorrent.create_torrent.v1_only)
made.set_priv(private == 'True')
libtorrent.set_piece_hashes(made, parent)
torrent = made.generate()
if source:
    torrent[b'info'][b'source'] = source.encode()
open(out, 'wb').write(libtorrent.bencode(torrent))";

impl Creator {
    const ALL: [Self; 3] = [Self::Torf, Self::Libtorrent, Self::Mktorrent];

    /// Its name in the table.
    fn name(self) -> &'static str {
        match self {
            Self::Torf => "torf",
            Self::Libtorrent => "libtorrent",
            Self::Mktorrent => "mktorrent",
        }
    }

    fn missing(self) -> Option<String> {
        match self {
            Self::Mktorrent => missing_program(self.name()),
            Self::Torf | Self::Libtorrent => missing_module(self.name()),
        }
    }

    /// The info-hash of what it makes, or none if it makes nothing.
    fn make(self, payload: &Payload, make: &Make, path: &Path, out: &Path) -> Option<String> {
        let _ = std::fs::remove_file(out);
        let command = match self {
            Self::Mktorrent => mktorrent(make, path, out),
            Self::Torf => python(MADE_BY_TORF, make, path, out),
            Self::Libtorrent => {
                let mut command = python(MADE_BY_LIBTORRENT, make, path, out);
                command.args(payload.files.iter().filter_map(|(_, path)| path.as_ref()));
                command
            }
        };
        let ended = run(self.name(), command, LIMIT);
        let made = ended.code == 0 && out.is_file();
        made.then(|| {
            let shown = shown_by_us(out);
            shown["info_hash"].as_str().expect("hex digits").to_owned()
        })
    }
}

fn python(script: &str, make: &Make, path: &Path, out: &Path) -> Command {
    let mut command = Command::new("python3");
    command.args(["-W", "ignore", "-c", script]).arg(path);
    command.arg(make.piece_bytes().to_string());
    command.arg(if make.private { "True" } else { "" });
    command
        .arg(make.source.as_deref().unwrap_or_default())
        .arg(out);
    command
}

fn mktorrent(make: &Make, path: &Path, out: &Path) -> Command {
    let mut command = Command::new("mktorrent");
    let power = make.piece_bytes().ilog2().to_string();
    command.args(["-l", &power, "-a", ANNOUNCE]);
    if make.private {
        command.arg("-p");
    }
    if let Some(source) = &make.source {
        command.args(["-s", source]);
    }
    command.arg("-o").arg(out).arg(path);
    command
}

/// What ours and the `creators` make of it now; for the others, what stands in the table.
fn measured(
    payload: &Payload,
    make: &Make,
    path: &Path,
    dir: &TempDir,
    creators: &[Creator],
) -> Make {
    let ours = Torrent::create(path, ANNOUNCE, &make.options());
    let mut now = make.clone();
    now.info_hash = ours.info_hash;
    for creator in creators {
        let name = creator.name();
        now.agree.retain(|other| other != name);
        now.differ.retain(|other| other.creator != name);
        let made = creator.make(payload, make, path, &dir.join("theirs.torrent"));
        if made.as_ref() == Some(&now.info_hash) {
            now.agree.push(name.to_owned());
        } else {
            let known = make.differ.iter().find(|other| other.creator == name);
            now.differ.push(Differing {
                creator: name.to_owned(),
                info_hash: made,
                why: known.map_or("nobody knows why".to_owned(), |other| other.why.clone()),
            });
        }
    }
    now.agree.sort();
    now.differ.sort_by(|a, b| a.creator.cmp(&b.creator));
    now
}

#[test]
#[ignore = "needs torf, libtorrent and mktorrent; `make interop` runs it"]
fn other_creators_make_what_the_golden_table_says() {
    let mut creators = Creator::ALL.to_vec();
    creators.retain(|creator| !lacks(creator.missing()));
    let dir = TempDir::new("golden-others");
    let mut payloads = golden::parse(golden::TEXT);
    for payload in &mut payloads {
        let path = payload.write(dir.path());
        let now = payload.makes.iter();
        payload.makes = now
            .map(|make| measured(payload, make, &path, &dir, &creators))
            .collect();
    }
    let table = golden::table(&payloads);
    if std::env::var_os("HIVEBT_GOLDEN").is_some_and(|value| value == "write") {
        golden::replace(&table);
        say::say(format_args!("written anew: {}", golden::PATH));
    } else {
        let differing: Vec<_> = golden::TEXT
            .lines()
            .zip(table.lines())
            .filter(|(then, now)| then != now)
            .collect();
        assert!(golden::TEXT == table, "then, and now:\n{differing:#?}");
    }
}

#[test]
#[ignore = "needs transmission-create; `make interop` runs it"]
fn transmission_create_lists_the_same_pieces_and_files() {
    if lacks(missing_program("transmission-create")) {
        return;
    }
    let dir = TempDir::new("transmission");
    // It leaves empty files out and always writes `private`, so the info-hash is another; files, order and pieces are not.
    let folder = dir.join("folder");
    for (i, name) in ["b/2", "a.txt", "a/1 ü", "c"].iter().enumerate() {
        payload::file(&folder.join(name), 100_000 * (i as u64 + 1), i as u64);
    }
    let theirs = dir.join("theirs.torrent");
    let mut command = Command::new("transmission-create");
    command.args(["-s", "64", "-t", ANNOUNCE, "-o"]);
    command.arg(&theirs).arg(&folder);
    run_ok("transmission-create", command, LIMIT);
    let ours = Torrent::create(&folder, ANNOUNCE, &["-l", "64K"]);
    let (theirs_shown, ours_shown) = (shown_by_us(&theirs), shown_by_us(&ours.file));
    let files = |shown: &serde_json::Value| {
        let mut files = shown["files"].as_array().expect("a list").clone();
        files.sort_by_key(ToString::to_string);
        files
    };
    assert_eq!(files(&theirs_shown), files(&ours_shown));
    assert_eq!(theirs_shown["pieces"], ours_shown["pieces"]);
    let mut verify = Command::new(crate::support::ours::program("create"));
    verify.arg("verify").arg(&theirs).arg(&folder);
    run_ok("hivebt-create verify", verify, LIMIT);
}

/// What our `show --json` says of a torrent.
fn shown_by_us(torrent: &Path) -> serde_json::Value {
    let mut command = Command::new(crate::support::ours::program("create"));
    command.args(["show", "--json"]).arg(torrent);
    let line = run_ok("hivebt-create show", command, LIMIT);
    serde_json::from_str(&line).expect("a line of JSON")
}
