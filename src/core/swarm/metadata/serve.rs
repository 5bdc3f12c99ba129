//! The metadata that others get from us (BEP 9).
//!
//! The metadata of a private torrent is for those who have its .torrent (BEP 27): it is not offered, and nobody gets any of it. Of any
//! other torrent, whoever knows the info-hash may have it, but nobody more than a few times.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::time::Time;
use crate::proto::metainfo::Metainfo;
use crate::proto::peer::message::Message;
use crate::proto::peer::metadata::{self, MetadataMessage, PART};

use super::super::Swarm;
use super::super::event::{Action, PeerKey};
use super::said;

/// How often a peer may ask for the whole on one connection; what it asks for beyond that is not even refused.
const COPIES: u32 = 3;
/// Parts that a peer may wait for; any further is refused.
const MAX_WAITING: usize = 64;

/// What a peer gets of our metadata.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Serving {
    /// The number under which it takes messages about metadata; 0 if it does not.
    pub(in super::super) number: u8,
    /// Parts that it waits for, oldest first.
    waiting: VecDeque<u32>,
    /// Requests that it has made.
    requests: u32,
}

impl Swarm {
    /// Lets others have the metadata, if they may.
    pub fn offer_metadata(&mut self, metainfo: &Arc<Metainfo>) {
        if Self::offered_size(metainfo).is_some() {
            self.metadata = Some(metainfo.clone());
        }
    }

    /// Bytes of the metadata that is offered for a torrent; `None` if it is private, or larger than anybody would take.
    #[must_use]
    pub fn offered_size(metainfo: &Metainfo) -> Option<u32> {
        let size = u32::try_from(metainfo.raw_info.len()).ok();
        size.filter(|&size| !metainfo.private && size > 0 && size <= metadata::MAX_SIZE)
    }

    /// A peer has sent a message about metadata.
    pub(in super::super) fn metadata_asked(
        &mut self,
        key: PeerKey,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) {
        let Some(MetadataMessage::Request(part)) = MetadataMessage::decode(payload) else {
            return;
        };
        let size = self.metadata.as_deref().and_then(Self::offered_size);
        let parts = size.map_or(0, metadata::parts);
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let serving = &mut peer.metadata;
        if serving.number == 0 || serving.requests >= COPIES * parts.max(1) {
            return;
        }
        serving.requests += 1;
        if part < parts && serving.waiting.len() < MAX_WAITING {
            serving.waiting.push_back(part);
            out.push(Action::Serve { peer: key });
        } else {
            out.push(said(key, serving.number, MetadataMessage::Reject(part)));
        }
    }

    /// The next part of the metadata that `peer` waits for. Called by its writer when it has nothing else to send, so that no more than one
    /// is on its way to a peer that does not read.
    pub fn next_metadata(&mut self, now: Time, peer: PeerKey) -> Option<Message<'static>> {
        let info = &self.metadata.as_ref()?.raw_info;
        let to = self.peers.get_mut(&peer)?;
        let part = to.metadata.waiting.pop_front()?;
        to.spoke = now;
        let mut parts = info.chunks(PART as usize);
        let message = MetadataMessage::Data {
            part,
            total_size: u32::try_from(info.len()).ok()?,
            data: parts.nth(part as usize)?,
        };
        Some(Message::Extended {
            id: to.metadata.number,
            payload: message.encode().into(),
        })
    }
}
