//! Consent covers exactly what is given: attacks HC1 to HC6 of `attacks.md`, over every way in.

use std::time::{Duration, Instant};

use auth_service::clients::Scope;
use auth_service::clients::registration::RegistrationMode;
use auth_service::clients::registry;
use auth_service::consent_epoch::ConsentEpoch;
use auth_service::grants::room::{MOST_OF_CLIENT, MOST_OF_SESSION};
use auth_service::grants::{self, NewGrant};
use auth_service::scopes::Words;
use auth_service::storage::audit::By;
use auth_service::storage::clients as stored_clients;
use auth_service::storage::consents;
use auth_service::storage::grants::{self as stored_grants, GrantId};
use auth_service::storage::outbox;
use auth_service::{Config, clients};
use reqwest::Method;
use serde_json::{Value, json};
use shared::session::SessionId;

use crate::browser::{Application, Begun, Browser, REDIRECT_URI, hidden};
use crate::harness::{Answer, App, PASSWORD, Person, on_both};

on_both! {
    hc1_a_claim_is_told_where_its_scope_is_registered_and_allowed_whichever_way_it_is_asked_for,
    hc1_a_claim_is_not_told_to_a_client_that_lost_its_scope_or_a_token_without_it,
    hc1_a_device_gets_no_claim_and_nobody_one_without_openid,
    hc2_a_decision_counts_for_what_was_shown_alone with super::registering,
    hc2_a_device_gets_what_was_shown_alone with super::registering,
    hc2_a_client_that_changes_after_the_decision_gets_no_more with super::registering,
    hc2_an_account_is_selected_and_signed_out_as_shown_alone with super::registering,
    hc2_a_code_goes_to_no_address_that_is_registered_no_more,
    hc3_a_code_becomes_no_grant_once_the_consent_is_taken_back,
    hc3_a_devices_answer_becomes_no_grant_once_the_access_is_taken_back,
    hc3_a_decision_is_over_once_the_consent_is_taken_back,
    hc3_a_code_becomes_no_grant_once_the_client_was_disabled_or_made_anew,
    hc3_a_withdrawal_at_the_same_moment_leaves_nothing,
    hc4_a_native_application_is_allowed_each_time_anew,
    hc5_no_refusal_leads_to_a_client_that_nobody_approved_unasked with super::registering,
    hc5_an_approval_is_of_what_was_looked_at with super::registering,
    hc5_a_sign_out_leads_to_no_client_that_nobody_approved_unasked with super::registering,
    hc6_a_client_ends_its_own_grants_and_no_others,
    hc6_many_at_once_leave_as_many_as_may_be,
    hc6_a_client_that_loses_its_last_grant_is_told,
}

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const BYE: &str = "https://app.example/bye";

fn registering(config: &mut Config) {
    config.registration.mode = RegistrationMode::Token;
    config.registration.scope = "openid profile email offline_access cart orders".parse::<Scope>().unwrap();
}

async fn signed_in(app: &App) -> (Browser, Person) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(app, &person, PASSWORD).await;
    (browser, person)
}

async fn third_party(app: &App, changes: Value) -> Application {
    let mut metadata = json!({"first_party": false});
    metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    Application::register(app, metadata).await
}

/// Presses "Allow" on the page that the browser is sent to.
async fn allow(app: &App, browser: &mut Browser, asked: &Answer) -> Answer {
    assert_eq!(asked.location().path(), "/consent", "{}", asked.text);
    let allowed = browser.submit(app, asked, &[("decision", "allow")]).await;
    browser.follow(app, &allowed).await
}

