//! `hivebt-peer doctor`: looks at everything that a run needs before it needs it, and says what to change.

mod dht;
mod host;
mod network;

use std::path::PathBuf;

use crate::app::config::Loaded;
use crate::app::failure::{Exit, Failure};
use crate::app::output;
use crate::base::json::{Value, json};
use crate::net::http_client;
use crate::proto::metainfo::Metainfo;
use crate::proto::url::{self, Scheme};

use super::options::{Options, Verbosity};
use super::{load, settings};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    /// Runs go on, but not as they could.
    Warning,
    /// Runs fail.
    Problem,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Torrent,
    Tracker,
    Dht,
    Clock,
    Address,
    Port,
    Mapping,
    Folder,
    Space,
    Descriptors,
    Lock,
}

impl Check {
    const fn name(self) -> &'static str {
        match self {
            Self::Torrent => "torrent",
            Self::Tracker => "tracker",
            Self::Dht => "dht",
            Self::Clock => "clock",
            Self::Address => "address",
            Self::Port => "port",
            Self::Mapping => "port mapping",
            Self::Folder => "folder",
            Self::Space => "space",
            Self::Descriptors => "descriptors",
            Self::Lock => "lock",
        }
    }

    /// Whether it is about the way to others rather than about this host.
    const fn is_of_network(self) -> bool {
        matches!(
            self,
            Self::Tracker | Self::Dht | Self::Clock | Self::Address | Self::Port | Self::Mapping
        )
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    check: Check,
    level: Level,
    says: String,
    /// The change that helps.
    fix: Option<String>,
}

impl Finding {
    #[cold]
    fn new(check: Check, level: Level, says: String, fix: Option<String>) -> Self {
        Self {
            check,
            level,
            says,
            fix,
        }
    }

    #[cold]
    fn ok(check: Check, says: String) -> Self {
        Self::new(check, Level::Ok, says, None)
    }

    #[cold]
    fn warning(check: Check, says: String, fix: &str) -> Self {
        Self::new(check, Level::Warning, says, Some(fix.to_owned()))
    }

    #[cold]
    fn problem(check: Check, says: String, fix: &str) -> Self {
        Self::new(check, Level::Problem, says, Some(fix.to_owned()))
    }
}

/// Hears of findings one by one.
type Tell<'a> = &'a mut dyn FnMut(Finding);

/// What the operator asks about.
#[derive(Debug, Default)]
struct Subject {
    /// The torrent, if there is one.
    torrent: Option<Metainfo>,
    /// Announce URLs.
    trackers: Vec<String>,
    /// Where a download would lie.
    folder: PathBuf,
}

/// Looks at everything and tells it.
///
/// # Errors
/// Never: what is wrong is a finding.
pub(super) fn examine(options: &Options, loaded: &Loaded) -> Result<Exit, Failure> {
    let table = settings::table(options, loaded);
    let teller = Teller {
        json: options.json,
        quiet: options.verbosity == Verbosity::Quiet,
    };
    if !teller.json && !teller.quiet {
        teller.settings(&table, loaded);
    }
    let mut findings = Vec::new();
    let tell: Tell<'_> = &mut |finding: Finding| {
        teller.finding(&finding);
        findings.push(finding);
    };
    match subject(options, loaded) {
        Ok(subject) => {
            subject.torrent.iter().for_each(|torrent| {
                let name = torrent.shown_name();
                tell(Finding::ok(
                    Check::Torrent,
                    format!("{name}: {}", torrent.info_hash),
                ));
            });
            network::look(options, &subject, tell);
            dht::look(options, &subject, tell);
            host::look(options, &subject, tell);
        }
        Err(failure) => {
            let fix =
                "name a .torrent file, the http:// URL of one, or the announce URL of a tracker";
            tell(Finding::problem(Check::Torrent, failure.to_string(), fix));
            host::look(options, &Subject::default(), tell);
        }
    }
    let exit = exit(&findings);
    if teller.json {
        output::result(report(&table, loaded, &findings, exit));
    }
    Ok(exit)
}

/// Every problem is the network's, or one at least is not.
fn exit(findings: &[Finding]) -> Exit {
    let mut problems = findings
        .iter()
        .filter(|finding| finding.level == Level::Problem)
        .peekable();
    if problems.peek().is_none() {
        Exit::Done
    } else if problems.all(|problem| problem.check.is_of_network()) {
        Exit::Network
    } else {
        Exit::Failed
    }
}

