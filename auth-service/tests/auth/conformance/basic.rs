//! oidcc-basic-certification-test-plan.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Suite, modules};
use crate::browser::{Application, Browser};

modules!(
    oidcc_server,
    oidcc_response_type_missing,
    oidcc_idtoken_signature,
    oidcc_idtoken_unsigned,
    oidcc_userinfo_get,
    oidcc_userinfo_post_header,
    oidcc_userinfo_post_body,
    oidcc_ensure_request_without_nonce_succeeds_for_code_flow,
    oidcc_scope_profile,
    oidcc_scope_email,
    oidcc_scope_address,
    oidcc_scope_phone,
    oidcc_scope_all,
    oidcc_alternate_happy_flow,
    oidcc_display_page,
    oidcc_display_popup,
    oidcc_prompt_login,
    oidcc_prompt_none_not_logged_in,
    oidcc_prompt_none_logged_in,
    oidcc_max_age_1,
    oidcc_max_age_10000,
    oidcc_ensure_request_with_unknown_parameter_succeeds,
    oidcc_id_token_hint,
    oidcc_login_hint,
    oidcc_ui_locales,
    oidcc_claims_locales,
    oidcc_ensure_request_with_acr_values_succeeds,
    oidcc_codereuse,
    oidcc_codereuse_30seconds,
    oidcc_ensure_registered_redirect_uri,
    oidcc_ensure_post_request_succeeds,
    oidcc_server_client_secret_post,
    oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported,
    oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported,
    oidcc_claims_essential,
    oidcc_ensure_request_object_with_redirect_uri,
    oidcc_refresh_token,
    oidcc_ensure_request_with_valid_pkce_succeeds,
);

async fn oidcc_server(mut suite: Suite) {
    let (tokens, id) = suite.sign_in(&[]).await;
    assert_eq!((&id["sub"], &id["nonce"]), (&json!(suite.person.id), &json!("a nonce")));
    assert!(id["exp"].as_i64() > id["iat"].as_i64());
    suite.userinfo(&tokens).await;
}

async fn oidcc_response_type_missing(mut suite: Suite) {
    let (_, answer) = suite.authorize(&[("response_type", "")]).await;
    assert!(["invalid_request", "unsupported_response_type"].contains(&&*answer.query("error")));
    assert_eq!(answer.query("state"), "a state");
}

async fn oidcc_idtoken_signature(mut suite: Suite) {
    let (tokens, _) = suite.sign_in(&[]).await;
    let header = jsonwebtoken::decode_header(tokens["id_token"].as_str().unwrap()).unwrap();
    assert_eq!(header.alg, jsonwebtoken::Algorithm::RS256, "the default (Registration, section 2)");
    for alg in ["ES256", "EdDSA"] {
        suite.client = Application::register(&suite.app, json!({"id_token_signed_response_alg": alg})).await;
        suite.sign_in(&[]).await;
    }
}

/// Only for clients that ask for it; here nobody may.
async fn oidcc_idtoken_unsigned(suite: Suite) {
    let admin = suite.app.administrator().await;
    let wanted = json!({"redirect_uris": ["https://app.example/cb"], "id_token_signed_response_alg": "none"});
    let request = suite.app.request(Method::POST, "/admin/clients").bearer_auth(&admin.access).json(&wanted);
    assert!((400..500).contains(&suite.app.send(request).await.status));
}

async fn oidcc_userinfo_get(mut suite: Suite) {
    let (tokens, _) = suite.sign_in(&[]).await;
    suite.userinfo(&tokens).await;
}

async fn oidcc_userinfo_post_header(mut suite: Suite) {
    let (tokens, _) = suite.sign_in(&[]).await;
    let answer = suite.app.call(Method::POST, "/oauth2/userinfo", tokens["access_token"].as_str().unwrap()).await;
    assert_eq!((answer.status, &answer.body["sub"]), (200, &json!(suite.person.id)));
}

async fn oidcc_userinfo_post_body(mut suite: Suite) {
    let (tokens, _) = suite.sign_in(&[]).await;
    let form = [("access_token", tokens["access_token"].as_str().unwrap())];
    let answer = suite.app.send(suite.app.request(Method::POST, "/oauth2/userinfo").form(&form)).await;
    assert_eq!((answer.status, &answer.body["sub"]), (200, &json!(suite.person.id)));
}

async fn oidcc_ensure_request_without_nonce_succeeds_for_code_flow(mut suite: Suite) {
    let (_, id) = suite.sign_in(&[("nonce", "")]).await;
    assert_eq!(id["nonce"], Value::Null);
}

async fn claims_of(suite: &mut Suite, scope: &str) -> Value {
    let (tokens, _) = suite.sign_in(&[("scope", scope)]).await;
    suite.userinfo(&tokens).await
}

async fn oidcc_scope_profile(mut suite: Suite) {
    let told = claims_of(&mut suite, "openid profile").await;
    assert!(told["name"].is_string() && told["updated_at"].is_i64() && told["email"].is_null());
}

