//! What is set up wrongly between this service and the provider, with the setting at both ends: no repetition mends it. Rules
//! only.

use super::RelyingParty;
use crate::authentication::Refusal;
use crate::problem::Problem;
use crate::token::TokenError;

/// The text is for the log, and names no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mistake {
    #[error(
        "the auth service does not take the client {id} ({error}): OIDC_CLIENT_ID and OIDC_CLIENT_SECRET here must be those of a \
         client there (`auth-service client show {id}`; `client rotate-secret {id}` prints a new secret)"
    )]
    Client { id: String, error: String },
    #[error(
        "PUBLIC_URL here makes the address {uri}, which is not among the redirect_uris of the client {id} at the auth service \
         (`auth-service client show {id}`): correct PUBLIC_URL here, or the client there"
    )]
    RedirectUri { id: String, uri: String },
    #[error(
        "the client {id} may not use the grant {grant} at the auth service: it must be in the grant_types of the client there \
         (`auth-service client show {id}`)"
    )]
    Grant { id: String, grant: String },
    #[error(
        "the auth service does not give the scope {scope:?} to the client {id}: each word must be in the client's scope there \
         (`auth-service client show {id}`; for a token in a user's name also in its token_exchange_scope), and a word for a service \
         of your own in API_SCOPES there"
    )]
    Scope { id: String, scope: String },
    #[error("ISSUER is {here:?} here and {told:?} at the auth service: set the same text at both, byte for byte")]
    Issuer { here: String, told: String },
    #[error(
        "the clock of this machine is {seconds} s {ahead_or_behind} the auth service's, by the Date of its answer: set the wrong one by NTP"
    )]
    Clock { seconds: u64, ahead_or_behind: &'static str },
    #[error(
        "ACCESS_TOKEN_TTL is shorter here than at the auth service, whose tokens live longer: set the same at both"
    )]
    TokenLife,
    #[error(
        "the auth service's tokens for the client {id} are not for this service, {audience}: API_SCOPES there must have \
         WORD={audience}, and WORD must be in the client's scope there, in the scope that is asked for here, {scope:?}, and in with_scope here where the \
         code has that"
    )]
    Audience { id: String, audience: String, scope: String },
}

impl Mistake {
    /// What a person tells the operator.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Client { .. } => "misconfigured_client",
            Self::RedirectUri { .. } => "misconfigured_redirect_uri",
            Self::Grant { .. } => "misconfigured_grant",
            Self::Scope { .. } => "misconfigured_scope",
            Self::Issuer { .. } => "misconfigured_issuer",
            Self::Clock { .. } => "misconfigured_clock",
            Self::TokenLife => "misconfigured_token_life",
            Self::Audience { .. } => "misconfigured_audience",
        }
    }

    /// What the provider's answer says of a client (RFC 6749, sections 4.1.2.1 and 5.2; RFC 8693, section 2.2.2), where it is a
    /// matter of its registration. `grant` and `scope` are what it asked for.
    pub(super) fn of_answer(id: &str, error: &str, (grant, scope): (&str, &str)) -> Option<Self> {
        let id = id.to_owned();
        match error {
            "invalid_client" => Some(Self::Client { id, error: error.to_owned() }),
            "unauthorized_client" | "unsupported_grant_type" => Some(Self::Grant { id, grant: grant.to_owned() }),
            "invalid_scope" | "invalid_target" => Some(Self::Scope { id, scope: scope.to_owned() }),
            _ => None,
        }
    }

    /// This machine's clock is so far ahead of the provider's, in microseconds.
    pub(super) fn of_clock(ahead: i64) -> Self {
        let ahead_or_behind = if ahead < 0 { "behind" } else { "ahead of" };
        Self::Clock { seconds: ahead.unsigned_abs() / 1_000_000, ahead_or_behind }
    }
}

impl From<Mistake> for Problem {
    fn from(mistake: Mistake) -> Self {
        Self::misconfigured(mistake.code(), mistake)
    }
}

impl RelyingParty {
    /// What is set up wrongly where a token that the provider has just given is refused here; none where that says nothing.
    pub(super) fn mistake_in_token(&self, refusal: &Refusal) -> Option<Mistake> {
        let config = &self.0.config;
        let (id, scope) = (config.client_id.clone(), config.scope.clone());
        match refusal {
            Refusal::Token(TokenError::LivesTooLong) => Some(Mistake::TokenLife),
            Refusal::Token(TokenError::WrongAudience) | Refusal::Scope(_) => {
                Some(Mistake::Audience { id, audience: self.0.single_sign_on.audience().to_owned(), scope })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_has_a_code_of_its_own_and_is_no_reason_to_try_again() {
        let text = String::new;
        let all = [
            Mistake::Client { id: text(), error: text() },
            Mistake::RedirectUri { id: text(), uri: text() },
            Mistake::Grant { id: text(), grant: text() },
            Mistake::Scope { id: text(), scope: text() },
            Mistake::Issuer { here: text(), told: text() },
            Mistake::of_clock(-40_000_000),
            Mistake::TokenLife,
            Mistake::Audience { id: text(), audience: text(), scope: text() },
        ];
        let codes: std::collections::BTreeSet<_> = all.iter().map(Mistake::code).collect();
        assert_eq!(codes.len(), all.len());
        for mistake in all {
            let problem = Problem::from(mistake);
            assert!(problem.code().starts_with(crate::problem::MISCONFIGURED), "{problem}");
            assert!(problem.status().as_u16() == 503 && !problem.detail().contains("again"), "{problem}");
        }
    }

    #[test]
    fn a_clock_is_told_with_its_direction() {
        assert!(Mistake::of_clock(-40_500_000).to_string().contains("is 40 s behind the auth service's"));
        assert!(Mistake::of_clock(40_500_000).to_string().contains("is 40 s ahead of the auth service's"));
    }

    #[test]
    fn an_answer_that_may_be_another_the_next_time_is_no_mistake() {
        for error in ["invalid_grant", "invalid_request", "temporarily_unavailable", "slow_down", ""] {
            assert_eq!(Mistake::of_answer("wish-service", error, ("", "")), None, "{error}");
        }
    }
}
