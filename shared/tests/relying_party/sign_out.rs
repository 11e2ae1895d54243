//! Signing out: here and at the provider, or by the provider's word.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use url::Url;

use crate::provider::{CLIENT, ISSUER};
use crate::rig::Service;

#[actix_web::test]
async fn a_sign_out_forgets_the_cookie_takes_the_refresh_token_back_and_goes_on_at_the_provider() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    let answer = browser.send(browser.post("/logout?return_to=/p/7")).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert!(browser.cookies.lock().is_empty());
    assert_eq!(*service.provider.state.revoked.lock(), [format!("{}.1", service.provider.grant().session)]);
    let location: Url = answer.location().parse().unwrap();
    assert!(answer.location().starts_with(&format!("{ISSUER}/end?")));
    let query: HashMap<String, String> = location.query_pairs().into_owned().collect();
    assert_eq!(query["client_id"], CLIENT);
    assert_eq!(query["post_logout_redirect_uri"], format!("{}/logout/done", service.base));
    assert_eq!(query["id_token_hint"].split('.').count(), 3);
    let state: String = url::form_urlencoded::byte_serialize(query["state"].as_bytes()).collect();
    assert_eq!(browser.open(&format!("/logout/done?state={state}")).await.location(), "/p/7");
}

#[actix_web::test]
async fn after_a_sign_out_nobody_is_sent_to_another_place() {
    let service = Service::start().await;
    let browser = service.browser();
    for odd in ["", "?state=//evil.test", "?state=AAAA", "?state=https://evil.test&x=y"] {
        assert_eq!(browser.open(&format!("/logout/done{odd}")).await.location(), "/", "{odd}");
    }
    let guest = browser.send(browser.post("/logout?return_to=//evil.test")).await;
    assert_eq!((guest.status, guest.location()), (303, "/"));
}

#[actix_web::test]
async fn no_other_site_can_sign_anybody_out() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let address = format!("{}/logout", service.base);
    for headers in [
        vec![("Origin", "http://evil.test")],
        vec![("Origin", "null")],
        vec![("Sec-Fetch-Site", "cross-site"), ("Origin", &service.base)],
        vec![("Sec-Fetch-Site", "same-site")],
        vec![],
    ] {
        let request = headers.iter().fold(http.post(&address), |request, (name, value)| request.header(*name, *value));
        let answer = browser.send(request).await;
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("cross_site")), "{headers:?}");
    }
    let by_image = browser.open("/logout").await;
    assert_eq!((by_image.status, by_image.headers["allow"].to_str().unwrap()), (405, "POST"));
    assert!(browser.is_signed_in().await);
    assert!(service.provider.state.revoked.lock().is_empty());
}

#[actix_web::test]
async fn while_the_provider_is_away_nobody_is_signed_out_by_half() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    service.provider.state.away.store(true, Ordering::SeqCst);
    let answer = browser.send(browser.post("/logout")).await;
    assert_eq!((answer.status, answer.set_cookies().len()), (503, 0), "{}", answer.body);
    assert!(browser.is_signed_in().await);
}

async fn tell(service: &Service, token: &str) -> u16 {
    let form = [("logout_token", token)];
    let browser = service.browser();
    let answer = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = answer.post(format!("{}/backchannel-logout", service.base)).form(&form);
    let answer = browser.send(answer).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    if answer.status != 200 {
        assert_eq!(answer.json()["error"], "invalid_request");
    }
    answer.status
}

#[actix_web::test]
async fn a_logout_token_ends_the_session_that_it_names_and_counts_once() {
    let service = Service::start().await;
    let staying = service.signed_in().await;
    service.clock.advance(std::time::Duration::from_secs(1));
    let leaving = service.signed_in().await;
    let token = service.provider.logout_token(|_, _| {});
    assert_eq!(tell(&service, &token).await, 200);
    assert!(!leaving.is_signed_in().await && staying.is_signed_in().await);
    assert_eq!(tell(&service, &token).await, 400, "it was taken twice");
}

#[actix_web::test]
async fn a_logout_token_without_a_session_ends_all_of_the_user() {
    let service = Service::start().await;
    let leaving = service.signed_in().await;
    let token = service.provider.logout_token(|_, claims| drop(claims.as_object_mut().unwrap().remove("sid")));
    assert_eq!(tell(&service, &token).await, 200);
    assert!(!leaving.is_signed_in().await);
}

#[actix_web::test]
async fn a_logout_token_by_a_key_that_is_not_known_yet_is_asked_for_again() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    let token = service.provider.logout_token(|header, _| header["kid"] = json!("of-tomorrow"));
    let address = format!("{}/backchannel-logout", service.base);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.post(address).form(&[("logout_token", token)]).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert!(browser.is_signed_in().await);
}

#[actix_web::test]
async fn every_logout_token_that_is_not_as_it_must_be_is_refused() {
    type Change = fn(&mut Value, &mut Value);
    const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
    let changes: [(&str, Change); 17] = [
        ("the type of an ID token", |header, _| header["typ"] = json!("JWT")),
        ("no type", |header, _| drop(header.as_object_mut().unwrap().remove("typ"))),
        ("no algorithm", |header, _| header["alg"] = json!("none")),
        ("another key", |header, _| header["kid"] = json!("at")),
        ("another issuer", |_, claims| claims["iss"] = json!("http://evil.test")),
        ("another client", |_, claims| claims["aud"] = json!("cart-service")),
        ("one that has expired", |_, claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() - 60)),
        ("one of the future", |_, claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() + 120)),
        ("one of long ago", |_, claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() - 3600)),
        ("no expiry", |_, claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        ("no jti", |_, claims| drop(claims.as_object_mut().unwrap().remove("jti"))),
        ("an empty jti", |_, claims| claims["jti"] = json!("")),
        ("no event", |_, claims| claims["events"] = json!({})),
        ("another event", |_, claims| claims["events"] = json!({"http://schemas.openid.net/event/other": {}})),
        ("an event that is no object", |_, claims| claims["events"] = json!({EVENT: true})),
        ("nobody", |_, claims| {
            claims.as_object_mut().unwrap().retain(|name, _| name != "sid" && name != "sub");
        }),
        ("a nonce", |_, claims| claims["nonce"] = json!("x")),
    ];
    let service = Service::start().await;
    let browser = service.signed_in().await;
    for (what, change) in changes {
        assert_eq!(tell(&service, &service.provider.logout_token(change)).await, 400, "{what}");
        assert!(browser.is_signed_in().await, "{what}");
    }
    for odd in ["", "a.b.c", "x", &"A".repeat(20_000)] {
        assert_eq!(tell(&service, odd).await, 400);
    }
    let token = service.provider.logout_token(|_, _| {});
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let address = format!("{}/backchannel-logout", service.base);
    let json = http.post(&address).json(&json!({"logout_token": token})).send().await.unwrap();
    assert_eq!(json.status(), 400);
    assert_eq!(http.get(&address).send().await.unwrap().status(), 405);
    assert!(browser.is_signed_in().await);
}
