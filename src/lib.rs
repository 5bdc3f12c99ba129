//! # hivebt
//!
//! Moves big files to many hosts over BitTorrent. This library is what the programs `hivebt-create`, `hivebt-tracker` and
//! `hivebt-peer` share; each program is ten lines around [`app`].
//!
//! ## Floors
//! Each floor uses only those below it; `core`, `disk` and `net` never import one another. `tests/house.rs` holds this.
//!
//! | floor | folder | what lives there |
//! | --- | --- | --- |
//! | 4 | [`app`] | composition: sessions, announcing, progress, wording, exit codes, the three programs |
//! | 3 | [`disk`], [`net`] | files; sockets. Pipes without opinions |
//! | 2 | [`core`] | decisions: `handle(now, event) → actions`. No socket, file, thread, lock, clock or print |
//! | 1 | [`proto`] | bytes ⇄ checked values, both directions |
//! | 0 | [`base`] | words: ids, geometry, bencode. No I/O |
//!
//! ## One block, from the socket to the disk
//! A peer's reader thread ([`app::peer::connection`]) finds a `piece` frame ([`net::inbox`]), reads its payload straight into a
//! buffer of the [`disk::pool`], and hands both to its torrent ([`app::peer::torrent`]). Under the torrent's lock the swarm
//! ([`core::swarm`]) says whether the block is wanted, and the [`disk::assembly`] takes the buffer in. The last block of a piece sends
//! all of them to the hashing threads ([`disk::hasher`]), which compare the SHA-1 and write the piece ([`disk::storage`]). Only
//! then does the swarm hear that the piece is verified, and tells the neighbours.
//!
//! ## One announce, from the port to the reply
//! The gate ([`net::gate`]) accepts the connection and finds the request. [`proto::tracker::http`] turns it into an
//! [`AnnounceRequest`](proto::tracker::AnnounceRequest), the swarm's shard ([`core::tracker`]) answers under its lock, and the
//! gate writes what `proto` makes of the answer. Over UDP it is the same between [`net::datagrams`] and [`proto::tracker::udp`]; the peer's side
//! of it is decided in [`core::udp_announce`]. Pages for people go to `tiny_http` behind the gate.
//!
//! ## Threads
//! | thread | how many | blocks on | woken by |
//! | --- | --- | --- | --- |
//! | `accept` | one a process, but with `--utp-only` | `accept` | a connection |
//! | `peer` | one a connection: dials or answers ([`app::peer::greeting`]), then reads | `connect`, `recv` (10 s until hands are shaken) | bytes, or the socket's shutdown |
//! | `peer-writer` | one a connection | its outbox, `send` (60 s in which nothing goes) | messages, blocks to serve, a limit's grant, or the socket's shutdown |
//! | `web-seed` | one for each web seed of a torrent, eight at most | what it is asked for; an answer (30 s of silence, 10 s to connect) | requests, the end; its requests are broken off |
//! | `timer` | one a torrent | the swarm's deadline | an earlier deadline, the end |
//! | `limit` | one for each direction that has ever had a limit | the moment of the next grant | a claim, another limit |
//! | `fetcher` | one a magnet link whose metadata is not there yet | the next second, the next dial | news of a peer, the end |
//! | `lsd` | with `--lsd`, one a family | a datagram (1 s) | a datagram |
//! | `announcer` | one a torrent | the next announce, HTTP or UDP (10 s) | completion, the end |
//! | `port-mapping` | one, where it is wanted | the next renewal; the gateway (2 s for each protocol, 3 s for a request over HTTP) | the end |
//! | `hash-N` | one a core, four at most | the queue of finished pieces | a piece, the end |
//! | `examine`, `reuse`, `publish`, `remove`, `on-complete`, `farewell`, `resolver` | when needed | files; a command; HTTP or UDP (2.5 s); a name's address | – |
//! | `dht` | one, with `--dht` | its UDP socket, or what `utp` hands on (half a second at most) | a datagram, the node's deadline, the end |
//! | `utp` | one, with `--utp` | its UDP socket (half a second at most) | a datagram, a connection's deadline |
//! | `signals` | one | signals | a signal |
//! | `gate 0`, `pages`, `relay N` | six, where the status is served | epoll; a request (half a second); the run's answer (10 s) | a connection; the gate; the run |
//! | main | one | occurrences, one second at a time | any of the above, a question over HTTP |
//!
//! The tracker has a few epoll workers, which never block on a connection, a `datagrams` thread with a socket of its own for each core and address (eight at most), one thread of
//! `tiny_http`, a caretaker, with `--torrents` one that looks through the folder, with `--dht-node-port` one named `dht`, and one named `reach` for each
//! dial that somebody asks for (eight at most, 3 s each); its main thread writes the state file.
//!
//! ## One question, from a browser to the page
//! Where `hivebt-peer` serves its status ([`app::peer::status`]), the gate lets the guard judge the head before it takes a body; a route turns the request into an
//! [`Ask`](app::peer::api::Ask), which goes to the main thread like any other occurrence. There alone torrents come and go ([`app::peer::watched`]). What comes back is one
//! [`Overview`](app::peer::overview::Overview), and page, JSON and metrics are made of it.
//!
//! ## Glossary
//! - **info-hash**: the SHA-1 of a torrent's `info` dictionary; names the swarm.
//! - **piece**: what is hashed, 64 KiB to 128 MiB. **block**: what is requested, 16 KiB.
//! - **seed**: a peer with every piece; **leecher**: any other. **origin**: the first seed, while it is the only one.
//! - **choke**: to refuse requests for the time being. **interested**: lacking something that the other has. Who does what
//!   to whom: `am_choking`, `am_interested`, `peer_choking`, `peer_interested`.
//! - **have**: the message that a piece is there. **announce**, **scrape**: what is asked of a tracker.
//! - **payload**: the file or folder that a torrent is about.
//!
//! ## Standards
//! | BEP | subject | where |
//! | --- | --- | --- |
//! | 3 | torrents, peer wire, HTTP trackers | [`base::bencode`], [`proto::metainfo`], [`proto::peer`], [`proto::tracker`] |
//! | 5, 32, 42, 43 | DHT, over IPv6 too; ids that befit addresses; nodes that answer nobody; nodes in torrents | [`proto::krpc`], [`base::node`], [`core::dht`], [`proto::metainfo`] |
//! | 6 | fast extension | [`proto::peer::message`], [`core::swarm`] |
//! | 7, 23 | IPv6 and compact peers | [`base::endpoint`], [`proto::tracker::http`] |
//! | 9, 53 | magnet links, metadata | [`proto::magnet`], [`proto::peer::metadata`], [`core::swarm::metadata`], [`app::peer::fetcher`] |
//! | 10 | extension handshake | [`proto::peer::extended`] |
//! | 11 | peers of peers | [`proto::peer::pex`], [`core::swarm`] |
//! | 12 | tiers of trackers | [`core::announce`] |
//! | 14 | local discovery | [`proto::lsd`], [`core::lsd`], [`net::multicast`], [`app::peer::local`] |
//! | 15, 41 | UDP trackers | [`proto::tracker::udp`], [`core::tracker::ConnectionIds`], [`net::datagrams`], [`core::udp_announce`] |
//! | 19 | web seeds | [`proto::web_seed`], [`core::swarm`], [`app::peer::web_seed`] |
//! | 16 | super-seeding | [`core::swarm`] |
//! | 20 | peer ids | [`base::id`] |
//! | 21 | upload only | [`proto::peer::extended`] |
//! | 24, 31, 48 | external address, retry, scrape | [`proto::tracker`] |
//! | 29 | uTP: streams over UDP that make room for other traffic (RFC 6817) | [`proto::utp`], [`core::utp`], [`app::peer::utp`], [`app::peer::stream`] |
//! | 40 | canonical peer priority | [`core::swarm`], [`base::crc32c`] |
//! | 47 | pad files, attributes | [`proto::metainfo`] |
//! | – | message stream encryption | [`proto::peer::mse`], [`app::peer::greeting`], [`net::decrypted`] |
//! | RFC 6886, 6887 and UPnP IGD | port mapping | [`proto::portmap`], [`core::port_mapping`], [`net::gateway`], [`app::peer::port_mapping`] |

#![doc = include_str!("requirements.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod app;
pub mod base;
pub mod core;
pub mod disk;
pub mod net;
pub mod proto;
