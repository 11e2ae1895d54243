//! How sessions and their tokens live, as the settings say.

use std::time::Duration;

use shared::authentication::strategy::{Credential, Place, Strategy};
use shared::config::{Setting, Settings};
use shared::session::{LimitPolicy, SessionLimit};

/// How sessions and their tokens live.
#[derive(Debug, Clone)]
pub struct SessionRules {
    pub access_token_ttl: Duration,
    /// How long a session may stay unseen, and how long it lives at the most.
    pub idle_ttl: Duration,
    pub absolute_ttl: Duration,
    pub refresh_grace: Duration,
    pub limit: SessionLimit,
    pub step_up_after: Duration,
}

impl SessionRules {
    pub(super) fn read(settings: &mut Settings, strategy: Strategy) -> Self {
        let (idle_ttl, absolute_ttl) = read_lives(settings, strategy);
        let rules = Self {
            access_token_ttl: settings.or(
                "ACCESS_TOKEN_TTL",
                "5m",
                "life of an access token; the same for all services",
            ),
            idle_ttl,
            absolute_ttl,
            refresh_grace: settings.or(
                "REFRESH_GRACE",
                "10s",
                "how long a refresh may be repeated with the token before",
            ),
            limit: read_limit(settings, strategy),
            step_up_after: settings.positive("STEP_UP_AFTER", "15m", "how old a login may be for sensitive operations"),
        };
        if rules.access_token_ttl < Duration::from_secs(1) || rules.access_token_ttl > Duration::from_secs(3600) {
            settings
                .mistake("ACCESS_TOKEN_TTL: expected between 1s and 1h, for a token cannot be called back by itself");
        }
        if rules.idle_ttl < rules.access_token_ttl || rules.absolute_ttl < rules.idle_ttl {
            let family = if strategy.credential() == Credential::BearerToken { "REFRESH" } else { "SESSION" };
            settings.mistake(format!("expected ACCESS_TOKEN_TTL <= {family}_IDLE_TTL <= {family}_ABSOLUTE_TTL"));
        }
        if rules.refresh_grace > Duration::from_secs(60) {
            settings.mistake("REFRESH_GRACE: expected at most 60s, for a stolen token works so long");
        }
        rules
    }
}

/// How long a session may stay unseen, and how long it lives: a cookie that leads to it is used with each request, a
/// refresh token only when an access token ends.
fn read_lives(settings: &mut Settings, strategy: Strategy) -> (Duration, Duration) {
    let refresh = (
        settings.or("REFRESH_IDLE_TTL", "7d", "a session ends when it was not refreshed for so long"),
        settings.or("REFRESH_ABSOLUTE_TTL", "30d", "and after so long in any case"),
    );
    let cookie = (
        settings.or(
            "SESSION_IDLE_TTL",
            "30m",
            "with a session cookie: a session ends when it was not seen for so long",
        ),
        settings.or("SESSION_ABSOLUTE_TTL", "12h", "and after so long in any case"),
    );
    match strategy.credential() {
        Credential::BearerToken => refresh,
        Credential::SessionCookie | Credential::SealedCookie => cookie,
    }
}

/// Where nobody keeps sessions, nobody counts them: a limit that would not hold is refused.
fn read_limit(settings: &mut Settings, strategy: Strategy) -> SessionLimit {
    let meaning = "how many sessions a user may have at once, 50 unless it is set; 1 is one login only";
    let max: Option<u32> = settings.optional("MAX_SESSIONS_PER_USER", meaning);
    let meaning = "one too many: end_oldest, unless it is set, or refuse";
    let policy: Option<Policy> = settings.optional("SESSION_LIMIT_POLICY", meaning);
    if strategy.place() == Place::Client && (max.is_some() || policy.is_some()) {
        let name = strategy.as_str();
        settings.mistake(format!(
            "MAX_SESSIONS_PER_USER, SESSION_LIMIT_POLICY: under SESSION_STRATEGY={name} nobody keeps sessions to count them"
        ));
    }
    if max == Some(0) {
        settings.mistake("MAX_SESSIONS_PER_USER: expected at least 1");
    }
    SessionLimit { max: max.unwrap_or(50), policy: policy.map_or(LimitPolicy::EndOldest, |policy| policy.0) }
}

struct Policy(LimitPolicy);

impl Setting for Policy {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "end_oldest" => Ok(Self(LimitPolicy::EndOldest)),
            "refuse" => Ok(Self(LimitPolicy::Refuse)),
            _ => Err(format!("expected end_oldest or refuse, found {text:?}")),
        }
    }
}
