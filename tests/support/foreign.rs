//! Other people's clients and trackers. Everything that looks for peers beside the tracker is off (DHT, PEX, LSD, port mapping); the rest is as it comes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::hosts::Host;
use super::http;
use super::ours::{LIMIT, Tracker};
use super::process::Process;
use super::tempdir::TempDir;

const LIBTORRENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/support/libtorrent_peer.py"
);

/// Somebody else's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Aria2,
    Transmission,
    Libtorrent,
    /// The same, but that its seeder shows each peer one piece at a time (BEP 16).
    LibtorrentSuper,
    Rqbit,
    Rtorrent,
    Ctorrent,
}

impl Client {
    /// Those that come with a distribution or from PyPI, and that interop is about.
    pub const ALL: [Self; 3] = [Self::Aria2, Self::Transmission, Self::Libtorrent];

    /// Why it cannot be used here, if so.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Aria2 => missing_program("aria2c"),
            Self::Transmission => missing_program("transmission-daemon")
                .or_else(|| missing_program("transmission-remote")),
            Self::Libtorrent | Self::LibtorrentSuper => missing_module("libtorrent"),
            Self::Rqbit => missing_program("rqbit"),
            Self::Rtorrent => missing_program("rtorrent"),
            Self::Ctorrent => missing_program("ctorrent"),
        }
    }

    /// Starts it as a seeder of `torrent`, whose payload lies in the folder `data`. `home` is for what it keeps.
    pub fn seed(self, host: &Host, torrent: &Path, data: &Path, home: &Path) -> Process {
        self.start("seed", host, torrent, data, home)
    }

    /// Starts it as a leecher that downloads into the folder `to`; `torrent` may be a magnet link.
    pub fn get(self, host: &Host, torrent: &Path, to: &Path, home: &Path) -> Process {
        self.start("get", host, torrent, to, home)
    }

    /// The same, and then it goes on seeding for as long as it does without being told how long.
    pub fn get_and_stay(self, host: &Host, torrent: &Path, to: &Path, home: &Path) -> Process {
        self.start("stay", host, torrent, to, home)
    }

    /// Starts it (`verb` is `seed` or `get`) so that it takes no connection without an encrypted handshake, whatever comes after it; with `rc4`, nothing but RC4 after it.
    pub fn start_encrypted(
        self,
        verb: &str,
        host: &Host,
        torrent: &Path,
        folder: &Path,
        home: &Path,
        rc4: bool,
    ) -> Process {
        let (name, mut command) = self.command(verb, host, torrent, folder, home);
        let level = if rc4 { "rc4" } else { "plaintext" };
        match self {
            Self::Aria2 => {
                let level = if rc4 { "arc4" } else { "plain" };
                command.arg("--bt-require-crypto=true");
                command.arg(format!("--bt-min-crypto-level={level}"))
            }
            Self::Transmission => command.arg("--encryption-required"),
            _ => command.arg(format!("--encrypt={level}")),
        };
        Process::start(&name, command)
    }

    /// Where it listens if nothing else is said.
    pub fn port(self) -> u16 {
        match self {
            Self::Transmission => 51413,
            _ => 6881,
        }
    }

    /// Whether a leecher has said that it has the payload.
    pub fn is_complete(self, leecher: &Process) -> bool {
        leecher.has_said(|line| self.says_complete(line))
    }

    /// Whether a leecher says with this line that it has the payload.
    pub fn says_complete(self, line: &str) -> bool {
        match self {
            Self::Aria2 => line.contains("Download complete: "),
            Self::Transmission => {
                line.contains("State changed from \"Incomplete\" to \"Complete\"")
            }
            Self::Libtorrent | Self::LibtorrentSuper | Self::Rtorrent => line == "complete",
            Self::Rqbit => line.contains("torrent finished downloading"),
            Self::Ctorrent => line.contains("Download complete"),
        }
    }

    /// Whether a leecher ends by itself once it has the payload.
    pub fn ends_when_done(self) -> bool {
        matches!(self, Self::Aria2 | Self::Rqbit)
    }

    /// Waits until it says so.
    pub fn wait_complete(self, leecher: &Process, limit: Duration) {
        leecher.wait_for("the complete payload", limit, |_, line| {
            self.says_complete(line).then_some(())
        });
    }

    /// Waits until a leecher has its payload and has written it down; then it is gone.
    pub fn finish(self, mut leecher: Process, limit: Duration) {
        if self.ends_when_done() {
            let ended = leecher.wait(limit);
            assert_eq!(ended.code, 0, "{self:?} failed\n{}", ended.stdout);
        } else {
            self.wait_complete(&leecher, limit);
            // Transmission writes its cache out when it is told to end.
            leecher.stop(LIMIT);
        }
    }

    fn start(self, verb: &str, host: &Host, torrent: &Path, folder: &Path, home: &Path) -> Process {
        let (name, command) = self.command(verb, host, torrent, folder, home);
        let process = Process::start(&name, command);
        if self == Self::Transmission && is_link(torrent) {
            add_link(host, torrent);
        }
        process
    }

    /// What it is called here, and how it is started.
    fn command(
        self,
        verb: &str,
        host: &Host,
        torrent: &Path,
        folder: &Path,
        home: &Path,
    ) -> (String, Command) {
        fs::create_dir_all(home).expect("a folder for the client");
        let command = match self {
            Self::Aria2 => aria2(verb, host, torrent, folder, home),
            Self::Transmission => transmission(host, torrent, folder, home, false),
            Self::LibtorrentSuper if verb == "seed" => {
                libtorrent("superseed", host, torrent, folder)
            }
            Self::Libtorrent | Self::LibtorrentSuper => libtorrent(verb, host, torrent, folder),
            Self::Rqbit => rqbit(verb, host, torrent, folder),
            Self::Rtorrent => rtorrent(host, torrent, folder, home),
            Self::Ctorrent => ctorrent(verb, host, torrent, folder, home),
        };
        (format!("{self:?} {verb} on {}", host.address), command)
    }
}

