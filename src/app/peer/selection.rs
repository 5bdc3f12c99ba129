//! `--select`: which files of a torrent are wanted, and which pieces they take.

use std::ffi::OsString;

use crate::app::failure::{Exit, Failure};
use crate::base::bitfield::Bitfield;
use crate::base::glob::Glob;
use crate::proto::metainfo::Metainfo;
use crate::proto::metainfo::path::shown_path;

/// Files that an error names for the operator to choose from.
const NAMED: usize = 5;

/// A pattern of the command line.
#[derive(Clone, Debug)]
pub struct Pattern {
    glob: Glob,
    text: OsString,
}

impl Pattern {
    /// Reads the value of `--select`.
    ///
    /// # Errors
    /// [`Exit::Usage`] if it is no pattern.
    pub fn parse(option: &str, text: OsString) -> Result<Self, Failure> {
        let glob = Glob::parse(text.as_encoded_bytes()).map_err(|error| {
            Failure::usage(format_args!(
                "`{option}` does not take `{}`: {error}",
                text.display()
            ))
        })?;
        Ok(Self { glob, text })
    }

    /// Whether it covers the file at `path`: names it, or a folder above it.
    fn covers(&self, path: &[Vec<u8>]) -> bool {
        (1..=path.len()).any(|n| self.glob.matches(&path[..n], n < path.len()))
    }
}

/// The files of a torrent that are wanted, where that is not all of them.
#[derive(Clone, Debug)]
pub struct Selection {
    /// For each file whether it is wanted; padding never is.
    pub files: Vec<bool>,
    /// The pieces in which wanted files have bytes.
    pub pieces: Bitfield,
    /// Bytes in those pieces, which is what is fetched.
    pub fetched: u64,
    /// Bytes in wanted files.
    pub bytes: u64,
}

impl Selection {
    /// The files that any of the patterns covers. `None` if that is all of them, or if there are no patterns.
    ///
    /// # Errors
    /// [`Exit::Usage`] if none is covered.
    pub fn choose(metainfo: &Metainfo, patterns: &[Pattern]) -> Result<Option<Self>, Failure> {
        let name = std::slice::from_ref(&metainfo.name);
        let covered = |path: &[Vec<u8>]| patterns.iter().any(|pattern| pattern.covers(path));
        let chosen = metainfo.files.iter().map(|file| {
            let path = if metainfo.single { name } else { &file.path };
            !file.pad && covered(path)
        });
        if patterns.is_empty() {
            return Ok(None);
        }
        Self::of_files(metainfo, chosen.collect()).map_err(|Nothing| no_match(metainfo, patterns))
    }

    /// The files with these numbers, from 0, as ranges with both ends included (BEP 53). `None` if that is all of them, or if there are no
    /// numbers.
    ///
    /// # Errors
    /// [`Exit::Usage`] if there are no such files.
    pub fn numbered(metainfo: &Metainfo, ranges: &[(u32, u32)]) -> Result<Option<Self>, Failure> {
        if ranges.is_empty() {
            return Ok(None);
        }
        let named = |n: u32| ranges.iter().any(|&(from, to)| (from..=to).contains(&n));
        let chosen = (0..).zip(&metainfo.files);
        let chosen = chosen.map(|(n, file)| !file.pad && named(n));
        Self::of_files(metainfo, chosen.collect()).map_err(|Nothing| {
            let count = metainfo.files.len();
            let cause = format_args!("`so` of the magnet link names none of its {count} files");
            Failure::new(Exit::Usage, "select from", metainfo.shown_name(), cause)
        })
    }

    fn of_files(metainfo: &Metainfo, files: Vec<bool>) -> Result<Option<Self>, Nothing> {
        let mut all = files.iter().zip(&metainfo.files);
        if all.all(|(chosen, file)| *chosen || file.pad) {
            return Ok(None);
        }
        if !files.contains(&true) {
            return Err(Nothing);
        }
        let (geometry, map) = (metainfo.geometry, metainfo.file_map());
        let mut pieces = Bitfield::none(geometry.pieces());
        let mut bytes = 0;
        for (file, _) in files.iter().enumerate().filter(|(_, chosen)| **chosen) {
            let range = map.range(file);
            bytes += range.end - range.start;
            for piece in geometry.touched(range) {
                pieces.set(piece);
            }
        }
        let lengths = pieces.iter().map(|p| u64::from(geometry.piece_len(p)));
        Ok(Some(Self {
            fetched: lengths.sum(),
            files,
            pieces,
            bytes,
        }))
    }
}

/// No file is chosen.
struct Nothing;

