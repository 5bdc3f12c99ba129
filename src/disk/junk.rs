//! What lies in folders but is nobody's payload: files that systems, editors and downloads leave behind.
//!
//! Folders of version control are no junk: a repository may well be the payload.

/// The list, frozen because it decides what `--skip-junk` shares: a name, or a beginning and an end with `*` between them.
/// Upper and lower case are the same here, as they are to the systems that leave most of these.
pub const JUNK: [&str; 28] = [
    // macOS
    ".DS_Store",
    "._*",
    "__MACOSX",
    ".AppleDouble",
    ".fseventsd",
    ".Spotlight-V100",
    ".TemporaryItems",
    ".Trashes",
    // Windows
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "$RECYCLE.BIN",
    "System Volume Information",
    // Linux
    ".directory",
    ".nfs*",
    ".Trash-*",
    "lost+found",
    // Editors
    "*~",
    ".*.swp",
    ".*.swo",
    ".#*",
    "#*#",
    // Unfinished downloads, ours first
    ".hivebt",
    ".hivebt-*.tmp",
    "*.part",
    "*.aria2",
    "*.crdownload",
    "*.!qB",
];

/// Whether a file or folder called `name` is junk.
#[must_use]
pub fn is_junk(name: &[u8]) -> bool {
    JUNK.iter().any(|junk| match junk.split_once('*') {
        None => name.eq_ignore_ascii_case(junk.as_bytes()),
        Some((start, end)) => encloses(start.as_bytes(), end.as_bytes(), name),
    })
}

/// Whether `name` begins with `start` and ends with `end`, with something of its own between them.
fn encloses(start: &[u8], end: &[u8], name: &[u8]) -> bool {
    let own = name.len().saturating_sub(start.len() + end.len());
    let (head, tail) = (name.get(..start.len()), name.get(start.len() + own..));
    own > 0
        && head.is_some_and(|head| head.eq_ignore_ascii_case(start))
        && tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_list_is_junk_in_any_case_and_nothing_near_it_is() {
        for junk in JUNK {
            let name = junk.replace('*', "x");
            assert!(is_junk(name.as_bytes()), "{name}");
            assert!(is_junk(name.to_uppercase().as_bytes()), "{name}");
            if junk.contains('*') {
                let bare = junk.replace('*', "");
                assert!(!is_junk(bare.as_bytes()), "{bare}");
            } else {
                assert!(!is_junk(format!("{name}x").as_bytes()), "{name}x");
                assert!(!is_junk(&name.as_bytes()[1..]), "{name}");
            }
        }
        for no in ["", ".", "a", ".git", ".hidden", "part", "a.part1", "a.tmp"] {
            assert!(!is_junk(no.as_bytes()), "{no}");
        }
    }
}
