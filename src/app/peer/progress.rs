//! How a run is told: a line that changes on a terminal, plain lines elsewhere, events for programs.

use std::time::{Duration, Instant};

use crate::base::json::{Value, json};

use crate::app::{human, output};
use crate::base::id::InfoHash;
use crate::core::swarm::event::Stats;

use super::options::Verbosity;

/// Between two plain lines of progress.
const PLAIN: Duration = Duration::from_secs(10);

/// What a torrent is doing of which only a magnet link is known.
pub const FETCHING: &str = "fetching metadata";

/// Where a run's story goes.
pub struct Teller {
    verbosity: Verbosity,
    json: bool,
    terminal: bool,
    plain: bool,
    /// Something that will be overwritten stands on the terminal's last line.
    dirty: bool,
    last_plain: Option<Instant>,
}

/// A torrent at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// Its name in the protocol.
    pub info_hash: InfoHash,
    /// Its name for people.
    pub name: &'a str,
    /// [`FETCHING`], `checking`, `reusing`, `downloading`, `seeding`; while nothing happens, `paused`, `finished` or `error`.
    pub phase: &'static str,
    /// Bytes of payload.
    pub total: u64,
    /// Bytes of payload that are verified, or while checking, looked at.
    pub done: u64,
    /// Totals and rates.
    pub stats: Stats,
}

impl Snapshot<'_> {
    /// Time to completion at the present rate.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        let left = self.total.saturating_sub(self.done);
        (self.stats.download_rate > 0 && left > 0)
            .then(|| Duration::from_secs(left.div_ceil(self.stats.download_rate)))
    }

    /// In percent, with two digits after the point.
    #[must_use]
    pub fn percentage(&self) -> f64 {
        if self.phase == FETCHING {
            // Nobody knows of how much.
            return 0.0;
        }
        (human::percent(self.done, self.total) * 100.0).round() / 100.0
    }

    /// The keys of R83 and the time to completion.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "state": self.phase,
            "total_uploaded": self.stats.uploaded,
            "total_downloaded": self.stats.downloaded,
            "download_rate": self.stats.download_rate,
            "upload_rate": self.stats.upload_rate,
            "connected_peers": self.stats.peers,
            "web_seeds": self.stats.web_seeds,
            "completion_percentage": self.percentage(),
            "eta": self.eta().map(|eta| eta.as_secs()),
        })
    }

    fn line(&self) -> String {
        let percent = human::percent(self.done, self.total);
        let (up, down) = (
            human::rate(self.stats.upload_rate),
            human::rate(self.stats.download_rate),
        );
        match self.phase {
            "seeding" => format!(
                "{}: seeding, up {up}, sent {}, peers {}",
                self.name,
                human::bytes(self.stats.uploaded),
                self.stats.peers
            ),
            FETCHING => format!(
                "{}: fetching metadata, peers {}",
                self.name, self.stats.peers
            ),
            "checking" => format!("{}: checking {percent:.1} %", self.name),
            "reusing" => format!("{}: reusing, {percent:.1} % are here", self.name),
            _ => {
                let eta = self.eta().map_or_else(|| "unknown".to_owned(), human::span);
                let seeds = self.stats.seeds;
                let web_seeds = match self.stats.web_seeds {
                    0 => String::new(),
                    n => format!(", web seeds {n}"),
                };
                format!(
                    "{}: {percent:.1} %, down {down}, up {up}, peers {} ({seeds} seeds){web_seeds}, ETA {eta}",
                    self.name, self.stats.peers
                )
            }
        }
    }
}

impl Teller {
    /// Looks whether stderr is a terminal. Without `plain`, nothing is told of progress elsewhere.
    #[must_use]
    pub fn new(verbosity: Verbosity, json: bool, plain: bool) -> Self {
        let terminal = output::is_watched();
        Self {
            verbosity,
            json,
            terminal,
            plain,
            dirty: false,
            last_plain: None,
        }
    }

    /// An event for programs, on stdout.
    pub fn event(&mut self, event: &str, info_hash: InfoHash, more: Value) {
        if self.json {
            let mut line = json!({"event": event, "info_hash": info_hash.to_string()});
            if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
                line.extend(more);
            }
            output::result(line);
        }
    }

    /// A result, on stdout, for people and scripts that do not read events.
    pub fn result(&mut self, line: &str) {
        if !self.json {
            self.clear();
            output::result(line);
        }
    }

    /// A word to the operator, unless he wants none.
    pub fn note(&mut self, line: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.clear();
            output::note(line);
        }
    }

    /// A word to an operator who wants to know everything.
    pub fn detail(&mut self, line: &str) {
        if self.verbosity >= Verbosity::Verbose {
            self.clear();
            output::note(line);
        }
    }

    /// An error, which is always said.
    pub fn error(&mut self, line: &str) {
        self.clear();
        output::note(format_args!("error: {line}"));
    }

    /// Once a second: how it goes.
    pub fn progress(&mut self, snapshots: &[Snapshot<'_>]) {
        snapshots.iter().for_each(|snapshot| self.totals(snapshot));
        if self.verbosity < Verbosity::Normal || snapshots.is_empty() {
            return;
        }
        if self.terminal {
            self.redraw(snapshots);
        } else if self.plain && self.last_plain.is_none_or(|last| last.elapsed() >= PLAIN) {
            self.last_plain = Some(Instant::now());
            snapshots
                .iter()
                .for_each(|snapshot| output::note(snapshot.line()));
        }
    }

    /// How it goes, for programs alone.
    pub fn totals(&mut self, snapshot: &Snapshot<'_>) {
        self.event("progress", snapshot.info_hash, snapshot.json());
    }

    /// One line for however many torrents: the first that is not done, and how many there are besides.
    fn redraw(&mut self, snapshots: &[Snapshot<'_>]) {
        let Some(first) = snapshots
            .iter()
            .find(|s| s.phase != "seeding")
            .or(snapshots.first())
        else {
            return;
        };
        let more = snapshots.len() - 1;
        let line = if more == 0 {
            first.line()
        } else {
            format!("{} (and {more} more)", first.line())
        };
        output::redraw(&line);
        self.dirty = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.dirty) {
            output::erase();
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_the_keys_that_scripts_read() {
        let stats = Stats {
            uploaded: 7,
            downloaded: 50,
            download_rate: 10,
            peers: 3,
            ..Stats::default()
        };
        let snapshot = Snapshot {
            info_hash: InfoHash([0; 20]),
            name: "x",
            phase: "downloading",
            total: 200,
            done: 55,
            stats,
        };
        let json = snapshot.json();
        for (key, value) in [
            ("total_uploaded", 7),
            ("total_downloaded", 50),
            ("download_rate", 10),
            ("upload_rate", 0),
            ("connected_peers", 3),
            ("eta", 15),
        ] {
            assert_eq!(json[key], value, "{key}");
        }
        assert_eq!(json["completion_percentage"], 27.5);
        assert!(
            snapshot.line().starts_with("x: 27.5 %, down 10 B/s"),
            "{}",
            snapshot.line()
        );
    }

    #[test]
    fn nothing_is_promised_about_the_end_of_a_download_that_stands_still() {
        let still = Snapshot {
            info_hash: InfoHash([0; 20]),
            name: "x",
            phase: "downloading",
            total: 200,
            done: 55,
            stats: Stats::default(),
        };
        assert_eq!(still.eta(), None);
        assert_eq!(still.json()["eta"], Value::Null);
    }
}
