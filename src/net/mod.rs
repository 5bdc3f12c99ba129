//! Floor 3, pipes without opinions: listening, dialling, HTTP, datagrams.

pub mod datagrams;
pub mod decrypted;
pub mod gate;
pub mod gateway;
pub mod http_client;
pub mod http_server;
pub mod inbox;
pub mod interfaces;
pub mod random;
mod sockets;

pub use sockets::{multicast, tcp, udp};
