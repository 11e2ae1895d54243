//! Signing in at an application: the code, what it becomes, and what becomes of that.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use shared::session::{EndReason, SessionId};

use crate::browser::{Application, Browser};
use crate::harness::{App, PASSWORD, all, on_both};

on_both!(
    a_person_signs_in_at_an_application_and_is_known_there,
    a_second_application_needs_no_second_sign_in,
    a_code_works_once_and_a_second_use_ends_what_it_gave,
    of_fifty_uses_of_a_code_at_once_at_most_one_is_good,
    a_code_is_good_for_its_client_its_address_and_its_verifier_alone,
    a_code_is_over_after_a_minute,
    c23_a_used_refresh_token_of_a_client_ends_its_grant_and_no_session,
    c5_a_refresh_token_is_its_clients_alone,
    c5_a_public_clients_refresh_token_is_no_other_clients,
    c6_a_refresh_never_widens_the_scope,
    c7_a_clients_refresh_token_ends_with_the_consent,
    a_token_is_for_the_services_of_its_scope,
    a_service_that_is_named_by_its_address_is_asked_for_by_it_and_introspects with |config: &mut auth_service::Config| {
        config.api_scopes = shared::config::Setting::parse("invoices=https://api.example/invoices").unwrap();
    },
    a_request_without_a_person_is_told_what_is_missing,
    a_client_that_reads_the_fragment_finds_its_refusal_there,
    a_sign_in_waits_in_the_browser_that_began_it,
    a_pushed_request_is_good_until_it_is_answered_for_its_client_alone,
    a_pushed_request_that_was_opened_twice_is_answered_once,
    b23_what_one_person_has_allowed_counts_for_nobody_else_in_the_same_browser,
    c10_a_client_gives_its_tokens_back,
    c11_a_token_is_active_to_those_that_it_concerns,
    another_proof_makes_the_login_young_and_the_cookie_new,
    the_end_of_the_session_ends_what_clients_were_given,
    a_request_by_another_sites_form_finds_who_is_signed_in,
    hl10_an_image_begins_no_sign_in_and_gets_no_code,
    a_client_that_may_have_less_than_before_gets_less,
);

async fn signed_in(app: &App) -> (Browser, crate::harness::Person) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(app, &person, PASSWORD).await;
    (browser, person)
}

fn claims(jwt: &Value) -> Value {
    use base64::Engine as _;
    let payload = jwt.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn a_person_signs_in_at_an_application_and_is_known_there(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let begun = client.begin(&[]);
    let back = begun.go(&app, &mut browser).await;
    assert_eq!(back.location().origin().ascii_serialization(), "https://app.example");
    assert_eq!((back.query("state").as_str(), back.query("iss")), ("a state", app.service.issuer.clone()));
    let tokens = client.exchange(&app, &back.query("code"), &begun.verifier).await;
    assert_eq!((tokens.status, &tokens.headers["cache-control"]), (200, &"no-store".parse().unwrap()));
    let id = claims(&tokens.body["id_token"]);
    assert_eq!((&id["sub"], &id["aud"], &id["nonce"]), (&json!(person.id), &json!(client.id), &json!("a nonce")));
    assert_eq!((&id["iss"], &id["acr"]), (&json!(app.service.issuer), &json!("urn:roam:acr:password")));
    let access = tokens.body["access_token"].as_str().unwrap();
    let told = app.get("/oauth2/userinfo", access).await;
    assert_eq!((&told.body["sub"], &told.body["email"]), (&json!(person.id), &json!(person.email)));
    assert!(told.body["name"].is_string());
    let form = app.request(Method::POST, "/oauth2/userinfo").form(&[("access_token", access)]);
    assert_eq!(app.send(form).await.body, told.body);
    // The scope has no word that opens the account.
    assert_eq!(app.get("/auth/me", access).await.code(), "insufficient_scope");
}

async fn a_second_application_needs_no_second_sign_in(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let (one, two) = (Application::first_party(&app).await, Application::first_party(&app).await);
    let (first, second) = (one.tokens(&app, &mut browser).await, two.tokens(&app, &mut browser).await);
    assert_eq!(claims(&first["access_token"])["sid"], claims(&second["access_token"])["sid"]);
}

async fn a_code_works_once_and_a_second_use_ends_what_it_gave(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let begun = client.begin(&[("scope", "openid account")]);
    let code = begun.go(&app, &mut browser).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await;
    let access = tokens.body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(app.get("/auth/me", &access).await.status, 200);
    app.clock.advance(Duration::from_secs(30));
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant");
    app.is_refused(&access).await;
    let refresh = tokens.body["refresh_token"].as_str().unwrap();
    assert_eq!(client.refresh(&app, refresh).await.error(), "invalid_grant");
    // The session itself lives on: the thief had a code, not the person's browser.
    assert!(begun.go(&app, &mut browser).await.query("code").len() > 20);
}

async fn of_fifty_uses_of_a_code_at_once_at_most_one_is_good(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let begun = client.begin(&[("scope", "openid account")]);
    let code = begun.go(&app, &mut browser).await.query("code");
    let answers = all((0..50).map(|_| client.exchange(&app, &code, &begun.verifier))).await;
    let good: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert!(good.len() <= 1, "{} were good", good.len());
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.error() == "invalid_grant"));
    if let Some(tokens) = good.first() {
        app.is_refused(tokens.body["access_token"].as_str().unwrap()).await;
    }
}

