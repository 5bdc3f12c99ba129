//! Peers that send bad data among good: who is blamed, and who must not be.

use super::*;

/// What lies have cost.
#[derive(Default, Debug)]
struct Cost {
    bad: u32,
    wasted: f64,
    ratio: f64,
    accused: usize,
}

/// Runs a swarm with the liars given, over several seeds, and checks that all of them are found out and nobody else is.
#[allow(clippy::cast_precision_loss)]
fn found_out(
    what: &str,
    geometry: Geometry,
    workers: usize,
    liars: &[(Host, Character)],
    seeds: std::ops::Range<u64>,
) -> Cost {
    let mut cost = Cost::default();
    for seed in seeds {
        let mut specs = swarm(workers);
        for &(host, character) in liars {
            specs[host].character = character;
        }
        let report = run(
            &format!("{what}, seed {seed}"),
            geometry,
            &specs,
            seed,
            |_| {},
        );
        assert!(
            report.makespan.is_finite(),
            "{what}, seed {seed}: not finished"
        );
        nobody_wronged(&report, &specs);
        let accused = &report.outcome.accused;
        for host in honest(&specs) {
            assert!(!accused.contains(&host), "seed {seed}: {host} is honest");
        }
        for (liar, _) in liars {
            assert!(accused.contains(liar), "seed {seed}: {liar} got away");
        }
        let payload = (geometry.total() * (workers - liars.len()) as u64) as f64;
        cost.bad = cost.bad.max(report.outcome.bad);
        cost.accused = cost.accused.max(accused.len());
        cost.wasted = cost.wasted.max(report.outcome.wasted as f64 / payload);
        cost.ratio = cost.ratio.max(report.ratio);
    }
    eprintln!("{what}: {cost:?}");
    cost
}

#[test]
fn a_peer_that_lies_in_one_block_of_twenty_is_found_out_and_nobody_else_is_blamed() {
    let sly = [(3, Character::Sly(20))];
    let cost = found_out("1 of 8, a block in 20", mib(8, 128), 8, &sly, 1..13);
    assert!(cost.wasted < 0.1, "{cost:?}");
}

#[test]
fn liars_that_share_pieces_with_honest_peers_are_told_from_them() {
    let sly = [(2, Character::Sly(10)), (7, Character::Liar)];
    let cost = found_out("2 of 12, one always", mib(8, 128), 12, &sly, 1..13);
    assert!(cost.wasted < 0.2, "{cost:?}");
}

#[test]
fn pieces_larger_than_a_turn_are_traced_too() {
    let sly = [(2, Character::Sly(40))];
    let cost = found_out("1 of 6, 1 MiB pieces", mib(32, 1024), 6, &sly, 1..5);
    assert!(cost.wasted < 0.2, "{cost:?}");
}
