use super::*;

const HASH: InfoHash = InfoHash([0xaa; 20]);
const STREAM: &[u8] = b"whatever is said once hands are shaken";

fn ours(disguised: &Digest) -> Option<InfoHash> {
    (*disguised == disguise(HASH)).then_some(HASH)
}

fn private(n: u8) -> [u8; PRIVATE_LEN] {
    std::array::from_fn(|i| n.wrapping_mul(31).wrapping_add(i as u8 * 7 + 1))
}

fn opening(encryption: Encryption, seed: u64, out: &mut Vec<u8>) -> Opening<'static> {
    let mut rng = fastrand::Rng::with_seed(seed);
    Opening::new(HASH, b"hello", encryption, private(1), &mut rng, out)
}

fn answering(encryption: Encryption, seed: u64) -> Answering {
    Answering::new(encryption, private(2), fastrand::Rng::with_seed(seed))
}

/// What one side ends with: the agreement, and what it makes of the stream of the other.
type End = Result<(Agreed, Vec<u8>), Fault>;

/// A machine, what it has been sent, and what it has come to.
struct Side<M> {
    machine: M,
    got: Vec<u8>,
    end: Option<End>,
}

impl<M> Side<M> {
    fn new(machine: M) -> Self {
        let (got, end) = (Vec::new(), None);
        Self { machine, got, end }
    }

    /// Takes bytes in portions of `portion`.
    fn hear(
        &mut self,
        bytes: &[u8],
        portion: usize,
        mut handle: impl FnMut(&mut M, &mut &[u8]) -> Result<Option<Agreed>, Fault>,
    ) {
        for mut bytes in bytes.chunks(portion) {
            if self.end.is_none() {
                self.end = match handle(&mut self.machine, &mut bytes) {
                    Ok(None) => {
                        assert!(bytes.is_empty(), "it asks for more and has not taken all");
                        None
                    }
                    Ok(Some(agreed)) => Some(Ok((agreed, Vec::new()))),
                    Err(fault) => Some(Err(fault)),
                };
            }
            self.got.extend_from_slice(bytes);
        }
    }

    /// What of the stream has come, decrypted in odd portions.
    fn end(mut self) -> End {
        let (agreed, _) = self.end.expect("it has come to an end")?;
        let mut receiving = agreed.receiving.clone();
        for bytes in self.got.chunks_mut(3) {
            if let Some(cipher) = &mut receiving
                && !cipher.apply(bytes)
            {
                receiving = None;
            }
        }
        Ok((agreed, self.got))
    }
}

/// Lets both sides talk, each in portions of so many bytes, and then each say what [`STREAM`] is.
fn talk(opener: Encryption, answerer: Encryption, portion: usize, seed: u64) -> (End, End) {
    let mut to_answerer = Vec::new();
    let mut a = Side::new(opening(opener, seed, &mut to_answerer));
    let mut b = Side::new(answering(answerer, seed + 1));
    let (mut a_spoke, mut b_spoke) = (false, false);
    loop {
        let mut to_opener = Vec::new();
        b.hear(&to_answerer, portion, |machine, bytes| {
            machine.handle(bytes, ours, &mut to_opener)
        });
        say_stream(&b.end, &mut b_spoke, &mut to_opener);
        to_answerer.clear();
        a.hear(&to_opener, portion, |machine, bytes| {
            machine.handle(bytes, &mut to_answerer)
        });
        say_stream(&a.end, &mut a_spoke, &mut to_answerer);
        if to_answerer.is_empty() {
            // Whoever has failed has told the other side nothing.
            let a = if a.end.is_some() {
                a.end()
            } else {
                Err(Fault::NoSync)
            };
            return (a, b.end());
        }
    }
}

fn say_stream(end: &Option<End>, spoke: &mut bool, out: &mut Vec<u8>) {
    if let Some(Ok((agreed, _))) = end
        && !std::mem::replace(spoke, true)
    {
        let begin = out.len();
        out.extend_from_slice(STREAM);
        if let Some(cipher) = &mut agreed.sending.clone() {
            cipher.apply(&mut out[begin..]);
        }
    }
}

