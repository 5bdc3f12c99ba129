//! Reading and writing.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use hivebt::disk::place::Found;

use crate::support::tempdir::TempDir;
use crate::{folder, names_in, noise, open, single};

#[test]
fn what_is_read_is_what_was_written_for_every_range() {
    let dir = TempDir::new("ranges");
    let files = [
        ("a", 3),
        ("b/c", 0),
        ("b/d", 7),
        (".pad/5", 5),
        ("e", 1),
        ("f", 12),
    ];
    let layout = folder("n", &files);
    let storage = open(dir.path(), &layout, Found::Nothing);
    let total = layout.total();
    let mut model = vec![0; total as usize];
    storage.write_vectored_at(0, &[&model]).unwrap();
    let mut round = 0;
    for from in 0..=total {
        for to in from..=total {
            round += 1;
            let bytes = noise(round, (to - from) as usize);
            let (a, b) = bytes.split_at(bytes.len() / 3);
            storage.write_vectored_at(from, &[a, &[], b]).unwrap();
            model[from as usize..to as usize].copy_from_slice(&bytes);
            model[10..15].fill(0);
            let mut all = vec![1; model.len()];
            storage.read_at(0, &mut all).unwrap();
            assert_eq!(all, model, "after a write to {from}..{to}");
            let mut some = vec![1; bytes.len()];
            storage.read_at(from, &mut some).unwrap();
            assert_eq!(some, model[from as usize..to as usize]);
        }
    }
    let on_disk: Vec<u8> = ["a", "b/d", "e", "f"]
        .iter()
        .flat_map(|f| fs::read(dir.path().join("n.part").join(f)).unwrap())
        .collect();
    model.drain(10..15);
    assert_eq!(on_disk, model);
    assert_eq!(names_in(&dir.path().join("n.part")), ["a", "b", "e", "f"]);
}

#[test]
fn a_file_is_made_when_its_first_byte_is_written_and_takes_no_room_for_the_rest() {
    let dir = TempDir::new("sparse");
    let storage = open(
        dir.path(),
        &folder("n", &[("x/a", 1 << 30), ("b", 9)]),
        Found::Nothing,
    );
    assert!(names_in(dir.path()).is_empty(), "opening makes nothing");
    storage.write_vectored_at(1 << 29, &[b"middle"]).unwrap();
    let made = fs::metadata(dir.path().join("n.part/x/a")).unwrap();
    assert_eq!(made.len(), 1 << 30);
    assert!(made.blocks() * 512 < 1 << 20, "{} blocks", made.blocks());
    assert_eq!(names_in(&dir.path().join("n.part")), ["x"]);
}

#[test]
fn more_parts_than_one_system_call_takes_are_written_all_the_same() {
    let dir = TempDir::new("parts");
    let bytes = noise(1, 5000);
    let layout = folder("n", &[("a", 1500), ("b", 3500)]);
    let storage = open(dir.path(), &layout, Found::Nothing);
    let parts: Vec<&[u8]> = bytes.chunks(1).collect();
    storage.write_vectored_at(0, &parts).unwrap();
    let mut back = vec![0; 5000];
    storage.read_at(0, &mut back).unwrap();
    assert_eq!(back, bytes);
}

#[test]
fn many_threads_use_more_files_than_are_kept_open() {
    let dir = TempDir::new("handles");
    let names: Vec<_> = (0..300).map(|n| format!("{}/{n}", n % 7)).collect();
    let files: Vec<_> = names.iter().map(|n| (n.as_str(), 10)).collect();
    let storage = open(dir.path(), &folder("n", &files), Found::Nothing);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let storage = &storage;
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(thread);
                for _ in 0..400 {
                    let at = rng.u64(0..75) * 4 + thread;
                    // Not the whole file, which would not be kept open.
                    let bytes = [at as u8; 9];
                    storage.write_vectored_at(at * 10, &[&bytes]).unwrap();
                    let mut back = [0; 9];
                    storage.read_at(at * 10, &mut back).unwrap();
                    assert_eq!(back, bytes);
                }
            });
        }
    });
    let ours = fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
        let open = fs::read_link(entry.as_ref().unwrap().path());
        open.is_ok_and(|path| path.starts_with(dir.path().join("n.part")) && path.is_file())
    });
    let ours = ours.count();
    assert!((1..=128).contains(&ours), "{ours} open files");
}

