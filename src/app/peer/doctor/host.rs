//! What is looked at on this host: the configuration, the folder, the room in it, the lock, and what the system grants.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::app::human;
use crate::app::peer::options::Options;
use crate::app::peer::payload;
use crate::core::swarm::event;
use crate::disk::lock::Lock;
use crate::disk::space;
use crate::net::gate;
use crate::proto::metainfo::Metainfo;

use super::{Check, Finding, Subject, Tell};

/// Descriptors besides those of connections: files of the payload, the listener, trackers, state.
const BESIDES: usize = 200;

pub(super) fn look(options: &Options, subject: &Subject, tell: Tell<'_>) {
    tell(folder(&subject.folder));
    tell(room(&subject.folder, subject.torrent.as_ref()));
    if let Some(torrent) = &subject.torrent {
        tell(lock(&subject.folder, torrent));
    }
    let connections = options
        .max_peers
        .unwrap_or(event::Config::default().max_peers);
    tell(descriptors(gate::descriptor_limit(), connections));
}

fn folder(folder: &Path) -> Finding {
    let shown = folder.display();
    match space::writable(folder) {
        Ok(()) => Finding::ok(Check::Folder, format!("`{shown}` can be written to")),
        Err(error) => {
            let fix =
                "give this user the right to write there, or name another folder with --output";
            Finding::problem(Check::Folder, format!("`{shown}`: {error}"), fix)
        }
    }
}

fn room(folder: &Path, torrent: Option<&Metainfo>) -> Finding {
    let free = match space::free(folder) {
        Ok(free) => free,
        Err(error) => {
            let fix = "name another folder with --output";
            return Finding::problem(Check::Space, error.to_string(), fix);
        }
    };
    let Some(torrent) = torrent else {
        let says = format!("{} are free", human::bytes(free));
        return Finding::ok(Check::Space, says);
    };
    let layout = payload::layout(torrent);
    let places = [layout.part_name(), layout.name.clone()];
    let there = places.iter().map(|name| taken(&folder.join(name))).max();
    let needed = torrent.geometry.total().saturating_sub(there.unwrap_or(0));
    let says = format!(
        "{} are free, {} are needed",
        human::bytes(free),
        human::bytes(needed)
    );
    if needed <= free {
        Finding::ok(Check::Space, says)
    } else {
        let short = human::bytes(needed - free);
        let fix = format!("make room for {short} more, or name another folder with --output");
        Finding::problem(Check::Space, says, &fix)
    }
}

/// Bytes on disk of a file, or of all files in a folder.
fn taken(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return 0;
    };
    if meta.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| taken(&entry.path())).sum()
    } else {
        meta.len().min(meta.blocks() * 512)
    }
}

/// Whether another run works on it.
fn lock(folder: &Path, torrent: &Metainfo) -> Finding {
    if let Some(path) = Lock::holder(folder, &torrent.info_hash) {
        let says = format!("another run holds `{}`", path.display());
        let fix = "let it finish; a second one ends with exit code 75";
        return Finding::warning(Check::Lock, says, fix);
    }
    Finding::ok(
        Check::Lock,
        "no other run has this torrent in this folder".into(),
    )
}

fn descriptors(limit: usize, connections: usize) -> Finding {
    let needed = connections + BESIDES;
    if limit == usize::MAX {
        return Finding::ok(Check::Descriptors, "no limit".into());
    }
    let says = format!("{limit} may be open, {needed} may be needed");
    if limit >= needed {
        Finding::ok(Check::Descriptors, says)
    } else {
        let fix = format!(
            "`ulimit -n {needed}`, LimitNOFILE={needed} in a systemd unit, or --max-peers {}",
            limit.saturating_sub(BESIDES).max(1)
        );
        Finding::warning(Check::Descriptors, says, &fix)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn too_few_descriptors_are_told_with_what_would_do() {
        assert_eq!(descriptors(1024, 200).level, Level::Ok);
        assert_eq!(descriptors(usize::MAX, 200).level, Level::Ok);
        let few = descriptors(256, 200);
        assert_eq!(few.level, Level::Warning);
        let fix = few.fix.unwrap();
        assert!(
            fix.contains("ulimit -n 400") && fix.contains("--max-peers 56"),
            "{fix}"
        );
    }
}
