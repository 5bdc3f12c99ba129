use std::ffi::OsString;
use std::time::Duration;

use super::super::settings::{Origin, VARIABLES};
use super::read::parse_in;
use super::{Command, HELP, Mode, Options};

fn read(line: &str) -> Result<Options, String> {
    read_in(line, &[])
}

/// With these variables alone in the environment.
fn read_in(line: &str, variables: &[(&str, &str)]) -> Result<Options, String> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    match parse_in(line.split_whitespace().map(OsString::from), variable) {
        Ok(Command::Run(options)) => Ok(*options),
        Ok(Command::Print(text)) => Err(text),
        Err(failure) => Err(failure.to_string()),
    }
}

#[test]
fn a_torrent_alone_is_the_bare_form() {
    assert_eq!(read("x.torrent").unwrap().mode, Mode::Bare);
    assert_eq!(read("./get").unwrap().sources, ["./get"]);
    assert_eq!(read("get get").unwrap().sources, ["get"]);
}

#[test]
fn values_are_read_and_checked() {
    let o = read("get a b -p 7000-7010 --max-upload 2M --advertise 1.2.3.4:5 --bind 127.0.0.2 --seed-for 2m -q").unwrap();
    assert_eq!(
        (o.ports, o.max_upload, o.sources.len()),
        (Some(7000..=7010), Some(2 << 20), 2)
    );
    assert_eq!(o.advertise, Some(("1.2.3.4".parse().unwrap(), Some(5))));
    assert_eq!(o.seed_for, Some(Duration::from_secs(120)));
    for (line, says) in [
        ("get x --port 7-6", "`--port` does not take `7-6`"),
        ("get x --peer 1.2.3.4", "`--peer` does not take `1.2.3.4`"),
        ("get x --max-peers 0", "`--max-peers` does not take `0`"),
        (
            "get x --seed-ratio NaN",
            "`--seed-ratio` does not take `NaN`",
        ),
        ("get x --priority 3", "`--priority` does not take `3`"),
        ("get x --frobnicate", "unknown option `--frobnicate`"),
        ("get x --quiet=1", "unexpected argument"),
        ("get", "missing: a torrent"),
        ("wait x", "missing: `--complete N`"),
        ("wait x y --complete 1", "one torrent at a time"),
        ("doctor x y", "one torrent at a time"),
        ("get x --complete 1", "`--complete` goes with `wait`"),
        ("seed x --min-size 1M", "`--min-size` goes with `share`"),
        (
            "seed x --until-peers 0",
            "`--until-peers` does not take `0`",
        ),
        ("seed x --select a", "`--select` goes with downloads"),
        ("share x --select a", "`--select` goes with downloads"),
        ("get x --select [a", "`--select` does not take `[a`"),
        ("seed x --reuse d", "`--reuse` goes with downloads"),
        ("get x --keep-for 1d", "`--keep-strictly` go with `run`"),
        ("run --keep-strictly", "goes with `--keep-for` or"),
        (
            "seed x --save-torrent d",
            "`--save-torrent` goes with downloads",
        ),
        ("get x --watch d", "`--watch` goes with `run`"),
        ("get x --super-seed", "`--super-seed` goes with `seed`"),
        ("run x", "`run` takes torrents from a folder"),
        ("status a b", "`status` takes one URL"),
        ("run --status 0.0.0.0:1", "needs `--token TEXT`"),
        ("run --token a@b", "`--token` does not take `…`"),
        (
            "seed a b --data d",
            "`--data` goes with `seed` and one torrent",
        ),
    ] {
        let said = read(line).unwrap_err();
        assert!(said.contains(says), "{line}: {said}");
    }
}

#[test]
fn the_environment_is_read_first_and_noted_with_its_name() {
    let variables = [("HIVEBT_MAX_UPLOAD", "1M"), ("HIVEBT_OUTPUT", "--seed")];
    let o = read_in("get x -p 0 --max-upload 2M", &variables).unwrap();
    assert_eq!((o.max_upload, o.seed), (Some(2 << 20), false));
    assert_eq!(o.output, Some("--seed".into()), "a value, not an option");
    let given = [
        ("--output", Origin::Environment("HIVEBT_OUTPUT")),
        ("--max-upload", Origin::Environment("HIVEBT_MAX_UPLOAD")),
        ("--port", Origin::CommandLine),
        ("--max-upload", Origin::CommandLine),
    ];
    assert_eq!(o.given, given);
    let said = read_in("get x", &[("HIVEBT_MAX_UPLOAD", "much")]).unwrap_err();
    assert!(said.starts_with("HIVEBT_MAX_UPLOAD: `--max-upload` does not take `much`"));
    assert!(read_in("doctor", &[]).is_ok());
    for (name, _) in VARIABLES {
        assert!(HELP.contains(name), "{name}");
    }
}

#[test]
fn every_option_of_the_help_is_known() {
    let named = HELP
        .split_whitespace()
        .filter(|w| w.starts_with("--") && w.len() > 2);
    for option in named.map(|w| w.trim_end_matches(',')) {
        let line = format!("get x {option}");
        let said = read(&line).err().unwrap_or_default();
        assert!(!said.contains("unknown option"), "{option}");
    }
}
