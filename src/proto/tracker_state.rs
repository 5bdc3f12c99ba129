//! What a tracker remembers for its next run: completed counts, accounts, and peers.
//!
//! A bencoded dictionary `{"hivebt tracker": 1, "sha1": <of the state's raw bytes>, "state": {…}}`. What there are many of is packed: rows of fixed
//! layout, numbers with the most significant byte first. A file that is cut short, altered or of another kind or version is an error, and nothing of it
//! is believed.

use std::net::{IpAddr, SocketAddr};

use super::sealed::Seal;
use crate::base::bencode::{Dict, Document, Limits, Value};
use crate::base::id::{InfoHash, PeerId};

const SEAL: Seal = Seal {
    kind: "hivebt tracker",
    version: 1,
};

/// Ten million peers and four million users fit.
const LIMITS: Limits = Limits {
    size: 1 << 30,
    depth: 3,
    nodes: 8 << 20,
};

/// The state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackerState {
    /// When it was saved, in seconds since 1970.
    pub saved: u64,
    /// Downloads completed, for each swarm that has any.
    pub completed: Vec<(InfoHash, u32)>,
    /// Users of a private tracker; other rows name them by their position.
    pub users: Vec<UserRow>,
    /// What was told in its swarms.
    pub pools: Vec<PoolRow>,
    /// Swarms with their peers, if peers are kept.
    pub swarms: Vec<SwarmRow>,
}

/// A user's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The name.
    pub name: String,
    /// Bytes credited.
    pub uploaded: u64,
    /// Bytes received.
    pub downloaded: u64,
}

/// A swarm of a private tracker: who told what in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRow {
    /// Which one.
    pub hash: InfoHash,
    /// Bytes that were told as downloaded.
    pub downloaded: u64,
    /// Bytes of those that were credited as uploaded.
    pub credited: u64,
    /// Its users.
    pub members: Vec<MemberRow>,
    /// Their peers.
    pub sessions: Vec<SessionRow>,
}

/// A user in a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// Position of the user.
    pub user: u32,
    /// Bytes told as downloaded.
    pub downloaded: u64,
    /// Bytes credited as uploaded.
    pub credited: u64,
    /// Bytes claimed as uploaded beyond that.
    pub pending: u64,
}

/// A peer of a user in a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Position of the user.
    pub user: u32,
    /// The peer.
    pub peer_id: PeerId,
    /// The highest counters that it told.
    pub uploaded: u64,
    /// The same for what it received.
    pub downloaded: u64,
    /// Microseconds since it announced last.
    pub age: u64,
}

/// A swarm with its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmRow {
    /// Which one.
    pub hash: InfoHash,
    /// The most bytes that a peer ever lacked.
    pub size: u64,
    /// A row for each address of a peer: one with IPv4 and IPv6 has two.
    pub peers: Vec<PeerRow>,
}

/// A peer at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRow {
    /// Its id.
    pub id: PeerId,
    /// Where it is reached.
    pub addr: SocketAddr,
    /// Bytes that it lacks, if it said; rounded.
    pub left: Option<u64>,
    /// Whether it was counted as one that has completed its download.
    pub completed: bool,
    /// Seconds since it announced last.
    pub age: u32,
}

/// Why bytes are not a state of a tracker.
pub use super::sealed::SealError as StateError;

