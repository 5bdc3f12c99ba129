//! `make sim`: how near whole swarms come to the bound, as a table.

use std::time::Duration;

use hivebt::base::time::Time;

use crate::world::{Character, Outcome, Spec, World};
use crate::{LINK, MS, at_once, bound, honest, mib, swarm};

/// A swarm to be.
struct Case {
    what: String,
    specs: Vec<Spec>,
    /// Hosts that die at a moment and come back a second later.
    churn: Vec<(usize, Time)>,
}

impl Case {
    fn new(what: impl Into<String>, specs: Vec<Spec>) -> Self {
        Self {
            what: what.into(),
            specs,
            churn: Vec::new(),
        }
    }

    fn run(&self) -> Outcome {
        let mut world = World::new(mib(64, 256), MS, 1, self.specs.clone());
        for &(host, at) in &self.churn {
            world.leaves(host, at);
            world.returns(host, at + Duration::from_secs(1));
        }
        world.run(&honest(&self.specs), Time::from_secs(600))
    }

    /// A row: times ÷ bound, each worker's counted from its own start.
    #[allow(clippy::cast_precision_loss)]
    fn row(&self) -> String {
        let outcome = self.run();
        let workers = honest(&self.specs).into_iter();
        let workers = workers.filter(|&n| !self.specs[n].complete);
        let times: Vec<f64> = workers
            .map(|n| {
                let done = outcome.done[n].map_or(f64::INFINITY, Time::as_secs_f64);
                done - self.specs[n].joins.as_secs_f64()
            })
            .collect();
        // Several torrents at once take their hosts' links as one of all their bytes does.
        let torrents = 1 + self.specs.last().map_or(0, |spec| spec.torrent);
        let total = mib(64, 256).total() * torrents as u64;
        let hosts = self.specs.len() / torrents;
        let bound = bound(total, &self.specs[..hosts]);
        let most = times.iter().copied().fold(0.0, f64::max);
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let sent: u64 = outcome.sent.iter().step_by(hosts).sum();
        let copies = sent as f64 / total as f64;
        let rates: Vec<f64> = times.iter().map(|time| 1.0 / time).collect();
        let sum: f64 = rates.iter().sum();
        let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
        let fairness = sum * sum / squares / rates.len() as f64;
        format!(
            "| {} | {:.2} | {:.2} | {copies:.2} | {fairness:.3} |",
            self.what,
            most / bound,
            mean / bound
        )
    }
}

/// The cases, with at most so many workers.
fn cases(most: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for workers in [4, 16, 64, 256, 1000] {
        let mut specs = swarm(workers);
        let mut what = format!("{workers} workers");
        if workers > 64 {
            specs.iter_mut().for_each(|s| s.config.max_peers = 50);
            what += ", 50 connections each";
        }
        cases.push(Case::new(what, specs));
    }
    let mut slow_origin = swarm(16);
    slow_origin[0].up = LINK / 4;
    cases.push(Case::new(
        "16, origin at a quarter of the rate",
        slow_origin,
    ));
    let mut fast_origin = swarm(16);
    fast_origin[0].up = LINK * 4;
    cases.push(Case::new("16, origin at four times the rate", fast_origin));
    let mut slow_tenth = swarm(20);
    for slow in &mut slow_tenth[19..] {
        (slow.up, slow.down) = (LINK / 2, LINK / 2);
    }
    cases.push(Case::new("20, a tenth at half the rate", slow_tenth));
    let mut late = swarm(16);
    for late in &mut late[13..] {
        late.joins = Time::from_secs(3);
    }
    cases.push(Case::new("16, a quarter 3 s late", late));
    let mut churn = Case::new("20, a tenth dies and comes back", swarm(20));
    churn.churn = vec![
        (7, Time::from_secs(2)),
        (13, Time::ZERO + Duration::from_millis(3500)),
    ];
    cases.push(churn);
    let mut rider = swarm(16);
    rider[16].character = Character::FreeRider;
    cases.push(Case::new("16, one of them a free rider", rider));
    cases.push(Case::new(
        "16, three torrents at once",
        at_once(3, &swarm(16)),
    ));
    cases.retain(|case| case.specs.len() <= most + 1);
    cases
}

#[test]
#[ignore = "minutes of work: `make sim`"]
fn table() {
    let most = std::env::var("HIVEBT_SIM_WORKERS").ok();
    let most = most.map_or(1000, |most| most.parse().unwrap());
    eprintln!(
        "| workers | the last ÷ bound | mean ÷ bound | copies that the origin sent | fairness |"
    );
    eprintln!("| --- | ---: | ---: | ---: | ---: |");
    for case in cases(most) {
        eprintln!("{}", case.row());
    }
}
