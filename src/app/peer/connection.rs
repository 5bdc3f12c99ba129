//! One connection, once hands are shaken: a thread that reads and a thread that writes.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::aligned::Aligned;
use crate::base::geometry::{BLOCK, Block};
use crate::core::swarm::Swarm;
use crate::core::swarm::event::PeerKey;
use crate::disk::pool::{Buffer, Pool};
use crate::net::decrypted::Ahead;
use crate::net::inbox::{Broken, Frame, Inbox, Stock};
use crate::proto::peer::extended::{ExtendedHandshake, UT_METADATA, UT_PEX};
use crate::proto::peer::message::{self, Fault, Message};
use crate::proto::peer::mse::Rc4;
use crate::proto::peer::{metadata, pex};

use super::batches::{Batches, LARGE, SMALL};
use super::greeting::Greeted;
use super::outbox::{Outbox, Work};
use super::stream::Stream;
use super::threads;
use super::torrent::Torrent;

/// How long a peer may take nothing at all of what we have for it. Far below the rate at which anybody gets a payload, yet a socket of such a
/// peer, a thread and what it has asked for are not held forever.
const STALLED: Duration = Duration::from_secs(60);

/// Requests that we queue for a peer before we drop some; said in the extension handshake.
pub const REQUEST_QUEUE: u32 = 500;

/// A writer takes as many blocks at once as its link carries in this time, so that a choke or a have does not wait behind them for longer.
const BATCH_TIME: Duration = Duration::from_millis(10);

/// After the handshake: reads may wait, and writes for a minute as long as nothing at all goes.
///
/// # Errors
/// If the connection has broken.
pub fn relax(stream: &Stream) -> io::Result<()> {
    relax_for(stream, STALLED)
}

fn relax_for(stream: &Stream, stalled: Duration) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(Some(stalled))
}

/// Runs a connection on the calling thread, and a writer beside it, until either end closes it.
pub fn run(torrent: &Arc<Torrent>, greeted: Greeted, listen_port: u16) {
    let Greeted {
        stream,
        ahead,
        sending,
        addr,
        outgoing,
        theirs,
    } = greeted;
    // From here on, the swarm knows which peers are silent for too long, and closing a socket wakes whoever waits on it.
    if relax(&stream).is_err() {
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
        let metadata_size = Swarm::offered_size(&torrent.metainfo);
        let hello = ExtendedHandshake {
            extensions: extensions(metadata_size.is_some(), torrent.exchanges_peers()),
            metadata_size,
            seed: torrent.stats().left == 0,
            ..introduction(addr, listen_port)
        };
        outbox.introduce(hello);
    }
    if let Some(node) = torrent.setting.dht.as_ref().filter(|_| theirs.dht) {
        outbox.send(&Message::Port(node.addr().port()));
    }
    let writer = {
        let (torrent, stream, outbox) = (torrent.clone(), stream.clone(), outbox.clone());
        threads::spawn("peer-writer", move || {
            // Which error it was does not matter: nothing can be sent any more, and the reader says so.
            let mut writer = Writer::new(&torrent, peer, &stream, sending, &outbox);
            if writer.run().is_err() {
                stream.reset_at_end();
            }
            stream.hang_up();
        })
    };
    if writer.is_some()
        && let Err(Broken::Protocol(_)) = read(torrent, peer, addr, &stream, ahead)
    {
        stream.reset_at_end();
    }
    torrent.disconnected(peer);
    outbox.close();
    stream.hang_up();
    if let Some(writer) = writer {
        // A panic of the writer has ended the program.
        let _ = writer.join();
    }
}

/// The extensions that we speak, and the numbers under which we receive them (BEP 10).
#[must_use]
pub fn extensions(metadata: bool, pex: bool) -> BTreeMap<String, u8> {
    let spoken = [
        (metadata, metadata::NAME, UT_METADATA),
        (pex, pex::NAME, UT_PEX),
    ];
    let spoken = spoken.into_iter().filter(|(speaks, ..)| *speaks);
    spoken
        .map(|(_, name, number)| (name.to_owned(), number))
        .collect()
}

/// What we tell any peer about ourselves (BEP 10).
#[must_use]
pub fn introduction(addr: SocketAddr, listen_port: u16) -> ExtendedHandshake {
    ExtendedHandshake {
        client: Some(concat!("hivebt ", env!("CARGO_PKG_VERSION")).into()),
        listen_port: Some(listen_port),
        request_queue: Some(REQUEST_QUEUE),
        your_ip: Some(addr.ip()),
        ..ExtendedHandshake::default()
    }
}

