//! The command line of `hivebt-tracker`, and what the configuration adds to it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

mod line;

use self::line::{Line, listen};
use super::doors::Carriers;
use super::{Config, state};
use crate::app::failure::Failure;
use crate::app::{args, config};
use crate::core::tracker::{Limits, Policy, Rule};

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Voice {
    /// Only errors.
    Quiet,
    /// Where it listens.
    Normal,
    /// Also how it goes, from time to time.
    Verbose,
}

/// What to do, and how to tell.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) config: Config,
    pub(super) private: Private,
    pub(super) torrents: Option<PathBuf>,
    pub(super) state: Option<state::Plan>,
    /// A file of zones, for the policy `near`.
    pub(super) zones: Option<PathBuf>,
    pub(super) carriers: Carriers,
    /// The port of the node of the DHT, if there is to be one.
    pub(super) dht_port: Option<u16>,
    pub(super) voice: Voice,
    /// Whether events are told on standard output, a line of JSON each.
    pub(super) json: bool,
}

/// What makes a tracker private.
#[derive(Debug, Default)]
pub(super) struct Private {
    /// The file of keys.
    pub(super) keys: Option<PathBuf>,
    /// What is asked of every user.
    pub(super) rule: Rule,
}

/// The environment variable that stands for `--listen`.
const LISTEN: &str = "HIVEBT_LISTEN";

const VERSION: &str = concat!("hivebt-tracker ", env!("CARGO_PKG_VERSION"), "\n");

const HELP: &str = "\
Runs a BitTorrent tracker, by which peers find each other.

Usage: hivebt-tracker [OPTIONS]

Where:
  -l, --listen ADDR:PORT  may be repeated; port 0 picks a free one
                          [default: [::]:8080 for IPv4 and IPv6, 0.0.0.0:8080 where IPv6 is off]
      --no-udp, --no-http serves only the other; usually both, on the same port
      --dht-node-port PORT  also runs a node of the DHT there (UDP), at which the peers of a cluster can begin:
                          `--dht-node` of the peer, `--node` of hivebt-create; 0 picks a free port
      --trust-proxy CIDR  believes X-Forwarded-For and `ip=` that come from these addresses; may be repeated

      --map CIDR=HOST     tells others of peers seen at such an address that they are at HOST (behind NAT or a
                          container bridge); a name is resolved at the start; may be repeated
      --max-connections N, --max-connections-per-address N
                          HTTP connections at once, in all [default: 10000] and from one address or
                          one /64 of IPv6 [default: 1000; 127.0.0.1, ::1 and proxies have no limit]

What others see:
      --show-peers CIDR   shows whoever looks from there where each peer is, on the page at /; others
                          see only how far peers are; may be repeated
      --full-scrape       tells a scrape without info_hash of all torrents (of the 50000 largest)

What peers are told:
      --interval SECS     longest time between two announces of a peer; small swarms are told
                          5 to 15 s instead, larger ones a second for every 4 peers [default: 300]
      --max-peers N       peers in one reply at most [default: 50]
      --max-rate N        announces a second that peers are told to stay below, all together; they wait
                          for longer if there are too many [default: 5000]
      --policy WHICH      random: anybody [default]; near: those of the asker's subnet first, then of its
                          zone, a quarter from elsewhere; stage: those of similar progress, a quarter others
      --zones FILE        for `near`: lines `CIDR ZONE`, `#` begins a comment; read again on SIGHUP
      --seeders-past N    for `stage`: whoever has more than N percent is told of seeders first [default: 80]

Which torrents:
      --allow FILE        serves only these info-hashes, one a line
      --deny FILE         does not serve these, wherever else they stand; both are read again on SIGHUP
      --torrents DIR      hands out the .torrent files in DIR under /torrents/, and serves only these and
                          what `--allow` names; new, changed and removed files count within seconds

Private:
      --keys FILE         peers need a key: the announce URL is http://HOST:PORT/announce/KEY; lines
                          `KEY USER [max-torrents=N] [max-peers=N] [min-ratio=R] [disabled]`,
                          `#` begins a comment; read again on SIGHUP
      --new-key USER      prints a line with a new key for that file, and does nothing else
      --accounts FILE     prints what a state file says of each user, a line of JSON each, and does nothing else
      --min-ratio R       a user who has uploaded less than R times what it downloaded may only seed
                          [default: 0, which asks for nothing]
      --ratio-grace SIZE  what a user may download before that counts [default: 10G]
      --max-speed RATE    what one peer can move at most, in bytes/s; what it tells beyond that does not
                          count [default: 2G]