async fn a_code_is_good_for_its_client_its_address_and_its_verifier_alone(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let (client, other) = (Application::first_party(&app).await, Application::first_party(&app).await);
    let begun = client.begin(&[]);
    let code = begun.go(&app, &mut browser).await.query("code");
    assert_eq!(other.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant");
    let elsewhere = Application { redirect_uri: "https://app.example/other".to_owned(), ..client.clone() };
    assert_eq!(elsewhere.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant");
    let without = [("grant_type", "authorization_code"), ("code", &*code), ("code_verifier", &*begun.verifier)];
    assert_eq!(client.token(&app, &without).await.error(), "invalid_request");
    for verifier in ["", "short", &"a".repeat(43), &"a".repeat(129), &auth_service::codes::sha256(&begun.verifier)] {
        assert_eq!(client.exchange(&app, &code, verifier).await.error(), "invalid_grant", "{verifier:?}");
    }
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.status, 200, "none of them used it up");
    // A verifier for which there was no challenge is a downgrade.
    let begun = client.begin(&[("code_challenge", ""), ("code_challenge_method", "")]);
    let code = begun.go(&app, &mut browser).await.query("code");
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant");
    assert_eq!(client.exchange(&app, &code, "").await.status, 200);
}

async fn a_code_is_over_after_a_minute(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let begun = client.begin(&[]);
    let code = begun.go(&app, &mut browser).await.query("code");
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant");
}

async fn c23_a_used_refresh_token_of_a_client_ends_its_grant_and_no_session(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let first = client.tokens(&app, &mut browser).await;
    let old = first["refresh_token"].as_str().unwrap();
    let second = client.refresh(&app, old).await;
    assert_eq!(second.status, 200, "{}", second.text);
    assert_ne!(
        (&second.body["access_token"], &second.body["refresh_token"]),
        (&first["access_token"], &first["refresh_token"])
    );
    let (before, after) = (claims(&first["id_token"]), claims(&second.body["id_token"]));
    for name in ["iss", "sub", "aud", "auth_time", "sid"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    let repeated = client.refresh(&app, old).await;
    assert_eq!(repeated.body["refresh_token"], second.body["refresh_token"], "a lost answer is repeated");
    let narrower = [
        ("grant_type", "refresh_token"),
        ("refresh_token", second.body["refresh_token"].as_str().unwrap()),
        ("scope", "openid"),
    ];
    let narrower = client.token(&app, &narrower).await;
    assert_eq!((narrower.status, &narrower.body["scope"]), (200, &json!("openid")));
    let newest = narrower.body["refresh_token"].as_str().unwrap();
    let wider = [("grant_type", "refresh_token"), ("refresh_token", newest), ("scope", "openid orders")];
    assert_eq!(client.token(&app, &wider).await.error(), "invalid_scope");
    let access = narrower.body["access_token"].as_str().unwrap();
    let other = Application::first_party(&app).await;
    let others = other.tokens(&app, &mut browser).await;
    app.clock.advance(Duration::from_secs(11));
    assert_eq!(app.get("/oauth2/userinfo", access).await.status, 200);
    assert_eq!(client.refresh(&app, old).await.error(), "invalid_grant");
    assert_eq!(client.refresh(&app, newest).await.error(), "invalid_grant", "the grant has ended");
    assert_eq!(app.get("/oauth2/userinfo", access).await.status, 401, "and its access tokens with it");
    // RFC 9700, section 4.14.2: the rest of the sign-on is another matter.
    assert_eq!(other.refresh(&app, others["refresh_token"].as_str().unwrap()).await.status, 200);
    assert_eq!(app.get("/oauth2/userinfo", others["access_token"].as_str().unwrap()).await.status, 200);
    let again = client.tokens(&app, &mut browser).await;
    assert!(again["access_token"].is_string(), "the person is signed in still: {again}");
    let audit = app.audit_of(person.id).await;
    assert_eq!(audit.get(&("refresh".to_owned(), "refresh_token_reused".to_owned())), Some(&1), "{audit:?}");
}

async fn c5_a_refresh_token_is_its_clients_alone(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let (client, other) = (Application::first_party(&app).await, Application::first_party(&app).await);
    let tokens = client.tokens(&app, &mut browser).await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(other.refresh(&app, refresh).await.error(), "invalid_grant");
    assert_eq!(app.refresh(refresh).await.code(), "invalid_refresh_token", "nor the platform's own");
    assert_eq!(client.refresh(&app, &person.refresh).await.error(), "invalid_grant");
    for odd in ["", "rt:*", "x\r\n", &"a".repeat(2000), tokens["access_token"].as_str().unwrap()] {
        assert!(["invalid_grant", "invalid_request"].contains(&client.refresh(&app, odd).await.error()), "{odd:?}");
    }
    let unproved = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", &client.id)];
    let unproved = app.send(app.request(Method::POST, "/oauth2/token").form(&unproved)).await;
    assert_eq!((unproved.status, unproved.error()), (401, "invalid_client"));
    assert_eq!(client.refresh(&app, refresh).await.status, 200, "nobody used it up");
}

async fn c5_a_public_clients_refresh_token_is_no_other_clients(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let public = Application::register(&app, json!({"token_endpoint_auth_method": "none"})).await;
    let other = Application::first_party(&app).await;
    let begun = public.begin(&[]);
    let code = begun.go(&app, &mut browser).await.query("code");
    let send = async |form: &[(&str, &str)]| app.send(app.request(Method::POST, "/oauth2/token").form(form)).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", public.id.as_str()),
        ("code", &code),
        ("redirect_uri", &public.redirect_uri),
        ("code_verifier", &begun.verifier),
    ];
    let tokens = send(&form).await.body;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(other.refresh(&app, refresh).await.error(), "invalid_grant");
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    assert_eq!(send(&form).await.error(), "invalid_client", "whose it is must be said");
    let renewed = send(&[form[0], form[1], ("client_id", &public.id)]).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    assert_ne!(renewed.body["refresh_token"], tokens["refresh_token"], "it rotates");
}

async fn c6_a_refresh_never_widens_the_scope(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let refresh = client.tokens(&app, &mut browser).await["refresh_token"].as_str().unwrap().to_owned();
    let with = async |token: &str, scope: &str| {
        client.token(&app, &[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)]).await
    };
    for wider in
        ["openid orders", "openid profile email cart", "admin", "account", "openid offline_access", "openid OPENID"]
    {
        assert_eq!(with(&refresh, wider).await.error(), "invalid_scope", "{wider}");
    }
    let narrower = with(&refresh, "openid").await;
    assert_eq!((narrower.status, &narrower.body["scope"]), (200, &json!("openid")), "they used nothing up");
    let back = with(narrower.body["refresh_token"].as_str().unwrap(), "openid profile email").await;
    assert_eq!((back.status, &back.body["scope"]), (200, &json!("email openid profile")), "what was granted");
}

