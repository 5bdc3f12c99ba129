//! The reader: .torrent → [`Metainfo`].

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;

use super::path::{safe_name, safe_path, shown, shown_path};
use super::{FileEntry, Metainfo, MetainfoError};
use crate::base::bencode::{Dict, Document, Error, Fault, Item, Limits};
use crate::base::filemap::FileMap;
use crate::base::geometry::Geometry;
use crate::base::id::InfoHash;
use crate::base::sha1::{self, Digest};

type Fallible<T> = Result<T, MetainfoError>;

pub(super) fn torrent(bytes: &[u8]) -> Fallible<Metainfo> {
    let (document, end) = Document::parse_prefix(bytes, Limits::TORRENT)?;
    let rest = bytes.get(end..).unwrap_or_default();
    if let Some(at) = rest.iter().position(|b| !b.is_ascii_whitespace()) {
        return Err(Error {
            at: end + at,
            fault: Fault::Trailing,
        }
        .into());
    }
    let root = document.root().dict();
    let root = root.ok_or(MetainfoError::NotADictionary)?;
    let info = required(root, "info", "a dictionary", |item| item.dict())?;
    let mut metainfo = read_info(info)?;
    metainfo.announce = tiers(root);
    metainfo.web_seeds = web_seeds(root);
    metainfo.nodes = nodes(root);
    metainfo.comment = text(root, "comment");
    metainfo.created_by = text(root, "created by");
    metainfo.creation_date = root.get(b"creation date").and_then(|item| item.int());
    Ok(metainfo)
}

pub(super) fn info(bytes: &[u8]) -> Fallible<Metainfo> {
    let document = Document::parse(bytes, Limits::TORRENT)?;
    let info = document.root().dict();
    read_info(info.ok_or(MetainfoError::NotADictionary)?)
}

fn read_info(info: Dict<'_>) -> Fallible<Metainfo> {
    let v2 = info.get(b"meta version").is_some() || info.get(b"file tree").is_some();
    if v2 && info.get(b"pieces").is_none() {
        return Err(MetainfoError::V2Only);
    }
    let raw_info = info.item().raw().to_vec();
    let (name, safe_name) = payload_name(info)?;
    let piece_length = piece_length(info)?;
    let (files, links, single) = layout(info)?;
    let total = FileMap::new(files.iter().map(|file| file.length)).map(|map| map.total());
    let geometry = total.and_then(|total| Geometry::new(total, piece_length));
    let geometry = geometry.ok_or(MetainfoError::Absurd)?;
    let pieces = pieces(info, geometry)?;
    Ok(Metainfo {
        info_hash: InfoHash(sha1::digest(&raw_info)),
        raw_info,
        name,
        safe_name,
        geometry,
        pieces: pieces.into(),
        files,
        links,
        single,
        private: private(info)?,
        source: text(info, "source"),
        announce: Vec::new(),
        web_seeds: Vec::new(),
        nodes: Vec::new(),
        comment: None,
        created_by: None,
        creation_date: None,
    })
}

fn required<'d, T>(
    dict: Dict<'d>,
    key: &'static str,
    wants: &'static str,
    read: impl FnOnce(Item<'d>) -> Option<T>,
) -> Fallible<T> {
    let item = dict.get(key.as_bytes());
    read(item.ok_or(MetainfoError::Missing(key))?).ok_or(MetainfoError::WrongType(key, wants))
}

fn payload_name(info: Dict<'_>) -> Fallible<(Vec<u8>, OsString)> {
    let utf8 = info.get(b"name.utf-8").and_then(|item| item.text());
    let name = match utf8.filter(|name| !name.is_empty()) {
        Some(name) => name.as_bytes(),
        None => required(info, "name", "a string", |item| item.bytes())?,
    };
    let safe = safe_name(name).map_err(|why| MetainfoError::Name(shown(name), why))?;
    Ok((name.to_vec(), safe))
}

fn piece_length(info: Dict<'_>) -> Fallible<u32> {
    let length = required(info, "piece length", "an integer", |item| item.int())?;
    let sane = u32::try_from(length).ok();
    sane.filter(|&n| Geometry::new(0, n).is_some())
        .ok_or(MetainfoError::PieceLength(length))
}

fn pieces(info: Dict<'_>, geometry: Geometry) -> Fallible<Vec<Digest>> {
    let bytes = required(info, "pieces", "a string", |item| item.bytes())?;
    let (hashes, rest) = bytes.as_chunks::<20>();
    if !rest.is_empty() {
        return Err(MetainfoError::RaggedPieces(bytes.len()));
    }
    let (wanted, found) = (u64::from(geometry.pieces()), hashes.len() as u64);
    if wanted != found {
        return Err(MetainfoError::PieceCount { wanted, found });
    }
    Ok(hashes.to_vec())
}

/// A torrent whose `private` cannot be read may have meant it: an error, not a leak.
fn private(info: Dict<'_>) -> Fallible<bool> {
    let Some(item) = info.get(b"private") else {
        return Ok(false);
    };
    let value = item.int();
    let value = value.ok_or(MetainfoError::WrongType("private", "an integer"))?;
    Ok(value != 0)
}

type Links = Vec<Vec<Vec<u8>>>;

