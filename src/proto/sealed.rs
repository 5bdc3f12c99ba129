//! Files of ours that are believed as a whole or not at all: a bencoded dictionary `{KIND: VERSION, "sha1": <of the state's raw bytes>, "state": {…}}`.

use std::fmt;

use crate::base::bencode::{self, Dict, Document, Value};
use crate::base::sha1;

/// Why bytes are not such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// Not bencoding.
    Bencode(bencode::Error),
    /// Bencoding, but of another kind, or with this entry missing or impossible.
    Entry(&'static str),
    /// Written by another version: the one found, and the one that is known.
    Version(i64, i64),
    /// The checksum does not match.
    Checksum,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bencode(error) => error.fmt(f),
            Self::Entry(key) => write!(f, "no usable entry `{key}`"),
            Self::Version(n, known) => write!(f, "version {n}, this program knows {known}"),
            Self::Checksum => f.write_str("the checksum does not match"),
        }
    }
}

impl std::error::Error for SealError {}

/// What a file is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal {
    /// The key under which the version stands.
    pub(super) kind: &'static str,
    /// The version that is written, and the only one that is read.
    pub(super) version: i64,
}

impl Seal {
    /// The bytes of a file.
    pub(super) fn close(self, state: &Value<'_>) -> Vec<u8> {
        let state = state.to_bytes();
        let sum = sha1::digest(&state);
        Value::dict([
            (self.kind.as_bytes(), Value::Int(self.version)),
            (b"sha1", (&sum[..]).into()),
            (b"state", Value::Raw(state.into())),
        ])
        .to_bytes()
    }

    /// The state in a file.
    pub(super) fn open<'d>(self, document: &'d Document<'_>) -> Result<Dict<'d>, SealError> {
        let none = SealError::Entry(self.kind);
        let outer = document.root().dict().ok_or(none)?;
        match outer.get(self.kind.as_bytes()).and_then(|v| v.int()) {
            None => return Err(none),
            Some(n) if n != self.version => return Err(SealError::Version(n, self.version)),
            Some(_) => {}
        }
        let state = outer.get(b"state").ok_or(SealError::Entry("state"))?;
        let sum = outer.get(b"sha1").and_then(|v| v.bytes());
        if sum != Some(&sha1::digest(state.raw())[..]) {
            return Err(SealError::Checksum);
        }
        state.dict().ok_or(SealError::Entry("state"))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Fails unless every file that differs from `good` in a byte, or is cut short, is refused; then replaces bytes of its state by each of `bytes`, with the
    /// checksum that belongs to it, and counts how many of these are refused.
    pub(in crate::proto) fn assert_sealed(
        good: &[u8],
        bytes: &[u8],
        is_refused: impl Fn(&[u8]) -> bool,
    ) -> usize {
        for end in 0..good.len() {
            assert!(is_refused(&good[..end]), "cut at {end}");
        }
        for at in 0..good.len() {
            for byte in (0..=255).filter(|b| *b != good[at]) {
                let mut bad = good.to_vec();
                bad[at] = byte;
                assert!(is_refused(&bad), "byte {at} made {byte}");
            }
        }
        assert!(is_refused(&[good, b"\n"].concat()));
        let from = good.windows(7).position(|w| w == b"5:state").unwrap() + 7;
        let inner = &good[from..good.len() - 1];
        assert_eq!(reseal(good, inner), good);
        let mut refused = 0;
        for at in 0..inner.len() {
            for byte in bytes {
                let mut bad = inner.to_vec();
                bad[at] = *byte;
                refused += usize::from(is_refused(&reseal(good, &bad)));
            }
        }
        refused
    }

    /// `good` with another state, and the checksum that belongs to it.
    pub(in crate::proto) fn reseal(good: &[u8], inner: &[u8]) -> Vec<u8> {
        let sum = good.windows(9).position(|w| w == b"4:sha120:").unwrap() + 9;
        [&good[..sum], &sha1::digest(inner), b"5:state", inner, b"e"].concat()
    }
}