async fn c7_a_clients_refresh_token_ends_with_the_consent(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let tokens = client.tokens(&app, &mut browser).await;
    let by = auth_service::storage::audit::By::SERVICE;
    assert!(auth_service::grants::withdraw(&app.service, person.id, &client.id, &by).await.unwrap());
    let refused = client.refresh(&app, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!((refused.status, refused.error()), (400, "invalid_grant"));
    let started = std::time::Instant::now();
    while app.get("/oauth2/userinfo", tokens["access_token"].as_str().unwrap()).await.status != 401 {
        assert!(started.elapsed() < Duration::from_secs(5), "the access token is still taken");
    }
}

async fn a_token_is_for_the_services_of_its_scope(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let mut audience = async |changes: &[(&str, &str)]| {
        let begun = client.begin(changes);
        let back = begun.go(&app, &mut browser).await;
        if back.query("code").is_empty() {
            return json!(back.query("error"));
        }
        let tokens = client.exchange(&app, &back.query("code"), &begun.verifier).await;
        claims(&tokens.body["access_token"])["aud"].clone()
    };
    assert_eq!(audience(&[]).await, json!("auth-service"));
    assert_eq!(audience(&[("scope", "cart")]).await, json!("cart-service"));
    assert_eq!(
        audience(&[("scope", "openid cart orders")]).await,
        json!(["auth-service", "cart-service", "order-service"])
    );
    assert_eq!(
        audience(&[("scope", "openid cart"), ("resource", "urn:roam:cart-service")]).await,
        json!("cart-service")
    );
    assert_eq!(audience(&[("scope", "openid"), ("resource", "urn:roam:cart-service")]).await, json!("invalid_target"));
    assert_eq!(
        audience(&[("scope", "openid"), ("resource", "https://elsewhere.example")]).await,
        json!("invalid_target")
    );
    assert_eq!(audience(&[("scope", "openid unknown")]).await, json!("auth-service"), "an unknown word is left out");
    assert_eq!(audience(&[("scope", "admin")]).await, json!("invalid_scope"), "it is not this client's");
}

async fn a_service_that_is_named_by_its_address_is_asked_for_by_it_and_introspects(app: App) {
    const API: &str = "https://api.example/invoices";
    let (mut browser, _) = signed_in(&app).await;
    let scope = "openid invoices cart";
    let client = Application::register(&app, json!({"first_party": true, "scope": scope})).await;
    let api = Application::register(&app, json!({"client_id": API, "grant_types": ["client_credentials"]})).await;
    assert_eq!(api.id, API);
    for (named, of) in [("resource", API), ("resource", "HTTPS://API.example:443/invoices"), ("audience", API)] {
        let begun = client.begin(&[("scope", scope), (named, of)]);
        let code = begun.go(&app, &mut browser).await.query("code");
        let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
        let access = tokens["access_token"].as_str().unwrap();
        assert_eq!(claims(&tokens["access_token"])["aud"], json!(API), "{named}={of}");
        let asked = app.request(Method::POST, "/oauth2/introspect").form(&[("token", access)]);
        let plain = app.send(asked.basic_auth(API, Some(&api.secret))).await;
        assert_eq!((plain.status, &plain.body["active"]), (200, &json!(true)), "its id was not encoded");
        let encoded: String = url::form_urlencoded::byte_serialize(API.as_bytes()).collect();
        let asked = app.request(Method::POST, "/oauth2/introspect").form(&[("token", access)]);
        assert_eq!(app.send(asked.basic_auth(encoded, Some(&api.secret))).await.body["active"], true);
        let narrower = [
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
            (named, "https://api.example/other"),
        ];
        assert_eq!(client.token(&app, &narrower).await.error(), "invalid_target");
    }
    let begun = client.begin(&[("scope", scope), ("audience", "https://elsewhere.example")]);
    let refused = begun.go(&app, &mut browser).await;
    assert_eq!(refused.query("error"), "invalid_target", "it was ignored silently");
    assert!(refused.query("error_description").contains("audience"));
    let admin = app.administrator().await;
    let shown =
        app.get(&format!("/admin/clients/{}", API.replace(':', "%3A").replace('/', "%2F")), &admin.access).await;
    assert_eq!((shown.status, &shown.body["client_id"]), (200, &json!(API)));
}

async fn a_request_without_a_person_is_told_what_is_missing(app: App) {
    let (mut signed_in, _) = signed_in(&app).await;
    let mut nobody = Browser::default();
    let client = Application::first_party(&app).await;
    let asked = Application::register(&app, json!({"first_party": false})).await;
    let told = async |client: &Application, browser: &mut Browser, changes: &[(&str, &str)]| {
        client.begin(changes).go(&app, browser).await.query("error")
    };
    let none = ("prompt", "none");
    assert_eq!(told(&client, &mut nobody, &[none]).await, "login_required");
    assert_eq!(told(&client, &mut signed_in, &[none]).await, "");
    assert_eq!(told(&client, &mut signed_in, &[none, ("max_age", "0")]).await, "login_required");
    assert_eq!(told(&asked, &mut signed_in, &[none]).await, "consent_required");
    for (changes, error) in [
        ([("prompt", "none login"), ("nonce", "n")], "invalid_request"),
        ([("prompt", "dance"), ("nonce", "n")], "invalid_request"),
        ([("response_type", "none"), ("nonce", "n")], "unsupported_response_type"),
        ([("response_type", "token"), ("response_mode", "query")], "unsupported_response_type"),
        ([("response_type", ""), ("nonce", "n")], "invalid_request"),
        ([("code_challenge_method", "plain"), ("nonce", "n")], "invalid_request"),
        ([("code_challenge_method", "s256"), ("nonce", "n")], "invalid_request"),
        ([("code_challenge_method", ""), ("nonce", "n")], "invalid_request"),
        ([("code_challenge", ""), ("nonce", "n")], "invalid_request"),
        ([("request", "e30.e30."), ("nonce", "n")], "request_not_supported"),
        ([("request_uri", "http://169.254.169.254/"), ("nonce", "n")], "request_uri_not_supported"),
        ([("max_age", "-1"), ("nonce", "n")], "invalid_request"),
        ([("scope", ""), ("nonce", "n")], "invalid_scope"),
        ([("response_mode", "web_message"), ("nonce", "n")], "invalid_request"),
        ([("id_token_hint", "a.b.c"), ("nonce", "n")], "invalid_request"),
        ([("claims", "{"), ("nonce", "n")], "invalid_request"),
    ] {
        let back = client.begin(&changes).go(&app, &mut signed_in).await;
        assert_eq!(back.query("error"), error, "{changes:?}");
        assert_eq!((back.query("state").as_str(), back.query("iss")), ("a state", app.service.issuer.clone()));
    }
}

/// OAuth 2.0 Multiple Response Type Encoding Practices, section 2.1.
async fn a_client_that_reads_the_fragment_finds_its_refusal_there(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    for (changes, error) in [
        (vec![("response_mode", "fragment")], "invalid_request"),
        (vec![("response_mode", "fragment"), ("scope", "")], "invalid_request"),
        (vec![("response_mode", "fragment"), ("prompt", "none login")], "invalid_request"),
        (vec![("response_mode", "fragment"), ("response_type", "token")], "unsupported_response_type"),
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("response_type", "id_token token")], "unsupported_response_type"),
        (vec![("response_type", "code id_token")], "unsupported_response_type"),
    ] {
        let back = client.begin(&changes).go(&app, &mut browser).await;
        let location = back.location();
        assert!(location.query().is_none() && location.fragment().is_some(), "{changes:?}: {location}");
        let told = ["error", "state", "iss", "code"].map(|name| back.told(name));
        assert_eq!(told, [error, "a state", &app.service.issuer, ""], "{changes:?}");
        assert!(!back.told("error_description").is_empty(), "{location}");
    }
}

