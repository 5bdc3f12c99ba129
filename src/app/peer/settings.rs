//! What counts where several places say something: the command line, then the environment, then the configuration, then the default.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::app::config::Loaded;
use crate::app::{human, output};
use crate::core::swarm::event;
use crate::net::tcp::Bind;

use super::options::{Mode, Options, Verbosity};
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
pub const VARIABLES: [(&str, &str); 8] = [
    ("HIVEBT_OUTPUT", "--output"),
    ("HIVEBT_PORT", "--port"),
    ("HIVEBT_BIND", "--bind"),
    ("HIVEBT_ADVERTISE", "--advertise"),
    ("HIVEBT_MAX_UPLOAD", "--max-upload"),
    ("HIVEBT_MAX_DOWNLOAD", "--max-download"),
    ("HIVEBT_MAX_PEERS", "--max-peers"),
    ("HIVEBT_CACHE", "--cache"),
];

/// Options that have more sources than the command line.
pub const OPTIONS: [&str; 9] = [
    "--output",
    "--port",
    "--bind",
    "--advertise",
    "--max-upload",
    "--max-download",
    "--max-uploads",
    "--max-peers",
    "--cache",
];

/// Puts what the configuration says where nobody else has said anything.
pub fn complete(options: &mut Options, loaded: &Loaded) {
    let (seeder, network) = (&loaded.config.seeder, &loaded.config.network);
    let bind = network.bind.as_deref().map(Bind::parse);
    let mut taken = Vec::new();
    let mut take = |option, taken_from_file| {
        if taken_from_file {
            taken.push(option);
        }
    };
    take(
        "--max-upload",
        fill(&mut options.max_upload, seeder.max_upload_rate),
    );
    take(
        "--max-download",
        fill(&mut options.max_download, seeder.max_download_rate),
    );
    take(
        "--max-uploads",
        fill(
            &mut options.max_uploads,
            seeder.max_concurrent_uploads.map(|n| n as usize),
        ),
    );
    take(
        "seeder.piece_request_timeout",
        fill(
            &mut options.request_timeout,
            seeder.piece_request_timeout.map(seconds),
        ),
    );
    take("--cache", fill(&mut options.cache, seeder.cache_size));
    take(
        "--port",
        fill(&mut options.ports, network.listen_port_range.clone()),
    );
    take(
        "--max-peers",
        fill(
            &mut options.max_peers,
            network.max_connections.map(usize::from),
        ),
    );
    take("--bind", fill(&mut options.bind, bind));
    if network.send_buffer.or(network.receive_buffer).is_some() {
        let bind = options.bind.get_or_insert_default();
        (bind.send_buffer, bind.receive_buffer) = (network.send_buffer, network.receive_buffer);
    }
    options
        .given
        .extend(taken.into_iter().map(|option| (option, Origin::File)));
}

/// Whether the place was empty and there was something to put there.
fn fill<T>(place: &mut Option<T>, from_file: Option<T>) -> bool {
    let fills = place.is_none() && from_file.is_some();
    if fills {
        *place = from_file;
    }
    fills
}

fn seconds(n: u32) -> Duration {
    Duration::from_secs(n.into())
}

/// Says once what the configuration asks for and this program does not do.
pub fn warn(options: &Options, loaded: &Loaded) {
    if options.verbosity > Verbosity::Quiet && options.mode != Mode::Doctor {
        for key in loaded.config.network.not_done() {
            output::note(format_args!(
                "warning: the configuration asks for `{key}`, which this version does not do"
            ));
        }
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

/// Every setting that has more than one source, as it counts.
#[must_use]
pub fn table(options: &Options, loaded: &Loaded) -> Vec<Setting> {
    let network = &loaded.config.network;
    let row = |option: Option<&'static str>, key: Option<&'static str>, value: String| {
        let name = option.or(key).unwrap_or_default();
        let mut said = options.given.iter().rev();
        let said = said.find(|(given, _)| *given == name);
        Setting {
            option,
            key,
            value,
            origin: said.map(|(_, origin)| *origin),
        }
    };
    let of_file = |key, value: Option<String>, usual: &str| Setting {
        origin: value.is_some().then_some(Origin::File),
        value: value.unwrap_or_else(|| usual.to_owned()),
        option: None,
        key: Some(key),
    };
    let bytes = |n: Option<u32>| n.map(|n| human::bytes(n.into()));
    let swarm = event::Config::default();
    let ports = options.ports.clone().unwrap_or(PORTS);
    let output = options.output.as_deref().unwrap_or(Path::new("."));
    let slots = options
        .max_uploads
        .map_or("follows the link".into(), |n| n.to_string());
    let timeout = options.request_timeout.unwrap_or(swarm.request_timeout);
    vec![
        row(Some("--output"), None, output.display().to_string()),
        row(
            Some("--port"),
            Some("network.listen_port_range"),
            format!("{}-{}", ports.start(), ports.end()),
        ),
        row(
            Some("--bind"),
            Some("network.bind"),
            bound(options.bind.as_ref()),
        ),
        row(Some("--advertise"), None, advertised(options)),
        row(
            Some("--max-upload"),
            Some("seeder.max_upload_rate"),
            rate(options.max_upload),
        ),
        row(
            Some("--max-download"),
            Some("seeder.max_download_rate"),
            rate(options.max_download),
        ),
        row(
            Some("--max-uploads"),
            Some("seeder.max_concurrent_uploads"),
            slots,
        ),
        row(
            Some("--max-peers"),
            Some("network.max_connections"),
            options.max_peers.unwrap_or(swarm.max_peers).to_string(),
        ),
        row(
            Some("--cache"),
            Some("seeder.cache_size"),
            human::bytes(options.cache.unwrap_or(CACHE)),
        ),
        row(
            None,
            Some("seeder.piece_request_timeout"),
            format!("{} s", timeout.as_secs()),
        ),
        of_file(
            "network.send_buffer",
            bytes(network.send_buffer),
            "the kernel's",
        ),
        of_file(
            "network.receive_buffer",
            bytes(network.receive_buffer),
            "the kernel's",
        ),
        of_file(
            "network.dht_enabled",
            network.dht_enabled.map(|on| on.to_string()),
            "false",
        ),
        of_file(
            "network.upnp_enabled",
            network.upnp_enabled.map(|on| on.to_string()),
            "false",
        ),
    ]
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
