//! `make vendor`: the sources with every crate they need, for whoever builds where there is no registry.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::support::hosts::Network;
use super::support::process::run_ok;
use super::support::say::skip;
use super::support::tempdir::TempDir;
use super::{afresh, archive_of, unpack};

/// Two optimised builds of the library and three of a program, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(3000);

#[test]
#[ignore = "builds everything once more, as root; `make interop` runs it"]
fn the_source_archive_gives_the_same_archive_of_programs_without_a_registry_or_a_network() {
    let (Some(sources), Some(programs)) =
        (archive_of("-source.tar.gz"), archive_of("-linux.tar.gz"))
    else {
        return;
    };
    let network = match Network::loopback(1) {
        Ok(network) => network,
        Err(why) => return skip(why),
    };
    let dir = TempDir::on_disk("source");
    let folder = unpack(&sources, &dir);
    let (home, target) = (dir.folder("no crates"), dir.join("elsewhere"));
    let command = |program: &str| {
        let mut command = afresh(network.host(0).command(program));
        command.current_dir(&folder);
        command.env("CARGO_HOME", &home);
        command.env("CARGO_TARGET_DIR", &target);
        command
    };

    let mut dist = command("make");
    dist.arg("dist");
    run_ok("make dist", dist, PATIENCE);
    let again = folder.join("dist").join(programs.file_name().unwrap());
    assert_same_bytes(&programs, &again);

    // What tests need is there, too. Whether they pass has been seen elsewhere.
    let mut tests = command("cargo");
    tests.args(["check", "--offline", "--frozen", "--all-targets", "--quiet"]);
    run_ok("cargo check", tests, PATIENCE);
    assert!(
        !home.join("registry").exists(),
        "nothing came from a registry"
    );
}

/// Says which of the packed files differ, if any does.
fn assert_same_bytes(one: &Path, other: &Path) {
    if fs::read(one).unwrap() == fs::read(other).unwrap() {
        return;
    }
    let (left, right) = (TempDir::new("one"), TempDir::new("other"));
    let mut command = Command::new("diff");
    command.args(["-rq"]);
    command.arg(unpack(one, &left)).arg(unpack(other, &right));
    let output = command.output().unwrap();
    let differences = String::from_utf8_lossy(&output.stdout);
    panic!("two builds differ: {differences}");
}