async fn a_sign_in_waits_in_the_browser_that_began_it(app: App) {
    let person = app.somebody().await;
    let client = Application::first_party(&app).await;
    let (mut browser, mut other) = (Browser::default(), Browser::default());
    let begun = client.begin(&[]);
    let page = begun.go(&app, &mut browser).await;
    assert_eq!(page.location().path(), "/sign-in");
    let resume = format!("/oauth2/authorize?flow={}", page.query("flow"));
    assert_eq!(browser.get(&app, &resume).await.location().path(), "/sign-in", "nobody has signed in yet");
    other.sign_in(&app, &person, PASSWORD).await;
    assert_eq!(other.get(&app, &resume).await.code(), "flow_over", "a stranger's browser cannot take it over");
    browser.sign_in(&app, &person, PASSWORD).await;
    let code = browser.get(&app, &resume).await.query("code");
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.status, 200);
    assert_eq!(browser.get(&app, &resume).await.code(), "flow_over", "it is answered once");
}

async fn a_pushed_request_is_good_until_it_is_answered_for_its_client_alone(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let (client, other) = (Application::first_party(&app).await, Application::first_party(&app).await);
    let begun = client.begin(&[]);
    let path = async |id: &str| {
        let push = app.request(Method::POST, "/oauth2/par").basic_auth(&client.id, Some(&client.secret));
        let pushed = app.send(push.form(&begun.parameters)).await;
        assert_eq!(pushed.status, 201, "{}", pushed.text);
        let uri = pushed.body["request_uri"].as_str().unwrap().replace(':', "%3A");
        format!("/oauth2/authorize?client_id={id}&request_uri={uri}")
    };
    assert_eq!(browser.get(&app, &path(&other.id).await).await.status, 400, "it is another client's");
    let own = path(&client.id).await;
    // A stranger who looks at the address, and a page that is loaded again, use nothing up.
    for _ in 0..2 {
        assert_eq!(Browser::default().get(&app, &own).await.location().path(), "/sign-in");
    }
    let code = browser.get(&app, &own).await.query("code");
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.status, 200);
    assert_eq!(browser.get(&app, &own).await.status, 400, "it was answered");
    let late = path(&client.id).await;
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(browser.get(&app, &late).await.status, 400, "it is over");
    let stranger = app.request(Method::POST, "/oauth2/par").basic_auth(&client.id, Some("wrong"));
    assert_eq!(app.send(stranger.form(&begun.parameters)).await.error(), "invalid_client");
}

