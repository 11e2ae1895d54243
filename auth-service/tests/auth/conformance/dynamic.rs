//! oidcc-dynamic-certification-test-plan: the suite's client registers itself.
#![expect(non_snake_case, reason = "a module of the suite is called so")]

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Suite, modules};
use crate::browser::{Application, REDIRECT_URI};
use crate::client_authentication::Pair;
use crate::document_server::DocumentServer;
use crate::harness::Answer;

modules!(
    oidcc_idtoken_rs256,
    oidcc_idtoken_unsigned,
    oidcc_userinfo_rs256,
    oidcc_ensure_redirect_uri_in_authorization_request,
    oidcc_redirect_uri_query_OK,
    oidcc_redirect_uri_query_mismatch,
    oidcc_redirect_uri_query_added,
    oidcc_redirect_uri_regfrag,
    oidcc_discovery_endpoint_verification,
    oidcc_server,
    oidcc_registration_logo_uri,
    oidcc_registration_policy_uri,
    oidcc_registration_tos_uri,
    oidcc_registration_jwks_uri,
    oidcc_registration_sector_uri,
    oidcc_registration_sector_bad,
    oidcc_server_rotate_keys,
    oidcc_refresh_token_rp_key_rotation,
    oidcc_request_uri_unsigned,
    oidcc_request_uri_signed_rs256,
    oidcc_ensure_request_object_with_redirect_uri,
    oidcc_refresh_token,
    oidcc_ensure_client_assertion_with_iss_aud_succeeds,
);

/// How long a new key is published before it signs.
const LEAD: Duration = Duration::from_secs(900);
/// How soon a client's keys are read again for an id that is not known.
const COOL_DOWN: Duration = Duration::from_secs(31);
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What registering a client with this metadata, and the usual where it says nothing, is answered.
async fn try_to_register(suite: &Suite, changes: Value) -> Answer {
    let admin = suite.app.administrator().await;
    let token = suite.app.request(Method::POST, "/admin/initial-access-tokens").bearer_auth(&admin.access);
    let token = suite.app.send(token.json(&json!({"uses": 1, "expires_in": 60}))).await.body;
    let mut metadata = json!({
        "client_name": "The suite", "redirect_uris": [REDIRECT_URI], "grant_types": ["authorization_code", "refresh_token"],
    });
    metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let request = suite.app.request(Method::POST, "/oauth2/register");
    suite.app.send(request.bearer_auth(token["initial_access_token"].as_str().unwrap()).json(&metadata)).await
}

/// Registers the suite's client, and answers what the provider says of it.
async fn register(suite: &mut Suite, changes: Value) -> Value {
    let answer = try_to_register(suite, changes).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let text = |name: &str| answer.body[name].as_str().unwrap_or_default().to_owned();
    let redirect_uri = answer.body["redirect_uris"][0].as_str().unwrap().to_owned();
    suite.client = Application { id: text("client_id"), secret: text("client_secret"), redirect_uri };
    answer.body
}

async fn is_refused(suite: &Suite, changes: Value, error: &str) {
    let answer = try_to_register(suite, changes).await;
    assert_eq!((answer.status, answer.error()), (400, error), "{}", answer.text);
}

/// The page where the person is asked whether the client may know them.
async fn consent_page(suite: &mut Suite) -> Answer {
    let (_, asked) = suite.authorize(&[]).await;
    assert_eq!(asked.location().path(), "/consent");
    suite.browser.follow(&suite.app, &asked).await
}

async fn is_sent_nowhere(suite: &mut Suite, redirect_uri: &str) {
    let (_, answer) = suite.authorize(&[("redirect_uri", redirect_uri)]).await;
    assert_eq!((answer.status, answer.headers.get("location")), (400, None), "{redirect_uri}: {}", answer.text);
}

fn header(token: &Value) -> jsonwebtoken::Header {
    jsonwebtoken::decode_header(token.as_str().unwrap()).unwrap()
}

async fn oidcc_idtoken_rs256(mut suite: Suite) {
    register(&mut suite, json!({"id_token_signed_response_alg": "RS256"})).await;
    let (tokens, _) = suite.sign_in(&[]).await;
    let header = header(&tokens["id_token"]);
    assert_eq!((header.alg, header.kid.is_some()), (jsonwebtoken::Algorithm::RS256, true));
}

/// A provider need not support it; then it says so at the registration.
async fn oidcc_idtoken_unsigned(suite: Suite) {
    is_refused(&suite, json!({"id_token_signed_response_alg": "none"}), "invalid_client_metadata").await;
}

async fn oidcc_userinfo_rs256(mut suite: Suite) {
    register(&mut suite, json!({"userinfo_signed_response_alg": "RS256"})).await;
    let (tokens, _) = suite.sign_in(&[]).await;
    let answer = suite.app.get("/oauth2/userinfo", tokens["access_token"].as_str().unwrap()).await;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/jwt".parse().unwrap()));
    assert_eq!(header(&json!(answer.text)).alg, jsonwebtoken::Algorithm::RS256);
    let said = suite.signed(&answer.text).await;
    assert_eq!((&said["sub"], &said["email"]), (&json!(suite.person.id), &json!(suite.person.email)));
}

