//! What strangers, and peers that lie, can do.

use std::time::Duration;

use crate::base::time::Time;
use crate::core::utp::{Connection, Failure, Limits};
use crate::proto::utp::{Kind, Packet};

const NOW: Time = Time::from_secs(9);

fn packet(kind: Kind, connection_id: u16, seq: u16, ack: u16) -> Packet<'static> {
    Packet {
        kind,
        connection_id,
        timestamp: 5,
        timestamp_difference: 0,
        window: 1 << 20,
        seq,
        ack,
        selective: None,
        payload: b"",
    }
}

fn sent(connection: &mut Connection, now: Time) -> Vec<Vec<u8>> {
    let (mut all, mut out) = (Vec::new(), Vec::new());
    while connection.transmit(now, &mut out) {
        all.push(out.clone());
    }
    all
}

/// We have dialled; their packets are numbered from 500 on, ours from 100.
fn dialled() -> Connection {
    let mut ours = Connection::dial(NOW, 40, 100, Limits::default());
    assert_eq!(sent(&mut ours, NOW).len(), 1);
    ours.handle(NOW, &packet(Kind::State, 40, 500, 100));
    assert!(ours.is_connected());
    ours
}

/// With three packets on their way, numbered 101 to 103.
fn busy() -> Connection {
    let mut ours = dialled();
    for n in 0..3 {
        assert_eq!(ours.write(&[n; 100]), 100);
        assert_eq!(sent(&mut ours, NOW).len(), 1);
    }
    ours
}

#[test]
fn a_connection_is_named_as_bep_29_has_it() {
    let mut ours = Connection::dial(NOW, 40, 100, Limits::default());
    let syn = sent(&mut ours, NOW).remove(0);
    let syn = Packet::decode(&syn).unwrap();
    assert_eq!((syn.kind, syn.connection_id, syn.seq), (Kind::Syn, 40, 100));
    let mut theirs = Connection::accept(NOW, &syn, 500, Limits::default());
    let state = sent(&mut theirs, NOW).remove(0);
    let state = Packet::decode(&state).unwrap();
    let told = (state.kind, state.connection_id, state.seq, state.ack);
    assert_eq!(told, (Kind::State, 40, 500, 100));
    ours.handle(NOW, &state);
    ours.write(b"hello");
    let data = sent(&mut ours, NOW).remove(0);
    let data = Packet::decode(&data).unwrap();
    let told = (data.kind, data.connection_id, data.seq, data.ack);
    assert_eq!(told, (Kind::Data, 41, 101, 499));
    theirs.handle(NOW, &data);
    assert!(theirs.is_connected());
    // The answer to the SYN took no number.
    theirs.write(b"hi");
    let data = sent(&mut theirs, NOW).remove(0);
    let data = Packet::decode(&data).unwrap();
    assert_eq!((data.seq, data.ack, data.payload), (500, 101, &b"hi"[..]));
}

#[test]
fn who_does_not_prove_its_address_gets_one_short_answer_for_each_question() {
    let syn = packet(Kind::Syn, 40, 100, 0);
    let mut ours = Connection::accept(NOW, &syn, 500, Limits::default());
    assert_eq!(ours.write(b"much"), 0);
    assert_eq!(sent(&mut ours, NOW)[0].len(), 20);
    assert!(sent(&mut ours, NOW).is_empty());
    ours.handle(NOW, &syn);
    assert_eq!(sent(&mut ours, NOW).len(), 1);
    // Neither another question nor one who guesses our number gets anything.
    ours.handle(NOW, &packet(Kind::Syn, 40, 101, 0));
    ours.handle(NOW, &packet(Kind::Data, 41, 101, 17));
    ours.handle(NOW, &packet(Kind::Data, 40, 101, 499));
    assert!(sent(&mut ours, NOW).is_empty());
    assert!(!ours.is_connected());
    let later = ours.deadline().unwrap();
    assert_eq!(later.since(NOW), Duration::from_secs(15));
    ours.tick(later);
    assert_eq!(ours.failure(), Some(Failure::TimedOut));
    assert!(ours.is_over());
}

#[test]
fn only_a_reset_that_knows_the_connection_ends_it() {
    for (id, ack, ends) in [
        (40, 103, true),
        (41, 103, true),
        (40, 101, true),
        (40, 104, true),
        (42, 103, false),
        (40, 105, false),
        (40, 40_000, false),
    ] {
        let mut ours = busy();
        ours.handle(NOW, &packet(Kind::Reset, id, 0, ack));
        let expected = ends.then_some(Failure::Reset);
        assert_eq!(ours.failure(), expected, "{id}, {ack}");
    }
    let mut ours = Connection::dial(NOW, 40, 100, Limits::default());
    ours.handle(NOW, &packet(Kind::Reset, 40, 0, 100));
    assert_eq!(ours.failure(), None, "nothing was asked yet");
    sent(&mut ours, NOW);
    ours.handle(NOW, &packet(Kind::Reset, 41, 0, 99));
    assert_eq!(ours.failure(), None);
    ours.handle(NOW, &packet(Kind::Reset, 41, 0, 100));
    assert_eq!(ours.failure(), Some(Failure::Refused));
}