#[test]
fn a_range_beyond_the_payload_is_refused() {
    let dir = TempDir::new("beyond");
    let storage = open(dir.path(), &single("n", 10), Found::Nothing);
    assert!(storage.write_vectored_at(8, &[b"abc"]).is_err());
    assert!(storage.write_vectored_at(u64::MAX, &[b"abc"]).is_err());
    assert!(storage.read_at(11, &mut []).is_err());
    assert!(names_in(dir.path()).is_empty());
}

#[test]
fn a_file_that_is_missing_or_too_short_cannot_be_read() {
    let dir = TempDir::new("short");
    fs::create_dir(dir.path().join("n")).unwrap();
    fs::write(dir.path().join("n/a"), "abc").unwrap();
    let storage = open(
        dir.path(),
        &folder("n", &[("a", 5), ("b", 5)]),
        Found::Existing,
    );
    storage.read_at(0, &mut [0; 3]).unwrap();
    let short = storage.read_at(2, &mut [0; 3]).unwrap_err().to_string();
    let path = dir.path().join("n/a");
    let wanted = "the file is shorter than the torrent says";
    assert_eq!(short, format!("cannot read `{}`: {wanted}", path.display()));
    let missing = storage.read_at(5, &mut [0; 3]).unwrap_err().to_string();
    assert!(
        missing.ends_with("n/b`: No such file or directory"),
        "{missing}"
    );
}

#[test]
fn a_symbolic_link_leads_nowhere_wherever_it_stands() {
    let dir = TempDir::new("links");
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    let layout = folder("n", &[("a/b/c", 4), ("file", 4), ("sub/file", 4)]);
    let at = dir.path().join("out");
    let storage = open(&at, &layout, Found::Nothing);
    storage.write_vectored_at(0, &[b"good"]).unwrap();
    // They appear while we work, so nobody looked at them before.
    symlink(outside.join("file"), at.join("n.part/file")).unwrap();
    symlink(&outside, at.join("n.part/sub")).unwrap();
    for offset in [4, 8] {
        let error = storage.write_vectored_at(offset, &[b"evil"]).unwrap_err();
        assert!(error.to_string().contains("a symbolic link"), "{error}");
        assert!(storage.read_at(offset, &mut [0; 4]).is_err());
    }
    fs::remove_dir_all(at.join("n.part/a")).unwrap();
    symlink(&outside, at.join("n.part/a")).unwrap();
    drop(storage);
    assert!(hivebt::disk::storage::Storage::open_download(&at, layout).is_err());
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"mine");
    assert_eq!(names_in(&outside), ["file"]);
}

#[test]
fn the_output_folder_itself_may_be_a_symbolic_link() {
    let dir = TempDir::new("outlink");
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink("real", dir.path().join("link")).unwrap();
    let storage = open(&dir.path().join("link"), &single("n", 4), Found::Nothing);
    storage.write_vectored_at(0, &[b"good"]).unwrap();
    storage.publish().unwrap();
    assert_eq!(fs::read(dir.path().join("real/n")).unwrap(), b"good");
}

#[test]
fn a_pipe_that_appears_in_place_of_a_file_is_an_error_and_nobody_waits_for_it() {
    let dir = TempDir::new("pipe");
    let storage = open(
        dir.path(),
        &folder("n", &[("a", 4), ("p", 4)]),
        Found::Nothing,
    );
    storage.write_vectored_at(0, &[b"good"]).unwrap();
    let pipe = dir.path().join("n.part/p");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for result in [
        storage.write_vectored_at(4, &[b"more"]),
        storage.read_at(4, &mut [0; 4]),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.ends_with("it is not a regular file"), "{error}");
    }
}