/// Tells Transmission on `host` of a magnet link, as soon as it listens.
fn add_link(host: &Host, link: &Path) {
    let deadline = Instant::now() + LIMIT;
    let added = || {
        let mut command = host.command("transmission-remote");
        command.arg("-a").arg(link);
        command.output().is_ok_and(|said| said.status.success())
    };
    while !added() {
        assert!(Instant::now() < deadline, "Transmission takes no link");
        thread::sleep(Duration::from_millis(50));
    }
}

fn aria2(verb: &str, host: &Host, torrent: &Path, folder: &Path, home: &Path) -> Command {
    let mut command = host.command("aria2c");
    // It speaks UDP to trackers only through the socket of its DHT, which finds nobody here to begin with.
    let bytes = if is_link(torrent) {
        Vec::new()
    } else {
        fs::read(torrent).expect("the torrent")
    };
    let udp = bytes.windows(6).any(|w| w == b"udp://");
    command.arg(format!("--enable-dht={udp}"));
    command.arg(format!(
        "--dht-file-path={}",
        home.join("dht.dat").display()
    ));
    command.args([
        "--no-conf",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        "--show-console-readout=false",
        "--summary-interval=0",
        "--enable-color=false",
        "--file-allocation=none",
    ]);
    if host.shared {
        command.arg(format!("--interface={}", host.address));
    } else {
        // It would pick any of a hundred.
        command.arg(format!("--listen-port={}", Client::Aria2.port()));
    }
    match verb {
        "seed" => command.args(["--check-integrity=true", "--seed-ratio=0"]),
        "get" => command.arg("--seed-time=0"),
        // As long as it seeds, it does not say by itself that it is complete.
        _ => command.arg("--on-bt-download-complete").arg(teller(home)),
    };
    command.arg("-d").arg(folder).arg(torrent);
    command
}

fn is_link(torrent: &Path) -> bool {
    torrent.to_string_lossy().starts_with("magnet:")
}

/// A program for aria2 to run, which says what aria2 says when it does not seed.
fn teller(home: &Path) -> PathBuf {
    let path = home.join("complete");
    fs::write(&path, "#!/bin/sh\necho \"Download complete: $3\"\n").expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path
}

