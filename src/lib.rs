//! # hivebt
//!
//! Moves big files to many hosts over BitTorrent. This library is what the three programs `hivebt-create`, `hivebt-tracker` and `hivebt-peer` share.
//!
//! ## Floors
//! Each floor uses only those below it; `core`, `disk` and `net` never import one another.
//!
//! | floor | folder | what lives there |
//! | --- | --- | --- |
//! | 4 | [`app`] | composition: sessions, announcing, progress, wording, exit codes, the three programs |
//! | 3 | [`disk`], [`net`] | files; sockets. Pipes without opinions |
//! | 2 | [`core`] | decisions: `handle(now, event) → actions`. No socket, file, thread, lock, clock or print |
//! | 1 | [`proto`] | bytes ⇄ checked values, both directions |
//! | 0 | [`base`] | words: ids, geometry, bencode. No I/O |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod app;
pub mod base;
pub mod core;
pub mod disk;
pub mod net;
pub mod proto;
