//! `hivebt-create verify`

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::report::{Look, Report};
use super::spelling::{Finder, forms};
use super::{count, help, listed_path, progress};
use crate::app::failure::{Exit, Failure};
use crate::app::{output, torrent_file};
use crate::base::bitfield::Bitfield;
use crate::disk::files::{Cause, Files, Source};
use crate::disk::hash::{self, Watch};
use crate::proto::metainfo::Metainfo;
use crate::proto::metainfo::path::shown_path;

struct Options {
    torrent: PathBuf,
    data: PathBuf,
    threads: usize,
    json: bool,
    quiet: bool,
    verbose: bool,
}

pub(super) fn run(parser: lexopt::Parser) -> Result<Exit, Failure> {
    let Some(options) = read(parser)? else {
        return Ok(Exit::Done);
    };
    let metainfo = torrent_file::read(&options.torrent)?;
    let root = locate(&metainfo, &options.data)?;
    let report = check(&metainfo, &root, &options);
    if options.json {
        output::result(report.as_json());
    } else {
        if !options.quiet {
            report.tell(options.verbose);
        }
        let torrent = options.torrent.display();
        output::result(format_args!("{torrent}: {}", report.verdict()));
    }
    let mut refused = report.files.iter().enumerate();
    let refused = refused.find_map(|(n, look)| Some((n, look.unreadable.as_ref()?)));
    if let Some((n, cause)) = refused {
        let path = shown_path(&listed_path(&metainfo, n));
        return Err(Failure::new(Exit::Storage, "read", path, cause));
    }
    Ok(if report.is_complete() {
        Exit::Done
    } else {
        Exit::Data
    })
}

fn read(mut parser: lexopt::Parser) -> Result<Option<Options>, Failure> {
    use lexopt::prelude::*;
    let (mut json, mut quiet, mut verbose) = (false, false, false);
    let mut threads = hash::default_threads();
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => json = true,
            Short('q') | Long("quiet") => quiet = true,
            Short('v') | Long("verbose") => verbose = true,
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
        verbose,
    }))
}

/// The payload itself: `data`, or what has the payload's name in it.
fn locate(metainfo: &Metainfo, data: &Path) -> Result<PathBuf, Failure> {
    let fail =
        |cause: &dyn std::fmt::Display| Failure::new(Exit::Storage, "read", data.display(), cause);
    let meta = data.metadata().map_err(|error| fail(&error))?;
    let inside = forms(&metainfo.name)
        .into_iter()
        .map(|name| data.join(name));
    let inside: Vec<_> = inside.filter(|path| path.exists()).collect();
    match (metainfo.single, meta.is_dir()) {
        (true, true) => Ok((inside.into_iter().next()).unwrap_or(data.join(&metainfo.safe_name))),
        (true, false) => Ok(data.to_owned()),
        (false, false) => Err(fail(&"it is a file, but the torrent is of a folder")),
        // A payload may hold a folder of its own name: the place that has more of its files is meant.
        (false, true) => {
            let mut best = (present(metainfo, data), data.to_owned());
            for place in inside.into_iter().filter(|place| place.is_dir()) {
                let here = present(metainfo, &place);
                if here > best.0 {
                    best = (here, place);
                }
            }
            Ok(best.1)
        }
    }
}

/// Files of the torrent that lie in `root`.
fn present(metainfo: &Metainfo, root: &Path) -> usize {
    let mut finder = Finder::new(metainfo, root);
    let real = metainfo.files.iter().filter(|file| !file.pad);
    real.filter(|file| finder.find(file).0.is_file()).count()
}

fn check<'a>(metainfo: &'a Metainfo, root: &Path, options: &Options) -> Report<'a> {
    let geometry = metainfo.geometry;
    let mut finder = Finder::new(metainfo, root);
    let (mut looks, mut sources) = (Vec::new(), Vec::new());
    for file in &metainfo.files {
        let path = (!file.pad).then(|| finder.find(file));
        looks.push(match &path {
            Some((path, respelt)) => look_at(path, *respelt),
            None => Look::default(),
        });
        sources.push(Source {
            path: path.map(|(path, _)| path),
            length: file.length,
            stamp: None,
        });
    }
    let files = Files::new(sources).expect("the reader checked that the lengths add up");
    let mut good = Bitfield::none(geometry.pieces());
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
                    good.set(piece);
                }
                Ok(_) => {}
                Err(fault) => note_fault(&mut looks, fault.file, &fault.cause),
            },
        );
    });
    Report::new(metainfo, looks, good)
}

fn look_at(path: &Path, respelt: bool) -> Look {
    let mut look = Look {
        respelt,
        ..Look::default()
    };
    match path.metadata() {
        Ok(meta) if meta.is_file() => look.found = Some(meta.len()),
        // A folder or a pipe in its place.
        Ok(_) => {}
        Err(error) if is_absent(error.kind()) => {}
        Err(error) => look.unreadable = Some(error.to_string()),
    }
    look
}

/// What is missing or short was seen when it was looked at; only what the system refuses is news.
fn note_fault(looks: &mut [Look], file: usize, cause: &Cause) {
    if let Some(look) = looks.get_mut(file)
        && let Cause::Io(error) = cause
        && look.found.is_some()
        && look.unreadable.is_none()
    {
        look.unreadable = Some(error.to_string());
    }
}

fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}
