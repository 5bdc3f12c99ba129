//! The command line of `hivebt-peer`.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::app::args::{self, bad_value, duration, parsed, size, text};
use crate::app::failure::Failure;
use crate::core::shares::Priority;
use crate::net::tcp::Bind;

use super::selection::Pattern;
use super::settings::{self, Origin, VARIABLES};

/// What `hivebt-peer --help` prints.
pub const HELP: &str = "\
Downloads and seeds torrents.

Usage:
  hivebt-peer get SOURCE... [-o DIR]      download; SOURCE: file.torrent, http:// URL of one, or - (standard input)
  hivebt-peer seed TORRENT... [-d DATA]   seed; DATA: the payload or the folder it lies in (default: beside the torrent)
  hivebt-peer FILE.torrent                seed if the data beside it is complete, else download it and then seed
  hivebt-peer run [--watch DIR]           long-lived: torrents come and go with the files in DIR, or over HTTP
  hivebt-peer status [URL]                what a running one is doing (default http://127.0.0.1:6880)
  hivebt-peer share PATH...               create, track and seed in one process; prints the command a worker runs
  hivebt-peer wait TORRENT --complete N   until the torrent's tracker has counted N completed downloads; takes no part
  hivebt-peer doctor [TORRENT|URL]        checks settings, tracker, port, address, clock, space, limits; says what to change

Where:
  -o, --output DIR         folder for downloads (default: the working directory; bare form: beside the torrent)
  -d, --data PATH          payload to seed, or the folder it lies in
Network:
  -p, --port N|A-B         port to listen on, the first free of a range; 0 picks any (default 6881-6891)
      --bind ADDR|IFACE    tie all traffic to a local address or an interface
      --advertise IP[:PORT]  address to tell the tracker, where it cannot see the right one itself
      --peer ADDR:PORT     a peer to connect to, besides those that the tracker names (repeatable)
      --tracker ADDR:PORT  share: where the tracker listens (default [::]:8080, any free port if that is taken)
      --min-size SIZE      share: what is smaller is not shared; if all is, exit 8: ordinary transfer will do
Limits:
      --max-upload RATE    bytes a second for all torrents together, with K, M or G; 0 = none (default)
      --max-download RATE  likewise
      --priority P         share of these limits beside other torrents: low, normal (default) or high, as 1 : 4 : 16
      --max-peers N        connections for each torrent (default 200)
      --max-uploads N      peers served at once (default: follows what the link can carry)
      --cache SIZE         memory for unfinished pieces (default 24M)
When to stop:
      --seed               get: go on seeding after the download
      --seed-for TIME      seed for this long (s, m, h, d), then stop
      --seed-ratio R       seed until R times the payload has been sent, then stop
      --until-peers N      seed until N other peers are complete, then stop; with --timeout, not for longer (exit 5)
      --complete N         wait: so many downloads, as the tracker counts them
      --timeout TIME       give up (exit 5) if a download, or what is waited for, is not finished in this time
      --stall-timeout TIME give up (exit 5) if a download gets no data for this time
How:
      --select GLOB        fetch these files alone (repeatable); the pattern is matched below the torrent's top folder, as
                           hivebt-create includes files: `*.csv` by name anywhere, `set/a*` from the top on, `set/` a whole folder
      --sequential         fetch pieces in order
      --recheck            hash what is there even if its state is known
      --on-complete CMD    run this when a download is complete (split at spaces, no shell; HIVEBT_PATH, HIVEBT_INFO_HASH
                           and HIVEBT_NAME in its environment); waits for it
      --config FILE        settings (default: bt_config.json in the working directory, if there is one)
Watching and steering (README, section hivebt-peer run):
      --watch DIR          run: the .torrent files in DIR run (default: those that were added over HTTP, in .hivebt/torrents)
      --status ADDR:PORT   serve page, statistics, metrics and API there (default for run: 127.0.0.1:6880)
      --token TEXT         who asks has to know this (or HIVEBT_TOKEN in the environment); needed off loopback
Output:
      --json               events on standard output, a line of JSON each
  -q, --quiet              only errors
  -v, --verbose            also what peers and trackers do
  -h, --help  -V, --version

In the environment, HIVEBT_CONFIG, HIVEBT_OUTPUT, HIVEBT_PORT, HIVEBT_BIND, HIVEBT_ADVERTISE, HIVEBT_MAX_UPLOAD,
HIVEBT_MAX_DOWNLOAD, HIVEBT_MAX_PEERS and HIVEBT_CACHE stand for the options of these names. Options win over the environment,
which wins over the configuration. Proxies that the environment names (http_proxy) are not used.

Exit codes: 0 done, 1 other failure, 2 usage, 3 invalid torrent, 4 data missing or wrong, 5 deadline, 6 storage, 7 network,
8 nothing is as large as --min-size, 75 another run has this torrent in this folder, 130/143 interrupted (the same command continues).
";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `get`
    Get,
    /// `seed`
    Seed,
    /// A torrent alone: seed, or download and then seed (R89).
    Bare,
    /// `share`
    Share,
    /// `wait`
    Wait,
    /// `doctor`
    Doctor,
    /// `run`: torrents come and go.
    Run,
    /// `status`
    Status,
}

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors.
    Quiet,
    /// Progress and results.
    Normal,
    /// Also what peers and trackers do.
    Verbose,
}

