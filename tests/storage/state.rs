//! What a run knows of the one before.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hivebt::base::bitfield::Bitfield;
use hivebt::base::geometry::{Geometry, PieceIndex};
use hivebt::base::id::InfoHash;
use hivebt::disk::layout::Layout;
use hivebt::disk::place::Found;
use hivebt::disk::state::{self, Loaded};
use hivebt::disk::storage::Storage;
use hivebt::proto::resume::Resume;

use crate::support::tempdir::TempDir;
use crate::{folder, names_in, open, single};

const HASH: InfoHash = InfoHash([0x5a; 20]);
const PIECE: u64 = 65536;

/// A state of a payload with that many pieces.
pub fn any_state(pieces: u32) -> Resume {
    let geometry = Geometry::new(u64::from(pieces), 1).unwrap();
    Resume {
        info_hash: HASH,
        geometry,
        verified: Bitfield::none(pieces),
        synced: Bitfield::none(pieces),
        partly: Bitfield::none(pieces),
        stamps: vec![None; 3],
        origins: Vec::new(),
        clean: true,
        boot_id: state::boot_id(),
        published: false,
        automatic: false,
        finished: 0,
        uploaded: 1,
        downloaded: 2,
    }
}

/// Ten pieces: `a` has 0 to 3 and half of 4, `b` the rest.
fn layout() -> Layout {
    folder("n", &[("a", PIECE * 9 / 2), ("b", PIECE * 11 / 2)])
}

fn geometry() -> Geometry {
    Geometry::new(10 * PIECE, PIECE as u32).unwrap()
}

fn set(pieces: &[u32]) -> Bitfield {
    let mut set = Bitfield::none(10);
    for &n in pieces {
        set.set(PieceIndex(n));
    }
    set
}

fn write(storage: &Storage, pieces: &[u32]) {
    for &n in pieces {
        let bytes = vec![n as u8 + 1; PIECE as usize];
        storage
            .write_vectored_at(u64::from(n) * PIECE, &[&bytes])
            .unwrap();
    }
}

/// A state in which `verified` is recorded, and `synced` of them as synced.
fn recorded(storage: &Storage, verified: &[u32], synced: &[u32], clean: bool) -> Resume {
    Resume {
        geometry: geometry(),
        verified: set(verified),
        synced: set(synced),
        stamps: storage.stamps().unwrap(),
        clean,
        published: storage.is_published(),
        automatic: false,
        finished: 0,
        ..any_state(10)
    }
}

/// What the next run makes of it: pieces trusted and pieces in doubt.
fn next_run(at: &Path, resume: Option<&Resume>) -> (Vec<u32>, Vec<u32>) {
    let (storage, _) = Storage::open_download(at, layout()).unwrap();
    let found = storage.assess(&HASH, &geometry(), resume).unwrap();
    let numbers = |set: &Bitfield| set.iter().map(|p| p.0).collect::<Vec<_>>();
    (numbers(&found.trusted), numbers(&found.doubtful))
}

/// Gives a file another time without writing to it: real writes may fall into the same tick of the clock.
fn touch(path: &Path, seconds: i32) {
    let file = File::options().write(true).open(path).unwrap();
    let now = file.metadata().unwrap().modified().unwrap();
    let span = Duration::from_secs(seconds.unsigned_abs().into());
    let then: SystemTime = if seconds < 0 { now - span } else { now + span };
    file.set_modified(then).unwrap();
}

#[test]
fn after_a_clean_stop_with_unchanged_stamps_nothing_is_rehashed() {
    let dir = TempDir::new("clean");
    let storage = open(dir.path(), &layout(), Found::Nothing);
    // Of piece 7 some blocks were spilled; it was never whole.
    write(&storage, &[0, 4, 7, 9]);
    let resume = recorded(&storage, &[0, 4, 9], &[0, 4, 9], true);
    assert_eq!(next_run(dir.path(), Some(&resume)), (vec![0, 4, 9], vec![]));
}

#[test]
fn a_file_whose_stamp_changed_since_a_clean_stop_puts_its_pieces_in_doubt() {
    let dir = TempDir::new("changed");
    let storage = open(dir.path(), &layout(), Found::Nothing);
    write(&storage, &[0, 1, 4, 5, 9]);
    let resume = recorded(&storage, &[0, 4, 5, 9], &[0, 4, 5, 9], true);
    touch(&dir.path().join("n.part/a"), 5);
    // Piece 1 was not recorded, but somebody has written to its file. Pieces 2 and 3 are holes.
    assert_eq!(
        next_run(dir.path(), Some(&resume)),
        (vec![5, 9], vec![0, 1, 4])
    );
}

