//! Files whose names on disk are another Unicode form of the names in the torrent.
//!
//! `é` is one character in the composed form (NFC), which most systems write, and two in the decomposed form (NFD), which macOS writes.
//! To people both are the same name; to Linux they are two. The exact name always counts first, and a file that the torrent lists under
//! its exact name never stands for another.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use unicode_normalization::UnicodeNormalization;

use crate::proto::metainfo::{FileEntry, Metainfo};

/// The ways to spell `name`: exactly, then the composed and the decomposed form where those differ from it.
pub(super) fn forms(name: &[u8]) -> Vec<OsString> {
    let mut forms = vec![name.to_vec()];
    if let Ok(text) = std::str::from_utf8(name)
        && !text.is_ascii()
    {
        for form in [text.nfc().collect::<String>(), text.nfd().collect()] {
            if !forms.iter().any(|other| other == form.as_bytes()) {
                forms.push(form.into_bytes());
            }
        }
    }
    forms.into_iter().map(OsString::from_vec).collect()
}

/// Looks for the files of a torrent in one folder.
pub(super) struct Finder<'a> {
    metainfo: &'a Metainfo,
    root: &'a Path,
    /// Where a folder of the torrent lies, in whatever form; the exact one first.
    folders: HashMap<&'a [Vec<u8>], Rc<[PathBuf]>>,
    /// The exact paths of the torrent; made when it is first needed.
    listed: Option<HashSet<&'a Path>>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(metainfo: &'a Metainfo, root: &'a Path) -> Self {
        Self {
            metainfo,
            root,
            folders: HashMap::new(),
            listed: None,
        }
    }

    /// Where the file lies, and whether that is another form of its name. The exact path if it lies nowhere.
    pub(super) fn find(&mut self, file: &'a FileEntry) -> (PathBuf, bool) {
        if self.metainfo.single {
            return (self.root.to_owned(), false);
        }
        let exact = self.root.join(&file.safe_path);
        let ascii = file.safe_path.as_os_str().as_encoded_bytes().is_ascii();
        // Whatever else stands against it is not a question of spelling.
        if ascii || exact.symlink_metadata().is_ok() {
            return (exact, false);
        }
        match self.respelt(file) {
            Some(found) => (found, true),
            None => (exact, false),
        }
    }

    fn respelt(&mut self, file: &'a FileEntry) -> Option<PathBuf> {
        let (name, above) = file.path.split_last()?;
        let folders = self.folders(above);
        let forms = forms(name);
        let places = (folders.iter()).flat_map(|folder| forms.iter().map(|form| folder.join(form)));
        let found: Vec<_> = places.filter(|path| is_file(path)).collect();
        found.into_iter().find(|path| !self.is_listed(path))
    }

    /// The folders that `path` may mean.
    fn folders(&mut self, path: &'a [Vec<u8>]) -> Rc<[PathBuf]> {
        let mut here: Rc<[PathBuf]> = Rc::new([self.root.to_owned()]);
        for depth in 1..=path.len() {
            let (Some(upto), Some(name)) = (path.get(..depth), path.get(depth - 1)) else {
                break;
            };
            if let Some(known) = self.folders.get(upto) {
                here = Rc::clone(known);
                continue;
            }
            let forms = forms(name);
            let places = here
                .iter()
                .flat_map(|folder| forms.iter().map(|form| folder.join(form)));
            here = places.filter(|path| path.is_dir()).collect();
            self.folders.insert(upto, Rc::clone(&here));
        }
        here
    }

    fn is_listed(&mut self, path: &Path) -> bool {
        let files = &self.metainfo.files;
        let exact = || files.iter().map(|file| file.safe_path.as_path()).collect();
        let listed = self.listed.get_or_insert_with(exact);
        path.strip_prefix(self.root)
            .is_ok_and(|inside| listed.contains(inside))
    }
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_at_most_three_forms_and_the_exact_one_comes_first() {
        let composed = "caf\u{e9}".as_bytes();
        let decomposed = "cafe\u{301}".as_bytes();
        let as_bytes = |name: &[u8]| -> Vec<Vec<u8>> {
            let forms = forms(name).into_iter();
            forms.map(OsString::into_vec).collect()
        };
        assert_eq!(as_bytes(composed), [composed, decomposed]);
        assert_eq!(as_bytes(decomposed), [decomposed, composed]);
        let mixed = "e\u{301}\u{e9}".as_bytes();
        assert_eq!(as_bytes(mixed).len(), 3);
        for plain in [&b"plain"[..], b"caf\xe9", "\u{1f41d}".as_bytes()] {
            assert_eq!(as_bytes(plain), [plain]);
        }
    }
}
