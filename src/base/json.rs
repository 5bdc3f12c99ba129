//! JSON: the notation of `bt_config.json`, of `--json` and of what the servers tell. The only place that names `serde_json`.

pub use serde_json::{Map, Value, json};

/// Reads one value that takes up all of `bytes`.
///
/// # Errors
/// What is wrong, and in which line and column.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}
