//! The writer: values → canonical bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A value to be written. Dictionaries are kept sorted, so that what is written is canonical however it was put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer.
    Int(i64),
    /// A string.
    Bytes(Cow<'a, [u8]>),
    /// A list.
    List(Vec<Value<'a>>),
    /// A dictionary.
    Dict(BTreeMap<Cow<'a, [u8]>, Value<'a>>),
    /// Bytes that are bencoding already, such as an `info` dictionary that must stay as it is.
    Raw(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    /// A dictionary from its entries, in any order; of two with the same key the later one counts.
    pub fn dict<K: Into<Cow<'a, [u8]>>>(entries: impl IntoIterator<Item = (K, Value<'a>)>) -> Self {
        Self::Dict(entries.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// Writes the value to the end of `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(n) => out.extend_from_slice(format!("i{n}e").as_bytes()),
            Self::Bytes(bytes) => string(bytes, out),
            Self::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.write(out));
                out.push(b'e');
            }
            Self::Dict(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    string(key, out);
                    value.write(out);
                }
                out.push(b'e');
            }
            Self::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// The value as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

impl From<i64> for Value<'_> {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<u32> for Value<'_> {
    fn from(n: u32) -> Self {
        Self::Int(i64::from(n))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes().into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes().into())
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<'a> From<Vec<Value<'a>>> for Value<'a> {
    fn from(items: Vec<Value<'a>>) -> Self {
        Self::List(items)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Document, Limits};
    use super::*;

    #[test]
    fn dictionaries_are_written_sorted_and_read_back() {
        let value = Value::dict([
            (&b"zz"[..], Value::Int(-3)),
            (
                b"a",
                vec!["x".into(), Value::Raw(b"d1:ki1ee".into())].into(),
            ),
            (b"\xff", (&b"\0\x01"[..]).into()),
            (b"", 0_u32.into()),
        ]);
        let bytes = value.to_bytes();
        assert_eq!(bytes, b"d0:i0e1:al1:xd1:ki1eee2:zzi-3e1:\xff2:\0\x01e");
        let doc = Document::parse(&bytes, Limits::MESSAGE).unwrap();
        assert!(doc.root().dict().unwrap().is_sorted());
    }
}
