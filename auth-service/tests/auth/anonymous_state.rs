//! What callers may leave behind, and who pays for it: requests that wait, failures, proofs; and a store that is full.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_service::{Config, Stores};
use reqwest::Method;
use serde_json::json;
use shared::key_value::BudgetLimits;
use shared::request::TrustedProxies;

use crate::browser::{Application, Browser, REDIRECT_URI};
use crate::dpop_tokens::Holder;
use crate::harness::{Answer, App, PASSWORD, Place, on_both};
use crate::weighed::Weighed;

on_both!(
    hb1_what_is_kept_of_a_request_is_bounded_and_the_parameter_too_many_is_named,
    hb2_a_request_that_is_loaded_again_is_no_failure_and_one_that_was_answered_is_over,
    hb3_keys_that_a_person_makes_up_are_at_their_expense with crate::anonymous_state::narrow,
    hb3_a_network_and_all_networks_have_a_budget_and_those_who_are_known_have_their_own with crate::anonymous_state::narrow,
    hb4_failures_of_invented_clients_share_one_limit_and_shut_out_no_real_one with |config| config.throttle.client_failures = 5,
);

pub(crate) const EACH: u64 = 32 * 1024;
pub(crate) const ALL_NETWORKS: u64 = 96 * 1024;
const WINDOW: Duration = Duration::from_secs(600);

/// Budgets that a test spends, and addresses that it may choose.
pub(crate) fn narrow(config: &mut Config) {
    config.budget = BudgetLimits { each: EACH, all_networks: ALL_NETWORKS, window: WINDOW };
    config.trusted_proxies = TrustedProxies(vec!["127.0.0.1/32".parse().unwrap()]);
}

/// An app whose small values are weighed.
pub(crate) async fn weighed(change: impl FnOnce(&mut Config)) -> (App, Arc<Weighed>) {
    let mut held = None;
    let app = App::start(Place::embedded(), |config| {
        let store = held.insert(Arc::new(Weighed::new(&config.clock)));
        if let Stores::Embedded(stores) = &mut config.stores {
            stores.key_values = Some(store.clone());
        }
        change(config);
    })
    .await;
    (app, held.unwrap())
}

