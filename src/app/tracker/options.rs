//! The command line of `hivebt-tracker`, and what the configuration adds to it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::doors::Carriers;
use super::{Config, Mapping, private, state};
use crate::app::failure::Failure;
use crate::app::{args, config, output};
use crate::base::cidr::Cidr;
use crate::core::tracker::{Limits, Policy, Rule};
use crate::proto::keys;

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

/// The command line alone; `None` where it says nothing.
#[derive(Default)]
struct Line {
    listen: Vec<SocketAddr>,
    trust: Vec<Cidr>,
    interval: Option<u32>,
    max_peers: Option<u32>,
    map: Vec<Mapping>,
    policy: Option<Policy>,
    zones: Option<PathBuf>,
    finish: Option<u32>,
    max_rate: Option<u32>,
    max_memory: Option<u64>,
    per_address: Option<u32>,
    cleanup: Option<u32>,
    show_peers: Vec<Cidr>,
    full_scrape: bool,
    connections: Option<u32>,
    connections_per_address: Option<u32>,
    allow: Option<PathBuf>,
    deny: Option<PathBuf>,
    config: Option<PathBuf>,
    private: Private,
    torrents: Option<PathBuf>,
    state: Option<PathBuf>,
    state_peers: bool,
    state_every: Option<u32>,
    /// An option that is of no use without `--keys`.
    idle: Option<&'static str>,
    dht_port: Option<u16>,
    no_udp: bool,
    no_http: bool,
    voice: Option<Voice>,
    json: bool,
}

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

