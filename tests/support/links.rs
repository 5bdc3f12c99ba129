//! Links of a given rate between the hosts of a network and its switch.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use serde_json::Value;

use super::hosts::{Host, Network};

/// What may leave at once, in bytes. Small, so that the rate holds over a few milliseconds, too; the kernel cuts larger super-packets up.
const BURST: &str = "16384";
/// The longest wait in the queue before a link: that of an ordinary switch, which has a few hundred KiB for each port. With half of it,
/// the bursts of one connection alone overflow a queue at 40 Mbit/s.
const QUEUE: &str = "50ms";

/// What a host has sent over its link, headers included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Bytes with Ethernet, IP and TCP headers.
    pub bytes: u64,
    /// Packets that found its queue full.
    pub dropped: u64,
}

/// Gives host `i` of a network with a switch `bits` per second each way: its own port is its uplink, the switch's port to it its downlink.
///
/// # Errors
/// If there is no `tc` command, or no `tbf` in this kernel.
pub fn shape(network: &Network, i: usize, bits: u64) -> Result<(), String> {
    let namespace = network.host(i).namespace().unwrap_or_default();
    let port = format!("port{}", i + 1);
    for (namespace, device) in [(namespace, "eth0"), (network.switch(), port.as_str())] {
        let rate = format!("{bits}bit");
        let link = ["-n", namespace, "qdisc", "replace", "dev", device, "root"];
        let filter = ["tbf", "rate", &rate, "burst", BURST, "latency", QUEUE];
        tc(&[&link[..], &filter].concat())?;
    }
    Ok(())
}

/// What `host`, which has a shaped link, has sent so far.
pub fn sent(host: &Host) -> Sent {
    let namespace = host.namespace().unwrap_or_default();
    // Not the counters of the interface: they count one set of headers for a super-packet of up to 64 KiB.
    let said = tc(&[
        "-n", namespace, "-s", "-j", "qdisc", "show", "dev", "eth0", "root",
    ]);
    let said: Value = serde_json::from_str(&said.expect("a shaped link")).expect("JSON");
    let number = |key: &str| said[0][key].as_u64().unwrap_or_default();
    Sent {
        bytes: number("bytes"),
        dropped: number("drops"),
    }
}

/// What has arrived at a host since somebody began to count.
pub struct Arrivals {
    counters: File,
    before: u64,
}

impl Arrivals {
    /// Those at `host` from now on.
    pub fn at(host: &Host) -> Self {
        // The file belongs to the namespace of who opens it, whoever reads it.
        let file = host.within(|| File::open("/proc/thread-self/net/dev"));
        let mut arrivals = Self {
            counters: file.expect("the counters of the interfaces"),
            before: 0,
        };
        arrivals.before = arrivals.bytes();
        arrivals
    }

    /// Bytes that have arrived so far.
    pub fn bytes(&self) -> u64 {
        let mut text = [0; 4096];
        let n = self.counters.read_at(&mut text, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..n]);
        let line = text.split_once("eth0:").map_or("", |(_, line)| line);
        let first = line.split_whitespace().next();
        let bytes: u64 = first.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        bytes.saturating_sub(self.before)
    }
}

fn tc(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("tc").args(arguments).output();
    let output = output.map_err(|e| format!("cannot run `tc` (package iproute2): {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`tc {}` failed: {said}", arguments.join(" ")))
}
