//! `hivebt-create magnet`

use super::{each, help, simple};
use crate::app::failure::{Exit, Failure};
use crate::app::{output, torrent_file};
use crate::proto::magnet::Magnet;

pub(super) fn run(parser: lexopt::Parser) -> Result<Exit, Failure> {
    let Some(wanted) = simple(parser, help::MAGNET, false)? else {
        return Ok(Exit::Done);
    };
    if wanted.paths.is_empty() {
        return Err(Failure::usage("`magnet` takes at least one FILE.torrent"));
    }
    each(&wanted.paths, |path| {
        output::result(Magnet::of(&torrent_file::read(path)?));
        Ok(Exit::Done)
    })
}
