//! What is to be measured, from the environment.

use super::programs::{PROGRAMS, Program};
use crate::support::links::Link;
use crate::support::say::say;

/// What the environment asks for.
pub struct Settings {
    pub mib: u64,
    /// As `hivebt-create -l` takes it.
    pub piece: String,
    /// Workers, and Mbit/s of each link.
    pub swarms: Vec<(usize, u64)>,
    pub odd: Odd,
    /// Of each link, in bytes.
    pub burst: u64,
    /// Of each link, in milliseconds.
    pub queue: u64,
    /// Of ours.
    pub rounds: usize,
    /// Of each other program.
    pub rival_rounds: usize,
    pub programs: Vec<(&'static str, Program)>,
    /// For our peers.
    pub options: Vec<String>,
    pub verbose: bool,
}

/// Workers that are not as the rest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    None,
    /// The last quarter comes when half of the bound has passed.
    Late,
    /// The last tenth has half of the rate, both ways.
    Slow,
}

impl Odd {
    /// How many of `workers`, at least one, are odd; never all of them.
    pub fn of(self, workers: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Late => workers.div_ceil(4).min(workers - 1),
            Self::Slow => workers.div_ceil(10).min(workers - 1),
        }
    }
}

impl Settings {
    /// Reads them.
    pub fn from_environment() -> Result<Self, String> {
        let text = |name: &str, default: &str| {
            let given = std::env::var(format!("HIVEBT_BENCH_{name}"));
            given.unwrap_or_else(|_| default.to_owned())
        };
        let number = |name: &str, default: &str| -> Result<u64, String> {
            let given = text(name, default);
            let parsed = given.parse();
            parsed.map_err(|_| format!("HIVEBT_BENCH_{name} is no number: `{given}`"))
        };
        let swarm = |word: &str| -> Result<(usize, u64), String> {
            let parsed = || -> Option<(usize, u64)> {
                let (workers, rate) = word.split_once('x')?;
                Some((workers.parse().ok()?, rate.parse().ok()?))
            };
            let wanted =
                parsed().filter(|&(workers, rate)| (1..=252).contains(&workers) && rate > 0);
            wanted.ok_or(format!(
                "HIVEBT_BENCH_SWARMS is WORKERSxMBITS,..., not `{word}`"
            ))
        };
        let only = text("ONLY", "").to_lowercase();
        let mut programs = PROGRAMS.to_vec();
        let named = |name: &str| only.split(',').any(|word| name.eq_ignore_ascii_case(word));
        programs.retain(|(name, _)| only.is_empty() || named(name));
        programs.retain(|(_, program)| match program {
            Program::Ours => true,
            Program::Theirs(client) => client.missing().map(say).is_none(),
        });
        if programs.is_empty() {
            return Err(format!("HIVEBT_BENCH_ONLY leaves nobody: `{only}`"));
        }
        let odd = match text("ODD", "").as_str() {
            "" => Odd::None,
            "late" => Odd::Late,
            "slow" => Odd::Slow,
            other => return Err(format!("HIVEBT_BENCH_ODD is late or slow, not `{other}`")),
        };
        let usual = Link::of(0);
        Ok(Self {
            odd,
            burst: number("BURST", &usual.burst.to_string())?,
            queue: number("QUEUE", &usual.queue.to_string())?,
            mib: number("MIB", "64")?,
            piece: text("PIECE", "256K"),
            swarms: text("SWARMS", "8x80,16x40")
                .split(',')
                .map(swarm)
                .collect::<Result<_, _>>()?,
            rounds: usize::try_from(number("ROUNDS", "3")?).expect("fits"),
            rival_rounds: usize::try_from(number("RIVAL_ROUNDS", "1")?).expect("fits"),
            programs,
            options: text("OPTIONS", "")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            verbose: !text("VERBOSE", "").is_empty(),
        })
    }
}
