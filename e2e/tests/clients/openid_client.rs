//! npm's `openid-client`, certified by the OpenID Foundation: the client that most of node's applications use.

use serde_json::json;

use crate::node::Programs;
use crate::place::{AFTER_LOGOUT, Place, REDIRECT_URI};

const PROGRAM: &str = "openid-client.mjs";

async fn an_application_signs_a_person_in_and_out(place: &Place, programs: &Programs) {
    let given = json!({
        "issuer": place.issuer(),
        "redirect_uri": REDIRECT_URI,
        "after_logout": AFTER_LOGOUT,
        "initial_access_token": place.initial_access_token().await,
        "email": place.person.email,
    });
    let mut browser = place.browser();
    let steps = programs.run(PROGRAM, "application", &given, &mut browser).await;
    let expected =
        ["registration", "login", "userinfo", "introspection", "refresh", "rotation", "revocation", "logout"];
    assert_eq!(steps, expected);
    assert_eq!(browser.filled, ["/sign-in", "/consent"], "nobody is asked twice");
}

#[tokio::test]
async fn an_application_signs_a_person_in_and_out_in_one_process() {
    let Some(programs) = Programs::for_test() else { return };
    let place = Place::in_one_process().await;
    an_application_signs_a_person_in_and_out(&place, &programs).await;
    place.finish();
}

#[tokio::test]
async fn an_application_signs_a_person_in_and_out_in_three_processes() {
    let Some(programs) = Programs::for_test() else { return };
    let Some(place) = Place::in_three_processes().await else { return };
    an_application_signs_a_person_in_and_out(&place, &programs).await;
    place.finish();
}

#[tokio::test]
async fn a_device_waits_for_its_person_and_a_machine_for_nobody() {
    let Some(programs) = Programs::for_test() else { return };
    let place = Place::in_one_process().await;
    let device = json!({
        "client_name": "A television",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        "scope": "openid email offline_access",
    });
    let device = place.register(&device).await;
    let given = json!({"issuer": place.issuer(), "client_id": device["client_id"], "email": place.person.email});
    let steps = programs.run(PROGRAM, "device", &given, &mut place.browser()).await;
    assert_eq!(steps, ["pending", "let in", "userinfo"]);

    let machine = json!({
        "client_name": "A report",
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "client_secret_post",
        "scope": "orders",
    });
    let machine = place.register(&machine).await;
    let given = json!({
        "issuer": place.issuer(),
        "client_id": machine["client_id"],
        "client_secret": machine["client_secret"],
    });
    let steps = programs.run(PROGRAM, "machine", &given, &mut place.browser()).await;
    assert_eq!(steps, ["credentials", "introspection", "revocation"]);
    place.finish();
}