async fn oidcc_ensure_redirect_uri_in_authorization_request(mut suite: Suite) {
    register(&mut suite, json!({})).await;
    is_sent_nowhere(&mut suite, "").await;
}

async fn oidcc_redirect_uri_query_OK(mut suite: Suite) {
    register(&mut suite, json!({"redirect_uris": ["https://app.example/cb?foo=bar"]})).await;
    let (begun, answer) = suite.authorize(&[]).await;
    let answer = suite.allow(answer).await;
    assert_eq!(answer.query("foo"), "bar", "it is kept, and the answer added");
    suite.finish(&begun, answer).await;
}

async fn oidcc_redirect_uri_query_mismatch(mut suite: Suite) {
    register(&mut suite, json!({"redirect_uris": ["https://app.example/cb?foo=bar"]})).await;
    is_sent_nowhere(&mut suite, "https://app.example/cb?foo=baz").await;
}

async fn oidcc_redirect_uri_query_added(mut suite: Suite) {
    register(&mut suite, json!({})).await;
    is_sent_nowhere(&mut suite, &format!("{REDIRECT_URI}?foo=bar")).await;
}

async fn oidcc_redirect_uri_regfrag(suite: Suite) {
    let with_fragment = json!({"redirect_uris": [format!("{REDIRECT_URI}#foobar")]});
    is_refused(&suite, with_fragment, "invalid_redirect_uri").await;
}

async fn oidcc_discovery_endpoint_verification(suite: Suite) {
    let path = "/.well-known/openid-configuration";
    let metadata = suite.app.send(suite.app.request(Method::GET, path)).await.body;
    assert_eq!(metadata["issuer"], suite.app.service.issuer);
    assert_eq!(metadata["registration_endpoint"], format!("{}/oauth2/register", suite.app.service.issuer));
    let has = |name: &str, value: &str| metadata[name].as_array().is_some_and(|list| list.iter().any(|it| it == value));
    assert!(
        has("id_token_signing_alg_values_supported", "RS256") && has("userinfo_signing_alg_values_supported", "RS256")
    );
    assert!(has("token_endpoint_auth_methods_supported", "private_key_jwt"));
    let keys = suite.app.send(suite.app.request(Method::GET, "/.well-known/jwks.json")).await.body;
    for key in keys["keys"].as_array().unwrap() {
        assert!(key["kid"].is_string() && key["use"] == "sig" && key.get("d").is_none(), "{key}");
    }
}

async fn oidcc_server(mut suite: Suite) {
    let client = register(&mut suite, json!({})).await;
    assert!(client["client_id_issued_at"].is_i64() && client["client_secret_expires_at"].is_i64(), "{client}");
    let (tokens, id) = suite.sign_in(&[]).await;
    assert_eq!((&id["sub"], &id["nonce"]), (&json!(suite.person.id), &json!("a nonce")));
    suite.userinfo(&tokens).await;
}

async fn oidcc_registration_logo_uri(mut suite: Suite) {
    let logo = "https://app.example/logo.png";
    register(&mut suite, json!({"logo_uri": logo})).await;
    assert!(consent_page(&mut suite).await.text.contains(logo), "the logo is not shown");
}

async fn oidcc_registration_policy_uri(mut suite: Suite) {
    let policy = "https://app.example/policy";
    register(&mut suite, json!({"policy_uri": policy})).await;
    assert!(consent_page(&mut suite).await.text.contains(&format!("href=\"{policy}\"")));
}

async fn oidcc_registration_tos_uri(mut suite: Suite) {
    let terms = "https://app.example/tos";
    register(&mut suite, json!({"tos_uri": terms})).await;
    assert!(consent_page(&mut suite).await.text.contains(&format!("href=\"{terms}\"")));
}

/// A client that proves itself with a key, and its keys where it publishes them.
struct WithKey {
    pair: Pair,
    published: DocumentServer,
}

impl WithKey {
    async fn register(suite: &mut Suite) -> Self {
        let pair = Pair::ed();
        let published = DocumentServer::start(json!({"keys": [pair.public("first")]})).await;
        let changes = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": published.url()});
        register(suite, changes).await;
        Self { pair, published }
    }

    /// Asks the token endpoint, with an assertion for the issuer by the key of that name.
    async fn ask(&self, suite: &Suite, key: &str, form: &[(&str, &str)]) -> Answer {
        let (now, id) = (suite.app.clock.now().seconds(), &suite.client.id);
        let jti = uuid::Uuid::new_v4().to_string();
        let claims =
            json!({"iss": id, "sub": id, "aud": suite.app.service.issuer, "exp": now + 60, "iat": now, "jti": jti});
        let assertion = self.pair.assertion(&json!({"alg": "EdDSA", "kid": key}), &claims);
        let proof =
            [("client_id", id.as_str()), ("client_assertion_type", ASSERTION), ("client_assertion", &assertion)];
        let form: Vec<_> = form.iter().copied().chain(proof).collect();
        suite.app.send(suite.app.request(Method::POST, "/oauth2/token").form(&form)).await
    }