async fn oidcc_scope_email(mut suite: Suite) {
    let told = claims_of(&mut suite, "openid email").await;
    assert_eq!((&told["email"], &told["email_verified"]), (&json!(suite.person.email), &Value::Null));
    assert!(told["name"].is_null());
}

async fn oidcc_scope_address(mut suite: Suite) {
    assert!(claims_of(&mut suite, "openid address").await["address"].is_object());
}

async fn oidcc_scope_phone(mut suite: Suite) {
    assert!(claims_of(&mut suite, "openid phone").await["phone_number"].is_string());
}

async fn oidcc_scope_all(mut suite: Suite) {
    let told = claims_of(&mut suite, "openid profile email address phone").await;
    assert!(["name", "email", "address", "phone_number"].iter().all(|name| !told[*name].is_null()));
}

/// Another order of the words, and a second client whose redirect URI has a query.
async fn oidcc_alternate_happy_flow(mut suite: Suite) {
    let uri = "https://app.example/cb?from=here";
    suite.client = Application::register(&suite.app, json!({"redirect_uris": [uri]})).await;
    suite.client.redirect_uri = uri.to_owned();
    let (begun, answer) = suite.authorize(&[("scope", "email openid"), ("response_mode", "query")]).await;
    assert_eq!(answer.query("from"), "here");
    suite.finish(&begun, answer).await;
}

async fn oidcc_display_page(mut suite: Suite) {
    suite.sign_in(&[("display", "page")]).await;
}

async fn oidcc_display_popup(mut suite: Suite) {
    suite.sign_in(&[("display", "popup")]).await;
}

async fn oidcc_prompt_login(mut suite: Suite) {
    let (_, before) = suite.sign_in(&[]).await;
    suite.app.clock.advance(Duration::from_secs(2));
    let (begun, page) = suite.authorize(&[("prompt", "login")]).await;
    let answer = suite.sign_in_again(&page).await;
    let (_, after) = suite.finish(&begun, answer).await;
    assert!(after["auth_time"].as_i64() > before["auth_time"].as_i64());
    assert_eq!(before["sub"], after["sub"]);
}

async fn oidcc_prompt_none_not_logged_in(mut suite: Suite) {
    suite.browser = Browser::default();
    let (_, answer) = suite.authorize(&[("prompt", "none")]).await;
    assert_eq!((answer.query("error").as_str(), answer.query("state").as_str()), ("login_required", "a state"));
}

async fn oidcc_prompt_none_logged_in(mut suite: Suite) {
    let (_, before) = suite.sign_in(&[]).await;
    let (_, after) = suite.sign_in(&[("prompt", "none")]).await;
    assert_eq!((&before["sub"], &before["auth_time"]), (&after["sub"], &after["auth_time"]));
}

async fn oidcc_max_age_1(mut suite: Suite) {
    let (_, before) = suite.sign_in(&[]).await;
    suite.app.clock.advance(Duration::from_secs(2));
    let (begun, page) = suite.authorize(&[("max_age", "1")]).await;
    let answer = suite.sign_in_again(&page).await;
    let (_, after) = suite.finish(&begun, answer).await;
    assert!(after["auth_time"].as_i64() > before["auth_time"].as_i64());
}

async fn oidcc_max_age_10000(mut suite: Suite) {
    let (_, before) = suite.sign_in(&[]).await;
    suite.app.clock.advance(Duration::from_secs(2));
    let (_, after) = suite.sign_in(&[("max_age", "10000")]).await;
    assert_eq!((&before["auth_time"], before["auth_time"].is_i64()), (&after["auth_time"], true));
}

async fn oidcc_ensure_request_with_unknown_parameter_succeeds(mut suite: Suite) {
    suite.sign_in(&[("extra", "foobar")]).await;
}

async fn oidcc_id_token_hint(mut suite: Suite) {
    let (tokens, before) = suite.sign_in(&[]).await;
    let hint = ("id_token_hint", tokens["id_token"].as_str().unwrap());
    suite.app.clock.advance(Duration::from_secs(3600));
    let (_, after) = suite.sign_in(&[("prompt", "none"), hint]).await;
    assert_eq!(before["sub"], after["sub"]);
    // Somebody else is signed in: the one that the hint is about is not.
    let other = suite.app.somebody().await;
    suite.browser.sign_in(&suite.app, &other, crate::harness::PASSWORD).await;
    let (_, answer) = suite.authorize(&[("prompt", "none"), hint]).await;
    assert_eq!(answer.query("error"), "login_required");
}

async fn oidcc_login_hint(mut suite: Suite) {
    suite.sign_in(&[("login_hint", "buffy@example.com")]).await;
}

async fn oidcc_ui_locales(mut suite: Suite) {
    suite.sign_in(&[("ui_locales", "zh se")]).await;
}

async fn oidcc_claims_locales(mut suite: Suite) {
    suite.sign_in(&[("claims_locales", "se")]).await;
}

