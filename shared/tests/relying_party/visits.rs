//! Visits with a session cookie: fresh tokens without anybody noticing, and ended sessions noticed at once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::rig::{STEP_UP_AFTER, Service, WAITED, eventually};

#[actix_web::test]
async fn an_expired_token_is_renewed_once_for_all_tabs_that_ask_at_once() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    let first = browser.open("/mine").await.json()["token"].clone();
    assert_eq!(service.provider.refreshes(), 0);
    service.let_tokens_expire();
    let tabs: Vec<_> = (0..20).map(|_| browser.copy()).collect();
    let answers = futures_util::future::join_all(tabs.iter().map(|tab| tab.open("/mine"))).await;
    assert_eq!(service.provider.refreshes(), 1);
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.json()["token"] != first && answer.json()["token"] == answers[0].json()["token"]);
        assert_eq!(answer.set_cookies().len(), 1, "{:?}", answer.set_cookies());
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    // A tab whose request was on its way comes later with the old cookie.
    assert_eq!(browser.open("/mine").await.status, 200);
    assert_eq!(browser.open("/mine").await.set_cookies().len(), 0, "nothing was to be renewed");
    assert_eq!(service.provider.refreshes(), 1);
}

#[actix_web::test]
async fn a_token_is_renewed_again_and_again() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    for round in 1..=3 {
        service.let_tokens_expire();
        assert!(browser.is_signed_in().await);
        assert_eq!(service.provider.refreshes(), round);
        assert_eq!(browser.open("/").await.json()["name"], "Ada Lovelace", "the name is kept");
    }
}

#[actix_web::test]
async fn whoever_loses_a_race_for_the_refresh_is_a_guest_and_keeps_the_cookie() {
    let service = Service::start().await;
    service.provider.state.strict.store(true, Ordering::SeqCst);
    let browser = service.signed_in().await;
    service.let_tokens_expire();
    // Another replica of the service was first: this one knows nothing of it.
    let cookie = browser.copy();
    let elsewhere = service.provider.grant();
    service.provider.state.spend(&elsewhere);
    let answer = cookie.open("/").await;
    assert_eq!(answer.json()["signed_in"], false);
    assert!(answer.set_cookies().is_empty(), "the winner's cookie would be cleared: {:?}", answer.set_cookies());
}

#[actix_web::test]
async fn an_ended_session_is_a_guest_at_the_next_request_and_its_cookie_is_forgotten() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    assert!(browser.is_signed_in().await);
    service.provider.end_session(service.provider.grant().session).await;
    eventually("the page sees it", async || !browser.copy().is_signed_in().await).await;
    let answer = browser.open("/mine").await;
    assert_eq!((answer.status, answer.location()), (303, "/login?return_to=%2Fmine"));
    assert!(browser.cookies.lock().is_empty(), "the cookie is kept");
    assert_eq!(service.provider.refreshes(), 0);
}

#[actix_web::test]
async fn a_session_that_ended_while_its_token_expired_is_forgotten_too() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    service.provider.end_session(service.provider.grant().session).await;
    service.let_tokens_expire();
    assert!(!browser.is_signed_in().await);
    assert!(browser.cookies.lock().is_empty(), "the cookie is kept");
}

#[actix_web::test]
async fn while_the_provider_is_away_a_fresh_token_still_does_and_an_expired_one_waits() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    service.provider.state.away.store(true, Ordering::SeqCst);
    assert!(browser.is_signed_in().await);
    service.let_tokens_expire();
    for path in ["/", "/mine", "/pay/7"] {
        let answer = browser.open(path).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (503, 0), "{path}: {}", answer.body);
        assert!(answer.headers.contains_key("retry-after"));
    }
    service.provider.state.away.store(false, Ordering::SeqCst);
    assert!(browser.is_signed_in().await, "the outage has cost the session");
}

#[actix_web::test]
async fn whoever_does_not_ask_for_a_page_is_refused_and_not_sent_around() {
    let service = Service::start().await;
    let browser = service.browser();
    let answer = browser.send(browser.get("/mine").header("Accept", "application/json")).await;
    assert_eq!((answer.status, &answer.json()["code"]), (303, &json!("sign_in")), "two Accept lines, one for a page");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let script = http.get(format!("{}/mine", service.base)).header("Accept", "application/json").send().await.unwrap();
    assert_eq!(script.status(), 401);
}

