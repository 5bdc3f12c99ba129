//! The two 20-byte names of the protocol: what is shared (info-hash) and who shares it (peer id).

use std::fmt;
use std::str::FromStr;

/// The SHA-1 of the raw bytes of a torrent's `info` dictionary (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

/// The 20 bytes by which a peer names itself (BEP 3, BEP 20). Not necessarily text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

/// Why a text is not an info-hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    /// Neither 40 (hexadecimal) nor 32 (base32) characters long; holds the length found.
    Length(usize),
    /// Holds a character outside the alphabet that its length implies.
    Alphabet,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(n) => {
                write!(
                    f,
                    "an info-hash has 40 hexadecimal or 32 base32 characters, this has {n}"
                )
            }
            Self::Alphabet => f.write_str("not hexadecimal or base32 throughout"),
        }
    }
}

impl std::error::Error for IdError {}

impl InfoHash {
    /// Takes exactly 20 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl FromStr for InfoHash {
    type Err = IdError;

    /// Reads 40 hexadecimal or 32 base32 characters (RFC 4648, BEP 9), in either case.
    fn from_str(s: &str) -> Result<Self, IdError> {
        let text = s.as_bytes();
        let bits = match text.len() {
            40 => 4,
            32 => 5,
            n => return Err(IdError::Length(n)),
        };
        let (mut out, mut acc, mut held, mut at) = ([0; 20], 0_u32, 0, 0);
        for &c in text {
            let digit = match (bits, c.to_ascii_lowercase()) {
                (4, c @ b'0'..=b'9') => c - b'0',
                (4, c @ b'a'..=b'f') => c - b'a' + 10,
                (5, c @ b'a'..=b'z') => c - b'a',
                (5, c @ b'2'..=b'7') => c - b'2' + 26,
                _ => return Err(IdError::Alphabet),
            };
            acc = (acc << bits) | u32::from(digit);
            held += bits;
            if held >= 8 {
                held -= 8;
                out[at] = (acc >> held).to_le_bytes()[0];
                at += 1;
            }
        }
        Ok(Self(out))
    }
}

impl fmt::Display for InfoHash {
    /// 40 lower-case hexadecimal characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

impl PeerId {
    /// Takes exactly 20 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// A fresh id of ours: `-HM`, four digits of the version, `-`, twelve random letters and digits (BEP 20).
    ///
    /// Made once for each process run and kept: a tracker knows a peer by it.
    #[must_use]
    pub fn generate(rng: &mut fastrand::Rng) -> Self {
        let mut id = *b"-HM0100-............";
        let version = [
            env!("CARGO_PKG_VERSION_MAJOR"),
            env!("CARGO_PKG_VERSION_MINOR"),
            env!("CARGO_PKG_VERSION_PATCH"),
        ];
        let mut at = 3;
        for (part, width) in version.iter().zip([1, 2, 1]) {
            let n: u32 = part.parse().unwrap_or(0);
            for c in format!("{n:0width$}").bytes().take(width) {
                id[at] = c;
                at += 1;
            }
        }
        id[8..].fill_with(|| {
            let alphabet = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
            alphabet[rng.usize(..alphabet.len())]
        });
        Self(id)
    }
}

impl fmt::Display for PeerId {
    /// The id as text, with everything but printable ASCII percent-encoded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&b| match b {
            b'!'..=b'~' if b != b'%' => write!(f, "{}", char::from(b)),
            _ => write!(f, "%{b:02X}"),
        })
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "2c6b6858d61da9543d4231a71db4b1c9264b0685";

    #[test]
    fn hexadecimal_and_base32_name_the_same_hash() {
        let hash: InfoHash = HEX.parse().unwrap();
        assert_eq!(hash.to_string(), HEX);
        assert_eq!("FRVWQWGWDWUVIPKCGGTR3NFRZETEWBUF".parse(), Ok(hash));
        assert_eq!(HEX.to_uppercase().parse(), Ok(hash));
    }

    #[test]
    fn a_text_of_another_length_or_alphabet_is_refused() {
        assert_eq!("abc".parse::<InfoHash>(), Err(IdError::Length(3)));
        assert_eq!("g".repeat(40).parse::<InfoHash>(), Err(IdError::Alphabet));
        assert_eq!("1".repeat(32).parse::<InfoHash>(), Err(IdError::Alphabet));
    }

    #[test]
    fn our_peer_id_tells_program_and_version() {
        let id = PeerId::generate(&mut fastrand::Rng::with_seed(1));
        let version: Vec<u32> = env!("CARGO_PKG_VERSION")
            .split('.')
            .map(|part| part.parse().unwrap())
            .collect();
        let [major, minor, patch] = version[..] else {
            panic!("{version:?}");
        };
        let expected = format!("-HM{major}{minor:02}{patch}-");
        assert_eq!(id.0[..8], *expected.as_bytes());
        assert_ne!(id, PeerId::generate(&mut fastrand::Rng::with_seed(2)));
    }

    #[test]
    fn a_peer_id_that_is_not_text_is_shown_escaped() {
        assert_eq!(
            PeerId(*b"\0%A:~\x7f\xff-------------").to_string(),
            "%00%25A:~%7F%FF-------------"
        );
    }
}
