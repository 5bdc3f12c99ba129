//! `hivebt-tracker`, and the same tracker inside another program.

mod carrier;
mod catalog;
mod datagrams;
mod dht_node;
mod doors;
mod mapping;
mod metrics;
mod options;
mod overview;
mod page;
mod pages;
mod private;
mod reach;
mod service;
mod source;
mod state;
mod torrents;
mod torrents_page;

use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::failure::{Exit, Failure};
use super::output;
use super::signals::{self, Signal};
use crate::base::cidr::Cidr;
use crate::core::tracker::{Access, Limits, Policy, Zones};
use crate::net::gate::{self, Gate};
use crate::net::http_server::PageServer;
use carrier::Carrier;
pub use catalog::Published;
use doors::Doors;
pub use mapping::Mapping;
use options::{Options, Voice};
use pages::{Pages, Rooms};
use private::{Doorman, Keys};
use service::Service;
use state::StateFile;
use torrents::Folder;

/// How a tracker runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. Empty: at [`Config::port`], on all addresses of both families, or of IPv4 alone where IPv6 is off.
    pub listen: Vec<SocketAddr>,
    /// Where to listen if no address is given; 0 lets the kernel choose.
    pub port: u16,
    /// The longest time between two announces of a peer, in seconds.
    pub interval: u32,
    /// Most peers in one reply.
    pub max_peers: u32,
    /// How often what silent peers took up is given back at least.
    pub cleanup: Duration,
    /// A file of the only info-hashes that are served.
    pub allow: Option<PathBuf>,
    /// A file of info-hashes that are not served.
    pub deny: Option<PathBuf>,
    /// Who may say where a request really comes from.
    pub trust: Vec<Cidr>,
    /// Peers that others reach elsewhere than where the tracker sees them; the first that fits counts.
    pub map: Vec<Mapping>,
    /// Whom an asker is told about.
    pub policy: Policy,
    /// From how much progress on, in percent, [`Policy::STAGE`] tells of seeders first.
    pub finish: u8,
    /// Who sees on the page where peers are; others see only how far they are.
    pub show_peers: Vec<Cidr>,
    /// A scrape without info-hashes is told of all swarms.
    pub full_scrape: bool,
    /// Connections over HTTP at once; fewer where the system has no more descriptors to give.
    pub connections: usize,
    /// Connections over HTTP at once from one address (of IPv6: from one /64).
    pub connections_per_address: u32,
    /// What strangers may make the tracker do.
    pub limits: Limits,
    /// Serves nothing but the torrents that it hands out, see [`Server::publish`].
    pub closed: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            port: 8080,
            interval: 300,
            max_peers: 50,
            cleanup: Duration::from_secs(3600),
            allow: None,
            deny: None,
            trust: Vec::new(),
            map: Vec::new(),
            policy: Policy::RANDOM,
            finish: 80,
            show_peers: Vec::new(),
            full_scrape: false,
            connections: 10_000,
            connections_per_address: 1_000,
            limits: Limits::default(),
            closed: false,
        }
    }
}

/// A running tracker. Stops when dropped.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    config: Config,
    service: Arc<Service>,
    // The threads below end when these are dropped.
    _gate: Gate,
    _caretaker: mpsc::Sender<()>,
}

impl Server {
    /// Listens and serves HTTP, on threads of its own.
    ///
    /// # Errors
    /// If a list cannot be read or an address cannot be listened at.
    pub fn start(config: Config) -> Result<Self, Failure> {
        let service = serve(&config, None)?;
        let listeners = doors::open_http(&config)?;
        Self::start_at(listeners, config, service, pages::few_rooms)
    }

