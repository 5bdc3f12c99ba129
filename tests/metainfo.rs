//! Torrents from strangers: the good ones are read, each bad one is refused for the fault that it is named after.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};

use hivebt::base::geometry::PieceIndex;
use hivebt::base::sha1;
use hivebt::proto::metainfo::{Layout, Metainfo, NewFile, NewInfo};

/// Fixtures by the stem of their file name.
fn fixtures(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/torrents")
        .join(folder);
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (stem, fs::read(path).unwrap())
        })
        .collect()
}

fn good(name: &str) -> Metainfo {
    let bytes = &fixtures("good")[name];
    Metainfo::from_bytes(bytes).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What each bad torrent is refused for.
#[rustfmt::skip]
const FAULTS: &[(&str, &str)] = &[
    ("duplicate-key", "not valid bencoding at byte 9: a dictionary key stands twice"),
    ("empty", "not valid bencoding at byte 0: the data ends in the middle of a value"),
    ("file-length-negative", "the key `length` is not an integer of 0 or more"),
    ("file-not-a-dictionary", "the key `files` is not a list of dictionaries"),
    ("file-without-length", "not a torrent: the key `length` is missing"),
    ("file-without-path", "not a torrent: the key `path` is missing"),
    ("files-empty", "it lists no files"),
    ("files-not-a-list", "the key `files` is not a list"),
    ("huge-integer", "not valid bencoding at byte 16: integer too large"),
    ("info-not-a-dictionary", "the key `info` is not a dictionary"),
    ("leading-zero", "not valid bencoding at byte 16: malformed integer"),
    ("length-absurd", "its lengths add up to more than any file system can hold"),
    ("length-and-files", "it has both `length` and `files`, so it is neither a file nor a folder"),
    ("length-negative", "the key `length` is not an integer of 0 or more"),
    ("length-not-an-integer", "the key `length` is not an integer of 0 or more"),
    ("lengths-overflow", "its lengths add up to more than any file system can hold"),
    ("name-absolute", "the name `/etc/passwd` is unsafe: a name cannot contain `/`"),
    ("name-dot-dot", "the name `..` is unsafe: `.` and `..` name no file"),
    ("name-empty", "the name `` is unsafe: an empty name"),
    ("name-is-our-state-folder", "the name `.hivebt` is unsafe: `.hivebt` is where the state of downloads lies"),
    ("name-not-a-string", "the key `name` is not a string"),
    ("name-nul", "the name `a�b` is unsafe: a name cannot contain a NUL byte"),
    ("name-slash", "the name `a/b` is unsafe: a name cannot contain `/`"),
    ("name-too-long", "x…` is unsafe: a name cannot be longer than 255 bytes"),
    ("nested-too-deeply", "not valid bencoding at byte 38: nested too deeply"),
    ("no-info", "not a torrent: the key `info` is missing"),
    ("no-length", "not a torrent: the key `length` is missing"),
    ("no-name", "not a torrent: the key `name` is missing"),
    ("no-piece-length", "not a torrent: the key `piece length` is missing"),
    ("no-pieces", "not a torrent: the key `pieces` is missing"),
    ("not-a-dictionary", "not a torrent: it is no dictionary"),
    ("not-bencoding", "not valid bencoding at byte 0: no bencoded value begins like this"),
    ("path-absolute", "the path `/etc/passwd` is unsafe: a name cannot contain `/`"),
    ("path-dot", "the path `./a` is unsafe: `.` and `..` name no file"),
    ("path-dot-dot", "the path `a/../../../b` is unsafe: `.` and `..` name no file"),
    ("path-dot-dot-in-utf8", "the path `../evil` is unsafe: `.` and `..` name no file"),
    ("path-empty-component", "the path `a//b` is unsafe: an empty name"),
    ("path-file-is-folder", "`a/b` is a file, and a folder of another entry"),
    ("path-name-too-long", "x…` is unsafe: a name cannot be longer than 255 bytes"),
    ("path-not-a-list", "the key `path` is not a list of strings"),
    ("path-nul", "the path `a�` is unsafe: a name cannot contain a NUL byte"),
    ("path-of-integers", "the key `path` is not a list of strings"),
    ("path-slash", "the path `a/../../b` is unsafe: a name cannot contain `/`"),
    ("path-too-long", "x…` is unsafe: a path cannot be longer than 4000 bytes"),
    ("path-twice", "two entries have the path `a/b`"),
    ("path-without-components", "the path `` is unsafe: an empty name"),
    ("piece-length-huge", "a piece length of 1073741825 bytes; it must be 1 to 1073741824"),
    ("piece-length-negative", "a piece length of -1 bytes; it must be 1 to 1073741824"),
    ("piece-length-not-an-integer", "the key `piece length` is not an integer"),
    ("piece-length-zero", "a piece length of 0 bytes; it must be 1 to 1073741824"),
    ("pieces-not-a-string", "the key `pieces` is not a string"),
    ("pieces-ragged", "`pieces` has 59 bytes, which is no multiple of 20, the size of a hash"),
    ("pieces-too-few", "it has 2 piece hashes, but its payload has 3 pieces"),
    ("pieces-too-many", "it has 4 piece hashes, but its payload has 3 pieces"),
    ("pieces-without-payload", "it has 1 piece hashes, but its payload has 0 pieces"),
    ("private-not-an-integer", "the key `private` is not an integer"),
    ("symlink-with-length", "the symbolic link `b` has a length"),
    ("trailing-data", "not valid bencoding at byte 178: unexpected data after the end"),
    ("truncated", "not valid bencoding at byte 112: the data ends in the middle of a value"),
    ("v2-only", "a BitTorrent v2-only torrent; only v1 and hybrid torrents are supported"),
];

/// Info-hashes as libtorrent 2.1 reads them (the empty payload, which it refuses: as the SHA-1 of the dictionary).
const HASHES: &[(&str, &str)] = &[
    (
        "announce-list-empty",
        "37995a31a8b47daa070dc153b5e0dd495d7a47b4",
    ),
    ("empty-payload", "b4de9017a2fa79c48be9c85535c30a1a4a7663e6"),
    ("every-key", "effb39c1eb19be3f36d74f1ea5e6f8154d48a747"),
    ("folder", "22583ca4688820e823fad82a88c110faad229eeb"),
    ("hybrid", "c6cf3e6195fef6ab715f1f4138630fc0b557f2ea"),
    ("name-not-utf8", "1fa2dc979d29f65b9bbe975f83e847c0dba9e573"),
    (
        "names-differ-in-case",
        "d1e7f97042589f34624f6e00ac8021455bb5d800",
    ),
    (
        "names-utf8-keys",
        "8aeeee448849ad0340a7644e1bd4ced7974a62a1",
    ),
    ("no-tracker", "37995a31a8b47daa070dc153b5e0dd495d7a47b4"),
    (
        "odd-piece-length",
        "2cf2026776b255de04af39881b90f7132ee40231",
    ),
    ("pad-files", "ce0678a0fd3b21343f8a73ab24cf8a3531f950dd"),
    ("single-file", "37995a31a8b47daa070dc153b5e0dd495d7a47b4"),
    ("symlink", "76faa8156ef5b8d65781cee8213efe8af6ad3e35"),
    (
        "trailing-newline",
        "37995a31a8b47daa070dc153b5e0dd495d7a47b4",
    ),
    ("unsorted-info", "ce1cbf67afd98f094993962c9d62dd37e586c7ec"),
    ("unsorted-keys", "37995a31a8b47daa070dc153b5e0dd495d7a47b4"),
    (
        "url-list-string",
        "37995a31a8b47daa070dc153b5e0dd495d7a47b4",
    ),
];

#[test]
fn every_bad_torrent_is_refused_for_the_fault_it_is_named_after() {
    let bad = fixtures("bad");
    let named: Vec<_> = FAULTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(bad.keys().collect::<Vec<_>>(), named);
    for (name, fault) in FAULTS {
        let error = Metainfo::from_bytes(&bad[*name])
            .expect_err(name)
            .to_string();
        assert!(error.ends_with(fault), "{name}: {error}");
    }
}

#[test]
fn good_torrents_have_the_info_hashes_that_others_give_them() {
    let read: Vec<_> = fixtures("good")
        .into_iter()
        .map(|(name, bytes)| {
            let hash = Metainfo::from_bytes(&bytes).map(|m| m.info_hash.to_string());
            (name, hash.unwrap_or_else(|e| e.to_string()))
        })
        .collect();
    let read: Vec<_> = read.iter().map(|(n, h)| (n.as_str(), h.as_str())).collect();
    assert_eq!(read, HASHES);
}

#[test]
fn every_key_is_read() {
    let m = good("every-key");
    assert_eq!(
        (m.name.as_slice(), m.safe_name.to_str()),
        (&b"file.bin"[..], Some("file.bin"))
    );
    assert_eq!(
        (
            m.geometry.total(),
            m.geometry.piece_length(),
            m.geometry.pieces()
        ),
        (40_000, 16384, 3)
    );
    assert_eq!(m.piece_hash(PieceIndex(2)), sha1::digest(b"2"));
    assert!(m.single && m.private && m.links.is_empty());
    assert_eq!(m.source.as_deref(), Some("HIVE"));
    assert_eq!(
        m.announce,
        [
            vec!["http://a.example/announce", "udp://b.example:80"],
            vec!["http://c.example/announce"]
        ]
    );
    assert_eq!(
        m.web_seeds,
        ["http://w.example/file.bin", "http://x.example/"]
    );
    assert_eq!(
        m.nodes,
        [("router.example".to_owned(), 6881), ("::1".to_owned(), 1)]
    );
    assert_eq!(m.comment.as_deref(), Some("all of it"));
    assert_eq!(m.created_by.as_deref(), Some("hand"));
    assert_eq!(m.creation_date, Some(1_234_567_890));
    assert_eq!(
        m.files[0].md5sum.as_deref(),
        Some("d41d8cd98f00b204e9800998ecf8427e")
    );
    assert_eq!(m.files[0].safe_path, Path::new(""));
}

#[test]
fn a_folder_keeps_its_order_and_its_lengths() {
    let m = good("folder");
    let files: Vec<_> = m
        .files
        .iter()
        .map(|f| (f.safe_path.to_str().unwrap(), f.length))
        .collect();
    assert_eq!(
        files,
        [
            ("empty", 0),
            ("one byte", 1),
            ("deep/er/file", 40_000),
            ("deep/other", 7)
        ]
    );
    assert!(!m.single);
    assert_eq!(m.file_map().total(), 40_008);
}

#[test]
fn trackers_fall_back_to_announce_when_the_list_is_empty() {
    assert_eq!(
        good("announce-list-empty").announce,
        [["http://localhost:8080/announce"]]
    );
    assert!(good("no-tracker").announce.is_empty());
    assert_eq!(good("url-list-string").web_seeds, ["http://w.example/"]);
}

#[test]
fn names_that_are_not_text_stay_bytes_and_utf8_keys_win() {
    use std::os::unix::ffi::OsStrExt;
    let m = good("name-not-utf8");
    assert_eq!(m.safe_name.as_bytes(), b"\xff\xfe");
    assert_eq!(m.shown_name(), "\u{fffd}\u{fffd}");
    assert_eq!(m.files[0].safe_path.as_os_str().as_bytes(), b"caf\xe9");
    let m = good("names-utf8-keys");
    assert_eq!(
        (m.safe_name.to_str(), m.files[0].safe_path.to_str()),
        (Some("é"), Some("café"))
    );
}

#[test]
fn pads_links_and_the_v2_side_of_a_hybrid_make_no_files() {
    let m = good("pad-files");
    let flags: Vec<_> = m.files.iter().map(|f| (f.pad, f.executable)).collect();
    assert_eq!(
        flags,
        [
            (false, false),
            (true, false),
            (false, false),
            (true, false),
            (false, true)
        ]
    );
    let m = good("symlink");
    assert_eq!(
        (m.files.len(), m.links.as_slice()),
        (1, &[vec![b"b".to_vec()]][..])
    );
    let m = good("hybrid");
    let names: Vec<_> = m
        .files
        .iter()
        .filter(|f| !f.pad)
        .map(|f| f.safe_path.to_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "sub/b", "sub/c"]);
}

