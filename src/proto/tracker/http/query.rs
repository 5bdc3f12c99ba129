//! A query string taken apart, without making copies.

use crate::proto::percent;
use crate::proto::tracker::Refusal;

/// The parameters in order: names as they stand, values still escaped. An empty piece between two `&` is none.
pub(super) fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query
        .split(|&b| b == b'&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| match piece.iter().position(|&b| b == b'=') {
            Some(at) => (&piece[..at], &piece[at + 1..]),
            None => (piece, &[][..]),
        })
}

/// The 20 bytes of an info-hash or a peer id.
pub(super) fn id(name: &str, value: &[u8]) -> Result<[u8; 20], Refusal> {
    percent::decode_array(value).ok_or_else(|| {
        Refusal::never(match percent::decode(value) {
            Some(bytes) => format!("{name} must be 20 bytes, this is {}", bytes.len()),
            None => format!("{name} is not percent-encoded correctly"),
        })
    })
}

/// A decimal number. What does not fit is the largest there is: some clients count in ways of their own.
pub(super) fn number(name: &str, value: &[u8]) -> Result<u64, Refusal> {
    let mut n = 0_u64;
    for &b in value {
        if !b.is_ascii_digit() {
            return Err(not_a_number(name));
        }
        n = n.saturating_mul(10).saturating_add(u64::from(b - b'0'));
    }
    if value.is_empty() {
        return Err(not_a_number(name));
    }
    Ok(n)
}

fn not_a_number(name: &str) -> Refusal {
    Refusal::never(format!(
        "{name} must be a whole number that is not negative"
    ))
}

/// The refusal of a request that lacks `name`.
pub(super) fn missing(name: &str) -> Refusal {
    Refusal::never(format!("{name} is missing"))
}