#[actix_web::test]
async fn a_form_of_a_guest_comes_back_to_the_page_that_held_it() {
    let service = Service::start().await;
    let browser = service.browser();
    let form = browser.post("/wish").header("Referer", format!("{}/p/7?from=list", service.base));
    assert_eq!(browser.send(form).await.location(), "/login?return_to=%2Fp%2F7%3Ffrom%3Dlist");
    assert_eq!(browser.send(browser.post("/wish")).await.location(), "/login?return_to=%2F");
}

#[actix_web::test]
async fn a_payment_sends_whoever_signed_in_too_long_ago_to_sign_in_again_and_straight_back() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    assert_eq!(browser.open("/pay/7?x=1").await.status, 200);
    let first = service.provider.grant().session;
    service.clock.advance(STEP_UP_AFTER + Duration::from_secs(1));
    let sent_away = browser.open("/pay/7?x=1").await;
    assert_eq!((sent_away.status, sent_away.location()), (303, "/login?return_to=%2Fpay%2F7%3Fx%3D1&max_age=870"));
    assert!(browser.is_signed_in().await, "an old login is still a login");
    let back_at = browser.sign_in(&service.provider, sent_away.location()).await;
    assert_eq!(back_at, "/pay/7?x=1");
    assert_eq!(service.provider.state.asked.lock()["max_age"], "870");
    let paid = browser.open(&back_at).await;
    assert_eq!(paid.status, 200);
    assert!(paid.json()["session"] != json!(first));
    assert_eq!(browser.send(browser.post("/pay/7")).await.status, 200);
}

#[actix_web::test]
async fn a_payment_asks_the_store_whether_the_session_lives() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    service.provider.end_session(service.provider.grant().session).await;
    let answer = browser.open("/pay/7").await;
    assert_eq!((answer.status, answer.location()), (303, "/login?return_to=%2Fpay%2F7"));
}

#[actix_web::test]
async fn hf4_a_page_that_comes_too_late_renews_no_token() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    service.let_tokens_expire();
    let late = browser.send(browser.get("/mine").header(WAITED, 20)).await;
    assert_eq!((late.status, late.json()["code"].as_str()), (503, Some("unavailable")), "{}", late.body);
    assert_eq!((service.provider.refreshes(), late.set_cookies().len()), (0, 0));
    assert_eq!(browser.open("/mine").await.status, 200);
    assert_eq!(service.provider.refreshes(), 1);
    let late = browser.send(browser.get("/mine").header(WAITED, 20)).await;
    assert_eq!(late.status, 200, "a page that changes nothing is shown however late it is");
}

#[actix_web::test]
async fn hl1_no_page_of_another_origin_changes_anything_by_the_sessions_cookie() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    let asked = async |path: &str, headers: &[(&str, &str)]| {
        let request = headers.iter().fold(browser.get(path), |request, (name, value)| request.header(*name, *value));
        let mut request = request.build().unwrap();
        *request.method_mut() = reqwest::Method::POST;
        let builder = reqwest::RequestBuilder::from_parts(reqwest::Client::new(), request);
        browser.send(builder).await
    };
    for path in ["/wish", "/pay/7"] {
        for elsewhere in [
            &[][..],
            &[("Sec-Fetch-Site", "none")],
            &[("Origin", "http://localhost:31085"), ("Sec-Fetch-Site", "same-site")],
            &[("Origin", "null"), ("Sec-Fetch-Site", "cross-site")],
            &[("Origin", "http://evil.test")],
            &[("Origin", "null")],
        ] {
            let refused = asked(path, elsewhere).await;
            assert_eq!(
                (refused.status, refused.json()["code"].as_str()),
                (403, Some("cross_site")),
                "{path} {elsewhere:?}"
            );
            assert!(refused.set_cookies().is_empty(), "the session goes on");
        }
        for own in [&[("Sec-Fetch-Site", "same-origin")][..], &[("Origin", &service.base)]] {
            assert_eq!(asked(path, own).await.status, 200, "{path} {own:?}");
        }
    }
    assert!(browser.is_signed_in().await);
}
