//! What the behaviour tests and the benchmark share; one idea a file.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test is a crate of its own and uses only some of this"
)]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

pub mod announce;
pub mod create;
pub mod datagrams;
pub mod foreign;
pub mod golden;
pub mod hosts;
pub mod http;
pub mod links;
pub mod ours;
pub mod payload;
pub mod process;
pub mod say;
pub mod station;
pub mod tempdir;
pub mod tree;
pub mod web;
