//! Requests that wait for a browser, sealed into the address that it comes back to. Owns their form and their bound;
//! nothing of them is kept here, so that callers who are not known fill nothing, however many they are.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::authentication::CookieKeys;
use shared::clock::Timestamp;
use shared::problem::Problem;

use crate::seal::MasterKeys;

/// The longest request, in bytes of JSON: the parameters ([`MOST_KEPT`](crate::form::MOST_KEPT)) and what belongs to them.
/// Sealed, it fits into an address of 8 KiB, with which gateways are content.
const LONGEST: usize = 6_000;

/// What a sealed request is, so that one is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An authorization request that waits for a person.
    Authorization,
    /// An authorization request that came by POST.
    Posted,
    /// A request to be signed out.
    Logout,
}

impl Kind {
    const fn context(self) -> &'static str {
        match self {
            Self::Authorization => "authorization request",
            Self::Posted => "posted authorization request",
            Self::Logout => "logout request",
        }
    }
}

/// Seals requests and opens them again, at every replica.
pub struct SealedRequests(CookieKeys);

#[derive(Serialize, Deserialize)]
struct Sealed<T>(Timestamp, T);

impl SealedRequests {
    pub fn new(master_keys: &MasterKeys) -> Self {
        Self(CookieKeys::of(master_keys.derive("sealed request")))
    }

    /// The request as base64url, good until `ends_at`.
    ///
    /// # Errors
    /// 400 `request_too_large`.
    pub fn seal(&self, kind: Kind, request: &impl Serialize, ends_at: Timestamp) -> Result<String, Problem> {
        let text = serde_json::to_vec(&Sealed(ends_at, request)).map_err(Problem::internal)?;
        if text.len() > LONGEST {
            let detail = format!("the request is too large: with what belongs to it, it has more than {LONGEST} bytes");
            return Err(Problem::bad_request("request_too_large", detail));
        }
        Ok(self.0.seal(kind.context(), &text))
    }

    /// What was sealed and until when it is good; nothing where it is over, changed, of another kind, or not sealed here.
    pub fn open<T: DeserializeOwned>(&self, kind: Kind, sealed: &str, now: Timestamp) -> Option<(Timestamp, T)> {
        self.read(kind, sealed).filter(|(ends_at, _)| now < *ends_at)
    }

    /// What was sealed, also where it is over: for telling the person so, and for nothing else.
    pub fn read<T: DeserializeOwned>(&self, kind: Kind, sealed: &str) -> Option<(Timestamp, T)> {
        if sealed.len() > LONGEST * 2 {
            return None;
        }
        let Sealed(ends_at, request) = serde_json::from_slice(&self.0.open(kind.context(), sealed)?).ok()?;
        Some((ends_at, request))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);
    const END: Timestamp = Timestamp::from_seconds(1_060);

    fn requests(seeds: &[u8]) -> SealedRequests {
        let key = |seed: &u8| STANDARD.encode((0..32).map(|step| seed.wrapping_add(step)).collect::<Vec<_>>());
        let text = seeds.iter().map(key).collect::<Vec<_>>().join(",");
        SealedRequests::new(&MasterKeys::parse(&text.into()).expect("keys"))
    }

    #[test]
    fn a_request_opens_until_it_is_over_as_what_it_is_and_with_the_same_keys() {
        let sealed = requests(&[1]).seal(Kind::Logout, &"a request", END).expect("a short text");
        let open = |seeds: &[u8], kind, now| requests(seeds).open::<String>(kind, &sealed, now).map(|(_, text)| text);
        assert_eq!(open(&[1], Kind::Logout, NOW).as_deref(), Some("a request"));
        assert_eq!(open(&[2, 1], Kind::Logout, NOW).as_deref(), Some("a request"), "an older key still opens");
        assert_eq!(open(&[1], Kind::Logout, END), None, "it is over");
        let read = requests(&[1]).read::<String>(Kind::Logout, &sealed);
        assert_eq!(read, Some((END, "a request".to_owned())), "what it was can still be said");
        assert_eq!(open(&[1], Kind::Posted, NOW), None, "it is of another kind");
        assert_eq!(open(&[2], Kind::Logout, NOW), None, "it was sealed elsewhere");
    }

    #[test]
    fn what_was_changed_or_is_none_opens_nothing() {
        let requests = requests(&[1]);
        let sealed = requests.seal(Kind::Posted, &"a request", END).expect("a short text");
        for place in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(requests.open::<String>(Kind::Posted, &changed, NOW), None, "byte {place}");
        }
        for odd in ["", "x", "\u{0}", &"A".repeat(100_000)] {
            assert_eq!(requests.open::<String>(Kind::Posted, odd, NOW), None);
        }
    }

    #[test]
    fn the_longest_request_fits_into_an_address_of_8_kib_and_a_longer_one_is_refused() {
        let requests = requests(&[1]);
        let longest = "x".repeat(LONGEST - 40);
        let sealed = requests.seal(Kind::Authorization, &longest, END).expect("the longest");
        assert!("GET /oauth2/authorize?flow= HTTP/1.1".len() + sealed.len() < 8 * 1024, "{}", sealed.len());
        let refused = requests.seal(Kind::Authorization, &"x".repeat(LONGEST), END).expect_err("too long");
        assert_eq!((refused.status().as_u16(), refused.code()), (400, "request_too_large"));
    }
}
