//! The reader: bytes → a flat table of nodes that borrow from them.

use std::fmt;

/// What a document may cost. Beyond any of these, parsing stops with an error.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of input.
    pub size: usize,
    /// Lists and dictionaries inside one another.
    pub depth: usize,
    /// Integers, strings (keys included), lists and dictionaries in all; each costs 24 bytes of memory.
    pub nodes: usize,
}

impl Limits {
    /// For a .torrent file: 128 MiB, 8 million nodes (a million files).
    pub const TORRENT: Self = Self {
        size: 128 << 20,
        depth: 32,
        nodes: 8 << 20,
    };
    /// For what a tracker answers: 4 MiB.
    pub const TRACKER: Self = Self {
        size: 4 << 20,
        depth: 8,
        nodes: 200_000,
    };
    /// For an extension message from a peer (BEP 10): 64 KiB.
    pub const MESSAGE: Self = Self {
        size: 64 << 10,
        depth: 8,
        nodes: 4_000,
    };
}

/// Why bytes are not bencoding, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// Offset of the byte at which it was noticed.
    pub at: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// The ways in which bytes fail to be bencoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The input ends inside a value.
    Truncated,
    /// A byte that begins no value.
    Unexpected,
    /// An integer with no digits, a leading zero, a minus zero or a stray character.
    BadInteger,
    /// An integer that does not fit 64 bits.
    HugeInteger,
    /// A string length with a leading zero or a stray character, or beyond the end of the input.
    BadLength,
    /// A dictionary key that is not a string.
    BadKey,
    /// A dictionary with a key but no value for it.
    NoValue,
    /// A key that a dictionary holds twice.
    DuplicateKey,
    /// Bytes after the end of the value.
    Trailing,
    /// More input than [`Limits::size`].
    TooLarge,
    /// Deeper than [`Limits::depth`].
    TooDeep,
    /// More values than [`Limits::nodes`].
    TooMany,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the data ends in the middle of a value",
            Self::Unexpected => "no bencoded value begins like this",
            Self::BadInteger => "malformed integer",
            Self::HugeInteger => "integer too large",
            Self::BadLength => "malformed or impossible string length",
            Self::BadKey => "a dictionary key must be a string",
            Self::NoValue => "a dictionary key has no value",
            Self::DuplicateKey => "a dictionary key stands twice",
            Self::Trailing => "unexpected data after the end",
            Self::TooLarge => "too large",
            Self::TooDeep => "nested too deeply",
            Self::TooMany => "too many values",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not valid bencoding at byte {}: {}", self.at, self.fault)
    }
}

impl std::error::Error for Error {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int(i64),
    /// Where the content of the string begins; it ends where the node ends.
    Bytes(u32),
    List,
    Dict {
        sorted: bool,
    },
}

/// A value in the table. Its children, if any, follow it directly; `next` is the node after the last of them.
#[derive(Clone, Copy, Debug)]
struct Node {
    kind: Kind,
    start: u32,
    end: u32,
    next: u32,
}

/// A parsed document, borrowing its input.
#[derive(Debug)]
pub struct Document<'a> {
    input: &'a [u8],
    nodes: Vec<Node>,
}

/// A value inside a [`Document`].
#[derive(Clone, Copy)]
pub struct Item<'d> {
    input: &'d [u8],
    nodes: &'d [Node],
    at: usize,
}

/// A dictionary inside a [`Document`].
#[derive(Clone, Copy)]
pub struct Dict<'d>(Item<'d>);

impl<'a> Document<'a> {
    /// Reads one value that takes up all of `input`.
    ///
    /// # Errors
    /// Where BEP 3 is strict (leading zeros, `-0`, lengths, keys that are not strings or stand twice), and beyond `limits`.
    /// Unsorted keys are read; [`Dict::is_sorted`] tells.
    pub fn parse(input: &'a [u8], limits: Limits) -> Result<Self, Error> {
        let (document, end) = Self::parse_prefix(input, limits)?;
        if end < input.len() {
            Err(Error {
                at: end,
                fault: Fault::Trailing,
            })
        } else {
            Ok(document)
        }
    }

    /// Reads the value that `input` begins with; returns also where it ends. `ut_metadata` and trailing newlines need this.
    ///
    /// # Errors
    /// As [`Document::parse`], but for what follows the value.
    pub fn parse_prefix(input: &'a [u8], limits: Limits) -> Result<(Self, usize), Error> {
        if input.len() > limits.size.min(u32::MAX as usize) {
            return Err(Error {
                at: limits.size,
                fault: Fault::TooLarge,
            });
        }
        let mut parser = Parser {
            input,
            limits,
            nodes: Vec::new(),
            open: Vec::new(),
        };
        let end = parser.run()?;
        Ok((
            Self {
                input,
                nodes: parser.nodes,
            },
            end,
        ))
    }

