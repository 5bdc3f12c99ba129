//! The writer: new `info` dictionaries, and .torrent files around them.

use super::Metainfo;
use crate::base::bencode::Value;
use crate::base::sha1::Digest;

/// What an `info` dictionary is made from. These fields decide the info-hash, and nothing else does.
#[derive(Clone, Copy, Debug)]
pub struct NewInfo<'a> {
    /// The payload's name.
    pub name: &'a [u8],
    /// Bytes in a piece.
    pub piece_length: u32,
    /// The SHA-1 of each piece.
    pub pieces: &'a [Digest],
    /// A file or a folder of files.
    pub layout: Layout<'a>,
    /// BEP 27.
    pub private: bool,
    /// See [`Metainfo::source`].
    pub source: Option<&'a str>,
}

/// What a new torrent shares.
#[derive(Clone, Copy, Debug)]
pub enum Layout<'a> {
    /// One file of so many bytes.
    Single(u64),
    /// Files in a folder: the components of each path, and its bytes.
    Multi(&'a [(Vec<Vec<u8>>, u64)]),
}

impl NewInfo<'_> {
    /// The dictionary in canonical form. `private` and `source` are left out where they say nothing.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut entries: Vec<(&[u8], Value<'_>)> = vec![
            (b"name", self.name.into()),
            (b"piece length", self.piece_length.into()),
            (b"pieces", self.pieces.as_flattened().into()),
        ];
        match self.layout {
            Layout::Single(length) => entries.push((b"length", integer(length))),
            Layout::Multi(files) => {
                let files = files.iter().map(|(path, length)| file(path, *length));
                entries.push((b"files", files.collect::<Vec<_>>().into()));
            }
        }
        if self.private {
            entries.push((b"private", Value::Int(1)));
        }
        if let Some(source) = self.source {
            entries.push((b"source", source.into()));
        }
        Value::dict(entries).to_bytes()
    }
}

fn file(path: &[Vec<u8>], length: u64) -> Value<'_> {
    let path: Vec<_> = path.iter().map(|c| Value::from(c.as_slice())).collect();
    Value::dict([
        (&b"length"[..], integer(length)),
        (&b"path"[..], path.into()),
    ])
}

fn integer(n: u64) -> Value<'static> {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

pub(super) fn torrent(metainfo: &Metainfo) -> Vec<u8> {
    let mut entries: Vec<(&[u8], Value<'_>)> =
        vec![(b"info", Value::Raw(metainfo.raw_info.as_slice().into()))];
    let tiers = &metainfo.announce;
    if let Some(first) = tiers.iter().flatten().next() {
        entries.push((b"announce", first.as_str().into()));
        // With one tracker a list says nothing new.
        if tiers.iter().flatten().nth(1).is_some() {
            let tiers: Vec<_> = tiers.iter().map(|tier| strings(tier)).collect();
            entries.push((b"announce-list", tiers.into()));
        }
    }
    match metainfo.web_seeds.as_slice() {
        [] => {}
        [one] => entries.push((b"url-list", one.as_str().into())),
        several => entries.push((b"url-list", strings(several))),
    }
    if !metainfo.nodes.is_empty() {
        let node = |(host, port): &(String, u16)| {
            Value::List(vec![host.clone().into(), Value::Int(i64::from(*port))])
        };
        let nodes: Vec<_> = metainfo.nodes.iter().map(node).collect();
        entries.push((b"nodes", nodes.into()));
    }
    if let Some(comment) = &metainfo.comment {
        entries.push((b"comment", comment.as_str().into()));
    }
    if let Some(program) = &metainfo.created_by {
        entries.push((b"created by", program.as_str().into()));
    }
    if let Some(date) = metainfo.creation_date {
        entries.push((b"creation date", date.into()));
    }
    Value::dict(entries).to_bytes()
}

fn strings(texts: &[String]) -> Value<'_> {
    let texts: Vec<_> = texts.iter().map(|text| text.as_str().into()).collect();
    Value::List(texts)
}
