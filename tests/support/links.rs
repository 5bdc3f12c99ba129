//! Links of a given rate between the hosts of a network and its switch.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use serde_json::Value;

use super::hosts::{Host, Network};

/// What carries a host's bytes, each way.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Bits per second.
    pub rate: u64,
    /// What may leave at once, in bytes; the kernel cuts larger super-packets up.
    pub burst: u64,
    /// The longest wait in the queue before it, in milliseconds.
    pub queue: u64,
}

impl Link {
    /// A link that behaves as one of an ordinary switch. The burst is small, so that the rate holds over a few milliseconds, too. The queue is
    /// a few hundred KiB; with half of it, the bursts of one connection alone overflow it at 40 Mbit/s.
    pub fn of(rate: u64) -> Self {
        Self {
            rate,
            burst: 16 << 10,
            queue: 50,
        }
    }
}

/// What a host has sent over its link, headers included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Bytes with Ethernet, IP and TCP headers.
    pub bytes: u64,
    /// Packets that found its queue full.
    pub dropped: u64,
}

/// Puts `link` between host `i` of a network and its switch: the host's own port is its uplink, the switch's port to it its downlink.
///
/// # Errors
/// If there is no `tc` command, or no `tbf` in this kernel.
pub fn shape(network: &Network, i: usize, link: Link) -> Result<(), String> {
    let namespace = network.host(i).namespace().unwrap_or_default();
    let port = format!("port{}", i + 1);
    for (namespace, device) in [(namespace, "eth0"), (network.switch(), port.as_str())] {
        let rate = format!("{}bit", link.rate);
        let (burst, queue) = (link.burst.to_string(), format!("{}ms", link.queue));
        let place = ["-n", namespace, "qdisc", "replace", "dev", device, "root"];
        let filter = ["tbf", "rate", &rate, "burst", &burst, "latency", &queue];
        tc(&[&place[..], &filter].concat())?;
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

/// The connections that programs on a host have opened since somebody began to count.
pub struct Connections {
    counters: File,
    before: u64,
}

impl Connections {
    /// Those from `host`, from now on.
    pub fn from(host: &Host) -> Self {
        // The file belongs to the namespace of who opens it, whoever reads it.
        let file = host.within(|| File::open("/proc/thread-self/net/snmp"));
        let mut connections = Self {
            counters: file.expect("the counters of TCP"),
            before: 0,
        };
        connections.before = connections.opened();
        connections
    }

    /// How many it has opened so far.
    pub fn opened(&self) -> u64 {
        let mut text = [0; 8192];
        let n = self.counters.read_at(&mut text, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..n]);
        // A line of names, then one of numbers.
        let mut lines = text.lines().filter(|line| line.starts_with("Tcp: "));
        let names = lines.next().unwrap_or_default().split(' ');
        let numbers = lines.next().unwrap_or_default().split(' ');
        let opened = names.zip(numbers).find(|(name, _)| *name == "ActiveOpens");
        let opened: u64 = opened.and_then(|(_, n)| n.parse().ok()).unwrap_or(0);
        opened.saturating_sub(self.before)
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
