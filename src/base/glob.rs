//! Patterns for paths inside a payload, as shells have them.
//!
//! `*` stands for any run of characters of a name, `?` for one, `[a-z]` for one of a set, `[!a-z]` for one outside it, `\` makes the next
//! character plain; `**` as a whole name stands for any number of names. A pattern without `/` is matched against every name on the
//! path; one with `/` against the path from the payload's folder on. With `/` at its end it means folders only. A pattern that
//! matches a folder covers all that lies in it.

use std::fmt;

/// A character: a Unicode scalar value, or above those a byte that is no UTF-8.
type Unit = u32;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    names: Vec<Name>,
    /// Matched from the payload's folder on; otherwise against any name.
    anchored: bool,
    folders_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// `**`
    Any,
    One(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Plain(Unit),
    /// `?`
    Single,
    /// `*`
    Run,
    Set {
        negated: bool,
        ranges: Vec<(Unit, Unit)>,
    },
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobError {
    /// Nothing in it.
    Empty,
    /// A `[` without its `]`.
    OpenSet,
    /// A `\` at the end.
    LooseEscape,
    /// Empty names, `.` or `..`, which no path in a payload has.
    NoPath,
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::OpenSet => "a `[` has no `]`",
            Self::LooseEscape => "nothing follows the `\\` at its end",
            Self::NoPath => "no path in a payload has empty names, `.` or `..`",
        })
    }
}

impl std::error::Error for GlobError {}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If it is none, or could never match.
    pub fn parse(pattern: &[u8]) -> Result<Self, GlobError> {
        let (body, folders_only) = match pattern.strip_suffix(b"/") {
            Some(body) => (body, true),
            None => (pattern, false),
        };
        let rooted = body.strip_prefix(b"/");
        let anchored = body.contains(&b'/');
        let body = rooted.unwrap_or(body);
        if body.is_empty() {
            return Err(GlobError::Empty);
        }
        let names = body.split(|&b| b == b'/').map(|name| match name {
            b"" | b"." | b".." => Err(GlobError::NoPath),
            b"**" => Ok(Name::Any),
            name => tokens(&units(name)).map(Name::One),
        });
        Ok(Self {
            names: names.collect::<Result<_, _>>()?,
            anchored,
            folders_only,
        })
    }

    /// Whether the pattern matches the file or folder at `path` itself. That it may match a folder above is for the caller to remember.
    #[must_use]
    pub fn matches(&self, path: &[Vec<u8>], is_folder: bool) -> bool {
        if self.folders_only && !is_folder {
            return false;
        }
        if self.anchored {
            return self.matches_all(path);
        }
        path.last()
            .is_some_and(|name| self.matches_all(std::slice::from_ref(name)))
    }

    fn matches_all(&self, path: &[Vec<u8>]) -> bool {
        let fits = |pattern: &Name, name: &Vec<u8>| match pattern {
            Name::Any => true,
            Name::One(tokens) => sequence(
                tokens,
                &units(name),
                |token| *token == Token::Run,
                |token, unit| token.takes(*unit),
            ),
        };
        sequence(&self.names, path, |name| *name == Name::Any, fits)
    }
}

impl Token {
    fn takes(&self, unit: Unit) -> bool {
        match self {
            Self::Plain(plain) => *plain == unit,
            Self::Single | Self::Run => true,
            Self::Set { negated, ranges } => {
                let within = ranges.iter().any(|&(from, to)| (from..=to).contains(&unit));
                within != *negated
            }
        }
    }
}