/// The door that everything from outside passes: what gets through must agree with itself, whatever the bytes were.
fn check(bytes: &[u8]) {
    let Ok(m) = Metainfo::from_bytes(bytes) else {
        return;
    };
    assert_eq!(m.file_map().total(), m.geometry.total());
    assert_eq!(m.pieces.len(), m.geometry.pieces() as usize);
    let normal = |path: &Path| path.components().all(|c| matches!(c, Component::Normal(_)));
    assert!(normal(Path::new(&m.safe_name)) && m.files.iter().all(|f| normal(&f.safe_path)));
    let again = Metainfo::from_bytes(&m.to_bytes()).unwrap();
    assert_eq!((again.info_hash, again.announce), (m.info_hash, m.announce));
}

#[test]
fn a_torrent_cut_at_any_byte_is_refused() {
    for (name, bytes) in fixtures("good") {
        let whole = bytes.trim_ascii_end().len();
        for end in 0..whole {
            assert!(
                Metainfo::from_bytes(&bytes[..end]).is_err(),
                "{name} cut at {end}"
            );
        }
    }
}

#[test]
fn a_torrent_with_any_bit_flipped_is_refused_or_agrees_with_itself() {
    for bytes in fixtures("good").into_values() {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                check(&bad);
            }
        }
    }
}