#[test]
fn both_sides_agree_wherever_the_stream_is_cut() {
    let all = Encryption::ALL;
    for (pair, (opener, answerer)) in all
        .iter()
        .flat_map(|a| all.iter().map(move |b| (*a, *b)))
        .enumerate()
    {
        // Every portion in one of the pairs, and all at once in each.
        let portions = (pair + 1..160).step_by(9).chain([usize::MAX]);
        for (seed, portion) in portions.enumerate() {
            let (a, b) = talk(opener, answerer, portion, seed as u64);
            let expected = if answerer == Encryption::Plain && opener != Encryption::Required {
                PLAIN
            } else {
                RC4
            };
            let case = format!("{opener:?} → {answerer:?} in portions of {portion}");
            let ((a, to_a), (b, to_b)) = (a.expect(&case), b.expect(&case));
            assert_eq!(to_a, STREAM, "{case}");
            assert_eq!(to_b, [b"hello", STREAM].concat(), "{case}");
            assert_eq!((a.info_hash, b.info_hash), (HASH, HASH));
            let encrypted = expected == RC4;
            assert_eq!(a.sending.is_some(), encrypted, "{case}");
            assert_eq!(a.receiving.is_some(), encrypted, "{case}");
            assert_eq!(b.sending.is_some(), encrypted, "{case}");
        }
    }
}

