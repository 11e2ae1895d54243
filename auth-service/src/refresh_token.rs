//! The text of a refresh token: `<session>.<client>.<generation>.<MAC>`. Rules only; whether it is the newest, the
//! session store tells.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::session::SessionId;

use crate::seal::MasterKeys;

const MAX_BYTES: usize = 256;

/// What a refresh token says. Believed only after its MAC was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    pub session: SessionId,
    pub client: String,
    pub generation: u64,
}

/// Writes and checks refresh tokens. What this platform did not issue never reaches the store, and cannot end a session.
pub struct RefreshTokens(Vec<hmac::Key>);

impl RefreshTokens {
    pub fn new(master_keys: &MasterKeys) -> Self {
        let keys = master_keys.derive("refresh token");
        Self(keys.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key)).collect())
    }

    pub fn write(&self, token: &RefreshToken) -> String {
        let text = format!("{}.{}.{}", token.session, token.client, token.generation);
        let mac = hmac::sign(&self.0[0], text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()))
    }

    /// Reads a token of ours, or nothing. The MAC is compared in constant time, before anything is looked at.
    pub fn read(&self, text: &str) -> Option<RefreshToken> {
        let (said, mac) = text.rsplit_once('.').filter(|_| text.len() <= MAX_BYTES)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        self.0.iter().find(|key| hmac::verify(key, said.as_bytes(), &mac).is_ok())?;
        let mut parts = said.split('.');
        let (session, client, generation) = (parts.next()?, parts.next()?, parts.next()?);
        let token = RefreshToken {
            session: session.parse().ok()?,
            client: client.to_owned(),
            generation: generation.parse().ok()?,
        };
        parts.next().is_none().then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use shared::session::UserId;

    use super::*;

    fn tokens(seeds: &[u8]) -> RefreshTokens {
        let key = |seed: &u8| STANDARD.encode((0..32).map(|step| seed.wrapping_add(step)).collect::<Vec<_>>());
        let text = seeds.iter().map(key).collect::<Vec<_>>().join(",");
        RefreshTokens::new(&MasterKeys::parse(&text.into()).expect("keys"))
    }

    fn token() -> RefreshToken {
        let session = SessionId::random_for(UserId::random());
        RefreshToken { session, client: "platform".to_owned(), generation: 7 }
    }

    #[test]
    fn a_token_comes_back_from_its_text() {
        let token = token();
        let text = tokens(&[1]).write(&token);
        assert_eq!(tokens(&[1]).read(&text), Some(token.clone()));
        assert_eq!(tokens(&[2, 1]).read(&text), Some(token), "the old master key still reads");
        assert_eq!(tokens(&[2]).read(&text), None);
    }

    #[test]
    fn no_changed_bit_is_read() {
        let text = tokens(&[1]).write(&token());
        for place in 0..text.len() {
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[place] ^= 1 << bit;
                let changed = String::from_utf8(bytes).expect("still ASCII");
                assert_eq!(tokens(&[1]).read(&changed), None, "{place}/{bit}");
            }
        }
    }

    #[test]
    fn no_shorter_or_longer_text_is_read() {
        let text = tokens(&[1]).write(&token());
        for length in 0..text.len() {
            assert_eq!(tokens(&[1]).read(&text[..length]), None);
        }
        for changed in
            [format!("{text}="), format!("{text}A"), format!(" {text}"), format!("{text}\r\n"), "rt:*".to_owned()]
        {
            assert_eq!(tokens(&[1]).read(&changed), None, "{changed:?}");
        }
    }

    proptest! {
        #[test]
        fn no_made_up_text_is_read(text in "\\PC{0,300}") {
            prop_assert_eq!(tokens(&[1]).read(&text), None);
        }
    }
}
