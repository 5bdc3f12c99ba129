//! `hivebt-create show`

use std::fmt::Write as _;

use super::date::Utc;
use super::{each, help, listed_path, lossy, simple, tree};
use crate::app::failure::{Exit, Failure};
use crate::app::{human, output, torrent_file};
use crate::base::json::{Value, json};
use crate::proto::magnet::Magnet;
use crate::proto::metainfo::Metainfo;
use crate::proto::metainfo::path::{shown, shown_path};

pub(super) fn run(parser: lexopt::Parser) -> Result<Exit, Failure> {
    let Some(wanted) = simple(parser, help::SHOW, true)? else {
        return Ok(Exit::Done);
    };
    if wanted.paths.is_empty() {
        return Err(Failure::usage("`show` takes at least one FILE.torrent"));
    }
    let several = wanted.paths.len() > 1;
    each(&wanted.paths, |path| {
        let metainfo = torrent_file::read(path)?;
        if wanted.json {
            output::result(as_json(&metainfo));
        } else {
            if several {
                output::result(format_args!("{}:", path.display()));
            }
            output::text(&as_text(&metainfo));
        }
        Ok(Exit::Done)
    })
}

fn as_json(metainfo: &Metainfo) -> Value {
    let files: Vec<_> = (metainfo.files.iter().enumerate())
        .map(|(n, file)| {
            let path = listed_path(metainfo, n);
            let path: Vec<_> = path.iter().map(|c| lossy(c)).collect();
            let mut row = json!({"path": path, "length": file.length, "pad": file.pad});
            if let Some(sum) = &file.md5sum {
                row["md5sum"] = json!(sum);
            }
            row
        })
        .collect();
    json!({
        "info_hash": metainfo.info_hash.to_string(),
        "name": lossy(&metainfo.name),
        "total_length": metainfo.geometry.total(),
        "piece_length": metainfo.geometry.piece_length(),
        "pieces": metainfo.geometry.pieces(),
        "private": metainfo.private,
        "files": files,
        "announce": metainfo.announce,
        "web_seeds": metainfo.web_seeds,
        "nodes": metainfo.nodes,
        "comment": metainfo.comment,
        "created_by": metainfo.created_by,
        "creation_date": metainfo.creation_date,
        "source": metainfo.source,
        "magnet": Magnet::of(metainfo).to_string(),
    })
}

fn as_text(metainfo: &Metainfo) -> String {
    let geometry = metainfo.geometry;
    let mut sheet = Sheet(String::new());
    sheet.row("name", &tree::named(&metainfo.name));
    sheet.row("info-hash", &metainfo.info_hash.to_string());
    let (total, files) = (geometry.total(), metainfo.files.iter().filter(|f| !f.pad));
    let files = files.count();
    let size = format!("{} ({total} bytes), files: {files}", human::bytes(total));
    sheet.row("size", &size);
    let length = human::bytes(u64::from(geometry.piece_length()));
    sheet.row("pieces", &format!("{} of {length}", geometry.pieces()));
    sheet.row("private", if metainfo.private { "yes" } else { "no" });
    sheet.optional("source", metainfo.source.as_deref());
    for (n, tier) in metainfo.announce.iter().enumerate() {
        for url in tier {
            sheet.row(&format!("tracker {}", n + 1), &clean(url));
        }
    }
    for url in &metainfo.web_seeds {
        sheet.row("web seed", &clean(url));
    }
    for (host, port) in &metainfo.nodes {
        let node = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        sheet.row("DHT node", &clean(&node));
    }
    sheet.optional("comment", metainfo.comment.as_deref());
    sheet.optional("created by", metainfo.created_by.as_deref());
    let date = metainfo.creation_date.map(|secs| Utc(secs).to_string());
    sheet.optional("created on", date.as_deref());
    sheet.row("magnet", &Magnet::of(metainfo).to_string());
    for link in &metainfo.links {
        sheet.row("link", &format!("{} (never made)", shown_path(link)));
    }
    let padding = metainfo.files.iter().filter(|file| file.pad);
    let (pads, zeros) = padding.fold((0, 0), |(n, sum), file| (n + 1, sum + file.length));
    if pads > 0 {
        let zeros = human::bytes(zeros);
        sheet.row("padding", &format!("{zeros}, never on disk"));
    }
    sheet.0.push_str("files\n");
    sheet.0.push_str(&tree::draw(metainfo));
    sheet.0
}

/// Texts from strangers do not steer the terminal.
fn clean(text: &str) -> String {
    shown(text.as_bytes())
}

/// Rows of a label and a value.
struct Sheet(String);

impl Sheet {
    fn row(&mut self, label: &str, value: &str) {
        let _ = writeln!(self.0, "{label:<12}{value}");
    }

    fn optional(&mut self, label: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.row(label, &clean(value));
        }
    }
}
