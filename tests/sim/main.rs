//! Whole swarms in virtual time, through the real core: no sockets, no clock, everything from one seed number.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    unreachable_pub
)]

mod world;

use std::time::Duration;

use hivebt::base::geometry::Geometry;
use hivebt::base::time::Time;
use hivebt::core::swarm::event::Config;

use world::{Character, Outcome, Spec, World};

/// 80 Mbit/s.
const LINK: u64 = 10_000_000;
const MS: Duration = Duration::from_millis(1);

fn spec(complete: bool) -> Spec {
    Spec {
        up: LINK,
        down: LINK,
        character: Character::Honest,
        complete,
        joins: Time::ZERO,
        config: Config::default(),
    }
}

/// One origin and `workers` workers, all on equal links.
fn swarm(workers: usize) -> Vec<Spec> {
    let mut specs = vec![spec(true)];
    specs.resize(workers + 1, spec(false));
    specs
}

/// The least time that anything could take (Kumar and Ross), in seconds.
#[allow(clippy::cast_precision_loss)]
fn bound(total: u64, specs: &[Spec]) -> f64 {
    let workers = || specs.iter().filter(|s| !s.complete);
    let seed: u64 = specs.iter().filter(|s| s.complete).map(|s| s.up).sum();
    let all = seed + workers().map(|s| s.up).sum::<u64>();
    let slowest = workers().map(|s| s.down).min().unwrap();
    let each = workers().count() as f64;
    let total = total as f64;
    (total / seed as f64)
        .max(total / slowest as f64)
        .max(each * total / all as f64)
}

struct Report {
    makespan: f64,
    mean: f64,
    ratio: f64,
    copies: f64,
}

#[allow(clippy::cast_precision_loss)]
fn report(what: &str, geometry: Geometry, specs: &[Spec], outcome: &Outcome) -> Report {
    let times: Vec<f64> = (0..specs.len())
        .filter(|&n| !specs[n].complete && specs[n].character == Character::Honest)
        .map(|n| outcome.done[n].map_or(f64::INFINITY, Time::as_secs_f64))
        .collect();
    let bound = bound(geometry.total(), specs);
    let makespan = times.iter().copied().fold(0.0, f64::max);
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let copies = outcome.sent[0] as f64 / geometry.total() as f64;
    let ratio = makespan / bound;
    eprintln!(
        "{what}: makespan {makespan:.2} s = {ratio:.3} x bound, mean {:.3}, copies {copies:.3}, wasted {:.4}",
        mean / bound,
        outcome.wasted as f64 / geometry.total() as f64 / times.len() as f64
    );
    Report {
        makespan,
        mean,
        ratio,
        copies,
    }
}

fn everybody(specs: &[Spec]) -> Vec<usize> {
    (0..specs.len())
        .filter(|&n| specs[n].character == Character::Honest)
        .collect()
}

fn go(
    what: &str,
    geometry: Geometry,
    specs: &[Spec],
    delay: Duration,
    seed: u64,
) -> (Report, Outcome) {
    let mut world = World::new(geometry, delay, seed, specs.to_vec());
    let outcome = world.run(&everybody(specs), Time::from_secs(600));
    (report(what, geometry, specs, &outcome), outcome)
}

#[test]
fn a_small_swarm_finishes_near_the_bound() {
    for n in [1, 2, 4, 8, 16] {
        let geometry = Geometry::new(64 << 20, 256 << 10).unwrap();
        let specs = swarm(n);
        go(&format!("{n} workers"), geometry, &specs, MS, 1);
    }
}

#[test]
fn a_hundred_workers_all_complete() {
    let geometry = Geometry::new(16 << 20, 64 << 10).unwrap();
    let specs = swarm(100);
    go("100 workers", geometry, &specs, MS, 1);
}

#[test]
#[ignore = "an experiment: SIM=workers,MiB,piece KiB,delay ms"]
fn experiment() {
    for run in std::env::var("SIM").unwrap().split(' ') {
        let n: Vec<u64> = run.split(',').map(|n| n.parse().unwrap()).collect();
        let geometry = Geometry::new(n[1] << 20, u32::try_from(n[2]).unwrap() << 10).unwrap();
        let specs = swarm(usize::try_from(n[0]).unwrap());
        let began = std::time::Instant::now();
        go(run, geometry, &specs, MS * u32::try_from(n[3]).unwrap(), 1);
        eprintln!("   in {:.1} s", began.elapsed().as_secs_f64());
    }
}
