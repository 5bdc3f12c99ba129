//! `hivebt-create edit`

use std::path::{Path, PathBuf};

use super::options::{seconds, tier, web_seed};
use super::run::{as_json, unwritable};
use super::{help, options};
use crate::app::failure::{Exit, Failure};
use crate::app::{args, output, torrent_file};
use crate::disk::publish;
use crate::proto::metainfo::{Edit, Metainfo};

#[derive(Default)]
struct Options {
    files: Vec<PathBuf>,
    edit: Edit,
    output: Option<PathBuf>,
    force: bool,
    dry_run: bool,
    json: bool,
    quiet: bool,
}

pub(super) fn run(parser: lexopt::Parser) -> Result<Exit, Failure> {
    let Some(options) = read(parser)? else {
        return Ok(Exit::Done);
    };
    let [file] = options.files.as_slice() else {
        return Err(Failure::usage("`edit` takes one FILE.torrent"));
    };
    if options.edit == Edit::default() {
        return Err(Failure::usage("`edit` is told nothing to change"));
    }
    let bytes = torrent_file::read_bytes(file)?;
    let invalid = |error| torrent_file::invalid(file, &error);
    let before = Metainfo::from_bytes(&bytes).map_err(invalid)?;
    let bytes = options.edit.apply(&bytes).map_err(invalid)?;
    let after = Metainfo::from_bytes(&bytes).map_err(invalid)?;
    refuse_new_contradictions(&before, &after)?;
    let target = options.output.as_deref().unwrap_or(file);
    let stdout = target == Path::new("-");
    if options.dry_run {
        // Nothing is written, wherever it would go.
    } else if stdout {
        let written = output::bytes(&bytes);
        written.map_err(|error| unwritable(Path::new("standard output"), &error))?;
    } else {
        let replace = options.force || options.output.is_none();
        let written = publish::write_whole(target, &bytes, replace);
        written.map_err(|error| unwritable(target, &error))?;
    }
    tell(&options, (!stdout).then_some(target), &before, &after);
    Ok(Exit::Done)
}

/// What a private torrent cannot have, unless it had it before: then it is not this edit that is to blame.
fn refuse_new_contradictions(before: &Metainfo, after: &Metainfo) -> Result<(), Failure> {
    let alone = |m: &Metainfo| m.private && m.announce.is_empty();
    let asks_nobody = |m: &Metainfo| m.private && !m.nodes.is_empty();
    if alone(after) && !alone(before) {
        return Err(options::private_alone());
    }
    if asks_nobody(after) && (!asks_nobody(before) || before.nodes != after.nodes) {
        return Err(options::private_nodes());
    }
    Ok(())
}

fn tell(options: &Options, target: Option<&Path>, before: &Metainfo, after: &Metainfo) {
    if before.info_hash != after.info_hash && !options.quiet {
        output::note(format_args!(
            "the info-hash changed from {} to {}: peers of the old torrent and of the new one do not find each other",
            before.info_hash, after.info_hash
        ));
    }
    match target {
        Some(target) if options.json => output::result(as_json(target, after)),
        Some(target) => output::result(target.display()),
        None => {}
    }
}

fn read(mut parser: lexopt::Parser) -> Result<Option<Options>, Failure> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    let edit = &mut options.edit;
    while let Some(argument) = parser.next()? {
        match argument {
            Short('a') | Long("announce") => {
                let tiers = edit.announce.get_or_insert_default();
                tiers.push(tier("--announce", parser.value()?)?);
            }
            Long("no-announce") => edit.announce = Some(Vec::new()),
            Short('w') | Long("web-seed") => {
                let urls = edit.web_seeds.get_or_insert_default();
                urls.push(web_seed(parser.value()?)?);
            }
            Long("no-web-seed") => edit.web_seeds = Some(Vec::new()),
            Long("node") => {
                let nodes = edit.nodes.get_or_insert_default();
                nodes.push(args::node("--node", parser.value()?)?);
            }
            Long("no-node") => edit.nodes = Some(Vec::new()),
            Short('c') | Long("comment") => {
                edit.comment = Some(Some(args::text("--comment", parser.value()?)?));
            }
            Long("no-comment") => edit.comment = Some(None),
            Long("created-by") => {
                edit.created_by = Some(Some(args::text("--created-by", parser.value()?)?));
            }
            Long("no-created-by") => edit.created_by = Some(None),
            Long("date") => edit.creation_date = Some(Some(seconds("--date", parser.value()?)?)),
            Long("no-date") => edit.creation_date = Some(None),
            Short('s') | Long("source") => {
                edit.source = Some(Some(args::text("--source", parser.value()?)?));
            }
            Long("no-source") => edit.source = Some(None),
            Short('p') | Long("private") => edit.private = Some(true),
            Long("no-private") => edit.private = Some(false),
            Short('o') | Long("output") => options.output = Some(parser.value()?.into()),
            Short('f') | Long("force") => options.force = true,
            Long("dry-run") => options.dry_run = true,
            Long("json") => options.json = true,
            Short('q') | Long("quiet") => options.quiet = true,
            Short('h') | Long("help") => {
                output::text(help::EDIT);
                return Ok(None);
            }
            Short('V') | Long("version") => {
                output::text(help::VERSION);
                return Ok(None);
            }
            Value(path) => options.files.push(path.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}
