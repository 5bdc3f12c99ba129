//! `hivebt-peer wait`: until a torrent's tracker has counted so many completed downloads.

use std::thread;
use std::time::{Duration, Instant};

use crate::app::failure::{Exit, Failure};
use crate::base::id::InfoHash;
use crate::base::json::{Value, json};
use crate::net::http_client;
use crate::proto::metainfo::Metainfo;
use crate::proto::tracker::SwarmStats;

use super::asker::Trouble;
use super::load;
use super::onlooker::Onlooker;
use super::options::Options;
use super::progress::Teller;

/// Between two questions: what the tracker of a small swarm tells its peers at least.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a tracker may take (R71).
const TIMEOUT: Duration = Duration::from_secs(10);

/// Laggards that are named.
const NAMED: usize = 20;

/// Somebody who is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Laggard {
    /// Where, if the tracker tells us.
    at: Option<String>,
    percent: u64,
}

/// Waits.
///
/// # Errors
/// [`Exit::Deadline`] when the time is up, [`Exit::Network`] if every tracker refuses or there is none.
pub(super) fn wait(options: &Options) -> Result<Exit, Failure> {
    let bind = options.bind.clone().unwrap_or_default();
    let client = http_client::Options {
        bind: bind.clone(),
        ..http_client::Options::default()
    };
    let metainfo = load::load(&options.sources[0], &client)?.metainfo;
    let mut watch = Watch {
        onlooker: Onlooker::new(&bind, TIMEOUT),
        name: metainfo.shown_name(),
        metainfo,
        wanted: options.complete.unwrap_or(1),
        teller: Teller::new(options.verbosity, options.json, true),
        told: None,
    };
    let deadline = options.timeout.map(|timeout| Instant::now() + timeout);
    loop {
        if let Some(numbers) = watch.look()?
            && numbers.downloaded >= watch.wanted
        {
            watch.tell("complete", numbers);
            return Ok(Exit::Done);
        }
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(watch.give_up());
        }
        thread::sleep(left.map_or(PAUSE, |left| left.min(PAUSE)));
    }
}

struct Watch {
    onlooker: Onlooker,
    metainfo: Metainfo,
    name: String,
    wanted: u32,
    teller: Teller,
    /// What was told last.
    told: Option<SwarmStats>,
}

impl Watch {
    fn hash(&self) -> InfoHash {
        self.metainfo.info_hash
    }

    /// Asks every tracker; the numbers of the one that has counted most, `None` if none of them answers.
    fn look(&mut self) -> Result<Option<SwarmStats>, Failure> {
        let urls: Vec<String> = self.metainfo.announce.iter().flatten().cloned().collect();
        let (mut best, mut refusals) = (None::<SwarmStats>, Vec::new());
        for url in &urls {
            match self.onlooker.numbers(url, self.hash()) {
                Ok(numbers) if best.is_none_or(|best| best.downloaded <= numbers.downloaded) => {
                    best = Some(numbers);
                }
                Ok(_) => {}
                Err(Trouble::Refused(reason, _)) => refusals.push((url, reason)),
                Err(Trouble::Failed(cause)) => {
                    let line = format!("{}: cannot ask `{url}`: {cause}; trying again", self.name);
                    self.teller.detail(&line);
                }
            }
        }
        if urls.is_empty() {
            let cause = "it names no tracker that could be asked";
            return Err(Failure::new(Exit::Network, "wait for", &self.name, cause));
        }
        if let Some((url, reason)) = refusals.first().filter(|_| refusals.len() == urls.len()) {
            let cause = format_args!("the tracker refuses: {reason}");
            return Err(Failure::new(Exit::Network, "ask", url, cause));
        }
        if let Some(numbers) = best
            && self.told != Some(numbers)
            && numbers.downloaded < self.wanted
        {
            self.tell("waiting", numbers);
        }
        Ok(best)
    }

    fn tell(&mut self, event: &str, numbers: SwarmStats) {
        self.told = Some(numbers);
        let told = json!({
            "completed": numbers.downloaded,
            "wanted": self.wanted,
            "seeders": numbers.complete,
            "leechers": numbers.incomplete,
        });
        self.teller.event(event, self.metainfo.info_hash, told);
        let line = format!(
            "{}: {} of {} downloads completed; seeders {}, leechers {}",
            self.name, numbers.downloaded, self.wanted, numbers.complete, numbers.incomplete
        );
        self.teller.note(&line);
    }