fn read(
    torrent: &Torrent,
    peer: PeerKey,
    addr: SocketAddr,
    stream: &Stream,
    ahead: Ahead,
) -> Result<(), Broken> {
    let geometry = torrent.geometry();
    let stock = FromPool(&torrent.setting.pool);
    let mut inbox = Inbox::new(ahead.of(stream));
    // Said once; whoever says it again and again would have us ask ports.
    let mut node = torrent.setting.dht.as_ref();
    loop {
        match inbox.next(&geometry)? {
            Frame::Message(bytes) => {
                let message = Message::decode(bytes, &geometry)?;
                if let Message::Port(port) = message
                    && let Some(node) = node.take()
                {
                    node.meet(SocketAddr::new(addr.ip(), port));
                }
                torrent.message(peer, message);
            }
            // We never ask for more than a block.
            Frame::Piece(block) if block.len > BLOCK => {
                return Err(Fault::Range(message::PIECE_ID).into());
            }
            Frame::Piece(block) => {
                let buffer = inbox.payload(block.len, &stock)?;
                torrent.block(peer, block, buffer);
            }
        }
    }
}

/// Blocks are received into buffers of the pool.
struct FromPool<'a>(&'a Pool);

impl Stock<Buffer> for FromPool<'_> {
    fn take(&self, len: u32) -> Buffer {
        self.0.take(len)
    }

    fn spare(&self) -> Option<Buffer> {
        self.0.spare()
    }
}

/// The sending half of a connection.
struct Writer<'a> {
    torrent: &'a Torrent,
    peer: PeerKey,
    stream: &'a Stream,
    /// What everything is encrypted with on its way out; `None` for nothing.
    cipher: Option<Rc4>,
    outbox: &'a Arc<Outbox>,
    /// A limit has been asked and has not answered.
    claimed: bool,
    messages: Vec<u8>,
    blocks: Vec<Block>,
    /// Room for [`SMALL`] bytes.
    data: Aligned,
    pace: Pace,
}

impl<'a> Writer<'a> {
    fn new(
        torrent: &'a Torrent,
        peer: PeerKey,
        stream: &'a Stream,
        cipher: Option<Rc4>,
        outbox: &'a Arc<Outbox>,
    ) -> Self {
        Self {
            torrent,
            peer,
            stream,
            cipher,
            outbox,
            claimed: false,
            messages: Vec::new(),
            blocks: Vec::new(),
            data: Aligned::default(),
            pace: Pace::new(Instant::now()),
        }
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            match self.outbox.next(&mut self.messages) {
                Work::Closed => return Ok(()),
                Work::Messages => self.send_messages()?,
                Work::Serve if self.torrent.next_metadata(self.peer, &mut self.messages) => {
                    // There may be more of it, and blocks wait, too.
                    self.outbox.serve();
                    self.send_messages()?;
                }
                // Whatever wants to be served is served when the grant comes; messages go out meanwhile.
                Work::Serve if self.claimed => {}
                Work::Serve if self.torrent.setting.limits.upload.is_on() => {
                    self.claimed = true;
                    self.torrent.claim_upload(self.outbox.clone());
                }
                Work::Serve => {
                    self.serve(self.pace.batch)?;
                }
                Work::Granted(bytes) => {
                    self.claimed = false;
                    let used = self.serve(bytes)?;
                    let limit = &self.torrent.setting.limits.upload;
                    limit.settle(self.torrent.info_hash(), bytes, used);
                }
            }
        }
    }

    fn send_messages(&mut self) -> io::Result<()> {
        if let Some(cipher) = &mut self.cipher {
            cipher.apply(&mut self.messages);
        }
        self.stream.write_all(&self.messages)?;
        self.messages.clear();
        Ok(())
    }

    /// Sends up to `wanted` bytes of blocks, at least one. Returns how many.
    fn serve(&mut self, wanted: u32) -> io::Result<u32> {
        let batches: &Batches = &self.torrent.setting.batches;
        let large = if wanted > SMALL { batches.lend() } else { None };
        let Some(mut data) = large else {
            let mut data = std::mem::take(&mut self.data);
            let outcome = self.serve_from(&mut data, wanted.min(SMALL));
            self.data = data;
            return outcome;
        };
        let outcome = self.serve_from(&mut data, wanted);
        batches.give_back(data);
        outcome
    }

    /// Sends up to `max` bytes of blocks by way of `memory`.
    fn serve_from(&mut self, memory: &mut Aligned, max: u32) -> io::Result<u32> {
        self.blocks.clear();
        self.torrent.next_uploads(self.peer, max, &mut self.blocks);
        let bytes: u32 = self.blocks.iter().map(|block| block.len).sum();
        if bytes == 0 {
            return Ok(0);
        }
        // There may be more where this came from; messages that come meanwhile still go first.
        self.outbox.serve();
        let data = memory.room(bytes as usize);
        self.load(data)?;
        self.send(data)?;
        let fast = self.pace.is_fast();
        self.pace.carried(Instant::now(), bytes);
        if self.pace.is_fast() != fast {
            self.stream.set_fast(!fast)?;
        }
        Ok(bytes)
    }

    /// Reads the blocks into `data`, those that follow one another with one read.
    fn load(&self, data: &mut [u8]) -> io::Result<()> {
        let geometry = self.torrent.geometry();
        let (mut rest, mut blocks) = (data, &self.blocks[..]);
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

    /// Sends the blocks, which are in `data`.
    fn send(&mut self, data: &mut [u8]) -> io::Result<()> {
        let mut heads: Vec<_> = self
            .blocks
            .iter()
            .map(|&block| message::encode_piece(block))
            .collect();
        if let Some(cipher) = &mut self.cipher {
            let mut rest = &mut *data;
            for (head, block) in heads.iter_mut().zip(&self.blocks) {
                let (data, after) = rest.split_at_mut(block.len as usize);
                cipher.apply(head);
                cipher.apply(data);
                rest = after;
            }
        }
        let mut parts = Vec::with_capacity(2 * heads.len());
        let mut rest = &*data;
        for (head, block) in heads.iter().zip(&self.blocks) {
            let (data, after) = rest.split_at(block.len as usize);
            parts.extend([IoSlice::new(head), IoSlice::new(data)]);
            rest = after;
        }
        write_all(self.stream, &mut parts)
    }
}

