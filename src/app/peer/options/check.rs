//! What does not go together.

use crate::app::failure::Failure;
use crate::core::keep::Rule;

use super::{Mode, Options};

/// Refuses what does not go together.
pub(super) fn check(options: &Options) -> Result<(), Failure> {
    check_status(options)?;
    let needs_none = matches!(options.mode, Mode::Doctor | Mode::Run | Mode::Status);
    if options.sources.is_empty() && !needs_none {
        let wanted = if options.mode == Mode::Share {
            "a file or folder to share"
        } else {
            "a torrent"
        };
        return Err(Failure::usage(format_args!("missing: {wanted}")));
    }
    if options.data.is_some() && (options.mode != Mode::Seed || options.sources.len() != 1) {
        return Err(Failure::usage("`--data` goes with `seed` and one torrent"));
    }
    let downloads = matches!(options.mode, Mode::Get | Mode::Bare);
    if !options.select.is_empty() && !downloads {
        return Err(Failure::usage(
            "`--select` goes with downloads: `get` or a torrent alone",
        ));
    }
    if !options.reuse.is_empty() && !downloads && options.mode != Mode::Run {
        return Err(Failure::usage(
            "`--reuse` goes with downloads: `get`, `run` or a torrent alone",
        ));
    }
    let seeds = matches!(
        options.mode,
        Mode::Seed | Mode::Share | Mode::Run | Mode::Bare
    );
    if options.super_seed && !seeds {
        return Err(Failure::usage(
            "`--super-seed` goes with `seed`, `share`, `run` or a torrent alone",
        ));
    }
    if options.save_torrent.is_some() && !downloads {
        return Err(Failure::usage(
            "`--save-torrent` goes with downloads: `get` or a magnet link alone",
        ));
    }
    let goes_with = |option: &str, mode: &str| {
        Err(Failure::usage(format_args!(
            "`{option}` goes with `{mode}`"
        )))
    };
    match options.mode {
        Mode::Wait if options.complete.is_none() => {
            Err(Failure::usage("missing: `--complete N`, what to wait for"))
        }
        Mode::Wait | Mode::Doctor if options.sources.len() > 1 => {
            Err(Failure::usage("one torrent at a time"))
        }
        mode if options.complete.is_some() && mode != Mode::Wait => goes_with("--complete", "wait"),
        mode if options.min_size.is_some() && mode != Mode::Share => {
            goes_with("--min-size", "share")
        }
        _ => Ok(()),
    }
}

/// What goes together of `run`, `status` and whatever shows how it goes.
fn check_status(options: &Options) -> Result<(), Failure> {
    let is_open = options.status.is_some_and(|addr| !addr.ip().is_loopback());
    let most = if options.mode == Mode::Status { 1 } else { 0 };
    if options.watch.is_some() && options.mode != Mode::Run {
        Err(Failure::usage("`--watch` goes with `run`"))
    } else if options.keep != Rule::default() && options.mode != Mode::Run {
        Err(Failure::usage(
            "`--keep-for`, `--keep-size` and `--keep-strictly` go with `run`",
        ))
    } else if options.keep.strictly && !options.keep.is_any() {
        Err(Failure::usage(
            "`--keep-strictly` goes with `--keep-for` or `--keep-size`",
        ))
    } else if is_open && options.token.is_none() {
        Err(Failure::usage(
            "`--status` at an address that others can reach needs `--token TEXT`, or HIVEBT_TOKEN in the environment",
        ))
    } else if matches!(options.mode, Mode::Run | Mode::Status) && options.sources.len() > most {
        Err(Failure::usage(match options.mode {
            Mode::Status => "`status` takes one URL",
            _ => {
                "`run` takes torrents from a folder (`--watch`) or over HTTP, not from the command line"
            }
        }))
    } else {
        Ok(())
    }
}
