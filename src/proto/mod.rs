//! Floor 1, bytes ⇄ checked values, in both directions. Nothing from outside gets past here unchecked.

pub mod peer;
pub mod magnet;
pub mod metainfo;
pub mod percent;
pub mod url;
pub mod tracker;
