//! The side that has dialled.

use crate::base::id::InfoHash;

use super::{
    Agreed, Encryption, Fault, Field, KEY_LEN, PLAIN, PRIVATE_LEN, RC4, Rc4, Receiving, Secret,
    VERIFICATION, dh, disguise, pad, padding,
};

/// An encrypted handshake that we have begun.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    private: [u8; PRIVATE_LEN],
    info_hash: InfoHash,
    /// What goes with the handshake.
    beginning: &'a [u8],
    offer: u32,
    field: Field,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Their public key is to come,
    Key,
    /// then what their cipher makes of zeros, behind a padding,
    Sync { mark: [u8; 8], ciphers: (Rc4, Rc4) },
    /// the method and the length of another padding,
    Method { ciphers: (Rc4, Rc4) },
    /// and that.
    Pad {
        ciphers: (Rc4, Rc4),
        method: u32,
        left: usize,
    },
}

impl<'a> Opening<'a> {
    /// Begins a handshake about a torrent. Puts what is to be sent first into `out`. `private` is random and nobody else's, `rng` only makes paddings;
    /// `beginning`, at most 65,535 bytes, are the first bytes of the stream.
    pub fn new(
        info_hash: InfoHash,
        beginning: &'a [u8],
        encryption: Encryption,
        private: [u8; PRIVATE_LEN],
        rng: &mut fastrand::Rng,
        out: &mut Vec<u8>,
    ) -> Self {
        out.extend_from_slice(&dh::public_key(&private));
        pad(rng, out);
        Self {
            private,
            info_hash,
            beginning,
            offer: encryption.offer(),
            field: Field::new(),
            stage: Stage::Key,
        }
    }

    /// Takes the bytes that come next off the front of `from`, and puts what is to be sent into `out`. Once all is agreed on, what is left in `from` belongs to
    /// the stream.
    ///
    /// # Errors
    /// If the far end does not keep to the protocol; there is no way on from there.
    pub fn handle(&mut self, from: &mut &[u8], out: &mut Vec<u8>) -> Result<Option<Agreed>, Fault> {
        loop {
            match &mut self.stage {
                Stage::Key => {
                    let Some(key) = self.field.take::<KEY_LEN>(from) else {
                        return Ok(None);
                    };
                    let secret = dh::shared_secret(&self.private, &key).ok_or(Fault::Key)?;
                    self.stage = self.offer(&Secret(secret), out);
                }
                Stage::Sync { mark, ciphers } => {
                    if !self.field.pass(mark, from)? {
                        return Ok(None);
                    }
                    ciphers.1.skip(mark.len());
                    let ciphers = ciphers.clone();
                    self.stage = Stage::Method { ciphers };
                }
                Stage::Method { ciphers } => {
                    let Some(mut bytes) = self.field.take::<6>(from) else {
                        return Ok(None);
                    };
                    ciphers.1.apply(&mut bytes);
                    let [a, b, c, d, len @ ..] = bytes;
                    let method = u32::from_be_bytes([a, b, c, d]);
                    if ![PLAIN, RC4].contains(&method) || method & self.offer == 0 {
                        return Err(Fault::Method);
                    }
                    self.stage = Stage::Pad {
                        ciphers: ciphers.clone(),
                        method,
                        left: padding(len)?,
                    };
                }
                Stage::Pad {
                    ciphers,
                    method,
                    left,
                } => {
                    let (padding, rest) = from.split_at(from.len().min(*left));
                    ciphers.1.skip(padding.len());
                    *left -= padding.len();
                    *from = rest;
                    if *left > 0 {
                        return Ok(None);
                    }
                    let encrypted = (*method == RC4).then(|| ciphers.clone());
                    let (sending, receiving) = encrypted.unzip();
                    return Ok(Some(Agreed {
                        info_hash: self.info_hash,
                        sending,
                        receiving: receiving.map(|cipher| Receiving { cipher, left: None }),
                    }));
                }
            }
        }
    }

    /// Says which torrent it is about and what we take.
    fn offer(&self, secret: &Secret, out: &mut Vec<u8>) -> Stage {
        let (mut ours, theirs) = secret.ciphers(self.info_hash);
        out.extend_from_slice(&secret.mark());
        out.extend_from_slice(&secret.mask(disguise(self.info_hash)));
        let encrypted = out.len();
        out.extend_from_slice(&VERIFICATION);
        out.extend_from_slice(&self.offer.to_be_bytes());
        // No second padding: the specification keeps it for what may come.
        out.extend_from_slice(&[0, 0]);
        let len = u16::try_from(self.beginning.len()).unwrap_or(u16::MAX);
        let beginning = &self.beginning[..len.into()];
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(beginning);
        ours.apply(&mut out[encrypted..]);
        let mut mark = VERIFICATION;
        theirs.clone().apply(&mut mark);
        Stage::Sync {
            mark,
            ciphers: (ours, theirs),
        }
    }
}
