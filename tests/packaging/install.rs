//! `make install` and `make uninstall`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::afresh;
use super::support::process::run_ok;
use super::support::tempdir::TempDir;
use super::support::tree;

/// If the programs have to be built first.
const PATIENCE: Duration = Duration::from_secs(3000);

fn make(verb: &str, root: &TempDir) {
    let mut command = afresh(Command::new("make"));
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        command.env("CARGO_TARGET_DIR", target);
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg(verb);
    command.arg(format!("DESTDIR={}", root.path().display()));
    command.arg("PREFIX=/opt/hive");
    run_ok(&format!("make {verb}"), command, PATIENCE);
}

#[test]
#[ignore = "means optimised builds; `make interop` runs it"]
fn what_install_puts_there_uninstall_takes_away() {
    let root = TempDir::new("install");
    make("install", &root);
    let installed = root.join("opt/hive");
    for name in ["create", "tracker", "peer"] {
        assert!(installed.join(format!("bin/hivebt-{name}")).is_file());
    }
    let units = installed.join("lib/systemd/system");
    let mut found = 0;
    for entry in fs::read_dir(units).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.contains("ExecStart=/opt/hive/bin/hivebt-"), "{text}");
        found += 1;
    }
    assert_eq!(found, 3);
    make("uninstall", &root);
    assert_eq!(tree::files(root.path()), [].into(), "files are left");
    assert!(!Path::new(&installed).join("share/doc/hivebt").exists());
}
