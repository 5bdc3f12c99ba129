//! The info-hashes that other creators give for the same data, as constants: ours have to be the same.
//!
//! `testdata/golden/info-hashes.txt` says what it holds and how; `make interop` proves it by running the other creators.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/mod.rs"]
mod support;

use support::create::create;
use support::golden::{self, TEXT};
use support::tempdir::TempDir;

#[test]
fn our_info_hashes_are_those_that_other_creators_give() {
    let dir = TempDir::new("golden");
    let mut wrong = Vec::new();
    for payload in golden::parse(TEXT) {
        payload.write(dir.path());
        for make in &payload.makes {
            let mut args = vec!["--dry-run", "--no-announce"];
            // A private torrent without a tracker is a contradiction.
            if make.private {
                args = vec!["--dry-run", "-a", "http://127.0.0.1:9/announce"];
            }
            args.extend(make.options());
            args.extend(["--", &payload.name]);
            let made = create(dir.path(), &args);
            if made["info_hash"] != *make.info_hash {
                let ours = &made["info_hash"];
                wrong.push(format!("{}: we make {ours} of\n{make}", payload.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_is_written_as_it_is_read() {
    let payloads = golden::parse(TEXT);
    assert_eq!(golden::table(&payloads), TEXT);
    assert!(payloads.iter().all(|payload| !payload.makes.is_empty()));
}

#[test]
fn at_least_two_others_agree_wherever_they_can_be_asked() {
    for payload in golden::parse(TEXT) {
        for make in &payload.makes {
            let refuse = make.differ.iter().filter(|other| other.info_hash.is_none());
            assert!(
                make.agree.len() + refuse.count() >= 2,
                "{}: {make}",
                payload.name
            );
        }
    }
}
