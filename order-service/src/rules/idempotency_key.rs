//! The client's own name for a request that it may have to repeat.

/// 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub fn parse(value: &[u8]) -> Option<Self> {
        let good = (1..=255).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        good.then(|| std::str::from_utf8(value).ok().map(|text| Self(text.to_owned()))).flatten()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length() {
        let longest = [b'k'; 255];
        for key in [&b"k"[..], b"7b0c6c2e-4f0a-4a57-8f5e-0b9d0a8d5c11", b"!~\"{}", &longest] {
            assert!(IdempotencyKey::parse(key).is_some());
        }
        for refused in [&b""[..], b"two words", b"tab\t", b"\x00", b"\x7f", "schlüssel".as_bytes(), &[b'k'; 256]] {
            assert!(IdempotencyKey::parse(refused).is_none(), "{refused:?} was taken");
        }
    }
}
