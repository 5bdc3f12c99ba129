//! What a DHT node remembers for its next run: its names, and good nodes to begin at.
//!
//! A bencoded dictionary `{"hivebt dht": 1, "sha1": <of the state's raw bytes>, "state": {…}}`. Nodes are packed as on the wire (BEP 5, BEP 32). A file that is cut
//! short, altered or of another kind or version is an error, and nothing of it is believed.

use super::krpc::{compact_nodes, contacts, node_len};
use super::sealed::Seal;
use crate::base::bencode::{Document, Limits, Value};
use crate::base::node::{Contact, NodeId};

const SEAL: Seal = Seal {
    kind: "hivebt dht",
    version: 1,
};

/// A thousand nodes fit.
const LIMITS: Limits = Limits {
    size: 64 << 10,
    depth: 3,
    nodes: 32,
};

/// The state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DhtState {
    /// The names of IPv4 and of IPv6.
    pub ids: [Option<NodeId>; 2],
    /// Good nodes of either family.
    pub nodes: Vec<Contact>,
}

/// Why bytes are not a state of a node.
pub use super::sealed::SealError as StateError;

const IDS: [&str; 2] = ["id", "id6"];
const NODES: [&str; 2] = ["nodes", "nodes6"];

impl DhtState {
    /// The state as bytes of a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let ids = IDS.into_iter().zip(&self.ids);
        let ids = ids.filter_map(|(key, id)| Some((key.as_bytes(), id.as_ref()?.0[..].into())));
        let nodes = NODES.into_iter().zip([false, true]);
        let nodes = nodes.map(|(key, is_v6)| {
            let nodes = compact_nodes(&self.nodes, is_v6);
            (key.as_bytes(), Value::from(nodes))
        });
        SEAL.close(&Value::dict(ids.chain(nodes)))
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// If they are anything else. Nothing of it is to be believed then.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let document = Document::parse(bytes, LIMITS).map_err(StateError::Bencode)?;
        let state = SEAL.open(&document)?;
        let bytes = |key: &str| Some(state.get(key.as_bytes())?.bytes().unwrap_or_default());
        let id = |key: &'static str| match bytes(key) {
            None => Ok(None),
            Some(id) => NodeId::from_slice(id)
                .map(Some)
                .ok_or(StateError::Entry(key)),
        };
        let mut nodes = Vec::new();
        for (key, is_v6) in NODES.into_iter().zip([false, true]) {
            let packed = bytes(key).ok_or(StateError::Entry(key))?;
            if packed.len() % node_len(is_v6) != 0 {
                return Err(StateError::Entry(key));
            }
            nodes.extend(contacts(packed, is_v6));
        }
        Ok(Self {
            ids: [id(IDS[0])?, id(IDS[1])?],
            nodes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sealed::tests::assert_sealed;
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written_or_not_at_all() {
        let node = |n: u8, addr: &str| Contact {
            id: NodeId([n; 20]),
            addr: addr.parse().unwrap(),
        };
        let state = DhtState {
            ids: [Some(NodeId([1; 20])), None],
            nodes: vec![
                node(2, "10.0.0.1:6881"),
                node(3, "10.0.0.2:6881"),
                node(4, "[2001:db8::1]:6881"),
            ],
        };
        let bytes = state.to_bytes();
        assert_eq!(DhtState::from_bytes(&bytes), Ok(state));
        let is_refused = |bytes: &[u8]| DhtState::from_bytes(bytes).is_err();
        assert!(assert_sealed(&bytes, b"0:eil", is_refused) > 0);
        let empty = DhtState::default();
        assert_eq!(DhtState::from_bytes(&empty.to_bytes()), Ok(empty));
    }
}
