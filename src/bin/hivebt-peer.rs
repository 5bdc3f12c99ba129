//! Downloads and seeds torrents. See `hivebt::app::peer`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = hivebt::app::peer::main(std::env::args_os().skip(1));
    hivebt::app::failure::conclude("hivebt-peer", outcome)
}
