//! What counts where several places say something: the command line, then the environment, then the configuration, then the default.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::app::config::Loaded;
use crate::app::human;
use crate::core::swarm::event;
use crate::net::tcp::Bind;

use super::doors::Transport;
use super::options::Options;
use super::{CACHE, PORTS};

/// Who said what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An option.
    CommandLine,
    /// This variable.
    Environment(&'static str),
    /// The configuration.
    File,
}

/// Options that the environment can give, too. What it says is read as if it stood on the command line.
pub const VARIABLES: [(&str, &str); 9] = [
    ("HIVEBT_OUTPUT", "--output"),
    ("HIVEBT_PORT", "--port"),
    ("HIVEBT_BIND", "--bind"),
    ("HIVEBT_ADVERTISE", "--advertise"),
    ("HIVEBT_MAX_UPLOAD", "--max-upload"),
    ("HIVEBT_MAX_DOWNLOAD", "--max-download"),
    ("HIVEBT_MAX_PEERS", "--max-peers"),
    ("HIVEBT_CACHE", "--cache"),
    ("HIVEBT_TOKEN", "--token"),
];

/// The option of that name, if it has more sources than the command line.
pub fn option(name: &str) -> Option<&'static str> {
    let mut options = NAMES.iter().filter_map(|(option, _)| *option);
    options.find(|option| *option == name)
}

/// Puts what the configuration says where nobody else has said anything.
pub fn complete(options: &mut Options, loaded: &Loaded) {
    let (seeder, network) = (&loaded.config.seeder, &loaded.config.network);
    let seconds = |n: u32| Duration::from_secs(n.into());
    let slots = seeder.max_concurrent_uploads.map(|n| n as usize);
    let peers = network.max_connections.map(usize::from);
    options.max_upload = options.max_upload.or(seeder.max_upload_rate);
    options.max_download = options.max_download.or(seeder.max_download_rate);
    options.max_uploads = options.max_uploads.or(slots);
    options.dht |= network.dht_enabled == Some(true);
    options.request_timeout = seeder.piece_request_timeout.map(seconds);
    options.pex = options.pex.or(network.pex_enabled);
    options.lsd = options.lsd.or(network.lsd_enabled);
    options.utp = options.utp.or(network.utp_enabled);
    options.cache = options.cache.or(seeder.cache_size);
    options.max_peers = options.max_peers.or(peers);
    options.encryption = options.encryption.or(network.encryption);
    options.port_mapping = options.port_mapping.or(network.upnp_enabled);
    if options.ports.is_none() {
        options.ports.clone_from(&network.listen_port_range);
    }
    if options.bind.is_none() {
        options.bind = network.bind.as_deref().map(Bind::parse);
    }
    if network.send_buffer.or(network.receive_buffer).is_some() {
        let bind = options.bind.get_or_insert_default();
        (bind.send_buffer, bind.receive_buffer) = (network.send_buffer, network.receive_buffer);
    }
}

/// What counts, and why.
pub struct Setting {
    /// The option, if it has one.
    pub option: Option<&'static str>,
    /// The key of the configuration, if it has one.
    pub key: Option<&'static str>,
    /// What it is.
    pub value: String,
    origin: Option<Origin>,
}

impl Setting {
    /// What it is called: by its option, else by its key.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.option.or(self.key).unwrap_or_default()
    }

    /// Who said so.
    #[must_use]
    pub fn from(&self) -> &'static str {
        match self.origin {
            Some(Origin::CommandLine) => "command line",
            Some(Origin::Environment(name)) => name,
            Some(Origin::File) => "configuration",
            None => "default",
        }
    }
}

