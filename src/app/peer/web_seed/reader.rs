//! Reads stretches of a payload from the files of a web server.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::filemap::FileMap;
use crate::net::http_client::HttpError;
use crate::net::http_client::ranges::{Bytes, Ranges};
use crate::proto::metainfo::Metainfo;
use crate::proto::web_seed::{self, Base, Body, Fault, Wanted};

/// A file of a server that sends whole files only is read so many times at most: once for everything, and once more for what was bad.
const MOST_READINGS: u32 = 2;

/// Bytes that are thrown away at once while a file is read up to where it is wanted.
const SKIP: usize = 16 << 10;

/// Why a web seed has not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The head of its answer says so.
    Fault(Fault),
    /// There is no answer, or it breaks off.
    Http(HttpError),
    /// A block did not come in time.
    Slow,
    /// It sends more than it said.
    TooLong,
    /// It would have to be read from its start for a third time.
    TooOften,
}

impl Trouble {
    /// Whether it may be another time.
    #[must_use]
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Fault(fault) => fault.may_pass(),
            Self::Http(error) => !matches!(
                error,
                HttpError::BadUrl(_) | HttpError::NoTls | HttpError::Redirects
            ),
            Self::Slow | Self::TooLong => true,
            Self::TooOften => false,
        }
    }

    /// How long the server asks to be left alone.
    #[must_use]
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Fault(Fault::Busy(_, asked)) => *asked,
            _ => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Http(error) => error.fmt(f),
            Self::Slow => f.write_str("the server is too slow"),
            Self::TooLong => f.write_str("the server sends more than it said"),
            Self::TooOften => f.write_str(
                "the server sends whole files only, and has been read from the start twice",
            ),
        }
    }
}

impl From<HttpError> for Trouble {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

/// How often each file has been read from its start. Outlives connections.
pub(super) type Readings = HashMap<usize, u32>;

/// Reads a payload over one connection.
pub(super) struct Reader<'a> {
    pub(super) metainfo: &'a Metainfo,
    pub(super) map: &'a FileMap,
    pub(super) base: &'a Base,
    pub(super) client: Arc<Ranges>,
    /// How long a block may take.
    pub(super) patience: Duration,
    /// Files are read from their start to their end, since the server does not send parts.
    pub(super) whole: bool,
    pub(super) readings: &'a mut Readings,
    pub(super) open: Option<Open>,
    /// The byte of the payload after the last one that was read.
    pub(super) at: u64,
}

/// An answer that is being read.
pub(super) struct Open {
    file: usize,
    /// Where in the file the next byte belongs.
    at: u64,
    /// Where it ends.
    end: u64,
    bytes: Bytes,
}

impl Reader<'_> {
    /// Gets to the payload's byte `offset`, which with a server that sends whole files takes as long as everything before it.
    ///
    /// # Errors
    /// What the server does wrong.
    pub(super) fn seek(&mut self, offset: u64, until: u64) -> Result<(), Trouble> {
        let deadline = Instant::now() + self.patience;
        self.at = offset;
        let span = self.map.spans(offset, 1).next();
        let Some(span) = span.filter(|span| !self.metainfo.files[span.file].pad) else {
            return Ok(());
        };
        let range = self.map.range(span.file);
        let end = until.min(range.end) - range.start;
        self.reach(span.file, span.offset, end, deadline)
    }

    /// Fills `buffer` from the payload's byte `offset` on. Bytes up to `until` will be wanted next.
    ///
    /// # Errors
    /// What the server does wrong.
    pub(super) fn read(
        &mut self,
        offset: u64,
        until: u64,
        buffer: &mut [u8],
    ) -> Result<(), Trouble> {
        let deadline = Instant::now() + self.patience;
        self.at = offset + buffer.len() as u64;
        let mut rest = buffer;
        let map = self.map;
        for span in map.spans(offset, rest.len() as u64) {
            let len = usize::try_from(span.len).unwrap_or(usize::MAX);
            let (part, after) = rest.split_at_mut(len.min(rest.len()));
            rest = after;
            if self.metainfo.files[span.file].pad {
                part.fill(0);
                continue;
            }
            let range = map.range(span.file);
            let end = until.min(range.end) - range.start;
            self.reach(span.file, span.offset, end, deadline)?;
            self.take(part, deadline)?;
        }
        Ok(())
    }

    /// What is under way is not wanted any more. A file that is read from its start to its end may be wanted further on.
    pub(super) fn give_up(&mut self) {
        if !self.whole {
            self.open = None;
        }
    }

    /// Makes byte `from` of `file` the next one to be read.
    fn reach(&mut self, file: usize, from: u64, to: u64, deadline: Instant) -> Result<(), Trouble> {
        let usable = self.open.as_ref().filter(|open| open.file == file);
        if usable.is_none_or(|open| open.at > from || (open.at < from && !self.whole)) {
            self.open(file, from, to)?;
        }
        let mut skipped = [0; SKIP];
        while let Some(gap) = self.open.as_ref().map(|open| from - open.at)
            && gap > 0
        {
            let gap = usize::try_from(gap).unwrap_or(SKIP).min(SKIP);
            // It comes as fast as the server sends; only silence is too slow.
            let deadline = deadline.max(Instant::now() + self.patience);
            self.take(&mut skipped[..gap], deadline)?;
        }
        Ok(())
    }

    fn open(&mut self, file: usize, from: u64, to: u64) -> Result<(), Trouble> {
        self.open = None;
        let entry = &self.metainfo.files[file];
        let wanted = Wanted {
            from,
            to,
            file: entry.length,
        };
        if self.whole && !wanted.is_all() {
            let readings = self.readings.entry(file).or_default();
            *readings += 1;
            if *readings > MOST_READINGS {
                return Err(Trouble::TooOften);
            }
        }
        let range = (!self.whole).then_some(&wanted);
        let (head, bytes) = self.client.get(&self.base.file(&entry.path), range)?;
        let body = web_seed::judge(&head, &wanted).map_err(Trouble::Fault)?;
        let (at, end) = match body {
            Body::Range => (from, to),
            Body::File if self.whole || wanted.is_all() => (0, entry.length),
            Body::File => return Err(Trouble::Fault(Fault::NoRanges)),
        };
        self.open = Some(Open {
            file,
            at,
            end,
            bytes,
        });
        Ok(())
    }

    /// Fills `buffer` from what is open.
    fn take(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<(), Trouble> {
        let mut rest = buffer;
        while !rest.is_empty() {
            let Some(open) = &mut self.open else {
                return Err(Trouble::Fault(Fault::OtherRange));
            };
            let n = open.bytes.read(rest)?;
            if n == 0 {
                let cut = "the server has sent less than it was asked for";
                return Err(HttpError::Link(cut.into()).into());
            }
            open.at += n as u64;
            rest = &mut rest[n..];
            if Instant::now() > deadline {
                return Err(Trouble::Slow);
            }
            if open.at == open.end {
                self.close()?;
            }
        }
        Ok(())
    }

    /// Everything is here: whoever sends more breaks his word. The connection is free for the next request.
    fn close(&mut self) -> Result<(), Trouble> {
        let open = self.open.take();
        match open.map(|mut open| open.bytes.read(&mut [0])) {
            Some(Ok(1..)) => Err(Trouble::TooLong),
            // What was asked for is here, whatever becomes of the connection.
            _ => Ok(()),
        }
    }
}