fn id_claims(tokens: &Value) -> Value {
    use base64::Engine as _;
    let payload = tokens["id_token"].as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn userinfo(app: &App, tokens: &Value) -> Value {
    let answer = app.get("/oauth2/userinfo", tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

/// A client that came by dynamic registration, and the token by which it changes that.
struct OnItsOwn {
    application: Application,
    token: String,
}

impl OnItsOwn {
    fn metadata(changes: Value) -> Value {
        let mut metadata = json!({
            "client_name": "On its own", "redirect_uris": [REDIRECT_URI], "scope": "openid",
            "grant_types": ["authorization_code", "refresh_token", DEVICE],
        });
        metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        metadata
    }

    async fn register(app: &App, changes: Value) -> Self {
        let admin = app.administrator().await;
        let token = app.request(Method::POST, "/admin/initial-access-tokens").bearer_auth(&admin.access);
        let token = app.send(token.json(&json!({"uses": 1, "expires_in": 60}))).await.body;
        let request = app.request(Method::POST, "/oauth2/register");
        let request = request.bearer_auth(token["initial_access_token"].as_str().unwrap());
        let made = app.send(request.json(&Self::metadata(changes))).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let text = |name: &str| made.body[name].as_str().unwrap().to_owned();
        let (id, secret) = (text("client_id"), text("client_secret"));
        let application = Application { id, secret, redirect_uri: REDIRECT_URI.to_owned() };
        Self { application, token: text("registration_access_token") }
    }

    async fn change(&mut self, app: &App, changes: Value) {
        let mut metadata = Self::metadata(changes);
        metadata["client_id"] = json!(self.application.id);
        let request = app.request(Method::PUT, &format!("/oauth2/register/{}", self.application.id));
        let changed = app.send(request.bearer_auth(&self.token).json(&metadata)).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        changed.body["registration_access_token"].as_str().unwrap().clone_into(&mut self.token);
    }
}

/// The ways in which a browser brings a request.
#[derive(Debug, Clone, Copy)]
enum WayIn {
    Get,
    Post,
    Pushed,
}

impl WayIn {
    const ALL: [Self; 3] = [Self::Get, Self::Post, Self::Pushed];

    async fn go(self, app: &App, browser: &mut Browser, client: &Application, begun: &Begun) -> Answer {
        match self {
            Self::Get => begun.go(app, browser).await,
            Self::Post => {
                let sent = app.send(app.request(Method::POST, "/oauth2/authorize").form(&begun.parameters)).await;
                browser.follow(app, &sent).await
            }
            Self::Pushed => {
                let push = app.request(Method::POST, "/oauth2/par").basic_auth(&client.id, Some(&client.secret));
                let pushed = app.send(push.form(&begun.parameters)).await;
                assert_eq!(pushed.status, 201, "{}", pushed.text);
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("client_id", &client.id)
                    .append_pair("request_uri", pushed.body["request_uri"].as_str().unwrap())
                    .finish();
                browser.get(app, &format!("/oauth2/authorize?{query}")).await
            }
        }
    }
}

const CLAIMS: &str = r#"{"id_token": {"email": {"essential": true}, "name": null, "roles": null},
                         "userinfo": {"email": null, "name": {"essential": true}}}"#;

async fn hc1_a_claim_is_told_where_its_scope_is_registered_and_allowed_whichever_way_it_is_asked_for(app: App) {
    for way in WayIn::ALL {
        let (mut browser, person) = signed_in(&app).await;
        // The person has allowed the scope alone, once.
        let client = third_party(&app, json!({"scope": "openid email"})).await;
        let plain = client.begin(&[("scope", "openid")]);
        let asked = way.go(&app, &mut browser, &client, &plain).await;
        let code = allow(&app, &mut browser, &asked).await.query("code");
        let tokens = client.exchange(&app, &code, &plain.verifier).await.body;
        assert!(id_claims(&tokens)["email"].is_null() && userinfo(&app, &tokens).await["email"].is_null());

        let silent = client.begin(&[("scope", "openid"), ("claims", CLAIMS), ("prompt", "none")]);
        let back = way.go(&app, &mut browser, &client, &silent).await;
        assert_eq!(back.query("error"), "consent_required", "{way:?}");

        let begun = client.begin(&[("scope", "openid"), ("claims", CLAIMS)]);
        let asked = way.go(&app, &mut browser, &client, &begun).await;
        let page = browser.follow(&app, &asked).await;
        assert!(page.text.contains("see your email address"), "{way:?}: {}", page.text);
        assert!(!page.text.contains("see your name"), "{way:?}: the client may not have it: {}", page.text);
        let code = allow(&app, &mut browser, &asked).await.query("code");
        let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
        assert_eq!(tokens["scope"], "openid");
        let refreshed = client.refresh(&app, tokens["refresh_token"].as_str().unwrap()).await.body;
        for tokens in [&tokens, &refreshed] {
            let (id, told) = (id_claims(tokens), userinfo(&app, tokens).await);
            assert_eq!((&id["email"], &told["email"]), (&json!(person.email), &json!(person.email)), "{way:?}");
            for odd in ["name", "roles", "updated_at", "email_verified"] {
                assert!(id[odd].is_null() && told[odd].is_null(), "{way:?} {odd}: {id} {told}");
            }
        }
        let consent = consents::of(&app.service.database, person.id, &client.id).await.unwrap().unwrap();
        assert_eq!(consent.scope.to_string(), "email openid", "{way:?}");
        assert!(!way.go(&app, &mut browser, &client, &begun).await.query("code").is_empty(), "it is asked once");

        // One of the platform's own asks for nothing, but gets no more than it is registered for.
        let own = Application::register(&app, json!({"scope": "openid email"})).await;
        let begun = own.begin(&[("scope", "openid"), ("claims", CLAIMS), ("prompt", "none")]);
        let code = way.go(&app, &mut browser, &own, &begun).await.query("code");
        let tokens = own.exchange(&app, &code, &begun.verifier).await.body;
        let (id, told) = (id_claims(&tokens), userinfo(&app, &tokens).await);
        assert_eq!((&id["email"], &told["email"]), (&json!(person.email), &json!(person.email)));
        assert!(id["name"].is_null() && told["name"].is_null(), "{way:?}: {id} {told}");
    }
}

async fn hc1_a_claim_is_not_told_to_a_client_that_lost_its_scope_or_a_token_without_it(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = Application::register(&app, json!({"scope": "openid profile email"})).await;
    let may_have = async |scope: &str| {
        let metadata = json!({"client_id": client.id, "client_secret": client.secret, "scope": scope});
        Application::register(&app, metadata).await;
    };
    let begin = || client.begin(&[("scope", "openid email"), ("claims", CLAIMS)]);
    let (begun, waiting) = (begin(), begin());
    let code = begun.go(&app, &mut browser).await.query("code");
    let waiting_code = waiting.go(&app, &mut browser).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
    assert_eq!(id_claims(&tokens)["email"], json!(person.email));
    // Asked for without the word, a token is without its claims.
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let narrower = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("scope", "openid")];
    let narrower = client.token(&app, &narrower).await.body;
    let (id, told) = (id_claims(&narrower), userinfo(&app, &narrower).await);
    assert!(id["email"].is_null() && told["email"].is_null(), "{id} {told}");
    assert!(id["name"].is_string() && told["name"].is_string(), "{id} {told}");

    may_have("openid").await;
    assert!(userinfo(&app, &tokens).await["email"].is_null(), "a token of before tells no more either");
    assert!(userinfo(&app, &tokens).await["name"].is_null());
    let refreshed = client.refresh(&app, narrower["refresh_token"].as_str().unwrap()).await.body;
    let late = client.exchange(&app, &waiting_code, &waiting.verifier).await.body;
    for tokens in [&refreshed, &late] {
        let (id, told) = (id_claims(tokens), userinfo(&app, tokens).await);
        assert!(["email", "name"].iter().all(|name| id[*name].is_null() && told[*name].is_null()), "{id} {told}");
    }
    may_have("openid profile email").await;
    let told = userinfo(&app, &late).await;
    assert!(told["email"].is_null() && told["name"].is_null(), "what it was given does not grow: {told}");
}

async fn hc1_a_device_gets_no_claim_and_nobody_one_without_openid(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let metadata = json!({"grant_types": ["authorization_code", DEVICE], "scope": "openid email cart"});
    let client = third_party(&app, metadata).await;
    let device = begin_device(&app, &client, &[("scope", "openid"), ("claims", CLAIMS)]).await;
    let page = device_page(&app, &mut browser, &device).await;
    assert!(!page.text.contains("see your email address"), "{}", page.text);
    assert_eq!(decide(&app, &mut browser, &page).await.status, 303);
    let tokens = poll(&app, &client, &device).await.body;
    let (id, told) = (id_claims(&tokens), userinfo(&app, &tokens).await);
    assert!(id["email"].is_null() && told["email"].is_null(), "{id} {told}");

    let begun = client.begin(&[("scope", "cart"), ("claims", CLAIMS)]);
    let asked = begun.go(&app, &mut browser).await;
    let page = browser.follow(&app, &asked).await;
    assert!(!page.text.contains("see your email address"), "{}", page.text);
    let code = allow(&app, &mut browser, &asked).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
    assert!(tokens["id_token"].is_null(), "{tokens}");
}

async fn begin_device(app: &App, client: &Application, form: &[(&str, &str)]) -> Value {
    let ask = app.request(Method::POST, "/oauth2/device_authorization").basic_auth(&client.id, Some(&client.secret));
    let device = app.send(ask.form(form)).await;
    assert_eq!(device.status, 200, "{}", device.text);
    device.body
}

/// The page on which the person decides.
async fn device_page(app: &App, browser: &mut Browser, device: &Value) -> Answer {
    let code = device["user_code"].as_str().unwrap();
    browser.submit_to(app, "/device", "/device", &[("user_code", code)]).await
}

async fn decide(app: &App, browser: &mut Browser, page: &Answer) -> Answer {
    let fields = hidden(page, &[]);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).chain([("decision", "allow")]).collect();
    browser.send(app, app.request(Method::POST, "/device").form(&fields)).await
}

