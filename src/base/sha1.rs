//! SHA-1 of pieces and `info` dictionaries.

use std::fmt;

/// A SHA-1 digest: 20 bytes.
pub type Digest = [u8; 20];

/// The SHA-1 of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    digest_parts([bytes])
}

/// The SHA-1 of `parts` laid end to end, such as the blocks of a piece.
#[must_use]
pub fn digest_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = Sha1::default();
    parts.into_iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

/// A SHA-1 in the making, for bytes that are not all in memory at the same time.
#[derive(Clone, Default)]
pub struct Sha1(sha1_smol::Sha1);

impl fmt::Debug for Sha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha1")
    }
}

impl Sha1 {
    /// Takes in the bytes that come next.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The SHA-1 of all bytes taken in.
    #[must_use]
    pub fn finish(&self) -> Digest {
        self.0.digest().bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard() {
        let hex = |d: Digest| d.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(
            hex(digest(b"abc")),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(digest_parts([&b"a"[..], b"", b"bc"]), digest(b"abc"));
    }
}
