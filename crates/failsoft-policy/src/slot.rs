//! Key to slot: CRC16/XMODEM modulo 16384, with hash tags (cluster specification, "Hash tags").

use crate::words::Slot;

/// The part of the key that is hashed: what stands between the first `{` and the first `}` after
/// it, if that is not empty; otherwise the whole key.
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else { return key };
    let inner = &key[open + 1..];
    match inner.iter().position(|&b| b == b'}') {
        Some(0) | None => key,
        Some(close) => &inner[..close],
    }
}

/// The slot of a key. Any bytes are a key, the empty string too.
pub fn slot_of(key: &[u8]) -> Slot {
    Slot(crc16::State::<crc16::XMODEM>::calculate(hash_tag(key)) % Slot::COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specification_s_example() {
        // "123456789" is the check value of CRC16/XMODEM in the cluster specification's appendix.
        assert_eq!(slot_of(b"123456789").number(), 0x31C3 % Slot::COUNT);
    }

    #[test]
    fn hash_tags() {
        let cases: [(&[u8], &[u8]); 10] = [
            (b"{user1000}.following", b"user1000"),
            (b"foo{}{bar}", b"foo{}{bar}"),
            (b"foo{{bar}}zap", b"{bar"),
            (b"foo{bar}{zap}", b"bar"),
            (b"a}b", b"a}b"),
            (b"{}x", b"{}x"),
            (b"{a", b"{a"),
            (b"", b""),
            (b"}{a}", b"a"),
            (b"\x00{\xff}\x00", b"\xff"),
        ];
        for (key, tag) in cases {
            assert_eq!(hash_tag(key), tag, "{key:?}");
        }
        assert_eq!(slot_of(b"{user1000}.a"), slot_of(b"user1000"));
    }
}