async fn poll(app: &App, client: &Application, device: &Value) -> Answer {
    client.token(app, &[("grant_type", DEVICE), ("device_code", device["device_code"].as_str().unwrap())]).await
}

/// Sends the form of a page that was opened before.
async fn send_form(app: &App, browser: &mut Browser, asked: &Answer, page: &Answer, fields: &[(&str, &str)]) -> Answer {
    let hidden = hidden(page, fields);
    let fields: Vec<_> = fields.iter().copied().chain(hidden.iter().map(|(name, value)| (*name, &**value))).collect();
    let location = asked.location();
    let to = &location[url::Position::BeforePath..];
    browser.send(app, app.request(Method::POST, to).form(&fields)).await
}

/// What a client may change of itself between the page and the press of a button.
fn changes() -> Vec<(&'static str, Value)> {
    let both = json!([REDIRECT_URI, "https://other.example/cb"]);
    vec![
        ("a wider scope", json!({"scope": "openid email cart"})),
        ("another name", json!({"scope": "openid", "client_name": "Your bank"})),
        ("another address", json!({"scope": "openid", "redirect_uris": both})),
        ("another policy", json!({"scope": "openid", "policy_uri": "https://evil.example/"})),
        ("other terms", json!({"scope": "openid", "tos_uri": "https://evil.example/"})),
        ("another logo", json!({"scope": "openid", "logo_uri": "https://evil.example/l.png"})),
    ]
}

async fn hc2_a_decision_counts_for_what_was_shown_alone(app: App) {
    for way in WayIn::ALL {
        for (what, change) in changes() {
            let (mut browser, person) = signed_in(&app).await;
            let mut client = OnItsOwn::register(&app, json!({"scope": "openid email cart"})).await;
            let begun = client.application.begin(&[("scope", "openid email cart"), ("claims", CLAIMS)]);
            let asked = way.go(&app, &mut browser, &client.application, &begun).await;
            // The page lists one line.
            client.change(&app, json!({"scope": "openid"})).await;
            let page = browser.follow(&app, &asked).await;
            assert!(!page.text.contains("see your email") && !page.text.contains("your basket"), "{}", page.text);
            client.change(&app, change).await;
            let sent = send_form(&app, &mut browser, &asked, &page, &[("decision", "allow")]).await;
            assert_eq!(sent.status, 409, "{way:?}, {what}: {}", sent.text);
            assert!(sent.text.contains("has changed"), "{}", sent.text);
            let consent = consents::of(&app.service.database, person.id, &client.application.id).await.unwrap();
            assert_eq!(consent, None, "{way:?}, {what}");
            let resumed = browser.get(&app, &format!("/oauth2/authorize?flow={}", asked.query("flow"))).await;
            assert_eq!(resumed.location().path(), "/consent", "{way:?}, {what}");
            // What is shown again can be allowed, and is what is written down.
            let wide = what == "a wider scope";
            assert_eq!(sent.text.contains("your basket"), wide, "{way:?}, {what}: {}", sent.text);
            let allowed = send_form(&app, &mut browser, &asked, &sent, &[("decision", "allow")]).await;
            let code = browser.follow(&app, &allowed).await.query("code");
            let tokens = client.application.exchange(&app, &code, &begun.verifier).await.body;
            assert_eq!(tokens["scope"], if wide { "cart email openid" } else { "openid" }, "{way:?}, {what}");
            let consent = consents::of(&app.service.database, person.id, &client.application.id).await.unwrap();
            assert_eq!(json!(consent.unwrap().scope.to_string()), tokens["scope"]);
        }
    }
    // Without what was shown, or with somebody else's, a decision counts for nothing.
    let (mut browser, person) = signed_in(&app).await;
    let client = OnItsOwn::register(&app, json!({})).await;
    let asked = client.application.begin(&[("scope", "openid")]).go(&app, &mut browser).await;
    let page = browser.follow(&app, &asked).await;
    for odd in ["", "x", &"A".repeat(43)] {
        let sent = send_form(&app, &mut browser, &asked, &page, &[("decision", "allow"), ("shown", odd)]).await;
        assert_eq!(sent.status, 409, "{odd:?}: {}", sent.text);
    }
    assert_eq!(consents::of(&app.service.database, person.id, &client.application.id).await.unwrap(), None);
}

