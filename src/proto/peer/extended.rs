//! The extension handshake (BEP 10): who I am, how many requests I queue, which extensions I speak.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::base::bencode::{Document, Limits, Value};

use super::message::Message;

/// The id of the handshake among extended messages.
pub const HANDSHAKE_ID: u8 = 0;

/// The number under which we receive metadata (BEP 9).
pub const UT_METADATA: u8 = 1;

/// The number under which we receive peers of peers (BEP 11).
pub const UT_PEX: u8 = 2;

/// Bytes of a name that are kept.
const LONGEST_NAME: usize = 64;

/// What a peer says about itself. Every part is optional on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedHandshake {
    /// Extensions by name, and the number under which the sender wants to receive each; 0 switches one off.
    pub extensions: BTreeMap<String, u8>,
    /// Name and version of the program.
    pub client: Option<String>,
    /// The port at which the sender listens.
    pub listen_port: Option<u16>,
    /// How many requests the sender queues before it drops some.
    pub request_queue: Option<u32>,
    /// The receiver's address as the sender sees it.
    pub your_ip: Option<IpAddr>,
    /// The sender wants no pieces (BEP 21).
    pub upload_only: bool,
    /// The sender has all that it wants, even if it seems to have nothing. Only ours say and hear this (`hm_seed`): with `upload_only`, libtorrent
    /// leaves who shows it nothing new.
    pub seed: bool,
    /// Bytes of the `info` dictionary (BEP 9).
    pub metadata_size: Option<u32>,
}

impl ExtendedHandshake {
    /// The payload of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let extensions = self
            .extensions
            .iter()
            .map(|(name, &id)| (name.as_bytes(), Value::Int(i64::from(id))));
        let mut entries = vec![(&b"m"[..], Value::dict(extensions))];
        entries.extend(self.client.as_deref().map(|v| (&b"v"[..], Value::from(v))));
        entries.extend(
            self.listen_port
                .map(|p| (&b"p"[..], Value::Int(i64::from(p)))),
        );
        entries.extend(self.request_queue.map(|n| (&b"reqq"[..], Value::from(n))));
        entries.extend(
            self.your_ip
                .map(|ip| (&b"yourip"[..], Value::from(octets(ip)))),
        );
        entries.extend(
            self.upload_only
                .then_some((&b"upload_only"[..], Value::Int(1))),
        );
        entries.extend(self.seed.then_some((&b"hm_seed"[..], Value::Int(1))));
        entries.extend(
            self.metadata_size
                .map(|n| (&b"metadata_size"[..], Value::from(n))),
        );
        Value::dict(entries).to_bytes()
    }

    /// The number under which the sender wants to receive an extension, if it does.
    #[must_use]
    pub fn takes(&self, extension: &str) -> Option<u8> {
        let number = self.extensions.get(extension).copied();
        number.filter(|&number| number != 0)
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> Message<'static> {
        Message::Extended {
            id: HANDSHAKE_ID,
            payload: self.encode().into(),
        }
    }

    /// Reads the payload of the message. Parts of the wrong type or out of range count as absent; `None` only if it is no
    /// dictionary.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        // Some clients let bytes follow the dictionary.
        let (document, _) = Document::parse_prefix(payload, Limits::MESSAGE).ok()?;
        let dict = document.root().dict()?;
        let number = |key: &[u8]| dict.get(key).and_then(|v| v.uint());
        let bytes = |key: &[u8]| dict.get(key).and_then(|v| v.bytes());
        let extensions = dict
            .get(b"m")
            .and_then(|m| m.dict())
            .into_iter()
            .flat_map(|m| m.iter());
        Some(Self {
            extensions: extensions
                .filter_map(|(name, id)| {
                    Some((
                        String::from_utf8(name.to_vec()).ok()?,
                        u8::try_from(id.uint()?).ok()?,
                    ))
                })
                .collect(),
            client: bytes(b"v").map(client),
            listen_port: number(b"p")
                .and_then(|p| u16::try_from(p).ok())
                .filter(|&p| p != 0),
            request_queue: number(b"reqq").and_then(|n| u32::try_from(n).ok()),
            your_ip: bytes(b"yourip").and_then(address),
            upload_only: number(b"upload_only").is_some_and(|n| n != 0),
            seed: number(b"hm_seed").is_some_and(|n| n != 0),
            metadata_size: number(b"metadata_size").and_then(|n| u32::try_from(n).ok()),
        })
    }
}

/// A name of at most [`LONGEST_NAME`] bytes. What is no text takes more room than it did.
fn client(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_NAME)]);
    let mut end = text.len().min(LONGEST_NAME);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ExtendedHandshake {
        ExtendedHandshake {
            extensions: BTreeMap::from([("ut_metadata".into(), 2), ("ut_pex".into(), 1)]),
            client: Some("hivebt 0.1.0".into()),
            listen_port: Some(6881),
            request_queue: Some(500),
            your_ip: Some("10.0.0.7".parse().unwrap()),
            upload_only: true,
            seed: true,
            metadata_size: Some(31_235),
        }
    }

    #[test]
    fn a_handshake_survives_the_wire() {
        assert_eq!(
            ExtendedHandshake::decode(&sample().encode()),
            Some(sample())
        );
        let empty = ExtendedHandshake::default();
        assert_eq!(empty.encode(), b"d1:mdee");
        assert_eq!(ExtendedHandshake::decode(b"de"), Some(empty));
    }

    #[test]
    fn a_name_is_short_and_stays_what_it_is() {
        for (name, len) in [("x".repeat(80).as_bytes(), 64), (&[0xff; 70], 63)] {
            let said = [b"d1:v".to_vec(), format!("{}:", name.len()).into()].concat();
            let said = [&said, name, b"e"].concat();
            let read = ExtendedHandshake::decode(&said).unwrap();
            assert_eq!(read.client.as_ref().map(String::len), Some(len));
            assert_eq!(ExtendedHandshake::decode(&read.encode()), Some(read));
        }
    }

    #[test]
    fn parts_out_of_range_count_as_absent() {
        let odd = b"d1:md6:ut_pexi300e1:x1:ye1:pi70000e4:reqqi-5e1:vi3e6:yourip3:abce";
        assert_eq!(
            ExtendedHandshake::decode(odd),
            Some(ExtendedHandshake::default())
        );
        assert_eq!(ExtendedHandshake::decode(b"le"), None);
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_survived() {
        let good = sample().encode();
        for end in 0..good.len() {
            assert_eq!(ExtendedHandshake::decode(&good[..end]), None);
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let _ = ExtendedHandshake::decode(&bytes);
            }
        }
    }
}