async fn a_pushed_request_that_was_opened_twice_is_answered_once(app: App) {
    let person = app.somebody().await;
    let client = Application::register(&app, json!({"first_party": false})).await;
    for (decision, error) in [("allow", ""), ("refuse", "access_denied")] {
        let push = app.request(Method::POST, "/oauth2/par").basic_auth(&client.id, Some(&client.secret));
        let pushed = app.send(push.form(&client.begin(&[("prompt", "consent")]).parameters)).await;
        let uri = pushed.body["request_uri"].as_str().unwrap().replace(':', "%3A");
        let path = format!("/oauth2/authorize?client_id={}&request_uri={uri}", client.id);
        let mut browser = Browser::default();
        browser.sign_in(&app, &person, PASSWORD).await;
        let (one, two) = (browser.get(&app, &path).await, browser.get(&app, &path).await);
        let decided = browser.submit(&app, &one, &[("decision", decision)]).await;
        let answered = browser.follow(&app, &decided).await;
        assert_eq!((answered.query("error").as_str(), answered.query("code").is_empty()), (error, !error.is_empty()));
        let decided = browser.submit(&app, &two, &[("decision", "allow")]).await;
        let second = browser.follow(&app, &decided).await;
        assert_eq!((second.status, second.code()), (400, "flow_over"), "{decision}");
        assert_eq!(browser.get(&app, &path).await.status, 400);
    }
}

