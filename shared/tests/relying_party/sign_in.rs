//! Signing in: what the provider is asked, and which of its answers are taken.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::browser::Answer;
use crate::provider::{CLIENT, ISSUER};
use crate::rig::{Service, WAITED};

#[actix_web::test]
async fn a_sign_in_comes_back_to_where_it_began_and_the_page_knows_who_visits() {
    let service = Service::start().await;
    let browser = service.browser();
    assert_eq!(browser.open("/").await.json(), json!({"signed_in": false, "name": null}));
    let sent_away = browser.open("/mine?page=2").await;
    assert_eq!(sent_away.status, 303);
    let back_at = browser.sign_in(&service.provider, sent_away.location()).await;
    assert_eq!(back_at, "/mine?page=2");
    let mine = browser.open(&back_at).await;
    assert_eq!((mine.status, &mine.json()["user"]), (200, &json!(service.provider.grant().user)));
    assert_eq!(browser.open("/").await.json()["name"], "Ada Lovelace");
}

#[actix_web::test]
async fn the_provider_is_asked_with_pkce_a_state_and_a_nonce_that_are_never_the_same() {
    let service = Service::start().await;
    let browser = service.browser();
    let mut seen: Vec<Value> = Vec::new();
    for _ in 0..2 {
        browser.callback_of(&service.provider, "/login?return_to=/&max_age=60&ui_locales=zh").await;
        let asked = service.provider.state.asked.lock().clone();
        assert_eq!(asked["redirect_uri"], format!("{}/callback", service.base));
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("scope", "openid profile email"),
            ("code_challenge_method", "S256"),
            ("max_age", "60"),
            ("ui_locales", "zh"),
        ] {
            assert_eq!(asked[name], value, "{name}");
        }
        let random = ["state", "nonce", "code_challenge"].map(|name| asked[name].clone());
        assert!(random.iter().all(|text| text.len() >= 22), "{random:?}");
        seen.push(json!(random));
    }
    assert!((0..3).all(|place| seen[0][place] != seen[1][place]), "{seen:?}");
}

#[actix_web::test]
async fn tabs_that_sign_in_at_once_do_not_disturb_each_other() {
    let service = Service::start().await;
    let browser = service.browser();
    let first = browser.callback_of(&service.provider, "/login?return_to=/mine?tab=1").await;
    let second = browser.callback_of(&service.provider, "/login?return_to=/mine?tab=2").await;
    assert_eq!(browser.open(&second).await.location(), "/mine?tab=2");
    assert_eq!(browser.open(&first).await.location(), "/mine?tab=1");
    assert!(browser.cookies.lock().keys().all(|name| !name.contains("_login_")), "a sign-in is done and remembered");
}

#[actix_web::test]
async fn sign_ins_that_are_never_finished_do_not_pile_up() {
    let service = Service::start().await;
    let browser = service.browser();
    for place in ["/".to_owned(), format!("/{}", "x".repeat(2_000))] {
        for _ in 0..20 {
            browser.callback_of(&service.provider, &format!("/login?return_to={place}")).await;
            let cookies =
                browser.cookies.lock().iter().map(|(name, value)| name.len() + value.len() + 3).sum::<usize>();
            assert!(cookies <= 3 * 1024 || browser.cookies.lock().len() == 1, "{cookies}");
        }
    }
    let last = browser.callback_of(&service.provider, "/login").await;
    assert_eq!(browser.open(&last).await.status, 303);
}

/// A browser that starts opens again what was open when it ended.
#[actix_web::test]
async fn ten_tabs_that_sign_in_at_once_all_come_back_to_their_places() {
    let service = Service::start().await;
    let browser = service.browser();
    let mut tabs = Vec::new();
    for tab in 0..10 {
        let login = format!("/login?return_to=/mine?tab={tab}");
        tabs.push((browser.callback_of(&service.provider, &login).await, format!("/mine?tab={tab}")));
    }
    for (callback, place) in tabs {
        assert_eq!(browser.open(&callback).await.location(), place);
    }
}

/// However many there are, and wherever the cookie went.
#[actix_web::test]
async fn a_sign_in_whose_cookie_is_gone_comes_back_to_its_place_by_another_one() {
    let service = Service::start().await;
    let browser = service.browser();
    let first = browser.callback_of(&service.provider, "/login?return_to=/mine?tab=1").await;
    let (_, state) = first.split_once("state=").unwrap();
    let state = state.split('&').next().unwrap();
    assert!(!state.contains("mine"), "the provider learns no place: {state}");
    browser.cookies.lock().clear();
    assert_refused("a guest", &browser.open(&first).await);
    browser.sign_in(&service.provider, "/login").await;
    assert_eq!(browser.open(&first).await.location(), "/mine?tab=1");
    // Another sign-in's place, or one that was made up, is the front page.
    let other = browser.callback_of(&service.provider, "/login?return_to=/mine?tab=2").await;
    let place = |callback: &str| callback.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let (own, others) = (place(&first), place(&other));
    let mixed = format!("{}.{}", own.split('.').next().unwrap(), others.split('.').nth(1).unwrap());
    for odd in [mixed, format!("{own}x"), "a.%2Fmine".to_owned(), "a.".to_owned(), ".".to_owned()] {
        let answer = browser.open(&format!("/callback?code=x&state={odd}")).await;
        assert_eq!(answer.location(), "/", "{odd}");
    }
}

