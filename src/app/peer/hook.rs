//! The operator's command that runs when a download is complete.

use std::ffi::OsStr;
use std::process::Command;

use crate::app::failure::{Exit, Failure};
use crate::app::output;

/// Runs the operator's command and waits for it.
pub(super) fn run(
    command: &[String],
    path: &OsStr,
    info_hash: &str,
    name: &OsStr,
) -> Result<(), Failure> {
    let Some((program, args)) = command.split_first() else {
        return Ok(());
    };
    let mut process = Command::new(program);
    process
        .args(args)
        .env("HIVEBT_PATH", path)
        .env("HIVEBT_INFO_HASH", info_hash)
        .env("HIVEBT_NAME", name);
    output::divert(&mut process);
    match process.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(Exit::Failed, "complete with", program, status)),
        Err(error) => Err(Failure::new(Exit::Failed, "run", program, error)),
    }
}