#[test]
fn a_finished_payload_with_unchanged_stamps_is_trusted_whole_and_a_changed_file_is_checked() {
    let dir = TempDir::new("finished");
    let storage = open(dir.path(), &layout(), Found::Nothing);
    let all: Vec<u32> = (0..10).collect();
    write(&storage, &all);
    storage.publish().unwrap();
    let resume = recorded(&storage, &all, &all, true);
    assert_eq!(next_run(dir.path(), Some(&resume)), (all, vec![]));
    touch(&dir.path().join("n/b"), -5);
    let (trusted, doubtful) = next_run(dir.path(), Some(&resume));
    assert_eq!((trusted, doubtful), ((0..4).collect(), (4..10).collect()));
}

#[test]
fn after_a_kill_recorded_pieces_are_trusted_and_others_are_in_doubt_where_there_is_data() {
    let dir = TempDir::new("kill");
    let storage = open(dir.path(), &layout(), Found::Nothing);
    write(&storage, &[0, 4]);
    let resume = recorded(&storage, &[0, 4], &[], false);
    write(&storage, &[2, 9]);
    touch(&dir.path().join("n.part/a"), 5);
    assert_eq!(
        next_run(dir.path(), Some(&resume)),
        (vec![0, 4], vec![2, 9])
    );
}

#[test]
fn after_a_kill_a_file_older_than_its_record_was_replaced_and_is_in_doubt() {
    let dir = TempDir::new("older");
    let storage = open(dir.path(), &layout(), Found::Nothing);
    write(&storage, &[0, 9]);
    let resume = recorded(&storage, &[0, 9], &[], false);
    touch(&dir.path().join("n.part/a"), -5);
    assert_eq!(next_run(dir.path(), Some(&resume)), (vec![9], vec![0]));
}

#[test]
fn after_a_reboot_only_what_was_synced_is_trusted() {
    let dir = TempDir::new("reboot");
    let storage = open(dir.path(), &layout(), Found::Nothing);
    write(&storage, &[0, 2, 9]);
    for clean in [false, true] {
        let mut resume = recorded(&storage, &[0, 2, 9], &[2], clean);
        resume.boot_id = "another".to_owned();
        assert_eq!(next_run(dir.path(), Some(&resume)), (vec![2], vec![0, 9]));
    }
}

#[test]
fn where_a_file_is_missing_or_too_short_its_pieces_are_absent_whatever_the_state_says() {
    let dir = TempDir::new("absent");
    let storage = open(dir.path(), &layout(), Found::Nothing);
    let all: Vec<u32> = (0..10).collect();
    write(&storage, &all);
    for clean in [false, true] {
        let resume = recorded(&storage, &all, &all, clean);
        let a = dir.path().join("n.part/a");
        let short = File::options().write(true).open(&a).unwrap();
        short.set_len(PIECE + 1).unwrap();
        let (trusted, doubtful) = next_run(dir.path(), Some(&resume));
        let both = [trusted, doubtful].concat();
        assert!(!both.iter().any(|p| (1..=4).contains(p)), "{both:?}");
        assert!((5..10).all(|p| both.contains(&p)), "{both:?}");
        fs::rename(&a, dir.path().join("kept")).unwrap();
        assert_eq!(
            next_run(dir.path(), Some(&resume)),
            ((5..10).collect(), vec![])
        );
        fs::rename(dir.path().join("kept"), &a).unwrap();
        short.set_len(PIECE * 9 / 2).unwrap();
    }
}

#[test]
fn without_a_state_or_with_one_of_another_torrent_what_is_there_is_in_doubt() {
    let dir = TempDir::new("nostate");
    let storage = open(dir.path(), &layout(), Found::Nothing);
    write(&storage, &[3, 8]);
    let good = recorded(&storage, &[3, 8], &[3, 8], true);
    assert_eq!(next_run(dir.path(), Some(&good)), (vec![3, 8], vec![]));
    let mut other_hash = good.clone();
    other_hash.info_hash = InfoHash([1; 20]);
    let mut other_files = good.clone();
    other_files.stamps.pop();
    let other_pieces = any_state(10);
    for resume in [
        None,
        Some(&other_hash),
        Some(&other_files),
        Some(&other_pieces),
    ] {
        assert_eq!(next_run(dir.path(), resume), (vec![], vec![3, 8]));
    }
}

