//! Why a client was refused, for its developer: one log line for each refusal, with a reason of a closed list. The answer
//! stays vague; its request id leads to the line. Owns how many lines strangers can cause.

use shared::ration::Ration;

use crate::clients::{Client, RedirectUri, is_client_id};

/// The longest text of a request that a line repeats, in characters.
const LONGEST: usize = 200;
/// How many registered addresses a line names.
const MOST_ADDRESSES: usize = 5;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    UnknownClient,
    /// Credentials that cannot be read, or that name another client than the form.
    Unreadable,
    WrongMethod,
    WrongSecret,
    WrongAlgorithm,
    WrongAudience,
    Expired,
    TooLongLived,
    NotYetValid,
    UnknownKey,
    WrongSignature,
    Repeated,
    RedirectUri,
}

impl Reason {
    const ALL: [Self; 13] = [
        Self::UnknownClient,
        Self::Unreadable,
        Self::WrongMethod,
        Self::WrongSecret,
        Self::WrongAlgorithm,
        Self::WrongAudience,
        Self::Expired,
        Self::TooLongLived,
        Self::NotYetValid,
        Self::UnknownKey,
        Self::WrongSignature,
        Self::Repeated,
        Self::RedirectUri,
    ];

    /// As lines name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownClient => "unknown_client",
            Self::Unreadable => "unreadable_credentials",
            Self::WrongMethod => "wrong_method",
            Self::WrongSecret => "wrong_secret",
            Self::WrongAlgorithm => "assertion_wrong_algorithm",
            Self::WrongAudience => "assertion_wrong_audience",
            Self::Expired => "assertion_expired",
            Self::TooLongLived => "assertion_too_long_lived",
            Self::NotYetValid => "assertion_not_yet_valid",
            Self::UnknownKey => "assertion_unknown_key",
            Self::WrongSignature => "assertion_wrong_signature",
            Self::Repeated => "assertion_repeated",
            Self::RedirectUri => "redirect_uri",
        }
    }
}

/// The rations of lines, one for each reason: a flood for one hides no other.
#[derive(Debug, Default)]
pub struct Refusals([Ration; Reason::ALL.len()]);

impl Refusals {
    /// A client that did not prove who it is. `shown` and `registered` are methods (RFC 7591, section 2).
    pub fn of_authentication(&self, reason: Reason, client: &str, shown: &str, registered: Option<&str>) {
        let client = named(client);
        self.ration(reason).tell(reason.as_str(), |left_out| {
            let reason = reason.as_str();
            tracing::warn!(reason, client, shown, registered, left_out, "a client's authentication is refused");
        });
    }

    /// A request that is from no client that is known here.
    pub fn of_unknown_client(&self, client: Option<&str>) {
        let (reason, client) = (Reason::UnknownClient, named(client.unwrap_or_default()));
        self.ration(reason).tell(reason.as_str(), |left_out| {
            tracing::warn!(reason = reason.as_str(), client, left_out, "an authorization request is refused");
        });
    }

    /// A request that asks to return to an address which is not registered.
    pub fn of_redirect_uri(&self, client: &Client, received: Option<&str>) {
        let reason = Reason::RedirectUri;
        self.ration(reason).tell(reason.as_str(), |left_out| {
            let (received, client_id) = (received.map(plain), &client.id);
            let registered = client.metadata.redirect_uris.iter().take(MOST_ADDRESSES).map(RedirectUri::as_str);
            let registered = registered.map(plain).collect::<Vec<_>>().join(" ");
            let reason = reason.as_str();
            tracing::warn!(
                reason,
                client = client_id,
                received,
                registered,
                left_out,
                "an authorization request is refused"
            );
        });
    }

    fn ration(&self, reason: Reason) -> &Ration {
        &self.0[reason as usize]
    }
}

/// An id that may be a client's; what else stands in its place is no text for a log.
fn named(client: &str) -> &str {
    match client {
        "" => "(none)",
        id if is_client_id(id) => id,
        _ => "(no client's id)",
    }
}

/// An address without what its query carries, in visible ASCII characters.
fn plain(address: &str) -> String {
    let (address, query) = address.split_once(['?', '#']).map_or((address, ""), |(address, _)| (address, "?(more)"));
    let visible = |letter: char| if letter.is_ascii_graphic() { letter } else { '?' };
    address.chars().take(LONGEST).map(visible).chain(query.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_ration_and_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.map(Reason::as_str).into();
        assert_eq!(names.len(), Reason::ALL.len());
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }

    #[test]
    fn a_line_repeats_no_control_character_no_parameter_and_no_long_text() {
        assert_eq!(plain("https://app.example/cb?code=secret#x"), "https://app.example/cb?(more)");
        assert_eq!(plain("https://a\r\n{\"level\":\"ERROR\"}"), "https://a??{\"level\":\"ERROR\"}");
        assert_eq!(plain(&"x".repeat(4_000)).len(), LONGEST);
        assert_eq!((named("shop"), named(""), named("a b")), ("shop", "(none)", "(no client's id)"));
    }
}
