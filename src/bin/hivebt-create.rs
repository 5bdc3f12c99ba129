//! Makes torrents, shows them, verifies data against them.

use std::process::ExitCode;

use hivebt::app::{create, failure, processor};

fn main() -> ExitCode {
    let outcome = processor::set_up().and_then(|()| create::run(std::env::args_os().skip(1)));
    failure::conclude("hivebt-create", outcome)
}
