//! CRC-32C (Castagnoli), which BEP 40 and BEP 42 make of addresses.

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The sum of `bytes`, bit by bit: they are never more than 32.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = !0;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 };
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_one_that_was_published() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
