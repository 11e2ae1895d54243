//! How this service and the platform are set up differently, with the setting at both ends. Rules only.

use std::time::Duration;

use crate::authentication::DenyListMode;
use crate::authentication::strategy::{Credential, Strategy};
use crate::config::Setting as _;
use crate::platform::{Platform, PlatformStore, StoreMarked};

/// How this service is set up.
#[derive(Debug, Clone)]
pub(in crate::authentication) struct Here {
    pub(in crate::authentication) issuer: String,
    pub(in crate::authentication) strategy: Strategy,
    pub(in crate::authentication) deny_list: DenyListMode,
    pub(in crate::authentication) access_token_ttl: Duration,
    /// How long the end of a session is remembered.
    pub(in crate::authentication) remember: Duration,
}

/// What is known of the store that this service reads.
#[derive(Debug, Clone)]
pub(super) enum Store {
    /// It reads none.
    None,
    /// It does not answer, or not to this user: why.
    Away(String),
    /// It answers, with this mark or without one.
    There(Option<StoreMarked>),
}

impl Here {
    /// A line for each setting; none where all agree, as far as it is known.
    pub(super) fn differences(&self, issuer: &str, platform: &Platform, store: &Store) -> Vec<String> {
        let found = [self.issuer(issuer), self.strategy(platform), self.deny_list(platform), self.lifetimes(platform)];
        found.into_iter().flatten().chain(self.store(platform, store)).collect()
    }

    fn issuer(&self, told: &str) -> Option<String> {
        let own = &self.issuer;
        (own != told).then(|| {
            format!("ISSUER is {own:?} here and {told:?} at the auth service: set the same text at both, byte for byte")
        })
    }

    fn strategy(&self, platform: &Platform) -> Option<String> {
        let (own, told) = (self.strategy.as_str(), platform.session_strategy.as_str());
        let strategy = Strategy::parse(told).ok();
        let next = match strategy.and_then(Strategy::refuses_separate_services) {
            Some(_) => "with that one no service of its own can join: take hybrid, redis, jwt or cookie at both",
            None => "set the same at both",
        };
        (own != told).then(|| format!("SESSION_STRATEGY is {own} here and {told} at the auth service: {next}"))
    }

    fn deny_list(&self, platform: &Platform) -> Option<String> {
        let (own, told) = (self.deny_list.as_str(), platform.jwt_deny_list.as_str());
        let matters = self.strategy == Strategy::Jwt && platform.session_strategy == Strategy::Jwt.as_str();
        (matters && own != told)
            .then(|| format!("JWT_DENY_LIST is {own} here and {told} at the auth service: set the same at both"))
    }

    /// What lives longer there than here: its end could be forgotten here first.
    fn lifetimes(&self, platform: &Platform) -> Option<String> {
        let line = |setting: &str, own: Duration, told: u64, why: &str| {
            let own = own.as_secs();
            (own < told).then(|| {
                format!(
                    "{setting} is {own}s here and {told}s at the auth service: {why}; set the same at both, or more here"
                )
            })
        };
        let tokens = "a token of there lives longer than this service allows";
        let tokens = line("ACCESS_TOKEN_TTL", self.access_token_ttl, platform.access_token_ttl, tokens);
        if self.strategy.credential() != Credential::SealedCookie {
            return tokens;
        }
        let cookies = "a session of there may outlive the memory of its end here";
        tokens.or_else(|| line("SESSION_ABSOLUTE_TTL", self.remember, platform.endings_matter, cookies))
    }