    /// Serves HTTP at `listeners`.
    fn start_at(
        listeners: Vec<TcpListener>,
        config: Config,
        service: Arc<Service>,
        rooms: Rooms,
    ) -> Result<Self, Failure> {
        let addresses = listeners
            .iter()
            .filter_map(|l| l.local_addr().ok())
            .collect();
        let pages = Pages::new(Arc::clone(&service), rooms);
        let pages = PageServer::start(Box::new(move |wanted| pages.page(wanted)));
        let most = gate::descriptors().saturating_sub(SPARE).max(16);
        let limits = gate::Config {
            connections: config.connections.min(most),
            per_address: config.connections_per_address,
            ..gate::Config::default()
        };
        let gate = Gate::start(limits, listeners, pages.map_err(starting)?, || {
            Carrier::new(Arc::clone(&service))
        });
        let gate = gate.map_err(starting)?;
        let caretaker = look_after(&service, config.cleanup).map_err(starting)?;
        Ok(Self {
            addresses,
            config,
            service,
            _gate: gate,
            _caretaker: caretaker,
        })
    }

    /// Where it listens, with the real ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Hands out these torrents under `/torrents/`. A closed tracker serves them alone.
    pub fn publish(&self, torrents: Vec<Published>) {
        if self.config.closed {
            let hashes = torrents.iter().map(|torrent| torrent.info_hash);
            self.service.set_access(Access::only(hashes));
        }
        self.service.set_catalog(torrents);
    }

    /// Reads the lists again.
    ///
    /// # Errors
    /// If one cannot be read; the old ones then stay.
    pub fn reload(&self) -> Result<(), Failure> {
        self.service.set_access(read_lists(&self.config)?);
        Ok(())
    }

    /// Stops serving.
    pub fn stop(self) {
        drop(self);
    }
}

/// Descriptors that are kept for everything but connections.
const SPARE: usize = 64;

/// The program; `arguments` without its name.
///
/// # Errors
/// What the operator is to be told.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<Exit, Failure> {
    let Some(Options {
        config,
        private,
        torrents,
        state,
        zones,
        carriers,
        dht_port,
        voice,
        json,
    }) = options::read(arguments)?
    else {
        return Ok(Exit::Done);
    };
    let (tell, told) = mpsc::channel();
    let watching = signals::watch(move |signal| {
        // Nobody listens any more once the end has begun.
        let _ = tell.send(signal);
    });
    watching.map_err(|cause| {
        Failure::plain(
            Exit::Failed,
            format_args!("cannot watch for signals: {cause}"),
        )
    })?;
    let open = |path| Keys::open(path, private.rule).map(Arc::new);
    let keys = private.keys.map(open).transpose()?;
    let doorman = keys.clone().map(|keys| keys as Arc<dyn Doorman>);
    let service = serve(&config, doorman)?;
    let open = |plan| StateFile::open(plan, Arc::clone(&service), keys.clone());
    let mut state = state.map(open).transpose()?;
    let torrents = torrents.map(|path| Folder::open(path, &service, voice));
    let torrents = torrents.transpose()?;
    read_zones(zones.as_deref(), &service)?;
    let doors = Doors::open(&config, carriers)?;
    let urls: Vec<String> = doors.urls().collect();
    let listen = config.listen.clone();
    let server = Server::start_at(doors.http, config, service, page::rooms)?;
    let datagrams = datagrams::start(&server.service, doors.udp).map_err(starting)?;
    let nodes = dht_port
        .map(|port| dht_node::start(&listen, port))
        .transpose()?;
    let nodes = nodes.unwrap_or_default();
    server.service.set_dht(nodes.clone());
    let nodes_at = nodes.iter().map(|node| dht_node::url(node));
    for url in urls.into_iter().chain(nodes_at) {
        if json {
            output::result(pages::listening_event(&url));
        }
        if voice > Voice::Quiet {
            output::note(format_args!("listening on {url}"));
        }
    }
    let watch = |folder: Folder| folder.watch(Arc::clone(&server.service));
    let torrents = torrents.map(watch).transpose().map_err(starting)?;
    let mut report = Instant::now() + REPORT;
    loop {
        let due = state.as_ref().map_or(report, |file| file.due().min(report));
        match told.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Signal::Reload) => {
                tell_reread("lists", server.reload(), voice);
                if let Some(path) = &zones {
                    tell_reread("zones", read_zones(Some(path), &server.service), voice);
                }
                if let Some(keys) = &keys {
                    tell_reread("keys", keys.reload(), voice);
                }
            }
            Ok(Signal::Interrupt | Signal::Terminate) | Err(RecvTimeoutError::Disconnected) => {
                break;
            }
            Err(RecvTimeoutError::Timeout) => {
                if Instant::now() >= report {
                    report = Instant::now() + REPORT;
                    if let Some(keys) = &keys {
                        keys.cleanup(server.service.now(), server.service.patience());
                    }
                    if json {
                        output::result(pages::statistics_event(&server.service));
                    }
                    if voice == Voice::Verbose {
                        output::note(pages::summary(&server.service));
                    }
                }
                if let Some(file) = &mut state {
                    file.look_after();
                }
            }
        }
    }
    nodes.iter().for_each(|node| node.stop());
    drop(torrents);
    drop(datagrams);
    server.stop();
    state.map_or(Ok(()), StateFile::finish)?;
    Ok(Exit::Done)
}

