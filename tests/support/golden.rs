//! The table in `testdata/golden`: payloads, options, and the info-hashes that creators of torrents agree on.
//!
//! The table says itself what its lines mean. It is read, compared and written by the same code, so that what is measured anew can
//! be laid beside what stands there.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::create::{content, write};

/// The text of the table.
pub const TEXT: &str = include_str!("../../testdata/golden/info-hashes.txt");

/// Where the table lies.
pub const PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/testdata/golden/info-hashes.txt"
);

/// A payload, and what is made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its name, which is that of the torrent.
    pub name: String,
    /// Bytes and paths of the files; a single file has no path.
    pub files: Vec<(usize, Option<String>)>,
    /// The torrents.
    pub makes: Vec<Make>,
}

/// Options and outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Make {
    /// As `-l` takes it: `16K`, `4M`.
    pub piece_length: String,
    /// BEP 27.
    pub private: bool,
    /// The key `source`.
    pub source: Option<String>,
    /// Ours, and that of all who agree.
    pub info_hash: String,
    /// Who agrees.
    pub agree: Vec<String>,
    /// Who does not.
    pub differ: Vec<Differing>,
}

/// Somebody who makes another torrent of it, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differing {
    /// Who.
    pub creator: String,
    /// The other info-hash; none if it makes no torrent.
    pub info_hash: Option<String>,
    /// The reason, for people.
    pub why: String,
}

impl Payload {
    /// Writes the files into `folder`; gives the path of the payload.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let root = folder.join(&self.name);
        for ((length, path), seed) in self.files.iter().zip(1..) {
            let path = path.as_ref().map_or(root.clone(), |path| root.join(path));
            write(&path, &content(*length, seed));
        }
        root
    }
}

impl Make {
    /// The options that our creator takes for it.
    pub fn options(&self) -> Vec<&str> {
        let mut options = vec!["-l", &self.piece_length];
        if self.private {
            options.push("--private");
        }
        if let Some(source) = &self.source {
            options.extend(["--source", source]);
        }
        options
    }

    /// The piece length in bytes.
    pub fn piece_bytes(&self) -> u64 {
        let (number, unit) = self.piece_length.split_at(self.piece_length.len() - 1);
        let shift = match unit {
            "K" => 10,
            "M" => 20,
            _ => panic!("`{}` ends neither in K nor in M", self.piece_length),
        };
        number.parse::<u64>().expect("a number") << shift
    }
}

/// The payloads of `text`.
pub fn parse(text: &str) -> Vec<Payload> {
    let mut payloads: Vec<Payload> = Vec::new();
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').expect("a word and more");
        match word {
            "file" => {
                let (length, name) = sized(rest);
                payloads.push(payload(name, vec![(length, None)]));
            }
            "folder" => payloads.push(payload(rest, Vec::new())),
            _ => {
                let last = payloads.last_mut().expect("a payload stands above");
                last.take(word, rest);
            }
        }
    }
    payloads
}

impl Payload {
    fn take(&mut self, word: &str, rest: &str) {
        match word {
            "holds" => {
                let (length, path) = sized(rest);
                self.files.push((length, Some(path.to_owned())));
            }
            "make" => self.makes.push(make(rest)),
            "but" => {
                let last = self.makes.last_mut().expect("a torrent stands above");
                last.differ.push(differing(rest));
            }
            _ => panic!("the table has no lines that begin with `{word}`"),
        }
    }
}

fn payload(name: &str, files: Vec<(usize, Option<String>)>) -> Payload {
    Payload {
        name: name.to_owned(),
        files,
        makes: Vec::new(),
    }
}

fn sized(text: &str) -> (usize, &str) {
    let (length, name) = text.split_once(' ').expect("a length and a name");
    (length.parse().expect("a length in bytes"), name)
}

fn make(text: &str) -> Make {
    let (options, outcome) = text.split_once(" = ").expect("options = outcome");
    let mut words = options.split(' ');
    let mut made = Make {
        piece_length: words.next().expect("a piece length").to_owned(),
        private: false,
        source: None,
        info_hash: String::new(),
        agree: Vec::new(),
        differ: Vec::new(),
    };
    for word in words {
        match word.split_once('=') {
            None if word == "private" => made.private = true,
            Some(("source", source)) => made.source = Some(source.to_owned()),
            _ => panic!("no option `{word}`"),
        }
    }
    let mut words = outcome.split(' ').map(str::to_owned);
    made.info_hash = words.next().expect("an info-hash");
    made.agree = words.collect();
    made
}

fn differing(text: &str) -> Differing {
    let (fact, why) = text.split_once(" (").expect("a reason in parentheses");
    let (creator, info_hash) = fact.split_once(' ').expect("a creator and an outcome");
    Differing {
        creator: creator.to_owned(),
        info_hash: (info_hash != "refuses").then(|| info_hash.to_owned()),
        why: why.strip_suffix(')').unwrap_or(why).to_owned(),
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.files[..] {
            [(length, None)] => writeln!(f, "file {length} {}", self.name)?,
            files => {
                writeln!(f, "folder {}", self.name)?;
                for (length, path) in files {
                    let path = path.as_deref().unwrap_or_default();
                    writeln!(f, "  holds {length} {path}")?;
                }
            }
        }
        self.makes.iter().try_for_each(|make| write!(f, "{make}"))
    }
}

impl fmt::Display for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  make {}", self.piece_length)?;
        if self.private {
            write!(f, " private")?;
        }
        if let Some(source) = &self.source {
            write!(f, " source={source}")?;
        }
        write!(f, " = {}", self.info_hash)?;
        for creator in &self.agree {
            write!(f, " {creator}")?;
        }
        writeln!(f)?;
        for other in &self.differ {
            let outcome = other.info_hash.as_deref().unwrap_or("refuses");
            writeln!(f, "    but {} {outcome} ({})", other.creator, other.why)?;
        }
        Ok(())
    }
}

/// What stands in the table before its first payload.
pub fn preface() -> String {
    let lines = TEXT.lines().take_while(|line| line.starts_with('#'));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The table with `payloads` in place of its own.
pub fn table(payloads: &[Payload]) -> String {
    let mut text = preface();
    for payload in payloads {
        text += &format!("\n{payload}");
    }
    text
}

/// Puts `text` in the place of the table.
pub fn replace(text: &str) {
    fs::write(PATH, text).expect("the table can be written");
}
