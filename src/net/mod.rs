//! Floor 3, pipes without opinions: listening, dialling, HTTP.

pub mod http_client;
pub mod interfaces;
pub mod tcp;
