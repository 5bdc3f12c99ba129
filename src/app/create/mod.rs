//! `hivebt-create`: makes torrents, shows them, verifies data against them, turns them into magnet links, edits them.

mod date;
mod edit;
mod help;
mod magnet;
pub mod make;
mod options;
pub mod piece_length;
pub mod progress;
mod report;
mod run;
mod show;
mod skipped;
mod spelling;
mod target;
mod tree;
mod verify;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::failure::{Exit, Failure};
use super::{args, output};
use crate::proto::metainfo::Metainfo;
use crate::proto::metainfo::path::shown;

/// The program; `arguments` without its name.
///
/// # Errors
/// What the operator is to be told.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<Exit, Failure> {
    let mut arguments = arguments.into_iter().peekable();
    let verb = arguments.peek().and_then(|first| Verb::named(first));
    if verb.is_some() {
        arguments.next();
    }
    let parser = lexopt::Parser::from_args(arguments);
    match verb {
        None => run::run(parser),
        Some(Verb::Show) => show::run(parser),
        Some(Verb::Verify) => verify::run(parser),
        Some(Verb::Magnet) => magnet::run(parser),
        Some(Verb::Edit) => edit::run(parser),
    }
}

/// What to do, if it is not to create.
#[derive(Clone, Copy)]
enum Verb {
    Show,
    Verify,
    Magnet,
    Edit,
}

impl Verb {
    fn named(word: &std::ffi::OsStr) -> Option<Self> {
        match word.to_str()? {
            "show" => Some(Self::Show),
            "verify" => Some(Self::Verify),
            "magnet" => Some(Self::Magnet),
            "edit" => Some(Self::Edit),
            _ => None,
        }
    }
}

/// Does `work` for each of `items`, which fail one by one. Of several, each failure is told when it happens.
fn each<T>(
    items: &[T],
    mut work: impl FnMut(&T) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    if let [only] = items {
        return work(only);
    }
    let (mut first, mut failed) = (None, 0_usize);
    for item in items {
        let exit = match work(item) {
            Ok(Exit::Done) => continue,
            Ok(exit) => exit,
            Err(failure) => {
                output::note(format_args!("error: {failure}"));
                failure.exit
            }
        };
        failed += 1;
        first.get_or_insert(exit);
    }
    match first {
        None => Ok(Exit::Done),
        Some(exit) => {
            let message = format!("{failed} of {} failed", items.len());
            Err(Failure::plain(exit, message))
        }
    }
}

/// What `show`, `verify` and `magnet` take.
struct Simple {
    json: bool,
    paths: Vec<PathBuf>,
}

/// Reads their arguments; `None` if only help or the version was asked for.
fn simple(
    mut parser: lexopt::Parser,
    help: &str,
    with_json: bool,
) -> Result<Option<Simple>, Failure> {
    use lexopt::prelude::*;
    let mut simple = Simple {
        json: false,
        paths: Vec::new(),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") if with_json => simple.json = true,
            Short('h') | Long("help") => {
                output::text(help);
                return Ok(None);
            }
            Short('V') | Long("version") => {
                output::text(help::VERSION);
                return Ok(None);
            }
            Value(path) => simple.paths.push(path.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(simple))
}

/// The path of a file as its torrent lists it: for a single file, its name.
fn listed_path(metainfo: &Metainfo, file: usize) -> Vec<Vec<u8>> {
    match metainfo.files.get(file) {
        Some(entry) if !metainfo.single => entry.path.clone(),
        _ => vec![metainfo.name.clone()],
    }
}

/// Names as JSON has them: what is not UTF-8 is replaced.
fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// `path` for a message.
fn shown_os(path: &Path) -> String {
    shown(path.as_os_str().as_encoded_bytes())
}

/// The value of an option as a count of at least 1.
fn count(option: &str, value: OsString) -> Result<usize, Failure> {
    const TAKES: &str = "a whole number, 1 to 1024";
    let n = args::parsed(option, value, TAKES)?;
    if (1..=1024).contains(&n) {
        Ok(n)
    } else {
        Err(args::bad_value(option, n, TAKES))
    }
}
