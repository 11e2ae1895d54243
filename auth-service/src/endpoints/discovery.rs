//! What others read to find their way: the keys, and where everything is.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, get, web};
use shared::platform::METADATA_MEMBER;
use utoipa::ToSchema;

use crate::AuthService;
use crate::clients::registration::RegistrationMode;

/// A JSON Web Key Set (RFC 7517).
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its documentation is used")]
struct KeySet {
    keys: Vec<Key>,
}

/// A public key (RFC 7517; RFC 8037 for Ed25519), with the members of its type: `crv` and `x`, `y` too, or `n` and `e`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its documentation is used")]
struct Key {
    #[schema(example = "OKP")]
    kty: String,
    #[schema(example = "Ed25519")]
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    #[schema(example = "EdDSA")]
    alg: String,
    #[schema(rename = "use", example = "sig")]
    usage: String,
    kid: String,
}

/// The public keys: those in use, those that will be, and those whose tokens may still live.
#[utoipa::path(
    tag = "discovery",
    responses((status = 200, description = "The key set", body = KeySet, headers(("Cache-Control" = String, description = "`public, max-age=300`"))))
)]
#[get("/.well-known/jwks.json")]
pub(super) async fn jwks(service: web::Data<AuthService>) -> HttpResponse {
    let age = format!("public, max-age={}", service.keys.plan().jwks_max_age().as_secs());
    HttpResponse::Ok().insert_header((CACHE_CONTROL, age)).json(service.keys.published())
}

/// Where everything is, and what is supported (OpenID Connect Discovery 1.0, section 3; RFC 8414).
#[utoipa::path(
    tag = "discovery",
    responses((status = 200, description = "The provider's metadata", body = inline(std::collections::HashMap<String, serde_json::Value>), headers(("Cache-Control" = String, description = "`public, max-age=300`"))))
)]
#[get("/.well-known/openid-configuration")]
pub(super) async fn openid_configuration(service: web::Data<AuthService>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "public, max-age=300")).json(metadata(&service))
}

/// The same, where OAuth clients look for it (RFC 8414, section 3).
#[utoipa::path(
    tag = "discovery",
    responses((status = 200, description = "The provider's metadata", body = inline(std::collections::HashMap<String, serde_json::Value>), headers(("Cache-Control" = String, description = "`public, max-age=300`"))))
)]
#[get("/.well-known/oauth-authorization-server")]
pub(super) async fn oauth_authorization_server(service: web::Data<AuthService>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "public, max-age=300")).json(metadata(&service))
}

/// No address comes from the request: a made-up `Host` changes nothing.
fn metadata(service: &AuthService) -> serde_json::Value {
    let issuer = service.issuer.trim_end_matches('/');
    let at = |path: &str| format!("{issuer}{path}");
    let client_methods = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
    let assertion_algs = ["EdDSA", "ES256", "RS256", "PS256"];
    // The one that every library knows comes first: some take the first.
    let signing_algs = ["RS256", "ES256", "EdDSA"];
    let mut metadata = serde_json::json!({
        "issuer": service.issuer,
        "authorization_endpoint": at("/oauth2/authorize"),
        "token_endpoint": at("/oauth2/token"),
        "userinfo_endpoint": at("/oauth2/userinfo"),
        "jwks_uri": at("/.well-known/jwks.json"),
        "revocation_endpoint": at("/oauth2/revoke"),
        "introspection_endpoint": at("/oauth2/introspect"),
        "end_session_endpoint": at("/oauth2/logout"),
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "pushed_authorization_request_endpoint": at("/oauth2/par"),
        "device_authorization_endpoint": at("/oauth2/device_authorization"),
        "scopes_supported": service.api_scopes.known().to_vec(),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "grant_types_supported": [
            "authorization_code", "refresh_token", "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": signing_algs,
        "userinfo_signing_alg_values_supported": signing_algs,
        "token_endpoint_auth_methods_supported": client_methods,
        "token_endpoint_auth_signing_alg_values_supported": assertion_algs,
        "revocation_endpoint_auth_methods_supported": client_methods,
        "revocation_endpoint_auth_signing_alg_values_supported": assertion_algs,
        "introspection_endpoint_auth_methods_supported": client_methods[..3],
        "introspection_endpoint_auth_signing_alg_values_supported": assertion_algs,
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": shared::token::dpop::ALGORITHMS,
        "authorization_response_iss_parameter_supported": true,
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash",
            "name", "preferred_username", "updated_at", "email",
        ],
        "claims_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "require_request_uri_registration": false,
        "acr_values_supported": [crate::id_token::ACR],
        "ui_locales_supported": ["en", "zh"],
        "prompt_values_supported": ["none", "login", "consent", "select_account", "create"],
    });
    // How the services must be set up that verify its tokens themselves.
    metadata[METADATA_MEMBER] = serde_json::to_value(service.platform.told()).unwrap_or_default();
    if service.registration.mode != RegistrationMode::Off {
        metadata["registration_endpoint"] = at("/oauth2/register").into();
    }
    metadata
}
