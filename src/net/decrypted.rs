//! The receiving end of a connection that may be encrypted, below the frames: bytes are decrypted where they were read to. Where nothing is encrypted, nothing is touched.

use std::io::{self, IoSliceMut, Read};

use crate::proto::peer::mse::Receiving;

/// What a handshake leaves behind for whoever reads on.
#[derive(Clone, Debug, Default)]
pub struct Ahead {
    /// Bytes that have come with the handshake and belong to the stream, as they came.
    pub bytes: Vec<u8>,
    /// How to read them and what follows; `None` for as they are.
    pub cipher: Option<Receiving>,
}

impl Ahead {
    /// Puts it ahead of `from`.
    pub fn of<R>(self, from: R) -> Decrypted<R> {
        Decrypted { from, ahead: self }
    }
}

/// Reads from `R` what it means.
#[derive(Debug)]
pub struct Decrypted<R> {
    from: R,
    ahead: Ahead,
}

impl<R> Decrypted<R> {
    /// What has not been read yet, and how to read on.
    #[must_use]
    pub fn into_ahead(self) -> Ahead {
        self.ahead
    }

    /// Decrypts the first `n` bytes of `parts`.
    fn decrypt(&mut self, parts: &mut [IoSliceMut<'_>], mut n: usize) {
        for part in parts {
            let Some(cipher) = &mut self.ahead.cipher else {
                return;
            };
            let got = part.len().min(n);
            n -= got;
            if !cipher.apply(&mut part[..got]) {
                self.ahead.cipher = None;
            }
        }
    }
}

impl<R: Read> Read for Decrypted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ahead.bytes.is_empty() && self.ahead.cipher.is_none() {
            return self.from.read(into);
        }
        self.read_vectored(&mut [IoSliceMut::new(into)])
    }

    fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let n = if self.ahead.bytes.is_empty() {
            self.from.read_vectored(parts)?
        } else {
            let n = (&self.ahead.bytes[..]).read_vectored(parts)?;
            self.ahead.bytes.drain(..n);
            n
        };
        self.decrypt(parts, n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::InfoHash;
    use crate::proto::peer::mse::{Agreed, Answering, Encryption, Opening};

    const HASH: InfoHash = InfoHash([1; 20]);

    /// Shakes hands. What came with the handshake, of 5 bytes that are encrypted in any case, and how each side goes on.
    fn hands(encryption: Encryption) -> (Agreed, Agreed, Vec<u8>) {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        let mut rng = fastrand::Rng::with_seed(1);
        let mut a = Opening::new(HASH, b"first", encryption, [1; 20], &mut rng, &mut there);
        let mut b = Answering::new(Encryption::Plain, [2; 20], rng);
        let mut answer = |there: &[u8], back: &mut Vec<u8>| {
            let mut from = there;
            let agreed = b.handle(&mut from, |_| Some(HASH), back).unwrap();
            (agreed, from.to_vec())
        };
        answer(&there, &mut back);
        there.clear();
        a.handle(&mut &back[..], &mut there).unwrap();
        back.clear();
        let (b, ahead) = answer(&there, &mut back);
        let a = a.handle(&mut &back[..], &mut there).unwrap();
        (a.unwrap(), b.unwrap(), ahead)
    }

    #[test]
    fn what_came_early_and_what_comes_later_is_one_stream_in_any_portions() {
        let text: Vec<u8> = (0..500).map(|i| (i % 251) as u8).collect();
        for encryption in [Encryption::Preferred, Encryption::Required] {
            let (a, b, ahead) = hands(encryption);
            assert_eq!(b.sending.is_some(), encryption == Encryption::Required);
            for portion in [1, 3, 7, 100, 1000] {
                let mut wire = text.clone();
                if let Some(cipher) = &mut a.sending.clone() {
                    cipher.apply(&mut wire);
                }
                let ahead = Ahead {
                    bytes: ahead.clone(),
                    cipher: b.receiving.clone(),
                };
                let mut from = ahead.of(&wire[..]);
                let mut got = Vec::new();
                loop {
                    let (mut one, mut other) = (vec![0; portion], vec![0; 2]);
                    let parts = &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
                    let n = from.read_vectored(parts).unwrap();
                    got.extend(one.into_iter().chain(other).take(n));
                    if n == 0 {
                        break;
                    }
                }
                assert_eq!(got, [b"first", &text[..]].concat());
            }
        }
    }

    #[test]
    fn a_plain_stream_is_left_as_it_is() {
        let mut got = Vec::new();
        let mut from = Ahead::default().of(&b"plain"[..]);
        assert_eq!(from.read_to_end(&mut got).unwrap(), 5);
        assert_eq!(got, b"plain");
        assert!(from.into_ahead().bytes.is_empty());
    }
}
