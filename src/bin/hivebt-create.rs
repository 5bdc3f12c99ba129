//! Makes torrents, shows them, verifies data against them.

use std::process::ExitCode;

use hivebt::app::{create, failure};

fn main() -> ExitCode {
    let outcome = create::run(std::env::args_os().skip(1));
    failure::conclude("hivebt-create", outcome)
}
