//! What has been written and has not been acknowledged: cut into packets, sent, sent again.
//!
//! A packet is lost if the third that was sent after it, or a later one, has arrived (`kPacketThreshold` of RFC 9002). What counts is the order of sending, not
//! the sequence number, so one that was sent again can be lost again without a timeout.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::time::Time;

/// One that was sent so many places later has to arrive before a packet is lost.
const REORDERED: u64 = 3;

/// The most packets between the oldest that is missing and the newest: libutp forgets what is further ahead than 1,023, libtorrent 953.
const MOST_PACKETS: usize = 900;

/// Bytes that may wait to be sent for the first time: what is written later, such as a choke or a cancel, queues up behind them.
const UNSENT: usize = 128 << 10;

/// What takes a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The opening.
    Syn,
    /// So many bytes.
    Data(u16),
    /// The end.
    Fin,
}

impl Content {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Data(len) => len.into(),
            Self::Syn | Self::Fin => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whereabouts {
    Flying,
    Lost,
    Arrived,
}

#[derive(Clone, Debug)]
struct Sent {
    content: Content,
    /// Where its bytes begin, counted from the first one ever written.
    at: u64,
    last_sent: Time,
    /// Its places in the order of sending, the first and the last.
    first: u64,
    last: u64,
    whereabouts: Whereabouts,
}

/// What an acknowledgement told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acked {
    /// Packets that arrived, and had not been known to.
    pub(super) packets: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    /// The most bytes of one of them.
    pub(super) largest: usize,
    /// The shortest time that one of them took, of those that were sent once.
    pub(super) rtt: Option<Duration>,
    /// A packet was lost that was sent after the last cut of the window.
    pub(super) cut: bool,
}

/// A packet to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) seq: u16,
    pub(super) content: Content,
    at: u64,
}

/// What bounds what is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes that may be on their way.
    pub(super) congestion: usize,
    /// Bytes that the other side has room for.
    pub(super) room: usize,
    /// Bytes of a full packet.
    pub(super) full: usize,
    /// Bytes of the largest packet that is known to get through: nothing is sent behind the first one that is larger.
    pub(super) proven: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sending {
    limit: usize,
    /// From the first byte on that is not acknowledged.
    bytes: VecDeque<u8>,
    /// Where `bytes` begins, counted from the first one ever written.
    acked: u64,
    /// Where the bytes begin that have not been sent.
    unsent: u64,
    /// From the oldest on that is not acknowledged, without a gap.
    packets: VecDeque<Sent>,
    /// The number of the next new packet.
    next: u16,
    flying: usize,
    lost: usize,
    /// Bytes of packets that have not arrived.
    missing: usize,
    fin_wanted: bool,
    fin_sent: bool,
    order: u64,
    /// The newest in the order of sending that has arrived, plus one.
    arrived: u64,
    /// What was sent before this cuts the window no more.
    cut: u64,
    repeated: u32,
}

impl Sending {
    /// Numbers begin at `seq`; `limit` bytes are kept at most.
    pub(super) const fn new(seq: u16, limit: usize) -> Self {
        Self {
            limit,
            bytes: VecDeque::new(),
            acked: 0,
            unsent: 0,
            packets: VecDeque::new(),
            next: seq,
            flying: 0,
            lost: 0,
            missing: 0,
            fin_wanted: false,
            fin_sent: false,
            order: 0,
            arrived: 0,
            cut: 0,
            repeated: 0,
        }
    }

    /// The number of the next new packet.
    pub(super) const fn next(&self) -> u16 {
        self.next
    }

