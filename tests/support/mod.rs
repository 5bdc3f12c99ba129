//! What behaviour tests share; one idea a file.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test is a crate of its own and uses only some of this"
)]

pub mod create;
pub mod tempdir;