/// What has more sources than the command line: the option and the key of each.
const NAMES: [(Option<&str>, Option<&str>); 18] = [
    (Some("--output"), None),
    (Some("--port"), Some("network.listen_port_range")),
    (Some("--bind"), Some("network.bind")),
    (Some("--advertise"), None),
    (Some("--encryption"), Some("network.encryption")),
    (Some("--max-upload"), Some("seeder.max_upload_rate")),
    (Some("--max-download"), Some("seeder.max_download_rate")),
    (Some("--max-uploads"), Some("seeder.max_concurrent_uploads")),
    (Some("--max-peers"), Some("network.max_connections")),
    (Some("--cache"), Some("seeder.cache_size")),
    (None, Some("seeder.piece_request_timeout")),
    (None, Some("network.send_buffer")),
    (None, Some("network.receive_buffer")),
    (Some("--no-pex"), Some("network.pex_enabled")),
    (Some("--lsd"), Some("network.lsd_enabled")),
    (Some("--dht"), Some("network.dht_enabled")),
    (Some("--utp"), Some("network.utp_enabled")),
    (Some("--port-mapping"), Some("network.upnp_enabled")),
];

/// Every one of them as it counts.
#[must_use]
pub fn table(options: &Options, loaded: &Loaded) -> Vec<Setting> {
    let network = &loaded.config.network;
    let swarm = event::Config::default();
    let ports = options.ports.clone().unwrap_or(PORTS);
    let slots = options.max_uploads;
    let timeout = options.request_timeout.unwrap_or(swarm.request_timeout);
    let output = options.output.as_deref().unwrap_or(Path::new("."));
    let values = [
        output.display().to_string(),
        format!("{}-{}", ports.start(), ports.end()),
        bound(options.bind.as_ref()),
        advertised(options),
        options.encryption.unwrap_or_default().name().to_owned(),
        rate(options.max_upload),
        rate(options.max_download),
        slots.map_or("follows the link".into(), |n| n.to_string()),
        options.max_peers.unwrap_or(swarm.max_peers).to_string(),
        human::bytes(options.cache.unwrap_or(CACHE)),
        format!("{} s", timeout.as_secs()),
        buffer(network.send_buffer),
        buffer(network.receive_buffer),
        if options.pex.unwrap_or(true) {
            "peers are exchanged".into()
        } else {
            "nothing is exchanged".into()
        },
        options.lsd.unwrap_or(false).to_string(),
        options.dht.to_string(),
        match options.transport() {
            Transport::Tcp => "false",
            Transport::Both => "true",
            Transport::Utp => "only",
        }
        .into(),
        options.port_mapping.unwrap_or(false).to_string(),
    ];
    let seeder = &loaded.config.seeder;
    let in_file = [
        false,
        network.listen_port_range.is_some(),
        network.bind.is_some(),
        false,
        network.encryption.is_some(),
        seeder.max_upload_rate.is_some(),
        seeder.max_download_rate.is_some(),
        seeder.max_concurrent_uploads.is_some(),
        network.max_connections.is_some(),
        seeder.cache_size.is_some(),
        seeder.piece_request_timeout.is_some(),
        network.send_buffer.is_some(),
        network.receive_buffer.is_some(),
        network.pex_enabled.is_some(),
        network.lsd_enabled.is_some(),
        network.dht_enabled.is_some(),
        network.utp_enabled.is_some(),
        network.upnp_enabled.is_some(),
    ];
    let rows = NAMES.into_iter().zip(values).zip(in_file);
    let rows = rows.map(|(((option, key), value), in_file)| {
        let mut said = options.given.iter().rev();
        let said = said.find(|(name, _)| Some(*name) == option);
        let from_file = || in_file.then_some(Origin::File);
        Setting {
            option,
            key,
            value,
            origin: said.map(|(_, origin)| *origin).or_else(from_file),
        }
    });
    rows.collect()
}

fn buffer(bytes: Option<u32>) -> String {
    bytes.map_or_else(|| "the kernel's".into(), |n| human::bytes(n.into()))
}

fn rate(limit: Option<u64>) -> String {
    match limit {
        None | Some(0) => "no limit".into(),
        Some(limit) => human::rate(limit),
    }
}

fn bound(bind: Option<&Bind>) -> String {
    let addr = bind.and_then(|bind| Some(bind.addr?.to_string()));
    let named = addr.or_else(|| bind?.interface.clone());
    named.unwrap_or_else(|| "any address".into())
}

fn advertised(options: &Options) -> String {
    match options.advertise {
        None => "what the tracker sees".into(),
        Some((ip, None)) => ip.to_string(),
        Some((ip, Some(port))) => SocketAddr::new(ip, port).to_string(),
    }
}