async fn hc2_a_device_gets_what_was_shown_alone(app: App) {
    for (what, change) in changes() {
        let (mut browser, _) = signed_in(&app).await;
        let mut client = OnItsOwn::register(&app, json!({"scope": "openid email cart"})).await;
        let device = begin_device(&app, &client.application, &[("scope", "openid email cart")]).await;
        client.change(&app, json!({"scope": "openid"})).await;
        let page = device_page(&app, &mut browser, &device).await;
        assert!(!page.text.contains("see your email") && !page.text.contains("your basket"), "{}", page.text);
        client.change(&app, change).await;
        let sent = decide(&app, &mut browser, &page).await;
        assert_eq!(sent.status, 409, "{what}: {}", sent.text);
        assert_eq!(poll(&app, &client.application, &device).await.error(), "authorization_pending", "{what}");
        let wide = what == "a wider scope";
        assert_eq!(sent.text.contains("your basket"), wide, "{what}: {}", sent.text);
        assert_eq!(decide(&app, &mut browser, &sent).await.status, 303, "{what}");
        app.clock.advance(Duration::from_secs(6));
        let tokens = poll(&app, &client.application, &device).await.body;
        assert_eq!(tokens["scope"], if wide { "cart email openid" } else { "openid" }, "{what}");
    }
    // It widens after the decision: what was allowed was one word.
    let (mut browser, _) = signed_in(&app).await;
    let mut client = OnItsOwn::register(&app, json!({"scope": "openid email cart"})).await;
    let device = begin_device(&app, &client.application, &[("scope", "openid email cart")]).await;
    client.change(&app, json!({"scope": "openid"})).await;
    let page = device_page(&app, &mut browser, &device).await;
    assert_eq!(decide(&app, &mut browser, &page).await.status, 303);
    client.change(&app, json!({"scope": "openid email cart"})).await;
    assert_eq!(poll(&app, &client.application, &device).await.body["scope"], "openid");
    // Somebody else signs in between the page and the decision.
    let device = begin_device(&app, &client.application, &[("scope", "openid")]).await;
    let page = device_page(&app, &mut browser, &device).await;
    let (mut others, other) = signed_in(&app).await;
    browser.cookies.insert("roam_session".to_owned(), others.cookies["roam_session"].clone());
    let sent = decide(&app, &mut browser, &page).await;
    assert!(sent.status == 409 && sent.text.contains(&other.email), "{}", sent.text);
    assert_eq!(poll(&app, &client.application, &device).await.error(), "authorization_pending");
    assert_eq!(others.get(&app, "/account").await.status, 200);
}

async fn hc2_a_client_that_changes_after_the_decision_gets_no_more(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let mut client = OnItsOwn::register(&app, json!({"scope": "openid email cart"})).await;
    let begun = client.application.begin(&[("scope", "openid email cart"), ("prompt", "consent")]);
    let asked = begun.go(&app, &mut browser).await;
    client.change(&app, json!({"scope": "openid"})).await;
    // Between the decision and the code it becomes wider, or another: the person is asked anew.
    for (what, change) in changes() {
        client.change(&app, json!({"scope": "openid"})).await;
        let allowed = browser.submit(&app, &asked, &[("decision", "allow")]).await;
        assert_eq!(allowed.location().path(), "/oauth2/authorize", "{what}");
        client.change(&app, change).await;
        let resumed = browser.follow(&app, &allowed).await;
        assert_eq!(resumed.location().path(), "/consent", "{what}");
    }
    // Between the code and the token: the code is worth what was allowed.
    client.change(&app, json!({"scope": "openid"})).await;
    let code = allow(&app, &mut browser, &asked).await.query("code");
    client.change(&app, json!({"scope": "openid email cart"})).await;
    let tokens = client.application.exchange(&app, &code, &begun.verifier).await.body;
    assert_eq!(tokens["scope"], "openid", "{tokens}");
    let wider = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let wider = client.application.token(&app, &[wider[0], wider[1], ("scope", "openid email")]).await;
    assert_eq!(wider.error(), "invalid_scope");
    let consent = consents::of(&app.service.database, person.id, &client.application.id).await.unwrap().unwrap();
    assert_eq!(consent.scope.to_string(), "openid");
    let silent = client.application.begin(&[("scope", "openid email"), ("prompt", "none")]);
    let page = silent.go(&app, &mut browser).await;
    assert!(page.status == 200 && page.text.contains("consent_required"), "{}", page.text);
}

