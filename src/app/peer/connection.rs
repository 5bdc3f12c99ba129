//! One connection: the handshake, then a thread that reads and a thread that writes.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::geometry::{BLOCK, Block};
use crate::base::id::{InfoHash, PeerId};
use crate::core::swarm::event::PeerKey;
use crate::net::inbox::{Broken, Frame, Inbox};
use crate::net::tcp;
use crate::proto::peer::extended::{ExtendedHandshake, HANDSHAKE_ID};
use crate::proto::peer::handshake::{self, Handshake};
use crate::proto::peer::message::{self, Fault, Message};

use super::outbox::{Outbox, Work};
use super::threads;
use super::torrent::Torrent;

/// How long a peer may take for its handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests that we queue for a peer before we drop some; said in the extension handshake.
pub const REQUEST_QUEUE: u32 = 500;

/// Bytes of blocks that a writer takes at once: on a fast link enough to make the cost of a batch small…
const MAX_BATCH: u32 = 8 * BLOCK;
/// …and on a slow one little enough that a choke or a have does not wait behind it for longer than this.
const BATCH_TIME: Duration = Duration::from_millis(10);

/// What both ends of a connection know once they have shaken hands.
pub struct Greeted {
    /// The connection.
    pub stream: TcpStream,
    /// The far end; for a connection that we dialled, the address that we dialled.
    pub addr: SocketAddr,
    /// Whether we dialled.
    pub outgoing: bool,
    /// What the far end said.
    pub theirs: Handshake,
}

/// Our handshake for a torrent.
#[must_use]
pub fn ours(info_hash: InfoHash, us: PeerId) -> Handshake {
    Handshake {
        info_hash,
        peer_id: us,
        extended: true,
        fast: true,
    }
}

/// Dials a peer and shakes hands.
///
/// # Errors
/// If the peer cannot be reached, does not answer in time, or answers for another torrent.
pub fn dial(bind: &tcp::Bind, addr: SocketAddr, hello: &Handshake) -> io::Result<Greeted> {
    let mut stream = tcp::dial(bind, addr, HANDSHAKE_TIMEOUT)?;
    prepare(&stream)?;
    stream.write_all(&hello.encode())?;
    let theirs = read_handshake(&mut stream)?;
    if theirs.info_hash != hello.info_hash {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Greeted {
        stream,
        addr,
        outgoing: true,
        theirs,
    })
}

/// Answers a peer that dialled us. `find` says which torrent it may have.
///
/// # Errors
/// If the peer says nothing sensible in time, or asks for a torrent that we do not have.
pub fn answer(
    mut stream: TcpStream,
    addr: SocketAddr,
    us: PeerId,
    find: impl Fn(InfoHash) -> Option<Arc<Torrent>>,
) -> io::Result<(Arc<Torrent>, Greeted)> {
    prepare(&stream)?;
    let theirs = read_handshake(&mut stream)?;
    let torrent = find(theirs.info_hash).ok_or(io::ErrorKind::NotFound)?;
    stream.write_all(&ours(theirs.info_hash, us).encode())?;
    Ok((
        torrent,
        Greeted {
            stream,
            addr,
            outgoing: false,
            theirs,
        },
    ))
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    tcp::tune(stream)?;
    stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
    stream.set_write_timeout(Some(HANDSHAKE_TIMEOUT))
}

