//! What the pages of the tracker and of the peer have in common: how they look, how they renew themselves, how they write what others have named, and
//! the notation of `/metrics`.

pub mod prometheus;
pub mod text;

/// Plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// JSON.
pub const JSON: &str = "application/json";

/// A page.
pub const HTML: &str = "text/html; charset=utf-8";

/// What belongs to every page, by its path: content type and content. It tells nothing of what goes on.
#[must_use]
pub fn asset(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/page.css" => ("text/css; charset=utf-8", include_str!("page.css")),
        "/page.js" => ("text/javascript; charset=utf-8", include_str!("page.js")),
        "/page.svg" => ("image/svg+xml", include_str!("page.svg")),
        _ => return None,
    })
}

/// A page of the tracker or the peer, as `role` says. `stats` and `metrics` are the queries of its links to those; `main` is what it shows, escaped.
#[must_use]
pub fn page(role: &str, title: &str, [stats, metrics]: [&str; 2], main: &str) -> String {
    // The longest last, since it holds what others wrote.
    include_str!("frame.html")
        .replace("{title}", title)
        .replace("{role}", role)
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{stats}", stats)
        .replace("{metrics}", metrics)
        .replacen("{main}", main, 1)
}