async fn hc2_an_account_is_selected_and_signed_out_as_shown_alone(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    app.clock.advance(Duration::from_secs(1));
    let mut client = OnItsOwn::register(&app, json!({})).await;
    let begun = client.application.begin(&[("scope", "openid"), ("prompt", "select_account")]);
    let asked = begun.go(&app, &mut browser).await;
    assert_eq!(asked.location().path(), "/select-account");
    let page = browser.follow(&app, &asked).await;
    client.change(&app, json!({"client_name": "Your bank"})).await;
    let account = person.id.to_string();
    let sent = send_form(&app, &mut browser, &asked, &page, &[("account", &account)]).await;
    assert!(sent.status == 409 && sent.text.contains("Your bank"), "{}", sent.text);
    let sent = send_form(&app, &mut browser, &asked, &sent, &[("account", &account)]).await;
    assert_eq!(browser.follow(&app, &sent).await.location().path(), "/consent");

    // Whoever is asked to sign out is the one who does; and the address must still be the client's.
    let leave = json!({"post_logout_redirect_uris": [BYE]});
    let application = Application::register(&app, leave).await;
    let query =
        format!("/oauth2/logout?client_id={}&post_logout_redirect_uri=https%3A%2F%2Fapp.example%2Fbye", application.id);
    let asked = browser.get(&app, &query).await;
    let page = browser.follow(&app, &asked).await;
    assert!(page.text.contains("app.example"), "{}", page.text);
    let (other, _) = signed_in(&app).await;
    let mut planted = browser.clone();
    planted.cookies.insert("roam_session".to_owned(), other.cookies["roam_session"].clone());
    let sent = send_form(&app, &mut planted, &asked, &page, &[]).await;
    assert_eq!(sent.location().path(), "/oauth2/logout/confirm", "they are asked themselves");
    assert_eq!(planted.get(&app, "/account").await.status, 200);
    let gone =
        json!({"client_id": application.id, "client_secret": application.secret, "post_logout_redirect_uris": []});
    Application::register(&app, gone).await;
    let sent = send_form(&app, &mut browser, &asked, &page, &[]).await;
    assert_eq!(sent.location().path(), "/signed-out");
}

async fn hc2_a_code_goes_to_no_address_that_is_registered_no_more(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = third_party(&app, json!({})).await;
    let change = async |changes: Value| {
        let mut metadata = json!({"client_id": client.id, "client_secret": client.secret, "first_party": false});
        metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Application::register(&app, metadata).await
    };
    let unproved = client.begin(&[("code_challenge", ""), ("code_challenge_method", "")]);
    let asked = unproved.go(&app, &mut browser).await;
    let code = allow(&app, &mut browser, &asked).await.query("code");
    let begun = client.begin(&[("prompt", "consent")]);
    let asked = begun.go(&app, &mut browser).await;
    change(json!({"redirect_uris": ["https://new.example/cb"]})).await;
    assert_eq!(client.exchange(&app, &code, "").await.error(), "invalid_grant");
    assert_eq!(browser.follow(&app, &asked).await.code(), "flow_over");
    let resume = format!("/oauth2/authorize?flow={}", asked.query("flow"));
    assert_eq!(browser.get(&app, &resume).await.code(), "flow_over");
    // A code without a proof was for a client that has a secret.
    change(json!({})).await;
    let code = unproved.go(&app, &mut browser).await.query("code");
    change(json!({"token_endpoint_auth_method": "none"})).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", client.id.as_str()),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
    ];
    let stolen = app.send(app.request(Method::POST, "/oauth2/token").form(&form)).await;
    assert_eq!(stolen.error(), "invalid_grant", "{}", stolen.text);
}

async fn withdraw(app: &App, person: &Person, client: &Application) -> bool {
    grants::withdraw(&app.service, person.id, &client.id, &By::SERVICE).await.unwrap()
}

async fn hc3_a_code_becomes_no_grant_once_the_consent_is_taken_back(app: App) {
    for way in WayIn::ALL {
        for first_party in [false, true] {
            let (mut browser, person) = signed_in(&app).await;
            let client = Application::register(&app, json!({"first_party": first_party})).await;
            let begun = client.begin(&[]);
            let answer = way.go(&app, &mut browser, &client, &begun).await;
            let code = if first_party { answer } else { allow(&app, &mut browser, &answer).await }.query("code");
            assert_eq!(withdraw(&app, &person, &client).await, !first_party);
            let late = client.exchange(&app, &code, &begun.verifier).await;
            assert_eq!(late.error(), "invalid_grant", "{way:?} {first_party}");
            assert!(stored_grants::open_of_user(&app.service.database, person.id).await.unwrap().is_empty());
            // What is allowed since is good.
            let answer = way.go(&app, &mut browser, &client, &begun).await;
            let code = if first_party { answer } else { allow(&app, &mut browser, &answer).await }.query("code");
            assert_eq!(client.exchange(&app, &code, &begun.verifier).await.status, 200, "{way:?} {first_party}");
        }
    }
    // Nobody leaves anything behind for a client that there is not.
    let (_, person) = signed_in(&app).await;
    for odd in ["nobody", "", "a b", &"x".repeat(41)] {
        assert!(!grants::withdraw(&app.service, person.id, odd, &By::SERVICE).await.unwrap());
        assert_eq!(consents::standing(&app.service.database, person.id, odd).await.unwrap().withdrawals, 0);
    }
}

async fn hc3_a_devices_answer_becomes_no_grant_once_the_access_is_taken_back(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = third_party(&app, json!({"grant_types": [DEVICE, "refresh_token"], "redirect_uris": []})).await;
    let device = begin_device(&app, &client, &[("scope", "openid")]).await;
    let page = device_page(&app, &mut browser, &device).await;
    assert_eq!(decide(&app, &mut browser, &page).await.status, 303);
    withdraw(&app, &person, &client).await;
    assert_eq!(poll(&app, &client, &device).await.error(), "invalid_grant");
    assert!(stored_grants::open_of_user(&app.service.database, person.id).await.unwrap().is_empty());
    let device = begin_device(&app, &client, &[("scope", "openid")]).await;
    let page = device_page(&app, &mut browser, &device).await;
    assert_eq!(decide(&app, &mut browser, &page).await.status, 303);
    assert_eq!(poll(&app, &client, &device).await.status, 200);
}