What outlives a restart:
      --state FILE        keeps counts of completed downloads and accounts there; one tracker at a time
      --state-peers       peers, too
      --state-every SECS  how often it is written, if anything has changed, besides at the end [default: 60]

How:
      --max-memory SIZE   memory for torrents and peers; whoever crowds others out has to go first, then
                          torrents without seeders [default: 256M]
      --max-per-address N peers of one address, or of one /64 of IPv6 [default: 20000]
      --cleanup SECS      how often memory of silent peers is given back at least; they are never
                          handed out for longer than twice the interval and a little [default: 3600]
      --config FILE       [default: bt_config.json in the working directory, if it is there]
      --json              events on standard output, a line of JSON each: `listening` with its URL, and once a
                          minute `statistics` with what /stats says
  -q, --quiet             nothing but errors
  -v, --verbose           a line about torrents and peers every minute
  -h, --help
  -V, --version

In the environment, HIVEBT_LISTEN=ADDR:PORT stands for --listen and HIVEBT_CONFIG=FILE for --config; options win over the
environment, which wins over the configuration.

Answers /announce and /scrape, /stats (JSON; ?mode=everything lists the swarms), /metrics
(Prometheus), /healthz, and / for people.
";

/// Reads command line and configuration; `None` if only help or the version was asked for.
pub(super) fn read(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Option<Options>, Failure> {
    let Some(mut line) = Line::read(lexopt::Parser::from_args(arguments))? else {
        return Ok(None);
    };
    if line.no_udp && line.no_http {
        return Err(Failure::usage(
            "`--no-udp` and `--no-http` together leave nothing to serve",
        ));
    }
    let file = config::load(line.config.as_deref())?.config.tracker;
    if line.listen.is_empty()
        && let Some(value) = args::from_environment(LISTEN)
    {
        line.listen.push(listen(LISTEN, value)?);
    }
    let usual = Config::default();
    let cleanup = line.cleanup.or(file.cleanup_interval);
    let policy = line.policy.unwrap_or(usual.policy);
    if line.zones.is_some() && policy != Policy::NEAR {
        let message = "`--zones` is of no use without `--policy near`";
        return Err(Failure::usage(message));
    }
    let memory = line.max_memory.and_then(|n| usize::try_from(n).ok());
    let limits = Limits {
        memory: memory.unwrap_or(usual.limits.memory),
        per_source: line.per_address.unwrap_or(usual.limits.per_source),
        rate: line.max_rate.unwrap_or(usual.limits.rate),
    };
    Ok(Some(Options {
        config: Config {
            listen: line.listen,
            port: file.port.unwrap_or(usual.port),
            interval: line
                .interval
                .or(file.announce_interval)
                .unwrap_or(usual.interval),
            max_peers: line
                .max_peers
                .or(file.max_peers_per_torrent)
                .unwrap_or(usual.max_peers),
            cleanup: cleanup.map_or(usual.cleanup, |secs| Duration::from_secs(secs.into())),
            allow: line.allow,
            deny: line.deny,
            trust: line.trust,
            map: line.map,
            policy,
            finish: line
                .finish
                .map_or(usual.finish, |n| u8::try_from(n).unwrap_or(100)),
            show_peers: line.show_peers,
            full_scrape: line.full_scrape,
            connections: line.connections.map_or(usual.connections, |n| n as usize),
            connections_per_address: line
                .connections_per_address
                .unwrap_or(usual.connections_per_address),
            limits,
            closed: false,
        },
        private: line.private,
        torrents: line.torrents,
        state: line.state.map(|path| state::Plan {
            path,
            peers: line.state_peers,
            every: Duration::from_secs(line.state_every.unwrap_or(60).into()),
        }),
        zones: line.zones,
        carriers: Carriers {
            http: !line.no_http,
            udp: !line.no_udp,
        },
        dht_port: line.dht_port,
        voice: line.voice.unwrap_or(Voice::Normal),
        json: line.json,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unless_told_otherwise_it_is_port_8080_of_all_addresses() {
        let options = read(["--json"].map(OsString::from)).unwrap().unwrap();
        assert_eq!((options.config.port, options.config.listen), (8080, vec![]));
    }
}
