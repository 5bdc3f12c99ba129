//! What is looked at on the way to others: trackers, the address that they see, the clock, and whether the port can be reached.

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::app::peer::PORTS;
use crate::app::peer::asker::Trouble;
use crate::app::peer::onlooker::Onlooker;
use crate::app::peer::options::Options;
use crate::app::peer::port_mapping::{Place, nonce};
use crate::base::id::InfoHash;
use crate::net::tcp::{self, Bind};
use crate::proto::http_date;
use crate::proto::url::{self, Scheme, Target};

use super::{Check, Finding, Subject, Tell};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for the tracker's dial, which itself takes 3 s at most.
const DIAL: Duration = Duration::from_secs(4);

/// Between two looks whether it has come.
const GLANCE: Duration = Duration::from_millis(20);

/// Trackers that are asked.
const MOST: usize = 8;

/// A clock that is wrong by so many seconds makes logs of several hosts hard to read.
const WRONG: u64 = 60;

/// What a tracker has told.
struct Heard {
    /// Where it speaks HTTP, if it does: ours does at the same port as UDP.
    url: String,
    /// The address that it saw us come from.
    address: Option<IpAddr>,
}

pub(super) fn look(options: &Options, subject: &Subject, tell: Tell<'_>) {
    let bind = options.bind.clone().unwrap_or_default();
    let onlooker = Onlooker::new(&bind, TIMEOUT);
    if subject.trackers.is_empty() {
        let (says, fix) = match &subject.torrent {
            Some(_) => (
                "the torrent names none",
                "`hivebt-create edit -a URL` adds one; else peers come from --peer alone",
            ),
            None => (
                "none is known, so none was asked",
                "name a torrent or an announce URL after `doctor`, or `torrent_creation.announce` in the configuration",
            ),
        };
        tell(Finding::warning(Check::Tracker, says.into(), fix));
    }
    let mut heard = None;
    for url in subject.trackers.iter().take(MOST) {
        if let (Ok(target), Some(told)) = (url::tracker(url), ask(&onlooker, url, subject, tell)) {
            if target.scheme != Scheme::Udp {
                tell(udp_beside(&onlooker, &target));
            }
            heard = heard.or(Some(told));
        }
    }
    let ports = options.ports.clone().unwrap_or(PORTS);
    let door = tcp::listen(&bind, ports.clone());
    let told = match (&heard, &door) {
        (Some(heard), Ok(listener)) => be_dialled(&onlooker, &heard.url, listener),
        _ => None,
    };
    if let Some(heard) = &heard {
        tell(clock(&onlooker, &heard.url));
        tell(address(options, told.or(heard.address)));
    }
    if options.port_mapping == Some(true)
        && let Ok(listener) = &door
    {
        tell(mapping(&bind, listener));
    }
    tell(match (door, told) {
        (Ok(listener), Some(ip)) => port(&listener, ip),
        (Ok(_), None) => untested(heard.is_some()),
        (Err(error), _) => {
            let (first, last) = (ports.start(), ports.end());
            let says = format!("none of {first} to {last} can be listened on: {error}");
            let fix = "end what holds them, or name others with --port";
            Finding::problem(Check::Port, says, fix)
        }
    });
}

/// Whether the default gateway lets others in. What it grants is given back.
fn mapping(bind: &Bind, listener: &TcpListener) -> Finding {
    let port = listener.local_addr().map_or(0, |addr| addr.port());
    match Place::find(bind, port, nonce()).and_then(|place| place.map()) {
        Ok(held) => {
            let (mapping, name) = (held.mapping(), held.name());
            let address = mapping
                .address
                .map_or_else(|| "the gateway".into(), |ip| ip.to_string());
            let says = format!("{address}:{} can lead here ({name})", mapping.port);
            held.end();
            Finding::ok(Check::Mapping, says)
        }
        Err(cause) => {
            let fix = "open the port at the router by hand, or let it be: --no-port-mapping";
            Finding::warning(Check::Mapping, cause, fix)
        }
    }
}

fn ask(onlooker: &Onlooker, url: &str, subject: &Subject, tell: Tell<'_>) -> Option<Heard> {
    let own = subject.torrent.as_ref().map(|torrent| torrent.info_hash);
    let hash = own.unwrap_or_else(made_up);
    let begun = Instant::now();
    let answer = onlooker.announce(url, hash);
    let took = millis(begun);
    let heard = |address| {
        let target = url::tracker(url).ok()?;
        let url = match target.scheme {
            Scheme::Udp => format!("http://{}/announce", host_and_port(&target)),
            _ => url.to_owned(),
        };
        Some(Heard { url, address })
    };
    match answer {
        Ok(reply) => {
            tell(Finding::ok(
                Check::Tracker,
                format!("`{url}` answers in {took} ms"),
            ));
            heard(reply.external_ip)
        }
        Err(Trouble::Refused(reason, _)) if own.is_none() => {
            let says = format!(
                "`{url}` answers in {took} ms (and refuses a torrent that nobody has: {reason})"
            );
            tell(Finding::ok(Check::Tracker, says));
            heard(None)
        }
        Err(Trouble::Refused(reason, _)) => {
            let says = format!("`{url}` refuses this torrent: {reason}");
            let fix = "let the tracker serve it (--allow, --torrents, --keys), or name another with `hivebt-create edit -a URL`";
            tell(Finding::problem(Check::Tracker, says, fix));
            heard(None)
        }
        Err(Trouble::Failed(cause)) => {
            let fix =
                "start the tracker, name its right address, or open its port on the way there";
            tell(Finding::problem(
                Check::Tracker,
                format!("`{url}`: {cause}"),
                fix,
            ));
            None
        }
    }
}

