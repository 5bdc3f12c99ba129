//! The list of torrents: for people, for programs, and as plain lines.

use std::fmt::Write;

use super::torrents::Entry;
use crate::app::human;
use crate::base::json::{Value, json};
use crate::net::http_server::{Page, PageRequest};

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">
<title>Torrents</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 1rem auto; max-width: 60rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
td, th { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
td:first-child, th:first-child { text-align: left; overflow-wrap: anywhere; padding-left: 0 }
</style></head><body>
<h1>Torrents</h1>
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
    text.push_str("<table><tr><th>Name</th><th>Size</th><th>Files</th></tr>\n");
    for entry in entries {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "<tr><td><a href=\"{}\" title=\"{}\">{}</a></td><td>{}</td><td>{}</td></tr>",
            entry.url,
            escape(&entry.file),
            escape(&entry.name),
            human::bytes(entry.length),
            entry.files
        );
    }
    text.push_str("</table></body></html>\n");
    text
}

fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_page() {
        assert_eq!(
            escape("<script>alert('&\"')</script>"),
            "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;"
        );
    }
}
