//! The trackers that announces are measured with.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::crowd;
use crate::support::foreign::missing_program;
use crate::support::hosts::Host;
use crate::support::ours::program;
use crate::support::tempdir::TempDir;

/// Where all of them listen, with HTTP and UDP.
pub const PORT: u16 = 8080;

/// Makes the benchmark's own program answer UDP at this port, without being a tracker.
pub const ECHO: &str = "HIVEBT_BENCH_ECHO";

/// A tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    Ours,
    Echo,
    Opentracker,
    AquaticHttp,
    AquaticUdp,
    Torrust,
}

impl Rival {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "hivebt-tracker",
            Self::Echo => "nothing but receive and send",
            Self::Opentracker => "opentracker",
            Self::AquaticHttp => "aquatic_http",
            Self::AquaticUdp => "aquatic_udp",
            Self::Torrust => "torrust-tracker",
        }
    }

    /// Why it cannot be measured, if it is not installed.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Ours | Self::Echo => None,
            other => missing_program(other.name()),
        }
    }

    /// How it is started on `host`; what it has to read is put into `dir`.
    pub fn command(self, host: &Host, dir: &TempDir) -> Command {
        match self {
            Self::Ours => ours(host),
            Self::Echo => echo(host),
            Self::Opentracker => opentracker(host, dir),
            Self::AquaticHttp => aquatic(host, "aquatic_http", &aquatic_http(), dir),
            Self::AquaticUdp => aquatic(host, "aquatic_udp", &aquatic_udp(), dir),
            Self::Torrust => torrust(host, dir),
        }
    }
}

fn ours(host: &Host) -> Command {
    let mut command = host.command(program("tracker"));
    command.args(["--quiet", "-l", &format!("0.0.0.0:{PORT}")]);
    command
}

fn echo(host: &Host) -> Command {
    let mut command = host.command(std::env::current_exe().expect("it runs"));
    command.env(ECHO, PORT.to_string());
    command
}

fn opentracker(host: &Host, dir: &TempDir) -> Command {
    let folder = dir.folder("opentracker");
    fs::write(folder.join("allowed"), crowd::hashes().join("\n") + "\n").expect("its list");
    let port = PORT.to_string();
    let mut command = host.command("opentracker");
    command.args([
        "-i", "0.0.0.0", "-p", &port, "-P", &port, "-w", "allowed", "-d",
    ]);
    command.arg(folder);
    command
}

fn aquatic(host: &Host, name: &str, config: &str, dir: &TempDir) -> Command {
    let mut command = host.command(name);
    command.arg("-c").arg(written(dir, name, config));
    command
}

fn aquatic_udp() -> String {
    format!(
        "[network]\naddress = \"0.0.0.0:{PORT}\"\n\n[protocol]\nmax_response_peers = {}\n",
        crowd::WANTED
    )
}

fn aquatic_http() -> String {
    format!(
        "[network]\naddress = \"0.0.0.0:{PORT}\"\nkeep_alive = true\n\n[protocol]\nmax_peers = {}\n",
        crowd::WANTED
    )
}

fn torrust(host: &Host, dir: &TempDir) -> Command {
    let database = dir.folder("torrust").join("database");
    let config = format!(
        "[metadata]\napp = \"torrust-tracker\"\npurpose = \"configuration\"\nschema_version = \"2.0.0\"\n\n\
         [logging]\nthreshold = \"error\"\n\n[core]\nlisted = false\nprivate = false\ntracker_usage_statistics = false\n\n\
         [core.database]\ndriver = \"sqlite3\"\npath = \"{}\"\n\n[[udp_trackers]]\nbind_address = \"0.0.0.0:{PORT}\"\n\n\
         [[http_trackers]]\nbind_address = \"0.0.0.0:{PORT}\"\n",
        database.display()
    );
    let mut command = host.command("torrust-tracker");
    command.env(
        "TORRUST_TRACKER_CONFIG_TOML_PATH",
        written(dir, "torrust", &config),
    );
    command
}

fn written(dir: &TempDir, name: &str, config: &str) -> PathBuf {
    let file = dir.folder(name).join("config.toml");
    fs::write(&file, config).expect("its configuration");
    file
}
