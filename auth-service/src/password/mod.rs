//! Passwords: what may be one, and how one is hashed and checked. Never prints one, and never keeps one longer than a
//! request.

mod hashing;

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use unicode_normalization::UnicodeNormalization as _;

pub use self::hashing::{NICENESS as HASHING_NICENESS, PARAMS as HASH_PARAMS, PasswordHasher, TooBusy, Verified};

const MIN_CHARACTERS: usize = 8;
const MAX_BYTES: usize = 1024;

/// The 3,000 most common passwords of 8 characters or more, in lower case (OWASP ASVS 5.0, 6.2.4).
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("../common_passwords.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// A password as it is presented: at most 1,024 bytes. Keyboards write the same letters and blanks with other characters, so
/// it counts in one form (OpaqueString, RFC 8265, section 4.2): NFC, and each blank a space. Nothing is trimmed, folded or cut.
#[derive(Clone, utoipa::ToSchema)]
#[schema(value_type = String, format = Password, max_length = 1024)]
pub struct Password(Forms);

#[derive(Clone)]
struct Forms {
    normal: SecretString,
    /// As it was sent, where that differs: hashes of before are of that.
    as_sent: Option<SecretString>,
}

/// A password that an account may get: 8 to 1,024 bytes, and none of the most common. No rule of composition.
#[derive(Clone, utoipa::ToSchema)]
#[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
pub struct NewPassword(Password);

/// Why a text is no password, or none for an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    #[error("a password has at least {MIN_CHARACTERS} characters")]
    TooShort,
    #[error("a password has at most {MAX_BYTES} bytes")]
    TooLong,
    #[error("this is one of the most common passwords, which are tried first")]
    TooCommon,
}

impl Password {
    /// # Errors
    /// It is too long, whatever it is: that is refused before any work.
    pub fn parse(text: &str) -> Result<Self, InvalidPassword> {
        if text.len() > MAX_BYTES {
            return Err(InvalidPassword::TooLong);
        }
        if text.is_ascii() {
            return Ok(Self(Forms { normal: text.into(), as_sent: None }));
        }
        let normal: String = text.chars().map(|c| if is_space(c) { ' ' } else { c }).nfc().collect();
        let as_sent = (normal != text).then(|| text.into());
        Ok(Self(Forms { normal: normal.into(), as_sent }))
    }

    fn bytes(&self) -> &[u8] {
        self.0.normal.expose_secret().as_bytes()
    }

    /// As it was sent, where the form that counts is another one.
    fn bytes_as_sent(&self) -> Option<&[u8]> {
        self.0.as_sent.as_ref().map(|text| text.expose_secret().as_bytes())
    }
}

/// The blanks of Unicode (general category Zs).
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

impl NewPassword {
    /// # Errors
    /// It is too short, too long or too common.
    pub fn parse(text: &str) -> Result<Self, InvalidPassword> {
        // No hash of before is of a new one.
        let normal = Password::parse(text)?.0.normal;
        let counts = normal.expose_secret();
        if counts.chars().count() < MIN_CHARACTERS {
            return Err(InvalidPassword::TooShort);
        }
        if COMMON.contains(counts.to_lowercase().as_str()) {
            return Err(InvalidPassword::TooCommon);
        }
        Ok(Self(Password(Forms { normal, as_sent: None })))
    }

    /// Makes one up: 120 random bits, in 20 characters.
    pub fn make_up() -> Self {
        let mut bytes = [0; 15];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
        Self(Password(Forms { normal: URL_SAFE_NO_PAD.encode(bytes).into(), as_sent: None }))
    }

    /// To show it once to whoever asked to make it up.
    pub fn expose(&self) -> &str {
        self.0.0.normal.expose_secret()
    }
}

