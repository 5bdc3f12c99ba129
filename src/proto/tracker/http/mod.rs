//! Tracking over HTTP: requests are query strings, replies are bencoded (BEP 3, 7, 23, 24, 31, 48).
//!
//! The server reads the raw bytes of the query, because an info-hash is no text; the client appends to an announce URL that may
//! hold a query already, such as a passkey.

mod announce_reply;
mod query;
mod request;
mod scrape;

pub use announce_reply::{parse_announce, write_announce, write_refusal};
pub use request::{announce_url, read_announce};
pub use scrape::{parse_scrape, read_scrape, scrape_base, scrape_url, write_scrape};