#[test]
fn a_finished_payload_without_a_state_is_in_doubt_holes_and_all() {
    let dir = TempDir::new("holes");
    fs::create_dir(dir.path().join("n")).unwrap();
    for (name, len) in [("a", PIECE * 9 / 2), ("b", PIECE * 11 / 2)] {
        let file = File::create(dir.path().join("n").join(name)).unwrap();
        file.set_len(len).unwrap();
    }
    assert_eq!(next_run(dir.path(), None), (vec![], (0..10).collect()));
}

#[test]
fn an_own_finished_payload_that_somebody_changes_while_it_is_seeded_is_in_doubt_the_next_time() {
    let dir = TempDir::new("seeded");
    let storage = open(dir.path(), &layout(), Found::Nothing);
    let all: Vec<u32> = (0..10).collect();
    write(&storage, &all);
    storage.publish().unwrap();
    storage.stamps().unwrap();
    touch(&dir.path().join("n/a"), 5);
    let at_the_end = recorded(&storage, &all, &all, true);
    assert_eq!(next_run(dir.path(), Some(&at_the_end)).1, [0, 1, 2, 3, 4]);
}

#[test]
fn a_sync_makes_few_files_and_many_durable_and_can_be_repeated() {
    let dir = TempDir::new("sync");
    for count in [0, 3, 200] {
        let names: Vec<_> = (0..count).map(|n| format!("{}/{n}", n % 5)).collect();
        let files: Vec<_> = names.iter().map(|n| (n.as_str(), 1)).collect();
        let name = format!("n{count}");
        let storage = open(dir.path(), &folder(&name, &files), Found::Nothing);
        storage.write_vectored_at(0, &[&vec![7; count]]).unwrap();
        storage.sync().unwrap();
        storage.sync().unwrap();
        storage.publish().unwrap();
    }
}

#[test]
fn a_state_is_saved_whole_and_replaces_the_one_before() {
    let dir = TempDir::new("save");
    assert!(matches!(
        state::load(dir.path(), &HASH).unwrap(),
        Loaded::Nothing
    ));
    for uploaded in [5, 6] {
        let saved = Resume {
            uploaded,
            ..any_state(9)
        };
        state::save(dir.path(), &saved).unwrap();
        let Loaded::State(loaded) = state::load(dir.path(), &HASH).unwrap() else {
            panic!("no state");
        };
        assert_eq!(*loaded, saved);
    }
    assert_eq!(
        names_in(&dir.path().join(".hivebt")),
        [format!("{HASH}.resume")]
    );
}

#[test]
fn a_damaged_state_is_told_set_aside_and_not_believed() {
    let dir = TempDir::new("damaged");
    state::save(dir.path(), &any_state(9)).unwrap();
    let path = dir.path().join(format!(".hivebt/{HASH}.resume"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let Loaded::Damaged { kept, .. } = state::load(dir.path(), &HASH).unwrap() else {
        panic!("believed");
    };
    assert_eq!(fs::read(kept.unwrap()).unwrap(), bytes);
    assert!(matches!(
        state::load(dir.path(), &HASH).unwrap(),
        Loaded::Nothing
    ));
    // One that belongs to another torrent, as after a careless copy.
    let other = InfoHash([1; 20]);
    state::save(dir.path(), &any_state(9)).unwrap();
    fs::rename(&path, dir.path().join(format!(".hivebt/{other}.resume"))).unwrap();
    let loaded = state::load(dir.path(), &other).unwrap();
    assert!(matches!(loaded, Loaded::Damaged { .. }));
}

#[test]
fn where_nothing_can_be_written_a_state_is_refused_in_a_way_that_can_be_told_apart() {
    // Nobody, not even root, makes folders in /proc.
    let error = state::save(Path::new("/proc/self"), &any_state(1)).unwrap_err();
    assert_eq!(
        error.path,
        Path::new("/proc/self/.hivebt").join(format!("{HASH}.resume.new"))
    );
    let read_only = single("version", 0);
    let seed = Storage::open_seed(Path::new("/proc/version"), read_only).unwrap();
    assert!(seed.is_published());
}
