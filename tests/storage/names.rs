//! Under which name a payload lies, and what else may lie there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use hivebt::disk::discard::discard;
use hivebt::disk::error::OpenError;
use hivebt::disk::layout::Layout;
use hivebt::disk::place::Found;
use hivebt::disk::storage::Storage;

use crate::support::tempdir::TempDir;
use crate::{folder, names_in, open, single};

fn refused(at: &Path, layout: &Layout) -> OpenError {
    Storage::open_download(at, layout.clone()).unwrap_err()
}

#[test]
fn a_download_lies_under_a_part_name_until_it_is_published() {
    let dir = TempDir::new("life");
    let layout = folder(
        "n",
        &[("a/one", 3), ("b/c/empty", 0), (".pad/1", 1), ("two", 3)],
    );
    let storage = open(dir.path(), &layout, Found::Nothing);
    storage.write_vectored_at(0, &[b"abc"]).unwrap();
    drop(storage);
    let storage = open(dir.path(), &layout, Found::Part);
    assert_eq!(storage.path(), dir.path().join("n.part"));
    storage.write_vectored_at(3, &[b"\0def"]).unwrap();
    storage.publish().unwrap();
    assert_eq!(names_in(dir.path()), ["n"]);
    assert_eq!(names_in(&dir.path().join("n")), ["a", "b", "two"]);
    assert_eq!(fs::read(dir.path().join("n/b/c/empty")).unwrap(), b"");
    assert_eq!(fs::read(dir.path().join("n/two")).unwrap(), b"def");

    let mut back = [1; 7];
    storage.read_at(0, &mut back).unwrap();
    assert_eq!(&back, b"abc\0def", "it is served from its new place");
    let error = storage.write_vectored_at(0, &[b"x"]).unwrap_err();
    assert!(error.to_string().contains("never written to"), "{error}");
    storage.publish().unwrap();
    drop(storage);
    let storage = open(dir.path(), &layout, Found::Existing);
    assert!(storage.is_published());
    storage.read_at(0, &mut back).unwrap();
    assert_eq!(&back, b"abc\0def");
}

#[test]
fn a_single_file_lives_the_same_life() {
    let dir = TempDir::new("single");
    let storage = open(dir.path(), &single("é.iso", 3), Found::Nothing);
    storage.write_vectored_at(0, &[b"abc"]).unwrap();
    assert_eq!(names_in(dir.path()), ["é.iso.part"]);
    storage.publish().unwrap();
    assert_eq!(names_in(dir.path()), ["é.iso"]);
    let mut back = [0; 3];
    storage.read_at(0, &mut back).unwrap();
    assert_eq!(&back, b"abc");
}

#[test]
fn payloads_of_nothing_are_published_too() {
    let dir = TempDir::new("nothing");
    for layout in [
        single("empty", 0),
        folder("bare", &[]),
        folder("hollow", &[("a/b", 0), ("c", 0)]),
    ] {
        open(dir.path(), &layout, Found::Nothing).publish().unwrap();
        open(dir.path(), &layout, Found::Existing);
    }
    assert_eq!(names_in(dir.path()), ["bare", "empty", "hollow"]);
    assert!(dir.path().join("hollow/a/b").is_file());
}

#[test]
fn a_finished_payload_that_turns_out_bad_is_taken_back_repaired_and_published_again() {
    let dir = TempDir::new("repair");
    let layout = folder("n", &[("a", 3), ("b", 3)]);
    fs::create_dir(dir.path().join("n")).unwrap();
    fs::write(dir.path().join("n/a"), "abX").unwrap();
    fs::write(dir.path().join("n/extra"), "not in the torrent").unwrap();
    let storage = open(dir.path(), &layout, Found::Existing);
    storage.read_at(0, &mut [0; 3]).unwrap();
    storage.demote().unwrap();
    assert_eq!(names_in(dir.path()), ["n.part"]);
    storage.write_vectored_at(0, &[b"abcdef"]).unwrap();
    storage.publish().unwrap();
    assert_eq!(names_in(dir.path()), ["n"]);
    assert_eq!(fs::read(dir.path().join("n/a")).unwrap(), b"abc");
    assert_eq!(fs::read(dir.path().join("n/b")).unwrap(), b"def");
    assert!(
        dir.path().join("n/extra").exists(),
        "what is not ours stays"
    );
}

