//! Clients that register themselves (RFC 7591, RFC 7592): attack B25, and what OpenID's Dynamic certification plan asks of
//! a registration.

use std::time::Duration;

use auth_service::Config;
use auth_service::clients::registration::RegistrationMode;
use auth_service::clients::{self, AuthMethod};
use reqwest::Method;
use serde_json::{Value, json};

use crate::document_server::DocumentServer;
use crate::harness::{Answer, App, on_both};

on_both! {
    b25_nobody_registers_where_it_is_off,
    a_client_registers_with_an_initial_token_only with super::on,
    an_initial_token_expires_and_has_so_many_uses with super::on,
    a_client_gets_what_it_registered_with_defaults with super::on,
    b25_what_is_not_understood_is_ignored_and_what_is_wrong_is_named with super::on,
    b25_a_sector_must_hold_the_redirect_uris with super::on,
    b25_no_registration_makes_this_service_call_inside with |config| {
        super::on(config);
        config.issuer = "https://auth.example".to_owned();
    },
    a_redirect_uri_with_a_query_is_matched_with_it with super::on,
    a_client_reads_changes_and_removes_its_registration with super::on,
    a_client_cannot_manage_another with super::on,
    of_many_changes_with_one_token_one_is_made with super::on,
    b25_so_many_clients_and_no_more with |config| {
        super::on(config);
        config.registration.max_clients = 2;
    },
    b25_made_up_clients_share_one_limit with |config| {
        super::on(config);
        config.throttle.client_failures = 2;
    },
    b25_attempts_are_throttled with |config| {
        super::on(config);
        config.throttle.client_registrations_per_address = 2;
        config.throttle.client_failures = 2;
    },
    ht5_a_client_changes_its_registration_so_often_and_no_more with |config| {
        super::on(config);
        config.throttle.changes_per_owner = 2;
    },
    what_is_registered_is_in_the_audit_and_no_secret_is with super::on,
}

const REDIRECT: &str = "https://rp.example/cb";

fn on(config: &mut Config) {
    config.registration.mode = RegistrationMode::Token;
}

async fn initial_token(app: &App, uses: u32) -> String {
    let admin = app.administrator().await;
    let request = app.request(Method::POST, "/admin/initial-access-tokens").bearer_auth(&admin.access);
    let answer = app.send(request.json(&json!({"uses": uses, "expires_in": 3600}))).await;
    answer.body["initial_access_token"].as_str().unwrap().to_owned()
}

async fn register(app: &App, token: &str, body: Value) -> Answer {
    app.send(app.request(Method::POST, "/oauth2/register").bearer_auth(token).json(&body)).await
}

