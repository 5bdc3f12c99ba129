//! The swarm's end of a connection, to a peer or to a web seed.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::core::swarm::event::Close;
use crate::proto::peer::message::Message;

use super::outbox::Outbox;
use super::stream::Stream;
use super::web_seed::Wishes;

/// The swarm's end of a connection.
pub(super) struct Link {
    /// Where it leads, as the swarm knows it.
    pub(super) addr: SocketAddr,
    pub(super) far: Far,
}

/// Who is at the other end.
pub(super) enum Far {
    Peer(Arc<Outbox>, Arc<Stream>),
    WebSeed(Arc<Wishes>),
}

impl Link {
    /// Whether it has taken the message: not if it lets too much pile up.
    pub(super) fn send(&self, message: &Message<'_>) -> bool {
        match &self.far {
            Far::Peer(outbox, _) => outbox.send(message),
            Far::WebSeed(wishes) => {
                wishes.send(message);
                true
            }
        }
    }

    /// Blocks wait to be sent.
    pub(super) fn serve(&self) {
        if let Far::Peer(outbox, _) = &self.far {
            outbox.serve();
        }
    }

    /// We want no pieces.
    pub(super) fn upload_only(&self) {
        if let Far::Peer(outbox, _) = &self.far {
            outbox.upload_only();
        }
    }

    /// Ends the connection.
    pub(super) fn end(&self, reason: Close) {
        if reason.is_its_fault() {
            self.cut(reason);
        } else {
            self.close(reason);
        }
    }

    /// Wakes the connection's threads for good; the one that reads then reports the end.
    pub(super) fn close(&self, reason: Close) {
        match &self.far {
            Far::Peer(outbox, stream) => {
                outbox.close();
                stream.hang_up();
            }
            Far::WebSeed(wishes) => wishes.end(reason),
        }
    }

    /// The same for a peer that nothing more is said to, not even what is on its way.
    pub(super) fn cut(&self, reason: Close) {
        if let Far::Peer(_, stream) = &self.far {
            stream.reset_at_end();
        }
        self.close(reason);
    }
}