/// Transmission that connects over uTP, too, and first.
pub fn transmission_over_utp(host: &Host, torrent: &Path, folder: &Path, home: &Path) -> Process {
    let command = transmission(host, torrent, folder, home, true);
    Process::start(
        &format!("Transmission with uTP on {}", host.address),
        command,
    )
}

fn transmission(host: &Host, torrent: &Path, folder: &Path, home: &Path, utp: bool) -> Command {
    let watch = home.join("watch");
    fs::create_dir_all(&watch).expect("a folder to watch");
    if !is_link(torrent) {
        fs::copy(torrent, watch.join("it.torrent")).expect("a copy of the torrent");
    }
    let (v4, v6) = match host.address {
        IpAddr::V4(ip) => (ip, Ipv6Addr::UNSPECIFIED),
        IpAddr::V6(ip) => (Ipv4Addr::UNSPECIFIED, ip),
    };
    let settings = serde_json::json!({
        "bind-address-ipv4": v4.to_string(),
        "bind-address-ipv6": v6.to_string(),
        "dht-enabled": false,
        "lpd-enabled": false,
        "pex-enabled": false,
        // Transmission 3.00 closes the TCP connection that it falls back to when a peer does not answer over uTP.
        "utp-enabled": utp,
        "port-forwarding-enabled": false,
        // Links do not come by the folder.
        "rpc-enabled": is_link(torrent),
        "rpc-bind-address": "127.0.0.1",
        "download-dir": folder,
        "watch-dir-enabled": true,
        "watch-dir": watch,
        "start-added-torrents": true,
        "trash-original-torrent-files": false,
        "ratio-limit-enabled": false,
        "idle-seeding-limit-enabled": false,
        "preallocation": 0,
        "umask": 18,
    });
    fs::write(home.join("settings.json"), settings.to_string()).expect("its settings");
    let mut command = host.command("transmission-daemon");
    command
        .args(["--foreground", "--log-debug", "-g"])
        .arg(home);
    command
}

/// libtorrent with what it does not do otherwise: words such as `pex`, `utp` for uTP alone, `peer=ADDR:PORT` to connect to, `down=BYTES` a second.
pub fn libtorrent_with(
    verb: &str,
    host: &Host,
    torrent: &Path,
    folder: &Path,
    words: &str,
) -> Process {
    let mut command = libtorrent(verb, host, torrent, folder);
    command.env("LIBTORRENT_PEER", words);
    Process::start(&format!("Libtorrent {verb} on {}", host.address), command)
}

fn libtorrent(verb: &str, host: &Host, torrent: &Path, folder: &Path) -> Command {
    let mut command = host.command("python3");
    command.args(["-W", "ignore", LIBTORRENT, verb]);
    command.arg(torrent).arg(folder);
    if host.shared || host.address.is_ipv6() {
        command.arg(host.address.to_string());
    }
    command
}

fn rqbit(verb: &str, host: &Host, torrent: &Path, folder: &Path) -> Command {
    let mut command = host.command("rqbit");
    // It cannot be told which address to announce from, so a seeder and a leecher on one machine differ by their ports.
    let port = if verb == "seed" { "4240" } else { "4241" };
    // That it is complete is said at this level.
    let level = if verb == "stay" { "info" } else { "warn" };
    command.args(["-v", level, "--disable-dht", "--disable-lsd", "--ipv4-only"]);
    command.args(["--disable-upnp-port-forward", "--listen-port", port]);
    command.args(["download", "--disable-http-api", "--overwrite"]);
    if verb == "get" {
        command.arg("--exit-on-finish");
    }
    command.arg("-o").arg(folder).arg(torrent);
    command
}

