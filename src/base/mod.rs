//! Floor 0, words: the vocabulary of the protocol as checked types. No I/O, no clock, no threads.

pub mod aligned;
pub mod bencode;
pub mod bitfield;
pub mod cidr;
pub mod crc32c;
pub mod endpoint;
pub mod filemap;
pub mod geometry;
pub mod glob;
pub mod id;
pub mod json;
pub mod node;
pub mod sha1;
pub mod siphash;
pub mod time;
