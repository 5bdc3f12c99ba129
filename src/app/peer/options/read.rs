//! From words to [`Options`].

use std::ffi::OsString;

use lexopt::prelude::*;

use crate::app::args::{self, duration, parsed, size, text};
use crate::app::failure::Failure;
use crate::net::tcp::Bind;

use super::super::selection::Pattern;
use super::super::settings::{Origin, VARIABLES};
use super::check::check;
use super::values::{
    advertise, command, count, encryption, ports, priority, ratio, token, web_seed,
};
use super::{Command, HELP, Mode, Options, Verbosity};

/// Reads a command line, the program's name left out.
///
/// # Errors
/// For anything that is not in the help, naming the option and what it takes.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Failure> {
    parse_in(args, args::from_environment)
}

/// The same in an environment that is known by `variable`.
pub(super) fn parse_in(
    args: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Command, Failure> {
    let mut args = lexopt::Parser::from_args(args);
    let mut options = Options::new(Mode::Bare);
    for (name, stands_for) in VARIABLES {
        if let Some(value) = variable(name) {
            let mut value = lexopt::Parser::from_args([OsString::from(stands_for), value]);
            value.next()?;
            option(&mut options, &mut value, stands_for)
                .map_err(|failure| Failure::usage(format_args!("{name}: {failure}")))?;
            options.given.push((stands_for, Origin::Environment(name)));
        }
    }
    let mut first = true;
    while let Some(arg) = args.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Print(HELP.into())),
            Short('V') | Long("version") => {
                return Ok(Command::Print(
                    concat!("hivebt-peer ", env!("CARGO_PKG_VERSION"), "\n").into(),
                ));
            }
            Value(value) => match (std::mem::take(&mut first), value.to_str()) {
                (true, Some("get")) => options.mode = Mode::Get,
                (true, Some("seed")) => options.mode = Mode::Seed,
                (true, Some("share")) => options.mode = Mode::Share,
                (true, Some("wait")) => options.mode = Mode::Wait,
                (true, Some("doctor")) => options.mode = Mode::Doctor,
                (true, Some("run")) => options.mode = Mode::Run,
                (true, Some("status")) => options.mode = Mode::Status,
                _ => options.sources.push(value),
            },
            Short(letter) => {
                let name = format!("-{letter}");
                option(&mut options, &mut args, &name)?;
                options.note(&name);
            }
            Long(name) => {
                let name = format!("--{name}");
                option(&mut options, &mut args, &name)?;
                options.note(&name);
            }
        }
    }
    check(&options)?;
    Ok(Command::Run(Box::new(options)))
}

fn option(options: &mut Options, args: &mut lexopt::Parser, name: &str) -> Result<(), Failure> {
    match name {
        "-o" | "--output" => options.output = Some(args.value()?.into()),
        "-d" | "--data" => options.data = Some(args.value()?.into()),
        "-p" | "--port" => options.ports = Some(ports(name, args.value()?)?),
        "--bind" => options.bind = Some(Bind::parse(&text(name, args.value()?)?)),
        "--advertise" => options.advertise = Some(advertise(name, args.value()?)?),
        "--port-mapping" => options.port_mapping = Some(true),
        "--no-port-mapping" => options.port_mapping = Some(false),
        "--peer" => options.peers.push(parsed(
            name,
            args.value()?,
            "an address and port such as 10.0.0.7:6881",
        )?),
        "--web-seed" => options.web_seeds.push(web_seed(name, args.value()?)?),
        "--no-web-seeds" => options.no_web_seeds = true,
        "--lsd" => options.lsd = Some(true),
        "--utp" => options.utp = Some(true),
        "--utp-only" => options.utp_only = true,
        "--no-pex" => options.pex = Some(false),
        "--dht" => options.dht = true,
        "--dht-node" => {
            options.dht = true;
            options.dht_nodes.push(args::node(name, args.value()?)?);
        }
        "--dht-read-only" => {
            options.dht = true;
            options.dht_read_only = true;
        }
        "--tracker" => {
            options.tracker = Some(parsed(
                name,
                args.value()?,
                "an address and port such as 0.0.0.0:8080",
            )?)
        }
        "--encryption" => options.encryption = Some(encryption(name, args.value()?)?),
        "--max-upload" => options.max_upload = Some(size(name, args.value()?)?),
        "--max-download" => options.max_download = Some(size(name, args.value()?)?),
        "--priority" => options.priority = priority(name, args.value()?)?,
        "--max-peers" => options.max_peers = Some(count(name, args.value()?)?),
        "--max-uploads" => options.max_uploads = Some(count(name, args.value()?)?),
        "--cache" => options.cache = Some(size(name, args.value()?)?),
        "--seed" => options.seed = true,
        "--seed-for" => options.seed_for = Some(duration(name, args.value()?)?),
        "--seed-ratio" => options.seed_ratio = Some(ratio(name, args.value()?)?),
        "--until-peers" => options.until_peers = Some(count(name, args.value()?)?),
        "--complete" => options.complete = u32::try_from(count(name, args.value()?)?).ok(),
        "--min-size" => options.min_size = Some(size(name, args.value()?)?),
        "--timeout" => options.timeout = Some(duration(name, args.value()?)?),
        "--stall-timeout" => options.stall_timeout = Some(duration(name, args.value()?)?),
        "--watch" => options.watch = Some(args.value()?.into()),
        "--keep-for" => options.keep.keep_for = Some(duration(name, args.value()?)?),
        "--keep-size" => options.keep.keep_size = Some(size(name, args.value()?)?),
        "--keep-strictly" => options.keep.strictly = true,
        "--status" => {
            options.status = Some(parsed(
                name,
                args.value()?,
                "an address and port such as 127.0.0.1:6880",
            )?)
        }
        "--token" => options.token = Some(token(name, text(name, args.value()?)?)?),
        "--select" => options.select.push(Pattern::parse(name, args.value()?)?),
        "--super-seed" => options.super_seed = true,
        "--save-torrent" => options.save_torrent = Some(args.value()?.into()),
        "--sequential" => options.sequential = true,
        "--reuse" => options.reuse.push(args.value()?.into()),
        "--recheck" => options.recheck = true,
        "--on-complete" => options.on_complete = Some(command(name, args.value()?)?),
        "--config" => options.config = Some(args.value()?.into()),
        "--json" => options.json = true,
        "-q" | "--quiet" => options.verbosity = Verbosity::Quiet,
        "-v" | "--verbose" => options.verbosity = Verbosity::Verbose,
        unknown => return Err(Failure::usage(format_args!("unknown option `{unknown}`"))),
    }
    Ok(())
}