fn subject(options: &Options, loaded: &Loaded) -> Result<Subject, Failure> {
    let mut subject = Subject {
        folder: super::here(options.output.clone().unwrap_or_default()),
        ..Subject::default()
    };
    let creation = &loaded.config.torrent_creation;
    let Some(source) = options.sources.first() else {
        let configured = creation.announce.iter().flatten().flatten();
        subject.trackers = configured.cloned().collect();
        return Ok(subject);
    };
    if let Some(tracker) = source.to_str().and_then(announce_url) {
        subject.trackers = vec![tracker];
        return Ok(subject);
    }
    let client = http_client::Options {
        bind: options.bind.clone().unwrap_or_default(),
        ..http_client::Options::default()
    };
    let torrent = load::load(source, &client)?.metainfo;
    subject.trackers = torrent.announce.iter().flatten().cloned().collect();
    subject.torrent = Some(torrent);
    Ok(subject)
}

/// The announce URL that `text` is or, where it names a server alone, has. A .torrent file on a web server is none.
fn announce_url(text: &str) -> Option<String> {
    let target = url::tracker(text).ok()?;
    let (_, rest) = text.split_once("://")?;
    let (_, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let announces = path.split('/').any(|part| part.starts_with("announce"));
    match target.scheme {
        Scheme::Udp => Some(text.to_owned()),
        _ if announces && !path.ends_with(".torrent") => Some(text.to_owned()),
        _ if path.is_empty() => Some(format!("{}/announce", text.trim_end_matches('/'))),
        _ => None,
    }
}

struct Teller {
    json: bool,
    quiet: bool,
}

impl Teller {
    fn settings(&self, table: &[settings::Setting], loaded: &Loaded) {
        let file = loaded.path.as_ref();
        let file = file.map_or_else(|| "none".into(), |path| path.display().to_string());
        output::result(format_args!("configuration file: {file}"));
        for setting in table {
            let (name, value) = (setting.name(), &setting.value);
            output::result(format_args!("  {name:<34} {value:<22} {}", setting.from()));
        }
    }

    /// A line, and what would help below it.
    fn finding(&self, finding: &Finding) {
        if self.json || (self.quiet && finding.level < Level::Problem) {
            return;
        }
        let (level, check) = (finding.level.name(), finding.check.name());
        output::result(format_args!("{level:<8} {check:<13} {}", finding.says));
        if let Some(fix) = &finding.fix {
            output::result(format_args!("{:22} fix: {fix}", ""));
        }
    }
}

fn report(table: &[settings::Setting], loaded: &Loaded, findings: &[Finding], exit: Exit) -> Value {
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let file = loaded.path.as_ref().map(|path| path.display().to_string());
    let settings = table.iter().map(|setting| {
        let (value, from) = (setting.value.as_str(), setting.from());
        json!({"option": setting.option, "key": setting.key, "value": value, "from": from})
    });
    let checks = findings.iter().map(|finding| {
        let (check, level) = (finding.check.name(), finding.level.name());
        json!({"check": check, "status": level, "message": finding.says, "fix": finding.fix})
    });
    json!({
        "configuration": file,
        "settings": settings.collect::<Value>(),
        "checks": checks.collect::<Value>(),
        "warnings": count(Level::Warning),
        "problems": count(Level::Problem),
        "exit": exit as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracker_is_told_from_a_torrent_by_its_url() {
        for (text, tracker) in [
            ("http://t:1/announce", Some("http://t:1/announce")),
            (
                "http://t:1/announce/key?x=1",
                Some("http://t:1/announce/key?x=1"),
            ),
            ("http://t:1/announce.php", Some("http://t:1/announce.php")),
            ("http://t:1", Some("http://t:1/announce")),
            ("http://t:1/", Some("http://t:1/announce")),
            ("udp://t:1", Some("udp://t:1")),
            ("http://t:1/torrents/a.torrent", None),
            ("http://t:1/announce.torrent", None),
            ("a.torrent", None),
            ("-", None),
        ] {
            assert_eq!(announce_url(text).as_deref(), tracker, "{text}");
        }
    }

    #[test]
    fn the_exit_code_tells_the_network_from_this_host() {
        let problem = |check| Finding::problem(check, "x".into(), "y");
        for (findings, wanted) in [
            (vec![], Exit::Done),
            (
                vec![Finding::warning(Check::Space, "x".into(), "y")],
                Exit::Done,
            ),
            (
                vec![problem(Check::Port), problem(Check::Tracker)],
                Exit::Network,
            ),
            (
                vec![problem(Check::Port), problem(Check::Space)],
                Exit::Failed,
            ),
        ] {
            assert_eq!(exit(&findings), wanted, "{findings:?}");
        }
    }
}