async fn hc3_a_decision_is_over_once_the_consent_is_taken_back(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = third_party(&app, json!({})).await;
    let asked = client.begin(&[]).go(&app, &mut browser).await;
    let allowed = browser.submit(&app, &asked, &[("decision", "allow")]).await;
    assert!(withdraw(&app, &person, &client).await);
    assert_eq!(browser.follow(&app, &allowed).await.location().path(), "/consent", "they are asked anew");
    assert_eq!(consents::of(&app.service.database, person.id, &client.id).await.unwrap(), None);
}

async fn hc3_a_code_becomes_no_grant_once_the_client_was_disabled_or_made_anew(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let admin = app.administrator().await;
    let client = third_party(&app, json!({"grant_types": ["authorization_code", "refresh_token", DEVICE]})).await;
    let path = format!("/admin/clients/{}", client.id);
    let disable = async |disabled: bool| {
        let mut shown = app.get(&path, &admin.access).await.body;
        shown["disabled"] = json!(disabled);
        let request = app.request(Method::PUT, &path).bearer_auth(&admin.access).json(&shown);
        assert_eq!(app.send(request).await.status, 200);
    };
    let begun = client.begin(&[]);
    let asked = begun.go(&app, &mut browser).await;
    let code = allow(&app, &mut browser, &asked).await.query("code");
    let device = begin_device(&app, &client, &[("scope", "openid")]).await;
    let page = device_page(&app, &mut browser, &device).await;
    assert_eq!(decide(&app, &mut browser, &page).await.status, 303);
    disable(true).await;
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_client");
    disable(false).await;
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant");
    assert_eq!(poll(&app, &client, &device).await.error(), "invalid_grant");

    let code = begun.go(&app, &mut browser).await.query("code");
    registry::delete(&app.service, &client.id, &By::SERVICE).await.unwrap();
    let again = json!({"client_id": client.id, "client_secret": client.secret, "first_party": false});
    Application::register(&app, again).await;
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant", "it is another client");
    assert!(stored_grants::open_of_user(&app.service.database, person.id).await.unwrap().is_empty());
}

async fn hc3_a_withdrawal_at_the_same_moment_leaves_nothing(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = third_party(&app, json!({})).await;
    for round in 0..12 {
        let begun = client.begin(&[("scope", "openid account")]);
        let asked = begun.go(&app, &mut browser).await;
        let code = allow(&app, &mut browser, &asked).await.query("code");
        let withdrawn = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            withdraw(&app, &person, &client).await
        };
        let (answer, _) = tokio::join!(client.exchange(&app, &code, &begun.verifier), withdrawn);
        assert!(stored_grants::open_of_user(&app.service.database, person.id).await.unwrap().is_empty(), "{round}");
        if answer.status == 200 {
            app.is_refused(answer.body["access_token"].as_str().unwrap()).await;
            let refresh = answer.body["refresh_token"].as_str().unwrap();
            assert_eq!(client.refresh(&app, refresh).await.error(), "invalid_grant", "{round}");
        } else {
            assert_eq!(answer.error(), "invalid_grant", "{}", answer.text);
        }
    }
}

async fn hc4_a_native_application_is_allowed_each_time_anew(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let uris =
        json!(["http://127.0.0.1/cb", "http://[::1]/cb", "com.example.app:/cb", "https://localhost/cb", REDIRECT_URI]);
    let metadata = |method: &str, first_party: bool| {
        json!({"application_type": "native", "token_endpoint_auth_method": method, "redirect_uris": uris,
               "first_party": first_party})
    };
    for first_party in [false, true] {
        let client = Application::register(&app, metadata("none", first_party)).await;
        for uri in ["http://127.0.0.1:51004/cb", "http://[::1]:7/cb", "com.example.app:/cb", "https://localhost/cb"] {
            let at = |prompt: &'static str| client.begin(&[("redirect_uri", uri), ("prompt", prompt)]);
            for _ in 0..2 {
                assert_eq!(at("none").go(&app, &mut browser).await.query("error"), "consent_required", "{uri}");
                let asked = at("").go(&app, &mut browser).await;
                assert!(!allow(&app, &mut browser, &asked).await.query("code").is_empty(), "{uri}");
            }
            // By POST too.
            let sent = app.send(app.request(Method::POST, "/oauth2/authorize").form(&at("none").parameters)).await;
            assert_eq!(browser.follow(&app, &sent).await.query("error"), "consent_required", "{uri}");
        }
        // Whom the web has given the address, or who proves who it is, is asked for once.
        let claimed = client.begin(&[("redirect_uri", REDIRECT_URI), ("prompt", "none")]);
        assert!(!claimed.go(&app, &mut browser).await.query("code").is_empty());
        let proved = Application::register(&app, metadata("client_secret_basic", first_party)).await;
        let begun = proved.begin(&[("redirect_uri", "http://127.0.0.1:51004/cb")]);
        let answer = begun.go(&app, &mut browser).await;
        if !first_party {
            allow(&app, &mut browser, &answer).await;
        }
        assert!(!begun.go(&app, &mut browser).await.query("code").is_empty());
    }
}

/// Where the page between leads, if it is one.
pub(crate) fn leads_to(page: &Answer) -> String {
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.headers.get("location").is_none() && page.text.contains("Leave for another site?"), "{}", page.text);
    let (_, rest) = page.text.split_once("<a class=\"button secondary\" href=\"").unwrap();
    rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
}

