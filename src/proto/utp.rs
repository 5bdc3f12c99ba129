//! Packets of uTP (BEP 29): a header of 20 bytes, a chain of extensions, and payload. All numbers are in network order.

/// Bytes of the header alone.
pub const HEADER: usize = 20;

/// The version that BEP 29 describes.
const VERSION: u8 = 1;

/// The extension that says which packets after a missing one are there.
const SELECTIVE_ACK: u8 = 1;

/// The most extensions that are followed. Others send one, seldom two.
const MAX_EXTENSIONS: usize = 8;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Payload.
    Data = 0,
    /// The last packet of a direction; it takes a sequence number and carries no payload.
    Fin = 1,
    /// An acknowledgement and nothing else; it takes no sequence number.
    State = 2,
    /// The connection is gone.
    Reset = 3,
    /// The first packet of a connection.
    Syn = 4,
}

impl Kind {
    const fn from_number(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Data),
            1 => Some(Self::Fin),
            2 => Some(Self::State),
            3 => Some(Self::Reset),
            4 => Some(Self::Syn),
            _ => None,
        }
    }
}

/// Why a datagram is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Header or an extension is cut short.
    Short,
    /// Of another version.
    Version,
    /// Of a kind that nobody knows.
    Kind,
    /// More extensions than anybody sends.
    Extensions,
}

