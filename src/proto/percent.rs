//! Percent-encoding (RFC 3986), for announce requests and magnet links. Bytes in, bytes out: an info-hash is no text.

/// Appends `bytes` to `out`; everything but letters, digits, `-`, `.`, `_` and `~` is escaped.
pub fn encode(bytes: &[u8], out: &mut String) {
    for &b in bytes {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(b >> 4)]));
            out.push(char::from(HEX[usize::from(b & 15)]));
        }
    }
}

/// `bytes` with its escapes undone; a `+` stays one. `None` if a `%` is not followed by two hexadecimal digits.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&b) = rest.next() {
        out.push(if b == b'%' {
            (digit(*rest.next()?)? << 4) | digit(*rest.next()?)?
        } else {
            b
        });
    }
    Some(out)
}

/// As [`decode`], for exactly `N` bytes and without a heap. `None` also if there are more or fewer.
#[must_use]
pub fn decode_array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    let mut rest = bytes.iter();
    for to in &mut out {
        *to = match *rest.next()? {
            b'%' => (digit(*rest.next()?)? << 4) | digit(*rest.next()?)?,
            b => b,
        };
    }
    rest.next().is_none().then_some(out)
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

const fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_round_trips_and_only_the_unreserved_stand_bare() {
        let all: Vec<u8> = (0..=255).collect();
        let mut text = String::new();
        encode(&all, &mut text);
        assert_eq!(decode(text.as_bytes()), Some(all));
        let bare = text.len() - 2 * text.matches('%').count() - text.matches('%').count();
        assert_eq!(bare, 26 + 26 + 10 + 4);
        assert!(text.contains("%00%01") && text.contains("-.") && text.contains('~'));
    }

    #[test]
    fn either_case_is_read_and_a_plus_is_a_plus() {
        assert_eq!(decode(b"a%2fb%2Fc+d"), Some(b"a/b/c+d".to_vec()));
    }

    #[test]
    fn an_array_takes_exactly_its_length() {
        assert_eq!(decode_array(b"%00a%fF"), Some([0, b'a', 0xff]));
        assert_eq!(decode_array::<3>(b"ab"), None);
        assert_eq!(decode_array::<3>(b"abcd"), None);
        assert_eq!(decode_array::<1>(b"%4"), None);
    }

    #[test]
    fn a_percent_sign_that_escapes_nothing_is_refused() {
        for bad in ["%", "%1", "abc%", "%g0", "%0g", "% 1", "%+1", "%%41"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }
}
