//! `hivebt-create verify`

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{count, help, listed_path, lossy, progress, shown_os};
use crate::app::failure::{Exit, Failure};
use crate::app::{output, torrent_file};
use crate::base::bitfield::Bitfield;
use crate::base::json::{Value, json};
use crate::disk::files::{Cause, Files, Source};
use crate::disk::hash::{self, Watch};
use crate::proto::metainfo::Metainfo;
use crate::proto::metainfo::path::shown_path;

/// Rows of a list that are told before the rest is only counted.
const ROWS: usize = 20;

struct Options {
    torrent: PathBuf,
    data: PathBuf,
    threads: usize,
    json: bool,
    quiet: bool,
}

pub(super) fn run(parser: lexopt::Parser) -> Result<Exit, Failure> {
    let Some(options) = read(parser)? else {
        return Ok(Exit::Done);
    };
    let metainfo = torrent_file::read(&options.torrent)?;
    let root = locate(&metainfo, &options.data)?;
    let report = Report::make(&metainfo, &root, &options);
    report.tell(&metainfo, &options)
}

fn read(mut parser: lexopt::Parser) -> Result<Option<Options>, Failure> {
    use lexopt::prelude::*;
    let (mut json, mut quiet, mut threads) = (false, false, hash::default_threads());
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => json = true,
            Short('q') | Long("quiet") => quiet = true,
            Short('t') | Long("threads") => threads = count("--threads", parser.value()?)?,
            Short('h') | Long("help") => {
                output::text(help::VERIFY);
                return Ok(None);
            }
            Short('V') | Long("version") => {
                output::text(help::VERSION);
                return Ok(None);
            }
            Value(path) => paths.push(path.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    let [torrent, data] = <[PathBuf; 2]>::try_from(paths)
        .map_err(|_| Failure::usage("`verify` takes FILE.torrent and DATA"))?;
    Ok(Some(Options {
        torrent,
        data,
        threads,
        json,
        quiet,
    }))
}

/// The payload itself: `data`, or what has the payload's name in it.
fn locate(metainfo: &Metainfo, data: &Path) -> Result<PathBuf, Failure> {
    let fail =
        |cause: &dyn std::fmt::Display| Failure::new(Exit::Storage, "read", data.display(), cause);
    let meta = data.metadata().map_err(|error| fail(&error))?;
    let inside = data.join(&metainfo.safe_name);
    match (metainfo.single, meta.is_dir()) {
        (true, true) => Ok(inside),
        (true, false) => Ok(data.to_owned()),
        (false, false) => Err(fail(&"it is a file, but the torrent is of a folder")),
        // A payload may hold a folder of its own name: the place that has more of its files is meant.
        (false, true) if present(metainfo, &inside) > present(metainfo, data) => Ok(inside),
        (false, true) => Ok(data.to_owned()),
    }
}

fn present(metainfo: &Metainfo, root: &Path) -> usize {
    let real = metainfo.files.iter().filter(|file| !file.pad);
    real.filter(|file| root.join(&file.safe_path).is_file())
        .count()
}

/// What verifying has found.
struct Report {
    good: Bitfield,
    /// Files that are not there.
    missing: Vec<usize>,
    /// Files with more bytes than they should have.
    too_long: Vec<usize>,
    /// Files that are there, but that the system does not let us read, and why.
    unreadable: BTreeMap<PathBuf, String>,
    /// Pieces that are not good, by file.
    lacking: BTreeMap<usize, u32>,
}

impl Report {
    fn make(metainfo: &Metainfo, root: &Path, options: &Options) -> Self {
        let geometry = metainfo.geometry;
        let mut report = Self {
            good: Bitfield::none(geometry.pieces()),
            missing: Vec::new(),
            too_long: Vec::new(),
            unreadable: BTreeMap::new(),
            lacking: BTreeMap::new(),
        };
        let sources = (metainfo.files.iter().enumerate()).map(|(n, file)| {
            let path = if metainfo.single {
                root.to_owned()
            } else {
                root.join(&file.safe_path)
            };
            if !file.pad {
                report.look_at(n, &path, file.length);
            }
            Source {
                path: (!file.pad).then_some(path),
                length: file.length,
                stamp: None,
            }
        });
        let sources = sources.collect();
        let files = Files::new(sources).expect("the reader checked that the lengths add up");
        let watch = Watch::default();
        let (name, quiet) = (metainfo.shown_name(), options.quiet);
        progress::during(&name, geometry.total(), &watch, quiet, || {
            let open = || files.reader();
            hash::run(
                geometry,
                geometry.all(),
                options.threads,
                &watch,
                open,
                |piece, result| match result {
                    Ok(digest) if digest == metainfo.piece_hash(piece) => {
                        report.good.set(piece);
                    }
                    Ok(_) => {}
                    Err(fault) => report.note_fault(fault.file, fault.path, &fault.cause),
                },
            );
        });
        report.count_lacking(metainfo);
        report
    }

    fn look_at(&mut self, file: usize, path: &Path, length: u64) {
        match path.metadata() {
            // A folder or a pipe in its place.
            Ok(meta) if !meta.is_file() => self.missing.push(file),
            Ok(meta) if meta.len() > length => self.too_long.push(file),
            Ok(_) => {}
            Err(error) if is_absent(error.kind()) => self.missing.push(file),
            Err(error) => self.note_fault(file, path.to_owned(), &Cause::Io(error)),
        }
    }

    fn note_fault(&mut self, file: usize, path: PathBuf, cause: &Cause) {
        if let Cause::Io(error) = cause
            && self.missing.binary_search(&file).is_err()
        {
            self.unreadable
                .entry(path)
                .or_insert_with(|| error.to_string());
        }
    }

    fn count_lacking(&mut self, metainfo: &Metainfo) {
        let (geometry, map) = (metainfo.geometry, metainfo.file_map());
        for piece in geometry.all().filter(|&piece| !self.good.has(piece)) {
            let len = u64::from(geometry.piece_len(piece));
            for span in map.spans(geometry.piece_offset(piece), len) {
                if metainfo.files.get(span.file).is_some_and(|file| !file.pad) {
                    *self.lacking.entry(span.file).or_insert(0) += 1;
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.good.is_full() && self.missing.is_empty() && self.too_long.is_empty()
    }

    fn tell(&self, metainfo: &Metainfo, options: &Options) -> Result<Exit, Failure> {
        if options.json {
            output::result(self.as_json(metainfo));
        } else {
            self.tell_people(metainfo, options);
        }
        if let Some((path, cause)) = self.unreadable.first_key_value() {
            return Err(Failure::new(Exit::Storage, "read", shown_os(path), cause));
        }
        Ok(if self.is_complete() {
            Exit::Done
        } else {
            Exit::Data
        })
    }

    fn as_json(&self, metainfo: &Metainfo) -> Value {
        let bad = metainfo
            .geometry
            .all()
            .filter(|&piece| !self.good.has(piece));
        let paths = |files: &[usize]| -> Vec<String> {
            let path = |&file: &usize| lossy(&listed_path(metainfo, file).join(&b'/'));
            files.iter().map(path).collect()
        };
        json!({
            "info_hash": metainfo.info_hash.to_string(),
            "pieces": self.good.len(),
            "good": self.good.ones(),
            "complete": self.is_complete(),
            "bad": bad.map(|piece| piece.0).collect::<Vec<_>>(),
            "missing": paths(&self.missing),
            "too_long": paths(&self.too_long),
        })
    }

    fn tell_people(&self, metainfo: &Metainfo, options: &Options) {
        let name = |file: usize| shown_path(&listed_path(metainfo, file));
        if !options.quiet {
            let missing = self
                .missing
                .iter()
                .map(|&n| format!("missing: {}", name(n)));
            let long = self
                .too_long
                .iter()
                .map(|&n| format!("too long: {}", name(n)));
            let lacking = self
                .lacking
                .iter()
                .filter(|(n, _)| self.missing.binary_search(n).is_err());
            let lacking = lacking.map(|(&n, lacks)| format!("bad: {} (pieces: {lacks})", name(n)));
            note_list(missing);
            note_list(long);
            note_list(lacking);
        }
        let (good, all) = (self.good.ones(), self.good.len());
        let verdict = if self.is_complete() {
            "complete"
        } else {
            "not complete"
        };
        let torrent = options.torrent.display();
        output::result(format_args!(
            "{torrent}: {verdict}, {good} of {all} pieces are good"
        ));
    }
}

fn note_list(rows: impl Iterator<Item = String>) {
    let mut rows = rows.peekable();
    rows.by_ref().take(ROWS).for_each(output::note);
    if rows.peek().is_some() {
        output::note(format_args!("… and {} more", rows.count()));
    }
}

fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}