#[test]
fn what_was_never_sent_cannot_be_acknowledged() {
    for ack in [104, 105, 30_000, 60_000] {
        let mut ours = busy();
        ours.handle(NOW, &packet(Kind::State, 40, 500, ack));
        assert_eq!(ours.sending.oldest(), 101, "{ack}");
        let mut data = packet(Kind::Data, 40, 500, ack);
        data.payload = b"x";
        ours.handle(NOW, &data);
        assert!(!ours.is_readable(), "{ack}");
    }
    // Nor by bits that reach beyond it.
    let mut ours = busy();
    let mut state = packet(Kind::State, 40, 500, 100);
    state.selective = Some(&[0xff; 252]);
    ours.handle(NOW, &state);
    assert_eq!((ours.sending.oldest(), ours.sending.next()), (101, 104));
    // The two behind it tell that the first is lost. What they say twice counts once.
    assert_eq!(ours.sending.flying(), 0);
    assert_eq!(sent(&mut ours, NOW).len(), 1);
    ours.handle(NOW, &state);
    assert_eq!(ours.sending.flying(), 100);
    ours.sending.check();
    ours.handle(NOW, &packet(Kind::State, 40, 500, 103));
    assert!(!ours.sending.is_waiting());
}

#[test]
fn acknowledgements_that_lie_about_times_make_no_window_without_bounds() {
    let mut ours = dialled();
    let mut now = NOW;
    for round in 0..200_u32 {
        while ours.write(&[0; 4096]) > 0 {}
        sent(&mut ours, now);
        now = now + Duration::from_millis(1);
        let mut state = packet(Kind::State, 40, 500, ours.sending.next().wrapping_sub(1));
        state.timestamp_difference = round.wrapping_mul(0x9e37_79b9) | 1;
        state.window = u32::MAX;
        ours.handle(now, &state);
    }
    while ours.write(&[0; 4096]) > 0 {}
    let at_once = sent(&mut ours, now).len();
    assert!(at_once <= 900, "{at_once}");
}

#[test]
fn what_is_kept_is_bounded_whatever_comes() {
    let limits = Limits {
        send_buffer: 1000,
        receive_buffer: 10_000,
    };
    let syn = packet(Kind::Syn, 40, 100, 0);
    let mut ours = Connection::accept(NOW, &syn, 500, limits);
    sent(&mut ours, NOW);
    let mut data = packet(Kind::Data, 41, 0, 499);
    data.payload = &[7; 1000];
    // The first is missing; then far too much, in any order.
    for n in (102..1500).rev() {
        data.seq = n;
        ours.handle(NOW, &data);
        let answers = sent(&mut ours, NOW);
        assert!(answers.len() <= 1 && answers.concat().len() <= 54);
    }
    assert!(ours.receiving.window() < 1000);
    data.seq = 101;
    ours.handle(NOW, &data);
    let mut buffer = vec![0; 30_000];
    let read = ours.read(&mut buffer);
    assert!((1000..=20_000).contains(&read), "{read}");
}

#[test]
fn an_end_is_the_end() {
    let mut ours = dialled();
    let mut data = packet(Kind::Data, 40, 501, 100);
    data.payload = b"b";
    ours.handle(NOW, &data);
    ours.handle(NOW, &packet(Kind::Fin, 40, 502, 100));
    // Another end, and more behind the end.
    ours.handle(NOW, &packet(Kind::Fin, 40, 503, 100));
    ours.handle(NOW, &packet(Kind::Fin, 40, 501, 100));
    data.seq = 502;
    ours.handle(NOW, &data);
    data.seq = 503;
    ours.handle(NOW, &data);
    assert!(!ours.is_readable());
    (data.seq, data.payload) = (500, b"a");
    ours.handle(NOW, &data);
    let mut buffer = [0; 9];
    assert_eq!((ours.read(&mut buffer), &buffer[..2]), (2, &b"ab"[..]));
    assert!(ours.is_at_end() && ours.is_readable());
}

/// Packets of a peer that says anything, near enough to the truth to be listened to.
#[test]
fn no_sequence_of_packets_breaks_anything() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits = Limits {
            send_buffer: 50_000,
            receive_buffer: 20_000,
        };
        let mut now = NOW;
        let mut ours = if seed % 2 == 0 {
            Connection::dial(now, 40, 65_530, limits)
        } else {
            Connection::accept(now, &packet(Kind::Syn, 39, 499, 0), 65_530, limits)
        };
        let (mut buffer, mut total) = ([0; 999], 0);
        for _ in 0..400 {
            let bytes: Vec<u8> = (0..rng.usize(..1400)).map(|_| rng.u8(..)).collect();
            let mask: Vec<u8> = (0..rng.usize(1..9) * 4).map(|_| rng.u8(..)).collect();
            let kind = match rng.u8(..) {
                0..=9 => Kind::Fin,
                10..=15 => Kind::Syn,
                16..=99 => Kind::State,
                _ => Kind::Data,
            };
            let said = Packet {
                kind,
                connection_id: 40,
                timestamp: rng.u32(..),
                timestamp_difference: rng.u32(..) >> rng.u32(..32),
                window: rng.u32(..) >> rng.u32(..32),
                seq: 500_u16.wrapping_add(rng.u16(..40)),
                ack: ours.sending.next().wrapping_sub(rng.u16(..12)),
                selective: rng.bool().then_some(&mask),
                payload: &bytes,
            };
            ours.handle(now, &said);
            if rng.u8(..) < 40 {
                total += ours.read(&mut buffer);
            }
            ours.write(&bytes);
            now = now + Duration::from_micros(rng.u64(..200_000));
            if ours.deadline().is_some_and(|at| at <= now) {
                ours.tick(now);
            }
            for datagram in sent(&mut ours, now) {
                assert!(datagram.len() <= 1400);
                assert!(Packet::decode(&datagram).is_ok());
            }
            ours.sending.check();
        }
        assert!(total <= 400 * 1400);
    }
}
