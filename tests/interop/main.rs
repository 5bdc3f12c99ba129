//! Ours beside other people's programs, each on a host of its own: `make interop`.
//!
//! These need root (for network namespaces) and the programs themselves, so they are ignored in a plain `cargo test`.
//! What is not there is skipped with a word; where `CI` is set, that is a failure.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod announces;
mod browser;
mod creators;
mod dht;
mod encryption;
mod gossip;
mod ipv6;
mod local;
mod magnet;
mod mixed;
mod page;
mod pairs;
mod port_mapping;
mod private;
mod select;
mod status;
mod trackers;
mod utp;
mod web_seeds;

use support::hosts::Network;
use support::say;

/// A network of `n` hosts for clients that are all there; `None` (after a word) if it cannot be had.
fn network(n: u8, missing: impl IntoIterator<Item = Option<String>>) -> Option<Network> {
    with_all(missing, || Network::new(n))
}

/// The same without any IPv4.
fn network_v6(n: u8, missing: impl IntoIterator<Item = Option<String>>) -> Option<Network> {
    with_all(missing, || Network::v6(n))
}

fn with_all(
    missing: impl IntoIterator<Item = Option<String>>,
    make: impl FnOnce() -> Result<Network, String>,
) -> Option<Network> {
    let lacking: Vec<String> = missing.into_iter().flatten().collect();
    if !lacking.is_empty() {
        say::skip(lacking.join(", "));
        return None;
    }
    make().map_err(say::skip).ok()
}
