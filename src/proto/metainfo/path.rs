//! Names from torrents: which of them may become names of files, and how people see them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The longest name that Linux file systems take, in bytes.
pub const MAX_NAME: usize = 255;

/// The longest path inside a payload, in bytes: Linux takes 4,096 in all, and the folder above needs some.
pub const MAX_PATH: usize = 4000;

/// The folder beside a payload in which our own state lies.
pub const STATE_FOLDER: &[u8] = b".hivebt";

/// Why a name from a torrent cannot be the name of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsafe {
    /// An empty name, or a path without any.
    Empty,
    /// `.` or `..`.
    Dots,
    /// A `/` inside a name.
    Slash,
    /// A NUL inside a name.
    Nul,
    /// Over [`MAX_NAME`] bytes.
    LongName,
    /// Over [`MAX_PATH`] bytes.
    LongPath,
    /// [`STATE_FOLDER`] as the name of a payload.
    Reserved,
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty name",
            Self::Dots => "`.` and `..` name no file",
            Self::Slash => "a name cannot contain `/`",
            Self::Nul => "a name cannot contain a NUL byte",
            Self::LongName => "a name cannot be longer than 255 bytes",
            Self::LongPath => "a path cannot be longer than 4000 bytes",
            Self::Reserved => "`.hivebt` is where the state of downloads lies",
        })
    }
}

/// Whether `name` can be the name of a file or folder.
///
/// # Errors
/// Why not.
pub fn check_component(name: &[u8]) -> Result<(), Unsafe> {
    match name {
        b"" => Err(Unsafe::Empty),
        b"." | b".." => Err(Unsafe::Dots),
        _ if name.contains(&b'/') => Err(Unsafe::Slash),
        _ if name.contains(&0) => Err(Unsafe::Nul),
        _ if name.len() > MAX_NAME => Err(Unsafe::LongName),
        _ => Ok(()),
    }
}

/// The name of a payload as a name on disk.
///
/// # Errors
/// If it cannot be one, or is one of ours.
pub fn safe_name(name: &[u8]) -> Result<OsString, Unsafe> {
    check_component(name)?;
    if name == STATE_FOLDER {
        return Err(Unsafe::Reserved);
    }
    Ok(OsString::from_vec(name.to_vec()))
}

/// The components of a path as a relative path that cannot leave the folder to which it is joined.
///
/// # Errors
/// If there is none, if one of them cannot be a name, or if all together are too long.
pub fn safe_path(components: &[Vec<u8>]) -> Result<PathBuf, Unsafe> {
    if components.is_empty() {
        return Err(Unsafe::Empty);
    }
    let mut joined = Vec::new();
    for component in components {
        check_component(component)?;
        if !joined.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(component);
    }
    if joined.len() > MAX_PATH {
        return Err(Unsafe::LongPath);
    }
    Ok(OsString::from_vec(joined).into())
}

/// A name as people see it: bytes that are no UTF-8, and characters that a terminal would obey instead of showing them, become `U+FFFD`.
#[must_use]
pub fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Control characters, line and paragraph separators, and the marks that turn the direction of what follows: with those `txt.exe` can look
/// like `exe.txt`.
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// A path from raw components as people see it.
#[must_use]
pub fn shown_path(components: &[Vec<u8>]) -> String {
    components
        .iter()
        .map(|c| shown(c))
        .collect::<Vec<_>>()
        .join("/")
}

/// The raw bytes of a name on disk.
#[must_use]
pub fn raw(name: &OsStr) -> Vec<u8> {
    name.as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(components: &[&[u8]]) -> Result<PathBuf, Unsafe> {
        safe_path(&components.iter().map(|c| c.to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_that_could_leave_the_folder_passes() {
        for (components, why) in [
            (vec![], Unsafe::Empty),
            (vec![&b""[..]], Unsafe::Empty),
            (vec![b"a", b"", b"b"], Unsafe::Empty),
            (vec![b".."], Unsafe::Dots),
            (vec![b"a", b"..", b"b"], Unsafe::Dots),
            (vec![b"."], Unsafe::Dots),
            (vec![b"/etc/passwd"], Unsafe::Slash),
            (vec![b"a/../../b"], Unsafe::Slash),
            (vec![b"a\0"], Unsafe::Nul),
            (vec![&[b'x'; 256]], Unsafe::LongName),
            (vec![&[b'x'; 255]; 16], Unsafe::LongPath),
        ] {
            assert_eq!(path(&components), Err(why), "{components:?}");
        }
    }

    #[test]
    fn names_stay_as_they_are_spelt() {
        for good in [
            &b"..."[..],
            b"..a",
            b" ",
            b"a\\b",
            b"C:",
            b"\xff\xfe",
            "ä".as_bytes(),
            &[b'x'; 255],
        ] {
            assert_eq!(
                path(&[b"d", good]).unwrap().as_os_str().as_bytes(),
                [b"d/", good].concat()
            );
        }
    }

    #[test]
    fn the_payload_cannot_take_the_name_of_our_state() {
        assert_eq!(safe_name(b".hivebt"), Err(Unsafe::Reserved));
        assert_eq!(safe_name(b".."), Err(Unsafe::Dots));
        assert_eq!(safe_name(b".hivebt2"), Ok(".hivebt2".into()));
        assert!(path(&[b".hivebt", b"x"]).is_ok(), "inside the payload");
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        assert_eq!(
            shown(b"a\x1b[2J\xff\xc2\x85z"),
            "a\u{fffd}[2J\u{fffd}\u{fffd}z"
        );
        assert_eq!(
            shown("\u{202e}txt\u{2069}.exe\u{2028}é日".as_bytes()),
            "\u{fffd}txt\u{fffd}.exe\u{fffd}é日"
        );
    }
}
