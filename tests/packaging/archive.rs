//! `make dist`: one archive, to be unpacked on hosts that have nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::hosts::{Host, Network};
use super::support::ours::LIMIT;
use super::support::process::{Process, run_ok};
use super::support::say::skip;
use super::support::tempdir::TempDir;
use super::support::{payload, tree};
use super::{archive_of, unpack};

const ENDING: &str = "-linux.tar.gz";
const PROGRAMS: [&str; 3] = ["hivebt-create", "hivebt-tracker", "hivebt-peer"];

#[test]
#[ignore = "needs the archive of `make dist`; `make interop` runs it"]
fn the_archive_is_whole_and_tells_nothing_of_the_machine_that_made_it() {
    let Some(archive) = archive_of(ENDING) else {
        return;
    };
    let dir = TempDir::new("dist");
    let folder = unpack(&archive, &dir);
    let mut command = Command::new("sha256sum");
    command.args(["--check", "--strict", "SHA256SUMS"]);
    command.current_dir(&folder);
    run_ok("sha256sum", command, LIMIT);

    let sums = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let mut listed: BTreeSet<PathBuf> = sums
        .lines()
        .map(|line| line.split_once("  ").unwrap().1.into())
        .collect();
    listed.insert("SHA256SUMS".into());
    assert_eq!(listed, tree::files(&folder));
    for name in ["README.md", "LICENSE", "bt_config.json"] {
        assert!(listed.contains(Path::new(name)), "{name}");
    }
    let home = std::env::var("HOME").unwrap_or_default();
    for program in PROGRAMS {
        let bytes = fs::read(folder.join(program)).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(holds("crates/"), "{program} tells where a crate panics");
        for place in [env!("CARGO_MANIFEST_DIR"), "registry/src", &home] {
            let tells = place.len() > 5 && holds(place);
            assert!(!tells, "{program} tells of {place}");
        }
    }
}

/// A program in an empty root on a host without any network.
struct Root<'a> {
    host: &'a Host,
    path: &'a Path,
}

impl Root<'_> {
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.host.command("chroot");
        command.arg(self.path).arg(format!("/{program}"));
        command.args(arguments);
        command
    }
}

#[test]
#[ignore = "needs the archive of `make dist` and root; `make interop` runs it"]
fn the_workflow_runs_in_an_empty_root_without_a_network() {
    let Some(archive) = archive_of(ENDING) else {
        return;
    };
    let network = match Network::loopback(3) {
        Ok(network) => network,
        Err(why) => return skip(why),
    };
    let (dir, root) = (TempDir::new("dist"), TempDir::new("root"));
    let folder = unpack(&archive, &dir);
    for program in PROGRAMS {
        fs::copy(folder.join(program), root.join(program)).unwrap();
    }
    // Nothing else: no /tmp, no /proc, no /dev, no /etc, no library.
    payload::file(&root.join("from/payload.bin"), (5 << 20) + 7, 5);
    fs::create_dir(root.join("to")).unwrap();
    let on = |n: usize| Root {
        host: network.host(n),
        path: root.path(),
    };
    for program in PROGRAMS {
        let said = run_ok(program, on(0).command(program, &["--version"]), LIMIT);
        assert_eq!(said, format!("{program} {}\n", env!("CARGO_PKG_VERSION")));
    }

    let listen = format!("{}:0", network.host(0).address);
    let tracker = on(0).command("hivebt-tracker", &["-l", &listen]);
    let tracker = Process::start("tracker", tracker);
    let announce = tracker.wait_for("its address", LIMIT, |_, line| {
        let (_, url) = line.split_once("listening on http://")?;
        Some(format!("http://{url}"))
    });
    let arguments = ["-a", &announce, "-o", "/x.torrent", "/from/payload.bin"];
    run_ok("create", on(1).command("hivebt-create", &arguments), LIMIT);
    let bind = network.host(1).address.to_string();
    let arguments = [
        "seed",
        "--json",
        "-p",
        "0",
        "--bind",
        &bind,
        "-d",
        "/from",
        "/x.torrent",
    ];
    let seeder = Process::start("seed", on(1).command("hivebt-peer", &arguments));
    seeder.wait_line("\"started\"", LIMIT);
    let bind = network.host(2).address.to_string();
    let arguments = ["get", "-p", "0", "--bind", &bind, "-o", "/to", "/x.torrent"];
    let said = run_ok("get", on(2).command("hivebt-peer", &arguments), LIMIT);
    assert_eq!(said, "/to/payload.bin\n");
    tree::assert_same(&root.join("from/payload.bin"), &root.join("to/payload.bin"));
    let arguments = ["verify", "/x.torrent", "/to"];
    run_ok("verify", on(2).command("hivebt-create", &arguments), LIMIT);
}