impl From<NewPassword> for Password {
    fn from(password: NewPassword) -> Self {
        password.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([secret])")
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword([secret])")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = secret_text(deserializer)?;
        Self::parse(text.expose_secret()).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for NewPassword {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = secret_text(deserializer)?;
        Self::parse(text.expose_secret()).map_err(de::Error::custom)
    }
}

/// As [`secret_text`], for a member that may be absent or null.
///
/// # Errors
/// It is neither null nor text.
pub(crate) fn optional_secret_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SecretString>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Text(#[serde(deserialize_with = "secret_text")] SecretString);

    Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
}

/// Reads a secret from a body. A value of another type is refused without being quoted, as serde would do: a password
/// may be all digits, and forgotten quotes must not put it into an error.
///
/// # Errors
/// It is no text.
pub(crate) fn secret_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = SecretString;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretString, E> {
            Ok(text.into())
        }

        fn visit_bool<E: de::Error>(self, _: bool) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("boolean"), &self))
        }

        fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("number"), &self))
        }

        fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("number"), &self))
        }

        fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("number"), &self))
        }
    }

    deserializer.deserialize_any(Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_is_long_enough_and_uncommon() {
        for (text, expected) in [
            ("", InvalidPassword::TooShort),
            ("seven77", InvalidPassword::TooShort),
            ("password", InvalidPassword::TooCommon),
            ("PassWord", InvalidPassword::TooCommon),
            ("12345678", InvalidPassword::TooCommon),
            ("greyhoun", InvalidPassword::TooCommon),
            (&"x".repeat(1025), InvalidPassword::TooLong),
        ] {
            assert_eq!(NewPassword::parse(text).err(), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn no_composition_is_asked_and_any_character_is_taken() {
        for text in
            ["eight  8", "        ", &"\u{1f511}".repeat(8), "a\u{0}bcdefgh", " led by a blank", &"x".repeat(1024)]
        {
            let password = NewPassword::parse(text).expect(text);
            assert_eq!(password.expose(), text, "it is kept as it is");
        }
    }

    #[test]
    fn the_same_letters_and_blanks_are_the_same_password() {
        let exposed = |text: &str| NewPassword::parse(text).expect(text).expose().to_owned();
        for (one, other) in [
            ("caf\u{e9} au lait", "cafe\u{301} au lait"),
            ("\u{fc}ber allen", "u\u{308}ber\u{a0}allen"),
            ("two words", "two\u{3000}words"),
            ("\u{1100}\u{1161} hangul", "\u{ac00} hangul"),
        ] {
            assert_eq!(exposed(one), exposed(other), "{one:?}");
        }
        for other in ["CAF\u{c9} au lait", "cafe au lait", " caf\u{e9} au lait", "caf\u{e9}\u{200d} au lait"] {
            assert_ne!(exposed("caf\u{e9} au lait"), exposed(other), "{other:?}");
        }
        assert_eq!(exposed("\u{ff21}\u{fb01}\u{2460} as typed"), "\u{ff21}\u{fb01}\u{2460} as typed", "width stays");
    }

    #[test]
    fn the_list_has_three_thousand_passwords() {
        assert_eq!(COMMON.len(), 3_000);
        assert!(COMMON.iter().all(|text| text.chars().count() >= MIN_CHARACTERS && text.to_lowercase() == **text));
    }

    #[test]
    fn made_up_passwords_are_good_ones() {
        let (one, two) = (NewPassword::make_up(), NewPassword::make_up());
        assert!(NewPassword::parse(one.expose()).is_ok());
        assert_ne!(one.expose(), two.expose());
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_password() {
        let password = NewPassword::parse("correct horse").expect("a good one");
        assert!(!format!("{password:?}").contains("horse"));
        for body in ["8675309123", "-8675309123", "8675309123.5", "[8675309123]", "{\"8675309123\":1}", "true", "null"]
        {
            let error = serde_json::from_str::<NewPassword>(body).expect_err(body).to_string();
            assert!(!error.contains("8675309123"), "{error}");
        }
    }
}