fn rtorrent(host: &Host, torrent: &Path, folder: &Path, home: &Path) -> Command {
    // What it runs has nowhere to print to, but finds what rtorrent itself prints to.
    let teller = home.join("complete");
    fs::write(&teller, "#!/bin/sh\necho complete > /proc/$PPID/fd/1\n").expect("a script");
    fs::set_permissions(&teller, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let settings = format!(
        "system.daemon.set = true\n\
         network.bind_address.set = {}\n\
         network.port_range.set = 6890-6890\n\
         session.path.set = {}\n\
         directory.default.set = {}\n\
         dht.mode.set = disable\n\
         protocol.pex.set = no\n\
         pieces.hash.on_completion.set = no\n\
         method.set_key = event.download.finished,tell,\"execute.nothrow={}\"\n\
         load.start = {}\n",
        host.address,
        home.display(),
        folder.display(),
        teller.display(),
        torrent.display(),
    );
    let path = home.join("rtorrent.rc");
    fs::write(&path, settings).expect("its settings");
    let mut command = host.command("rtorrent");
    command
        .args(["-n", "-o"])
        .arg(format!("import={}", path.display()));
    command
}

fn ctorrent(verb: &str, host: &Host, torrent: &Path, folder: &Path, home: &Path) -> Command {
    let mut command = host.command("ctorrent");
    // Told an address, it listens there alone, but announces from another.
    let port = if verb == "seed" { "2706" } else { "2707" };
    let name = torrent.file_stem().unwrap_or_default();
    command.args(["-p", port, "-b"]).arg(home.join("bitfield"));
    command.arg("-s").arg(folder.join(name)).arg(torrent);
    command
}

/// Starts opentracker on `host`. Debian builds it with a list of the info-hashes that it serves.
pub fn opentracker(host: &Host, port: u16, info_hashes: &[&str], home: &TempDir) -> Tracker {
    let folder = home.folder("opentracker");
    fs::write(folder.join("allowed"), info_hashes.join("\n") + "\n").expect("its list");
    let mut command = host.command("opentracker");
    let ip = host.address.to_string();
    let port_text = port.to_string();
    command.args(["-i", &ip, "-p", &port_text, "-P", &port_text, "-d"]);
    command.arg(&folder);
    if takes_list() {
        command.args(["-w", "allowed"]);
    }
    let tracker = Tracker {
        process: Process::start("opentracker", command),
        host: host.clone(),
        address: SocketAddr::from((host.address, port)),
    };
    wait_until_served(&tracker.process, host, tracker.address, info_hashes);
    tracker
}

/// Waits until a tracker serves the last of `info_hashes`: opentracker opens its port before it has read its list.
pub fn wait_until_served(
    process: &Process,
    host: &Host,
    address: SocketAddr,
    info_hashes: &[&str],
) {
    // Somebody who goes is not remembered.
    let hash = percent(info_hashes.last().expect("an info-hash"));
    let path = format!(
        "/announce?info_hash={hash}&peer_id=-XX0001-000000000000&port=9&left=0&event=stopped"
    );
    let deadline = Instant::now() + LIMIT;
    let served = || {
        let reply = host.within(|| http::get(address, &path));
        reply.is_ok_and(|(_, body)| !String::from_utf8_lossy(&body).contains("not authorized"))
    };
    while !served() {
        let waiting = !process.has_ended() && Instant::now() < deadline;
        assert!(waiting, "opentracker does not serve\n{}", process.tail());
        thread::sleep(Duration::from_millis(20));
    }
}

/// 40 hex digits, percent-encoded byte by byte.
pub fn percent(hex: &str) -> String {
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|i| format!("%{}", &hex[i..i + 2])).collect()
}

fn takes_list() -> bool {
    let help = Command::new("opentracker").arg("-h").output();
    help.is_ok_and(|said| {
        let text = [said.stdout, said.stderr].concat();
        String::from_utf8_lossy(&text).contains("whitelist")
    })
}

/// Why `program` cannot be used, if it is not installed.
pub fn missing_program(program: &str) -> Option<String> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    (!found).then(|| format!("{program} is not installed"))
}

/// Why the Python module `name` cannot be used, if it is not installed.
pub fn missing_module(name: &str) -> Option<String> {
    let status = Command::new("python3")
        .args(["-c", &format!("import {name}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let found = status.is_ok_and(|status| status.success());
    (!found).then(|| format!("python3 has no module {name}"))
}
