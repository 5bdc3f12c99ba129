//! Which configuration counts: `--config FILE`, else `bt_config.json` in the working directory, else none.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::failure::{Exit, Failure};
use crate::proto::config::Config;

/// The file that counts where none is named.
pub const USUAL: &str = "bt_config.json";

/// Reads the configuration; the defaults if there is none.
///
/// # Errors
/// If `named` or the usual file cannot be read or is not valid. A usual file that is not there is fine.
pub fn load(named: Option<&Path>) -> Result<Config, Failure> {
    let path = named.unwrap_or(Path::new(USUAL));
    let fail = |exit, cause: &dyn std::fmt::Display| {
        Failure::new(exit, "read the configuration", path.display(), cause)
    };
    match fs::read(path) {
        Ok(bytes) => Config::from_bytes(&bytes).map_err(|error| fail(Exit::Input, &error)),
        Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
            Ok(Config::default())
        }
        Err(error) => Err(fail(Exit::Storage, &error)),
    }
}