async fn registered(app: &App, body: Value) -> Value {
    let answer = register(app, &initial_token(app, 1).await, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.body
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_else(|| panic!("{name} is missing: {body}"))
}

fn path(client: &Value) -> String {
    format!("/oauth2/register/{}", text(client, "client_id"))
}

async fn manage(app: &App, method: Method, client: &Value, token: &str, body: Option<Value>) -> Answer {
    let request = app.request(method, &path(client)).bearer_auth(token);
    app.send(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

fn error(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["error"].as_str().unwrap_or_default())
}

async fn b25_nobody_registers_where_it_is_off(app: App) {
    let token = initial_token(&app, 1).await;
    let answer = register(&app, &token, json!({"redirect_uris": [REDIRECT]})).await;
    assert_eq!(error(&answer), (403, "access_denied"));
    let told = app.send(app.request(Method::GET, "/.well-known/openid-configuration")).await;
    assert!(told.body["issuer"].is_string() && told.body["registration_endpoint"].is_null());
    let client = json!({"client_id": "any"});
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = manage(&app, method, &client, &token, Some(json!({"redirect_uris": [REDIRECT]}))).await;
        assert_eq!(error(&answer), (403, "access_denied"));
    }
}

async fn a_client_registers_with_an_initial_token_only(app: App) {
    let body = json!({"redirect_uris": [REDIRECT]});
    let token = initial_token(&app, 1).await;
    let somebody = app.somebody().await;
    for wrong in ["", "x", &somebody.access, &token[..42]] {
        let answer = register(&app, wrong, body.clone()).await;
        assert_eq!(error(&answer), (401, "invalid_token"), "{wrong:?}");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    let none = app.send(app.request(Method::POST, "/oauth2/register").json(&body)).await;
    assert_eq!(error(&none), (401, "invalid_token"));
    let twice = app.request(Method::POST, "/oauth2/register").bearer_auth(&token).bearer_auth(&token).json(&body);
    assert_eq!(error(&app.send(twice).await), (401, "invalid_token"));
    let told = app.send(app.request(Method::GET, "/.well-known/openid-configuration")).await;
    assert_eq!(told.body["registration_endpoint"], "http://localhost:8081/oauth2/register");
    let made = register(&app, &token, body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.headers["cache-control"], "no-store");
}

async fn an_initial_token_expires_and_has_so_many_uses(app: App) {
    let body = json!({"redirect_uris": [REDIRECT]});
    let token = initial_token(&app, 3).await;
    let refused = register(&app, &token, json!({"redirect_uris": ["x"]})).await;
    assert_eq!(refused.status, 400, "what is refused uses nothing up");
    let answers = crate::harness::all((0..8).map(|_| register(&app, &token, body.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 3);
    assert!(answers.iter().all(|answer| [201, 401].contains(&answer.status)));
    let late = initial_token(&app, 3).await;
    app.clock.advance(Duration::from_secs(3601));
    assert_eq!(error(&register(&app, &late, body).await), (401, "invalid_token"));
}

async fn a_client_gets_what_it_registered_with_defaults(app: App) {
    let metadata = json!({
        "client_name": "Relying party", "redirect_uris": [REDIRECT, "https://rp.example/cb2?a=b"],
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "contacts": ["ops@rp.example"], "logo_uri": "https://rp.example/logo.png",
        "policy_uri": "https://rp.example/policy", "tos_uri": "https://rp.example/tos",
        "client_uri": "https://rp.example", "jwks_uri": "https://rp.example/jwks",
        "id_token_signed_response_alg": "ES256", "userinfo_signed_response_alg": "RS256",
        "post_logout_redirect_uris": ["https://rp.example/out"], "default_max_age": 3600, "require_auth_time": true,
    });
    let client = registered(&app, metadata.clone()).await;
    for (name, value) in metadata.as_object().unwrap() {
        assert_eq!(&client[name], value, "{name}");
    }
    assert_eq!(client["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(client["subject_type"], "public");
    assert_eq!(client["scope"], "address email offline_access openid phone profile");
    assert_eq!(client["client_secret_expires_at"], 0);
    assert!(client["client_id_issued_at"].as_i64().unwrap() > 1_700_000_000);
    let uri = format!("http://localhost:8081/oauth2/register/{}", text(&client, "client_id"));
    assert_eq!(client["registration_client_uri"], uri);
    let kept = clients::find(&app.service, text(&client, "client_id")).await.unwrap().unwrap();
    assert!(kept.secret_hash.as_ref().unwrap().is_of(text(&client, "client_secret")));
    assert!(!kept.first_party && kept.registered_itself());

    let public = json!({"redirect_uris": ["com.example.app:/cb"], "application_type": "native",
                        "token_endpoint_auth_method": "none"});
    let public = registered(&app, public).await;
    assert!(public["client_secret"].is_null() && public["client_secret_expires_at"].is_null());
}

async fn b25_what_is_not_understood_is_ignored_and_what_is_wrong_is_named(app: App) {
    let odd = json!({"redirect_uris": [REDIRECT], "software_id": "4NRB1", "client_name#de": "x", "first_party": true,
                     "client_id": "mine", "client_secret": "mine", "disabled": true, "client_name": null});
    let client = registered(&app, odd).await;
    assert_ne!((&client["client_id"], &client["client_secret"]), (&json!("mine"), &json!("mine")));
    assert!(client["first_party"].is_null() && client["software_id"].is_null());
    let kept = clients::find(&app.service, text(&client, "client_id")).await.unwrap().unwrap();
    assert!(!kept.first_party, "nobody makes themselves one of the platform's own");

    let token = initial_token(&app, 1).await;
    for (changes, code, field) in [
        (json!({"redirect_uris": []}), "invalid_redirect_uri", "/redirect_uris"),
        (json!({"redirect_uris": null}), "invalid_redirect_uri", "/redirect_uris"),
        (json!({"redirect_uris": ["https://rp.example/cb#fragment"]}), "invalid_redirect_uri", "/redirect_uris/0"),
        (json!({"redirect_uris": ["http://rp.example/cb"]}), "invalid_redirect_uri", "/redirect_uris/0"),
        (json!({"redirect_uris": ["https://*.rp.example/cb"]}), "invalid_redirect_uri", "/redirect_uris/0"),
        (json!({"redirect_uris": ["javascript:alert(1)"]}), "invalid_redirect_uri", "/redirect_uris/0"),
        (json!({"logo_uri": "javascript:alert(1)"}), "invalid_client_metadata", "/logo_uri"),
        (json!({"policy_uri": "data:text/html,x"}), "invalid_client_metadata", "/policy_uri"),
        (json!({"tos_uri": "http://rp.example/"}), "invalid_client_metadata", "/tos_uri"),
        (json!({"jwks_uri": "file:///etc/passwd"}), "invalid_client_metadata", "/jwks_uri"),
        (json!({"jwks": {"keys": [{"kty": "oct", "k": "AA"}]}}), "invalid_client_metadata", "/jwks"),
        (json!({"id_token_signed_response_alg": "none"}), "invalid_client_metadata", "/id_token_signed_response_alg"),
        (json!({"response_types": ["id_token"]}), "invalid_client_metadata", "/response_types/0"),
        (json!({"grant_types": ["client_credentials"]}), "invalid_client_metadata", "/grant_types"),
        (json!({"grant_types": ["password"]}), "invalid_client_metadata", "/grant_types/0"),
        (json!({"scope": "openid admin"}), "invalid_client_metadata", "/scope"),
        (json!({"scope": "openid cart"}), "invalid_client_metadata", "/scope"),
        (json!({"subject_type": "pairwise"}), "invalid_client_metadata", "/subject_type"),
        (json!({"client_name": "a\u{0}"}), "invalid_client_metadata", "/client_name"),
    ] {
        let mut body = json!({"redirect_uris": [REDIRECT]});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let answer = register(&app, &token, body).await;
        assert_eq!(error(&answer), (400, code), "{changes}: {}", answer.text);
        assert!(text(&answer.body, "error_description").starts_with(field), "{}", answer.text);
    }
    for (body, status) in [("[]", 400), ("{", 400), ("\"x\"", 400), ("", 400)] {
        let request = app.request(Method::POST, "/oauth2/register").bearer_auth(&token);
        let answer = app.send(request.header("content-type", "application/json").body(body)).await;
        assert_eq!(error(&answer), (status, "invalid_client_metadata"), "{body}");
    }
    let request = app.request(Method::POST, "/oauth2/register").bearer_auth(&token);
    assert_eq!(app.send(request.form(&[("redirect_uris", REDIRECT)])).await.status, 415);
    let huge = json!({"redirect_uris": [REDIRECT], "software_id": "x".repeat(70_000)});
    assert_eq!(register(&app, &token, huge).await.status, 413);
}

async fn b25_a_sector_must_hold_the_redirect_uris(app: App) {
    let server = DocumentServer::start(json!([REDIRECT])).await;
    let body = |uris: Value| json!({"redirect_uris": uris, "sector_identifier_uri": server.url()});
    let client = registered(&app, body(json!([REDIRECT]))).await;
    assert_eq!(client["sector_identifier_uri"], server.url());
    let token = initial_token(&app, 1).await;
    let refused = async |uris: Value| {
        let answer = register(&app, &token, body(uris)).await;
        assert_eq!(error(&answer), (400, "invalid_client_metadata"), "{}", answer.text);
        assert!(text(&answer.body, "error_description").starts_with("/sector_identifier_uri"));
    };
    refused(json!([REDIRECT, "https://rp.example/other"])).await;
    for (status, document) in
        [(302, "[]".to_owned()), (404, "[]".to_owned()), (200, "{}".to_owned()), (200, "x".repeat(70_000))]
    {
        server.serve(status, document);
        refused(json!([REDIRECT])).await;
    }
    let reads = server.reads();
    register(&app, "no token", body(json!([REDIRECT]))).await;
    assert_eq!(server.reads(), reads, "without a token, nothing is called");
}

async fn b25_no_registration_makes_this_service_call_inside(app: App) {
    let server = DocumentServer::start(json!([REDIRECT])).await;
    let token = initial_token(&app, 1).await;
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    for address in [
        server.url().to_owned(),
        format!("http://localhost:{port}"),
        format!("http://a.localhost:{port}"),
        format!("https://127.0.0.1:{port}"),
        format!("https://127.1:{port}"),
        format!("https://2130706433:{port}"),
        format!("https://[::1]:{port}"),
        format!("https://[::ffff:127.0.0.1]:{port}"),
        format!("https://0.0.0.0:{port}"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://169.254.169.254/latest/meta-data/".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "gopher://127.0.0.1:6379/_FLUSHALL".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let body = json!({"redirect_uris": [REDIRECT], "sector_identifier_uri": address});
        let answer = register(&app, &token, body).await;
        assert_eq!(error(&answer), (400, "invalid_client_metadata"), "{address}: {}", answer.text);
    }
    assert_eq!(server.reads(), 0);
}

async fn a_redirect_uri_with_a_query_is_matched_with_it(app: App) {
    let client = registered(&app, json!({"redirect_uris": ["https://rp.example/cb?foo=bar"]})).await;
    let client = clients::find(&app.service, text(&client, "client_id")).await.unwrap().unwrap();
    assert!(client.redirect_uri("https://rp.example/cb?foo=bar").is_some());
    for other in ["https://rp.example/cb", "https://rp.example/cb?foo=baz", "https://rp.example/cb?foo=bar&x=y"] {
        assert!(client.redirect_uri(other).is_none(), "{other}");
    }
}

async fn a_client_reads_changes_and_removes_its_registration(app: App) {
    let client = registered(&app, json!({"redirect_uris": [REDIRECT], "client_name": "One"})).await;
    let token = text(&client, "registration_access_token").to_owned();
    let read = manage(&app, Method::GET, &client, &token, None).await;
    assert_eq!((read.status, &read.body["client_name"]), (200, &json!("One")), "{}", read.text);
    assert!(read.body["client_secret"].is_null(), "it was shown once");
    assert_eq!(
        (&read.body["registration_access_token"], &read.body["registration_client_uri"]),
        (&json!(token), &client["registration_client_uri"])
    );

    let id = text(&client, "client_id");
    let change = json!({"client_id": id, "client_secret": client["client_secret"], "redirect_uris": [REDIRECT],
                        "token_endpoint_auth_method": "client_secret_post"});
    let changed = manage(&app, Method::PUT, &client, &token, Some(change.clone())).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert!(changed.body["client_name"].is_null(), "what is left out gets its default");
    let new = text(&changed.body, "registration_access_token").to_owned();
    assert_ne!(new, token);
    let old = manage(&app, Method::GET, &client, &token, None).await;
    assert_eq!(error(&old), (401, "invalid_token"), "the one before is worth nothing");
    let kept = clients::find(&app.service, id).await.unwrap().unwrap();
    assert_eq!(kept.metadata.token_endpoint_auth_method, AuthMethod::ClientSecretPost);
    assert!(kept.secret_hash.unwrap().is_of(text(&client, "client_secret")), "its secret stays");

    for odd in [
        json!({"redirect_uris": [REDIRECT]}),
        json!({"client_id": "other", "redirect_uris": [REDIRECT]}),
        json!({"client_id": id, "client_secret": "chosen", "redirect_uris": [REDIRECT]}),
        json!({"client_id": id, "redirect_uris": ["javascript:alert(1)"]}),
    ] {
        let refused = manage(&app, Method::PUT, &client, &new, Some(odd.clone())).await;
        assert_eq!(refused.status, 400, "{odd}");
    }
    assert_eq!(manage(&app, Method::DELETE, &client, &new, None).await.status, 204);
    assert!(clients::find(&app.service, id).await.unwrap().is_none());
    let gone = manage(&app, Method::GET, &client, &new, None).await;
    assert_eq!(error(&gone), (401, "invalid_token"));
}

async fn a_client_cannot_manage_another(app: App) {
    let (one, other) = (
        registered(&app, json!({"redirect_uris": [REDIRECT]})).await,
        registered(&app, json!({"redirect_uris": [REDIRECT]})).await,
    );
    let admin = app.administrator().await;
    let initial = initial_token(&app, 1).await;
    let made = app.request(Method::POST, "/admin/clients").bearer_auth(&admin.access);
    let made = app.send(made.json(&json!({"redirect_uris": [REDIRECT]}))).await.body;
    let body = json!({"client_id": one["client_id"], "redirect_uris": ["https://evil.example/"]});
    let nobody = json!({"client_id": "nobody"});
    for token in [text(&other, "registration_access_token"), text(&one, "client_secret"), &admin.access, &initial, "x"]
    {
        for client in [&one, &made, &nobody] {
            for method in [Method::GET, Method::PUT, Method::DELETE] {
                let answer = manage(&app, method.clone(), client, token, Some(body.clone())).await;
                assert_eq!(error(&answer), (401, "invalid_token"), "{method}");
            }
        }
    }
    let kept = clients::find(&app.service, text(&one, "client_id")).await.unwrap().unwrap();
    assert_eq!(kept.metadata.redirect_uris[0].as_str(), REDIRECT);
}

async fn of_many_changes_with_one_token_one_is_made(app: App) {
    let client = registered(&app, json!({"redirect_uris": [REDIRECT]})).await;
    let token = text(&client, "registration_access_token");
    let body = json!({"client_id": client["client_id"], "redirect_uris": [REDIRECT]});
    let answers =
        crate::harness::all((0..8).map(|_| manage(&app, Method::PUT, &client, token, Some(body.clone())))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().all(|answer| [200, 401].contains(&answer.status)));
}

async fn ht5_a_client_changes_its_registration_so_often_and_no_more(app: App) {
    let client = registered(&app, json!({"redirect_uris": [REDIRECT]})).await;
    let body = json!({"client_id": client["client_id"], "redirect_uris": [REDIRECT]});
    let mut token = text(&client, "registration_access_token").to_owned();
    for _ in 0..2 {
        let changed = manage(&app, Method::PUT, &client, &token, Some(body.clone())).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        token = text(&changed.body, "registration_access_token").to_owned();
    }
    let refused = manage(&app, Method::PUT, &client, &token, Some(body.clone())).await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(manage(&app, Method::GET, &client, &token, None).await.status, 200, "its token is not used up");
    let other = registered(&app, json!({"redirect_uris": [REDIRECT]})).await;
    let body = json!({"client_id": other["client_id"], "redirect_uris": [REDIRECT]});
    let token = text(&other, "registration_access_token");
    assert_eq!(manage(&app, Method::PUT, &other, token, Some(body)).await.status, 200, "each has its own");
}

async fn b25_so_many_clients_and_no_more(app: App) {
    let token = initial_token(&app, 5).await;
    let body = json!({"redirect_uris": [REDIRECT]});
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(register(&app, &token, body.clone()).await.status);
    }
    assert_eq!(statuses, [201, 201, 403, 403]);
    let made = app.service.database.begin().await;
    let mut transaction = made.unwrap();
    let count = auth_service::storage::clients::count_registered_by_themselves(&mut transaction).await.unwrap();
    assert_eq!(count, 2);
}

async fn b25_made_up_clients_share_one_limit(app: App) {
    for (number, method) in [Method::GET, Method::PUT, Method::DELETE, Method::GET].into_iter().enumerate() {
        let path = format!("/oauth2/register/invented-{number}");
        let answer = app.send(app.request(method, &path).bearer_auth("wrong").json(&json!({}))).await;
        assert_eq!(answer.status, if number < 2 { 401 } else { 429 }, "{number}: {}", answer.text);
    }
}

async fn b25_attempts_are_throttled(app: App) {
    let token = initial_token(&app, 10).await;
    let body = json!({"redirect_uris": [REDIRECT]});
    let client = register(&app, &token, body.clone()).await.body;
    for _ in 0..2 {
        assert_eq!(error(&register(&app, "x", body.clone()).await), (401, "invalid_token"));
    }
    let third = register(&app, "x", body.clone()).await;
    assert_eq!(error(&third), (429, "slow_down"));
    assert!(third.retry_after() > 0);
    assert_eq!(register(&app, &token, body).await.status, 201, "a good token has uses of its own");
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(manage(&app, Method::GET, &client, "x", None).await.status);
    }
    assert_eq!(statuses, [401, 401, 429, 429]);
    let own = text(&client, "registration_access_token");
    assert_eq!(manage(&app, Method::GET, &client, own, None).await.status, 200, "nobody is shut out by others");
}

async fn what_is_registered_is_in_the_audit_and_no_secret_is(app: App) {
    let client = registered(&app, json!({"redirect_uris": [REDIRECT]})).await;
    let token = text(&client, "registration_access_token");
    let body = json!({"client_id": client["client_id"], "redirect_uris": [REDIRECT]});
    let changed = manage(&app, Method::PUT, &client, token, Some(body)).await.body;
    manage(&app, Method::DELETE, &changed, text(&changed, "registration_access_token"), None).await;
    let admin = app.administrator().await;
    let audit = app.get("/admin/audit?limit=100", &admin.access).await;
    let of_client =
        audit.body["items"].as_array().unwrap().iter().filter(|entry| entry["detail"] == client["client_id"]);
    let acts: Vec<_> = of_client.map(|entry| (text(entry, "act"), text(entry, "actor"))).collect();
    let expected = [("delete_client", "anonymous"), ("change_client", "anonymous"), ("register_client", "anonymous")];
    assert_eq!(acts, expected);
    for secret in [token, text(&client, "client_secret")] {
        assert!(!audit.text.contains(secret) && !crate::harness::logged().contains(secret));
    }
}