/// A packet, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is for.
    pub kind: Kind,
    /// By which the receiver knows the connection. That of a SYN is the one by which its sender will know the answers.
    pub connection_id: u16,
    /// When it was sent, in microseconds of the sender's clock, which wraps.
    pub timestamp: u32,
    /// How long the last packet of the other side took, by the difference of both clocks; microseconds, 0 if there was none.
    pub timestamp_difference: u32,
    /// Bytes that the sender still has room for.
    pub window: u32,
    /// Its number; that of the next packet, if it takes none itself.
    pub seq: u16,
    /// The last packet before which the sender misses none.
    pub ack: u16,
    /// Which packets from `ack + 2` on are there, the lowest bit of the first byte first. BEP 29 has multiples of 4
    /// bytes, which is what should be sent; libtorrent sends as many as it needs.
    pub selective: Option<&'a [u8]>,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram. Extensions that nobody knows are passed over.
    ///
    /// # Errors
    /// If it is no packet of uTP.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, Fault> {
        let (head, mut rest) = datagram.split_first_chunk::<HEADER>().ok_or(Fault::Short)?;
        if head[0] & 0xf != VERSION {
            return Err(Fault::Version);
        }
        let kind = Kind::from_number(head[0] >> 4).ok_or(Fault::Kind)?;
        let (mut extension, mut selective) = (head[1], None);
        let mut followed = 0;
        while extension != 0 {
            if followed == MAX_EXTENSIONS {
                return Err(Fault::Extensions);
            }
            followed += 1;
            let (&[next, len], after) = rest.split_first_chunk::<2>().ok_or(Fault::Short)?;
            let (body, after) = after.split_at_checked(len.into()).ok_or(Fault::Short)?;
            if extension == SELECTIVE_ACK {
                selective = Some(body);
            }
            (extension, rest) = (next, after);
        }
        let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let u32_at =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        Ok(Self {
            kind,
            connection_id: u16_at(2),
            timestamp: u32_at(4),
            timestamp_difference: u32_at(8),
            window: u32_at(12),
            seq: u16_at(16),
            ack: u16_at(18),
            selective,
            payload: rest,
        })
    }

    /// Appends the datagram to `out`. Of [`Packet::selective`] as much is written as an extension holds.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let selective = self.selective.map(|mask| &mask[..mask.len().min(252)]);
        let extension = if selective.is_some() {
            SELECTIVE_ACK
        } else {
            0
        };
        out.extend([((self.kind as u8) << 4) | VERSION, extension]);
        out.extend(self.connection_id.to_be_bytes());
        for number in [self.timestamp, self.timestamp_difference, self.window] {
            out.extend(number.to_be_bytes());
        }
        for number in [self.seq, self.ack] {
            out.extend(number.to_be_bytes());
        }
        if let Some(mask) = selective {
            // It fits: cut above.
            out.extend([0, u8::try_from(mask.len()).unwrap_or(u8::MAX)]);
            out.extend(mask);
        }
        out.extend(self.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Packet<'static> {
        Packet {
            kind: Kind::Data,
            connection_id: 0x1234,
            timestamp: 0x0102_0304,
            timestamp_difference: 0x0506_0708,
            window: 0x0010_0000,
            seq: 0xfffe,
            ack: 7,
            selective: Some(&[0x81, 0, 0, 0x40]),
            payload: b"payload",
        }
    }

    fn bytes(packet: &Packet<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        packet.encode(&mut out);
        out
    }

    #[test]
    fn a_packet_is_laid_out_as_bep_29_has_it() {
        let expected = b"\x01\x01\x12\x34\x01\x02\x03\x04\x05\x06\x07\x08\x00\x10\x00\x00\xff\xfe\x00\x07\x00\x04\x81\x00\x00\x40payload";
        assert_eq!(bytes(&sample()), expected);
        assert_eq!(Packet::decode(expected), Ok(sample()));
    }

    #[test]
    fn every_kind_survives_the_wire() {
        let kinds = [Kind::Data, Kind::Fin, Kind::State, Kind::Reset, Kind::Syn];
        for (kind, first) in kinds.into_iter().zip([0x01, 0x11, 0x21, 0x31, 0x41]) {
            let packet = Packet {
                kind,
                selective: None,
                payload: b"",
                ..sample()
            };
            let bytes = bytes(&packet);
            assert_eq!((bytes[0], bytes.len()), (first, HEADER));
            assert_eq!(Packet::decode(&bytes), Ok(packet));
        }
    }

    #[test]
    fn a_selective_acknowledgement_of_libtorrent_is_as_short_as_can_be() {
        let mut bytes = bytes(&sample());
        bytes[21] = 1;
        let read = Packet::decode(&bytes).unwrap();
        assert_eq!(read.selective, Some(&[0x81][..]));
        assert_eq!(read.payload.len(), 3 + 7);
    }

    #[test]
    fn unknown_extensions_are_passed_over_and_a_chain_has_an_end() {
        let mut head = bytes(&Packet {
            selective: None,
            payload: b"",
            ..sample()
        });
        head[1] = 2;
        // Extension bits, then a selective acknowledgement, then something new.
        let chain = [&[1, 2, 9, 9][..], &[77, 4, 1, 2, 3, 4], &[0, 0], b"rest"].concat();
        let long = [&head[..], &chain].concat();
        let read = Packet::decode(&long).unwrap();
        assert_eq!(read.selective, Some(&[1, 2, 3, 4][..]));
        assert_eq!(read.payload, b"rest");
        let links = |n: usize| [&head[..], &[3, 0].repeat(n - 1), &[0, 0]].concat();
        assert!(Packet::decode(&links(MAX_EXTENSIONS)).is_ok());
        assert_eq!(
            Packet::decode(&links(MAX_EXTENSIONS + 1)),
            Err(Fault::Extensions)
        );
    }

    #[test]
    fn what_is_no_packet_is_told_apart() {
        let good = bytes(&sample());
        let with = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            Packet::decode(&bad).map(|_| ())
        };
        assert_eq!(with(0, 0x02), Err(Fault::Version));
        assert_eq!(with(0, 0x51), Err(Fault::Kind));
        assert_eq!(with(21, 12), Err(Fault::Short));
        assert_eq!(with(20, 9), Err(Fault::Short));
        // On the same socket, one of the DHT begins with `d`, whose low half is no version.
        let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
        assert_eq!(Packet::decode(ping), Err(Fault::Version));
        assert_eq!(Packet::decode(&good[..HEADER - 1]), Err(Fault::Short));
        assert_eq!(Packet::decode(b""), Err(Fault::Short));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_survived() {
        let good = bytes(&sample());
        for end in 0..HEADER + 6 {
            assert_eq!(Packet::decode(&good[..end]), Err(Fault::Short), "{end}");
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.clone();
                bad[at] = byte;
                if let Ok(read) = Packet::decode(&bad) {
                    assert_eq!(Packet::decode(&bytes(&read)), Ok(read));
                }
            }
        }
    }

    #[test]
    fn noise_of_every_length_is_survived() {
        let mut rng = fastrand::Rng::with_seed(29);
        for _ in 0..200_000 {
            let mut noise: Vec<u8> = (0..rng.usize(..80)).map(|_| rng.u8(..)).collect();
            if let Some(first) = noise.first_mut() {
                *first = (*first & 0x7f & !0xf) | VERSION;
            }
            if let Ok(read) = Packet::decode(&noise) {
                assert_eq!(Packet::decode(&bytes(&read)), Ok(read));
            }
        }
    }
}