/// The command line, read.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do.
    pub mode: Mode,
    /// Torrents, or for `share` payloads.
    pub sources: Vec<OsString>,
    /// `-o`
    pub output: Option<PathBuf>,
    /// `-d`
    pub data: Option<PathBuf>,
    /// `-p`
    pub ports: Option<RangeInclusive<u16>>,
    /// `--bind`
    pub bind: Option<Bind>,
    /// `--advertise`: address and, where it differs from the one listened on, port.
    pub advertise: Option<(IpAddr, Option<u16>)>,
    /// `--peer`
    pub peers: Vec<SocketAddr>,
    /// `--tracker`
    pub tracker: Option<SocketAddr>,
    /// `--max-upload`, bytes a second; 0 is no limit.
    pub max_upload: Option<u64>,
    /// `--max-download`, bytes a second; 0 is no limit.
    pub max_download: Option<u64>,
    /// `--priority`
    pub priority: Priority,
    /// `--max-peers`
    pub max_peers: Option<usize>,
    /// `--max-uploads`
    pub max_uploads: Option<usize>,
    /// `--cache`, bytes.
    pub cache: Option<u64>,
    /// How long a request may stay unanswered; from the configuration alone.
    pub request_timeout: Option<Duration>,
    /// `--seed`
    pub seed: bool,
    /// `--seed-for`
    pub seed_for: Option<Duration>,
    /// `--seed-ratio`
    pub seed_ratio: Option<f64>,
    /// `--until-peers`
    pub until_peers: Option<usize>,
    /// `--complete`
    pub complete: Option<u32>,
    /// `--min-size`, bytes.
    pub min_size: Option<u64>,
    /// `--timeout`
    pub timeout: Option<Duration>,
    /// `--stall-timeout`
    pub stall_timeout: Option<Duration>,
    /// `--watch`
    pub watch: Option<PathBuf>,
    /// `--status`
    pub status: Option<SocketAddr>,
    /// `--token`, or HIVEBT_TOKEN of the environment.
    pub token: Option<String>,
    /// `--select`
    pub select: Vec<Pattern>,
    /// `--sequential`
    pub sequential: bool,
    /// `--recheck`
    pub recheck: bool,
    /// `--on-complete`, program and arguments.
    pub on_complete: Option<Vec<String>>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--json`
    pub json: bool,
    /// `-q`, `-v`
    pub verbosity: Verbosity,
    /// Who has said something, option by option; the last one counts.
    pub given: Vec<(&'static str, Origin)>,
}

/// A command line is either work to do or a question that is answered at once.
#[derive(Debug)]
pub enum Command {
    /// Do this.
    Run(Box<Options>),
    /// Print this and be done.
    Print(String),
}

impl Options {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            sources: Vec::new(),
            output: None,
            data: None,
            ports: None,
            bind: None,
            advertise: None,
            peers: Vec::new(),
            tracker: None,
            max_upload: None,
            max_download: None,
            priority: Priority::Normal,
            max_peers: None,
            max_uploads: None,
            cache: None,
            request_timeout: None,
            seed: false,
            seed_for: None,
            seed_ratio: None,
            until_peers: None,
            complete: None,
            min_size: None,
            timeout: None,
            stall_timeout: None,
            watch: None,
            status: None,
            token: None,
            select: Vec::new(),
            sequential: false,
            recheck: false,
            on_complete: None,
            config: None,
            json: false,
            verbosity: Verbosity::Normal,
            given: Vec::new(),
        }
    }

    /// Notes that the command line has said something that the environment can say, too.
    fn note(&mut self, name: &str) {
        let long = match name {
            "-o" => "--output",
            "-p" => "--port",
            other => other,
        };
        let given = settings::option(long).map(|option| (option, Origin::CommandLine));
        self.given.extend(given);
    }

    /// Whether a finished download goes on as a seed.
    #[must_use]
    pub fn seeds_afterwards(&self) -> bool {
        let until = self.seed_for.is_some() || self.seed_ratio.is_some();
        self.mode != Mode::Get || self.seed || until || self.until_peers.is_some()
    }
}

/// Reads a command line, the program's name left out.
///
/// # Errors
/// For anything that is not in the help, naming the option and what it takes.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Failure> {
    parse_in(args, args::from_environment)
}

/// The same in an environment that is known by `variable`.
fn parse_in(
    args: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Command, Failure> {
    let mut args = lexopt::Parser::from_args(args);
    let mut options = Options::new(Mode::Bare);
    for (name, stands_for) in VARIABLES {
        if let Some(value) = variable(name) {
            let mut value = lexopt::Parser::from_args([OsString::from(stands_for), value]);
            value.next()?;
            option(&mut options, &mut value, stands_for)
                .map_err(|failure| Failure::usage(format_args!("{name}: {failure}")))?;
            options.given.push((stands_for, Origin::Environment(name)));
        }
    }
    let mut first = true;
    while let Some(arg) = args.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Print(HELP.into())),
            Short('V') | Long("version") => {
                return Ok(Command::Print(
                    concat!("hivebt-peer ", env!("CARGO_PKG_VERSION"), "\n").into(),
                ));
            }
            Value(value) => match (std::mem::take(&mut first), value.to_str()) {
                (true, Some("get")) => options.mode = Mode::Get,
                (true, Some("seed")) => options.mode = Mode::Seed,
                (true, Some("share")) => options.mode = Mode::Share,
                (true, Some("wait")) => options.mode = Mode::Wait,
                (true, Some("doctor")) => options.mode = Mode::Doctor,
                (true, Some("run")) => options.mode = Mode::Run,
                (true, Some("status")) => options.mode = Mode::Status,
                _ => options.sources.push(value),
            },
            Short(letter) => {
                let name = format!("-{letter}");
                option(&mut options, &mut args, &name)?;
                options.note(&name);
            }
            Long(name) => {
                let name = format!("--{name}");
                option(&mut options, &mut args, &name)?;
                options.note(&name);
            }
        }
    }
    check(&options)?;
    Ok(Command::Run(Box::new(options)))
}

/// What does not go together.
fn check(options: &Options) -> Result<(), Failure> {
    check_status(options)?;
    let needs_none = matches!(options.mode, Mode::Doctor | Mode::Run | Mode::Status);
    if options.sources.is_empty() && !needs_none {
        let wanted = if options.mode == Mode::Share {
            "a file or folder to share"
        } else {
            "a torrent"
        };
        return Err(Failure::usage(format_args!("missing: {wanted}")));
    }
    if options.data.is_some() && (options.mode != Mode::Seed || options.sources.len() != 1) {
        return Err(Failure::usage("`--data` goes with `seed` and one torrent"));
    }
    let downloads = matches!(options.mode, Mode::Get | Mode::Bare);
    if !options.select.is_empty() && !downloads {
        return Err(Failure::usage(
            "`--select` goes with downloads: `get` or a torrent alone",
        ));
    }
    let goes_with = |option: &str, mode: &str| {
        Err(Failure::usage(format_args!(
            "`{option}` goes with `{mode}`"
        )))
    };
    match options.mode {
        Mode::Wait if options.complete.is_none() => {
            Err(Failure::usage("missing: `--complete N`, what to wait for"))
        }
        Mode::Wait | Mode::Doctor if options.sources.len() > 1 => {
            Err(Failure::usage("one torrent at a time"))
        }
        mode if options.complete.is_some() && mode != Mode::Wait => goes_with("--complete", "wait"),
        mode if options.min_size.is_some() && mode != Mode::Share => {
            goes_with("--min-size", "share")
        }
        _ => Ok(()),
    }
}

/// What goes together of `run`, `status` and whatever shows how it goes.
fn check_status(options: &Options) -> Result<(), Failure> {
    let is_open = options.status.is_some_and(|addr| !addr.ip().is_loopback());
    let most = if options.mode == Mode::Status { 1 } else { 0 };
    if options.watch.is_some() && options.mode != Mode::Run {
        Err(Failure::usage("`--watch` goes with `run`"))
    } else if is_open && options.token.is_none() {
        Err(Failure::usage(
            "`--status` at an address that others can reach needs `--token TEXT`, or HIVEBT_TOKEN in the environment",
        ))
    } else if matches!(options.mode, Mode::Run | Mode::Status) && options.sources.len() > most {
        Err(Failure::usage(match options.mode {
            Mode::Status => "`status` takes one URL",
            _ => {
                "`run` takes torrents from a folder (`--watch`) or over HTTP, not from the command line"
            }
        }))
    } else {
        Ok(())
    }
}

/// A token that fits into a header and a URL as it is (RFC 6750).
fn token(name: &str, text: String) -> Result<String, Failure> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if !text.is_empty() && text.bytes().all(fits) {
        Ok(text)
    } else {
        // It may be a slip of the pen in what is to stay secret.
        Err(bad_value(name, "…", "letters, digits and - . _ ~ + / ="))
    }
}

fn option(options: &mut Options, args: &mut lexopt::Parser, name: &str) -> Result<(), Failure> {
    match name {
        "-o" | "--output" => options.output = Some(args.value()?.into()),
        "-d" | "--data" => options.data = Some(args.value()?.into()),
        "-p" | "--port" => options.ports = Some(ports(name, args.value()?)?),
        "--bind" => options.bind = Some(Bind::parse(&text(name, args.value()?)?)),
        "--advertise" => options.advertise = Some(advertise(name, args.value()?)?),
        "--peer" => options.peers.push(parsed(
            name,
            args.value()?,
            "an address and port such as 10.0.0.7:6881",
        )?),
        "--tracker" => {
            options.tracker = Some(parsed(
                name,
                args.value()?,
                "an address and port such as 0.0.0.0:8080",
            )?)
        }
        "--max-upload" => options.max_upload = Some(size(name, args.value()?)?),
        "--max-download" => options.max_download = Some(size(name, args.value()?)?),
        "--priority" => options.priority = priority(name, args.value()?)?,
        "--max-peers" => options.max_peers = Some(count(name, args.value()?)?),
        "--max-uploads" => options.max_uploads = Some(count(name, args.value()?)?),
        "--cache" => options.cache = Some(size(name, args.value()?)?),
        "--seed" => options.seed = true,
        "--seed-for" => options.seed_for = Some(duration(name, args.value()?)?),
        "--seed-ratio" => options.seed_ratio = Some(ratio(name, args.value()?)?),
        "--until-peers" => options.until_peers = Some(count(name, args.value()?)?),
        "--complete" => options.complete = u32::try_from(count(name, args.value()?)?).ok(),
        "--min-size" => options.min_size = Some(size(name, args.value()?)?),
        "--timeout" => options.timeout = Some(duration(name, args.value()?)?),
        "--stall-timeout" => options.stall_timeout = Some(duration(name, args.value()?)?),
        "--watch" => options.watch = Some(args.value()?.into()),
        "--status" => {
            options.status = Some(parsed(
                name,
                args.value()?,
                "an address and port such as 127.0.0.1:6880",
            )?)
        }
        "--token" => options.token = Some(token(name, text(name, args.value()?)?)?),
        "--select" => options.select.push(Pattern::parse(name, args.value()?)?),
        "--sequential" => options.sequential = true,
        "--recheck" => options.recheck = true,
        "--on-complete" => options.on_complete = Some(command(name, args.value()?)?),
        "--config" => options.config = Some(args.value()?.into()),
        "--json" => options.json = true,
        "-q" | "--quiet" => options.verbosity = Verbosity::Quiet,
        "-v" | "--verbose" => options.verbosity = Verbosity::Verbose,
        unknown => return Err(Failure::usage(format_args!("unknown option `{unknown}`"))),
    }
    Ok(())
}

fn ports(name: &str, value: OsString) -> Result<RangeInclusive<u16>, Failure> {
    let text = text(name, value)?;
    let (from, to) = text.split_once('-').unwrap_or((&text, &text));
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if from <= to => Ok(from..=to),
        _ => Err(bad_value(
            name,
            text,
            "a port such as 6881 or a range such as 6881-6891",
        )),
    }
}

fn advertise(name: &str, value: OsString) -> Result<(IpAddr, Option<u16>), Failure> {
    let text = text(name, value)?;
    let with_port = text
        .parse()
        .map(|addr: SocketAddr| (addr.ip(), Some(addr.port())));
    let read = with_port.or_else(|_| text.parse().map(|ip| (ip, None)));
    read.map_err(|_| bad_value(name, text, "an IP address, with or without a port"))
}

fn count(name: &str, value: OsString) -> Result<usize, Failure> {
    let takes = "a whole number from 1 to 65535";
    match parsed::<u16>(name, value, takes)? {
        0 => Err(bad_value(name, 0, takes)),
        n => Ok(n.into()),
    }
}

fn priority(name: &str, value: OsString) -> Result<Priority, Failure> {
    let text = text(name, value)?;
    Priority::from_name(&text).ok_or_else(|| bad_value(name, text, "low, normal or high"))
}

fn ratio(name: &str, value: OsString) -> Result<f64, Failure> {
    let takes = "a number such as 1 or 2.5";
    let ratio: f64 = parsed(name, value, takes)?;
    if ratio.is_finite() && ratio >= 0.0 {
        Ok(ratio)
    } else {
        Err(bad_value(name, ratio, takes))
    }
}

fn command(name: &str, value: OsString) -> Result<Vec<String>, Failure> {
    let words: Vec<_> = text(name, value)?
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    if words.is_empty() {
        Err(bad_value(name, "", "a program and its arguments"))
    } else {
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        read_in(line, &[])
    }

    /// With these variables alone in the environment.
    fn read_in(line: &str, variables: &[(&str, &str)]) -> Result<Options, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        match parse_in(line.split_whitespace().map(OsString::from), variable) {
            Ok(Command::Run(options)) => Ok(*options),
            Ok(Command::Print(text)) => Err(text),
            Err(failure) => Err(failure.to_string()),
        }
    }

    #[test]
    fn a_torrent_alone_is_the_bare_form() {
        assert_eq!(read("x.torrent").unwrap().mode, Mode::Bare);
        assert_eq!(read("./get").unwrap().sources, ["./get"]);
        assert_eq!(read("get get").unwrap().sources, ["get"]);
    }

    #[test]
    fn values_are_read_and_checked() {
        let o = read("get a b -p 7000-7010 --max-upload 2M --advertise 1.2.3.4:5 --bind 127.0.0.2 --seed-for 2m -q").unwrap();
        assert_eq!(
            (o.ports, o.max_upload, o.sources.len()),
            (Some(7000..=7010), Some(2 << 20), 2)
        );
        assert_eq!(o.advertise, Some(("1.2.3.4".parse().unwrap(), Some(5))));
        assert_eq!(o.seed_for, Some(Duration::from_secs(120)));
        for (line, says) in [
            ("get x --port 7-6", "`--port` does not take `7-6`"),
            ("get x --peer 1.2.3.4", "`--peer` does not take `1.2.3.4`"),
            ("get x --max-peers 0", "`--max-peers` does not take `0`"),
            (
                "get x --seed-ratio NaN",
                "`--seed-ratio` does not take `NaN`",
            ),
            ("get x --priority 3", "`--priority` does not take `3`"),
            ("get x --frobnicate", "unknown option `--frobnicate`"),
            ("get x --quiet=1", "unexpected argument"),
            ("get", "missing: a torrent"),
            ("wait x", "missing: `--complete N`"),
            ("wait x y --complete 1", "one torrent at a time"),
            ("doctor x y", "one torrent at a time"),
            ("get x --complete 1", "`--complete` goes with `wait`"),
            ("seed x --min-size 1M", "`--min-size` goes with `share`"),
            (
                "seed x --until-peers 0",
                "`--until-peers` does not take `0`",
            ),
            ("seed x --select a", "`--select` goes with downloads"),
            ("share x --select a", "`--select` goes with downloads"),
            ("get x --select [a", "`--select` does not take `[a`"),
            ("get x --watch d", "`--watch` goes with `run`"),
            ("run x", "`run` takes torrents from a folder"),
            ("status a b", "`status` takes one URL"),
            ("run --status 0.0.0.0:1", "needs `--token TEXT`"),
            ("run --token a@b", "`--token` does not take `…`"),
            (
                "seed a b --data d",
                "`--data` goes with `seed` and one torrent",
            ),
        ] {
            let said = read(line).unwrap_err();
            assert!(said.contains(says), "{line}: {said}");
        }
    }

    #[test]
    fn the_environment_is_read_first_and_noted_with_its_name() {
        let variables = [("HIVEBT_MAX_UPLOAD", "1M"), ("HIVEBT_OUTPUT", "--seed")];
        let o = read_in("get x -p 0 --max-upload 2M", &variables).unwrap();
        assert_eq!((o.max_upload, o.seed), (Some(2 << 20), false));
        assert_eq!(o.output, Some("--seed".into()), "a value, not an option");
        let given = [
            ("--output", Origin::Environment("HIVEBT_OUTPUT")),
            ("--max-upload", Origin::Environment("HIVEBT_MAX_UPLOAD")),
            ("--port", Origin::CommandLine),
            ("--max-upload", Origin::CommandLine),
        ];
        assert_eq!(o.given, given);
        let said = read_in("get x", &[("HIVEBT_MAX_UPLOAD", "much")]).unwrap_err();
        assert!(said.starts_with("HIVEBT_MAX_UPLOAD: `--max-upload` does not take `much`"));
        assert!(read_in("doctor", &[]).is_ok());
        for (name, _) in VARIABLES {
            assert!(HELP.contains(name), "{name}");
        }
    }

    #[test]
    fn every_option_of_the_help_is_known() {
        let named = HELP
            .split_whitespace()
            .filter(|w| w.starts_with("--") && w.len() > 2);
        for option in named.map(|w| w.trim_end_matches(',')) {
            let line = format!("get x {option}");
            let said = read(&line).err().unwrap_or_default();
            assert!(!said.contains("unknown option"), "{option}");
        }
    }
}
