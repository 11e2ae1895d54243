//! Slots: the parts into which a Redis Cluster divides its keys.

/// One of 16,384.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u16);

impl Slot {
    pub(crate) const COUNT: u16 = 16_384;

    /// The slot of a key: of what stands between its first braces, or of all of it.
    pub(crate) fn of(key: &str) -> Self {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        Self(crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key)) % Self::COUNT)
    }
}

/// CRC-16/XMODEM.
fn crc16(text: &str) -> u16 {
    text.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_slot_that_redis_gives_it() {
        assert_eq!(crc16("123456789"), 0x31C3, "the check value of CRC-16/XMODEM");
        // As `CLUSTER KEYSLOT` answers.
        for (key, slot) in [("foo", 12_182), ("bar", 5_061), ("{foo}bar", 12_182), ("a{foo}{bar}", 12_182)] {
            assert_eq!(Slot::of(key), Slot(slot), "{key}");
        }
        assert_eq!(Slot::of("a{}b"), Slot(crc16("a{}b") % Slot::COUNT), "empty braces are no tag");
        assert_eq!(Slot::of("a{b"), Slot(crc16("a{b") % Slot::COUNT));
    }
}
