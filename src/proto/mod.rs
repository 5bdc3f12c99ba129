//! Floor 1, bytes ⇄ checked values, in both directions. Nothing from outside gets past here unchecked.

pub mod config;
pub mod dht_state;
pub mod http_date;
pub mod keys;
pub mod krpc;
pub mod lsd;
pub mod magnet;
pub mod metainfo;
pub mod peer;
pub mod percent;
pub mod portmap;
pub mod resume;
mod sealed;
pub mod tracker;
pub mod tracker_state;
pub mod url;
pub mod utp;
pub mod web_seed;