async fn c10_a_client_gives_its_tokens_back(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let (client, other) = (Application::first_party(&app).await, Application::first_party(&app).await);
    let begun = client.begin(&[("scope", "openid account")]);
    let code = begun.go(&app, &mut browser).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
    let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    let revoke = async |client: &Application, token: &str| {
        let request = app.request(Method::POST, "/oauth2/revoke").basic_auth(&client.id, Some(&client.secret));
        app.send(request.form(&[("token", token)])).await.status
    };
    assert_eq!(
        (revoke(&client, "unknown").await, revoke(&other, refresh).await, revoke(&other, access).await),
        (200, 200, 200)
    );
    let again = client.refresh(&app, refresh).await;
    assert_eq!(again.status, 200, "another client's word changes nothing");
    let newer = again.body["access_token"].as_str().unwrap();
    assert_eq!(revoke(&client, access).await, 200);
    app.is_refused(access).await;
    assert_eq!(app.get("/auth/me", newer).await.status, 200, "an access token goes alone");
    assert_eq!(revoke(&client, again.body["refresh_token"].as_str().unwrap()).await, 200);
    app.is_refused(newer).await;
    assert_eq!(client.refresh(&app, again.body["refresh_token"].as_str().unwrap()).await.error(), "invalid_grant");
    let nobody = app.request(Method::POST, "/oauth2/revoke").form(&[("token", access)]);
    let nobody = app.send(nobody).await;
    assert_eq!((nobody.status, nobody.error()), (401, "invalid_client"));
    let by_get = app.request(Method::GET, &format!("/oauth2/revoke?token={access}"));
    assert_eq!(app.send(by_get.basic_auth(&client.id, Some(&client.secret))).await.status, 405);
}

async fn c11_a_token_is_active_to_those_that_it_concerns(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let (client, other) = (Application::first_party(&app).await, Application::first_party(&app).await);
    let tokens = client.tokens(&app, &mut browser).await;
    let inspect = async |client: &Application, token: &str| {
        let request = app.request(Method::POST, "/oauth2/introspect").basic_auth(&client.id, Some(&client.secret));
        app.send(request.form(&[("token", token)])).await.body
    };
    let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    let said = inspect(&client, access).await;
    assert_eq!(
        (&said["active"], &said["sub"], &said["client_id"]),
        (&json!(true), &json!(person.id), &json!(client.id))
    );
    assert_eq!(inspect(&client, refresh).await["active"], true);
    let inactive = json!({"active": false});
    for (asker, token) in [(&other, access), (&other, refresh), (&client, "x"), (&client, &person.access)] {
        assert_eq!(inspect(asker, token).await, inactive);
    }
    let unproved = app.request(Method::POST, "/oauth2/introspect").form(&[("token", access)]);
    assert_eq!(app.send(unproved).await.status, 401);
    let public = Application::register(&app, json!({"token_endpoint_auth_method": "none"})).await;
    let named = [("token", access), ("client_id", &public.id)];
    assert_eq!(app.send(app.request(Method::POST, "/oauth2/introspect").form(&named)).await.status, 401);
    // One that was taken back, and one that is over.
    let newer = client.refresh(&app, refresh).await.body;
    let (revoked, refresh) = (newer["access_token"].as_str().unwrap(), newer["refresh_token"].as_str().unwrap());
    let revoke = app.request(Method::POST, "/oauth2/revoke").basic_auth(&client.id, Some(&client.secret));
    assert_eq!(app.send(revoke.form(&[("token", revoked)])).await.status, 200);
    app.is_refused(revoked).await;
    assert_eq!(inspect(&client, revoked).await, inactive);
    assert_eq!(inspect(&client, access).await["active"], true);
    app.clock.advance(Duration::from_secs(301));
    assert_eq!(inspect(&client, access).await, inactive);
    assert_eq!(inspect(&client, refresh).await["active"], true);
    let session: SessionId = claims(&tokens["access_token"])["sid"].as_str().unwrap().parse().unwrap();
    app.service.sessions.end(session, EndReason::Logout).await.unwrap();
    assert_eq!((inspect(&client, access).await, inspect(&client, refresh).await), (inactive.clone(), inactive));
}