    /// The number of the oldest packet that is not acknowledged; [`Sending::next`] if there is none.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn oldest(&self) -> u16 {
        // MOST_PACKETS and a few at most.
        self.next.wrapping_sub(self.packets.len() as u16)
    }

    /// Whether `ack` can be an acknowledgement of something sent: neither of what never was, nor from long ago.
    pub(super) fn knows(&self, ack: u16) -> bool {
        let newest = self.next.wrapping_sub(1);
        usize::from(newest.wrapping_sub(ack)) <= self.packets.len() + MOST_PACKETS
    }

    /// Whether `ack` is older than what is acknowledged already, so that the rest of its packet may be outdated, too.
    pub(super) fn is_stale(&self, ack: u16) -> bool {
        let newest = self.oldest().wrapping_sub(1);
        newest != ack && newest.wrapping_sub(ack) < 1 << 15
    }

    /// The bytes of the only packet that is not acknowledged, if there is only one.
    pub(super) fn single(&self) -> Option<usize> {
        let only = self.packets.front().filter(|_| self.packets.len() == 1);
        only.map(|packet| packet.content.bytes())
    }

    /// Whether everything is acknowledged but the end, which has been sent.
    pub(super) fn lacks_only_the_end(&self) -> bool {
        self.fin_sent && self.packets.len() == 1
    }

    pub(super) fn room(&self) -> usize {
        if self.fin_wanted {
            return 0;
        }
        let room = self.limit.saturating_sub(self.bytes.len());
        room.min(UNSENT.saturating_sub(self.unsent_bytes()))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.bytes.extend(&bytes[..taken]);
        taken
    }

    /// Nothing is written any more.
    pub(super) const fn finish(&mut self) {
        self.fin_wanted = true;
    }

    /// Whether everything that was written, and the end, has been acknowledged.
    pub(super) fn is_finished(&self) -> bool {
        self.fin_sent && self.packets.is_empty()
    }

    /// Whether something is sent and not acknowledged.
    pub(super) fn is_waiting(&self) -> bool {
        !self.packets.is_empty()
    }

    /// Whether there is something that was never sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent_bytes() > 0 || (self.fin_wanted && !self.fin_sent)
    }

    /// Bytes on their way.
    pub(super) const fn flying(&self) -> usize {
        self.flying
    }

    fn unsent_bytes(&self) -> usize {
        let end = self.acked + self.bytes.len() as u64;
        usize::try_from(end - self.unsent).unwrap_or(usize::MAX)
    }

    /// Sends the opening, which takes the first number.
    pub(super) fn open(&mut self, now: Time) -> Due {
        self.push(now, Content::Syn)
    }

    /// The next packet to be sent within `bounds`, which counts as sent.
    pub(super) fn due(&mut self, now: Time, bounds: Bounds) -> Option<Due> {
        if self.lost > 0 {
            return self.again(now, bounds.congestion);
        }
        let blocked = self
            .packets
            .back()
            .is_some_and(|last| last.content.bytes() > bounds.proven);
        if blocked || self.packets.len() >= MOST_PACKETS {
            return None;
        }
        let unsent = self.unsent_bytes();
        if unsent == 0 {
            let fin = self.fin_wanted && !self.fin_sent;
            self.fin_sent |= fin;
            return fin.then(|| self.push(now, Content::Fin));
        }
        let len = unsent.min(bounds.full);
        let fits = self.flying == 0 || self.flying + len <= bounds.congestion;
        (fits && self.missing + len <= bounds.room).then(|| self.push(now, data(len)))
    }

    /// A few bytes for somebody who has no room, to hear when there is some.
    pub(super) fn probe(&mut self, now: Time, room: usize) -> Option<Due> {
        let len = self.unsent_bytes().min(room.max(1));
        (len > 0).then(|| self.push(now, data(len)))
    }

    fn again(&mut self, now: Time, congestion: usize) -> Option<Due> {
        let lost = |p: &Sent| p.whereabouts == Whereabouts::Lost;
        let index = self.packets.iter().position(lost)?;
        let seq = self.seq_of(index);
        let packet = &mut self.packets[index];
        let len = packet.content.bytes();
        if self.flying > 0 && self.flying + len > congestion {
            return None;
        }
        packet.whereabouts = Whereabouts::Flying;
        packet.last_sent = now;
        packet.last = self.order;
        self.order += 1;
        self.lost -= 1;
        self.flying += len;
        Some(Due {
            seq,
            content: packet.content,
            at: packet.at,
        })
    }

    #[allow(clippy::cast_possible_truncation)]
    fn seq_of(&self, index: usize) -> u16 {
        // `packets` never has as many as there are numbers.
        self.oldest().wrapping_add(index as u16)
    }

    fn push(&mut self, now: Time, content: Content) -> Due {
        let len = content.bytes();
        let due = Due {
            seq: self.next,
            content,
            at: self.unsent,
        };
        self.packets.push_back(Sent {
            content,
            at: self.unsent,
            last_sent: now,
            first: self.order,
            last: self.order,
            whereabouts: Whereabouts::Flying,
        });
        self.order += 1;
        self.next = self.next.wrapping_add(1);
        self.unsent += len as u64;
        self.flying += len;
        self.missing += len;
        due
    }

    /// Appends the bytes of a packet.
    pub(super) fn copy(&self, due: &Due, out: &mut Vec<u8>) {
        let from = usize::try_from(due.at - self.acked).unwrap_or(usize::MAX);
        let (front, back) = self.bytes.as_slices();
        let to = from + due.content.bytes();
        let cut = front.len();
        out.extend(&front[from.min(cut)..to.min(cut)]);
        out.extend(&back[from.saturating_sub(cut)..to.saturating_sub(cut)]);
    }

    /// Takes back the newest packet, which nobody has: it is cut again.
    pub(super) fn take_back(&mut self) {
        if let Some(packet) = self.packets.pop_back() {
            let len = packet.content.bytes();
            match packet.whereabouts {
                Whereabouts::Flying => self.flying -= len,
                Whereabouts::Lost => self.lost -= 1,
                Whereabouts::Arrived => {}
            }
            self.missing -= len;
            self.unsent -= len as u64;
            self.next = self.next.wrapping_sub(1);
        }
    }

    /// The other side has everything up to `ack`, and what the bits of `mask` say, the first of which stands for `ack + 2`. `alone` is whether the packet
    /// was sent to say just that; `least` is the shortest time that an answer has ever taken.
    pub(super) fn acked(
        &mut self,
        now: Time,
        ack: u16,
        mask: Option<&[u8]>,
        alone: bool,
        least: Duration,
    ) -> Acked {
        let mut told = Acked::default();
        let whole = usize::from(ack.wrapping_sub(self.oldest()).wrapping_add(1));
        if whole > self.packets.len() {
            // An old one that was overtaken.
            return told;
        }
        for index in 0..whole {
            self.arrive(index, now, least, &mut told);
        }
        for packet in self.packets.drain(..whole) {
            let len = packet.content.bytes();
            self.bytes.drain(..len);
            self.acked += len as u64;
        }
        for (index, _) in bits(mask.unwrap_or_default()).filter(|&(_, is_set)| is_set) {
            // The bits begin behind the one that is missing.
            if index + 1 < self.packets.len() {
                self.arrive(index + 1, now, least, &mut told);
            }
        }
        self.repeated = match (whole, mask) {
            (0, None) if alone && !self.packets.is_empty() => self.repeated + 1,
            _ => 0,
        };
        told.cut = self.find_lost();
        told
    }

    fn arrive(&mut self, index: usize, now: Time, least: Duration, told: &mut Acked) {
        let packet = &mut self.packets[index];
        let len = packet.content.bytes();
        match packet.whereabouts {
            Whereabouts::Arrived => return,
            Whereabouts::Flying => self.flying -= len,
            Whereabouts::Lost => self.lost -= 1,
        }
        packet.whereabouts = Whereabouts::Arrived;
        self.missing -= len;
        told.packets += 1;
        told.bytes += len;
        told.largest = told.largest.max(len);
        let took = now.since(packet.last_sent);
        let once = packet.first == packet.last;
        if once {
            told.rtt = Some(told.rtt.map_or(took, |rtt| rtt.min(took)));
        }
        // What arrives sooner than anything ever has is the packet as it was sent before.
        let order = if once || took >= least {
            packet.last
        } else {
            packet.first
        };
        self.arrived = self.arrived.max(order + 1);
    }

    /// Finds what has been overtaken. True if some of it was sent after the last cut of the window.
    fn find_lost(&mut self) -> bool {
        let mut cut = false;
        let silent = self.repeated == 3;
        // A window of few packets cannot have three behind a lost one (RFC 5827).
        let behind = self.packets.len().saturating_sub(1) as u64;
        let enough = REORDERED.min(behind).max(1);
        for (index, packet) in self.packets.iter_mut().enumerate() {
            let overtaken = packet.last + enough < self.arrived;
            let flying = packet.whereabouts == Whereabouts::Flying;
            if flying && (overtaken || (silent && index == 0)) {
                packet.whereabouts = Whereabouts::Lost;
                self.lost += 1;
                self.flying -= packet.content.bytes();
                cut |= packet.last >= self.cut;
            }
        }
        if cut {
            self.cut = self.order;
        }
        cut
    }

    /// Nothing has come back for too long: everything is sent again that has not arrived.
    pub(super) fn timed_out(&mut self) {
        for packet in &mut self.packets {
            if packet.whereabouts == Whereabouts::Flying {
                packet.whereabouts = Whereabouts::Lost;
                self.lost += 1;
            }
        }
        self.flying = 0;
        self.cut = self.order;
        self.repeated = 0;
    }
}