/// How much a link carries, as far as its writer can tell.
#[derive(Debug)]
struct Pace {
    since: Instant,
    bytes: u64,
    /// Bytes to take at once: what the link carried of late in [`BATCH_TIME`].
    batch: u32,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            bytes: 0,
            batch: 2 * BLOCK,
        }
    }

    /// Whether half a large batch or more goes in a hundredth of a second: 13 MB/s.
    fn is_fast(&self) -> bool {
        self.batch >= LARGE / 2
    }

    /// A batch is out of our hands. It may well lie in the socket yet, so it says nothing by itself: what counts is how many go in a while.
    fn carried(&mut self, now: Instant, bytes: u32) {
        self.bytes += u64::from(bytes);
        let time = now.saturating_duration_since(self.since);
        if time < BATCH_TIME {
            return;
        }
        let share = u128::from(self.bytes) * BATCH_TIME.as_micros() / time.as_micros();
        self.batch = u32::try_from(share).unwrap_or(u32::MAX).clamp(BLOCK, LARGE);
        (self.since, self.bytes) = (now, 0);
    }
}

fn write_all(mut to: &Stream, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn whoever_reads_nothing_is_given_up_but_not_who_reads_late() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let near = Stream::Tcp(near);
        relax_for(&near, Duration::from_millis(50)).unwrap();
        let batch = vec![0; LARGE as usize];
        let send = || write_all(&near, &mut [IoSlice::new(&batch)]);
        let mut sent = 0;
        let error = loop {
            match send() {
                Ok(()) => sent += batch.len(),
                Err(error) => break error,
            }
        };
        let gone = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        assert!(gone.contains(&error.kind()), "{error}");
        // Part of the batch that failed may have gone, too.
        let mut slow = vec![0; sent];
        far.read_exact(&mut slow).unwrap();
        send().unwrap();
    }

    /// The batch after a second at `rate` bytes a second, where a socket swallows `buffer` bytes at once to begin with.
    fn settled(rate: u64, buffer: u64) -> u32 {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        let (mut sent, mut now) = (0, begun);
        while now < begun + Duration::from_secs(1) {
            sent += u64::from(pace.batch);
            let free = Duration::from_micros(sent.saturating_sub(buffer) * 1_000_000 / rate);
            now = (begun + free).max(now + Duration::from_micros(5));
            pace.carried(now, pace.batch);
        }
        pace.batch
    }

    #[test]
    fn a_batch_is_what_the_link_carries_in_a_hundredth_of_a_second() {
        for buffer in [0, 128 << 10, 1 << 20] {
            let tenth = settled(10_000_000, buffer);
            assert!((80_000..=110_000).contains(&tenth), "{tenth}");
            assert_eq!(settled(100_000, buffer), BLOCK);
            assert_eq!(settled(1_000_000_000, buffer), LARGE);
        }
    }
}