async fn another_proof_makes_the_login_young_and_the_cookie_new(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let before = claims(&client.tokens(&app, &mut browser).await["id_token"]);
    app.clock.advance(Duration::from_secs(1000));
    let begun = client.begin(&[("max_age", "900")]);
    let page = begun.go(&app, &mut browser).await;
    assert_eq!(page.location().path(), "/sign-in");
    let old = browser.clone();
    browser.sign_in(&app, &person, PASSWORD).await;
    let code = browser.get(&app, &format!("/oauth2/authorize?flow={}", page.query("flow"))).await.query("code");
    let after = claims(&client.exchange(&app, &code, &begun.verifier).await.body["id_token"]);
    assert_eq!(before["sid"], after["sid"], "the same session goes on");
    assert!(after["auth_time"].as_i64().unwrap() >= before["auth_time"].as_i64().unwrap() + 1000);
    assert_eq!(begun.go(&app, &mut old.clone()).await.location().path(), "/sign-in", "the cookie of before is dead");
}

async fn the_end_of_the_session_ends_what_clients_were_given(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let begun = client.begin(&[("scope", "openid account")]);
    let waiting = begun.go(&app, &mut browser).await.query("code");
    let tokens = client.tokens(&app, &mut browser).await;
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(app.call(Method::POST, "/auth/logout-all", &person.access).await.status, 200);
    let started = std::time::Instant::now();
    while app.get("/oauth2/userinfo", access).await.status != 401 {
        assert!(started.elapsed() < Duration::from_secs(5), "the token is still taken");
    }
    assert_eq!(client.refresh(&app, tokens["refresh_token"].as_str().unwrap()).await.error(), "invalid_grant");
    assert_eq!(client.exchange(&app, &waiting, &begun.verifier).await.error(), "invalid_grant");
    assert_eq!(begun.go(&app, &mut browser).await.location().path(), "/sign-in");
}

async fn b23_what_one_person_has_allowed_counts_for_nobody_else_in_the_same_browser(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let other = app.somebody().await;
    let client = Application::register(&app, json!({"first_party": false})).await;
    let asked = client.begin(&[]).go(&app, &mut browser).await;
    assert_eq!(asked.location().path(), "/consent");
    let id = person.id.to_string();
    let allowed = browser.submit(&app, &asked, &[("account", &id), ("decision", "allow")]).await;
    assert_eq!(allowed.location().path(), "/oauth2/authorize");
    browser.sign_in(&app, &other, PASSWORD).await;
    assert_eq!(browser.follow(&app, &allowed).await.location().path(), "/consent", "they are asked themselves");
    let foreign = browser.submit(&app, &asked, &[("account", &id), ("decision", "allow")]).await;
    assert_eq!(browser.follow(&app, &foreign).await.location().path(), "/consent");
    let id = other.id.to_string();
    let allowed = browser.submit(&app, &asked, &[("account", &id), ("decision", "allow")]).await;
    assert!(!browser.follow(&app, &allowed).await.query("code").is_empty());
}

async fn hl10_an_image_begins_no_sign_in_and_gets_no_code(app: App) {
    let (mut browser, client) = (Browser::default(), Application::first_party(&app).await);
    browser.sign_in(&app, &app.somebody().await, PASSWORD).await;
    let path = client.begin(&[]).path();
    for (part, status) in [("image", 403), ("script", 403), ("style", 403), ("document", 303), ("iframe", 303)] {
        let request = app.request(Method::GET, &path).header("sec-fetch-dest", part);
        let answer = browser.send(&app, request).await;
        assert_eq!(answer.status, status, "{part}: {}", answer.text);
    }
}

