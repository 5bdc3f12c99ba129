//! An `info` dictionary in the making. It takes no more memory than what has come.

use std::collections::BTreeSet;

use crate::base::id::InfoHash;
use crate::base::sha1;
use crate::proto::peer::metadata;

use super::super::event::PeerKey;

/// See the module.
#[derive(Debug)]
pub(super) struct Copy {
    size: u32,
    parts: Vec<Option<Box<[u8]>>>,
    missing: u32,
    givers: BTreeSet<PeerKey>,
}

impl Copy {
    /// Nothing yet of `size` bytes, which must be within [`metadata::MAX_SIZE`].
    pub(super) fn new(size: u32) -> Self {
        let parts = metadata::parts(size);
        Self {
            size,
            parts: vec![None; parts as usize],
            missing: parts,
            givers: BTreeSet::new(),
        }
    }

    /// Bytes of the whole.
    pub(super) const fn size(&self) -> u32 {
        self.size
    }

    /// Parts that are there, and parts in all.
    pub(super) fn progress(&self) -> (u32, u32) {
        let all = metadata::parts(self.size);
        (all - self.missing, all)
    }

    /// Whether nothing is missing.
    pub(super) const fn is_full(&self) -> bool {
        self.missing == 0
    }

    /// The parts that are missing.
    pub(super) fn missing(&self) -> impl Iterator<Item = u32> {
        let parts = (0..).zip(&self.parts);
        parts.filter_map(|(n, part)| part.is_none().then_some(n))
    }

    /// Whether `data` has the length that this part has.
    pub(super) fn fits(&self, part: u32, data: &[u8]) -> bool {
        let len = metadata::part_len(self.size, part);
        len > 0 && data.len() == len as usize
    }

    /// Takes in a part that fits, unless it is there.
    pub(super) fn insert(&mut self, part: u32, data: &[u8], from: PeerKey) {
        if let Some(place) = self.parts.get_mut(part as usize)
            && place.is_none()
        {
            *place = Some(data.into());
            self.missing -= 1;
            self.givers.insert(from);
        }
    }

    /// Whoever has sent a part of it that was kept.
    pub(super) const fn givers(&self) -> &BTreeSet<PeerKey> {
        &self.givers
    }

    /// The dictionary, if all of it is there and it is the one of this name.
    pub(super) fn verified(&self, info_hash: InfoHash) -> Option<Vec<u8>> {
        let there = || self.parts.iter().flatten().map(|part| &**part);
        let good = self.is_full() && sha1::digest_parts(there()) == info_hash.0;
        good.then(|| there().collect::<Vec<_>>().concat())
    }
}
