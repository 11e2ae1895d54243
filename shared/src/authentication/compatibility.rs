//! `JWT_COMPATIBILITY`: whether access tokens are signed in a way that this platform would not choose.

use super::strategy::{Credential, Place, Strategy};
use crate::config::{Setting, Settings};
use crate::token::SharedSecret;

#[derive(PartialEq, Eq)]
enum Compatibility {
    Off,
    Hs256,
}

impl Setting for Compatibility {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "hs256" => Ok(Self::Hs256),
            _ => Err(format!("expected off or hs256, found {text:?}")),
        }
    }
}

impl SharedSecret {
    /// Reads `JWT_COMPATIBILITY` and, where that is `hs256`, `JWT_HS256_SECRET`: the same at every service. Only the strategy
    /// `jwt` takes it.
    pub fn read(settings: &mut Settings, strategy: Strategy) -> Option<Self> {
        let meaning =
            "hs256 signs access tokens with a secret that all services share, under the strategy jwt alone; off";
        if settings.or::<Compatibility>("JWT_COMPATIBILITY", "off", meaning) == Compatibility::Off {
            return None;
        }
        if (strategy.place(), strategy.credential()) != (Place::Client, Credential::BearerToken) {
            settings.mistake("JWT_COMPATIBILITY: hs256 is for SESSION_STRATEGY=jwt alone");
        }
        let meaning =
            "signs access tokens: at least 32 characters, the same at every service; whoever has it can issue them";
        Some(settings.required("JWT_HS256_SECRET", "$(openssl rand -hex 32)", meaning))
    }
}