/// A browser brings no `SameSite=Lax` cookie along with a form of another site's.
async fn a_request_by_another_sites_form_finds_who_is_signed_in(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let begun = client.begin(&[("prompt", "none")]);
    let by_form = |fields: &[(String, String)]| app.request(Method::POST, "/oauth2/authorize").form(fields);
    let sent_on = app.send(by_form(&begun.parameters)).await;
    assert_eq!((sent_on.location().path(), sent_on.headers.get("set-cookie")), ("/oauth2/authorize", None));
    assert!(!sent_on.location().as_str().contains(&client.id), "what was sent by a form stands in no address");
    let back = browser.follow(&app, &sent_on).await;
    assert_eq!(client.exchange(&app, &back.query("code"), &begun.verifier).await.status, 200);
    let guest = Browser::default().follow(&app, &sent_on).await;
    assert_eq!(guest.query("error"), "login_required");
    let again = browser.follow(&app, &sent_on).await;
    assert!(!again.query("code").is_empty(), "whoever loads the address again begins again");
    app.clock.advance(Duration::from_secs(600));
    assert_eq!(browser.follow(&app, &sent_on).await.code(), "flow_over");
    let unknown = [("client_id".to_owned(), "nobody".to_owned())];
    assert_eq!(app.send(by_form(&unknown)).await.code(), "invalid_request");
}

async fn a_client_that_may_have_less_than_before_gets_less(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = Application::register(&app, json!({"first_party": false})).await;
    let may_have = async |scope: &str| {
        let metadata = json!({
            "client_id": client.id, "client_secret": client.secret, "first_party": false, "scope": scope,
        });
        Application::register(&app, metadata).await;
    };
    let id = person.id.to_string();
    let allow = [("account", &*id), ("decision", "allow")];
    let ask = || client.begin(&[("scope", "openid cart orders"), ("prompt", "consent")]);

    let begun = ask();
    let asked = begun.go(&app, &mut browser).await;
    let allowed = browser.submit(&app, &asked, &allow).await;
    let code = browser.follow(&app, &allowed).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await;
    assert_eq!(tokens.body["scope"], "cart openid orders");
    let unused = ask();
    let asked = unused.go(&app, &mut browser).await;
    let allowed = browser.submit(&app, &asked, &allow).await;
    let unused_code = browser.follow(&app, &allowed).await.query("code");
    let waiting = ask();
    let asked = waiting.go(&app, &mut browser).await;

    may_have("openid cart").await;
    let refresh = tokens.body["refresh_token"].as_str().unwrap().to_owned();
    let wider = [("grant_type", "refresh_token"), ("refresh_token", &*refresh), ("scope", "orders")];
    assert_eq!(client.token(&app, &wider).await.error(), "invalid_scope");
    let elsewhere =
        [("grant_type", "refresh_token"), ("refresh_token", &*refresh), ("resource", "urn:roam:order-service")];
    assert_eq!(client.token(&app, &elsewhere).await.error(), "invalid_target");
    let refreshed = client.refresh(&app, &refresh).await;
    let by_code = client.exchange(&app, &unused_code, &unused.verifier).await;
    let page = browser.follow(&app, &asked).await;
    assert!(page.text.contains("your basket") && !page.text.contains("your orders"), "{}", page.text);
    let allowed = browser.submit(&app, &asked, &allow).await;
    let code = browser.follow(&app, &allowed).await.query("code");
    let by_consent = client.exchange(&app, &code, &waiting.verifier).await;
    for tokens in [&refreshed, &by_code, &by_consent] {
        assert_eq!(tokens.body["scope"], "cart openid", "{}", tokens.text);
        assert_eq!(claims(&tokens.body["access_token"])["aud"], json!(["auth-service", "cart-service"]));
    }

    let waiting = client.begin(&[("scope", "openid cart"), ("prompt", "consent")]);
    let asked = waiting.go(&app, &mut browser).await;
    may_have("account").await;
    let refresh = refreshed.body["refresh_token"].as_str().unwrap();
    assert_eq!(client.refresh(&app, refresh).await.error(), "invalid_grant");
    let sent_on = browser.follow(&app, &asked).await;
    assert_eq!(browser.follow(&app, &sent_on).await.query("error"), "invalid_scope");
}
