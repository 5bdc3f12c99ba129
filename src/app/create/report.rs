//! What verifying has found, for people and for programs.

use std::fmt::Write as _;

use super::{listed_path, lossy};
use crate::app::output;
use crate::base::bitfield::Bitfield;
use crate::base::filemap::FileMap;
use crate::base::json::{Value, json};
use crate::proto::metainfo::Metainfo;
use crate::proto::metainfo::path::shown_path;

/// Rows of a list that are told before the rest is only counted.
const ROWS: usize = 20;

/// What is wrong with a file; the first that holds, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It is not there, or something else is in its place.
    Missing,
    /// It is there, but the system does not let us read it.
    Unreadable,
    /// It has more bytes than it should have.
    TooLong,
    /// It has fewer.
    TooShort,
    /// It lacks a piece, and no file above is to blame for that.
    Bad,
    /// All pieces that it lacks are shared with files that are missing, unreadable or too short: nobody can tell.
    Unsure,
}

impl Why {
    const ALL: [Self; 6] = [
        Self::Missing,
        Self::Unreadable,
        Self::TooLong,
        Self::TooShort,
        Self::Bad,
        Self::Unsure,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::TooLong => "too long",
            Self::TooShort => "too short",
            Self::Bad => "bad",
            Self::Unsure => "unsure",
        }
    }

    /// The label as a word for programs.
    fn key(self) -> String {
        self.label().replace(' ', "_")
    }
}

/// A file as it was found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Bytes on disk; `None` if it is not there.
    pub(super) found: Option<u64>,
    /// It lies under another Unicode form of its name.
    pub(super) respelt: bool,
    /// Why it cannot be read.
    pub(super) unreadable: Option<String>,
    /// Pieces that it lacks.
    pub(super) lacks: u32,
    /// One of those is not shared with a file that is to blame.
    pub(super) at_fault: bool,
}

/// What verifying has found.
pub(super) struct Report<'a> {
    metainfo: &'a Metainfo,
    map: FileMap,
    /// A row for each file of the torrent.
    pub(super) files: Vec<Look>,
    good: Bitfield,
}

impl<'a> Report<'a> {
    pub(super) fn new(metainfo: &'a Metainfo, mut files: Vec<Look>, good: Bitfield) -> Self {
        let map = metainfo.file_map();
        count_lacking(metainfo, &map, &mut files, &good);
        Self {
            metainfo,
            map,
            files,
            good,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.good.is_full() && self.damaged().next().is_none()
    }

    /// The files that are not as they should be.
    fn damaged(&self) -> impl Iterator<Item = (usize, Why)> + '_ {
        (0..self.files.len()).filter_map(|n| Some((n, self.why(n)?)))
    }

    fn why(&self, n: usize) -> Option<Why> {
        let (file, look) = (self.metainfo.files.get(n)?, self.files.get(n)?);
        match look.found {
            _ if file.pad => None,
            None if look.unreadable.is_none() => Some(Why::Missing),
            _ if look.unreadable.is_some() => Some(Why::Unreadable),
            Some(found) if found > file.length => Some(Why::TooLong),
            Some(found) if found < file.length => Some(Why::TooShort),
            _ if look.lacks == 0 => None,
            _ if look.at_fault => Some(Why::Bad),
            _ => Some(Why::Unsure),
        }
    }

    /// Pieces that hold bytes of a file.
    fn pieces_of(&self, n: usize) -> u64 {
        let range = self.map.range(n);
        let length = u64::from(self.metainfo.geometry.piece_length());
        if range.is_empty() {
            0
        } else {
            range.end.div_ceil(length) - range.start / length
        }
    }

