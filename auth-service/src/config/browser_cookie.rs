//! How the cookie of a browser's session at this service travels: to whom it speaks is decided elsewhere.

use actix_web::cookie::SameSite;
use shared::authentication::strategy::{Place, Strategy};
use shared::config::{Setting, Settings, quoted};

const NAME: &str = "PROVIDER_COOKIE_SAME_SITE";

/// Reads `PROVIDER_COOKIE_SAME_SITE`. `secure` is whether browsers come by https.
pub(super) fn read_same_site(settings: &mut Settings, strategy: Strategy, secure: bool) -> SameSite {
    let meaning = "how the cookie of a browser's session at this service travels: lax; or none, where applications of other \
                   sites renew sign-ins in a frame (prompt=none)";
    let CrossSite(same_site) = settings.or(NAME, "lax", meaning);
    if same_site == SameSite::None && !secure {
        settings.mistake(format!("{NAME}: none needs COOKIE_SECURE=true, or browsers drop the cookie"));
    }
    if same_site == SameSite::None && strategy.place() == Place::Client {
        let strategy = strategy.as_str();
        settings.mistake(format!("{NAME}: none is for sessions that are kept; SESSION_STRATEGY={strategy} keeps none"));
    }
    same_site
}

struct CrossSite(SameSite);

impl Setting for CrossSite {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "lax" => Ok(Self(SameSite::Lax)),
            "none" => Ok(Self(SameSite::None)),
            "strict" => {
                Err("expected lax or none: with strict, whoever comes from an application of another site comes \
                             without the cookie, and would sign in anew at each"
                    .to_owned())
            }
            _ => Err(format!("expected lax or none, found {}", quoted(text))),
        }
    }
}
