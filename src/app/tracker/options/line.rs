//! The words of the command line, before the configuration and the defaults have their say.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{HELP, Private, VERSION, Voice};
use crate::app::failure::Failure;
use crate::app::tracker::{Mapping, private, state};
use crate::app::{args, output};
use crate::base::cidr::Cidr;
use crate::core::tracker::Policy;
use crate::proto::keys;

/// The command line alone; `None` where it says nothing.
#[derive(Default)]
pub(super) struct Line {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) trust: Vec<Cidr>,
    pub(super) interval: Option<u32>,
    pub(super) max_peers: Option<u32>,
    pub(super) map: Vec<Mapping>,
    pub(super) policy: Option<Policy>,
    pub(super) zones: Option<PathBuf>,
    pub(super) finish: Option<u32>,
    pub(super) max_rate: Option<u32>,
    pub(super) max_memory: Option<u64>,
    pub(super) per_address: Option<u32>,
    pub(super) cleanup: Option<u32>,
    pub(super) show_peers: Vec<Cidr>,
    pub(super) full_scrape: bool,
    pub(super) connections: Option<u32>,
    pub(super) connections_per_address: Option<u32>,
    pub(super) allow: Option<PathBuf>,
    pub(super) deny: Option<PathBuf>,
    pub(super) config: Option<PathBuf>,
    pub(super) private: Private,
    pub(super) torrents: Option<PathBuf>,
    pub(super) state: Option<PathBuf>,
    pub(super) state_peers: bool,
    pub(super) state_every: Option<u32>,
    /// An option that is of no use without `--keys`.
    pub(super) idle: Option<&'static str>,
    pub(super) dht_port: Option<u16>,
    pub(super) no_udp: bool,
    pub(super) no_http: bool,
    pub(super) voice: Option<Voice>,
    pub(super) json: bool,
}

impl Line {
    /// Reads it; `None` if there is nothing more to do, for only help, the version, a key or the accounts were asked for.
    pub(super) fn read(mut parser: lexopt::Parser) -> Result<Option<Self>, Failure> {
        use lexopt::prelude::*;
        let mut line = Self::default();
        while let Some(argument) = parser.next()? {
            let name = match argument {
                Short(letter) => format!("-{letter}"),
                Long(name) => format!("--{name}"),
                other @ Value(_) => return Err(other.unexpected().into()),
            };
            if instead(&name, &mut parser)? {
                return Ok(None);
            }
            let known = line.serving(&name, &mut parser)?
                || line.telling(&name, &mut parser)?
                || line.bounding(&name, &mut parser)?
                || line.keeping(&name, &mut parser)?
                || line.accounting(&name, &mut parser)?;
            if !known {
                return Err(Failure::usage(format_args!("unknown option `{name}`")));
            }
        }
        line.check()?;
        Ok(Some(line))
    }

