//! What two peers say to each other over TCP: handshake (BEP 3), messages (BEP 3, BEP 6), extensions (BEP 10), metadata (BEP 9), peers of peers (BEP 11).

pub mod extended;
pub mod handshake;
pub mod message;
pub mod metadata;
pub mod mse;
pub mod pex;
