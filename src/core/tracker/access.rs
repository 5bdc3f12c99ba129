//! Which info-hashes are served: all, those on a list, or all but those on a list (R41).

use std::collections::HashSet;
use std::fmt;

use crate::base::id::{IdError, InfoHash};
use crate::proto::tracker::Refusal;

/// A line of a list that is no info-hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadList {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub cause: IdError,
}

impl fmt::Display for BadList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.cause)
    }
}

impl std::error::Error for BadList {}

/// The rules. Without lists everything is served.
#[derive(Clone, Debug, Default)]
pub struct Access {
    allow: Option<HashSet<InfoHash>>,
    deny: HashSet<InfoHash>,
}

impl Access {
    /// Reads the texts of an allow list and of a deny list: an info-hash a line, hexadecimal or base32. What follows a space, empty lines and lines
    /// that begin with `#` are comments. What stands on both lists is denied.
    ///
    /// # Errors
    /// The first line of either that is no info-hash: whether it is of the deny list is the first of the pair.
    pub fn read(allow: Option<&str>, deny: Option<&str>) -> Result<Self, (bool, BadList)> {
        Ok(Self {
            allow: allow.map(list).transpose().map_err(|bad| (false, bad))?,
            deny: deny
                .map_or(Ok(HashSet::new()), list)
                .map_err(|bad| (true, bad))?,
        })
    }

    /// Serves these info-hashes alone.
    #[must_use]
    pub fn only(hashes: impl IntoIterator<Item = InfoHash>) -> Self {
        Self {
            allow: Some(hashes.into_iter().collect()),
            deny: HashSet::new(),
        }
    }

    /// Serves also these, but of all others only what is on the allow list. The deny list still wins.
    #[must_use]
    pub fn and(mut self, hashes: impl IntoIterator<Item = InfoHash>) -> Self {
        self.allow.get_or_insert_default().extend(hashes);
        self
    }

    /// Whether the swarm may be served.
    ///
    /// # Errors
    /// The refusal that the peer gets.
    pub fn check(&self, hash: InfoHash) -> Result<(), Refusal> {
        let allowed = self
            .allow
            .as_ref()
            .is_none_or(|allow| allow.contains(&hash));
        if allowed && !self.deny.contains(&hash) {
            Ok(())
        } else {
            // Without `never`: lists change.
            Err(Refusal::new("this tracker does not serve this info_hash"))
        }
    }
}

fn list(text: &str) -> Result<HashSet<InfoHash>, BadList> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.split_whitespace().next()));
    let hashes =
        lines.filter_map(|(line, word)| Some((line, word.filter(|w| !w.starts_with('#'))?)));
    hashes
        .map(|(line, word)| word.parse().map_err(|cause| BadList { line, cause }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: InfoHash = InfoHash([0xaa; 20]);
    const B: InfoHash = InfoHash([0xbb; 20]);

    #[test]
    fn without_lists_everything_is_served() {
        assert!(Access::default().check(A).is_ok());
        assert!(Access::read(None, None).unwrap().check(B).is_ok());
    }

    #[test]
    fn an_allow_list_serves_only_what_it_names_and_a_deny_list_wins() {
        let allow = format!(
            "# ours\n\n{A}  big.iso\n  {}\r\n",
            B.to_string().to_uppercase()
        );
        let access = Access::read(Some(&allow), None).unwrap();
        assert!(access.check(A).is_ok() && access.check(B).is_ok());
        assert!(access.check(InfoHash([1; 20])).is_err());
        let access = Access::read(Some(&allow), Some(&A.to_string())).unwrap();
        assert!(access.check(A).is_err() && access.check(B).is_ok());
        let nothing = Access::read(Some(""), None).unwrap();
        assert!(nothing.check(A).is_err());
    }

    #[test]
    fn what_is_served_besides_ends_an_open_tracker_and_yields_to_the_deny_list() {
        let other = InfoHash([1; 20]);
        let access = Access::default().and([A]);
        assert!(access.check(A).is_ok() && access.check(B).is_err());
        let lists = Access::read(Some(&B.to_string()), Some(&other.to_string())).unwrap();
        let access = lists.and([A, other]);
        assert!(access.check(A).is_ok() && access.check(B).is_ok());
        assert!(access.check(other).is_err());
    }

    #[test]
    fn a_bad_line_is_told_by_its_number() {
        let error = Access::read(None, Some("# x\n\nabc\n")).unwrap_err();
        assert_eq!(
            error,
            (
                true,
                BadList {
                    line: 3,
                    cause: IdError::Length(3)
                }
            )
        );
    }
}
