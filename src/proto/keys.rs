//! The keys of a private tracker: a file of lines `KEY USER [LIMIT…]`.
//!
//! ```text
//! # key                            user    limits
//! 6f1e0c5ab28d4f7e9a3b5c7d1e2f4a6b alice
//! 0d4c2b1a99887766554433221100ffee bob     max-torrents=20 max-peers=40 min-ratio=0.5
//! 1234567890abcdef1234567890abcdef carol   disabled
//! ```
//!
//! - Words are separated by white space. Empty lines, and what follows a word that begins with `#`, are comments.
//! - A key has 8 to 128 letters, digits, `-` or `_`; it is a secret, so no error ever quotes it.
//! - A user has 1 to 64 characters. One with several keys has one account.
//! - `max-torrents=N`: torrents at once; `max-peers=N`: peers at once, over all torrents; N from 1 to 1,000,000.
//! - `min-ratio=R`: in place of the tracker's (0: none); see [`Ratio`].
//! - `disabled`: the key is known, but refused.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// Characters that a key may have.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 8..=128;

/// Most characters of a user's name.
const USER_LENGTH: usize = 64;

/// The largest number that a limit takes.
const MOST: u32 = 1_000_000;

/// A ratio of two sums of bytes, in thousandths: 0.000 to 1000.000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u32);

impl Ratio {
    /// Whether it asks for nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether `part` ÷ `whole` falls below it.
    #[must_use]
    pub fn exceeds(self, part: u64, whole: u64) -> bool {
        u128::from(part) * 1000 < u128::from(whole) * u128::from(self.0)
    }
}

impl FromStr for Ratio {
    type Err = ();

    /// A decimal number with at most three digits behind the point.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |t: &str, most| (1..=most).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 4) || !digits(part, 3) {
            return Err(());
        }
        let number = |t: &str| t.parse::<u32>().map_err(|_| ());
        let thousandths = number(whole)? * 1000 + number(&format!("{part:0<3}"))?;
        (thousandths <= 1_000_000)
            .then_some(Self(thousandths))
            .ok_or(())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// What a key allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Torrents at once.
    pub max_torrents: Option<u32>,
    /// Peers at once, over all torrents.
    pub max_peers: Option<u32>,
    /// In place of the tracker's minimum ratio.
    pub min_ratio: Option<Ratio>,
    /// Known, but refused.
    pub disabled: bool,
}

/// A line of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The secret. Never to be shown.
    pub key: String,
    /// Whose it is.
    pub user: String,
    /// What it allows.
    pub limits: Limits,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry(a key of {}, {:?})", self.user, self.limits)
    }
}

/// What is wrong with a line, and where; both counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysError {
    /// The line.
    pub line: usize,
    /// The first character of the word.
    pub column: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// The ways in which a line fails to be one of ours. They never hold what stands there: it may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No key.
    Key,
    /// A key without a user.
    NoUser,
    /// A name that is too long, or has characters that cannot be shown.
    User,
    /// A word that is no limit.
    Limit,
    /// A limit with a value that it does not take; the text says what it takes.
    Value(&'static str),
    /// A limit that stands twice in a line.
    Twice,
    /// A key that an earlier line has.
    Taken(usize),
    /// The file is no text in UTF-8.
    Text,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        match self.fault {
            Fault::Key => f.write_str("a key has 8 to 128 letters, digits, `-` or `_`"),
            Fault::NoUser => f.write_str("the user is missing: a line is `KEY USER [LIMIT…]`"),
            Fault::User => f.write_str("a user has 1 to 64 characters that can be shown"),
            Fault::Limit => f.write_str(
                "a limit is `max-torrents=N`, `max-peers=N`, `min-ratio=R` or `disabled`",
            ),
            Fault::Value(takes) => f.write_str(takes),
            Fault::Twice => f.write_str("the limit stands twice"),
            Fault::Taken(line) => write!(f, "the key of line {line} once more"),
            Fault::Text => f.write_str("not text in UTF-8"),
        }
    }
}

impl std::error::Error for KeysError {}