/// A packet of so many bytes, which are never more than a datagram's.
fn data(len: usize) -> Content {
    Content::Data(u16::try_from(len).unwrap_or(u16::MAX))
}

/// The bits of a selective acknowledgement, the lowest of each byte first.
fn bits(mask: &[u8]) -> impl Iterator<Item = (usize, bool)> + '_ {
    let of = |byte: u8| (0..8).map(move |n| byte >> n & 1 == 1);
    mask.iter().flat_map(move |&byte| of(byte)).enumerate()
}

#[cfg(test)]
impl Sending {
    /// The sums that are kept are those of the packets.
    pub(super) fn check(&self) {
        let sum = |of: &[Whereabouts]| -> usize {
            let chosen = self.packets.iter().filter(|p| of.contains(&p.whereabouts));
            chosen.map(|p| p.content.bytes()).sum()
        };
        let lost = |p: &&Sent| p.whereabouts == Whereabouts::Lost;
        assert_eq!(self.flying, sum(&[Whereabouts::Flying]));
        assert_eq!(self.missing, sum(&[Whereabouts::Flying, Whereabouts::Lost]));
        assert_eq!(self.lost, self.packets.iter().filter(lost).count());
        assert!(self.packets.len() <= MOST_PACKETS && self.bytes.len() <= self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_may_wait_or_be_kept() {
        let mut sending = Sending::new(1, 150_000);
        let bytes = vec![7; 1 << 20];
        assert_eq!(sending.write(&bytes), UNSENT);
        assert_eq!(sending.write(&bytes), 0);
        let bounds = Bounds {
            congestion: usize::MAX,
            room: usize::MAX,
            full: 1380,
            proven: 1380,
        };
        let mut sent = 0;
        while let Some(due) = sending.due(Time::ZERO, bounds) {
            sent += due.content.bytes();
        }
        assert_eq!(sent, UNSENT);
        assert_eq!(sending.write(&bytes), 150_000 - UNSENT);
    }
}
