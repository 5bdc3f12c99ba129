//! What of the processor is used, where somebody wants to say so.

use crate::app::failure::Failure;
use crate::base::sha1::{self, Way};

/// Names a way to compute SHA-1 for this run: `avx512`, `avx2`, `sha` or `portable`. For tests and measurements; without it the best is taken.
pub const SHA1: &str = "HIVEBT_SHA1";

/// Follows the environment.
///
/// # Errors
/// A usage error if [`SHA1`] names no way, or one that this processor does not have.
pub fn set_up() -> Result<(), Failure> {
    let Some(name) = std::env::var_os(SHA1).filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let name = name.to_string_lossy();
    let names = Way::ALL.map(Way::name).join(", ");
    let way: Way = name.parse().map_err(|()| {
        Failure::usage(format_args!("{SHA1} does not take `{name}`, only {names}"))
    })?;
    sha1::choose(way).map_err(|way| {
        Failure::usage(format_args!(
            "{SHA1} does not take `{way}`: this processor does not have it"
        ))
    })
}