/// Whether `key` is one that a file may hold.
#[must_use]
pub fn is_key(key: &[u8]) -> bool {
    let fine = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    KEY_LENGTH.contains(&key.len()) && key.iter().all(fine)
}

/// Whether `user` is a name that a file may hold.
#[must_use]
pub fn is_user(user: &str) -> bool {
    let shown = |c: char| !c.is_control() && !c.is_whitespace();
    (1..=USER_LENGTH).contains(&user.chars().count())
        && user.chars().all(shown)
        && !user.starts_with('#')
}

/// Reads the file.
///
/// # Errors
/// At the first word that is wrong.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, KeysError> {
    let text = std::str::from_utf8(bytes).map_err(|error| not_text(bytes, error.valid_up_to()))?;
    // Some editors of another system begin a text with this mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut entries = Vec::new();
    let mut taken: HashMap<&str, usize> = HashMap::new();
    for (line, content) in (1..).zip(text.lines()) {
        let mut words = words(content);
        let Some((column, key)) = words.next() else {
            continue;
        };
        let fail = |column, fault| KeysError {
            line,
            column,
            fault,
        };
        if !is_key(key.as_bytes()) {
            return Err(fail(column, Fault::Key));
        }
        if let Some(earlier) = taken.insert(key, line) {
            return Err(fail(column, Fault::Taken(earlier)));
        }
        let end = content.trim_end().chars().count() + 1;
        let (column, user) = words.next().ok_or_else(|| fail(end, Fault::NoUser))?;
        if !is_user(user) {
            return Err(fail(column, Fault::User));
        }
        let mut limits = Limits::default();
        for (column, word) in words {
            limit(word, &mut limits).map_err(|fault| fail(column, fault))?;
        }
        entries.push(Entry {
            key: key.to_owned(),
            user: user.to_owned(),
            limits,
        });
    }
    Ok(entries)
}

/// The words of a line up to a comment, each with its column.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    let words = line.split_whitespace().map(move |word| {
        // Every word is found again at or after the end of the one before.
        let from = at + line.get(at..).and_then(|rest| rest.find(word)).unwrap_or(0);
        at = from + word.len();
        (from, word)
    });
    let words = words.take_while(|(_, word)| !word.starts_with('#'));
    words.map(move |(from, word)| {
        let before = line.get(..from).unwrap_or_default();
        (before.chars().count() + 1, word)
    })
}

fn limit(word: &str, limits: &mut Limits) -> Result<(), Fault> {
    let number = |value: &str| {
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        let number = value
            .parse()
            .ok()
            .filter(|n| digits && (1..=MOST).contains(n));
        number.ok_or(Fault::Value("the limit takes a number from 1 to 1000000"))
    };
    match word.split_once('=') {
        Some(("max-torrents", value)) => once(&mut limits.max_torrents, number(value)?),
        Some(("max-peers", value)) => once(&mut limits.max_peers, number(value)?),
        Some(("min-ratio", value)) => {
            let ratio = value.parse().map_err(|()| {
                Fault::Value("`min-ratio` takes a number from 0 to 1000 such as 0.5")
            })?;
            once(&mut limits.min_ratio, ratio)
        }
        None if word == "disabled" && limits.disabled => Err(Fault::Twice),
        None if word == "disabled" => {
            limits.disabled = true;
            Ok(())
        }
        _ => Err(Fault::Limit),
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::Twice),
    }
}

