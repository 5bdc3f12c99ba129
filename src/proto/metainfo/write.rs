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
    /// Files in a folder.
    Multi(&'a [NewFile]),
}

/// A file in a folder.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// The components of its path.
    pub path: Vec<Vec<u8>>,
    /// Bytes.
    pub length: u64,
    /// Whether it is padding (BEP 47).
    pub pad: bool,
}

impl NewFile {
    /// So many zeros, under the path that BEP 47 recommends.
    #[must_use]
    pub fn padding(length: u64) -> Self {
        Self {
            path: vec![b".pad".to_vec(), length.to_string().into_bytes()],
            length,
            pad: true,
        }
    }
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
                let files = files.iter().map(file);
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

fn file(file: &NewFile) -> Value<'_> {
    let path = file.path.iter().map(|c| Value::from(c.as_slice()));
    let mut entries = vec![
        (&b"length"[..], integer(file.length)),
        (b"path", path.collect::<Vec<_>>().into()),
    ];
    if file.pad {
        entries.push((b"attr", b"p"[..].into()));
    }
    Value::dict(entries)
}

fn integer(n: u64) -> Value<'static> {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

pub(super) fn torrent(metainfo: &Metainfo) -> Vec<u8> {
    let mut entries: Vec<(&[u8], Option<Value<'_>>)> = vec![
        (
            b"info",
            Some(Value::Raw(metainfo.raw_info.as_slice().into())),
        ),
        (b"url-list", url_list(&metainfo.web_seeds)),
        (b"nodes", nodes(&metainfo.nodes)),
        (b"comment", metainfo.comment.as_deref().map(Value::from)),
        (
            b"created by",
            metainfo.created_by.as_deref().map(Value::from),
        ),
        (b"creation date", metainfo.creation_date.map(Value::from)),
    ];
    entries.extend(trackers(&metainfo.announce));
    let present = |(key, value): (_, Option<_>)| value.map(|value| (key, value));
    Value::dict(entries.into_iter().filter_map(present)).to_bytes()
}

/// `announce` and `announce-list` (BEP 12), or none of them. With one tracker a list says nothing new.
pub(super) fn trackers(tiers: &[Vec<String>]) -> [(&'static [u8], Option<Value<'_>>); 2] {
    let mut all = tiers.iter().flatten();
    let (first, second) = (all.next(), all.next());
    let list = || tiers.iter().map(|tier| strings(tier)).collect::<Vec<_>>();
    [
        (b"announce", first.map(|url| url.as_str().into())),
        (b"announce-list", second.map(|_| list().into())),
    ]
}

/// `url-list` (BEP 19): one as a string, several as a list.
pub(super) fn url_list(urls: &[String]) -> Option<Value<'_>> {
    match urls {
        [] => None,
        [one] => Some(one.as_str().into()),
        several => Some(strings(several)),
    }
}

/// `nodes` (BEP 5): a list of hosts, each with its port.
pub(super) fn nodes(nodes: &[(String, u16)]) -> Option<Value<'_>> {
    let node = |(host, port): &'_ (String, u16)| {
        Value::List(vec![host.clone().into(), Value::Int(i64::from(*port))])
    };
    let list: Vec<_> = nodes.iter().map(node).collect();
    (!list.is_empty()).then(|| list.into())
}

fn strings(texts: &[String]) -> Value<'_> {
    let texts: Vec<_> = texts.iter().map(|text| text.as_str().into()).collect();
    Value::List(texts)
}