async fn oidcc_ensure_request_with_acr_values_succeeds(mut suite: Suite) {
    let (_, id) = suite.sign_in(&[("acr_values", "1 2")]).await;
    assert!(id["acr"].is_string());
}

async fn reused_after(mut suite: Suite, wait: Duration) {
    let (begun, answer) = suite.authorize(&[]).await;
    let code = answer.query("code");
    let (tokens, _) = suite.finish(&begun, answer).await;
    suite.app.clock.advance(wait);
    let again = suite.client.exchange(&suite.app, &code, &begun.verifier).await;
    assert_eq!((again.status, again.error()), (400, "invalid_grant"));
    let started = std::time::Instant::now();
    while suite.app.get("/oauth2/userinfo", tokens["access_token"].as_str().unwrap()).await.status != 401 {
        assert!(started.elapsed() < Duration::from_secs(5), "the access token lives on");
    }
}

async fn oidcc_codereuse(suite: Suite) {
    reused_after(suite, Duration::ZERO).await;
}

async fn oidcc_codereuse_30seconds(suite: Suite) {
    reused_after(suite, Duration::from_secs(30)).await;
}

async fn oidcc_ensure_registered_redirect_uri(mut suite: Suite) {
    let (_, answer) = suite.authorize(&[("redirect_uri", "https://app.example/cb/other")]).await;
    assert_eq!((answer.status, answer.headers.get("location")), (400, None), "{}", answer.text);
}

async fn oidcc_ensure_post_request_succeeds(mut suite: Suite) {
    let begun = suite.client.begin(&[]);
    let request = suite.app.request(Method::POST, "/oauth2/authorize").form(&begun.parameters);
    let sent_on = suite.app.send(request).await;
    let answer = suite.browser.follow(&suite.app, &sent_on).await;
    suite.finish(&begun, answer).await;
}

async fn oidcc_server_client_secret_post(mut suite: Suite) {
    let metadata = json!({"token_endpoint_auth_method": "client_secret_post"});
    suite.client = Application::register(&suite.app, metadata).await;
    let (begun, answer) = suite.authorize(&[]).await;
    let code = answer.query("code");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &suite.client.redirect_uri),
        ("code_verifier", &begun.verifier),
        ("client_id", &suite.client.id),
        ("client_secret", &suite.client.secret),
    ];
    let tokens = suite.app.send(suite.app.request(Method::POST, "/oauth2/token").form(&form)).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    suite.verified(tokens.body["id_token"].as_str().unwrap()).await;
}

async fn oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported(mut suite: Suite) {
    let (_, answer) = suite.authorize(&[("request_uri", "https://app.example/request")]).await;
    assert_eq!(
        (answer.query("error").as_str(), answer.query("state").as_str()),
        ("request_uri_not_supported", "a state")
    );
}

async fn oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported(mut suite: Suite) {
    let (_, answer) = suite.authorize(&[("request", "eyJhbGciOiJub25lIn0.e30.")]).await;
    assert_eq!((answer.query("error").as_str(), answer.query("state").as_str()), ("request_not_supported", "a state"));
}

async fn oidcc_claims_essential(mut suite: Suite) {
    let claims = r#"{"userinfo": {"name": {"essential": true}}, "id_token": {"email": {"essential": true}}}"#;
    let (tokens, id) = suite.sign_in(&[("scope", "openid"), ("claims", claims)]).await;
    let told = suite.userinfo(&tokens).await;
    assert!(told["name"].is_string() && told["email"].is_null(), "{told}");
    assert_eq!(id["email"], json!(suite.person.email));
}

/// Request objects are not taken, and what one says changes nothing.
async fn oidcc_ensure_request_object_with_redirect_uri(mut suite: Suite) {
    let (_, answer) = suite
        .authorize(&[("request", "eyJhbGciOiJub25lIn0.eyJyZWRpcmVjdF91cmkiOiJodHRwczovL2V2aWwuZXhhbXBsZSJ9.")])
        .await;
    assert_eq!(answer.location().host_str(), Some("app.example"));
    assert_eq!(answer.query("error"), "request_not_supported");
}

async fn oidcc_refresh_token(mut suite: Suite) {
    let (tokens, before) = suite.sign_in(&[("scope", "openid offline_access")]).await;
    let answer = suite.client.refresh(&suite.app, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_ne!(answer.body["access_token"], tokens["access_token"]);
    let after = suite.verified(answer.body["id_token"].as_str().unwrap()).await;
    for name in ["iss", "sub", "aud", "auth_time"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    let other = Application::first_party(&suite.app).await;
    let stolen = other.refresh(&suite.app, answer.body["refresh_token"].as_str().unwrap()).await;
    assert_eq!(stolen.error(), "invalid_grant");
}

async fn oidcc_ensure_request_with_valid_pkce_succeeds(mut suite: Suite) {
    suite.sign_in(&[]).await;
    suite.sign_in(&[("code_challenge", ""), ("code_challenge_method", "")]).await;
}
