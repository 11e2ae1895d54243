//! Browsers that know an account: by a live session, or by a device cookie that an earlier login has left (OWASP: device
//! cookies). Owns the cookie; how often such a browser may guess is `throttle`'s to say. Such a cookie does not sign in.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration as CookieAge;
use actix_web::cookie::{Cookie, SameSite};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::clock::Timestamp;
use shared::request::cookies_named;
use shared::session::{SessionId, UserId};

use crate::AuthService;
use crate::codes::random_text;
use crate::seal::MasterKeys;
use crate::storage::users::User;
use crate::throttle::TriedFrom;

/// How many accounts one browser may know: a family's computer.
const MOST_ACCOUNTS: usize = 4;
const SEPARATOR: char = '~';

/// One account that a browser knows. Believed only after its MAC was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    user: UserId,
    /// The account's, which grows with each new password: the cookies of before are worth nothing then.
    version: i64,
    /// 256 random bits in base64url: the name of its counter.
    id: String,
    issued_at: Timestamp,
}

/// Writes and checks device cookies.
pub struct DeviceCookies {
    keys: Vec<hmac::Key>,
    ttl: Duration,
}

impl DeviceCookies {
    /// `ttl` is how long a browser is known after its last login.
    pub fn new(master_keys: &MasterKeys, ttl: Duration) -> Self {
        let keys = master_keys.derive("device cookie").map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key)).collect();
        Self { keys, ttl }
    }

    /// `<user>.<version>.<id>.<seconds since 1970>.<MAC>`
    fn write(&self, device: &Device) -> String {
        let Device { user, version, id, issued_at } = device;
        let said = format!("{user}.{version}.{id}.{}", issued_at.seconds());
        let mac = hmac::sign(&self.keys[0], said.as_bytes());
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()))
    }

    /// A text of ours that is not too old, or nothing. The MAC is compared in constant time, before anything is looked at.
    fn read(&self, text: &str, now: Timestamp) -> Option<Device> {
        let (said, mac) = text.rsplit_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        self.keys.iter().find(|key| hmac::verify(key, said.as_bytes(), &mac).is_ok())?;
        let parts: Vec<&str> = said.split('.').collect();
        let [user, version, id, issued_at] = parts[..] else { return None };
        let device = Device {
            user: user.parse().ok()?,
            version: version.parse().ok()?,
            id: id.to_owned(),
            issued_at: Timestamp::from_seconds(issued_at.parse().ok()?),
        };
        (now.since(device.issued_at) < self.ttl).then_some(device)
    }
}

/// What a request shows of logins before it.
#[derive(Debug, Clone, Default)]
pub struct KnownBrowser {
    devices: Vec<Device>,
    sessions: Vec<(UserId, SessionId)>,
}

impl KnownBrowser {
    /// By its device cookie. Touches no network.
    pub fn of(service: &AuthService, request: &HttpRequest) -> Self {
        let now = service.clock.now();
        let texts = cookies_named(request.headers(), cookie_name(service));
        let texts = texts.flat_map(|value| value.split(SEPARATOR).take(MOST_ACCOUNTS));
        Self {
            devices: texts.filter_map(|text| service.device_cookies.read(text, now)).collect(),
            sessions: Vec::new(),
        }
    }

    /// With the live sessions that it has shown too.
    pub fn in_sessions(self, sessions: impl IntoIterator<Item = (UserId, SessionId)>) -> Self {
        Self { sessions: sessions.into_iter().collect(), ..self }
    }

    /// Whether it shows nothing: then its account need not be read.
    pub fn is_unknown(&self) -> bool {
        self.devices.is_empty() && self.sessions.is_empty()
    }

    /// The counter of its own, where it knows the account as that is now.
    pub fn of_account(&self, user: &User) -> Option<TriedFrom> {
        let session = self.sessions.iter().find(|(of, _)| *of == user.id).map(|(_, id)| TriedFrom::session(*id));
        let known = |device: &&Device| device.user == user.id && device.version == user.version;
        session.or_else(|| self.devices.iter().find(known).map(|device| TriedFrom::device(&device.id)))
    }

    /// The cookie by which the browser knows the account from now on, beside those that it knew before.
    pub fn learns(&self, service: &AuthService, user: &User) -> Cookie<'static> {
        let new = Device { user: user.id, version: user.version, id: random_text(), issued_at: service.clock.now() };
        let others = self.devices.iter().filter(|device| device.user != user.id);
        let texts = std::iter::once(&new).chain(others).take(MOST_ACCOUNTS);
        let value: Vec<String> = texts.map(|device| service.device_cookies.write(device)).collect();
        let age = i64::try_from(service.device_cookies.ttl.as_secs()).unwrap_or(i64::MAX);
        Cookie::build(cookie_name(service), value.join(&SEPARATOR.to_string()))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(service.cookie_secure)
            .max_age(CookieAge::seconds(age))
            .finish()
    }
}

fn cookie_name(service: &AuthService) -> &'static str {
    if service.cookie_secure { "__Host-roam_device" } else { "roam_device" }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const TTL: Duration = Duration::from_secs(1000);

    fn cookies(seed: u8) -> DeviceCookies {
        let key = STANDARD.encode((0..32).map(|step| seed.wrapping_add(step)).collect::<Vec<u8>>());
        DeviceCookies::new(&MasterKeys::parse(&key.into()).expect("a key"), TTL)
    }

    #[test]
    fn a_device_comes_back_from_its_text_until_it_is_too_old() {
        let issued_at = Timestamp::from_seconds(1_795_230_000);
        let device = Device { user: UserId::random(), version: 3, id: random_text(), issued_at };
        let text = cookies(1).write(&device);
        assert_eq!(cookies(1).read(&text, issued_at), Some(device));
        assert_eq!(cookies(1).read(&text, issued_at + TTL), None);
        assert_eq!(cookies(2).read(&text, issued_at), None, "another master key");
        assert!(text.len() < 180, "four of them fit into a cookie: {}", text.len());
    }

    #[test]
    fn no_changed_bit_and_no_shorter_text_is_read() {
        let now = Timestamp::from_seconds(1_795_230_000);
        let text = cookies(1).write(&Device { user: UserId::random(), version: 1, id: random_text(), issued_at: now });
        for place in 0..text.len() {
            assert_eq!(cookies(1).read(&text[..place], now), None);
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[place] ^= 1 << bit;
                let changed = String::from_utf8(bytes).expect("still ASCII");
                assert_eq!(cookies(1).read(&changed, now), None, "{place}/{bit}");
            }
        }
    }
}