    fn store(&self, platform: &Platform, store: &Store) -> Option<String> {
        let Store::There(found) = store else { return None };
        let same = "set it to what REDIS_URL is at the auth service: the same server and the same database number";
        match (&platform.session_store, found) {
            (PlatformStore::Memory, _) => Some(
                "REDIS_URL leads to a Redis here, and the auth service has none and keeps sessions in its memory: set \
                 REDIS_URL at the auth service (of an all-in-one: there), to the same server and the same database number"
                    .to_owned(),
            ),
            // It has found no Redis yet.
            (PlatformStore::Redis { id: None }, _) => None,
            (PlatformStore::Redis { id: Some(_) }, None) => Some(format!(
                "REDIS_URL leads here to a Redis, or to a database of it, that no auth service uses: {same}"
            )),
            (PlatformStore::Redis { id: Some(id) }, Some(found)) if *id != found.id => Some(format!(
                "REDIS_URL leads here to another Redis, or another database of it, than the auth service's; it was used \
                 by the platform whose ISSUER is {:?}: {same}",
                found.issuer
            )),
            (PlatformStore::Redis { .. }, Some(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://auth.example";

    fn here() -> Here {
        Here {
            issuer: ISSUER.to_owned(),
            strategy: Strategy::Hybrid,
            deny_list: DenyListMode::Off,
            access_token_ttl: Duration::from_secs(300),
            remember: Duration::from_secs(300),
        }
    }

    fn platform() -> Platform {
        Platform {
            session_strategy: "hybrid".to_owned(),
            jwt_deny_list: "off".to_owned(),
            access_token_ttl: 300,
            endings_matter: 300,
            session_store: PlatformStore::Redis { id: Some("one".to_owned()) },
        }
    }

    fn marked(id: &str) -> Store {
        Store::There(Some(StoreMarked {
            id: id.to_owned(),
            issuer: "https://staging.example".to_owned(),
            session_strategy: "hybrid".to_owned(),
        }))
    }

    /// The one difference.
    fn only(here: &Here, issuer: &str, platform: &Platform, store: &Store) -> String {
        let differences = here.differences(issuer, platform, store);
        assert_eq!(differences.len(), 1, "{differences:?}");
        differences.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn two_that_are_set_up_alike_do_not_differ() {
        for store in [marked("one"), Store::Away(String::new()), Store::None] {
            assert_eq!(here().differences(ISSUER, &platform(), &store), [""; 0]);
        }
        let longer = Here { access_token_ttl: Duration::from_secs(600), ..here() };
        assert_eq!(longer.differences(ISSUER, &platform(), &marked("one")), [""; 0]);
        let starting = Platform { session_store: PlatformStore::Redis { id: None }, ..platform() };
        assert_eq!(here().differences(ISSUER, &starting, &Store::There(None)), [""; 0], "Redis has not answered there");
    }

    #[test]
    fn another_redis_is_told_by_the_name_of_the_setting_and_by_whose_it_is() {
        let none = only(&here(), ISSUER, &platform(), &Store::There(None));
        assert!(none.starts_with("REDIS_URL leads here to a Redis") && none.contains("database number"), "{none}");
        let other = only(&here(), ISSUER, &platform(), &marked("two"));
        assert!(other.starts_with("REDIS_URL") && other.contains("https://staging.example"), "{other}");
        let in_memory = Platform { session_store: PlatformStore::Memory, ..platform() };
        for store in [marked("one"), Store::There(None)] {
            let told = only(&here(), ISSUER, &in_memory, &store);
            assert!(told.starts_with("REDIS_URL") && told.contains("all-in-one"), "{told}");
        }
        assert_eq!(here().differences(ISSUER, &in_memory, &Store::None), [""; 0], "nothing is read from a store here");
    }

    #[test]
    fn another_strategy_is_told_with_both() {
        let told =
            only(&here(), ISSUER, &Platform { session_strategy: "jwt".to_owned(), ..platform() }, &marked("one"));
        assert!(told.starts_with("SESSION_STRATEGY is hybrid here and jwt at the auth service"), "{told}");
        for alone in ["sticky", "replicated"] {
            let platform = Platform { session_strategy: alone.to_owned(), ..platform() };
            let told = only(&here(), ISSUER, &platform, &marked("one"));
            assert!(told.contains("no service of its own can join"), "{told}");
        }
        let later = Platform { session_strategy: "of a later release".to_owned(), ..platform() };
        only(&here(), ISSUER, &later, &marked("one"));
    }

    #[test]
    fn the_list_of_ended_sessions_is_compared_where_the_strategy_has_one() {
        let jwt = Platform { session_strategy: "jwt".to_owned(), jwt_deny_list: "feed".to_owned(), ..platform() };
        let here = Here { strategy: Strategy::Jwt, ..here() };
        let told = only(&here, ISSUER, &jwt, &Store::None);
        assert!(told.starts_with("JWT_DENY_LIST is off here and feed at the auth service"), "{told}");
        let hybrid = Platform { jwt_deny_list: "feed".to_owned(), ..platform() };
        assert_eq!(super::tests::here().differences(ISSUER, &hybrid, &marked("one")), [""; 0]);
    }

    #[test]
    fn a_life_that_is_shorter_here_is_told() {
        let short = Here { access_token_ttl: Duration::from_secs(60), ..here() };
        let told = only(&short, ISSUER, &platform(), &marked("one"));
        assert!(told.starts_with("ACCESS_TOKEN_TTL is 60s here and 300s at the auth service"), "{told}");
        let cookie = Platform { session_strategy: "cookie".to_owned(), endings_matter: 43_200, ..platform() };
        let short = Here { strategy: Strategy::Cookie, remember: Duration::from_secs(3_600), ..here() };
        let told = only(&short, ISSUER, &cookie, &marked("one"));
        assert!(told.starts_with("SESSION_ABSOLUTE_TTL is 3600s here and 43200s at the auth service"), "{told}");
    }

    #[test]
    fn another_issuer_is_told_byte_for_byte() {
        let told = only(&here(), "https://auth.example/", &platform(), &marked("one"));
        assert!(told.contains("\"https://auth.example\" here and \"https://auth.example/\""), "{told}");
    }
}
