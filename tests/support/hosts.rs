//! Hosts for a swarm: network namespaces on one switch that leads nowhere else, so that every peer has an address of its own
//! and its usual port, as on a real network. Several clients refuse a second peer on an address, or any peer on 127.0.0.0/8.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static SERIAL: AtomicU32 = AtomicU32::new(0);
const PREFIX: &str = "hivebt-test";

/// Where a program runs.
#[derive(Clone, Debug)]
pub struct Host {
    /// The address it has for the others.
    pub address: IpAddr,
    /// Whether it is one of several addresses of one machine, so that programs have to be told which is theirs.
    pub shared: bool,
    namespace: Option<String>,
}

impl Host {
    /// This machine itself, as the loopback address 127.0.0.`n`.
    pub fn local(n: u8) -> Self {
        Self {
            address: Ipv4Addr::new(127, 0, 0, n).into(),
            shared: true,
            namespace: None,
        }
    }

    /// A command that runs `program` there. The process started is the program itself, not a wrapper, so its id is the one to signal.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let Some(namespace) = &self.namespace else {
            return Command::new(program);
        };
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{namespace}"))
            .arg("--")
            .arg(program);
        command
    }

    /// The name of its network namespace, if it is not this machine itself.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Runs `work` there, in a thread of its own.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                if let Some(namespace) = &self.namespace {
                    let file = std::fs::File::open(Path::new("/run/netns").join(namespace))
                        .expect("the namespace exists");
                    move_into_link_name_space(
                        std::os::fd::AsFd::as_fd(&file),
                        Some(LinkNameSpaceType::Network),
                    )
                    .expect("root may enter a namespace");
                }
                work()
            });
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// A switch and the hosts on it; dropped, all of it is gone.
pub struct Network {
    names: Vec<String>,
    hosts: Vec<Host>,
}

impl Network {
    /// A network of `n` hosts, or why there can be none here.
    ///
    /// # Errors
    /// If namespaces cannot be made: no root, no `ip` command, or a container that forbids it.
    pub fn new(n: u8) -> Result<Self, String> {
        Self::with(n, |i| Ipv4Addr::new(10, 77, 0, i).into())
    }

    /// The same without any IPv4, not even 127.0.0.1.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn v6(n: u8) -> Result<Self, String> {
        Self::with(n, |i| {
            Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, i.into()).into()
        })
    }

    fn with(n: u8, address: impl Fn(u8) -> IpAddr) -> Result<Self, String> {
        let (id, mut network) = Self::empty()?;
        let switch = format!("{id}-switch");
        network.add_namespace(&switch)?;
        ip(
            &["-n", &switch],
            "link add switch type bridge\nlink set switch up\n",
        )?;
        for i in 1..=n {
            let name = format!("{id}-{i}");
            let address = address(i);
            network.add_namespace(&name)?;
            ip(
                &[],
                &format!("link add eth0 netns {name} type veth peer name port{i} netns {switch}\n"),
            )?;
            ip(
                &["-n", &switch],
                &format!("link set port{i} master switch up\n"),
            )?;
            // An address of IPv6 is otherwise looked for among the neighbours for a second before it can be used.
            let (prefix, rest) = match address {
                IpAddr::V4(_) => ("24", ""),
                IpAddr::V6(_) => ("64", "nodad\naddr del 127.0.0.1/8 dev lo"),
            };
            ip(
                &["-n", &name],
                &format!(
                    "link set lo up\nlink set eth0 up\naddr add {address}/{prefix} dev eth0 {rest}\n"
                ),
            )?;
            network.hosts.push(Host {
                address,
                shared: false,
                namespace: Some(name),
            });
        }
        Ok(network)
    }

    /// One machine with `n` addresses on its loopback interface that are not of 127.0.0.0/8, where some clients accept no peer.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn loopback(n: u8) -> Result<Self, String> {
        let (id, mut network) = Self::empty()?;
        network.add_namespace(&id)?;
        ip(&["-n", &id], "link set lo up\n")?;
        for i in 1..=n {
            let address = Ipv4Addr::new(10, 77, 0, i);
            ip(&["-n", &id], &format!("addr add {address}/32 dev lo\n"))?;
            let address = address.into();
            network.hosts.push(Host {
                address,
                shared: true,
                namespace: Some(id.clone()),
            });
        }
        Ok(network)
    }

    /// No hosts yet, and a name for what belongs to it.
    fn empty() -> Result<(String, Self), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces need root".into());
        }
        sweep();
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let id = format!("{PREFIX}-{}-{serial}", std::process::id());
        let network = Self {
            names: Vec::new(),
            hosts: Vec::new(),
        };
        Ok((id, network))
    }

    /// The host with this number, from 0.
    pub fn host(&self, i: usize) -> &Host {
        &self.hosts[i]
    }

    /// The namespace of the switch that the hosts of [`Self::new`] hang on: the host with the number `i` from 0 on its port `port<i + 1>`.
    pub fn switch(&self) -> &str {
        &self.names[0]
    }

    /// Pulls the cable of the host with this number out of the switch, or plugs it in again.
    pub fn plug(&self, i: usize, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        let port = format!("link set port{} {state}\n", i + 1);
        ip(&["-n", self.switch()], &port).expect("a port of the switch");
    }

    /// Joins two hosts by a link of their own, which is `join0` at both ends, with these addresses of one /24.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn join(&self, a: usize, b: usize, addresses: [&str; 2]) -> Result<(), String> {
        let ends = [a, b].map(|i| self.hosts[i].namespace().unwrap_or_default());
        let [a, b] = ends;
        let link = format!("link add join0 netns {a} type veth peer name join0 netns {b}\n");
        ip(&[], &link)?;
        for (name, address) in ends.into_iter().zip(addresses) {
            let up = format!("addr add {address}/24 dev join0\nlink set join0 up\n");
            ip(&["-n", name], &up)?;
        }
        Ok(())
    }

    /// Makes host `by` the default gateway of host `i`.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn route_by(&self, i: usize, by: usize) -> Result<(), String> {
        let name = self.hosts[i].namespace().unwrap_or_default();
        let route = format!("route add default via {}\n", self.hosts[by].address);
        ip(&["-n", name], &route)
    }

    fn add_namespace(&mut self, name: &str) -> Result<(), String> {
        ip(&[], &format!("netns add {name}\n"))?;
        self.names.push(name.to_owned());
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&[], &format!("netns del {name}\n"));
        }
    }
}

/// Removes namespaces of test runs that were killed.
fn sweep() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|n| n.split('-').nth(1));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = ip(&[], &format!("netns del {name}\n"));
        }
    }
}

/// Feeds `script` to `ip -batch`.
fn ip(options: &[&str], script: &str) -> Result<(), String> {
    let run = || -> io::Result<std::process::Output> {
        let mut child = Command::new("ip")
            .args(options)
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            io::Write::write_all(&mut stdin, script.as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = run().map_err(|e| format!("cannot run `ip` (package iproute2): {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`ip` refused `{}`: {said}", script.trim()))
}