/// The time-out on the socket bounds a single read; this bounds them all.
fn read_handshake(stream: &mut TcpStream) -> io::Result<Handshake> {
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let mut bytes = [0; handshake::LEN];
    let mut done = 0;
    while done < bytes.len() {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stream.read(&mut bytes[done..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Handshake::decode(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Runs a connection on the calling thread, and a writer beside it, until either end closes it.
pub fn run(torrent: &Arc<Torrent>, greeted: Greeted, listen_port: u16) {
    let Greeted {
        stream,
        addr,
        outgoing,
        theirs,
    } = greeted;
    // From here on, the swarm knows which peers are silent for too long, and closing a socket wakes whoever waits on it.
    if stream
        .set_read_timeout(None)
        .and_then(|()| stream.set_write_timeout(None))
        .is_err()
    {
        return;
    }
    let (stream, outbox) = (Arc::new(stream), Arc::new(Outbox::default()));
    let connected = torrent.connected(
        theirs.peer_id,
        addr,
        outgoing,
        theirs.fast,
        outbox.clone(),
        stream.clone(),
    );
    let Some(peer) = connected else { return };
    if theirs.extended {
        outbox.send(&introduction(torrent, addr, listen_port));
    }
    let writer = {
        let (torrent, stream, outbox) = (torrent.clone(), stream.clone(), outbox.clone());
        threads::spawn("peer-writer", move || {
            // Which error it was does not matter: the connection is over, and the reader says so.
            let _ = Writer::new(&torrent, peer, &stream, &outbox).run();
            let _ = stream.shutdown(Shutdown::Both);
        })
    };
    if writer.is_some() {
        let _ = read(torrent, peer, &stream, &outbox);
    }
    torrent.disconnected(peer);
    outbox.close();
    let _ = stream.shutdown(Shutdown::Both);
    if let Some(writer) = writer {
        // A panic of the writer has ended the program.
        let _ = writer.join();
    }
}

fn introduction(torrent: &Torrent, addr: SocketAddr, listen_port: u16) -> Message<'static> {
    let hello = ExtendedHandshake {
        client: Some(concat!("hivebt ", env!("CARGO_PKG_VERSION")).into()),
        listen_port: Some(listen_port),
        request_queue: Some(REQUEST_QUEUE),
        your_ip: Some(addr.ip()),
        upload_only: torrent.stats().left == 0,
        ..ExtendedHandshake::default()
    };
    Message::Extended {
        id: HANDSHAKE_ID,
        payload: hello.encode().into(),
    }
}

fn read(
    torrent: &Torrent,
    peer: PeerKey,
    stream: &TcpStream,
    outbox: &Outbox,
) -> Result<(), Broken> {
    let geometry = torrent.geometry();
    let limit = &torrent.setting.limits.download;
    let mut inbox = Inbox::new(stream);
    loop {
        match inbox.next(&geometry)? {
            Frame::Message(bytes) => torrent.message(peer, Message::decode(bytes, &geometry)?),
            // We never ask for more than a block.
            Frame::Piece(block) if block.len > BLOCK => {
                return Err(Fault::Range(message::PIECE_ID).into());
            }
            Frame::Piece(block) => {
                let mut buffer = torrent.setting.pool.take(block.len);
                inbox.payload(&mut buffer)?;
                torrent.block(peer, block, buffer);
                // Not reading is how the far end learns to be slower.
                let clock = torrent.setting.clock;
                if !outbox.sleep_until(clock.instant(limit.reserve(clock.now(), block.len))) {
                    return Ok(());
                }
            }
        }
    }
}

/// The sending half of a connection.
struct Writer<'a> {
    torrent: &'a Torrent,
    peer: PeerKey,
    stream: &'a TcpStream,
    outbox: &'a Outbox,
    messages: Vec<u8>,
    blocks: Vec<Block>,
    data: Vec<u8>,
    /// Bytes to take at once: what the link carried of late in [`BATCH_TIME`].
    batch: u32,
}

impl<'a> Writer<'a> {
    fn new(torrent: &'a Torrent, peer: PeerKey, stream: &'a TcpStream, outbox: &'a Outbox) -> Self {
        Self {
            torrent,
            peer,
            stream,
            outbox,
            messages: Vec::new(),
            blocks: Vec::new(),
            data: Vec::new(),
            batch: 2 * BLOCK,
        }
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            match self.outbox.next(&mut self.messages) {
                Work::Closed => return Ok(()),
                Work::Messages => {
                    self.stream.write_all(&self.messages)?;
                    self.messages.clear();
                }
                Work::Serve => self.serve()?,
            }
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        self.blocks.clear();
        self.torrent
            .next_uploads(self.peer, self.batch, &mut self.blocks);
        let bytes: u32 = self.blocks.iter().map(|block| block.len).sum();
        if bytes == 0 {
            return Ok(());
        }
        // There may be more where this came from; messages that come meanwhile still go first.
        self.outbox.serve();
        let clock = self.torrent.setting.clock;
        let moment = self
            .torrent
            .setting
            .limits
            .upload
            .reserve(clock.now(), bytes);
        if !self.outbox.sleep_until(clock.instant(moment)) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.load(bytes)?;
        let begun = Instant::now();
        self.send()?;
        self.adapt(bytes, begun.elapsed());
        Ok(())
    }

    /// Reads the blocks into `data`, those that follow one another with one read.
    fn load(&mut self, bytes: u32) -> io::Result<()> {
        self.data.resize(bytes as usize, 0);
        let geometry = self.torrent.geometry();
        let (mut rest, mut blocks) = (&mut self.data[..], &self.blocks[..]);
        while let Some(&first) = blocks.first() {
            let offset = geometry.block_offset(first);
            let mut len = u64::from(first.len);
            let mut run = 1;
            while let Some(&next) = blocks.get(run)
                && geometry.block_offset(next) == offset + len
            {
                len += u64::from(next.len);
                run += 1;
            }
            let (part, after) = rest.split_at_mut(usize::try_from(len).unwrap_or(usize::MAX));
            if let Err(error) = self.torrent.storage.read_at(offset, part) {
                self.torrent.fail(error);
                return Err(io::ErrorKind::Other.into());
            }
            (rest, blocks) = (after, &blocks[run..]);
        }
        Ok(())
    }

    fn send(&self) -> io::Result<()> {
        let heads: Vec<_> = self
            .blocks
            .iter()
            .map(|&block| message::encode_piece(block))
            .collect();
        let mut parts = Vec::with_capacity(2 * heads.len());
        let mut rest = &self.data[..];
        for (head, block) in heads.iter().zip(&self.blocks) {
            let (data, after) = rest.split_at(block.len as usize);
            parts.extend([IoSlice::new(head), IoSlice::new(data)]);
            rest = after;
        }
        write_all(self.stream, &mut parts)
    }

    fn adapt(&mut self, bytes: u32, took: Duration) {
        let carried = u64::from(bytes) * 1_000_000
            / (u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).max(1);
        let target = carried * u64::try_from(BATCH_TIME.as_millis()).unwrap_or(0) / 1000;
        self.batch = u32::try_from(target)
            .unwrap_or(u32::MAX)
            .clamp(BLOCK, MAX_BATCH);
    }
}

fn write_all(mut to: &TcpStream, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !parts.is_empty() {
        match to.write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut parts, n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
