//! Bencoding (BEP 3): the notation of torrents, tracker replies and extension messages.
//!
//! [`Document::parse`] reads without copying and without recursion, within [`Limits`]; every [`Item`] knows the raw bytes that it was
//! read from, because an info-hash is taken over those and never over a re-encoding. [`Value`] writes, always in canonical form.

mod decode;
mod encode;

pub use decode::{Dict, Document, Error, Fault, Item, Limits};
pub use encode::Value;