/// A client without a secret that may do whatever such a client may.
pub(crate) async fn public_client(app: &App) -> Application {
    let grants = json!(["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]);
    Application::register(app, json!({"token_endpoint_auth_method": "none", "grant_types": grants})).await
}

pub(crate) fn pairs<'a>(parameters: &'a [(String, String)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    parameters.iter().map(|(name, value)| (&**name, &**value)).chain(more.iter().copied()).collect()
}

async fn form(app: &App, path: &str, fields: &[(&str, &str)]) -> Answer {
    app.send(app.request(Method::POST, path).form(fields)).await
}

async fn hb1_what_is_kept_of_a_request_is_bounded_and_the_parameter_too_many_is_named(app: App) {
    let client = public_client(&app).await;
    let large = "x".repeat(5_000);
    let request = client.begin(&[("acr_values", &large)]);
    let refused = app.send(app.request(Method::GET, &request.path())).await;
    assert_eq!((refused.status, refused.code(), refused.pointer()), (413, "request_too_large", "#query/acr_values"));
    for parameters in [&request.parameters, &client.begin(&[("acr_values", &"x".repeat(60_000))]).parameters] {
        let refused = form(&app, "/oauth2/authorize", &pairs(parameters, &[])).await;
        assert_eq!((refused.status, refused.code(), refused.pointer()), (413, "request_too_large", "/acr_values"));
        let refused = form(&app, "/oauth2/par", &pairs(parameters, &[])).await;
        assert_eq!((refused.status, refused.error()), (413, "invalid_request"));
        assert!(refused.body["error_description"].as_str().unwrap().contains("acr_values"), "{}", refused.text);
    }
    let scope = "x".repeat(5_120);
    let device = [("client_id", &*client.id), ("scope", &scope), ("resource", "urn:roam:cart-service")];
    let refused = form(&app, "/oauth2/device_authorization", &device).await;
    assert_eq!(refused.status, 413);
    assert!(refused.body["error_description"].as_str().unwrap().contains("scope"), "{}", refused.text);
    // Those that nobody knows do not count, and go nowhere.
    let usual = client.begin(&[("state", &"s".repeat(4096))]);
    let junk = "j".repeat(50_000);
    let sent_on = form(&app, "/oauth2/authorize", &pairs(&usual.parameters, &[("junk", &junk)])).await;
    assert!(sent_on.location().as_str().len() < 8 * 1024, "{}", sent_on.location());
    let pushed = form(&app, "/oauth2/par", &pairs(&usual.parameters, &[("junk", &junk)])).await;
    assert_eq!(pushed.status, 201, "{}", pushed.text);
    // A request of the largest size is answered, byte for byte.
    let person = app.somebody().await;
    let mut browser = Browser::default();
    let waits = browser.follow(&app, &sent_on).await;
    assert!(waits.headers["location"].len() < 8 * 1024);
    browser.sign_in(&app, &person, PASSWORD).await;
    let back = browser.get(&app, &format!("/oauth2/authorize?flow={}", waits.query("flow"))).await;
    assert_eq!(back.query("state"), "s".repeat(4096));
}

async fn hb2_a_request_that_is_loaded_again_is_no_failure_and_one_that_was_answered_is_over(app: App) {
    let (client, person) = (public_client(&app).await, app.somebody().await);
    let begun = client.begin(&[]);
    let sent_on = form(&app, "/oauth2/authorize", &pairs(&begun.parameters, &[])).await;
    let mut browser = Browser::default();
    for _ in 0..3 {
        let page = browser.follow(&app, &sent_on).await;
        assert_eq!(page.location().path(), "/sign-in");
        assert_eq!(browser.follow(&app, &page).await.status, 200);
    }
    let page = browser.follow(&app, &sent_on).await;
    browser.sign_in(&app, &person, PASSWORD).await;
    let resume = format!("/oauth2/authorize?flow={}", page.query("flow"));
    assert!(!browser.get(&app, &resume).await.query("code").is_empty());
    let html = |path: &str| app.request(Method::GET, path).header("accept", "text/html");
    for path in [&*resume, "/oauth2/authorize?posted=x"] {
        let cookies: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let over = html(path).header("cookie", cookies.join("; ")).send().await.unwrap();
        assert_eq!(over.status(), 400);
        let page = over.text().await.unwrap();
        assert!(page.contains("This sign-in is over"), "{page}");
    }
    // A reference to a pushed request is good once.
    let pushed = form(&app, "/oauth2/par", &pairs(&client.begin(&[]).parameters, &[])).await;
    let uri = pushed.body["request_uri"].as_str().unwrap().to_owned();
    let query = [("client_id", &*client.id), ("request_uri", &uri)];
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    assert!(!browser.get(&app, &format!("/oauth2/authorize?{query}")).await.query("code").is_empty());
    assert_eq!(browser.get(&app, &format!("/oauth2/authorize?{query}")).await.status, 400);
    // A sign-out that waits.
    let asked = form(&app, "/oauth2/logout", &[("state", "s")]).await;
    for _ in 0..3 {
        assert_eq!(browser.follow(&app, &asked).await.location().path(), "/oauth2/logout/confirm");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hb2_requests_that_wait_leave_nothing_behind() {
    let (app, held) = weighed(|_| {}).await;
    let client = public_client(&app).await;
    let before = held.entries();
    for round in 0..20 {
        let begun = client.begin(&[("state", &format!("{round}{}", "s".repeat(2_000)))]);
        let mut browser = Browser::default();
        let page = begun.go(&app, &mut browser).await;
        assert_eq!(browser.follow(&app, &page).await.status, 200);
        let sent_on = form(&app, "/oauth2/authorize", &pairs(&begun.parameters, &[])).await;
        browser.follow(&app, &sent_on).await;
        let asked = form(&app, "/oauth2/logout", &[("state", &"s".repeat(2_000))]).await;
        browser.follow(&app, &asked).await;
    }
    assert_eq!(held.entries(), before);
}

/// A pushed request of some 3,000 bytes, from that address.
async fn push(app: &App, client: &Application, address: &str) -> Answer {
    let begun = client.begin(&[("acr_values", &"x".repeat(2_500))]);
    let request = app.request(Method::POST, "/oauth2/par").header("x-forwarded-for", address);
    let request = if client.secret.is_empty() { request } else { request.basic_auth(&client.id, Some(&client.secret)) };
    app.send(request.form(&begun.parameters)).await
}

async fn hb3_a_network_and_all_networks_have_a_budget_and_those_who_are_known_have_their_own(app: App) {
    let (mut public, confidential) = (public_client(&app).await, Application::first_party(&app).await);
    public.secret = String::new();
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(&app, &person, PASSWORD).await;
    let spent = async |address: &str| {
        for count in 0..100 {
            let answer = push(&app, &public, address).await;
            if answer.status == 429 {
                assert_eq!(answer.error(), "slow_down");
                assert!((1..=600).contains(&answer.retry_after()));
                return count;
            }
            assert_eq!(answer.status, 201, "{}", answer.text);
        }
        panic!("nothing bounds {address}");
    };
    let first = spent("192.0.2.1").await;
    assert!((5..=11).contains(&first), "{first} of some 3,400 bytes are {EACH}");
    let device = [("client_id", &*public.id), ("scope", "openid")];
    let device = app.request(Method::POST, "/oauth2/device_authorization").form(&device);
    assert_eq!(app.send(device.header("x-forwarded-for", "192.0.2.1")).await.status, 429, "one budget for all");
    assert_eq!(push(&app, &confidential, "192.0.2.1").await.status, 201, "a client that proved who it is");
    let by_person = app.request(Method::GET, &confidential.begin(&[]).path()).header("x-forwarded-for", "192.0.2.1");
    assert!(!browser.send(&app, by_person).await.query("code").is_empty(), "somebody who is signed in");
    assert_eq!(push(&app, &public, "192.0.2.2").await.status, 201, "another network");
    // A subscriber has 2^64 addresses of one network.
    spent("2001:db8:0:1::1").await;
    assert_eq!(push(&app, &public, "2001:db8:0:1:ffff::2").await.status, 429);
    let mut networks = 3..200;
    while push(&app, &public, &format!("192.0.2.{}", networks.next().expect("a limit of all networks"))).await.status
        == 201
    {}
    assert_eq!(push(&app, &public, "198.51.100.1").await.status, 429, "all networks together");
    assert_eq!(push(&app, &confidential, "198.51.100.1").await.status, 201);
    app.clock.advance(WINDOW);
    assert_eq!(push(&app, &public, "192.0.2.1").await.status, 201, "the next window");
    // A person's own budget ends too, and is nobody else's.
    let mut codes = 0;
    while begins(&app, &confidential, &mut browser).await {
        codes += 1;
        assert!(codes < 500, "nothing bounds what one person leaves behind");
    }
    let mut other = Browser::default();
    other.sign_in(&app, &app.somebody().await, PASSWORD).await;
    assert!(begins(&app, &confidential, &mut other).await);
}

async fn hb3_keys_that_a_person_makes_up_are_at_their_expense(app: App) {
    let client = Application::first_party(&app).await;
    let mut browser = Browser::default();
    browser.sign_in(&app, &app.somebody().await, PASSWORD).await;
    let mut refresh = client.tokens(&app, &mut browser).await["refresh_token"].as_str().unwrap().to_owned();
    let mut refreshes = 0;
    loop {
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
        let request = app.request(Method::POST, "/oauth2/token").basic_auth(&client.id, Some(&client.secret));
        let answer = app.send(request.header("dpop", Holder::new().token_proof(&app)).form(&form)).await;
        if answer.status == 429 {
            break;
        }
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body["refresh_token"].as_str().unwrap().clone_into(&mut refresh);
        refreshes += 1;
        assert!(refreshes < 500, "nothing bounds the keys that one person makes up");
    }
    assert!(refreshes > 5, "{refreshes}");
}

async fn begins(app: &App, client: &Application, browser: &mut Browser) -> bool {
    let answer = client.begin(&[("nonce", &"n".repeat(2_000))]).go(app, browser).await;
    assert!(answer.status == 303 || answer.status == 429, "{}", answer.text);
    answer.status == 303
}

/// The endpoints at which a client says who it is.
const CLIENT_ENDPOINTS: [&str; 5] =
    ["/oauth2/token", "/oauth2/par", "/oauth2/device_authorization", "/oauth2/revoke", "/oauth2/introspect"];

async fn hb4_failures_of_invented_clients_share_one_limit_and_shut_out_no_real_one(app: App) {
    let real = Application::first_party(&app).await;
    let fail = async |id: &str, path: &str| {
        let fields = [("token", "x"), ("grant_type", "client_credentials")];
        app.send(app.request(Method::POST, path).basic_auth(id, Some("wrong")).form(&fields)).await.status
    };
    let mut refused = 0;
    for (number, path) in CLIENT_ENDPOINTS.iter().cycle().take(20).enumerate() {
        refused += usize::from(fail(&format!("invented-{number}"), path).await == 429);
    }
    assert_eq!(refused, 15, "five failures, under whatever names");
    assert_eq!(fail(&real.id, "/oauth2/token").await, 401, "a real client has a limit of its own");
    let mut browser = Browser::default();
    browser.sign_in(&app, &app.somebody().await, PASSWORD).await;
    real.tokens(&app, &mut browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hb4_failures_of_invented_clients_leave_one_counter() {
    let (app, held) = weighed(|_| {}).await;
    let before = held.entries();
    for (number, path) in CLIENT_ENDPOINTS.iter().cycle().take(50).enumerate() {
        let id = format!("invented-{number}");
        let by_form = [("client_id", &*id), ("client_secret", "x"), ("token", "x"), ("redirect_uri", REDIRECT_URI)];
        form(&app, path, &by_form).await;
        app.send(app.request(Method::POST, path).basic_auth(&id, Some("wrong")).form(&[("token", "x")])).await;
    }
    assert_eq!(held.entries() - before, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hb5_a_proof_is_remembered_only_for_a_grant_that_is_good() {
    let (app, held) = weighed(|_| {}).await;
    let (mut client, holder) = (public_client(&app).await, Holder::new());
    client.secret = String::new();
    let before = held.entries();
    for grant in ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"] {
        for _ in 0..10 {
            let fields = [
                ("client_id", &*client.id),
                ("grant_type", grant),
                ("code", "no-code"),
                ("refresh_token", "no-token"),
                ("device_code", "no-code"),
                ("redirect_uri", REDIRECT_URI),
            ];
            let request = app.request(Method::POST, "/oauth2/token").header("dpop", holder.token_proof(&app));
            assert_eq!(app.send(request.form(&fields)).await.status, 400);
        }
    }
    assert_eq!(held.entries(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hb7_a_store_that_refuses_writes_is_not_ready_and_no_request_is_a_failure_of_ours() {
    let Some(redis) = e2e::servers::redis_for_test() else { return };
    let app = App::start(Place::on_redis(redis.url()), |_| {}).await;
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(&app, &person, PASSWORD).await;
    let ready = async || app.send_whatever(app.request(Method::GET, "/readyz")).await;
    assert_eq!(ready().await.status, 200);
    redis.ask("CONFIG SET maxmemory 6mb").unwrap();
    let mut fills = (0..100).map(|number| redis.ask(&format!("SETRANGE filler:{number} 1000000 x")).unwrap());
    assert!(fills.any(|answer| answer.contains("OOM")), "the memory is full");
    let refused = ready().await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.text.contains("session store") && refused.text.contains("OOM"), "{}", refused.text);
    let login = json!({"email": person.email, "password": PASSWORD});
    assert_eq!(app.send_whatever(app.request(Method::POST, "/auth/login").json(&login)).await.status, 503);
    // Long enough for the session to be marked as seen.
    app.clock.advance(app.service.rules.idle_ttl / 20);
    assert_eq!(browser.get(&app, "/account").await.status, 200, "who is signed in reads on");
    redis.ask("CONFIG SET maxmemory 0").unwrap();
    let started = Instant::now();
    while ready().await.status != 200 {
        assert!(started.elapsed() < Duration::from_secs(10), "it does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(app.log_in(&person.email, PASSWORD).await.status, 200);
}
