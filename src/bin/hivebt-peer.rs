//! Downloads and seeds torrents. See `hivebt::app::peer`.

use std::process::ExitCode;

use hivebt::app::{failure, heap, peer, processor};

fn main() -> ExitCode {
    heap::share();
    let outcome = processor::set_up().and_then(|()| peer::main(std::env::args_os().skip(1)));
    failure::conclude("hivebt-peer", outcome)
}
