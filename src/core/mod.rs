//! Floor 2, decisions: what happens next, given what happened and when. No socket, file, thread, lock, clock, log or print.

pub mod announce;
mod back_off;
pub mod dht;
pub mod keep;
pub mod lsd;
pub mod port_mapping;
pub mod rate;
pub mod shares;
pub mod swarm;
pub mod tracker;
pub mod udp_announce;
pub mod utp;
pub mod web_seed;