#[actix_web::test]
async fn hl10_images_begin_no_sign_in_and_drop_none_that_is_under_way() {
    let service = Service::start().await;
    let browser = service.browser();
    let begun = browser.callback_of(&service.provider, "/login?return_to=/mine").await;
    for _ in 0..10 {
        let image = browser.send(browser.get("/login").header("sec-fetch-dest", "image")).await;
        assert_eq!((image.status, &image.json()["code"]), (403, &json!("not_a_page")));
    }
    assert_eq!(browser.open(&begun).await.location(), "/mine");
}

/// That nobody was signed in, and that it is the visitor's fault.
fn assert_refused(what: &str, answer: &Answer) {
    assert_eq!(answer.status, 400, "{what}: {}", answer.body);
    let kept =
        answer.set_cookies().into_iter().any(|cookie| cookie.contains("_session=") && !cookie.contains("Max-Age=0"));
    assert!(!kept, "{what} signed somebody in");
}

#[actix_web::test]
async fn an_answer_to_no_sign_in_of_this_browser_is_refused() {
    let service = Service::start().await;
    let attacker = service.browser();
    let callback = attacker.callback_of(&service.provider, "/login").await;
    let victim = service.browser();
    assert_refused("another browser's answer", &victim.open(&callback).await);
    // One of the victim's own, with the attacker's code.
    let own = victim.callback_of(&service.provider, "/login").await;
    let code = |callback: &str| callback.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    assert_refused("another sign-in's code", &victim.open(&own.replace(&code(&own), &code(&callback))).await);
    for query in ["", "?code=x", "?state=x&code=x", "?state=&code=x", "?code=a&code=b", "?error=access_denied"] {
        assert_refused(query, &victim.open(&format!("/callback{query}")).await);
    }
}

#[actix_web::test]
async fn an_answer_that_names_another_issuer_or_none_is_refused() {
    let service = Service::start().await;
    let browser = service.browser();
    let iss = "&iss=http%3A%2F%2Fauth.test";
    for (what, wrong) in [("another", "&iss=http%3A%2F%2Fevil.test"), ("none", ""), ("empty", "&iss=")] {
        let callback = browser.callback_of(&service.provider, "/login").await;
        assert!(callback.contains(iss), "{callback}");
        assert_refused(what, &browser.open(&callback.replace(iss, wrong)).await);
    }
    let callback = browser.callback_of(&service.provider, "/login").await;
    let error = callback.split("&iss").next().unwrap().replace("code=", "error=access_denied&x=");
    assert_refused("an error of nobody", &browser.open(&error).await);
}

#[actix_web::test]
async fn a_cancelled_sign_in_says_so_and_is_over() {
    let service = Service::start().await;
    let browser = service.browser();
    let callback = browser.callback_of(&service.provider, "/login").await.replace("code=", "error=access_denied&x=");
    let answer = browser.open(&callback).await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("sign_in_cancelled")));
    assert!(browser.cookies.lock().is_empty(), "its cookie is kept");
}

#[actix_web::test]
async fn an_answer_counts_once() {
    let service = Service::start().await;
    let browser = service.browser();
    let callback = browser.callback_of(&service.provider, "/login?return_to=/mine").await;
    let before = browser.copy();
    assert_eq!(browser.open(&callback).await.location(), "/mine");
    // The back button: whoever is signed in stays so, and comes to the same page.
    let again = browser.open(&callback).await;
    assert_eq!((again.status, again.location()), (303, "/mine"));
    assert!(again.set_cookies().is_empty(), "{:?}", again.set_cookies());
    assert_refused("the same code again", &before.open(&callback).await);
}

#[actix_web::test]
async fn hf4_a_callback_that_comes_too_late_uses_no_code_up() {
    let service = Service::start().await;
    let browser = service.browser();
    let callback = browser.callback_of(&service.provider, "/login").await;
    let late = browser.send(browser.get(&callback).header(WAITED, 20)).await;
    assert_eq!((late.status, late.json()["code"].as_str()), (503, Some("unavailable")), "{}", late.body);
    assert!(late.set_cookies().is_empty(), "its sign-in is not over: {:?}", late.set_cookies());
    assert_eq!(browser.open(&callback).await.status, 303);
    assert!(browser.is_signed_in().await);
}

#[actix_web::test]
async fn a_sign_in_that_took_too_long_is_refused() {
    let service = Service::start().await;
    let browser = service.browser();
    let callback = browser.callback_of(&service.provider, "/login").await;
    service.clock.advance(std::time::Duration::from_secs(660));
    assert_refused("a sign-in of long ago", &browser.open(&callback).await);
}

