//! Every way that this processor has, against `sha1_smol`.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/mod.rs"]
mod support;

use hivebt::base::sha1::{Digest, Sha1, SideBySide, Way, digest, digest_parts};
use support::say;

fn smol(bytes: &[u8]) -> Digest {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(bytes);
    sha1.digest().bytes()
}

fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Those of `ways` that are here; of the others it is said that they are skipped.
fn here(ways: &[Way]) -> Vec<Way> {
    let (here, not): (Vec<_>, Vec<_>) = ways.iter().partition(|way| way.is_here());
    for way in not {
        // Not a fault of the machine, so not `skip`, which fails in CI.
        say::say(format_args!("skipped: this processor has no {way}"));
    }
    here
}

fn side_by_side(way: Way, streams: &[&[u8]], step: usize) -> Vec<Digest> {
    let mut hasher = SideBySide::by(way, streams.len());
    let len = streams.first().map_or(0, |s| s.len());
    let mut at = 0;
    while at < len {
        let end = (at + step).min(len);
        let parts: Vec<&[u8]> = streams.iter().map(|s| &s[at..end]).collect();
        hasher.update(&parts);
        at = end;
    }
    hasher.finish()
}

#[test]
fn agrees_with_the_standard() {
    let hex = |d: Digest| d.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(
        hex(digest(b"abc")),
        "a9993e364706816aba3e25717850c26c9cd0d89d"
    );
    assert_eq!(digest_parts([&b"a"[..], b"", b"bc"]), digest(b"abc"));
}

#[test]
fn every_way_of_one_stream_agrees_on_every_length_of_some_blocks() {
    let bytes = random(600, 1);
    for way in here(&[Way::Sha, Way::Portable]) {
        for len in 0..=bytes.len() {
            let mut sha1 = Sha1::by(way);
            sha1.update(&bytes[..len]);
            assert_eq!(sha1.finish(), smol(&bytes[..len]), "{way}: {len} bytes");
        }
    }
}

#[test]
fn a_stream_may_come_in_parts_of_any_length() {
    let bytes = random(5000, 2);
    for way in here(&[Way::Sha, Way::Portable]) {
        for part in 1..=200 {
            let mut sha1 = Sha1::by(way);
            bytes.chunks(part).for_each(|part| sha1.update(part));
            assert_eq!(sha1.finish(), smol(&bytes), "{way}: parts of {part} bytes");
        }
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..200 {
            let (mut sha1, mut rest) = (Sha1::by(way), &bytes[..]);
            while !rest.is_empty() {
                let (part, others) = rest.split_at(rng.usize(0..=rest.len().min(150)));
                sha1.update(part);
                rest = others;
            }
            assert_eq!(sha1.finish(), smol(&bytes), "{way}");
        }
    }
}

#[test]
fn every_lane_agrees_on_every_length_of_some_blocks() {
    let streams: Vec<_> = (0..16).map(|n| random(600, 10 + n)).collect();
    for way in here(&[Way::Avx512, Way::Sha, Way::Avx2]) {
        let streams = &streams[..way.lanes()];
        for len in 0..=600 {
            let cut: Vec<&[u8]> = streams.iter().map(|s| &s[..len]).collect();
            let wanted: Vec<_> = cut.iter().map(|s| smol(s)).collect();
            assert_eq!(side_by_side(way, &cut, 64), wanted, "{way}: {len} bytes");
        }
    }
}

#[test]
fn any_number_of_streams_is_hashed_in_their_order() {
    let streams: Vec<_> = (0..40).map(|n| random(1000, 100 + n)).collect();
    for way in here(&[Way::Avx512, Way::Avx2, Way::Sha, Way::Portable]) {
        for count in 0..=streams.len() {
            let some: Vec<&[u8]> = streams[..count].iter().map(|s| &s[..]).collect();
            let wanted: Vec<_> = some.iter().map(|s| smol(s)).collect();
            assert_eq!(side_by_side(way, &some, 192), wanted, "{way}: {count}");
            let mut usual = SideBySide::new(count);
            usual.update(&some);
            assert_eq!(usual.finish(), wanted, "the usual way: {count}");
        }
    }
}

#[test]
fn large_streams_agree_whatever_the_steps() {
    let streams: Vec<_> = (0..16).map(|n| random(300_007, 200 + n)).collect();
    let wanted: Vec<_> = streams.iter().map(|s| smol(s)).collect();
    for way in here(&Way::ALL) {
        let lanes = way.lanes();
        let some: Vec<&[u8]> = streams[..lanes].iter().map(|s| &s[..]).collect();
        for step in [64, 16 << 10, 100_032, 300_007] {
            assert_eq!(side_by_side(way, &some, step), wanted[..lanes], "{way}");
        }
    }
}

#[test]
#[should_panic(expected = "parts of the same length")]
fn streams_that_differ_in_length_are_a_mistake_of_the_caller() {
    SideBySide::new(2).update(&[b"a", b"bc"]);
}

#[test]
fn ways_have_names() {
    for way in Way::ALL {
        assert_eq!(way.name().parse(), Ok(way));
    }
    assert_eq!("sse".parse::<Way>(), Err(()));
}
