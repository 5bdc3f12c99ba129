//! A server of datagrams: a few threads that take one, have it answered, and take the next.
//!
//! Each has a socket of its own at the same address, in whose queue the kernel keeps what waits: with one for all, they would wait for its lock and wake each other,
//! which costs a seventh of all that happens here. Nothing is remembered between two datagrams, so there is nothing that strangers could fill up: where
//! more come than can be answered, the kernel drops them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};

use super::udp;

/// Bytes that are read of a datagram. None that means anything to a tracker is longer.
const LONGEST: usize = 2048;

/// How long to wait where the system has nothing to give, before trying again.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers datagrams. Each thread has one of its own.
pub trait Responder: Send {
    /// Answers at once; blocks on nothing but short-held locks. `reply` is empty; where it stays so, nothing is sent.
    fn answer(&mut self, packet: &[u8], from: SocketAddr, reply: &mut Vec<u8>);
}

/// Running threads. They end when it is dropped.
#[derive(Debug)]
pub struct Datagrams {
    sockets: Vec<Arc<UdpSocket>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Datagrams {
    /// Starts to serve `sockets`, which [`udp::bind_public`] made, with `threads` threads at the address of each. `responder` is called once for each thread.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start<R: Responder + 'static>(
        sockets: Vec<UdpSocket>,
        threads: usize,
        mut responder: impl FnMut() -> R,
    ) -> io::Result<Self> {
        let mut datagrams = Self {
            sockets: Vec::new(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for first in sockets.into_iter().map(Arc::new) {
            for n in 0..threads.max(1) {
                let own = if n == 0 {
                    None
                } else {
                    udp::bind_beside(&first).ok()
                };
                // Where the system gives no more sockets, one is enough for several threads.
                let socket = own.map_or_else(|| Arc::clone(&first), Arc::new);
                datagrams.spawn(socket, responder())?;
            }
        }
        Ok(datagrams)
    }

    fn spawn(
        &mut self,
        socket: Arc<UdpSocket>,
        mut responder: impl Responder + 'static,
    ) -> io::Result<()> {
        self.sockets.push(Arc::clone(&socket));
        let stop = Arc::clone(&self.stop);
        let thread = thread::Builder::new().name("datagrams".into());
        let work = move || serve(&socket, &stop, &mut responder);
        self.threads.push(thread.spawn(work)?);
        Ok(())
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for socket in &self.sockets {
            udp::close(socket);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, stop: &AtomicBool, responder: &mut impl Responder) {
    let mut packet = [0; LONGEST];
    let mut reply = Vec::with_capacity(LONGEST);
    while !stop.load(Ordering::Relaxed) {
        // The standard library's calls can be cancelled, which costs a few per cent of all that happens here.
        let (packet, from) = match recvfrom(socket, &mut packet[..], RecvFlags::empty()) {
            Ok((_, len, from)) => {
                let Some(from) = from.and_then(|from| SocketAddr::try_from(from).ok()) else {
                    continue;
                };
                (packet.get(..len).unwrap_or_default(), from)
            }
            Err(Errno::AGAIN | Errno::INTR) => continue,
            Err(_) => {
                thread::sleep(PAUSE);
                continue;
            }
        };
        reply.clear();
        let answer = || responder.answer(packet, from, &mut reply);
        // A fault costs this one its answer.
        let answered = panic::catch_unwind(AssertUnwindSafe(answer)).is_ok();
        if answered && !reply.is_empty() {
            // Whoever misses the answer asks again.
            let _ = sendto(socket, &reply, SendFlags::empty(), &from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what it hears; nothing to `hush`; panics at `fault`.
    struct Echo;

    impl Responder for Echo {
        fn answer(&mut self, packet: &[u8], _: SocketAddr, reply: &mut Vec<u8>) {
            assert_ne!(packet, b"fault");
            if packet != b"hush" {
                reply.extend_from_slice(packet);
            }
        }
    }

    fn client(at: SocketAddr) -> UdpSocket {
        let socket = UdpSocket::bind((at.ip(), 0)).unwrap();
        socket.connect(at).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        socket
    }

    #[test]
    fn datagrams_are_answered_or_not_and_a_fault_ends_nothing() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let socket = udp::bind_public(at.parse().unwrap()).unwrap();
            let at = socket.local_addr().unwrap();
            let served = Datagrams::start(vec![socket], 2, || Echo).unwrap();
            let client = client(at);
            let mut heard = [0; 64];
            for said in [&b"hush"[..], b"", b"fault", b"word"] {
                client.send(said).unwrap();
            }
            let n = client.recv(&mut heard).unwrap();
            assert_eq!(&heard[..n], b"word", "the first answer of all");
            drop(served);
            assert!(udp::bind_public(at).is_ok(), "its port is free again");
        }
    }

    #[test]
    fn a_port_is_taken_once() {
        let first = udp::bind_public("127.0.0.1:0".parse().unwrap()).unwrap();
        let again = udp::bind_public(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn one_socket_serves_both_families() {
        let socket = udp::bind_public("[::]:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let _served = Datagrams::start(vec![socket], 1, || Echo).unwrap();
        for ip in ["127.0.0.1", "::1"] {
            let client = client((ip.parse::<std::net::IpAddr>().unwrap(), port).into());
            client.send(b"word").unwrap();
            assert_eq!(client.recv(&mut [0; 64]).unwrap(), 4);
        }
    }
}
