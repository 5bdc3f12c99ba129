//! The command line of creation, and what the configuration adds to it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::make::Recipe;
use super::target::Target;
use super::{count, help};
use crate::app::failure::Failure;
use crate::app::{args, config, output};
use crate::base::glob::Glob;
use crate::disk::scan::Rules;
use crate::proto::config::{Creation, MAX_PIECE_LENGTH, MIN_PIECE_LENGTH};
use crate::proto::url;

/// The environment variable that stands for `--announce`.
const ANNOUNCE: &str = "HIVEBT_ANNOUNCE";

/// What to make, and how to tell.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) paths: Vec<PathBuf>,
    pub(super) recipe: Recipe,
    pub(super) target: Target,
    pub(super) force: bool,
    pub(super) dry_run: bool,
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: bool,
}

/// The command line alone; `None` where it says nothing.
#[derive(Default)]
struct Line {
    paths: Vec<PathBuf>,
    tiers: Vec<Vec<String>>,
    no_announce: bool,
    web_seeds: Vec<String>,
    nodes: Vec<(String, u16)>,
    piece_length: Option<u32>,
    name: Option<OsString>,
    align: bool,
    private: bool,
    source: Option<String>,
    comment: Option<String>,
    created_by: Option<Option<String>>,
    date: Option<Option<i64>>,
    rules: Rules,
    target: Option<Target>,
    force: bool,
    dry_run: bool,
    threads: Option<usize>,
    json: bool,
    quiet: bool,
    verbose: bool,
    config: Option<PathBuf>,
}

/// Reads command line, environment and configuration; `None` if only help or the version was asked for.
pub(super) fn read(parser: lexopt::Parser) -> Result<Option<Options>, Failure> {
    let Some(line) = Line::read(parser)? else {
        return Ok(None);
    };
    let config = config::load(line.config.as_deref())?
        .config
        .torrent_creation;
    line.complete(config).map(Some)
}

impl Line {
    fn read(mut parser: lexopt::Parser) -> Result<Option<Self>, Failure> {
        use lexopt::prelude::*;
        let mut line = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Short('a') | Long("announce") => {
                    line.tiers.push(tier("--announce", parser.value()?)?);
                }
                Long("no-announce") => line.no_announce = true,
                Short('w') | Long("web-seed") => line.web_seeds.push(web_seed(parser.value()?)?),
                Long("node") => line.nodes.push(args::node("--node", parser.value()?)?),
                Short('l') | Long("piece-length") => {
                    line.piece_length = Some(piece_length(parser.value()?)?);
                }
                Short('n') | Long("name") => line.name = Some(parser.value()?),
                Long("align") => line.align = true,
                Short('p') | Long("private") => line.private = true,
                Short('s') | Long("source") => {
                    line.source = Some(args::text("--source", parser.value()?)?);
                }
                Short('c') | Long("comment") => {
                    line.comment = Some(args::text("--comment", parser.value()?)?);
                }
                Long("created-by") => {
                    line.created_by = Some(Some(args::text("--created-by", parser.value()?)?));
                }
                Long("no-created-by") => line.created_by = Some(None),
                Long("date") => line.date = Some(Some(seconds("--date", parser.value()?)?)),
                Long("no-date") => line.date = Some(None),
                Long("include") => line
                    .rules
                    .include
                    .push(glob("--include", &parser.value()?)?),
                Long("exclude") => line
                    .rules
                    .exclude
                    .push(glob("--exclude", &parser.value()?)?),
                Long("follow-symlinks") => line.rules.follow_symlinks = true,
                Long("skip-hidden") => line.rules.skip_hidden = true,
                Long("skip-junk") => line.rules.skip_junk = true,
                Short('o') | Long("output") => {
                    line.target = Some(Target::from_option(parser.value()?));
                }
                Short('f') | Long("force") => line.force = true,
                Long("dry-run") => line.dry_run = true,
                Short('t') | Long("threads") => {
                    line.threads = Some(count("--threads", parser.value()?)?);
                }
                Long("json") => line.json = true,
                Short('q') | Long("quiet") => line.quiet = true,
                Short('v') | Long("verbose") => line.verbose = true,
                Long("config") => line.config = Some(parser.value()?.into()),
                Short('h') | Long("help") => {
                    output::text(help::CREATE);
                    return Ok(None);
                }
                Short('V') | Long("version") => {
                    output::text(help::VERSION);
                    return Ok(None);
                }
                Value(path) => line.paths.push(path.into()),
                other => return Err(other.unexpected().into()),
            }
        }
        line.check()?;
        Ok(Some(line))
    }

    /// What does not go together.
    fn check(&self) -> Result<(), Failure> {
        let (several, target) = (self.paths.len() > 1, self.target.as_ref());
        if self.paths.is_empty() {
            return Err(Failure::usage("no PATH is named"));
        }
        if self.no_announce && !self.tiers.is_empty() {
            return Err(Failure::usage(
                "`--announce` and `--no-announce` exclude each other",
            ));
        }
        if several && target.is_some_and(|target| !target.takes_several()) {
            return Err(Failure::usage(
                "`--output` takes a folder (which exists, or with `/` at its end) when several paths are named",
            ));
        }
        if several && self.name.is_some() {
            return Err(Failure::usage("`--name` takes only one PATH"));
        }
        if self.quiet && self.verbose {
            return Err(Failure::usage(
                "`--quiet` and `--verbose` exclude each other",
            ));
        }
        if self.json && target == Some(&Target::Stdout) {
            return Err(Failure::usage(
                "`--json` and `--output -` both want standard output",
            ));
        }
        Ok(())
    }

    fn complete(self, config: Creation) -> Result<Options, Failure> {
        let usual = Recipe::default();
        let announce = if self.no_announce {
            Vec::new()
        } else if !self.tiers.is_empty() {
            self.tiers
        } else if let Some(value) = args::from_environment(ANNOUNCE) {
            vec![tier(ANNOUNCE, value)?]
        } else {
            config.announce.unwrap_or(usual.announce)
        };
        let private = self.private || config.private.unwrap_or(usual.private);
        if private && announce.is_empty() {
            return Err(private_alone());
        }
        if private && !self.nodes.is_empty() {
            return Err(private_nodes());
        }
        let recipe = Recipe {
            announce,
            web_seeds: self.web_seeds,
            nodes: self.nodes,
            piece_length: self.piece_length.or(config.piece_length),
            name: self.name,
            align: self.align,
            private,
            source: self.source,
            comment: self.comment.or(config.comment),
            created_by: self.created_by.unwrap_or(usual.created_by),
            creation_date: match self.date {
                Some(date) => date,
                None => Some(date_from_environment()?),
            },
            rules: self.rules,
            threads: self.threads.unwrap_or(usual.threads),
        };
        Ok(Options {
            paths: self.paths,
            recipe,
            target: self.target.unwrap_or(Target::Beside),
            force: self.force,
            dry_run: self.dry_run,
            json: self.json,
            quiet: self.quiet,
            verbose: self.verbose,
        })
    }
}

