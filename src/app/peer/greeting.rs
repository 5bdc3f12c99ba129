//! How a connection begins: in plain text or encrypted (MSE), whichever side has dialled, and the handshake itself. All of it within ten seconds.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::base::id::{InfoHash, PeerId};
use crate::base::sha1::Digest;
use crate::net::decrypted::Ahead;
use crate::net::random;
use crate::proto::peer::handshake::{self, Handshake};
use crate::proto::peer::mse::{Agreed, Answering, Encryption, Fault, MAX_PAD, Opening, Rc4};

use super::stream::Stream;

/// How long a peer may take until hands are shaken.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What both ends of a connection know once they have shaken hands.
pub struct Greeted {
    /// The connection.
    pub stream: Stream,
    /// What goes before the bytes that come from now on, and how to read them.
    pub ahead: Ahead,
    /// For what is sent from now on; `None` if that is plain.
    pub sending: Option<Rc4>,
    /// The far end; for a connection that we dialled, the address that we dialled.
    pub addr: SocketAddr,
    /// Whether we dialled.
    pub outgoing: bool,
    /// What the far end said.
    pub theirs: Handshake,
}

/// The far end does not encrypt, and we require it. Holds the torrent that it is about.
#[derive(Debug)]
pub struct NotEncrypted(pub InfoHash);

impl NotEncrypted {
    /// The torrent that it is about, if this is what has gone wrong.
    #[must_use]
    pub fn cause_of(error: &io::Error) -> Option<InfoHash> {
        error
            .get_ref()?
            .downcast_ref()
            .map(|Self(info_hash)| *info_hash)
    }
}

impl fmt::Display for NotEncrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it does not encrypt")
    }
}

impl std::error::Error for NotEncrypted {}

/// Our handshake for a torrent; `dht` if our node of the DHT may hear of it.
#[must_use]
pub fn ours(info_hash: InfoHash, us: PeerId, dht: bool) -> Handshake {
    Handshake {
        info_hash,
        peer_id: us,
        extended: true,
        fast: true,
        dht,
    }
}

/// Connects to a peer by `connect`, and shakes hands. Where it hangs up on plain text, or encryption is only preferred and comes to nothing, that is done once more, the other way.
///
/// # Errors
/// If the peer cannot be reached, does not answer in time, or answers for another torrent. [`NotEncrypted`] if that is required and is what it does not do.
pub fn dial(
    connect: impl Fn() -> io::Result<Stream>,
    encryption: Encryption,
    addr: SocketAddr,
    hello: &Handshake,
) -> io::Result<Greeted> {
    let connect = || -> io::Result<Stream> {
        let stream = connect()?;
        prepare(&stream)?;
        Ok(stream)
    };
    let plain = |stream| open_plain(stream, addr, hello);
    let encrypted = |stream| open_encrypted(stream, encryption, addr, hello);
    let stream = connect()?;
    match encryption {
        Encryption::Plain => plain(stream).or_else(|error| {
            if has_hung_up(&error) {
                encrypted(connect()?).map_err(|_| error)
            } else {
                Err(error)
            }
        }),
        Encryption::Preferred => encrypted(stream).or_else(|_| plain(connect()?)),
        Encryption::Required => encrypted(stream),
    }
}

/// Whether the far end has ended a connection without a word.
fn has_hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Answers a peer that dialled us. `find` says what it may have, `hello` what we say of that, and `unmask` which torrent goes by a [`disguise`](crate::proto::peer::mse::disguise).
///
/// # Errors
/// If the peer says nothing sensible in time, or asks for a torrent that we do not have. [`NotEncrypted`] if that is required and is what it does not do.
pub fn answer<T>(
    stream: Stream,
    addr: SocketAddr,
    encryption: Encryption,
    hello: impl Fn(&T) -> Handshake,
    find: impl Fn(InfoHash) -> Option<T>,
    unmask: impl Fn(&Digest) -> Option<InfoHash>,
) -> io::Result<(T, Greeted)> {
    prepare(&stream)?;
    let mut timed = Timed::new(&stream);
    let mut first = [0; handshake::LEN];
    let mut done = 0;
    while done < first.len() {
        done += timed.some(&mut first[done..])?;
        if !handshake::can_begin_with(&first[..done]) {
            let first = first[..done].to_vec();
            let agreed = answer_encrypted(&mut timed, encryption, first, unmask)?;
            return greet(stream, addr, agreed, hello, find);
        }
    }
    let theirs = decode(&first)?;
    if encryption == Encryption::Required {
        return Err(io::Error::other(NotEncrypted(theirs.info_hash)));
    }
    let heard = (theirs, Ahead::default(), None);
    greet(stream, addr, heard, hello, find)
}

/// What a peer that has dialled us has said, and how it goes on.
type Heard = (Handshake, Ahead, Option<Rc4>);

