//! What `decode` promises.

use super::*;

const SMALL: Limits = Limits {
    size: 1000,
    depth: 4,
    nodes: 50,
};

fn fault(input: &[u8]) -> Fault {
    Document::parse(input, SMALL)
        .expect_err("must be refused")
        .fault
}

#[test]
fn values_are_read_with_their_raw_bytes() {
    let doc = Document::parse(
        b"d1:ai-7e1:bl0:3:abci0ee1:cd1:zi9223372036854775807eee",
        SMALL,
    )
    .unwrap();
    let root = doc.root().dict().unwrap();
    assert!(root.is_sorted());
    assert_eq!(root.get(b"a").unwrap().int(), Some(-7));
    assert_eq!(root.get(b"a").unwrap().uint(), None);
    let list = root.get(b"b").unwrap();
    assert_eq!(list.raw(), b"l0:3:abci0ee");
    let items: Vec<_> = list.list().unwrap().collect();
    assert_eq!(
        items.iter().map(Item::text).collect::<Vec<_>>(),
        [Some(""), Some("abc"), None]
    );
    assert_eq!(items[2].int(), Some(0));
    let inner = root.get(b"c").unwrap().dict().unwrap();
    assert_eq!(inner.item().raw(), b"d1:zi9223372036854775807ee");
    assert_eq!(inner.get(b"z").unwrap().uint(), Some(i64::MAX as u64));
    assert!(root.get(b"d").is_none());
    assert_eq!(
        root.iter().map(|(k, _)| k).collect::<Vec<_>>(),
        [b"a", b"b", b"c"]
    );
}

#[test]
fn strict_where_bep_3_is() {
    for bad in [
        "i-0e", "i00e", "i01e", "ie", "i-e", "i--1e", "i+1e", "i1.0e", "i 1e", "i-01e",
    ] {
        assert_eq!(fault(bad.as_bytes()), Fault::BadInteger, "{bad}");
    }
    for bad in ["01:a", "00:", "1a:b", "12345678901:a"] {
        assert_eq!(fault(bad.as_bytes()), Fault::BadLength, "{bad}");
    }
    assert_eq!(fault(b"i9223372036854775808e"), Fault::HugeInteger);
    assert_eq!(fault(b"i-9223372036854775809e"), Fault::HugeInteger);
    assert_eq!(fault(b"i99999999999999999999999999e"), Fault::BadInteger);
    assert_eq!(fault(b"di1ei2ee"), Fault::BadKey);
    assert_eq!(fault(b"dd1:ai1eei2ee"), Fault::BadKey);
    assert_eq!(fault(b"d1:ae"), Fault::NoValue);
    assert_eq!(fault(b"d1:ai1e1:ai2ee"), Fault::DuplicateKey);
    assert_eq!(fault(b"d1:bi1e1:ai2e1:bi3ee"), Fault::DuplicateKey);
    assert_eq!(fault(b"i1ei2e"), Fault::Trailing);
    for bad in ["e", "x", "-1:a", " i1e"] {
        assert_eq!(fault(bad.as_bytes()), Fault::Unexpected, "{bad}");
    }
}

#[test]
fn limits_hold_whatever_the_input_says() {
    assert_eq!(fault(b"lllllleeeeee"), Fault::TooDeep);
    assert_eq!(fault(&b"l".repeat(900)), Fault::TooDeep);
    assert_eq!(
        fault(&[&b"l"[..], &b"0:".repeat(60), b"e"].concat()),
        Fault::TooMany
    );
    assert_eq!(fault(&[b'x'; 1001]), Fault::TooLarge);
    assert_eq!(fault(b"999999999:a"), Fault::Truncated);
    assert_eq!(fault(b"9999999999999999999:a"), Fault::BadLength);
}

#[test]
fn unsorted_keys_are_read_and_told() {
    let doc = Document::parse(b"d1:bi1e1:ai2ee", SMALL).unwrap();
    let dict = doc.root().dict().unwrap();
    assert!(!dict.is_sorted());
    assert_eq!(dict.get(b"a").unwrap().int(), Some(2));
}

#[test]
fn a_prefix_tells_where_it_ends() {
    let (doc, end) = Document::parse_prefix(b"d1:ai1eeREST", SMALL).unwrap();
    assert_eq!((end, doc.root().raw()), (8, &b"d1:ai1ee"[..]));
}

#[test]
fn every_truncation_and_every_changed_byte_is_an_error_or_a_value_but_never_a_panic() {
    let good = b"d8:announce3:url4:infod6:lengthi42e4:name1:x6:pieces5:abcdee4:listli-1el0:eee";
    Document::parse(good, SMALL).unwrap();
    for end in 0..good.len() {
        assert!(
            Document::parse(&good[..end], SMALL).is_err(),
            "cut at {end}"
        );
    }
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut bad = good.to_vec();
            bad[at] = byte;
            if let Ok(doc) = Document::parse(&bad, SMALL) {
                walk(doc.root());
            }
        }
    }
}

/// All strings of up to seven characters over the alphabet of the notation.
#[test]
fn every_short_input_is_read_or_refused() {
    let alphabet = b"ilde01:-";
    let mut accepted = 0;
    for len in 0..=7_u32 {
        for n in 0..alphabet.len().pow(len) {
            let input: Vec<_> = (0..len)
                .map(|i| alphabet[n / alphabet.len().pow(i) % alphabet.len()])
                .collect();
            if let Ok(doc) = Document::parse(&input, SMALL) {
                accepted += 1;
                assert_eq!(doc.root().raw(), input);
                walk(doc.root());
            }
        }
    }
    assert!(accepted > 100, "{accepted}");
}

fn walk(item: Item<'_>) {
    let _ = (item.raw(), item.int(), item.bytes(), format!("{item:?}"));
    item.list().into_iter().flatten().for_each(walk);
    item.dict()
        .iter()
        .flat_map(Dict::iter)
        .for_each(|(_, v)| walk(v));
}
