//! oidcc-rp-initiated-logout-certification-test-plan, and the discovery of the back-channel plan.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Suite, modules};
use crate::back_channel::{Ears, claims};
use crate::browser::Application;
use crate::harness::Answer;

modules!(
    oidcc_rp_initiated_logout_discovery_endpoint_verification,
    oidcc_rp_initiated_logout,
    oidcc_rp_initiated_logout_bad_post_logout_redirect_uri,
    oidcc_rp_initiated_logout_modified_id_token_hint,
    oidcc_rp_initiated_logout_bad_id_token_hint,
    oidcc_rp_initiated_logout_no_id_token_hint,
    oidcc_rp_initiated_logout_no_params,
    oidcc_rp_initiated_logout_no_post_logout_redirect_uri,
    oidcc_rp_initiated_logout_no_state,
    oidcc_rp_initiated_logout_only_state,
    oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri,
    oidcc_backchannel_logout_discovery_endpoint_verification,
    oidcc_backchannel_rp_initiated_logout,
);

const BACK: &str = "https://app.example/post_logout_redirect";

/// The suite registers its client with an address to return to, and signs in.
async fn begin(suite: &mut Suite, changes: Value) -> Value {
    let mut metadata = json!({"first_party": true, "post_logout_redirect_uris": [BACK]});
    metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    suite.client = Application::register(&suite.app, metadata).await;
    suite.sign_in(&[]).await.0
}

async fn end_session(suite: &mut Suite, parameters: &[(&str, &str)]) -> Answer {
    let metadata =
        suite.app.send(suite.app.request(reqwest::Method::GET, "/.well-known/openid-configuration")).await.body;
    let endpoint = url::Url::parse(metadata["end_session_endpoint"].as_str().unwrap()).unwrap();
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    suite.browser.get(&suite.app, &format!("{}?{query}", endpoint.path())).await
}

/// After each good logout, `prompt=none` must fail.
async fn is_logged_out(suite: &mut Suite) {
    let (_, answer) = suite.authorize(&[("prompt", "none")]).await;
    assert_eq!(answer.query("error"), "login_required");
}

async fn is_logged_in(suite: &mut Suite) {
    let (_, answer) = suite.authorize(&[("prompt", "none")]).await;
    assert_eq!((answer.query("error"), answer.query("code").is_empty()), (String::new(), false));
}

/// The person is asked, agrees, and stays at the provider.
async fn asks_and_stays(suite: &mut Suite, answer: Answer) {
    assert_eq!(answer.location().host_str(), Some("here"));
    is_logged_in(suite).await;
    let done = suite.browser.submit(&suite.app, &answer, &[]).await;
    assert_eq!((done.location().host_str(), done.location().path()), (Some("here"), "/signed-out"));
    is_logged_out(suite).await;
}

async fn oidcc_rp_initiated_logout_discovery_endpoint_verification(suite: Suite) {
    let read = suite.app.send(suite.app.request(reqwest::Method::GET, "/.well-known/openid-configuration")).await;
    let endpoint = url::Url::parse(read.body["end_session_endpoint"].as_str().unwrap()).unwrap();
    assert!(endpoint.as_str().starts_with(&suite.app.service.issuer) && endpoint.fragment().is_none());
}

async fn oidcc_rp_initiated_logout(mut suite: Suite) {
    let tokens = begin(&mut suite, json!({})).await;
    let hint = tokens["id_token"].as_str().unwrap();
    // As long as the suite's own: 128 characters.
    let state = "s".repeat(128);
    let parameters = [("id_token_hint", hint), ("post_logout_redirect_uri", BACK), ("state", &*state)];
    let answer = end_session(&mut suite, &parameters).await;
    assert_eq!(answer.headers["location"].to_str().unwrap(), format!("{BACK}?state={state}"));
    is_logged_out(&mut suite).await;
}

async fn oidcc_rp_initiated_logout_bad_post_logout_redirect_uri(mut suite: Suite) {
    let tokens = begin(&mut suite, json!({})).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let bad = format!("{BACK}INVALID");
    let parameters = [("id_token_hint", hint), ("post_logout_redirect_uri", &*bad), ("state", "s")];
    let answer = end_session(&mut suite, &parameters).await;
    assert_eq!((answer.status, answer.code()), (400, "invalid_request"));
}

