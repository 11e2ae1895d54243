//! Email addresses: the one canonical form in which an account is named. Rules only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::look_alike::imitates;

/// An address in canonical form. Two texts that name one mailbox to a reader are one value:
///
/// - the part before the `@` is in lower case and NFC. It has letters, digits, ``.!#$%&'*+/=?^_`{|}~-``, and no dot at its
///   ends or beside another; `+tag` and dots are kept, for only the mailbox's own provider knows what they mean;
/// - the domain is in lower case and punycode (IDNA), so that both spellings of an international one are equal. It has
///   at least two labels, and is no IP address;
/// - the whole has at most 254 bytes (RFC 5321, section 4.5.3.1.3). Blanks, control characters, quoted local parts and
///   characters that only look like others (which NFKC would change) are refused, not repaired.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, sqlx::Type, utoipa::ToSchema)]
#[sqlx(transparent)]
#[serde(transparent)]
#[schema(value_type = String, format = Email, max_length = 254, example = "ada@example.com")]
pub struct Email(String);

/// The text is no email address that this service takes. Never quotes it: people type passwords into the wrong field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an email address such as ada@example.com, of at most 254 bytes, without blanks")]
pub struct InvalidEmail;

const MAX_BYTES: usize = 254;
const MAX_LOCAL_BYTES: usize = 64;

impl Email {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a reader could take the address for another one: what stands before the `@`, or a label after it, mixes
    /// scripts (UTS 39, section 5.2, beyond "single script"), has characters that are not for names (section 3.1), or is
    /// written with other letters and looks like ASCII throughout (section 4). No new account gets such an address; an
    /// account that has one keeps it.
    pub fn looks_like_another(&self) -> bool {
        let (local, domain) = self.0.split_once('@').unwrap_or_default();
        let (domain, _) = idna::domain_to_unicode(domain);
        imitates(local) || domain.split('.').any(imitates)
    }

    /// What stands before the `@`.
    pub fn local_part(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        if text.len() > MAX_BYTES {
            return Err(InvalidEmail);
        }
        let (local, domain) = text.split_once('@').ok_or(InvalidEmail)?;
        let email = format!("{}@{}", canonical_local_part(local)?, canonical_domain(domain)?);
        (email.len() <= MAX_BYTES).then_some(Self(email)).ok_or(InvalidEmail)
    }
}

fn canonical_local_part(text: &str) -> Result<String, InvalidEmail> {
    let allowed = |c: char| match c {
        'a'..='z' | '0'..='9' => true,
        '.' | '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '/' | '=' | '?' | '^' | '_' | '`' => true,
        '{' | '|' | '}' | '~' | '-' => true,
        c => !c.is_ascii() && (c.is_alphanumeric() || is_combining_mark(c)),
    };
    // Letter by letter, because `str::to_lowercase` looks at a letter's neighbours: the form would not be stable.
    let lower: String = text.nfc().flat_map(char::to_lowercase).nfc().collect();
    let dots_are_fine = !lower.starts_with('.') && !lower.ends_with('.') && !lower.contains("..");
    let looks_like_itself = lower.nfkc().eq(lower.chars());
    let good = !lower.is_empty()
        && lower.len() <= MAX_LOCAL_BYTES
        && lower.chars().all(allowed)
        && dots_are_fine
        && looks_like_itself
        && !lower.starts_with(is_combining_mark);
    good.then_some(lower).ok_or(InvalidEmail)
}

fn canonical_domain(text: &str) -> Result<String, InvalidEmail> {
    // A host parser also undoes percent-encoding, which has no place here.
    if text.contains('%') {
        return Err(InvalidEmail);
    }
    let Ok(url::Host::Domain(domain)) = url::Host::parse(text) else { return Err(InvalidEmail) };
    let label_is_fine = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&label.len()) && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let good = domain.contains('.') && domain.split('.').all(label_is_fine);
    good.then_some(domain).ok_or(InvalidEmail)
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As on the pages: what is copied brings blanks along.
        String::deserialize(deserializer)?.trim().parse().map_err(de::Error::custom)
    }
}

impl shared::config::Setting for Email {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: InvalidEmail| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Option<String> {
        text.parse::<Email>().ok().map(|email| email.to_string())
    }

    #[test]
    fn two_spellings_of_one_mailbox_are_one_address() {
        for (text, expected) in [
            ("Ada@Example.COM", "ada@example.com"),
            ("ada+shop@example.com", "ada+shop@example.com"),
            ("a.d.a@example.com", "a.d.a@example.com"),
            ("J\u{fc}rgen@example.com", "j\u{fc}rgen@example.com"),
            ("Ju\u{308}rgen@example.com", "j\u{fc}rgen@example.com"),
            ("ada@B\u{fc}cher.example", "ada@xn--bcher-kva.example"),
            ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
            ("\u{3a3}@example.com", "\u{3c3}@example.com"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        let huge = format!("a@{}.example", "b.".repeat(200));
        let refused = [
            "",
            "@",
            "ada",
            "ada@",
            "@example.com",
            "a@b@example.com",
            "ada@example",
            "ada@localhost",
            "ada@127.0.0.1",
            "ada@[::1]",
            " ada@example.com",
            "ada@example.com ",
            "a da@example.com",
            "ada@exa mple.com",
            "ada@example.com\r\nBcc: x@y.z",
            "\"a b\"@example.com",
            "a\"b@example.com",
            ".ada@example.com",
            "ada.@example.com",
            "a..a@example.com",
            "ada@.example.com",
            "ada@example..com",
            "ada@example.com.",
            "ada@-example.com",
            "ada@ex%61mple.com",
            "ada\u{0}@example.com",
            "\u{ff41}da@example.com",
            "a\u{200b}da@example.com",
            "a\u{202e}da@example.com",
            "\u{1f600}@example.com",
            &long,
            &huge,
        ];
        for text in refused {
            assert_eq!(canonical(text), None, "{text:?} was taken");
        }
    }

    #[test]
    fn an_address_that_imitates_another_is_known() {
        let imitates = |text: &str| text.parse::<Email>().unwrap_or_else(|_| panic!("{text}")).looks_like_another();
        for honest in [
            "admin@example.com",
            "o'neil+tag.1_2@example.com",
            "jürgen+shop@example.com",
            "josé@example.com",
            "дмитрий.петров@пример.рф",
            "елена@example.com",
            "山田太郎@example.jp",
            "やまだタロウ@example.jp",
            "김철수@example.kr",
            "κώστας@example.gr",
            "ada@bücher.example",
            "ada@xn--bcher-kva.example",
            "محمد@example.com",
        ] {
            assert!(!imitates(honest), "{honest}");
        }
        for imitation in [
            "\u{430}dmin@example.com",
            "adm\u{456}n@example.com",
            "pay\u{3c1}al@example.com",
            "\u{430}\u{441}\u{435}@example.com",
            "adm\u{131}n@example.com",
            "admin@\u{430}pple.com",
            "admin@xn--pple-43d.com",
            "山田taro@example.jp",
            "admi\u{307}n@example.com",
            "ADM\u{130}N@example.com",
        ] {
            assert!(imitates(imitation), "{imitation}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_of_a_canonical_address_is_itself(text in "\\PC{1,20}@[a-zA-Z\u{e0}-\u{ff}]{1,10}\\.[a-zA-Z]{2,4}") {
            if let Some(once) = canonical(&text) {
                prop_assert_eq!(canonical(&once), Some(once));
            }
        }

        #[test]
        fn no_text_panics_the_parser(text in "\\PC*@?\\PC*") {
            let _ = canonical(&text);
        }
    }
}