#[test]
fn what_is_written_is_read_back_the_same() {
    for bytes in fixtures("good").into_values() {
        check(&bytes);
    }
    let file = |path, length| NewFile {
        path,
        length,
        pad: false,
    };
    let files = [
        file(vec![b"a".to_vec()], 5),
        NewFile::padding(100),
        file(vec![b"d".to_vec(), b"\xff".to_vec()], 0),
    ];
    let new = NewInfo {
        name: b"n",
        piece_length: 16384,
        pieces: &[[7; 20]],
        layout: Layout::Multi(&files),
        private: true,
        source: Some("S"),
    };
    let mut m = Metainfo::from_info(&new.to_bytes()).unwrap();
    m.announce = vec![vec!["http://a/".into(), "http://b/".into()]];
    m.web_seeds = vec!["http://w/".into()];
    m.nodes = vec![("h".into(), 1)];
    (m.comment, m.created_by, m.creation_date) = (Some("c".into()), Some("p".into()), Some(-1));
    let back = Metainfo::from_bytes(&m.to_bytes()).unwrap();
    assert_eq!(format!("{back:?}"), format!("{m:?}"));
    let pads: Vec<_> = back.files.iter().map(|file| file.pad).collect();
    assert_eq!(pads, [false, true, false]);
    assert!(back.private && !back.single && back.source.as_deref() == Some("S"));
}