/// Whether a tracker that answers over HTTP does so over UDP, too, as ours does.
fn udp_beside(onlooker: &Onlooker, target: &Target) -> Finding {
    let at = format!("udp://{}", host_and_port(target));
    let begun = Instant::now();
    match onlooker.announce(&at, made_up()) {
        Ok(_) | Err(Trouble::Refused(..)) => {
            let took = millis(begun);
            Finding::ok(Check::Tracker, format!("`{at}` answers in {took} ms"))
        }
        Err(trouble) => {
            let fix = "none is needed where the torrent names the http:// URL; for a udp:// one, open its UDP port";
            Finding::warning(Check::Tracker, format!("`{at}`: {trouble}"), fix)
        }
    }
}

/// What is left of a millisecond does not matter to anybody.
fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn host_and_port(target: &Target) -> String {
    let Target { host, port, .. } = target;
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A torrent that nobody has.
fn made_up() -> InfoHash {
    let mut hash = [0; 20];
    fastrand::Rng::new().fill(&mut hash);
    InfoHash(hash)
}

fn clock(onlooker: &Onlooker, url: &str) -> Finding {
    let date = onlooker.page(url, "/stats").ok().and_then(|page| page.date);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs()).cast_signed();
    match date.as_deref().and_then(http_date::parse) {
        Some(there) => compare(now, there),
        None => Finding::ok(Check::Clock, "the tracker does not tell the time".into()),
    }
}

fn compare(here: i64, there: i64) -> Finding {
    let off = here.abs_diff(there);
    if off < WRONG {
        return Finding::ok(
            Check::Clock,
            format!("within {} s of the tracker's", off + 1),
        );
    }
    let way = if here > there { "ahead of" } else { "behind" };
    let says = format!("{off} s {way} the tracker's");
    let fix = "set the clock of whichever is wrong, for example with `timedatectl set-ntp true`";
    Finding::warning(Check::Clock, says, fix)
}

fn address(options: &Options, seen: Option<IpAddr>) -> Finding {
    let fix = "name the tracker by an address that other hosts can reach, or give --advertise";
    match (options.advertise, seen) {
        (Some((ip, _)), Some(seen)) if ip != seen => {
            let says = format!(
                "the tracker sees {seen}; --advertise says {ip}, which it believes only if it trusts {seen}"
            );
            let fix = format!("`hivebt-tracker --map {seen}={ip}` makes it tell {ip}");
            Finding::warning(Check::Address, says, &fix)
        }
        (_, Some(seen)) if seen.is_loopback() => {
            let says = format!("the tracker sees {seen}, which other hosts are not told");
            Finding::warning(Check::Address, says, fix)
        }
        (_, Some(seen)) => Finding::ok(Check::Address, format!("others are told {seen}")),
        (Some((ip, _)), None) => Finding::ok(Check::Address, format!("--advertise says {ip}")),
        (None, None) => Finding::ok(
            Check::Address,
            "the tracker does not say where it sees this host (BEP 24)".into(),
        ),
    }
}

/// Asks the tracker to dial us, and tells at which address; `None` if it does not.
fn be_dialled(onlooker: &Onlooker, url: &str, listener: &TcpListener) -> Option<IpAddr> {
    let port = listener.local_addr().ok()?.port();
    let answer = onlooker.json(url, &format!("/reach?port={port}"))?;
    answer["address"].as_str()?.parse().ok()
}

fn untested(any_tracker: bool) -> Finding {
    let why = if any_tracker {
        "the tracker does not try it (hivebt-tracker does)"
    } else {
        "there is no tracker that could try"
    };
    let says = format!("it is not known whether others reach it: {why}");
    let fix = "`nc -z THIS-HOST PORT` on another host, while a peer runs here, tells";
    Finding::warning(Check::Port, says, fix)
}

/// Whether the tracker's dial, or anybody's, comes through to us.
fn port(listener: &TcpListener, ip: IpAddr) -> Finding {
    let port = listener.local_addr().map_or(0, |addr| addr.port());
    if is_dialled(listener) {
        let says = format!("the tracker reaches {ip} port {port}");
        return Finding::ok(Check::Port, says);
    }
    let says = format!("the tracker cannot reach {ip} port {port}");
    let fix = format!(
        "open TCP port {port} in the firewalls between the hosts (and forward it at a NAT), or name an open one with --port"
    );
    Finding::problem(Check::Port, says, &fix)
}

fn is_dialled(listener: &TcpListener) -> bool {
    let deadline = Instant::now() + DIAL;
    if listener.set_nonblocking(true).is_err() {
        return false;
    }
    while Instant::now() < deadline {
        match listener.accept() {
            Ok(_) => return true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(GLANCE),
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_clock_that_is_far_off_is_told_with_the_direction() {
        assert_eq!(compare(1000, 1059).level, Level::Ok);
        let ahead = compare(4600, 1000);
        assert_eq!(ahead.level, Level::Warning);
        assert_eq!(ahead.says, "3600 s ahead of the tracker's");
        assert_eq!(compare(0, 90).says, "90 s behind the tracker's");
    }
}