/// `alg` is `none`, and there is no signature.
async fn oidcc_rp_initiated_logout_modified_id_token_hint(mut suite: Suite) {
    let tokens = begin(&mut suite, json!({})).await;
    let payload = tokens["id_token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    let hint = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#));
    let parameters = [("id_token_hint", &*hint), ("post_logout_redirect_uri", BACK), ("state", "s")];
    let answer = end_session(&mut suite, &parameters).await;
    asks_and_stays(&mut suite, answer).await;
}

/// Signed with another key.
async fn oidcc_rp_initiated_logout_bad_id_token_hint(mut suite: Suite) {
    let tokens = begin(&mut suite, json!({})).await;
    let mut parts: Vec<_> = tokens["id_token"].as_str().unwrap().split('.').map(str::to_owned).collect();
    parts[2] = URL_SAFE_NO_PAD.encode([7; 256]);
    let hint = parts.join(".");
    let id = suite.client.id.clone();
    let parameters =
        [("id_token_hint", &*hint), ("post_logout_redirect_uri", BACK), ("state", "s"), ("client_id", &*id)];
    let answer = end_session(&mut suite, &parameters).await;
    asks_and_stays(&mut suite, answer).await;
}

async fn oidcc_rp_initiated_logout_no_id_token_hint(mut suite: Suite) {
    begin(&mut suite, json!({})).await;
    let answer = end_session(&mut suite, &[("post_logout_redirect_uri", BACK), ("state", "s")]).await;
    asks_and_stays(&mut suite, answer).await;
}

async fn oidcc_rp_initiated_logout_no_params(mut suite: Suite) {
    begin(&mut suite, json!({})).await;
    let answer = end_session(&mut suite, &[]).await;
    asks_and_stays(&mut suite, answer).await;
}

async fn oidcc_rp_initiated_logout_no_post_logout_redirect_uri(mut suite: Suite) {
    let tokens = begin(&mut suite, json!({})).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let answer = end_session(&mut suite, &[("id_token_hint", hint), ("state", "s")]).await;
    assert_eq!((answer.location().host_str(), answer.location().path()), (Some("here"), "/signed-out"));
    is_logged_out(&mut suite).await;
}

async fn oidcc_rp_initiated_logout_no_state(mut suite: Suite) {
    let tokens = begin(&mut suite, json!({})).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let answer = end_session(&mut suite, &[("id_token_hint", hint), ("post_logout_redirect_uri", BACK)]).await;
    assert_eq!(answer.headers["location"].to_str().unwrap(), BACK);
    is_logged_out(&mut suite).await;
}

async fn oidcc_rp_initiated_logout_only_state(mut suite: Suite) {
    begin(&mut suite, json!({})).await;
    let answer = end_session(&mut suite, &[("state", "s")]).await;
    asks_and_stays(&mut suite, answer).await;
}

async fn oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri(mut suite: Suite) {
    let tokens = begin(&mut suite, json!({})).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let added = format!("{BACK}?foo=bar");
    let parameters = [("id_token_hint", hint), ("post_logout_redirect_uri", &*added), ("state", "s")];
    let answer = end_session(&mut suite, &parameters).await;
    assert_eq!((answer.status, answer.code()), (400, "invalid_request"));
}

async fn oidcc_backchannel_logout_discovery_endpoint_verification(suite: Suite) {
    let read = suite.app.send(suite.app.request(reqwest::Method::GET, "/.well-known/openid-configuration")).await.body;
    assert_eq!(read["backchannel_logout_supported"], true);
    assert_eq!(read["backchannel_logout_session_supported"], true);
}

async fn oidcc_backchannel_rp_initiated_logout(mut suite: Suite) {
    let ears = Ears::open().await;
    let changes = json!({"backchannel_logout_uri": ears.url, "backchannel_logout_session_required": true});
    let tokens = begin(&mut suite, changes).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let answer = end_session(&mut suite, &[("id_token_hint", hint), ("post_logout_redirect_uri", BACK)]).await;
    assert_eq!(answer.headers["location"].to_str().unwrap(), BACK);
    let token = ears.hears(1).await.remove(0);
    let told = suite.verified(&token).await;
    let id = claims(hint);
    assert_eq!((&told["sid"], &told["sub"], &told["iss"]), (&id["sid"], &id["sub"], &id["iss"]));
    assert!(told.get("nonce").is_none());
    is_logged_out(&mut suite).await;
}