impl Line {
    fn read(mut parser: lexopt::Parser) -> Result<Option<Self>, Failure> {
        use lexopt::prelude::*;
        let mut line = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Short('l') | Long("listen") => {
                    line.listen.push(listen("--listen", parser.value()?)?);
                }
                Long("trust-proxy") => {
                    let takes = "an address or a block of them such as 10.0.0.0/8";
                    line.trust
                        .push(args::parsed("--trust-proxy", parser.value()?, takes)?);
                }
                Long("interval") => line.interval = Some(seconds("--interval", parser.value()?)?),
                Long("cleanup") => line.cleanup = Some(seconds("--cleanup", parser.value()?)?),
                Long("max-peers") => {
                    line.max_peers =
                        Some(within("--max-peers", parser.value()?, 10_000, "a number")?);
                }
                Long("map") => {
                    let text = args::text("--map", parser.value()?)?;
                    line.map.push(Mapping::read(&text)?);
                }
                Long("policy") => {
                    let takes = "random, near or stage";
                    line.policy = Some(args::parsed("--policy", parser.value()?, takes)?);
                }
                Long("zones") => line.zones = Some(parser.value()?.into()),
                Long("seeders-past") => {
                    line.finish = Some(within("--seeders-past", parser.value()?, 100, "percent")?);
                }
                Long("max-rate") => {
                    line.max_rate = Some(within(
                        "--max-rate",
                        parser.value()?,
                        1_000_000,
                        "announces a second",
                    )?);
                }
                Long("max-memory") => {
                    line.max_memory = Some(args::size("--max-memory", parser.value()?)?);
                }
                Long("max-per-address") => {
                    line.per_address = Some(within(
                        "--max-per-address",
                        parser.value()?,
                        u32::MAX,
                        "a number",
                    )?);
                }
                Long("show-peers") => {
                    let takes = "an address or a block of them such as 10.0.0.0/8";
                    line.show_peers
                        .push(args::parsed("--show-peers", parser.value()?, takes)?);
                }
                Long("full-scrape") => line.full_scrape = true,
                Long("max-connections") => {
                    let value = parser.value()?;
                    let most = within("--max-connections", value, 10_000_000, "a number")?;
                    line.connections = Some(most);
                }
                Long("max-connections-per-address") => {
                    let (name, value) = ("--max-connections-per-address", parser.value()?);
                    line.connections_per_address = Some(within(name, value, u32::MAX, "a number")?);
                }
                Long("allow") => line.allow = Some(parser.value()?.into()),
                Long("deny") => line.deny = Some(parser.value()?.into()),
                Long("torrents") => line.torrents = Some(parser.value()?.into()),
                Long("state") => line.state = Some(parser.value()?.into()),
                Long("state-peers") => line.state_peers = true,
                Long("state-every") => {
                    line.state_every = Some(seconds("--state-every", parser.value()?)?);
                }
                Long("keys") => line.private.keys = Some(parser.value()?.into()),
                Long("new-key") => {
                    let takes = "a name of 1 to 64 characters without spaces";
                    let user = args::text("--new-key", parser.value()?)?;
                    if !keys::is_user(&user) {
                        return Err(args::bad_value("--new-key", user, takes));
                    }
                    output::result(private::new_key(&user)?);
                    return Ok(None);
                }
                Long("accounts") => {
                    state::show_accounts(Path::new(&parser.value()?))?;
                    return Ok(None);
                }
                Long("min-ratio") => {
                    let takes = "a number from 0 to 1000 such as 0.5";
                    let ratio = args::parsed("--min-ratio", parser.value()?, takes)?;
                    line.needs_keys("--min-ratio").rule.min_ratio = ratio;
                }
                Long("ratio-grace") => {
                    let grace = args::size("--ratio-grace", parser.value()?)?;
                    line.needs_keys("--ratio-grace").rule.grace = grace;
                }
                Long("max-speed") => {
                    let speed = args::size("--max-speed", parser.value()?)?;
                    line.needs_keys("--max-speed").rule.max_speed = speed;
                }
                Long("json") => line.json = true,
                Long("dht-node-port") => {
                    let takes = "a port such as 6881; 0 picks a free one";
                    let value = parser.value()?;
                    line.dht_port = Some(args::parsed("--dht-node-port", value, takes)?);
                }
                Long("no-udp") => line.no_udp = true,
                Long("no-http") => line.no_http = true,
                Long("config") => line.config = Some(parser.value()?.into()),
                Short('q') | Long("quiet") => line.voice = Some(Voice::Quiet),
                Short('v') | Long("verbose") => line.voice = Some(Voice::Verbose),
                Short('h') | Long("help") => {
                    output::text(HELP);
                    return Ok(None);
                }
                Short('V') | Long("version") => {
                    output::text(VERSION);
                    return Ok(None);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        let useless = |option: &str, without: &str| {
            let message = format!("`{option}` is of no use without `{without}`");
            Err(Failure::usage(message))
        };
        match line.idle.filter(|_| line.private.keys.is_none()) {
            Some(option) => useless(option, "--keys"),
            None if line.state.is_some() => Ok(Some(line)),
            None if line.state_peers => useless("--state-peers", "--state"),
            None if line.state_every.is_some() => useless("--state-every", "--state"),
            None => Ok(Some(line)),
        }
    }

    /// What makes the tracker private, for an option that is of no use otherwise.
    const fn needs_keys(&mut self, option: &'static str) -> &mut Private {
        self.idle = Some(option);
        &mut self.private
    }
}

fn listen(option: &str, value: OsString) -> Result<SocketAddr, Failure> {
    let takes = "an address and a port such as 0.0.0.0:8080 or [::]:8080";
    args::parsed(option, value, takes)
}

fn seconds(option: &str, value: OsString) -> Result<u32, Failure> {
    within(option, value, 86_400, "seconds")
}

fn within(option: &str, value: OsString, most: u32, what: &str) -> Result<u32, Failure> {
    let text = args::text(option, value)?;
    let number = text.parse().ok().filter(|n| (1..=most).contains(n));
    number.ok_or_else(|| args::bad_value(option, text, &format!("{what} from 1 to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(words: &[&str]) -> Result<Option<Line>, Failure> {
        Line::read(lexopt::Parser::from_args(words))
    }

    #[test]
    fn options_are_read() {
        let line = read_line(&[
            "-l",
            "[::1]:0",
            "--listen=127.0.0.1:9",
            "--interval",
            "60",
            "--trust-proxy",
            "10.0.0.0/8",
            "--map=172.17.0.1=192.0.2.7",
            "--map",
            "fd00::/8=192.0.2.7",
            "--policy=stage",
            "--seeders-past=90",
            "--max-memory=1G",
            "--max-per-address=7",
            "--max-rate=100",
            "-v",
        ]);
        let line = line.unwrap().unwrap();
        assert_eq!(
            (line.listen.len(), line.interval, line.trust.len()),
            (2, Some(60), 1)
        );
        assert_eq!(line.voice, Some(Voice::Verbose));
        assert_eq!((line.map.len(), line.policy), (2, Some(Policy::STAGE)));
        assert_eq!(
            (
                line.finish,
                line.max_memory,
                line.per_address,
                line.max_rate
            ),
            (Some(90), Some(1 << 30), Some(7), Some(100))
        );
    }

    #[test]
    fn a_bad_value_is_told_with_its_option() {
        for words in [
            ["--listen", "8080"],
            ["--interval", "0"],
            ["--interval", "86401"],
            ["--cleanup", "-1"],
            ["--max-peers", "many"],
            ["--trust-proxy", "proxy"],
            ["--map", "172.17.0.1"],
            ["--policy", "best"],
            ["--seeders-past", "101"],
            ["--max-rate", "0"],
            ["--max-memory", "much"],
            ["--max-per-address", "0"],
        ] {
            let failure = read_line(&words).err().unwrap().to_string();
            assert!(
                failure.contains(words[0]) && failure.contains(words[1]),
                "{failure}"
            );
        }
        for unknown in ["--no-tcp", "here", "--jsonl"] {
            assert!(read_line(&[unknown]).is_err(), "{unknown}");
        }
    }
}
