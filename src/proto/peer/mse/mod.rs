//! Message stream encryption (MSE/PE, the specification of Vuze): a connection that does not show on its way that it is BitTorrent.
//!
//! ```text
//! A → B   public key, padding
//! B → A   public key, padding
//! A → B   SHA-1("req1", S), SHA-1("req2", info-hash) ^ SHA-1("req3", S), RC4(0⁸, methods, padding, length of the beginning, the beginning)
//! B → A   RC4(0⁸, method, padding)
//! both    the stream: RC4, or plain if that is the method
//! ```
//!
//! S is what both come to share by Diffie-Hellman. Paddings of unknown length, up to 512 bytes, stand before what the other side then looks for.
//! This hides from onlookers that do not know the info-hash. It is no protection from anybody who does, and proves nobody's identity.
//!
//! Two machines without sockets: [`Opening`] for whoever dials, [`Answering`] for whoever is dialled. Their state has a constant size, whatever the far end
//! sends; each byte is looked at once.

mod answering;
mod dh;
mod opening;
mod rc4;
#[cfg(test)]
mod tests;

pub use answering::Answering;
pub use opening::Opening;
pub use rc4::Rc4;

use crate::base::id::InfoHash;
use crate::base::sha1::{Digest, digest_parts};

pub use dh::{KEY_LEN, PRIVATE_LEN};

/// The longest padding.
pub const MAX_PAD: usize = 512;

/// Ahead of what is encrypted: so many zeros.
const VERIFICATION: [u8; 8] = [0; 8];

/// The bits of methods.
const PLAIN: u32 = 1;
const RC4: u32 = 2;

/// What the operator wants of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As little as the far end demands: dial in plain text, and encrypted where it hangs up on that; let in both, and leave encryption out after the
    /// handshake where the far end agrees.
    #[default]
    Plain,
    /// Dial encrypted, and in plain text where that comes to nothing; let in both.
    Preferred,
    /// RC4 alone, in both directions.
    Required,
}

impl Encryption {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Preferred, Self::Required];

    /// What it is called on the command line and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Preferred => "preferred",
            Self::Required => "required",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.name() == name)
    }

    /// The methods that we offer where we dial.
    const fn offer(self) -> u32 {
        match self {
            Self::Plain | Self::Preferred => PLAIN | RC4,
            Self::Required => RC4,
        }
    }

    /// The method that we choose of those that are offered to us.
    fn choose(self, offered: u32) -> Option<u32> {
        let liked = match self {
            Self::Plain => [PLAIN, RC4],
            Self::Preferred => [RC4, PLAIN],
            Self::Required => [RC4, RC4],
        };
        liked.into_iter().find(|method| offered & method != 0)
    }
}

/// What an encrypted handshake has come to.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The torrent that it is about.
    pub info_hash: InfoHash,
    /// For what we send from now on; `None` if that is plain.
    pub sending: Option<Rc4>,
    /// For what comes from now on; `None` if that is plain.
    pub receiving: Option<Receiving>,
}

/// How to read what comes.
#[derive(Clone, Debug)]
pub struct Receiving {
    cipher: Rc4,
    /// Bytes that are encrypted; without a number, all.
    left: Option<usize>,
}

impl Receiving {
    /// Decrypts the bytes that come next, in their place. `false` if those that come after them are all plain.
    pub fn apply(&mut self, bytes: &mut [u8]) -> bool {
        let Some(left) = &mut self.left else {
            self.cipher.apply(bytes);
            return true;
        };
        let encrypted = bytes.len().min(*left);
        self.cipher.apply(&mut bytes[..encrypted]);
        *left -= encrypted;
        *left > 0
    }
}

/// Why an encrypted handshake has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The far end's public key is none.
    Key,
    /// What has to follow the padding does not come.
    NoSync,
    /// It is about a torrent that we do not have.
    UnknownTorrent,
    /// What is encrypted was not encrypted with our key.
    Verification,
    /// No method that both sides take, or one that was not offered.
    Method,
    /// A padding is too long.
    Padding,
}

/// By what whoever is dialled knows the torrent: the far end's word for it, before it is disguised.
#[must_use]
pub fn disguise(info_hash: InfoHash) -> Digest {
    digest_parts([&b"req2"[..], &info_hash.0])
}

/// What both sides know.
#[derive(Clone)]
struct Secret([u8; KEY_LEN]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// What stands behind the padding of whoever dialled.
    fn mark(&self) -> Digest {
        digest_parts([&b"req1"[..], &self.0])
    }

    /// Turns a torrent's [`disguise`] into what goes over the wire, and back.
    fn mask(&self, disguise: Digest) -> Digest {
        let mask = digest_parts([&b"req3"[..], &self.0]);
        std::array::from_fn(|i| disguise[i] ^ mask[i])
    }

    /// The cipher of whoever dialled, and of whoever was dialled.
    fn ciphers(&self, info_hash: InfoHash) -> (Rc4, Rc4) {
        let key = |name: &[u8]| Rc4::new(&digest_parts([name, &self.0, &info_hash.0]));
        (key(b"keyA"), key(b"keyB"))
    }
}

/// A field that has not come whole, or what was last seen of a padding.
#[derive(Clone, Debug)]
struct Field {
    bytes: [u8; KEY_LEN],
    len: usize,
    /// Bytes seen in search of a mark.
    searched: usize,
}

impl Field {
    const fn new() -> Self {
        Self {
            bytes: [0; KEY_LEN],
            len: 0,
            searched: 0,
        }
    }

    /// Takes what is lacking of a field of `N` bytes, which are at most those of a key, off the front of `from`. The field, once it is whole.
    fn take<const N: usize>(&mut self, from: &mut &[u8]) -> Option<[u8; N]> {
        let (taken, rest) = from.split_at(from.len().min(N - self.len));
        self.bytes[self.len..self.len + taken.len()].copy_from_slice(taken);
        self.len += taken.len();
        *from = rest;
        if self.len < N {
            return None;
        }
        self.len = 0;
        let mut whole = [0; N];
        whole.copy_from_slice(&self.bytes[..N]);
        Some(whole)
    }

    /// Takes bytes off the front of `from` until `mark` has passed. Whether it has.
    fn pass<const N: usize>(&mut self, mark: &[u8; N], from: &mut &[u8]) -> Result<bool, Fault> {
        while let Some((&byte, rest)) = from.split_first() {
            *from = rest;
            self.bytes.copy_within(1..N, 0);
            self.bytes[N - 1] = byte;
            self.searched += 1;
            if self.searched >= N && self.bytes[..N] == *mark {
                return Ok(true);
            }
            if self.searched == MAX_PAD + N {
                return Err(Fault::NoSync);
            }
        }
        Ok(false)
    }
}

/// Padding of random length.
fn pad(rng: &mut fastrand::Rng, out: &mut Vec<u8>) {
    let len = rng.usize(..=MAX_PAD);
    out.extend(std::iter::repeat_with(|| rng.u8(..)).take(len));
}

/// The length of a padding that follows.
fn padding(len: [u8; 2]) -> Result<usize, Fault> {
    let len = u16::from_be_bytes(len).into();
    if len > MAX_PAD {
        Err(Fault::Padding)
    } else {
        Ok(len)
    }
}