/// Whether `pattern` matches all of `text`, where some elements of the pattern stand for any number of elements of the text. Only the
/// latest of those ever needs another try, so this takes no more steps than one length times the other.
fn sequence<P, T>(
    pattern: &[P],
    text: &[T],
    is_run: impl Fn(&P) -> bool,
    takes: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    while let Some(element) = text.get(t) {
        match pattern.get(p) {
            Some(run) if is_run(run) => {
                p += 1;
                retry = Some((p, t));
            }
            Some(one) if takes(one, element) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                // The run takes one more.
                Some((after, from)) => {
                    (p, t) = (after, from + 1);
                    retry = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(is_run)
}

fn tokens(units: &[Unit]) -> Result<Vec<Token>, GlobError> {
    let mut tokens = Vec::new();
    let mut rest = units.iter().copied();
    while let Some(unit) = rest.next() {
        tokens.push(match char::from_u32(unit) {
            Some('*') if tokens.last() == Some(&Token::Run) => continue,
            Some('*') => Token::Run,
            Some('?') => Token::Single,
            Some('\\') => Token::Plain(rest.next().ok_or(GlobError::LooseEscape)?),
            Some('[') => set(&mut rest)?,
            _ => Token::Plain(unit),
        });
    }
    Ok(tokens)
}

/// A set, after its `[`. A `]` that comes first is one of the set, and so is a `-` that comes first or last.
fn set(rest: &mut impl Iterator<Item = Unit>) -> Result<Token, GlobError> {
    const CLOSE: Unit = ']' as Unit;
    let mut next = || rest.next().ok_or(GlobError::OpenSet);
    let mut unit = next()?;
    let negated = unit == Unit::from(b'!') || unit == Unit::from(b'^');
    if negated {
        unit = next()?;
    }
    let mut members = Vec::new();
    while members.is_empty() || unit != CLOSE {
        members.push(unit);
        unit = next()?;
    }
    let mut ranges = Vec::new();
    let mut members = members.as_slice();
    while let [first, after @ ..] = members {
        members = match after {
            [dash, last, others @ ..] if *dash == Unit::from(b'-') => {
                ranges.push((*first, *last));
                others
            }
            _ => {
                ranges.push((*first, *first));
                after
            }
        };
    }
    Ok(Token::Set { negated, ranges })
}

fn units(bytes: &[u8]) -> Vec<Unit> {
    const BEYOND: Unit = 0x11_0000;
    let chunks = bytes.utf8_chunks().flat_map(|chunk| {
        let text = chunk.valid().chars().map(Unit::from);
        text.chain(chunk.invalid().iter().map(|&b| BEYOND + Unit::from(b)))
    });
    chunks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let (path, is_folder) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, false),
        };
        let path: Vec<_> = path.split('/').map(|c| c.as_bytes().to_vec()).collect();
        Glob::parse(pattern.as_bytes())
            .unwrap()
            .matches(&path, is_folder)
    }

    #[test]
    fn a_name_is_matched_at_any_depth_and_a_path_from_the_top() {
        for (pattern, yes, no) in [
            (
                "*.tmp",
                &["a.tmp", "x/y/.tmp", "a.tmp/"][..],
                &["a.tmpx", "a.tmp/x"][..],
            ),
            ("a?c", &["abc", "x/aéc"], &["ac", "abbc"]),
            ("[a-c!]x", &["ax", "bx", "!x"], &["dx", "x", "abx"]),
            ("[!a-c]x", &["dx", "éx"], &["ax", "x"]),
            ("[]-]", &["]", "-"], &["a", "[]"]),
            ("\\*[*]", &["**"], &["a*", "ab"]),
            ("/a", &["a"], &["x/a"]),
            ("x/a", &["x/a"], &["a", "y/x/a", "x/a/b"]),
            ("x/*/a", &["x/y/a"], &["x/a", "x/y/z/a"]),
            ("x/**", &["x/a", "x/a/b"], &["y", "y/x"]),
            ("x/**/a", &["x/a", "x/y/a", "x/y/z/a"], &["a", "x/y/z"]),
            ("**/a", &["a", "x/y/a"], &["b", "a/b"]),
            ("a/", &["a/", "x/a/"], &["a"]),
            ("x/a/", &["x/a/"], &["x/a", "y/x/a/"]),
        ] {
            for path in yes {
                assert!(matches(pattern, path), "{pattern} {path}");
            }
            for path in no {
                assert!(!matches(pattern, path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn names_that_are_not_text_are_matched_byte_by_byte() {
        let glob = Glob::parse(b"caf\xe9*").unwrap();
        assert!(glob.matches(&[b"caf\xe9 1".to_vec()], false));
        assert!(!glob.matches(&["café 1".as_bytes().to_vec()], false));
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for (pattern, error) in [
            ("", GlobError::Empty),
            ("/", GlobError::Empty),
            ("[a", GlobError::OpenSet),
            ("[]", GlobError::OpenSet),
            ("a\\", GlobError::LooseEscape),
            ("a//b", GlobError::NoPath),
            ("./a", GlobError::NoPath),
            ("../a", GlobError::NoPath),
        ] {
            assert_eq!(Glob::parse(pattern.as_bytes()), Err(error), "{pattern}");
        }
    }

    /// All patterns of up to four characters against all names of up to four, compared with the definition.
    #[test]
    fn short_patterns_and_names_agree_with_the_definition() {
        fn defined(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern, text) {
                ([], _) => text.is_empty(),
                ([b'*', p @ ..], _) => (0..=text.len()).any(|n| defined(p, &text[n..])),
                ([b'?', p @ ..], [_, t @ ..]) => defined(p, t),
                ([a, p @ ..], [b, t @ ..]) => a == b && defined(p, t),
                _ => false,
            }
        }
        let words = |alphabet: &[u8]| {
            let mut all = vec![vec![]];
            for from in 0..1 + alphabet.len() + alphabet.len().pow(2) + alphabet.len().pow(3) {
                for &c in alphabet {
                    let mut word: Vec<u8> = all[from].clone();
                    word.push(c);
                    all.push(word);
                }
            }
            all.remove(0);
            all
        };
        let names = words(b"ab");
        for pattern in words(b"ab*?") {
            // Alone it stands for names, not for characters.
            if pattern == b"**" {
                continue;
            }
            let glob = Glob::parse(&pattern).unwrap();
            for name in &names {
                let wanted = defined(&pattern, name);
                let got = glob.matches(std::slice::from_ref(name), false);
                assert_eq!(
                    got,
                    wanted,
                    "{} {}",
                    pattern.escape_ascii(),
                    name.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let glob = Glob::parse("*a".repeat(200).as_bytes()).unwrap();
        assert!(!glob.matches(&["a".repeat(199).into_bytes()], false));
        let glob = Glob::parse("**/a/".repeat(100).as_bytes()).unwrap();
        assert!(!glob.matches(&vec![b"b".to_vec(); 2000], true));
    }
}
