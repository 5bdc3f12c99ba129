//! Which configuration counts: `--config FILE`, else what `HIVEBT_CONFIG` names, else `bt_config.json` in the working directory, else none.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::args;
use super::failure::{Exit, Failure};
use crate::proto::config::Config;

/// The file that counts where none is named.
pub const USUAL: &str = "bt_config.json";

/// The environment variable that names another.
pub const VARIABLE: &str = "HIVEBT_CONFIG";

/// A configuration, and where it is from.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// The file; `None` if there is none.
    pub path: Option<PathBuf>,
}

/// Reads the configuration; the defaults if there is none.
///
/// # Errors
/// If the file that `named` or the environment names, or the usual one, cannot be read or is not valid. A usual file that is not there
/// is fine.
pub fn load(named: Option<&Path>) -> Result<Loaded, Failure> {
    let named = named.map(Path::to_owned);
    let named = named.or_else(|| args::from_environment(VARIABLE).map(PathBuf::from));
    let path = named.as_deref().unwrap_or(Path::new(USUAL));
    let fail = |exit, cause: &dyn std::fmt::Display| {
        Failure::new(exit, "read the configuration", path.display(), cause)
    };
    match fs::read(path) {
        Ok(bytes) => Ok(Loaded {
            config: Config::from_bytes(&bytes).map_err(|error| fail(Exit::Input, &error))?,
            path: Some(path.to_owned()),
        }),
        Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
            Ok(Loaded::default())
        }
        Err(error) => Err(fail(Exit::Storage, &error)),
    }
}
