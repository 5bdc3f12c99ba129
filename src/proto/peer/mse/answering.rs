//! The side that was dialled.

use crate::base::id::InfoHash;
use crate::base::sha1::Digest;

use super::{
    Agreed, Encryption, Fault, Field, KEY_LEN, PRIVATE_LEN, RC4, Rc4, Receiving, Secret,
    VERIFICATION, dh, pad, padding,
};

/// An encrypted handshake that somebody else has begun.
#[derive(Clone, Debug)]
pub struct Answering {
    private: [u8; PRIVATE_LEN],
    rng: fastrand::Rng,
    encryption: Encryption,
    field: Field,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Their public key is to come,
    Key,
    /// then a mark behind a padding,
    Sync(Secret),
    /// the torrent,
    Torrent(Secret),
    /// the methods and the length of another padding,
    Methods(Keyed),
    /// that, and the length of what goes with the handshake.
    Pad {
        keyed: Keyed,
        method: u32,
        left: usize,
    },
}

#[derive(Clone, Debug)]
struct Keyed {
    info_hash: InfoHash,
    theirs: Rc4,
    ours: Rc4,
}

impl Answering {
    /// Waits for the first byte. `private` is random and nobody else's, `rng` only makes paddings.
    #[must_use]
    pub fn new(encryption: Encryption, private: [u8; PRIVATE_LEN], rng: fastrand::Rng) -> Self {
        Self {
            private,
            rng,
            encryption,
            field: Field::new(),
            stage: Stage::Key,
        }
    }

    /// Takes the bytes that come next off the front of `from`, and puts what is to be sent into `out`. `find` tells which torrent of ours has a
    /// [`disguise`](super::disguise). Once all is agreed on, what is left in `from` belongs to the stream.
    ///
    /// # Errors
    /// If the far end does not keep to the protocol, or wants what we do not have; there is no way on from there.
    pub fn handle(
        &mut self,
        from: &mut &[u8],
        find: impl Fn(&Digest) -> Option<InfoHash>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Agreed>, Fault> {
        loop {
            match &mut self.stage {
                Stage::Key => {
                    let Some(key) = self.field.take::<KEY_LEN>(from) else {
                        return Ok(None);
                    };
                    let secret = dh::shared_secret(&self.private, &key).ok_or(Fault::Key)?;
                    out.extend_from_slice(&dh::public_key(&self.private));
                    pad(&mut self.rng, out);
                    self.stage = Stage::Sync(Secret(secret));
                }
                Stage::Sync(secret) => {
                    if !self.field.pass(&secret.mark(), from)? {
                        return Ok(None);
                    }
                    self.stage = Stage::Torrent(secret.clone());
                }
                Stage::Torrent(secret) => {
                    let Some(masked) = self.field.take(from) else {
                        return Ok(None);
                    };
                    let info_hash = find(&secret.mask(masked)).ok_or(Fault::UnknownTorrent)?;
                    let (theirs, ours) = secret.ciphers(info_hash);
                    self.stage = Stage::Methods(Keyed {
                        info_hash,
                        theirs,
                        ours,
                    });
                }
                Stage::Methods(keyed) => {
                    let Some(mut bytes) = self.field.take::<14>(from) else {
                        return Ok(None);
                    };
                    keyed.theirs.apply(&mut bytes);
                    let [zeros @ .., a, b, c, d, e, f] = bytes;
                    if zeros != VERIFICATION {
                        return Err(Fault::Verification);
                    }
                    let offered = u32::from_be_bytes([a, b, c, d]);
                    self.stage = Stage::Pad {
                        keyed: keyed.clone(),
                        method: self.encryption.choose(offered).ok_or(Fault::Method)?,
                        left: padding([e, f])?,
                    };
                }
                Stage::Pad {
                    keyed,
                    method,
                    left,
                } => {
                    let (padding, rest) = from.split_at(from.len().min(*left));
                    keyed.theirs.skip(padding.len());
                    *left -= padding.len();
                    *from = rest;
                    let Some(mut len) = self.field.take(from) else {
                        return Ok(None);
                    };
                    keyed.theirs.apply(&mut len);
                    let beginning = u16::from_be_bytes(len).into();
                    return Ok(Some(keyed.agree(*method, beginning, out)));
                }
            }
        }
    }
}

impl Keyed {
    /// Says which method it is. The first `beginning` bytes of their stream are encrypted in any case.
    fn agree(&self, method: u32, beginning: usize, out: &mut Vec<u8>) -> Agreed {
        let (theirs, mut ours) = (self.theirs.clone(), self.ours.clone());
        let encrypted = out.len();
        out.extend_from_slice(&VERIFICATION);
        out.extend_from_slice(&method.to_be_bytes());
        // No second padding: the specification keeps it for what may come.
        out.extend_from_slice(&[0, 0]);
        ours.apply(&mut out[encrypted..]);
        let all = method == RC4;
        Agreed {
            info_hash: self.info_hash,
            sending: all.then_some(ours),
            receiving: (all || beginning > 0).then_some(Receiving {
                cipher: theirs,
                left: (!all).then_some(beginning),
            }),
        }
    }
}
