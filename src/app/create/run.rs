//! Creation: each path becomes a torrent, or a failure of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::make::Plan;
use super::options::{self, Options};
use super::{each, lossy, progress, shown_os, skipped};
use crate::app::failure::{Exit, Failure};
use crate::app::output;
use crate::base::json::{Value, json};
use crate::disk::hash::Watch;
use crate::disk::publish;
use crate::disk::scan::Skipped;
use crate::proto::magnet::Magnet;
use crate::proto::metainfo::Metainfo;

pub(super) fn run(parser: lexopt::Parser) -> Result<Exit, Failure> {
    let Some(options) = options::read(parser)? else {
        return Ok(Exit::Done);
    };
    let mut taken = BTreeMap::new();
    each(&options.paths, |path| {
        one(path, &options, &mut taken).map(|()| Exit::Done)
    })
}

/// `taken`: the files that torrents of this run go to, each with its payload.
fn one(
    path: &Path,
    options: &Options,
    taken: &mut BTreeMap<PathBuf, PathBuf>,
) -> Result<(), Failure> {
    let target = options.target.file_for(path)?;
    let mut recipe = options.recipe.clone();
    if let Some(target) = &target {
        if let Some(other) = taken.insert(target.clone(), path.to_owned()) {
            let cause = format!("the torrent of `{}` goes there", shown_os(&other));
            return Err(Failure::new(Exit::Usage, "write", target.display(), cause));
        }
        guard(target, options)?;
        recipe.rules.torrent = identity(target);
        if identity(path).is_some_and(|payload| recipe.rules.torrent == Some(payload)) {
            let cause = "it is the payload itself";
            return Err(Failure::new(Exit::Usage, "write", target.display(), cause));
        }
    }
    let plan = Plan::new(path, &recipe)?;
    tell_skipped(&plan.skipped, options);
    let watch = Watch::default();
    let (name, total) = (plan.shown_name(), plan.total());
    let metainfo = progress::during(&name, total, &watch, options.quiet, || {
        plan.hash(&recipe, &watch)
    })?;
    match target {
        None if options.dry_run => Ok(()),
        None => output::bytes(&metainfo.to_bytes())
            .map_err(|error| Failure::new(Exit::Storage, "write", "standard output", error)),
        Some(target) => {
            if !options.dry_run {
                let written = publish::write_whole(&target, &metainfo.to_bytes(), options.force);
                written.map_err(|error| unwritable(&target, &error))?;
            }
            if options.json {
                output::result(as_json(&target, &metainfo));
            } else {
                output::result(target.display());
            }
            Ok(())
        }
    }
}

fn tell_skipped(all: &[Skipped], options: &Options) {
    if options.verbose || (options.dry_run && !options.quiet) {
        skipped::each(all).for_each(output::note);
    } else if !options.quiet {
        skipped::summary(all).for_each(output::note);
    }
}

/// Which file lies at `path`, if any.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Before hashing, so that nobody waits for a refusal.
fn guard(target: &Path, options: &Options) -> Result<(), Failure> {
    if target.is_file() && !options.force {
        return Err(unwritable(target, &ErrorKind::AlreadyExists.into()));
    }
    let folder = target.parent().filter(|path| !path.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !options.dry_run && !folder.is_dir() {
        let cause = "the folder it goes to does not exist";
        let target = target.display();
        return Err(Failure::new(Exit::Storage, "write", target, cause));
    }
    Ok(())
}

pub(super) fn unwritable(target: &Path, error: &std::io::Error) -> Failure {
    let target = target.display();
    if error.kind() == ErrorKind::AlreadyExists {
        let cause = "it is there already; --force replaces it";
        return Failure::new(Exit::Failed, "write", target, cause);
    }
    Failure::new(Exit::Storage, "write", target, error)
}

pub(super) fn as_json(target: &Path, metainfo: &Metainfo) -> Value {
    json!({
        "torrent": target.to_string_lossy(),
        "info_hash": metainfo.info_hash.to_string(),
        "name": lossy(&metainfo.name),
        "total_length": metainfo.geometry.total(),
        "piece_length": metainfo.geometry.piece_length(),
        "pieces": metainfo.geometry.pieces(),
        "files": metainfo.files.len(),
        "magnet": Magnet::of(metainfo).to_string(),
    })
}
