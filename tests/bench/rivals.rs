//! The trackers that announces are measured with.

use std::fs;
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
    AquaticUdp,
}

impl Rival {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "hivebt-tracker",
            Self::Echo => "nothing but receive and send",
            Self::Opentracker => "opentracker",
            Self::AquaticUdp => "aquatic_udp",
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
            Self::AquaticUdp => aquatic_udp(host, dir),
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

fn aquatic_udp(host: &Host, dir: &TempDir) -> Command {
    let file = dir.folder("aquatic").join("config.toml");
    let config = format!(
        "[network]\naddress = \"0.0.0.0:{PORT}\"\n\n[protocol]\nmax_response_peers = {}\n",
        crowd::WANTED
    );
    fs::write(&file, config).expect("its configuration");
    let mut command = host.command("aquatic_udp");
    command.arg("-c").arg(file);
    command
}
