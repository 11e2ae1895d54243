//! oidcc-config-certification-test-plan.

use reqwest::Method;
use serde_json::Value;

use super::{Suite, modules};

modules!(oidcc_discovery_endpoint_verification);

async fn oidcc_discovery_endpoint_verification(suite: Suite) {
    let read =
        async |path: &str| suite.app.send(suite.app.request(Method::GET, path).header("host", "evil.example")).await;
    let metadata = read("/.well-known/openid-configuration").await.body;
    assert_eq!(metadata, read("/.well-known/oauth-authorization-server").await.body);
    assert_eq!(metadata["issuer"], suite.app.service.issuer);
    for name in [
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
        "revocation_endpoint",
        "introspection_endpoint",
        "pushed_authorization_request_endpoint",
        "device_authorization_endpoint",
    ] {
        let url = metadata[name].as_str().unwrap_or_default();
        assert!(url.starts_with(&suite.app.service.issuer) && !url.contains(['?', '#']), "{name}: {url}");
    }
    let has = |name: &str, value: &str| metadata[name].as_array().is_some_and(|list| list.iter().any(|it| it == value));
    assert!(has("response_types_supported", "code") && has("subject_types_supported", "public"));
    assert!(has("id_token_signing_alg_values_supported", "RS256"), "it must be among them (Discovery, section 3)");
    assert!(!has("id_token_signing_alg_values_supported", "none"));
    assert!(has("scopes_supported", "openid") && has("grant_types_supported", "authorization_code"));
    assert!(has("code_challenge_methods_supported", "S256") && !has("code_challenge_methods_supported", "plain"));
    assert_eq!(metadata["claims_parameter_supported"], true);
    assert_eq!(metadata["request_parameter_supported"], false);
    assert_eq!(metadata["request_uri_parameter_supported"], false);
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    assert!(!metadata.as_object().unwrap().values().any(is_empty), "an empty list says nothing");
}