#[actix_web::test]
async fn every_id_token_that_is_not_as_it_must_be_is_refused() {
    type Change = fn(&mut Value, &mut Value);
    let changes: [(&str, Change); 20] = [
        ("another issuer", |_, claims| claims["iss"] = json!("http://evil.test")),
        ("an issuer with a slash", |_, claims| claims["iss"] = json!(format!("{ISSUER}/"))),
        ("another audience", |_, claims| claims["aud"] = json!("cart-service")),
        ("two audiences and no azp", |_, claims| claims["aud"] = json!([CLIENT, "cart-service"])),
        ("another azp", |_, claims| claims["azp"] = json!("cart-service")),
        ("no audience", |_, claims| claims["aud"] = json!([])),
        ("one that has expired", |_, claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() - 60)),
        ("one of the future", |_, claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() + 120)),
        ("one of long ago", |_, claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() - 3600)),
        ("one that is not valid yet", |_, claims| claims["nbf"] = json!(claims["iat"].as_i64().unwrap() + 120)),
        ("another nonce", |_, claims| claims["nonce"] = json!("another")),
        ("no nonce", |_, claims| claims["nonce"] = json!(null)),
        ("another at_hash", |_, claims| claims["at_hash"] = json!("77QmUPtjPfzWtF2AnpK9RQ")),
        ("another user", |_, claims| claims["sub"] = json!(uuid::Uuid::new_v4())),
        ("no user", |_, claims| claims["sub"] = json!("")),
        ("the type of an access token", |header, _| header["typ"] = json!("at+jwt")),
        ("the type of a logout token", |header, _| header["typ"] = json!("logout+jwt")),
        ("another algorithm", |header, _| header["alg"] = json!("none")),
        ("another key", |header, _| header["kid"] = json!("at")),
        ("something critical", |header, _| header["crit"] = json!(["exp"])),
    ];
    let service = Service::start().await;
    for (what, change) in changes {
        service.provider.bend(change);
        let browser = service.browser();
        let callback = browser.callback_of(&service.provider, "/login").await;
        assert_refused(what, &browser.open(&callback).await);
        assert!(!browser.is_signed_in().await, "{what}");
    }
    service.provider.bend(|_, claims| {
        claims["aud"] = json!([CLIENT, "cart-service"]);
        claims["azp"] = json!(CLIENT);
    });
    service.signed_in().await;
}

#[actix_web::test]
async fn a_login_that_is_not_as_recent_as_was_asked_for_is_refused() {
    let service = Service::start().await;
    service.provider.bend(|_, claims| claims["auth_time"] = json!(claims["iat"].as_i64().unwrap() - 120));
    let browser = service.browser();
    let callback = browser.callback_of(&service.provider, "/login?max_age=60").await;
    assert_refused("an old login", &browser.open(&callback).await);
    service.provider.bend(|_, claims| claims["auth_time"] = json!(null));
    let callback = browser.callback_of(&service.provider, "/login?max_age=60").await;
    assert_refused("a login of nobody knows when", &browser.open(&callback).await);
    assert_eq!(browser.sign_in(&service.provider, "/login").await, "/");
}

#[actix_web::test]
async fn a_name_that_the_id_token_does_not_tell_is_asked_for() {
    let service = Service::start().await;
    service.provider.state.gives_names.store(false, Ordering::SeqCst);
    let browser = service.signed_in().await;
    assert_eq!(browser.open("/").await.json()["name"], "From Userinfo");
}

#[actix_web::test]
async fn a_sign_in_leads_to_no_other_place() {
    let service = Service::start().await;
    let browser = service.browser();
    for evil in ["//evil.test", "/%5Cevil.test", "https:evil.test", "https://evil.test", "/x%0d%0aSet-Cookie:a=b", "x"]
    {
        let answer = browser.open(&format!("/login?return_to={evil}")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("invalid_return_to")), "{evil}");
    }
    for odd in ["return_to=/&return_to=/x", "max_age=-1", "max_age=soon", "max_age=99999999999"] {
        assert_eq!(browser.open(&format!("/login?{odd}")).await.status, 400, "{odd}");
    }
    assert!(browser.cookies.lock().is_empty());
}

#[actix_web::test]
async fn while_the_provider_is_away_a_sign_in_is_put_off() {
    let service = Service::start().await;
    service.provider.state.away.store(true, Ordering::SeqCst);
    let browser = service.browser();
    let answer = browser.open("/login").await;
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (503, "1"));
    service.provider.state.away.store(false, Ordering::SeqCst);
    let callback = browser.callback_of(&service.provider, "/login").await;
    service.provider.state.away.store(true, Ordering::SeqCst);
    assert_eq!(browser.open(&callback).await.status, 503);
    assert!(!browser.copy().is_signed_in().await);
}

#[actix_web::test]
async fn metadata_of_another_issuer_or_with_odd_endpoints_is_not_taken() {
    for (name, value) in [
        ("issuer", json!("http://auth.test/")),
        ("issuer", json!("http://evil.test")),
        ("authorization_endpoint", json!("javascript:alert(1)")),
        ("end_session_endpoint", json!("ftp://auth.test/end")),
        ("token_endpoint", json!("/token")),
        ("token_endpoint", json!(null)),
    ] {
        let service = Service::start().await;
        service.provider.state.metadata.lock()[name] = value.clone();
        assert_eq!(service.browser().open("/login").await.status, 503, "{name} {value}");
    }
}
