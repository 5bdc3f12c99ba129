//! Small and strict hosts: no root, nothing writable but the folder for data, and 64 MiB of memory for each program, files in the page cache and
//! sockets included, however large the payload.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::installed::Installed;
use super::support::hosts::{Host, Network};
use super::support::ours::{Peer, Torrent, Tracker, program};
use super::support::process::{Process, memory, run_ok};
use super::support::say::{say, skip};
use super::support::tempdir::TempDir;
use super::support::{payload, tree};
use super::{MIB, PATIENCE};

const WORKERS: usize = 3;
const MEMORY: u64 = 64 * MIB;
const NOBODY: u32 = 65534;

/// What a program is started with: into its group, the root file system made read-only but for one folder, all rights given up.
const CONFINE: &str = r#"
set -e
echo $$ >"$1/cgroup.procs"
mount --make-rprivate /
mount --bind "$2" "$2"
mount -o remount,ro,bind /
cd "$2"
user=$3
shift 3
exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
"#;

/// So much memory for one process; dropped, the limit is gone.
struct Limit {
    at: PathBuf,
}

impl Limit {
    /// By cgroups of either version, or why there can be none here.
    fn new(name: &str) -> Result<Self, String> {
        let first = Path::new("/sys/fs/cgroup/memory");
        let (root, file) = if first.is_dir() {
            (first, "memory.limit_in_bytes")
        } else {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        };
        let at = root.join(format!("hivebt-test-{}-{name}", std::process::id()));
        let limit =
            || fs::create_dir(&at).and_then(|()| fs::write(at.join(file), MEMORY.to_string()));
        limit().map_err(|cause| format!("cannot limit memory in `{}`: {cause}", at.display()))?;
        Ok(Self { at })
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // A process that has just ended may still be in it.
        let begun = Instant::now();
        while fs::remove_dir(&self.at).is_err() && begun.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A host, and what a program may use on it.
struct Cell {
    host: Host,
    folder: PathBuf,
    limit: Limit,
}

impl Cell {
    fn command(&self, program: &Path) -> Command {
        let mut command = self.host.command("unshare");
        command.args(["--mount", "--", "sh", "-c", CONFINE, "sh"]);
        command.arg(&self.limit.at).arg(&self.folder);
        command.arg(NOBODY.to_string()).arg(program);
        command
    }
}

#[test]
#[ignore = "needs root and cgroups; `make fleet` and `make interop` run it"]
fn without_root_on_a_read_only_system_in_64_mebibytes_everything_works() {
    let bytes = MIB * std::env::var("HIVEBT_SMALL_MIB").map_or(256, |text| text.parse().unwrap());
    let network = Network::new(1 + WORKERS as u8).expect("root may make namespaces");
    // On a disk: files in memory would count.
    let dir = TempDir::on_disk("small");
    let programs = Installed::new();
    for name in ["create", "tracker", "peer"] {
        programs.install(name, &program(name));
    }
    let cell = |name: &str, host: usize| {
        let folder = dir.folder(name);
        chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        let host = network.host(host).clone();
        Limit::new(name).map(|limit| Cell {
            host,
            folder,
            limit,
        })
    };
    let pool = match cell("pool", 0) {
        Ok(pool) => pool,
        Err(why) => return skip(why),
    };
    let tracking = cell("tracker", 0).unwrap();
    let workers: Vec<Cell> = (1..=WORKERS)
        .map(|worker| cell(&format!("worker {worker}"), worker).unwrap())
        .collect();

    let mut command = tracking.command(&programs.path("tracker"));
    command.args([
        "-l",
        &format!("{}:0", tracking.host.address),
        "--state",
        "state",
    ]);
    let tracker = Tracker::of(&tracking.host, command);
    let file = pool.folder.join("payload.bin");
    payload::file(&file, bytes, 64);
    let mut command = pool.command(&programs.path("create"));
    command.args(["--json", "-q", "-a", &tracker.url(), "payload.bin"]);
    let made: serde_json::Value =
        serde_json::from_str(&run_ok("create", command, PATIENCE)).unwrap();
    let torrent = Torrent {
        file: pool.folder.join("payload.bin.torrent"),
        info_hash: made["info_hash"].as_str().unwrap().into(),
        parent: pool.folder.clone(),
        name: "payload.bin".into(),
        bytes,
    };
    let peer = |cell: &Cell, arguments: &[&str]| {
        let mut command = cell.command(&programs.path("peer"));
        command.args(arguments).arg("--json").arg(&torrent.file);
        let process = Process::start(arguments[0], command);
        Peer { process }
    };
    let mut peers = vec![peer(&pool, &["seed"])];
    tracker.wait_for_seeds(&torrent.info_hash, 1, &peers[0].process);
    let begun = Instant::now();
    peers.extend(workers.iter().map(|cell| peer(cell, &["get", "--seed"])));
    for (worker, cell) in peers[1..].iter().zip(&workers) {
        worker.wait_event("complete", PATIENCE);
        tree::assert_same(&file, &cell.folder.join("payload.bin"));
    }
    let took = begun.elapsed().as_secs_f64();
    let own = |process: &Process| memory(process.pid(), "status", "RssAnon:").unwrap_or(0) / MIB;
    say(format_args!(
        "small: {} MiB to {WORKERS} workers in {took:.1} s, each program in 64 MiB with its page cache; of its own the tracker has {} MiB, the peers {:?}",
        bytes / MIB,
        own(&tracker.process),
        peers
            .iter()
            .map(|peer| own(&peer.process))
            .collect::<Vec<_>>(),
    ));
    for peer in &mut peers {
        let ended = peer.process.stop(PATIENCE);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    let mut tracker = tracker;
    let ended = tracker.process.stop(PATIENCE);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(tracking.folder.join("state").is_file());
}