    pub(super) fn as_json(&self) -> Value {
        let all = self.metainfo.geometry.all();
        let bad = all.filter(|&piece| !self.good.has(piece));
        let path = |n| lossy(&listed_path(self.metainfo, n).join(&b'/'));
        let paths = |wanted| -> Vec<String> {
            let these = self.damaged().filter(|&(_, why)| why == wanted);
            these.map(|(n, _)| path(n)).collect()
        };
        let damaged = self.damaged().map(|(n, why)| {
            json!({
                "path": path(n),
                "why": why.key(),
                "length": self.metainfo.files[n].length,
                "found": self.files[n].found,
                "pieces": self.pieces_of(n),
                "lacks": self.files[n].lacks,
            })
        });
        let respelt = (0..self.files.len()).filter(|&n| self.files[n].respelt);
        json!({
            "info_hash": self.metainfo.info_hash.to_string(),
            "pieces": self.good.len(),
            "good": self.good.ones(),
            "complete": self.is_complete(),
            "bad": bad.map(|piece| piece.0).collect::<Vec<_>>(),
            "missing": paths(Why::Missing),
            "too_long": paths(Why::TooLong),
            "damaged": damaged.collect::<Vec<_>>(),
            "respelt": respelt.map(path).collect::<Vec<_>>(),
        })
    }

    /// A line for each file that is not as it should be, and one about other spellings; all of them if `verbose`.
    pub(super) fn tell(&self, verbose: bool) {
        let damaged: Vec<_> = self.damaged().collect();
        for kind in Why::ALL {
            let these = damaged.iter().filter(|&&(_, why)| why == kind);
            note_list(these.map(|&(n, why)| self.row(n, why)), verbose);
        }
        let name = |n| shown_path(&listed_path(self.metainfo, n));
        let respelt = (0..self.files.len()).filter(|&n| self.files[n].respelt);
        let row = |n| format!("found under another Unicode form: {}", name(n));
        note_list(respelt.map(row), verbose);
    }

    /// `bad: a/b (lacks 1 of 5 pieces)`
    fn row(&self, n: usize, why: Why) -> String {
        let (file, look) = (&self.metainfo.files[n], &self.files[n]);
        let name = shown_path(&listed_path(self.metainfo, n));
        let mut row = format!("{}: {name} (", why.label());
        // Writing to a string cannot fail.
        let _ = match (why, look.found, &look.unreadable) {
            (Why::TooLong | Why::TooShort, Some(found), _) => {
                write!(row, "{found} bytes instead of {}; ", file.length)
            }
            (Why::Unreadable, _, Some(cause)) => write!(row, "{cause}; "),
            _ => Ok(()),
        };
        let verb = if why == Why::Unsure {
            "shares bad pieces with a file named above:"
        } else {
            "lacks"
        };
        let _ = write!(
            row,
            "{verb} {} of {} pieces)",
            look.lacks,
            self.pieces_of(n)
        );
        row
    }

    /// `complete, 4 of 4 pieces are good`
    pub(super) fn verdict(&self) -> String {
        let word = if self.is_complete() {
            "complete"
        } else {
            "not complete"
        };
        let (good, all) = (self.good.ones(), self.good.len());
        format!("{word}, {good} of {all} pieces are good")
    }
}

/// Counts for each file the pieces that it lacks, and finds out whose fault they are.
fn count_lacking(metainfo: &Metainfo, map: &FileMap, files: &mut [Look], good: &Bitfield) {
    let geometry = metainfo.geometry;
    for piece in geometry.all().filter(|&piece| !good.has(piece)) {
        let len = u64::from(geometry.piece_len(piece));
        let spans = || map.spans(geometry.piece_offset(piece), len);
        let to_blame = spans().any(|span| {
            let (file, look) = (&metainfo.files[span.file], &files[span.file]);
            let there = look.found.unwrap_or(0);
            !file.pad && (look.unreadable.is_some() || there < span.offset + span.len)
        });
        for span in spans() {
            let look = &mut files[span.file];
            look.lacks += 1;
            look.at_fault |= !to_blame;
        }
    }
}

fn note_list(rows: impl Iterator<Item = String>, all: bool) {
    let mut rows = rows.peekable();
    let most = if all { usize::MAX } else { ROWS };
    rows.by_ref().take(most).for_each(output::note);
    if rows.peek().is_some() {
        output::note(format_args!("… and {} more; -v lists them", rows.count()));
    }
}