    async fn sign_in(&self, suite: &mut Suite) -> Value {
        let (begun, answer) = suite.authorize(&[]).await;
        let code = suite.allow(answer).await.query("code");
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", &begun.verifier),
        ];
        let tokens = self.ask(suite, "first", &form).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text);
        suite.verified(tokens.body["id_token"].as_str().unwrap()).await;
        tokens.body
    }
}

async fn oidcc_registration_jwks_uri(mut suite: Suite) {
    WithKey::register(&mut suite).await.sign_in(&mut suite).await;
}

async fn oidcc_registration_sector_uri(mut suite: Suite) {
    let sector = DocumentServer::start(json!([REDIRECT_URI])).await;
    register(&mut suite, json!({"sector_identifier_uri": sector.url()})).await;
    suite.sign_in(&[]).await;
}

async fn oidcc_registration_sector_bad(suite: Suite) {
    let sector = DocumentServer::start(json!(["https://other.example/cb"])).await;
    is_refused(&suite, json!({"sector_identifier_uri": sector.url()}), "invalid_client_metadata").await;
}

async fn oidcc_server_rotate_keys(mut suite: Suite) {
    register(&mut suite, json!({})).await;
    let (before, _) = suite.sign_in(&[]).await;
    let admin = suite.app.administrator().await;
    let rotated = suite.app.call(Method::POST, "/admin/keys/rotate", &admin.access).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    suite.verified(before["id_token"].as_str().unwrap()).await;
    suite.app.clock.advance(LEAD + Duration::from_secs(1));
    // By the published keys, as all are.
    let (after, _) = suite.sign_in(&[]).await;
    assert_ne!(header(&before["id_token"]).kid, header(&after["id_token"]).kid);
}

async fn oidcc_refresh_token_rp_key_rotation(mut suite: Suite) {
    let mut client = WithKey::register(&mut suite).await;
    let tokens = client.sign_in(&mut suite).await;
    client.pair = Pair::ed();
    client.published.serve(200, json!({"keys": [client.pair.public("second")]}));
    suite.app.clock.advance(COOL_DOWN);
    let form = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let refreshed = client.ask(&suite, "second", &form).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
}

/// What the client asks for, where the provider is to read it.
async fn by_request_uri(mut suite: Suite, request: String) {
    let published = DocumentServer::start(json!(null)).await;
    published.serve(200, request);
    register(&mut suite, json!({"request_uris": [published.url()]})).await;
    let (begun, answer) = suite.authorize(&[("request_uri", published.url())]).await;
    let answer = suite.allow(answer).await;
    suite.finish(&begun, answer).await;
}

async fn oidcc_request_uri_unsigned(suite: Suite) {
    by_request_uri(suite, "eyJhbGciOiJub25lIn0.e30.".to_owned()).await;
}

async fn oidcc_request_uri_signed_rs256(suite: Suite) {
    by_request_uri(suite, "eyJhbGciOiJSUzI1NiJ9.e30.AA".to_owned()).await;
}

/// Request objects are not taken, and what one says changes nothing.
async fn oidcc_ensure_request_object_with_redirect_uri(mut suite: Suite) {
    register(&mut suite, json!({})).await;
    let elsewhere = "eyJhbGciOiJub25lIn0.eyJyZWRpcmVjdF91cmkiOiJodHRwczovL2V2aWwuZXhhbXBsZSJ9.";
    // No administrator has approved the client: the person goes on from a page.
    let (_, page) = suite.authorize(&[("request", elsewhere)]).await;
    let to = url::Url::parse(&crate::consent::leaving::leads_to(&page)).unwrap();
    assert_eq!(to.host_str(), Some("app.example"));
    assert!(to.query_pairs().any(|(name, value)| name == "error" && value == "request_not_supported"), "{to}");
}

async fn oidcc_refresh_token(mut suite: Suite) {
    register(&mut suite, json!({})).await;
    let (tokens, before) = suite.sign_in(&[("scope", "openid offline_access"), ("prompt", "consent")]).await;
    let first = suite.client.clone();
    let answer = first.refresh(&suite.app, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_ne!(answer.body["access_token"], tokens["access_token"]);
    let after = suite.verified(answer.body["id_token"].as_str().unwrap()).await;
    for name in ["iss", "sub", "aud", "auth_time"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    register(&mut suite, json!({"client_name": "The suite's second"})).await;
    let stolen = suite.client.refresh(&suite.app, answer.body["refresh_token"].as_str().unwrap()).await;
    assert_eq!(stolen.error(), "invalid_grant");
}

async fn oidcc_ensure_client_assertion_with_iss_aud_succeeds(mut suite: Suite) {
    WithKey::register(&mut suite).await.sign_in(&mut suite).await;
}
