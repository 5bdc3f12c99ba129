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

use support::create::{run_with, write};
use support::golden::{self, Make, Payload, TEXT};
use support::say::say;
use support::tempdir::TempDir;

/// The environment that forces a way of hashing, and the ways.
const WAY: &str = "HIVEBT_SHA1";
const WAYS: [&str; 4] = ["avx512", "avx2", "sha", "portable"];

/// What we make of a payload that lies in `dir`.
fn ours(dir: &TempDir, payload: &Payload, make: &Make, environment: &[(&str, &str)]) -> String {
    // A private torrent without a tracker is a contradiction.
    let announce = ["-a", "http://127.0.0.1:9/announce"];
    let mut args = vec!["--json", "--dry-run"];
    args.extend(announce);
    args.extend(make.options());
    args.extend(["--", &payload.name]);
    let made = run_with(dir.path(), &args, environment);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""), "{args:?}");
    made.json()["info_hash"].as_str().expect("hex").to_owned()
}

/// The ways of hashing that this processor has; those that it lacks are said.
fn ways(dir: &TempDir) -> Vec<&'static str> {
    write(&dir.join("tiny"), b"tiny");
    let known = |way: &&str| {
        let tried = run_with(dir.path(), &["--dry-run", "-q", "tiny"], &[(WAY, way)]);
        assert!(matches!(tried.code, 0 | 2), "{way}: {}", tried.stderr);
        if tried.code == 2 {
            say(format_args!("skipped: {}", tried.stderr.trim_end()));
        }
        tried.code == 0
    };
    WAYS.into_iter().filter(known).collect()
}

#[test]
fn our_info_hashes_are_those_that_other_creators_give_with_each_way_of_hashing() {
    let dir = TempDir::new("golden");
    let mut environments = vec![vec![]];
    environments.extend(ways(&dir).into_iter().map(|way| vec![(WAY, way)]));
    let mut wrong = Vec::new();
    for payload in golden::parse(TEXT) {
        payload.write(dir.path());
        for make in &payload.makes {
            for environment in &environments {
                let ours = ours(&dir, &payload, make, environment);
                if ours != make.info_hash {
                    let name = &payload.name;
                    wrong.push(format!(
                        "{name}, {environment:?}: we make {ours} of\n{make}"
                    ));
                }
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
