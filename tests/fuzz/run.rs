//! One target under libFuzzer: `HIVEBT_FUZZ=magnet`.

#![no_main]

mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

/// The one that the environment names.
fn target() -> Target {
    let name = std::env::var("HIVEBT_FUZZ").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| panic!("HIVEBT_FUZZ names no target: `{name}`"))
        .1
}

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    TARGET.get_or_init(target)(bytes);
});