    /// What is known when the time is up.
    fn give_up(&mut self) -> Failure {
        let cause = match self.told {
            None => "no tracker has answered in the time that `--timeout` gives".to_owned(),
            Some(numbers) => {
                let laggards = self.laggards();
                format!(
                    "{} of {} downloads are completed in the time that `--timeout` gives; {}",
                    numbers.downloaded,
                    self.wanted,
                    describe(laggards.as_deref(), numbers.incomplete)
                )
            }
        };
        let failure = Failure::new(Exit::Deadline, "wait for", &self.name, cause);
        let told = json!({"message": failure.to_string(), "exit": failure.exit as u8});
        self.teller.event("error", self.metainfo.info_hash, told);
        failure
    }

    /// Who is under way, as far as a tracker of ours says; `None` if none does.
    fn laggards(&self) -> Option<Vec<Laggard>> {
        let urls = self.metainfo.announce.iter().flatten();
        let mut told = urls.filter_map(|url| {
            let statistics = self.onlooker.json(url, "/stats?mode=everything")?;
            laggards(&statistics, &self.hash().to_string())
        });
        told.next()
    }
}

/// The leechers of a swarm in what `/stats?mode=everything` says.
fn laggards(statistics: &Value, info_hash: &str) -> Option<Vec<Laggard>> {
    let swarms = statistics["swarms"].as_array()?;
    let own = swarms
        .iter()
        .find(|swarm| swarm["info_hash"] == info_hash)?;
    let leechers = own["progress"].as_array()?.iter().enumerate();
    let laggard = |(n, percent): (usize, &Value)| {
        Some(Laggard {
            at: own["leechers_at"][n].as_str().map(str::to_owned),
            percent: percent.as_u64()?,
        })
    };
    leechers.map(laggard).collect()
}

fn describe(laggards: Option<&[Laggard]>, leechers: u32) -> String {
    match laggards {
        None => format!("{leechers} are under way, and the tracker does not say how far they are"),
        Some([]) => "nobody else is under way".to_owned(),
        Some(laggards) => {
            let names = laggards.iter().take(NAMED).map(|laggard| {
                let percent = laggard.percent;
                match &laggard.at {
                    Some(at) => format!("{at} at {percent} %"),
                    None => format!("one at {percent} %"),
                }
            });
            let names: Vec<_> = names.collect();
            let more = laggards.len() - names.len();
            let more = if more > 0 {
                format!(", and {more} more")
            } else {
                String::new()
            };
            format!("under way: {}{more}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(more: &Value) -> Value {
        let mut own = json!({"info_hash": "ab", "progress": [12, 80]});
        let own_keys = own.as_object_mut().unwrap();
        own_keys.extend(more.as_object().unwrap().clone());
        json!({"swarms": [{"info_hash": "cd", "progress": [1]}, own]})
    }

    #[test]
    fn laggards_are_named_as_far_as_the_tracker_tells() {
        let told = |statistics: &Value| {
            let found = laggards(statistics, "ab");
            describe(found.as_deref(), 2)
        };
        let places = json!({"leechers_at": ["10.0.0.5:6881", "[::1]:7"]});
        assert_eq!(
            told(&statistics(&places)),
            "under way: 10.0.0.5:6881 at 12 %, [::1]:7 at 80 %"
        );
        assert_eq!(
            told(&statistics(&json!({}))),
            "under way: one at 12 %, one at 80 %"
        );
        assert_eq!(
            told(&json!({"swarms": [{"info_hash": "ab", "progress": []}]})),
            "nobody else is under way"
        );
        for foreign in [json!({}), json!({"swarms": []}), json!([1])] {
            assert!(
                told(&foreign).starts_with("2 are under way, and"),
                "{foreign}"
            );
        }
        let many = json!({"swarms": [{"info_hash": "ab", "progress": vec![5; 23]}]});
        assert!(told(&many).ends_with("one at 5 %, and 3 more"));
    }
}