/// A private torrent without a tracker: nobody would ever find anybody.
pub(super) fn private_alone() -> Failure {
    Failure::usage("`--private` needs a tracker: peers of a private torrent come from nowhere else")
}

/// DHT nodes in a private torrent: nobody would ever ask them.
pub(super) fn private_nodes() -> Failure {
    Failure::usage(
        "`--private` and `--node` exclude each other: peers of a private torrent never ask the DHT (BEP 27)",
    )
}

pub(super) fn tier(option: &str, value: OsString) -> Result<Vec<String>, Failure> {
    let text = args::text(option, value)?;
    let urls = text.split(',').map(str::trim).map(|url| {
        let checked = url::tracker(url).map(|_| url.to_owned());
        checked.map_err(|error| {
            Failure::usage(format_args!("`{option}` does not take `{url}`: {error}"))
        })
    });
    urls.collect()
}

pub(super) fn web_seed(value: OsString) -> Result<String, Failure> {
    let url = args::text("--web-seed", value)?;
    match url::web(&url) {
        Ok(_) => Ok(url),
        Err(error) => Err(Failure::usage(format_args!(
            "`--web-seed` does not take `{url}`: {error}"
        ))),
    }
}

fn glob(option: &str, value: &OsStr) -> Result<Glob, Failure> {
    Glob::parse(value.as_encoded_bytes()).map_err(|error| {
        let value = value.to_string_lossy();
        Failure::usage(format_args!("`{option}` does not take `{value}`: {error}"))
    })
}

fn piece_length(value: OsString) -> Result<u32, Failure> {
    let shown = value.to_string_lossy().into_owned();
    let size = u32::try_from(args::size("--piece-length", value)?).ok();
    let good = |n: &u32| n.is_power_of_two() && (MIN_PIECE_LENGTH..=MAX_PIECE_LENGTH).contains(n);
    let takes = "a power of two from 16K to 128M";
    size.filter(good)
        .ok_or_else(|| args::bad_value("--piece-length", shown, takes))
}

pub(super) fn seconds(option: &str, value: OsString) -> Result<i64, Failure> {
    const TAKES: &str = "seconds since 1970, a whole number";
    let secs: i64 = args::parsed(option, value, TAKES)?;
    if secs >= 0 {
        Ok(secs)
    } else {
        Err(args::bad_value(option, secs, TAKES))
    }
}

/// `SOURCE_DATE_EPOCH` (reproducible-builds.org), else now.
fn date_from_environment() -> Result<i64, Failure> {
    match args::from_environment("SOURCE_DATE_EPOCH") {
        Some(value) => seconds("SOURCE_DATE_EPOCH", value),
        _ => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let secs = now.map_or(0, |since| since.as_secs());
            Ok(i64::try_from(secs).unwrap_or(0))
        }
    }
}