impl TrackerState {
    /// The state as bytes of a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut completed = Vec::with_capacity(self.completed.len() * 24);
        for (hash, count) in &self.completed {
            completed.extend_from_slice(&hash.0);
            completed.extend_from_slice(&count.to_be_bytes());
        }
        let users = self.users.iter().flat_map(|user| {
            let sums = [user.uploaded.to_be_bytes(), user.downloaded.to_be_bytes()].concat();
            [Value::from(user.name.as_str()), sums.into()]
        });
        let mut pools = Vec::new();
        self.pools.iter().for_each(|row| row.write(&mut pools));
        let mut swarms = Vec::new();
        self.swarms.iter().for_each(|row| row.write(&mut swarms));
        SEAL.close(&Value::dict([
            (&b"completed"[..], completed.into()),
            (b"pools", pools.into()),
            (
                b"saved",
                Value::Int(i64::try_from(self.saved).unwrap_or(i64::MAX)),
            ),
            (b"swarms", swarms.into()),
            (b"users", Value::List(users.collect())),
        ]))
    }

    /// Reads what [`TrackerState::to_bytes`] wrote.
    ///
    /// # Errors
    /// If a single bit is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, StateError> {
        let document = Document::parse(bytes, LIMITS).map_err(StateError::Bencode)?;
        Self::read(SEAL.open(&document)?)
    }

    fn read(state: Dict<'_>) -> Result<Self, StateError> {
        let saved = state.get(b"saved").and_then(|v| v.uint());
        let completed = rows(state, "completed", |from| {
            Some((InfoHash(from.array()?), from.u32()?))
        })?;
        let users = read_users(state).ok_or(StateError::Entry("users"))?;
        let known = |index: u32| (index as usize) < users.len();
        let pools = rows(state, "pools", |from| PoolRow::read(from, known))?;
        Ok(Self {
            saved: saved.ok_or(StateError::Entry("saved"))?,
            completed,
            pools,
            swarms: rows(state, "swarms", SwarmRow::read)?,
            users,
        })
    }
}

fn read_users(state: Dict<'_>) -> Option<Vec<UserRow>> {
    let mut items = state.get(b"users")?.list()?;
    let mut users = Vec::new();
    while let Some(name) = items.next() {
        let sums = items.next()?.bytes()?;
        let (sums, rest) = sums.as_chunks::<8>();
        let ([uploaded, downloaded], []) = (sums, rest) else {
            return None;
        };
        users.push(UserRow {
            name: name.text()?.to_owned(),
            uploaded: u64::from_be_bytes(*uploaded),
            downloaded: u64::from_be_bytes(*downloaded),
        });
    }
    Some(users)
}

/// The rows that are packed under `key`.
fn rows<T>(
    state: Dict<'_>,
    key: &'static str,
    mut read: impl FnMut(&mut Packed<'_>) -> Option<T>,
) -> Result<Vec<T>, StateError> {
    let bytes = state.get(key.as_bytes()).and_then(|v| v.bytes());
    let mut from = Packed(bytes.ok_or(StateError::Entry(key))?);
    let mut rows = Vec::new();
    while !from.0.is_empty() {
        rows.push(read(&mut from).ok_or(StateError::Entry(key))?);
    }
    Ok(rows)
}

impl PoolRow {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.0);
        out.extend_from_slice(&self.downloaded.to_be_bytes());
        out.extend_from_slice(&self.credited.to_be_bytes());
        count(self.members.len(), out);
        count(self.sessions.len(), out);
        for member in &self.members {
            out.extend_from_slice(&member.user.to_be_bytes());
            for n in [member.downloaded, member.credited, member.pending] {
                out.extend_from_slice(&n.to_be_bytes());
            }
        }
        for session in &self.sessions {
            out.extend_from_slice(&session.user.to_be_bytes());
            out.extend_from_slice(&session.peer_id.0);
            for n in [session.uploaded, session.downloaded, session.age] {
                out.extend_from_slice(&n.to_be_bytes());
            }
        }
    }

    fn read(from: &mut Packed<'_>, known: impl Fn(u32) -> bool) -> Option<Self> {
        let mut row = Self {
            hash: InfoHash(from.array()?),
            downloaded: from.u64()?,
            credited: from.u64()?,
            members: Vec::new(),
            sessions: Vec::new(),
        };
        let (members, sessions) = (from.u32()?, from.u32()?);
        for _ in 0..members {
            row.members.push(MemberRow {
                user: from.u32().filter(|n| known(*n))?,
                downloaded: from.u64()?,
                credited: from.u64()?,
                pending: from.u64()?,
            });
        }
        for _ in 0..sessions {
            row.sessions.push(SessionRow {
                user: from.u32().filter(|n| known(*n))?,
                peer_id: PeerId(from.array()?),
                uploaded: from.u64()?,
                downloaded: from.u64()?,
                age: from.u64()?,
            });
        }
        Some(row)
    }
}

/// What stands for an unknown number of bytes.
const UNKNOWN: u64 = u64::MAX;

