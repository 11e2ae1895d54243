//! npm's `oauth4webapi`, certified by the OpenID Foundation, and the strictest reader of answers.

use serde_json::json;

use crate::node::Programs;
use crate::place::{Place, REDIRECT_URI};

const PROGRAM: &str = "oauth4webapi.mjs";

#[tokio::test]
async fn a_client_with_keys_pushes_its_request_and_reads_signed_answers() {
    let Some(programs) = Programs::for_test() else { return };
    let place = Place::in_one_process().await;
    let given = json!({
        "issuer": place.issuer(),
        "redirect_uri": REDIRECT_URI,
        "initial_access_token": place.initial_access_token().await,
        "email": place.person.email,
    });
    let mut browser = place.browser();
    let steps = programs.run(PROGRAM, "keys", &given, &mut browser).await;
    let expected = [
        "registration",
        "pushed request",
        "login",
        "signed userinfo",
        "introspection",
        "refresh",
        "rotation",
        "revocation",
        "silent login",
        "refusal",
    ];
    assert_eq!(steps, expected);
    place.finish();
}

#[tokio::test]
async fn a_native_application_without_a_secret_listens_on_any_port() {
    let Some(programs) = Programs::for_test() else { return };
    let place = Place::in_one_process().await;
    let native = json!({
        "client_name": "A native application",
        "application_type": "native",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        "id_token_signed_response_alg": "EdDSA",
        "scope": "openid profile offline_access cart",
    });
    let native = place.register(&native).await;
    let given = json!({
        "issuer": place.issuer(),
        "client_id": native["client_id"],
        "cart": place.world.platform.cart(),
    });
    let steps = programs.run(PROGRAM, "native", &given, &mut place.browser()).await;
    assert_eq!(steps, ["login", "cart", "refresh", "revocation", "cart refused"]);
    place.finish();
}

#[tokio::test]
async fn a_client_whose_tokens_are_bound_to_its_key_signs_in_orders_and_refreshes() {
    let Some(programs) = Programs::for_test() else { return };
    let place = Place::in_one_process().await;
    let client = json!({
        "client_name": "An application with a key",
        "application_type": "native",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        "dpop_bound_access_tokens": true,
        "id_token_signed_response_alg": "ES256",
        "scope": "openid offline_access cart orders",
    });
    let client = place.register(&client).await;
    let given = json!({
        "issuer": place.issuer(),
        "client_id": client["client_id"],
        "cart": place.world.platform.cart(),
        "orders": place.world.platform.orders(),
        "product": place.world.product(1).await,
    });
    let steps = programs.run(PROGRAM, "dpop", &given, &mut place.browser()).await;
    let expected = [
        "login",
        "cart",
        "cart refused without the key",
        "replay refused",
        "order",
        "refresh",
        "refresh refused without the key",
    ];
    assert_eq!(steps, expected);
    place.finish();
}
