//! The cookies: who may see and send them, and what becomes of those that are not ours.

use secrecy::SecretString;
use serde_json::json;
use shared::relying_party::CookieKeys;

use crate::browser::Browser;
use crate::rig::Service;

fn key(seed: u8) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode((0..32).map(|step| seed.wrapping_add(step)).collect::<Vec<_>>())
}

fn keys(seeds: &[u8]) -> CookieKeys {
    let text: SecretString = seeds.iter().map(|seed| key(*seed)).collect::<Vec<_>>().join(",").into();
    CookieKeys::parse(&text).unwrap()
}

#[actix_web::test]
async fn cookies_are_kept_from_scripts_and_from_other_sites_forms() {
    let service = Service::start().await;
    let browser = service.browser();
    let login = browser.open("/login").await;
    let callback = browser.callback_of(&service.provider, "/login").await;
    let finished = browser.open(&callback).await;
    let cookies = [login.set_cookies(), finished.set_cookies()].concat();
    assert!(cookies.iter().any(|cookie| cookie.starts_with("wish-service_session=")), "{cookies:?}");
    for cookie in cookies {
        for attribute in ["; HttpOnly", "; SameSite=Lax", "; Path=/"] {
            assert!(cookie.contains(attribute), "{attribute} is missing from {cookie}");
        }
        assert!(!cookie.contains("Domain") && !cookie.contains("; Secure"), "{cookie}");
        assert!(cookie.split(';').next().unwrap().len() <= 4096);
    }
    assert_eq!(finished.headers["cache-control"], "no-store");
}

#[actix_web::test]
async fn over_https_cookies_are_bound_to_the_host() {
    let service = Service::with(|config| config.cookie_secure = true).await;
    let browser = service.signed_in().await;
    assert!(browser.cookies.lock().contains_key("__Host-wish-service_session"));
    let answer = browser.open("/login").await;
    let cookies = answer.set_cookies();
    assert!(cookies.iter().all(|cookie| cookie.starts_with("__Host-") && cookie.contains("; Secure")), "{cookies:?}");
    let plain = service.browser();
    let value = browser.cookies.lock()["__Host-wish-service_session"].clone();
    plain.cookies.lock().insert("wish-service_session".to_owned(), value);
    assert!(!plain.is_signed_in().await, "a cookie without the prefix was taken");
}

#[actix_web::test]
async fn nothing_secret_can_be_read_from_a_cookie() {
    use base64::Engine as _;
    let service = Service::start().await;
    let browser = service.signed_in().await;
    let token = browser.open("/mine").await.json()["token"].as_str().unwrap().to_owned();
    let sealed = browser.cookies.lock()["wish-service_session"].clone();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&sealed).unwrap();
    let part = &token[token.len() - 20..];
    assert!(!sealed.contains(part) && !bytes.windows(part.len()).any(|window| window == part.as_bytes()));
}

#[actix_web::test]
async fn a_cookie_that_is_not_ours_is_a_guests_and_forgotten() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    let good = browser.cookies.lock()["wish-service_session"].clone();
    let mut changed = good.clone().into_bytes();
    changed[100] = if changed[100] == b'A' { b'B' } else { b'A' };
    let long = "A".repeat(8000);
    for odd in [String::from_utf8(changed).unwrap(), good[..200].to_owned(), "x".to_owned(), String::new(), long] {
        let other = service.browser();
        other.cookies.lock().insert("wish-service_session".to_owned(), odd.clone());
        assert!(!other.is_signed_in().await, "{odd}");
        assert!(other.cookies.lock().is_empty(), "{odd} is kept");
    }
    // A parent domain's cookie of the same name does not keep out the good one.
    let tossed = browser.get("/").header("Cookie", format!("wish-service_session=x; wish-service_session={good}"));
    let answer = service.browser().send(tossed).await;
    assert_eq!(answer.json()["signed_in"], true);
}

#[actix_web::test]
async fn a_new_key_in_front_signs_nobody_out() {
    let before = Service::with(|config| config.cookie_keys = keys(&[1])).await;
    let browser = before.signed_in().await;
    let cookie = browser.cookies.lock()["wish-service_session"].clone();
    for (seeds, keeps) in [(&[2, 1][..], true), (&[2], false)] {
        let after = Service::with(|config| config.cookie_keys = keys(seeds)).await;
        let visitor = after.browser();
        visitor.cookies.lock().insert("wish-service_session".to_owned(), cookie.clone());
        // Another provider's token means nothing to it; that the cookie opened shows in what is done with it.
        let answer = visitor.open("/").await;
        assert_eq!(after.provider.refreshes(), usize::from(keeps), "{seeds:?}: {}", answer.body);
    }
}

#[actix_web::test]
async fn another_services_cookie_does_not_open_under_the_same_key() {
    let one = Service::with(|config| config.cookie_keys = keys(&[1])).await;
    let cookie = one.signed_in().await.cookies.lock()["wish-service_session"].clone();
    let other = Service::with(|config| {
        config.cookie_keys = keys(&[1]);
        config.client_id = "gift-service".to_owned();
    })
    .await;
    let visitor = other.browser();
    visitor.cookies.lock().insert("gift-service_session".to_owned(), cookie);
    assert!(!visitor.is_signed_in().await);
    assert_eq!(other.provider.refreshes(), 0, "it was opened");
}

const SESSION: &str = "wish-service_session";

/// A browser with the cookie of one beside that of another, who has planted it.
fn planted(victim: &Browser, attacker: &Browser) -> Browser {
    let both = victim.copy();
    let other = attacker.cookies.lock()[SESSION].clone();
    let own = victim.cookies.lock()[SESSION].clone();
    both.cookies.lock().insert(SESSION.to_owned(), format!("{other}; {SESSION}={own}"));
    both
}

#[actix_web::test]
async fn hl2_cookies_of_two_people_are_nobodys_and_a_sign_out_ends_both() {
    let service = Service::start().await;
    let (victim, attacker) = (service.signed_in().await, service.signed_in().await);
    let both = planted(&victim, &attacker);
    for path in ["/", "/mine", "/pay/7", "/session"] {
        let answer = both.copy().open(path).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("several_logins")), "{path}");
    }
    let answer = both.copy().send(both.post("/wish")).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    // What others may have set is taken back with the answer; the service's own cookie stays.
    let taken_back = answer.set_cookies();
    assert!(taken_back.iter().any(|cookie| cookie.contains("Path=/wish")), "{taken_back:?}");
    assert!(
        !taken_back.iter().any(|cookie| cookie.ends_with("Path=/") || cookie.contains("Path=/;")),
        "{taken_back:?}"
    );
    assert!(victim.is_signed_in().await && attacker.is_signed_in().await, "nothing was done");
    // The same person twice is one person.
    assert!(planted(&victim, &victim).is_signed_in().await);
    let answer = both.send(both.post("/logout")).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert!(!answer.location().contains("id_token_hint"), "the provider asks: {}", answer.location());
    assert_eq!(service.provider.state.revoked.lock().len(), 2, "both refresh tokens are taken back");
}

#[actix_web::test]
async fn hl2_more_cookies_than_are_looked_at_are_nobodys() {
    let service = Service::start().await;
    let (victim, attacker) = (service.signed_in().await, service.signed_in().await);
    let (own, other) = (victim.cookies.lock()[SESSION].clone(), attacker.cookies.lock()[SESSION].clone());
    let many = format!("{other}; {SESSION}=1; {SESSION}=2; {SESSION}=3; {SESSION}={own}");
    victim.cookies.lock().insert(SESSION.to_owned(), many);
    let answer = victim.open("/mine").await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("several_logins")));
}