    /// Where it is reached, how it speaks.
    fn serving(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<bool, Failure> {
        match name {
            "-l" | "--listen" => self.listen.push(listen(name, parser.value()?)?),
            "--trust-proxy" => self.trust.push(block(name, parser.value()?)?),
            "--map" => {
                let text = args::text(name, parser.value()?)?;
                self.map.push(Mapping::read(&text)?);
            }
            "--dht-node-port" => {
                let takes = "a port such as 6881; 0 picks a free one";
                self.dht_port = Some(args::parsed(name, parser.value()?, takes)?);
            }
            "--no-udp" => self.no_udp = true,
            "--no-http" => self.no_http = true,
            "--config" => self.config = Some(parser.value()?.into()),
            "--json" => self.json = true,
            "-q" | "--quiet" => self.voice = Some(Voice::Quiet),
            "-v" | "--verbose" => self.voice = Some(Voice::Verbose),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What peers and others are told.
    fn telling(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<bool, Failure> {
        match name {
            "--interval" => self.interval = Some(seconds(name, parser.value()?)?),
            "--max-peers" => {
                self.max_peers = Some(within(name, parser.value()?, 10_000, "a number")?);
            }
            "--policy" => {
                let takes = "random, near or stage";
                self.policy = Some(args::parsed(name, parser.value()?, takes)?);
            }
            "--zones" => self.zones = Some(parser.value()?.into()),
            "--seeders-past" => {
                self.finish = Some(within(name, parser.value()?, 100, "percent")?);
            }
            "--show-peers" => self.show_peers.push(block(name, parser.value()?)?),
            "--full-scrape" => self.full_scrape = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What it takes at most.
    fn bounding(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<bool, Failure> {
        match name {
            "--max-rate" => {
                let what = "announces a second";
                self.max_rate = Some(within(name, parser.value()?, 1_000_000, what)?);
            }
            "--max-memory" => self.max_memory = Some(args::size(name, parser.value()?)?),
            "--max-per-address" => {
                self.per_address = Some(within(name, parser.value()?, u32::MAX, "a number")?);
            }
            "--max-connections" => {
                self.connections = Some(within(name, parser.value()?, 10_000_000, "a number")?);
            }
            "--max-connections-per-address" => {
                let most = within(name, parser.value()?, u32::MAX, "a number")?;
                self.connections_per_address = Some(most);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Which torrents it serves, what it keeps and for how long.
    fn keeping(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<bool, Failure> {
        match name {
            "--allow" => self.allow = Some(parser.value()?.into()),
            "--deny" => self.deny = Some(parser.value()?.into()),
            "--torrents" => self.torrents = Some(parser.value()?.into()),
            "--cleanup" => self.cleanup = Some(seconds(name, parser.value()?)?),
            "--state" => self.state = Some(parser.value()?.into()),
            "--state-peers" => self.state_peers = true,
            "--state-every" => self.state_every = Some(seconds(name, parser.value()?)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Who may come, and what is asked of them.
    fn accounting(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<bool, Failure> {
        match name {
            "--keys" => self.private.keys = Some(parser.value()?.into()),
            "--min-ratio" => {
                let takes = "a number from 0 to 1000 such as 0.5";
                let ratio = args::parsed(name, parser.value()?, takes)?;
                self.needs_keys("--min-ratio").rule.min_ratio = ratio;
            }
            "--ratio-grace" => {
                let grace = args::size(name, parser.value()?)?;
                self.needs_keys("--ratio-grace").rule.grace = grace;
            }
            "--max-speed" => {
                let speed = args::size(name, parser.value()?)?;
                self.needs_keys("--max-speed").rule.max_speed = speed;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether every option has the one without which it would silently do nothing.
    fn check(&self) -> Result<(), Failure> {
        let (keys, state) = (self.private.keys.is_some(), self.state.is_some());
        let state_every = self.state_every.map(|_| "--state-every");
        let state_peers = self.state_peers.then_some("--state-peers");
        let idle = [
            (self.idle, keys, "--keys"),
            (state_peers, state, "--state"),
            (state_every, state, "--state"),
        ];
        match idle
            .into_iter()
            .find(|(option, has, _)| option.is_some() && !has)
        {
            Some((Some(option), _, without)) => Err(Failure::usage(format_args!(
                "`{option}` is of no use without `{without}`"
            ))),
            _ => Ok(()),
        }
    }

    /// What makes the tracker private, for an option that is of no use otherwise.
    const fn needs_keys(&mut self, option: &'static str) -> &mut Private {
        self.idle = Some(option);
        &mut self.private
    }
}

/// Does what is to be done instead of running, if `name` asks for that.
fn instead(name: &str, parser: &mut lexopt::Parser) -> Result<bool, Failure> {
    match name {
        "-h" | "--help" => output::text(HELP),
        "-V" | "--version" => output::text(VERSION),
        "--new-key" => {
            let takes = "a name of 1 to 64 characters without spaces";
            let user = args::text(name, parser.value()?)?;
            if !keys::is_user(&user) {
                return Err(args::bad_value(name, user, takes));
            }
            output::result(private::new_key(&user)?);
        }
        "--accounts" => state::show_accounts(Path::new(&parser.value()?))?,
        _ => return Ok(false),
    }
    Ok(true)
}

pub(super) fn listen(option: &str, value: OsString) -> Result<SocketAddr, Failure> {
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

fn block(option: &str, value: OsString) -> Result<Cidr, Failure> {
    args::parsed(
        option,
        value,
        "an address or a block of them such as 10.0.0.0/8",
    )
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
