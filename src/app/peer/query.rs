//! `hivebt-peer status`: asks a running one what it is doing.

use crate::app::failure::{Exit, Failure};
use crate::app::{human, output};
use crate::base::json::{Value, parse};
use crate::net::http_client::{self, Client};

use super::options::Options;
use super::status;

/// Characters of a name in the table; the rest is cut.
const NAME: usize = 40;

/// Prints a table, or with `--json` what the other one says.
///
/// # Errors
/// [`Exit::Network`] if nothing answers at the URL, or something else than a peer.
pub(super) fn status(options: &Options) -> Result<Exit, Failure> {
    let named = options.sources.first().map(|url| url.to_string_lossy());
    let usual = || format!("http://{}", status::USUAL).into();
    let base = named.unwrap_or_else(usual);
    let url = format!("{}/stats", base.trim_end_matches('/'));
    let client = Client::new(&http_client::Options {
        bind: options.bind.clone().unwrap_or_default(),
        ..Default::default()
    });
    let failed = |cause: &dyn std::fmt::Display| Failure::new(Exit::Network, "ask", &url, cause);
    let response = client.get_with(&url, options.token.as_deref());
    let response = response.map_err(|error| failed(&error))?;
    if response.status == 401 {
        return Err(failed(
            &"it wants a token: `--token`, or HIVEBT_TOKEN in the environment",
        ));
    }
    let body = response.success().map_err(|error| failed(&error))?;
    let stats = parse(&body).map_err(|error| failed(&error))?;
    let torrents = stats["torrents"].as_array();
    let torrents = torrents.ok_or_else(|| failed(&"what answers there is no hivebt-peer"))?;
    if options.json {
        output::result(&stats);
    } else {
        table(torrents).into_iter().for_each(output::result);
    }
    Ok(Exit::Done)
}

/// A line for each torrent below a line of headings, in columns.
fn table(torrents: &[Value]) -> Vec<String> {
    let head = ["STATE", "%", "DOWN", "UP", "SENT", "PEERS", "ETA", "NAME"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(torrents.iter().map(row));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 8]| {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            match at {
                0 => line.push_str(&format!("{cell:width$}")),
                7 => line.push_str(&format!("  {cell}")),
                _ => line.push_str(&format!("  {cell:>width$}")),
            }
        }
        line
    };
    rows.iter().map(line).collect()
}

fn row(torrent: &Value) -> [String; 8] {
    let number = |key: &str| torrent[key].as_u64().unwrap_or(0);
    let text = |key: &str| torrent[key].as_str().unwrap_or_default();
    let percent = torrent["completion_percentage"].as_f64().unwrap_or(0.0);
    let eta = torrent["eta"].as_u64();
    let mut name: String = text("name").chars().take(NAME).collect();
    if !text("message").is_empty() {
        name = format!("{name}: {}", text("message"));
    }
    // Names come from others, and this may be a terminal.
    let name = name.replace(char::is_control, "�");
    [
        text("state").to_owned(),
        format!("{percent:.1}"),
        human::rate(number("download_rate")),
        human::rate(number("upload_rate")),
        human::bytes(number("total_uploaded")),
        number("connected_peers").to_string(),
        eta.map_or_else(
            || "–".into(),
            |eta| human::span(std::time::Duration::from_secs(eta)),
        ),
        name,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;

    #[test]
    fn columns_stand_below_their_headings() {
        let torrent = json!({
            "state": "downloading",
            "completion_percentage": 27.5,
            "download_rate": 1 << 20,
            "upload_rate": 0,
            "total_uploaded": 5,
            "connected_peers": 3,
            "eta": 75,
            "name": "größe\u{1b}[31m",
            "message": null,
        });
        let lines = table(&[torrent]);
        assert_eq!(
            lines[0],
            "STATE           %       DOWN     UP  SENT  PEERS   ETA  NAME"
        );
        assert_eq!(
            lines[1],
            "downloading  27.5  1.0 MiB/s  0 B/s   5 B      3  1:15  größe�[31m"
        );
    }
}