#[test]
fn nothing_that_appeared_under_the_name_meanwhile_is_replaced() {
    let dir = TempDir::new("appeared");
    let storage = open(dir.path(), &single("n", 3), Found::Nothing);
    storage.write_vectored_at(0, &[b"abc"]).unwrap();
    fs::write(dir.path().join("n"), "somebody else's").unwrap();
    let error = storage.publish().unwrap_err().to_string();
    assert!(
        error.contains("cannot rename") && error.contains("exists"),
        "{error}"
    );
    assert_eq!(fs::read(dir.path().join("n")).unwrap(), b"somebody else's");
    fs::remove_file(dir.path().join("n")).unwrap();
    storage.publish().unwrap();
    assert_eq!(fs::read(dir.path().join("n")).unwrap(), b"abc");
}

#[test]
fn a_finished_and_an_unfinished_payload_side_by_side_are_an_error_that_names_both() {
    let dir = TempDir::new("both");
    fs::write(dir.path().join("n"), "x").unwrap();
    fs::write(dir.path().join("n.part"), "x").unwrap();
    let error = refused(dir.path(), &single("n", 1));
    assert!(matches!(error, OpenError::Both { .. }));
    let text = error.to_string();
    assert!(text.contains("/n`") && text.contains("/n.part`"), "{text}");
}

#[test]
fn a_file_longer_than_the_torrent_says_is_never_cut() {
    let dir = TempDir::new("long");
    let layout = folder("n", &[("ok", 1), ("a", 3)]);
    for top in ["n", "n.part"] {
        fs::create_dir(dir.path().join(top)).unwrap();
        fs::write(dir.path().join(top).join("a"), "abcd").unwrap();
        let error = refused(dir.path(), &layout);
        assert!(matches!(
            error,
            OpenError::TooLong {
                len: 4,
                expected: 3,
                ..
            }
        ));
        assert!(error.to_string().contains("4 bytes, but 3"), "{error}");
        assert!(Storage::open_seed(dir.path(), layout.clone()).is_err());
        assert_eq!(fs::read(dir.path().join(top).join("a")).unwrap(), b"abcd");
        fs::remove_dir_all(dir.path().join(top)).unwrap();
    }
    // One that grows after it was looked at.
    let storage = open(dir.path(), &layout, Found::Nothing);
    fs::create_dir(dir.path().join("n.part")).unwrap();
    fs::write(dir.path().join("n.part/a"), "abcd").unwrap();
    assert!(storage.write_vectored_at(1, &[b"xyz"]).is_err());
    assert_eq!(fs::read(dir.path().join("n.part/a")).unwrap(), b"abcd");
}

#[test]
fn a_thing_of_the_wrong_kind_in_the_way_is_an_error() {
    let dir = TempDir::new("kinds");
    let multi = folder("n", &[("a", 1), ("d/b", 1)]);
    let here = |name: &str| dir.path().join(name);
    let clear = || {
        for name in names_in(dir.path()) {
            let path = here(&name);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    };
    let wrong_kind = |layout: &Layout, words: &str| {
        let error = refused(dir.path(), layout).to_string();
        assert!(error.contains(words), "{error}");
        clear();
    };
    for top in ["n", "n.part"] {
        fs::create_dir(here(top)).unwrap();
        wrong_kind(&single("n", 1), "a folder, where a file belongs");
        fs::write(here(top), "").unwrap();
        wrong_kind(&multi, "a file, where a folder belongs");
        symlink("/tmp", here(top)).unwrap();
        wrong_kind(&multi, "a symbolic link, where a folder belongs");
        fs::create_dir_all(here(top).join("a")).unwrap();
        wrong_kind(&multi, "a folder, where a file belongs");
        fs::create_dir(here(top)).unwrap();
        fs::write(here(top).join("d"), "").unwrap();
        wrong_kind(&multi, "`d` on the way there is no folder");
        fs::create_dir(here(top)).unwrap();
        symlink("/dev/null", here(top).join("a")).unwrap();
        wrong_kind(&multi, "a symbolic link, where a file belongs");
    }
}

#[test]
fn names_that_lead_out_are_refused_even_if_the_reader_of_torrents_let_them_through() {
    let dir = TempDir::new("bad");
    for layout in [
        single("..", 1),
        single("a/b", 1),
        folder("n", &[("../x", 1)]),
    ] {
        assert!(matches!(
            refused(dir.path(), &layout),
            OpenError::BadName(_)
        ));
    }
    assert!(names_in(dir.path()).is_empty());
}

#[test]
fn modes_follow_the_umask() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|l| l.strip_prefix("Umask:"));
    let umask = u32::from_str_radix(umask.unwrap().trim(), 8).unwrap();
    let dir = TempDir::new("modes");
    let storage = open(dir.path(), &folder("n", &[("a/b", 1)]), Found::Nothing);
    storage.write_vectored_at(0, &[b"x"]).unwrap();
    storage.publish().unwrap();
    let mode = |path| {
        fs::metadata(dir.path().join(path))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode("n/a/b") & 0o777, 0o666 & !umask);
    assert_eq!(mode("n/a") & 0o777, 0o777 & !umask);
}

