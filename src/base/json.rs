//! JSON: the notation of `bt_config.json`, of `--json` and of what the servers tell. The only place that names `serde_json`.

use std::fmt;

pub use serde_json::{Map, Value, json};

/// Reads one value that takes up all of `bytes`.
///
/// # Errors
/// What is wrong, and in which line and column.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// A place in a text for people: line and column, counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Position {
    fn of(text: &[u8], at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line = before.iter().filter(|&&byte| byte == b'\n').count();
        let begin = before.iter().rposition(|&byte| byte == b'\n');
        let begin = begin.map_or(0, |newline| newline + 1);
        // Of a character of several bytes only the first one counts.
        let characters = before[begin..].iter().filter(|&&b| b & 0xc0 != 0x80);
        Self {
            line: line + 1,
            column: characters.count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Text that is no JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where that shows.
    pub position: Position,
    /// What is wrong.
    pub what: String,
}

/// A value that knows where in its text it stands.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// All of it, valid JSON.
    text: &'a [u8],
    /// The value's first byte.
    at: usize,
}

impl<'a> Node<'a> {
    /// The one value that takes up all of `text`.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn root(text: &'a [u8]) -> Result<Self, Malformed> {
        match serde_json::from_slice::<Value>(text) {
            Ok(_) => Ok(Self {
                text,
                at: skip_space(text, 0),
            }),
            Err(error) => Err(malformed(text, &error)),
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn position(self) -> Position {
        Position::of(self.text, self.at)
    }

    /// What it is.
    #[must_use]
    pub fn value(self) -> Value {
        let own = self.text.get(self.at..end(self.text, self.at));
        // It was read before, as a part of the whole.
        own.and_then(|own| serde_json::from_slice(own).ok())
            .unwrap_or_default()
    }

    /// The keys and values of an object, in their order, those that stand twice included; `None` if it is no object.
    #[must_use]
    pub fn members(self) -> Option<Vec<(Self, Self)>> {
        (self.text.get(self.at) == Some(&b'{')).then_some(())?;
        let (mut members, mut at) = (Vec::new(), skip_space(self.text, self.at + 1));
        while self.text.get(at) == Some(&b'"') {
            let key = Self { at, ..self };
            let colon = skip_space(self.text, end(self.text, at));
            let value = Self {
                at: skip_space(self.text, colon + 1),
                ..self
            };
            members.push((key, value));
            // A comma or the closing brace, at which this ends.
            let after = skip_space(self.text, end(self.text, value.at));
            at = skip_space(self.text, after + 1);
            if self.text.get(after) != Some(&b',') {
                break;
            }
        }
        Some(members)
    }
}

/// What is wrong, without the place that `serde_json` writes behind it.
fn malformed(text: &[u8], error: &serde_json::Error) -> Malformed {
    let (line, column) = (error.line(), error.column());
    let mut begins = text.iter().zip(1..).filter(|(byte, _)| **byte == b'\n');
    let begin = match line {
        0 | 1 => 0,
        n => begins.nth(n - 2).map_or(text.len(), |(_, after)| after),
    };
    let told = error.to_string();
    let what = told.strip_suffix(&format!(" at line {line} column {column}"));
    Malformed {
        position: Position::of(text, begin + column.saturating_sub(1)),
        what: what.unwrap_or(&told).to_owned(),
    }
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The first byte after the value that begins at `at`. The text is valid, so brackets and quotes match.
fn end(text: &[u8], at: usize) -> usize {
    let (mut depth, mut next) = (0_usize, at);
    while let Some(&byte) = text.get(next) {
        match byte {
            b'"' => next = string_end(text, next),
            b'{' | b'[' => {
                depth += 1;
                next += 1;
                continue;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                next += 1;
            }
            b',' | b':' | b'}' | b']' if depth == 0 => return next,
            _ if depth == 0 => {
                let ends = |byte: &u8| b",:]}".contains(byte) || byte.is_ascii_whitespace();
                let left = text[next..].iter().position(ends);
                return left.map_or(text.len(), |left| next + left);
            }
            _ => {
                next += 1;
                continue;
            }
        }
        if depth == 0 {
            return next;
        }
    }
    text.len()
}

fn string_end(text: &[u8], at: usize) -> usize {
    let mut next = at + 1;
    while let Some(&byte) = text.get(next) {
        next += match byte {
            b'"' => return next + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: Node<'_>) -> (String, String) {
        (node.value().to_string(), node.position().to_string())
    }

    #[test]
    fn every_key_and_value_knows_where_it_stands() {
        let text = "{ \"é\\\"}\" : [1, {\"a\": \"]\"}],\n\t\"b\":{},\"c\"\n: -1.5e3 ,\"b\":\n\"\"}";
        let root = Node::root(text.as_bytes()).unwrap();
        let found: Vec<_> = root.members().unwrap();
        let found: Vec<_> = found
            .into_iter()
            .map(|(key, value)| (shown(key), shown(value)))
            .collect();
        let at = |value: &str, line, column| {
            let position = Position { line, column };
            (value.to_owned(), position.to_string())
        };
        let expected = [
            (at(r#""é\"}""#, 1, 3), at(r#"[1,{"a":"]"}]"#, 1, 12)),
            (at("\"b\"", 2, 2), at("{}", 2, 6)),
            (at("\"c\"", 2, 9), at("-1500.0", 3, 3)),
            (at("\"b\"", 3, 11), at("\"\"", 4, 1)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for text in ["[]", " 5 ", "\"{\"", "null"] {
            assert!(Node::root(text.as_bytes()).unwrap().members().is_none());
        }
        let empty = Node::root(b"{ }").unwrap();
        assert!(empty.members().unwrap().is_empty());
    }

    #[test]
    fn malformed_text_is_told_with_the_place_in_characters() {
        for (text, line, column, what) in [
            ("", 1, 1, "EOF while parsing a value"),
            ("{\"a\": 1,\n  \"é\" 2}", 2, 7, "expected `:`"),
            ("{\"a\": 1}}", 1, 9, "trailing characters"),
            ("\n\n[1 2]", 3, 4, "expected `,` or `]`"),
        ] {
            let wanted = Malformed {
                position: Position { line, column },
                what: what.to_owned(),
            };
            assert_eq!(Node::root(text.as_bytes()).unwrap_err(), wanted, "{text}");
        }
    }

    #[test]
    fn whatever_is_cut_or_changed_is_read_or_refused() {
        let good = "{\"a\\u00e9\": [1, {\"b\": [\"}\", null]}], \"c\": {\"d\": true}}";
        for at in 0..good.len() {
            assert!(Node::root(&good.as_bytes()[..at]).is_err(), "cut at {at}");
            for byte in 0..=255 {
                let mut bytes = good.as_bytes().to_vec();
                bytes[at] = byte;
                let Ok(root) = Node::root(&bytes) else {
                    continue;
                };
                let whole: Value = serde_json::from_slice(&bytes).unwrap();
                let read = root.members().unwrap().into_iter();
                let read: Map<_, _> = read
                    .map(|(k, v)| (k.value().as_str().unwrap().to_owned(), v.value()))
                    .collect();
                assert_eq!(Value::Object(read), whole);
            }
        }
    }
}
