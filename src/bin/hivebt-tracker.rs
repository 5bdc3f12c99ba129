//! Tells peers of each other.

use std::process::ExitCode;

use hivebt::app::{failure, tracker};

fn main() -> ExitCode {
    let outcome = tracker::run(std::env::args_os().skip(1));
    failure::conclude("hivebt-tracker", outcome)
}