fn not_text(bytes: &[u8], at: usize) -> KeysError {
    let before = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
    let last = before.rsplit('\n').next().unwrap_or_default();
    KeysError {
        line: before.matches('\n').count() + 1,
        column: last.chars().count() + 1,
        fault: Fault::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn fault(text: &str) -> (usize, usize, Fault) {
        let error = parse(text.as_bytes()).unwrap_err();
        (error.line, error.column, error.fault)
    }

    #[test]
    fn lines_comments_and_limits_are_read() {
        let text = format!(
            "\u{feff}# keys\r\n\r\n{KEY} alice\r\n\tsecond-key_2 bob  max-peers=4\tmin-ratio=0.25 max-torrents=2 # his\n  third-key Zoë disabled"
        );
        let read = parse(text.as_bytes()).unwrap();
        let users: Vec<_> = read
            .iter()
            .map(|e| (e.key.as_str(), e.user.as_str()))
            .collect();
        assert_eq!(
            users,
            [
                (KEY, "alice"),
                ("second-key_2", "bob"),
                ("third-key", "Zoë")
            ]
        );
        assert_eq!(read[0].limits, Limits::default());
        let limits = Limits {
            max_torrents: Some(2),
            max_peers: Some(4),
            min_ratio: Some(Ratio(250)),
            disabled: false,
        };
        assert_eq!(read[1].limits, limits);
        assert!(read[2].limits.disabled);
        assert_eq!(parse(b""), Ok(vec![]));
    }

    #[test]
    fn a_fault_is_told_by_line_and_column_and_never_quotes_a_key() {
        for (text, expected) in [
            ("short bob", (1, 1, Fault::Key)),
            ("\n  with/slash bob", (2, 3, Fault::Key)),
            ("secret-key", (1, 11, Fault::NoUser)),
            ("secret-key   ", (1, 11, Fault::NoUser)),
            ("secret-key # bob", (1, 17, Fault::NoUser)),
            ("secret-key b\u{1}b", (1, 12, Fault::User)),
            ("secret-key é quota=3", (1, 14, Fault::Limit)),
            ("secret-key bob bob", (1, 16, Fault::Limit)),
            ("secret-key bob disabled disabled", (1, 25, Fault::Twice)),
            (
                "secret-key bob max-peers=1 max-peers=1",
                (1, 28, Fault::Twice),
            ),
            (
                "secret-key bob\n# x\nsecret-key bob",
                (3, 1, Fault::Taken(1)),
            ),
        ] {
            assert_eq!(fault(text), expected, "{text:?}");
            let told = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(
                !told.contains("secret") && told.starts_with("line "),
                "{told}"
            );
        }
        for value in [
            "max-peers=",
            "max-peers=0",
            "max-peers=+1",
            "max-torrents=1000001",
        ] {
            let (_, column, fault) = fault(&format!("secret-key bob {value}"));
            assert!(column == 16 && matches!(fault, Fault::Value(_)), "{value}");
        }
        let error = parse(b"secret-key bob\n\xc3\xa9\xff").unwrap_err();
        assert_eq!((error.line, error.column, error.fault), (2, 2, Fault::Text));
        let entry = &parse(b"secret-key bob").unwrap()[0];
        assert!(!format!("{entry:?}").contains("secret"));
    }

    #[test]
    fn a_ratio_has_three_digits_and_is_compared_without_rounding() {
        let ratio = |text: &str| text.parse::<Ratio>();
        for (text, thousandths) in [
            ("0", 0),
            ("0.5", 500),
            ("1", 1000),
            ("1.05", 1050),
            ("0.001", 1),
            ("1000.000", 1_000_000),
        ] {
            assert_eq!(ratio(text), Ok(Ratio(thousandths)), "{text}");
        }
        for bad in [
            "", ".", ".5", "1.", "-1", "+1", "1e3", "0.0001", "1000.001", "12345", "1,5", "½",
        ] {
            assert_eq!(ratio(bad), Err(()), "{bad}");
        }
        let half = ratio("0.5").unwrap();
        assert_eq!(half.to_string(), "0.500");
        assert!(half.exceeds(49, 100) && !half.exceeds(50, 100) && !half.exceeds(0, 0));
        assert!(half.exceeds(u64::MAX / 4, u64::MAX) && !half.exceeds(u64::MAX, u64::MAX));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_survived() {
        let good = format!("# k\n{KEY} alice max-peers=4\nother-key bob min-ratio=0.5 disabled\n");
        let good = good.as_bytes();
        for end in 0..=good.len() {
            let _ = parse(&good[..end]);
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.to_vec();
                bad[at] = byte;
                if let Err(error) = parse(&bad) {
                    assert!((1..=4).contains(&error.line) && error.column >= 1);
                }
            }
        }
    }
}
