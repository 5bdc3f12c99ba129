//! Sockets with the options that the standard library does not know.

pub mod multicast;
pub mod tcp;
pub mod udp;