async fn hc5_no_refusal_leads_to_a_client_that_nobody_approved_unasked(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = OnItsOwn::register(&app, json!({})).await.application;
    for (changes, error) in [
        (vec![("scope", "nothing")], "invalid_scope"),
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("code_challenge_method", "plain")], "invalid_request"),
        (vec![("claims", "{")], "invalid_request"),
        (vec![("request", "e30.e30.")], "request_not_supported"),
        (vec![("scope", "openid"), ("prompt", "none")], "consent_required"),
        (vec![("scope", "openid"), ("prompt", "none login")], "invalid_request"),
    ] {
        let begun = client.begin(&changes);
        for way in [WayIn::Get, WayIn::Post] {
            for mut browser in [browser.clone(), Browser::default()] {
                let page = way.go(&app, &mut browser, &client, &begun).await;
                let to = url::Url::parse(&leads_to(&page)).unwrap();
                let told: std::collections::HashMap<_, _> = to.query_pairs().into_owned().collect();
                assert!(told["error"] == error || told["error"] == "login_required", "{changes:?}: {to}");
                assert_eq!((to.host_str(), told["state"].as_str()), (Some("app.example"), "a state"));
                assert!(
                    page.text.contains("<bdi>app.example</bdi>") && page.text.contains("On its own"),
                    "{}",
                    page.text
                );
                assert_eq!(page.headers["cache-control"], "no-store");
                assert!(page.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
            }
        }
        // A frame takes nobody anywhere, and could not be answered in.
        for (destination, asks) in [("iframe", false), ("document", true), ("empty", true)] {
            let request = app.request(Method::GET, &begun.path()).header("sec-fetch-dest", destination);
            let answer = browser.send(&app, request).await;
            assert_eq!(answer.status == 200, asks, "{destination}: {}", answer.text);
        }
    }
    let posted = client.begin(&[("scope", "nothing"), ("response_mode", "form_post"), ("ui_locales", "zh")]);
    let page = posted.go(&app, &mut browser).await;
    assert!(page.status == 200 && page.text.contains("要前往其他网站吗"), "{}", page.text);
    assert!(
        page.text.contains("action=\"https://app.example/cb\"") && !page.text.contains("data-submit"),
        "{}",
        page.text
    );
    // A person who refuses has seen where it leads.
    let asked = client.begin(&[("scope", "openid")]).go(&app, &mut browser).await;
    let refused = browser.submit(&app, &asked, &[("decision", "refuse")]).await;
    assert_eq!(browser.follow(&app, &refused).await.query("error"), "access_denied");
}

async fn hc5_an_approval_is_of_what_was_looked_at(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let admin = app.administrator().await;
    let mut client = OnItsOwn::register(&app, json!({})).await;
    let invalid = client.application.begin(&[("scope", "nothing")]);
    let path = format!("/admin/clients/{}", client.application.id);
    let shown = app.get(&path, &admin.access).await.body;
    assert_eq!((&shown["approved"], &shown["registered_itself"]), (&json!(false), &json!(true)));
    let put = async |approved: Value| {
        let mut body = app.get(&path, &admin.access).await.body;
        body["approved"] = approved;
        let request = app.request(Method::PUT, &path).bearer_auth(&admin.access).json(&body);
        app.send(request).await.body["approved"].clone()
    };
    assert_eq!(put(Value::Null).await, false, "left out, it stays as it is");
    assert_eq!(put(json!(true)).await, true);
    assert_eq!(put(Value::Null).await, true);
    assert_eq!(invalid.go(&app, &mut browser).await.query("error"), "invalid_scope");
    // It changes nothing that people see, and then something.
    client.change(&app, json!({"contacts": ["ops@app.example"]})).await;
    assert_eq!(invalid.go(&app, &mut browser).await.query("error"), "invalid_scope");
    client.change(&app, json!({"redirect_uris": [REDIRECT_URI, "https://evil.example/cb"]})).await;
    leads_to(&invalid.go(&app, &mut browser).await);
    let client_id = &client.application.id;
    assert!(registry::approve(&app.service, client_id, &By::COMMAND_LINE).await.unwrap().approved);
    assert_eq!(invalid.go(&app, &mut browser).await.query("error"), "invalid_scope");
    // An administrator's own are approved, unless that is taken from them.
    let made = app.request(Method::POST, "/admin/clients").bearer_auth(&admin.access);
    let made = app.send(made.json(&json!({"redirect_uris": [REDIRECT_URI]}))).await.body;
    assert_eq!(made["approved"], true);
    let waits = app.request(Method::POST, "/admin/clients").bearer_auth(&admin.access);
    let waits = app.send(waits.json(&json!({"redirect_uris": [REDIRECT_URI], "approved": false}))).await.body;
    assert_eq!(waits["approved"], false);
    let kept = clients::find(&app.service, waits["client_id"].as_str().unwrap()).await.unwrap().unwrap();
    assert!(!kept.approved);
}

async fn hc5_a_sign_out_leads_to_no_client_that_nobody_approved_unasked(app: App) {
    // The client has an ID token of somebody of its own.
    let (mut accomplice, _) = signed_in(&app).await;
    let client = OnItsOwn::register(&app, json!({"post_logout_redirect_uris": [BYE]})).await.application;
    let begun = client.begin(&[("scope", "openid")]);
    let asked = begun.go(&app, &mut accomplice).await;
    let code = allow(&app, &mut accomplice, &asked).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("id_token_hint", tokens["id_token"].as_str().unwrap())
        .append_pair("post_logout_redirect_uri", BYE)
        .finish();
    let path = format!("/oauth2/logout?{query}");
    let mut guest = Browser::default();
    assert_eq!(leads_to(&guest.get(&app, &path).await), BYE);
    let (mut victim, _) = signed_in(&app).await;
    let asked = victim.get(&app, &path).await;
    assert_eq!(asked.location().path(), "/oauth2/logout/confirm");
    assert!(victim.follow(&app, &asked).await.text.contains("app.example"));
    registry::approve(&app.service, &client.id, &By::SERVICE).await.unwrap();
    assert_eq!(guest.get(&app, &path).await.headers["location"], BYE);
}