    /// The outermost value.
    #[must_use]
    pub fn root(&self) -> Item<'_> {
        Item {
            input: self.input,
            nodes: &self.nodes,
            at: 0,
        }
    }
}

impl<'d> Item<'d> {
    fn node(&self) -> Node {
        self.nodes[self.at]
    }

    /// The bytes that this value was read from, as they stand in the input.
    #[must_use]
    pub fn raw(&self) -> &'d [u8] {
        let node = self.node();
        &self.input[node.start as usize..node.end as usize]
    }

    /// The value, if it is an integer.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        if let Kind::Int(n) = self.node().kind {
            Some(n)
        } else {
            None
        }
    }

    /// The value, if it is an integer that is not negative.
    #[must_use]
    pub fn uint(&self) -> Option<u64> {
        self.int().and_then(|n| u64::try_from(n).ok())
    }

    /// The content, if it is a string.
    #[must_use]
    pub fn bytes(&self) -> Option<&'d [u8]> {
        let node = self.node();
        if let Kind::Bytes(from) = node.kind {
            Some(&self.input[from as usize..node.end as usize])
        } else {
            None
        }
    }

    /// The content, if it is a string of UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&'d str> {
        self.bytes().and_then(|b| std::str::from_utf8(b).ok())
    }

    /// The elements in order, if it is a list.
    #[must_use]
    pub fn list(&self) -> Option<impl Iterator<Item = Item<'d>> + use<'d>> {
        (self.node().kind == Kind::List).then(|| self.children())
    }

    /// The dictionary, if it is one.
    #[must_use]
    pub fn dict(&self) -> Option<Dict<'d>> {
        matches!(self.node().kind, Kind::Dict { .. }).then_some(Dict(*self))
    }

    fn children(self) -> impl Iterator<Item = Item<'d>> + use<'d> {
        let (mut at, end) = (self.at + 1, self.node().next as usize);
        std::iter::from_fn(move || {
            let item = (at < end).then_some(Item { at, ..self })?;
            at = item.node().next as usize;
            Some(item)
        })
    }
}

impl fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.raw().escape_ascii())
    }
}

impl<'d> Dict<'d> {
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Item<'d>> {
        self.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// Keys and values in the order of the input.
    pub fn iter(&self) -> impl Iterator<Item = (&'d [u8], Item<'d>)> + use<'d> {
        let mut children = self.0.children();
        std::iter::from_fn(move || Some((children.next()?.bytes()?, children.next()?)))
    }

    /// Whether the keys stand in the order that BEP 3 demands.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        self.0.node().kind == Kind::Dict { sorted: true }
    }

    /// The dictionary as a value, for its raw bytes.
    #[must_use]
    pub fn item(&self) -> Item<'d> {
        self.0
    }
}

struct Parser<'a> {
    input: &'a [u8],
    limits: Limits,
    nodes: Vec<Node>,
    /// Nodes of the lists and dictionaries that are not closed yet.
    open: Vec<Open>,
}

struct Open {
    node: usize,
    /// In a dictionary: the node of the latest key.
    key: Option<usize>,
    /// In a dictionary: the latest key waits for its value.
    awaits_value: bool,
}

impl<'a> Parser<'a> {
    fn run(&mut self) -> Result<usize, Error> {
        let mut at = 0;
        loop {
            at = self.step(at)?;
            if self.open.is_empty() {
                return Ok(at);
            }
        }
    }

