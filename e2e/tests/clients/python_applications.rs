//! Applications of Python, each with a library that signs people in.

use crate::application::{Library, PLAIN, SignOut, signs_a_person_in_and_out};
use crate::python::Programs;

#[tokio::test]
async fn authlib_signs_a_person_in_and_out() {
    let Some(programs) = Programs::for_test() else { return };
    let library =
        Library { callback: "/auth", after_logout: Some("/"), sign_out: SignOut::Everywhere, refreshes: true, ..PLAIN };
    signs_a_person_in_and_out(programs.command("flask_authlib.py"), library).await;
}

#[tokio::test]
async fn requests_oauthlib_signs_a_person_in() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library { refreshes: true, ..PLAIN };
    signs_a_person_in_and_out(programs.command("flask_requests_oauthlib.py"), library).await;
}

#[tokio::test]
async fn django_allauth_signs_a_person_in() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library { callback: "/accounts/oidc/roam/login/callback/", ..PLAIN };
    signs_a_person_in_and_out(programs.command("django_allauth.py"), library).await;
}

/// It makes a username of its own, and keeps no name.
#[tokio::test]
async fn mozilla_django_oidc_signs_a_person_in() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library { callback: "/oidc/callback/", knows: &["email"], ..PLAIN };
    signs_a_person_in_and_out(programs.command("django_mozilla.py"), library).await;
}

#[tokio::test]
async fn social_auth_signs_a_person_in() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library { callback: "/complete/oidc/", refreshes: true, ..PLAIN };
    signs_a_person_in_and_out(programs.command("django_social.py"), library).await;
}
