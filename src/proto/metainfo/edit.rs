//! Changes to a torrent that exists.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Metainfo, MetainfoError, write};
use crate::base::bencode::{Dict, Document, Limits, Value};

/// What to change; `None` leaves a field as it is, `Some` of nothing takes it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Trackers in tiers.
    pub announce: Option<Vec<Vec<String>>>,
    /// Web seeds.
    pub web_seeds: Option<Vec<String>>,
    /// DHT nodes: host and port (BEP 5).
    pub nodes: Option<Vec<(String, u16)>>,
    /// Free text.
    pub comment: Option<Option<String>>,
    /// The program that made the torrent.
    pub created_by: Option<Option<String>>,
    /// Seconds since 1970.
    pub creation_date: Option<Option<i64>>,
    /// BEP 27. Changes the info-hash.
    pub private: Option<bool>,
    /// See [`Metainfo::source`]. Changes the info-hash.
    pub source: Option<Option<String>>,
}

impl Edit {
    /// The .torrent file `bytes` with the changes. Keys that are not changed, also unknown ones, keep their values; the bytes of the
    /// `info` dictionary stay as they are unless `private` or `source` really change.
    ///
    /// # Errors
    /// If `bytes` is not a torrent that we can use.
    pub fn apply(&self, bytes: &[u8]) -> Result<Vec<u8>, MetainfoError> {
        let before = Metainfo::from_bytes(bytes)?;
        let (document, _) = Document::parse_prefix(bytes, Limits::TORRENT)?;
        let root = document.root().dict();
        let mut entries = raw_entries(root.ok_or(MetainfoError::NotADictionary)?);
        if let Some(tiers) = &self.announce {
            for (key, value) in write::trackers(tiers) {
                set(&mut entries, key, value);
            }
        }
        if let Some(urls) = &self.web_seeds {
            set(&mut entries, b"url-list", write::url_list(urls));
        }
        if let Some(nodes) = &self.nodes {
            set(&mut entries, b"nodes", write::nodes(nodes));
        }
        if let Some(comment) = &self.comment {
            set(
                &mut entries,
                b"comment",
                comment.as_deref().map(Value::from),
            );
        }
        if let Some(program) = &self.created_by {
            set(
                &mut entries,
                b"created by",
                program.as_deref().map(Value::from),
            );
        }
        if let Some(date) = self.creation_date {
            set(&mut entries, b"creation date", date.map(Value::from));
        }
        if let Some(info) = self.info(&before)? {
            set(&mut entries, b"info", Some(Value::Raw(info.into())));
        }
        Ok(Value::Dict(entries).to_bytes())
    }

    /// The changed `info` dictionary, if it changes.
    fn info(&self, before: &Metainfo) -> Result<Option<Vec<u8>>, MetainfoError> {
        let private = self.private.filter(|&private| private != before.private);
        let source = self
            .source
            .as_ref()
            .filter(|&source| *source != before.source);
        if private.is_none() && source.is_none() {
            return Ok(None);
        }
        let document = Document::parse(&before.raw_info, Limits::TORRENT)?;
        let info = document.root().dict();
        let mut entries = raw_entries(info.ok_or(MetainfoError::NotADictionary)?);
        if let Some(private) = private {
            set(&mut entries, b"private", private.then_some(Value::Int(1)));
        }
        if let Some(source) = source {
            set(&mut entries, b"source", source.as_deref().map(Value::from));
        }
        Ok(Some(Value::Dict(entries).to_bytes()))
    }
}

type Entries<'a> = BTreeMap<Cow<'a, [u8]>, Value<'a>>;

/// The entries of a dictionary, with their values as they stand in the input.
fn raw_entries<'d>(dict: Dict<'d>) -> Entries<'d> {
    let raw = |(key, item): (&'d [u8], crate::base::bencode::Item<'d>)| {
        (Cow::Borrowed(key), Value::Raw(item.raw().into()))
    };
    dict.iter().map(raw).collect()
}

fn set<'a>(entries: &mut Entries<'a>, key: &'static [u8], value: Option<Value<'a>>) {
    match value {
        Some(value) => entries.insert(Cow::Borrowed(key), value),
        None => entries.remove(key),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const TORRENT: &[u8] =
        b"d4:infod12:piece lengthi16384e6:lengthi1e4:name1:n6:pieces20:aaaaaaaaaaaaaaaaaaaa\
        1:xl1:yee8:announce9:http://a/7:comment3:old2:zzi7ee\n";

    fn edited(edit: &Edit) -> (Metainfo, Vec<u8>) {
        let bytes = edit.apply(TORRENT).unwrap();
        (Metainfo::from_bytes(&bytes).unwrap(), bytes)
    }

    #[test]
    fn what_is_not_changed_stays_as_it_is() {
        let before = Metainfo::from_bytes(TORRENT).unwrap();
        let (after, bytes) = edited(&Edit::default());
        assert_eq!(after.raw_info, before.raw_info, "keys out of order and all");
        assert!(bytes.ends_with(b"2:zzi7ee"), "unknown keys too");
        let (after, _) = edited(&Edit {
            private: Some(false),
            source: Some(None),
            ..Edit::default()
        });
        assert_eq!(after.info_hash, before.info_hash, "no change is no change");
    }

    #[test]
    fn fields_outside_info_change_without_the_info_hash() {
        let before = Metainfo::from_bytes(TORRENT).unwrap();
        let tiers = vec![vec!["http://b/".to_owned()], vec!["udp://c:1".to_owned()]];
        let (after, _) = edited(&Edit {
            announce: Some(tiers.clone()),
            web_seeds: Some(vec!["http://w/".into()]),
            comment: Some(Some("new".into())),
            created_by: Some(Some("me".into())),
            creation_date: Some(Some(5)),
            ..Edit::default()
        });
        assert_eq!((after.info_hash, after.announce), (before.info_hash, tiers));
        assert_eq!(
            (after.web_seeds, after.comment.as_deref()),
            (vec!["http://w/".into()], Some("new"))
        );
        assert_eq!(
            (after.created_by.as_deref(), after.creation_date),
            (Some("me"), Some(5))
        );
        let (after, bytes) = edited(&Edit {
            announce: Some(Vec::new()),
            comment: Some(None),
            ..Edit::default()
        });
        assert!(
            after.announce.is_empty() && after.comment.is_none() && bytes.starts_with(b"d4:info")
        );
    }

    #[test]
    fn private_and_source_change_the_info_hash_and_nothing_else_in_it() {
        let before = Metainfo::from_bytes(TORRENT).unwrap();
        let edit = Edit {
            private: Some(true),
            source: Some(Some("S".into())),
            ..Edit::default()
        };
        let (after, bytes) = edited(&edit);
        assert!(after.private && after.source.as_deref() == Some("S"));
        assert_ne!(after.info_hash, before.info_hash);
        let text = String::from_utf8_lossy(&after.raw_info).into_owned();
        assert!(
            text.ends_with("1:xl1:yee") && text.contains("7:privatei1e6:source1:S"),
            "{text}"
        );
        let back = Edit {
            private: Some(false),
            source: Some(None),
            ..Edit::default()
        };
        let back = Metainfo::from_bytes(&back.apply(&bytes).unwrap()).unwrap();
        assert!(!back.private && back.source.is_none());
    }
}