    /// Reads an integer or a string, or opens or closes a list or dictionary. Returns where the input goes on.
    fn step(&mut self, at: usize) -> Result<usize, Error> {
        let fail = |fault| Err(Error { at, fault });
        let Some(&first) = self.input.get(at) else {
            return fail(Fault::Truncated);
        };
        if first == b'e' {
            return self.close(at);
        }
        if self.nodes.len() >= self.limits.nodes {
            return fail(Fault::TooMany);
        }
        if let Some(open) = self.open.last_mut()
            && self.nodes[open.node].kind != Kind::List
        {
            if !open.awaits_value && !first.is_ascii_digit() {
                return fail(Fault::BadKey);
            }
            open.awaits_value = !open.awaits_value;
        }
        let node = self.nodes.len();
        let end = match first {
            b'i' => {
                let end = self.find(at + 1, b'e', 21)?.ok_or(Error {
                    at,
                    fault: Fault::BadInteger,
                })?;
                let value =
                    integer(&self.input[at + 1..end]).map_err(|fault| Error { at, fault })?;
                self.push(Kind::Int(value), at, end + 1);
                end + 1
            }
            b'0'..=b'9' => {
                let colon = self.find(at, b':', 10)?.ok_or(Error {
                    at,
                    fault: Fault::BadLength,
                })?;
                let len = length(&self.input[at..colon]).ok_or(Error {
                    at,
                    fault: Fault::BadLength,
                })?;
                if len > self.input.len() - colon - 1 {
                    return fail(Fault::Truncated);
                }
                self.push(Kind::Bytes(narrow(colon + 1)), at, colon + 1 + len);
                colon + 1 + len
            }
            b'l' | b'd' => {
                if self.open.len() >= self.limits.depth {
                    return fail(Fault::TooDeep);
                }
                self.push(
                    if first == b'l' {
                        Kind::List
                    } else {
                        Kind::Dict { sorted: true }
                    },
                    at,
                    at,
                );
                self.open.push(Open {
                    node,
                    key: None,
                    awaits_value: false,
                });
                return Ok(at + 1);
            }
            _ => return fail(Fault::Unexpected),
        };
        self.note_key(node)?;
        Ok(end)
    }

    /// Compares a key that was just read with the one before it.
    fn note_key(&mut self, node: usize) -> Result<(), Error> {
        let Some(open) = self.open.last_mut().filter(|open| open.awaits_value) else {
            return Ok(());
        };
        if let Some(previous) = open.key.replace(node) {
            let dict = open.node;
            match content(self.input, self.nodes[previous])
                .cmp(content(self.input, self.nodes[node]))
            {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Err(self.duplicate(node)),
                std::cmp::Ordering::Greater => self.nodes[dict].kind = Kind::Dict { sorted: false },
            }
        }
        Ok(())
    }

    fn close(&mut self, at: usize) -> Result<usize, Error> {
        let Some(open) = self.open.pop() else {
            return Err(Error {
                at,
                fault: Fault::Unexpected,
            });
        };
        if open.awaits_value {
            return Err(Error {
                at,
                fault: Fault::NoValue,
            });
        }
        let next = narrow(self.nodes.len());
        let node = &mut self.nodes[open.node];
        (node.end, node.next) = (narrow(at + 1), next);
        if node.kind == (Kind::Dict { sorted: false }) {
            self.refuse_duplicates(open.node)?;
        }
        Ok(at + 1)
    }

    /// Neighbours were compared on the way; keys out of order may hide a duplicate further apart.
    fn refuse_duplicates(&self, dict: usize) -> Result<(), Error> {
        let item = Item {
            input: self.input,
            nodes: &self.nodes,
            at: dict,
        };
        let mut keys: Vec<_> = item
            .children()
            .step_by(2)
            .map(|key| (key.bytes(), key.at))
            .collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(self.duplicate(pair[1].1)),
            None => Ok(()),
        }
    }

    fn duplicate(&self, node: usize) -> Error {
        Error {
            at: self.nodes[node].start as usize,
            fault: Fault::DuplicateKey,
        }
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        let next = narrow(self.nodes.len() + 1);
        self.nodes.push(Node {
            kind,
            start: narrow(start),
            end: narrow(end),
            next,
        });
    }

    /// The first `wanted` within `reach` bytes of `from`; `None` if the input goes on without it.
    fn find(&self, from: usize, wanted: u8, reach: usize) -> Result<Option<usize>, Error> {
        let window = &self.input[from..self.input.len().min(from + reach)];
        match window.iter().position(|&b| b == wanted) {
            Some(n) => Ok(Some(from + n)),
            None if window.len() < reach => Err(Error {
                at: self.input.len(),
                fault: Fault::Truncated,
            }),
            None => Ok(None),
        }
    }
}

fn content(input: &[u8], node: Node) -> &[u8] {
    if let Kind::Bytes(from) = node.kind {
        &input[from as usize..node.end as usize]
    } else {
        &[]
    }
}

/// Offsets were checked to fit when parsing began.
fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn integer(text: &[u8]) -> Result<i64, Fault> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let canonical = plain && (digits[0] != b'0' || text == b"0");
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|_| canonical)
        .ok_or(Fault::BadInteger)?;
    text.parse().map_err(|_| Fault::HugeInteger)
}

fn length(digits: &[u8]) -> Option<usize> {
    let canonical = digits.iter().all(u8::is_ascii_digit)
        && (digits.len() == 1 || digits.first() != Some(&b'0'));
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| canonical)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests;