/// Says our part of the handshake, if we have what the far end wants.
fn greet<T>(
    stream: Stream,
    addr: SocketAddr,
    (theirs, ahead, mut sending): Heard,
    hello: impl Fn(&T) -> Handshake,
    find: impl Fn(InfoHash) -> Option<T>,
) -> io::Result<(T, Greeted)> {
    let found = find(theirs.info_hash).ok_or(io::ErrorKind::NotFound)?;
    let mut hello = hello(&found).encode();
    if let Some(cipher) = &mut sending {
        cipher.apply(&mut hello);
    }
    (&stream).write_all(&hello)?;
    let greeted = Greeted {
        stream,
        ahead,
        sending,
        addr,
        outgoing: false,
        theirs,
    };
    Ok((found, greeted))
}

fn open_plain(stream: Stream, addr: SocketAddr, hello: &Handshake) -> io::Result<Greeted> {
    (&stream).write_all(&hello.encode())?;
    let theirs = read_handshake(&mut Timed::new(&stream))?;
    is_about(hello.info_hash, &theirs)?;
    Ok(Greeted {
        stream,
        ahead: Ahead::default(),
        sending: None,
        addr,
        outgoing: true,
        theirs,
    })
}

fn open_encrypted(
    stream: Stream,
    encryption: Encryption,
    addr: SocketAddr,
    hello: &Handshake,
) -> io::Result<Greeted> {
    let mut rng = fastrand::Rng::new();
    let (hello_bytes, private) = (hello.encode(), random::secret()?);
    let mut begin = Vec::new();
    let mut opening = Opening::new(
        hello.info_hash,
        &hello_bytes,
        encryption,
        private,
        &mut rng,
        &mut begin,
    );
    let mut timed = Timed::new(&stream);
    let agreed = (&stream).write_all(&begin).and_then(|()| {
        agree(&mut timed, Vec::new(), |bytes, out| {
            opening.handle(bytes, out)
        })
    });
    let (agreed, ahead) = agreed.map_err(|_| io::Error::other(NotEncrypted(hello.info_hash)))?;
    let mut from = ahead.of(&mut timed);
    let theirs = read_handshake(&mut from)?;
    is_about(hello.info_hash, &theirs)?;
    let ahead = from.into_ahead();
    Ok(Greeted {
        stream,
        ahead,
        sending: agreed.sending,
        addr,
        outgoing: true,
        theirs,
    })
}

/// Shakes hands with a peer whose `first` bytes are no handshake, up to our own part of it.
fn answer_encrypted(
    timed: &mut Timed<'_>,
    encryption: Encryption,
    first: Vec<u8>,
    unmask: impl Fn(&Digest) -> Option<InfoHash>,
) -> io::Result<Heard> {
    let mut answering = Answering::new(encryption, random::secret()?, fastrand::Rng::new());
    let (agreed, ahead) = agree(timed, first, |bytes, out| {
        answering.handle(bytes, &unmask, out)
    })?;
    let mut from = ahead.of(timed);
    let theirs = read_handshake(&mut from)?;
    is_about(agreed.info_hash, &theirs)?;
    Ok((theirs, from.into_ahead(), agreed.sending))
}

/// Gives a machine the `first` bytes and those that come until it is content. What it has come to, and what it has left of them.
fn agree(
    timed: &mut Timed<'_>,
    first: Vec<u8>,
    mut handle: impl FnMut(&mut &[u8], &mut Vec<u8>) -> Result<Option<Agreed>, Fault>,
) -> io::Result<(Agreed, Ahead)> {
    let (mut bytes, mut out) = (first, Vec::new());
    loop {
        let mut from = &bytes[..];
        let outcome = handle(&mut from, &mut out);
        let mut agreed = outcome.map_err(|_| io::ErrorKind::InvalidData)?;
        timed.stream.write_all(&out)?;
        out.clear();
        if let Some(agreed) = agreed.take() {
            let ahead = Ahead {
                bytes: from.to_vec(),
                cipher: agreed.receiving.clone(),
            };
            return Ok((agreed, ahead));
        }
        bytes.resize(MAX_PAD, 0);
        let got = timed.some(&mut bytes)?;
        bytes.truncate(got);
    }
}

fn prepare(stream: &Stream) -> io::Result<()> {
    stream.tune()?;
    stream.set_write_timeout(Some(HANDSHAKE_TIMEOUT))
}

fn read_handshake(from: &mut impl Read) -> io::Result<Handshake> {
    let mut bytes = [0; handshake::LEN];
    from.read_exact(&mut bytes)?;
    decode(&bytes)
}

fn decode(bytes: &[u8; handshake::LEN]) -> io::Result<Handshake> {
    Handshake::decode(bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn is_about(info_hash: InfoHash, theirs: &Handshake) -> io::Result<()> {
    if theirs.info_hash == info_hash {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Reads until the time for shaking hands is over, however many reads it takes.
struct Timed<'a> {
    stream: &'a Stream,
    deadline: Instant,
}

impl<'a> Timed<'a> {
    fn new(stream: &'a Stream) -> Self {
        Self {
            stream,
            deadline: Instant::now() + HANDSHAKE_TIMEOUT,
        }
    }

    /// Reads some bytes; the end of the stream is an error.
    fn some(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.read(into)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => Ok(n),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(into)
    }
}