/// Made by a program of its own (forty lines of Python): the two private keys, and what whoever dials sends, with paddings of 5 and 3 bytes and a beginning of 4.
mod transcript {
    pub(super) const OPENER: &str = "15f212f2383883f4bab1917f480184cbafcdd331";
    pub(super) const ANSWERER: &str = "7b8e558f43b6c2ebdce5f047041c2d0ca4a7e568";
    pub(super) const TO_ANSWERER: &str = "a2ab925a8a0685341213513f8fe4cc2d152efb3a84f2dd7ee3cc3ba6224513a219b212989f4e72bc \
         74e0a1f7ea68fef2bb4d0a0e9e9466c37338effb226b1305960e0c9ddd4b724f42f397630de69bc1 \
         dc28dfb3dda666ba7d64574a6cddf69f01020304056ccf3d733bdf19999c4f33312e58d97876a97e \
         fcc01fe214649515c8ed05ba3bd4846cf628aa16336a0a411591e857398144f0de644b9508ee636b \
         4c5ee9a4";
    /// What is sent back behind key and padding, where RC4 is chosen.
    pub(super) const TO_OPENER: &str = "526c9a24097b6bdfd276500cb96b";
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    let pairs = digits.chunks(2);
    pairs.map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

#[test]
fn a_transcript_made_elsewhere_is_understood() {
    let key = |hex: &str| <[u8; PRIVATE_LEN]>::try_from(bytes(hex)).unwrap();
    let rng = fastrand::Rng::with_seed(5);
    let answerer = key(transcript::ANSWERER);
    let mut b = Side::new(Answering::new(Encryption::Preferred, answerer, rng));
    let mut out = Vec::new();
    b.hear(&bytes(transcript::TO_ANSWERER), 1, |machine, bytes| {
        machine.handle(bytes, ours, &mut out)
    });
    let (_, heard) = b.end().unwrap();
    assert_eq!(heard, b"BEEF");
    assert_eq!(out[..KEY_LEN], dh::public_key(&answerer));
    let tail = bytes(transcript::TO_OPENER);
    assert_eq!(out[out.len() - tail.len()..], tail);

    let mut to_answerer = Vec::new();
    let opener = key(transcript::OPENER);
    let mut rng = fastrand::Rng::with_seed(6);
    let offer = Encryption::Required;
    let machine = Opening::new(HASH, b"BEEF", offer, opener, &mut rng, &mut to_answerer);
    assert_eq!(
        to_answerer[..KEY_LEN],
        bytes(transcript::TO_ANSWERER)[..KEY_LEN]
    );
    let mut a = Side::new(machine);
    a.hear(&out, 1, |machine, bytes| {
        machine.handle(bytes, &mut to_answerer)
    });
    assert!(a.end().is_ok());
}

#[test]
fn a_search_ends_where_the_longest_padding_does() {
    for pad in [0, MAX_PAD, MAX_PAD + 1] {
        let mark = *b"the mark behind it";
        let mut field = Field::new();
        let text = [&vec![b't'; pad][..], &mark, b"and more"].concat();
        let mut from = &text[..];
        if pad > MAX_PAD {
            assert_eq!(field.pass(&mark, &mut from), Err(Fault::NoSync));
            assert_eq!(from.len(), text.len() - MAX_PAD - mark.len());
        } else {
            assert_eq!(field.pass(&mark, &mut from), Ok(true));
            assert_eq!(from, b"and more");
        }
    }
}

#[test]
fn whoever_does_not_know_the_torrent_or_the_secret_gets_nowhere() {
    let mut out = Vec::new();
    let mut machine = answering(Encryption::Plain, 3);
    let mut first = Vec::new();
    let mut opener = opening(Encryption::Plain, 3, &mut first);
    machine.handle(&mut &first[..], ours, &mut out).unwrap();
    let mut second = Vec::new();
    opener.handle(&mut &out[..], &mut second).unwrap();
    let (mark, rest) = second.split_at(20);
    let handle = |bytes: &[u8], find: &dyn Fn(&Digest) -> Option<InfoHash>| {
        let mut reply = Vec::new();
        let outcome = machine.clone().handle(&mut &bytes[..], find, &mut reply);
        assert!(outcome.is_ok() || reply.is_empty(), "nothing is told");
        outcome.map(|agreed| agreed.is_some())
    };
    assert_eq!(handle(&second, &ours), Ok(true));
    assert_eq!(handle(&second, &|_| None), Err(Fault::UnknownTorrent));
    // Where another torrent is meant, its key is another.
    let other = |_: &Digest| Some(InfoHash([1; 20]));
    assert_eq!(handle(&second, &other), Err(Fault::Verification));
    let changed = |at: usize, by: u8| {
        let mut bytes = rest.to_vec();
        bytes[at] ^= by;
        [mark, &bytes].concat()
    };
    assert_eq!(handle(&changed(0, 1), &ours), Err(Fault::UnknownTorrent));
    assert_eq!(handle(&changed(20, 1), &ours), Err(Fault::Verification));
    // The methods are 3; without both bits they are others.
    assert_eq!(handle(&changed(31, 3), &ours), Err(Fault::Method));
    assert_eq!(handle(&changed(32, 0x80), &ours), Err(Fault::Padding));
}

#[test]
fn a_method_that_was_not_offered_is_refused() {
    let mut first = Vec::new();
    let mut reply = Vec::new();
    let mut opener = opening(Encryption::Required, 1, &mut first);
    let mut answerer = answering(Encryption::Plain, 2);
    answerer.handle(&mut &first[..], ours, &mut reply).unwrap();
    let mut second = Vec::new();
    opener.handle(&mut &reply[..], &mut second).unwrap();
    reply.clear();
    answerer.handle(&mut &second[..], ours, &mut reply).unwrap();
    for (by, outcome) in [
        (0, Ok(true)),
        (3, Err(Fault::Method)),
        (1, Err(Fault::Method)),
    ] {
        let mut reply = reply.clone();
        reply[11] ^= by;
        let handled = opener.clone().handle(&mut &reply[..], &mut Vec::new());
        assert_eq!(handled.map(|agreed| agreed.is_some()), outcome, "{by}");
    }
    reply[12] ^= 0x40;
    let handled = opener.handle(&mut &reply[..], &mut Vec::new());
    assert_eq!(handled.map(|_| ()), Err(Fault::Padding));
}

#[test]
fn noise_and_changed_bytes_are_survived() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut noise = || -> Vec<u8> {
        let len = rng.usize(..2000);
        std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
    };
    for seed in 0..100 {
        let (mut out, noise) = (Vec::new(), noise());
        let outcome = answering(Encryption::Plain, seed).handle(&mut &noise[..], ours, &mut out);
        assert!(!matches!(outcome, Ok(Some(_))));
        assert!(out.len() <= KEY_LEN + MAX_PAD);
        let enough = noise.len() >= KEY_LEN + MAX_PAD + 20;
        assert_eq!(outcome.is_err(), enough, "{} bytes", noise.len());
        let mut opener = opening(Encryption::Plain, seed, &mut Vec::new());
        assert!(!matches!(
            opener.handle(&mut &noise[..], &mut Vec::new()),
            Ok(Some(_))
        ));
    }
}

#[test]
fn choices_have_names() {
    for choice in Encryption::ALL {
        assert_eq!(Encryption::from_name(choice.name()), Some(choice));
    }
    assert_eq!(Encryption::from_name("none"), None);
}