/// Files, links, and whether the payload is a single file.
fn layout(info: Dict<'_>) -> Fallible<(Vec<FileEntry>, Links, bool)> {
    match (info.get(b"length"), info.get(b"files")) {
        (Some(_), Some(_)) => Err(MetainfoError::LengthAndFiles),
        (None, None) => Err(MetainfoError::Missing("length")),
        (Some(_), None) => {
            let attr = attributes(info);
            let file = FileEntry {
                path: Vec::new(),
                safe_path: PathBuf::new(),
                length: length(info)?,
                pad: false,
                executable: attr.contains(&b'x'),
                md5sum: md5sum(info),
            };
            Ok((vec![file], Vec::new(), true))
        }
        (None, Some(list)) => {
            let list = list.list();
            let list = list.ok_or(MetainfoError::WrongType("files", "a list"))?;
            let (files, links) = file_list(list)?;
            Ok((files, links, false))
        }
    }
}

fn file_list<'d>(list: impl Iterator<Item = Item<'d>>) -> Fallible<(Vec<FileEntry>, Links)> {
    let (mut files, mut links) = (Vec::new(), Vec::new());
    for item in list {
        let dict = item.dict();
        let dict = dict.ok_or(MetainfoError::WrongType("files", "a list of dictionaries"))?;
        let path = components(dict)?;
        let safe_path =
            safe_path(&path).map_err(|why| MetainfoError::Path(shown_path(&path), why))?;
        let attr = attributes(dict);
        if attr.contains(&b'l') {
            if dict.get(b"length").is_some() && length(dict)? > 0 {
                return Err(MetainfoError::LinkWithLength(shown_path(&path)));
            }
            links.push(path);
            continue;
        }
        files.push(FileEntry {
            safe_path,
            path,
            length: length(dict)?,
            pad: attr.contains(&b'p'),
            executable: attr.contains(&b'x'),
            md5sum: md5sum(dict),
        });
    }
    if files.is_empty() {
        return Err(MetainfoError::NoFiles);
    }
    refuse_collisions(&files)?;
    Ok((files, links))
}

fn length(dict: Dict<'_>) -> Fallible<u64> {
    required(dict, "length", "an integer of 0 or more", |item| {
        item.uint()
    })
}

fn attributes<'d>(dict: Dict<'d>) -> &'d [u8] {
    dict.get(b"attr")
        .and_then(|item| item.bytes())
        .unwrap_or_default()
}

fn md5sum(dict: Dict<'_>) -> Option<String> {
    let sum = text(dict, "md5sum")?;
    let good = sum.len() == 32 && sum.bytes().all(|b| b.is_ascii_hexdigit());
    good.then_some(sum)
}

fn components(dict: Dict<'_>) -> Fallible<Vec<Vec<u8>>> {
    let utf8 = dict.get(b"path.utf-8").and_then(strings);
    let utf8 = utf8.filter(|path| {
        !path.is_empty()
            && path
                .iter()
                .all(|component| std::str::from_utf8(component).is_ok())
    });
    utf8.map_or_else(|| required(dict, "path", "a list of strings", strings), Ok)
}

fn strings(item: Item<'_>) -> Option<Vec<Vec<u8>>> {
    item.list()?
        .map(|item| item.bytes().map(<[u8]>::to_vec))
        .collect()
}

/// Two entries never share a file. Sorted by components, a path stands directly before those that lie inside it.
fn refuse_collisions(files: &[FileEntry]) -> Fallible<()> {
    let mut paths: Vec<_> = files
        .iter()
        .filter(|file| !file.pad)
        .map(|file| &file.path)
        .collect();
    paths.sort_unstable();
    for pair in paths.windows(2) {
        if let [one, other] = pair
            && other.starts_with(one)
        {
            let path = shown_path(one);
            return Err(if one == other {
                MetainfoError::Duplicate(path)
            } else {
                MetainfoError::FileIsFolder(path)
            });
        }
    }
    Ok(())
}

/// A text that people read: what is not UTF-8 in it is replaced, and a value of another kind counts as none.
fn text(dict: Dict<'_>, key: &str) -> Option<String> {
    let bytes = dict.get(key.as_bytes())?.bytes()?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn url(item: Item<'_>) -> Option<String> {
    let url = item.text()?.trim();
    (!url.is_empty()).then(|| url.to_owned())
}

/// `announce-list`, else `announce` (BEP 12).
fn tiers(root: Dict<'_>) -> Vec<Vec<String>> {
    let list = root.get(b"announce-list").and_then(|item| item.list());
    let tiers = list.into_iter().flatten().filter_map(|tier| {
        let urls: Vec<_> = tier.list()?.filter_map(url).collect();
        (!urls.is_empty()).then_some(urls)
    });
    let tiers: Vec<_> = tiers.collect();
    if !tiers.is_empty() {
        return tiers;
    }
    let single = root.get(b"announce").and_then(url);
    single.map(|url| vec![url]).into_iter().collect()
}

/// `url-list`: a string or a list of them (BEP 19). Each once.
fn web_seeds(root: Dict<'_>) -> Vec<String> {
    let Some(item) = root.get(b"url-list") else {
        return Vec::new();
    };
    let mut seen = HashSet::new();
    let single = url(item);
    let listed = item.list().into_iter().flatten().filter_map(url);
    let fresh = |url: &String| seen.insert(url.clone());
    single.into_iter().chain(listed).filter(fresh).collect()
}

fn nodes(root: Dict<'_>) -> Vec<(String, u16)> {
    let list = root.get(b"nodes").and_then(|item| item.list());
    let nodes = list.into_iter().flatten().filter_map(|node| {
        let mut pair = node.list()?;
        let (host, port) = (url(pair.next()?)?, pair.next()?.uint()?);
        u16::try_from(port).ok().map(|port| (host, port))
    });
    nodes.collect()
}
