//! Creation: each path becomes a torrent, or a failure of its own.

use std::io::ErrorKind;
use std::path::Path;

use super::make::Plan;
use super::options::{self, Options};
use super::{each, lossy, progress, shown_os};
use crate::app::failure::{Exit, Failure};
use crate::app::output;
use crate::base::json::{Value, json};
use crate::disk::hash::Watch;
use crate::disk::publish;
use crate::proto::magnet::Magnet;
use crate::proto::metainfo::Metainfo;

pub(super) fn run(parser: lexopt::Parser) -> Result<Exit, Failure> {
    let Some(options) = options::read(parser)? else {
        return Ok(Exit::Done);
    };
    each(&options.paths, |path| {
        one(path, &options).map(|()| Exit::Done)
    })
}

fn one(path: &Path, options: &Options) -> Result<(), Failure> {
    let target = options.target.file_for(path)?;
    if let Some(target) = &target {
        guard(target, options)?;
    }
    let plan = Plan::new(path, &options.recipe)?;
    if !options.quiet {
        for skipped in &plan.skipped {
            let path = shown_os(&skipped.path);
            output::note(format_args!("skipped `{path}`: {}", skipped.why));
        }
    }
    let watch = Watch::default();
    let (name, total) = (plan.shown_name(), plan.total());
    let metainfo = progress::during(&name, total, &watch, options.quiet, || {
        plan.hash(&options.recipe, &watch)
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