#[test]
fn a_seed_is_found_by_its_own_path_by_its_folder_and_through_a_link() {
    let dir = TempDir::new("seed");
    let multi = folder("n", &[("n/x", 3), ("y", 3)]);
    fs::create_dir_all(dir.path().join("n/n")).unwrap();
    fs::write(dir.path().join("n/n/x"), "abc").unwrap();
    fs::write(dir.path().join("n/y"), "def").unwrap();
    fs::write(dir.path().join("one"), "abcdef").unwrap();
    symlink("n", dir.path().join("link")).unwrap();
    let before = names_in(dir.path());
    let one = single("other-name", 6);
    for (data, layout) in [
        (".", &multi),
        ("n", &multi),
        ("link", &multi),
        ("one", &one),
    ] {
        let storage = Storage::open_seed(&dir.path().join(data), layout.clone()).unwrap();
        let mut back = [0; 6];
        storage.read_at(0, &mut back).unwrap();
        assert_eq!(&back, b"abcdef", "{data}");
        assert!(storage.write_vectored_at(0, &[b"x"]).is_err());
        assert!(storage.is_published());
        assert!(storage.demote().unwrap_err().is_read_only());
    }
    assert_eq!(names_in(dir.path()), before);
}

#[test]
fn seeding_what_is_not_there_is_an_error_that_says_so() {
    let dir = TempDir::new("noseed");
    fs::create_dir(dir.path().join("n")).unwrap();
    for layout in [folder("n", &[("a", 1)]), single("m", 1)] {
        let error = Storage::open_seed(dir.path(), layout).unwrap_err();
        assert!(matches!(error, OpenError::NotThere(_)), "{error}");
    }
}

#[test]
fn of_a_finished_payload_what_is_ours_is_removed_and_no_link_is_followed() {
    let dir = TempDir::new("discard");
    let files = [("a/b/one", 3), ("a/two", 4), ("c/three", 5), ("link", 3)];
    let layout = folder("n", &files);
    let storage = open(dir.path(), &layout, Found::Nothing);
    storage.write_vectored_at(0, &[b"123456789012345"]).unwrap();
    storage.publish().unwrap();
    let then = storage.stamps().unwrap();
    drop(storage);
    // Somebody has put a link in the place of a file, and one in the place of a folder; both lead out.
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("three"), "other").unwrap();
    fs::remove_file(dir.path().join("n/link")).unwrap();
    symlink(&outside, dir.path().join("n/link")).unwrap();
    fs::rename(dir.path().join("n/c"), dir.path().join("c")).unwrap();
    symlink("../c", dir.path().join("n/c")).unwrap();
    let done = discard(dir.path(), &layout, &then).unwrap();
    assert_eq!((done.files, done.bytes), (2, 7));
    assert_eq!(done.left, Some(dir.path().join("n/c/three")));
    assert_eq!(names_in(&dir.path().join("n")), ["c", "link"]);
    assert_eq!(names_in(&outside), ["three"]);
    assert!(dir.path().join("c/three").exists());
    fs::remove_file(dir.path().join("n/link")).unwrap();
    fs::remove_file(dir.path().join("n/c")).unwrap();
    let rest = discard(dir.path(), &layout, &then).unwrap();
    assert_eq!((rest.files, rest.left), (0, None));
    assert!(!dir.path().join("n").exists());
}
