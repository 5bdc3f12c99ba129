//! Downloads and seeds torrents. See `hivebt::app::peer`.

use std::process::ExitCode;

use hivebt::app::{failure, peer, processor};

fn main() -> ExitCode {
    let outcome = processor::set_up().and_then(|()| peer::main(std::env::args_os().skip(1)));
    failure::conclude("hivebt-peer", outcome)
}
