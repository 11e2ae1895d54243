//! Applications of Node.js, each with a library that signs people in.

use serde_json::json;

use crate::application::{Application, Library, PLAIN, SignOut, signs_a_person_in_and_out};
use crate::node::Programs;
use crate::place::Place;

const EXPRESS_OPENID_CONNECT: Library =
    Library { after_logout: Some(""), sign_out: SignOut::Everywhere, refreshes: true, ..PLAIN };

#[tokio::test]
async fn express_openid_connect_signs_a_person_in_and_out() {
    let Some(programs) = Programs::for_test() else { return };
    signs_a_person_in_and_out(programs.command("express-openid-connect.mjs"), EXPRESS_OPENID_CONNECT).await;
}

/// Its own choice is the implicit flow, which is not offered (RFC 9700, section 2.1.2).
#[tokio::test]
async fn express_openid_connect_without_a_response_type_is_told_which_one_there_is() {
    let Some(programs) = Programs::for_test() else { return };
    let place = Place::in_one_process().await;
    let command = programs.command("express-openid-connect.mjs");
    let defaults = json!({"library_defaults": true});
    let application = Application::start(&place, command, &EXPRESS_OPENID_CONNECT, defaults).await;
    let mut browser = place.browser();
    let answer = browser.opens(&application.home.at("/")).await;
    let page = browser.press(&answer, "unsupported_response_type").await.expect("the answer is posted");
    assert!(page.text.contains("<li>error: unsupported_response_type</li>"), "{}", page.text);
    assert!(page.text.contains("<li>description: the only response_type is code</li>"), "{}", page.text);
    place.finish();
}

#[tokio::test]
async fn passport_openidconnect_signs_a_person_in() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library { callback: "/cb", ..PLAIN };
    signs_a_person_in_and_out(programs.command("passport-openidconnect.mjs"), library).await;
}

#[tokio::test]
async fn auth_js_signs_a_person_in() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library { callback: "/auth/callback/roam", knows: &["name", "email"], ..PLAIN };
    signs_a_person_in_and_out(programs.command("auth-express.mjs"), library).await;
}

#[tokio::test]
async fn better_auth_signs_a_person_in_and_out() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library {
        callback: "/api/auth/callback/roam",
        knows: &["name", "email"],
        sign_out: SignOut::Everywhere,
        refreshes: true,
        ..PLAIN
    };
    signs_a_person_in_and_out(programs.command("better-auth.mjs"), library).await;
}

#[tokio::test]
async fn openid_client_5_signs_a_person_in_and_out() {
    let Some(programs) = Programs::for_test() else { return };
    let library =
        Library { callback: "/cb", after_logout: Some("/"), sign_out: SignOut::Everywhere, refreshes: true, ..PLAIN };
    signs_a_person_in_and_out(programs.command("openid-client-5.mjs"), library).await;
}
