//! What a payload consists of, as plain values.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// The folder, beside the payload, that holds states and locks.
pub(super) const STATE_FOLDER: &str = ".hivebt";

/// The longest name that Linux file systems take, in bytes.
const NAME_MAX: usize = 255;

/// A payload: its name and its files in the torrent's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The name under which it appears when it is complete, made safe for this file system.
    pub name: OsString,
    /// Whether it is one file called `name`, and not a folder.
    pub single: bool,
    /// The files. If `single`, exactly one, whose path counts for nothing.
    pub files: Vec<LayoutFile>,
}

/// A file of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutFile {
    /// Where it lies below the payload's folder, made safe for this file system; no two files share a path.
    pub path: PathBuf,
    /// Bytes.
    pub len: u64,
    /// A file of zeros that only serves to align the next one (BEP 47). It is never on disk.
    pub pad: bool,
}

impl Layout {
    /// Bytes of payload, padding included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files.iter().map(|f| f.len).sum()
    }

    /// The name while it is incomplete: `name.part`. A name too long for that is cut, with some hash to tell it from others.
    #[must_use]
    pub fn part_name(&self) -> OsString {
        const SUFFIX: &str = ".part";
        let bytes = self.name.as_encoded_bytes();
        if bytes.len() + SUFFIX.len() <= NAME_MAX {
            let mut name = self.name.clone();
            name.push(SUFFIX);
            return name;
        }
        let [a, b, c, d, ..] = crate::base::sha1::digest(bytes);
        let tail = format!("~{a:02x}{b:02x}{c:02x}{d:02x}{SUFFIX}");
        let text = self.name.to_string_lossy();
        let mut end = (NAME_MAX - tail.len()).min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}{tail}", &text[..end]).into()
    }

    /// The first name or path that would lead out of the folder, or into our own state. The torrent's reader lets none through.
    pub(super) fn unsafe_path(&self) -> Option<&Path> {
        let name = Path::new(&self.name);
        if !is_name(name) || self.name == STATE_FOLDER {
            return Some(name);
        }
        let mut paths = self.files.iter().map(|f| f.path.as_path());
        paths.find(|p| !self.single && !is_below(p))
    }
}

fn is_name(path: &Path) -> bool {
    is_below(path) && path.components().count() == 1
}

fn is_below(path: &Path) -> bool {
    let normal = |c| matches!(c, Component::Normal(name) if name != OsStr::new(""));
    path.components().next().is_some() && path.components().all(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(name: &str, paths: &[&str]) -> Layout {
        let file = |p: &&str| LayoutFile {
            path: p.into(),
            len: 1,
            pad: false,
        };
        Layout {
            name: name.into(),
            single: paths.is_empty(),
            files: paths.iter().map(file).collect(),
        }
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for name in ["", ".", "..", "/", "/a", "a/b", "../a", ".hivebt"] {
            assert!(layout(name, &[]).unsafe_path().is_some(), "{name}");
        }
        for path in ["", "..", "/etc/passwd", "a/../../b", "a/..", "../b"] {
            assert!(
                layout("n", &["fine", path]).unsafe_path().is_some(),
                "{path}"
            );
        }
        assert!(layout("n", &["a/b/c", "…", "a b"]).unsafe_path().is_none());
    }

    #[test]
    fn the_name_of_an_unfinished_payload_fits_the_file_system() {
        assert_eq!(layout("x", &[]).part_name(), "x.part");
        let (long, other) = ("é".repeat(127), "é".repeat(126) + "ê");
        let part = layout(&long, &[]).part_name();
        assert!(part.len() <= NAME_MAX && part.to_str().unwrap().ends_with(".part"));
        assert_ne!(part, layout(&other, &[]).part_name());
        assert_eq!(layout(&"a".repeat(250), &[]).part_name().len(), 255);
    }
}
