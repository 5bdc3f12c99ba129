//! Whether anybody of the DHT answers, where it is switched on.

use std::thread;
use std::time::{Duration, Instant};

use crate::app::dht::{self, Node};
use crate::app::peer::options::Options;

use super::{Check, Finding, Subject, Tell};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks whether it has come.
const GLANCE: Duration = Duration::from_millis(20);

pub(super) fn look(options: &Options, subject: &Subject, tell: Tell<'_>) {
    let private = subject.torrent.as_ref().is_some_and(|t| t.private);
    if !options.dht || private {
        return;
    }
    let torrent = subject.torrent.iter().flat_map(|t| t.nodes.clone());
    let places: Vec<_> = options.dht_nodes.iter().cloned().chain(torrent).collect();
    if places.is_empty() {
        let says = "no node is known to begin at".into();
        let fix = "name one with --dht-node, or in torrents (`hivebt-create --node`); else peers have to tell of theirs";
        return tell(Finding::warning(Check::Dht, says, fix));
    }
    let named = places.len();
    let answers = ask(options, places);
    tell(match answers {
        Err(cause) => {
            let fix = "choose another address or interface with --bind";
            Finding::problem(Check::Dht, cause, fix)
        }
        Ok(0) => {
            let says = format!("of {named} named, none answers in {} s", TIMEOUT.as_secs());
            let fix = "see that one runs there (`hivebt-tracker --dht-node-port`), and that UDP gets through";
            Finding::warning(Check::Dht, says, fix)
        }
        Ok(_) => Finding::ok(Check::Dht, "a node answers".into()),
    });
}

/// How many nodes have answered, as soon as any has. It asks, and answers nobody.
fn ask(options: &Options, places: Vec<dht::Place>) -> Result<usize, String> {
    let plan = dht::Plan {
        bind: options.bind.clone().unwrap_or_default(),
        places,
        read_only: true,
        ..dht::Plan::default()
    };
    let bound = plan.bind.addr;
    let start = |at| Node::start(plan.clone(), at, true, |_, _| {});
    let [both, v4] = dht::anywhere(0);
    let node = match bound {
        Some(ip) => start((ip, 0).into()),
        None => start(both).or_else(|_| start(v4)),
    };
    let node = node.map_err(|failure| failure.to_string())?;
    let deadline = Instant::now() + TIMEOUT;
    let known = || node.stats().nodes.iter().sum();
    while known() == 0 && Instant::now() < deadline {
        thread::sleep(GLANCE);
    }
    let known = known();
    node.stop();
    Ok(known)
}