fn no_match(metainfo: &Metainfo, patterns: &[Pattern]) -> Failure {
    let globs: Vec<_> = patterns
        .iter()
        .map(|pattern| format!("`{}`", pattern.text.display()))
        .collect();
    let there = metainfo.files.iter().filter(|file| !file.pad);
    let count = there.clone().count();
    let names = there.take(NAMED).map(|file| {
        let path = shown_path(&file.path);
        let name = if metainfo.single {
            metainfo.shown_name()
        } else {
            path
        };
        format!("`{name}`")
    });
    let mut names = names.collect::<Vec<_>>().join(", ");
    if count > NAMED {
        names.push_str(&format!(" and {} more", count - NAMED));
    }
    Failure::new(
        Exit::Usage,
        "select from",
        metainfo.shown_name(),
        format_args!(
            "`--select` {} matches none of its files: {names}",
            globs.join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bencode::Value;

    /// A torrent of these files with pieces of 16 KiB; one without a path is a single file.
    fn torrent(files: &[(&'static str, i64)]) -> Metainfo {
        let total: u64 = files.iter().map(|(_, len)| len.unsigned_abs()).sum();
        let hashes = vec![7; usize::try_from(total.div_ceil(16384)).unwrap() * 20];
        let file = |&(path, len): &(&'static str, i64)| {
            let names = path.split('/').map(|name| Value::from(name.as_bytes()));
            Value::dict([
                (&b"length"[..], Value::Int(len)),
                (b"path", Value::List(names.collect())),
            ])
        };
        let mut info = vec![
            (&b"name"[..], Value::from(&b"top"[..])),
            (b"piece length", Value::Int(16384)),
            (b"pieces", Value::from(&hashes[..])),
        ];
        if let [("", len)] = files {
            info.push((b"length", Value::Int(*len)));
        } else {
            info.push((b"files", Value::List(files.iter().map(file).collect())));
        }
        Metainfo::from_info(&Value::dict(info).to_bytes()).unwrap()
    }

    fn choose(metainfo: &Metainfo, globs: &[&str]) -> Result<Option<Selection>, String> {
        let pattern = |glob: &&str| Pattern::parse("--select", (*glob).into()).unwrap();
        let patterns: Vec<_> = globs.iter().map(pattern).collect();
        Selection::choose(metainfo, &patterns).map_err(|failure| failure.to_string())
    }

    #[test]
    fn files_are_chosen_by_their_own_names_and_those_of_their_folders() {
        let files = [
            ("a/x.txt", 16384),
            ("a/y.bin", 10),
            ("b/x.txt", 16384),
            ("c", 0),
        ];
        let torrent = torrent(&files);
        for (globs, chosen, pieces) in [
            (&["a"][..], [true, true, false, false], vec![0, 1]),
            (&["a/"], [true, true, false, false], vec![0, 1]),
            (&["*.txt"], [true, false, true, false], vec![0, 1, 2]),
            (&["/a/x.txt"], [true, false, false, false], vec![0]),
            (&["c"], [false, false, false, true], vec![]),
            (&["y.*", "b"], [false, true, true, false], vec![1, 2]),
        ] {
            let found = choose(&torrent, globs).unwrap().unwrap();
            assert_eq!(found.files, chosen, "{globs:?}");
            let numbers: Vec<_> = found.pieces.iter().map(|p| p.0).collect();
            assert_eq!(numbers, pieces, "{globs:?}");
        }
        let found = choose(&torrent, &["y.bin"]).unwrap().unwrap();
        assert_eq!((found.bytes, found.fetched), (10, 16384));
    }

    #[test]
    fn what_covers_everything_is_no_selection_and_what_covers_nothing_an_error() {
        let torrent = torrent(&[
            ("a", 1),
            ("b", 1),
            ("c", 0),
            ("d", 1),
            ("e", 1),
            ("f", 1),
            ("g", 1),
        ]);
        assert!(choose(&torrent, &[]).unwrap().is_none());
        assert!(choose(&torrent, &["*"]).unwrap().is_none());
        let said = choose(&torrent, &["*.txt", "z"]).unwrap_err();
        assert_eq!(
            said,
            "cannot select from `top`: `--select` `*.txt`, `z` matches none of its files: `a`, `b`, `c`, `d`, `e` and 2 more"
        );
    }

    #[test]
    fn a_single_file_goes_by_its_name() {
        let torrent = torrent(&[("", 5)]);
        assert!(choose(&torrent, &["t*"]).unwrap().is_none());
        assert!(choose(&torrent, &["x"]).unwrap_err().contains("`top`"));
    }
}