impl SwarmRow {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.0);
        out.extend_from_slice(&self.size.to_be_bytes());
        count(self.peers.len(), out);
        for peer in &self.peers {
            let v6 = peer.addr.is_ipv6();
            out.push(u8::from(v6) | u8::from(peer.completed) << 1);
            out.extend_from_slice(&peer.id.0);
            match peer.addr.ip() {
                IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
            }
            out.extend_from_slice(&peer.addr.port().to_be_bytes());
            out.extend_from_slice(&peer.left.unwrap_or(UNKNOWN).to_be_bytes());
            out.extend_from_slice(&peer.age.to_be_bytes());
        }
    }

    fn read(from: &mut Packed<'_>) -> Option<Self> {
        let mut row = Self {
            hash: InfoHash(from.array()?),
            size: from.u64()?,
            peers: Vec::new(),
        };
        for _ in 0..from.u32()? {
            let [flags] = from.array()?;
            if flags > 3 {
                return None;
            }
            let id = PeerId(from.array()?);
            let ip: IpAddr = if flags & 1 == 0 {
                from.array::<4>()?.into()
            } else {
                from.array::<16>()?.into()
            };
            row.peers.push(PeerRow {
                id,
                addr: (ip, u16::from_be_bytes(from.array()?)).into(),
                left: Some(from.u64()?).filter(|n| *n != UNKNOWN),
                completed: flags & 2 != 0,
                age: from.u32()?,
            });
        }
        Some(row)
    }
}

fn count(n: usize, out: &mut Vec<u8>) {
    let n = u32::try_from(n).expect("fewer rows than 2^32: each takes up memory");
    out.extend_from_slice(&n.to_be_bytes());
}

/// Rows yet to be read.
struct Packed<'a>(&'a [u8]);

impl Packed<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sealed::tests::{assert_sealed, reseal};
    use super::*;

    fn sample() -> TrackerState {
        let user = |name: &str, uploaded| UserRow {
            name: name.into(),
            uploaded,
            downloaded: 7,
        };
        let peer = |addr: &str, left, completed| PeerRow {
            id: PeerId(*b"-XX0001-0123456789ab"),
            addr: addr.parse().unwrap(),
            left,
            completed,
            age: 299,
        };
        let pool = PoolRow {
            hash: InfoHash([3; 20]),
            downloaded: 1000,
            credited: 900,
            members: vec![MemberRow {
                user: 1,
                downloaded: 1,
                credited: 2,
                pending: u64::MAX,
            }],
            sessions: vec![SessionRow {
                user: 0,
                peer_id: PeerId([0xff; 20]),
                uploaded: u64::MAX,
                downloaded: 0,
                age: 1_500_000,
            }],
        };
        let swarm = SwarmRow {
            hash: InfoHash([9; 20]),
            size: 1 << 40,
            peers: vec![
                peer("10.0.0.1:6881", Some(0), true),
                peer("[2001:db8::1]:1", None, false),
            ],
        };
        TrackerState {
            saved: 1_700_000_000,
            completed: vec![(InfoHash([1; 20]), 5), (InfoHash([2; 20]), u32::MAX)],
            users: vec![user("alice", u64::MAX), user("Zoë", 0)],
            pools: vec![
                pool.clone(),
                PoolRow {
                    sessions: vec![],
                    ..pool
                },
            ],
            swarms: vec![swarm],
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        for state in [sample(), TrackerState::default()] {
            assert_eq!(TrackerState::parse(&state.to_bytes()), Ok(state));
        }
    }

    #[test]
    fn a_state_that_is_altered_cut_short_or_impossible_is_an_error() {
        let good = sample().to_bytes();
        let telling = [0, 1, b'0', b'9', b'd', b'e', b'i', b'l', 0x7f, 0xff];
        let refused = assert_sealed(&good, &telling, |bytes| TrackerState::parse(bytes).is_err());
        assert!(refused > 500, "{refused}");
        assert_eq!(
            TrackerState::parse(&reseal(&good, b"de")),
            Err(StateError::Entry("completed"))
        );
        assert_eq!(
            TrackerState::parse(b"d14:hivebt trackeri2ee"),
            Err(StateError::Version(2, 1))
        );
    }
}
