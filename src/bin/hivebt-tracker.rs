//! Tells peers of each other.

use std::process::ExitCode;

use hivebt::app::{failure, processor, tracker};

fn main() -> ExitCode {
    let outcome = processor::set_up().and_then(|()| tracker::run(std::env::args_os().skip(1)));
    failure::conclude("hivebt-tracker", outcome)
}