fn tell_reread(what: &str, outcome: Result<(), Failure>, voice: Voice) {
    match outcome {
        Ok(()) if voice > Voice::Quiet => output::note(format_args!("{what} read again")),
        Ok(()) => {}
        Err(failure) => output::note(format_args!("error: {failure}; the old {what} stay")),
    }
}

/// How often `--verbose` says how it goes.
const REPORT: Duration = Duration::from_secs(60);

/// Starts the thread that gives memory back; it ends with the sender.
fn look_after(service: &Arc<Service>, every: Duration) -> io::Result<mpsc::Sender<()>> {
    let (alive, gone) = mpsc::channel::<()>();
    let service = Arc::clone(service);
    let work = move || {
        while matches!(gone.recv_timeout(every), Err(RecvTimeoutError::Timeout)) {
            service.cleanup();
        }
    };
    thread::Builder::new()
        .name("caretaker".into())
        .spawn(work)?;
    Ok(alive)
}

/// A tracker that knows what it may serve, but nobody yet.
fn serve(config: &Config, doorman: Option<Arc<dyn Doorman>>) -> Result<Arc<Service>, Failure> {
    let access = read_lists(config)?;
    Ok(Arc::new(Service::new(config, access, doorman)))
}

fn starting(cause: impl Display) -> Failure {
    Failure::plain(
        Exit::Failed,
        format_args!("cannot start the tracker: {cause}"),
    )
}

fn read_lists(config: &Config) -> Result<Access, Failure> {
    if config.closed {
        return Ok(Access::only([]));
    }
    let read = |path: &Option<PathBuf>| path.as_deref().map(read_list).transpose();
    let (allow, deny) = (read(&config.allow)?, read(&config.deny)?);
    Access::read(allow.as_deref(), deny.as_deref()).map_err(|(of_deny, bad)| {
        let path = if of_deny { &config.deny } else { &config.allow };
        let path = path.as_deref().unwrap_or(Path::new("")).display();
        Failure::new(Exit::Input, "read the list", path, bad)
    })
}

fn read_zones(path: Option<&Path>, service: &Service) -> Result<(), Failure> {
    let Some(path) = path else {
        return Ok(());
    };
    let zones = Zones::read(&read_list(path)?);
    let zones =
        zones.map_err(|bad| Failure::new(Exit::Input, "read the zones", path.display(), bad))?;
    service.set_zones(zones);
    Ok(())
}

fn read_list(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|cause| {
        let exit = if cause.kind() == io::ErrorKind::InvalidData {
            Exit::Input
        } else {
            Exit::Storage
        };
        Failure::new(exit, "read the list", path.display(), cause)
    })
}
