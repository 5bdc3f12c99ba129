//! The list of torrents: for people, for programs, and as plain lines.

use std::fmt::Write;

use super::torrents::Entry;
use crate::app::human;
use crate::app::web::text::Escaped;
use crate::base::json::{Value, json};
use crate::net::http_server::{Page, PageRequest};

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">
<title>Torrents</title>
<link rel=\"icon\" type=\"image/svg+xml\" href=\"../page.svg\">
<link rel=\"stylesheet\" href=\"../page.css\">
</head><body>
<header><h1>Torrents</h1><p><a href=\"../\">How they are doing</a></p></header>
<main class=\"swarm\">
";

/// The list in the form that is wanted: `?format=json`, `text` or `html`, else JSON for who accepts that and no HTML, else HTML.
pub(super) fn list<'a>(entries: impl Iterator<Item = &'a Entry>, wanted: &PageRequest) -> Page {
    let asked = |format: &str| {
        let mut parameters = wanted.query.split('&');
        parameters.any(|p| p.strip_prefix("format=") == Some(format))
    };
    let accepts = |what: &str| wanted.accept.contains(what);
    let program = accepts("application/json") && !accepts("text/html");
    let (content_type, text) = if asked("json") || (program && !asked("html") && !asked("text")) {
        ("application/json", as_json(entries))
    } else if asked("text") {
        ("text/plain; charset=utf-8", as_text(entries))
    } else {
        ("text/html; charset=utf-8", as_html(entries))
    };
    Page {
        status: 200,
        content_type,
        body: text.into_bytes(),
    }
}

fn as_json<'a>(entries: impl Iterator<Item = &'a Entry>) -> String {
    let row = |entry: &Entry| {
        json!({
            "file": entry.file,
            "url": entry.url,
            "name": entry.name,
            "info_hash": entry.info_hash.to_string(),
            "total_length": entry.length,
            "files": entry.files,
        })
    };
    let rows: Vec<Value> = entries.map(row).collect();
    format!("{}\n", json!({ "torrents": rows }))
}

fn as_text<'a>(entries: impl Iterator<Item = &'a Entry>) -> String {
    entries.fold(String::new(), |mut text, entry| {
        text.push_str(&entry.url);
        text.push('\n');
        text
    })
}

fn as_html<'a>(entries: impl Iterator<Item = &'a Entry>) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("<table>\n<thead><tr><th scope=\"col\" class=\"wide\">Name</th><th scope=\"col\" class=\"n\">Size</th><th scope=\"col\" class=\"n\">Files</th></tr></thead>\n<tbody>\n");
    for entry in entries {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\" class=\"wide long\"><a href=\"{}\" title=\"{}\"><bdi>{}</bdi></a></th><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            entry.url,
            Escaped(&entry.file),
            Escaped(&entry.name),
            human::bytes(entry.length),
            entry.files
        );
    }
    text.push_str("</tbody>\n</table>\n</main></body></html>\n");
    text
}
