//! What was left out of a torrent, told to the operator.

use std::fmt;

use super::shown_os;
use crate::disk::scan::{Skipped, Why};

/// Names that a summary gives.
const NAMES: usize = 3;

/// A line for each thing that was left out.
pub(super) fn each(skipped: &[Skipped]) -> impl Iterator<Item = String> {
    skipped
        .iter()
        .map(|one| format!("skipped `{}`: {}", shown_os(&one.path), one.why))
}

/// A line for each reason: how many, and the first of them. What the operator's own patterns leave out is no news.
pub(super) fn summary(skipped: &[Skipped]) -> impl Iterator<Item = String> {
    let mut told: Vec<&Skipped> = skipped.iter().filter(|one| !one.why.is_chosen()).collect();
    // Stable, so that the paths of one reason stay in their order.
    told.sort_by_key(|one| one.why);
    let lines: Vec<_> = told
        .chunk_by(|a, b| a.why == b.why)
        .map(|alike| Line(alike).to_string())
        .collect();
    lines.into_iter()
}

/// Things left out for the same reason; never none.
struct Line<'a>(&'a [&'a Skipped]);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let Some(first) = self.0.first() else {
            return Ok(());
        };
        let (what, hint) = words(first.why, count == 1);
        write!(f, "skipped {count} {what}{hint}")?;
        for (n, one) in self.0.iter().take(NAMES).enumerate() {
            let before = if n == 0 { ": " } else { ", " };
            write!(f, "{before}`{}`", shown_os(&one.path))?;
        }
        match count.saturating_sub(NAMES) {
            0 => Ok(()),
            more => write!(f, " and {more} more; -v lists them"),
        }
    }
}

/// What things are that are left out, and which option changes it.
const fn words(why: Why, one: bool) -> (&'static str, &'static str) {
    match (why, one) {
        (Why::Link, true) => ("symbolic link", " (--follow-symlinks follows them)"),
        (Why::Link, false) => ("symbolic links", " (--follow-symlinks follows them)"),
        (Why::Loop, true) => ("symbolic link that leads in a circle", ""),
        (Why::Loop, false) => ("symbolic links that lead in a circle", ""),
        (Why::Dangling, true) => ("symbolic link that leads nowhere", ""),
        (Why::Dangling, false) => ("symbolic links that lead nowhere", ""),
        (Why::Pipe, true) => ("named pipe", ""),
        (Why::Pipe, false) => ("named pipes", ""),
        (Why::Socket, true) => ("socket", ""),
        (Why::Socket, false) => ("sockets", ""),
        (Why::Device, true) => ("device", ""),
        (Why::Device, false) => ("devices", ""),
        (Why::Torrent, _) => ("file", " (the torrent itself goes there)"),
        (Why::Hidden, true) => ("hidden name", " (--skip-hidden)"),
        (Why::Hidden, false) => ("hidden names", " (--skip-hidden)"),
        (Why::Junk, true) => ("junk name", " (--skip-junk)"),
        (Why::Junk, false) => ("junk names", " (--skip-junk)"),
        (Why::Excluded, _) => ("excluded", " (--exclude)"),
        (Why::NotIncluded, _) => ("not included", " (--include)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(rows: &[(&str, Why)]) -> Vec<Skipped> {
        let row = |&(path, why): &(&str, Why)| Skipped {
            path: path.into(),
            why,
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn a_reason_is_a_line_and_the_first_names_stand_for_the_rest() {
        let all = skipped(&[
            ("a", Why::Junk),
            ("b", Why::Link),
            ("c", Why::Junk),
            ("d", Why::Excluded),
            ("e", Why::Junk),
            ("f", Why::Junk),
            ("g\u{1b}", Why::Socket),
        ]);
        assert_eq!(
            summary(&all).collect::<Vec<_>>(),
            [
                "skipped 1 symbolic link (--follow-symlinks follows them): `b`",
                "skipped 1 socket: `g\u{fffd}`",
                "skipped 4 junk names (--skip-junk): `a`, `c`, `e` and 1 more; -v lists them",
            ]
        );
        assert_eq!(each(&all).count(), 7);
        assert_eq!(
            each(&all).nth(3).unwrap(),
            "skipped `d`: it is excluded (--exclude)"
        );
        assert_eq!(summary(&[]).count(), 0);
    }
}