async fn open_of(app: &App, session: &str, client: &str) -> Vec<stored_grants::Grant> {
    let session = session.parse::<SessionId>().unwrap();
    let mut open = stored_grants::open_of_session(&app.service.database, session).await.unwrap();
    open.retain(|grant| grant.client_id == client);
    open
}

async fn hc6_a_client_ends_its_own_grants_and_no_others(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let (other, greedy) = (Application::first_party(&app).await, third_party(&app, json!({})).await);
    let others = other.tokens(&app, &mut browser).await;
    let session = id_claims(&others)["sid"].as_str().unwrap().to_owned();
    let begun = greedy.begin(&[("scope", "openid account")]);
    let asked = begun.go(&app, &mut browser).await;
    allow(&app, &mut browser, &asked).await;
    let mut given = Vec::new();
    for _ in 0..MOST_OF_CLIENT + 20 {
        app.clock.advance(Duration::from_millis(1));
        let begun = greedy.begin(&[("scope", "openid account"), ("prompt", "none")]);
        let code = begun.go(&app, &mut browser).await.query("code");
        let tokens = greedy.exchange(&app, &code, &begun.verifier).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text);
        given.push(tokens.body);
    }
    assert_eq!(
        other.refresh(&app, others["refresh_token"].as_str().unwrap()).await.status,
        200,
        "nobody else loses any"
    );
    assert_eq!(app.get("/auth/me", &person.access).await.status, 200);
    assert_eq!(
        open_of(&app, &session, &greedy.id).await.len(),
        MOST_OF_CLIENT,
        "and what was too much has ended in SQL"
    );
    for (number, tokens) in given.iter().enumerate() {
        let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
        if number < 20 {
            app.is_refused(access).await;
            assert_eq!(greedy.refresh(&app, refresh).await.error(), "invalid_grant", "{number}");
        } else {
            assert_eq!(app.get("/auth/me", access).await.status, 200, "{number}");
        }
    }
    let newest = given.last().unwrap()["refresh_token"].as_str().unwrap();
    assert_eq!(greedy.refresh(&app, newest).await.status, 200);
    let audit = app.audit_of(person.id).await;
    assert_eq!(audit[&("end_grant".to_owned(), "done".to_owned())], 20);
    let waiting = outbox::page(&app.service.database, outbox::Which::Waiting, None, 10).await.unwrap();
    assert!(waiting.is_empty(), "a word of the session would sign the person out of the newest");
}

async fn hc6_many_at_once_leave_as_many_as_may_be(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let (other, greedy) = (Application::first_party(&app).await, Application::first_party(&app).await);
    let others = other.tokens(&app, &mut browser).await;
    let session = id_claims(&others)["sid"].as_str().unwrap().to_owned();
    let mut codes = Vec::new();
    for _ in 0..MOST_OF_CLIENT + 24 {
        let begun = greedy.begin(&[]);
        codes.push((begun.go(&app, &mut browser).await.query("code"), begun.verifier));
    }
    let exchanges = codes.iter().map(|(code, verifier)| greedy.exchange(&app, code, verifier));
    let answers = crate::harness::all(exchanges).await;
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.error() == "invalid_grant"));
    let left = open_of(&app, &session, &greedy.id).await.len();
    // Each spares itself: one more may end than must.
    assert!((MOST_OF_CLIENT - 1..=MOST_OF_CLIENT).contains(&left), "{left} are left");
    let mut good = 0;
    for tokens in answers.iter().filter(|answer| answer.status == 200) {
        let refreshed = greedy.refresh(&app, tokens.body["refresh_token"].as_str().unwrap()).await;
        good += usize::from(refreshed.status == 200);
    }
    assert_eq!(good, left, "who has tokens of one that is left, and nobody else, goes on");
    let kept = app.service.sessions.load(session.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(kept.clients.len(), left + 2, "and nothing else is kept, but for the other client and the platform");
    assert_eq!(other.refresh(&app, others["refresh_token"].as_str().unwrap()).await.status, 200);
}

async fn hc6_a_client_that_loses_its_last_grant_is_told(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let listening = Application::register(&app, json!({"backchannel_logout_uri": "https://app.example/out"})).await;
    let tokens = listening.tokens(&app, &mut browser).await;
    let session: SessionId = id_claims(&tokens)["sid"].as_str().unwrap().parse().unwrap();
    let template = third_party(&app, json!({})).await;
    for number in 0..MOST_OF_SESSION {
        app.clock.advance(Duration::from_millis(1));
        let mut client = clients::find(&app.service, &template.id).await.unwrap().unwrap();
        client.id = format!("one-of-many-{number}");
        let mut transaction = app.service.database.begin().await.unwrap();
        assert!(stored_clients::insert(&mut transaction, &client).await.unwrap());
        transaction.commit().await.unwrap();
        let new = NewGrant {
            id: GrantId::random(),
            session,
            user: person.id,
            client_id: client.id.clone(),
            scope: Words::split("openid"),
            audiences: Words::default(),
            claims: "{}".to_owned(),
            dpop_jkt: None,
            refreshable: true,
            epoch: ConsentEpoch::new(0, &client),
        };
        assert!(grants::begin(&app.service, new, &By::SERVICE).await.unwrap().is_some());
    }
    let started = Instant::now();
    while listening.refresh(&app, tokens["refresh_token"].as_str().unwrap()).await.error() != "invalid_grant" {
        assert!(started.elapsed() < Duration::from_secs(5), "the oldest has made no room");
    }
    let open = stored_grants::open_of_session(&app.service.database, session).await.unwrap();
    assert_eq!(open.len(), MOST_OF_SESSION);
    let waiting = outbox::page(&app.service.database, outbox::Which::Waiting, None, 10).await.unwrap();
    assert_eq!(waiting.len(), 1, "it has nothing left in the session, and is told");
    assert_eq!(waiting[0].client_id, listening.id);
}
