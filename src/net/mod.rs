//! Floor 3, pipes without opinions: listening, dialling, HTTP.

pub mod gate;
pub mod http_client;
pub mod http_server;
pub mod inbox;
pub mod interfaces;
pub mod tcp;
