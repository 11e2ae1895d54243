//! Applications of Python, each with a library that signs people in.

use crate::application::{Library, SignOut, signs_a_person_in_and_out};
use crate::python::Programs;

#[tokio::test]
async fn authlib_signs_a_person_in_and_out() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library {
        callback: "/auth",
        after_logout: Some("/"),
        knows: &["name", "email", "username"],
        sign_out: SignOut::Everywhere,
        refreshes: true,
    };
    signs_a_person_in_and_out(programs.command("flask_authlib.py"), library).await;
}

#[tokio::test]
async fn requests_oauthlib_signs_a_person_in() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library {
        callback: "/callback",
        after_logout: None,
        knows: &["name", "email", "username"],
        sign_out: SignOut::Here,
        refreshes: true,
    };
    signs_a_person_in_and_out(programs.command("flask_requests_oauthlib.py"), library).await;
}

#[tokio::test]
async fn django_allauth_signs_a_person_in() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library {
        callback: "/accounts/oidc/roam/login/callback/",
        after_logout: None,
        knows: &["name", "email", "username"],
        sign_out: SignOut::Here,
        refreshes: false,
    };
    signs_a_person_in_and_out(programs.command("django_allauth.py"), library).await;
}

/// It makes a username of its own, and keeps no name.
#[tokio::test]
async fn mozilla_django_oidc_signs_a_person_in() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library {
        callback: "/oidc/callback/",
        after_logout: None,
        knows: &["email"],
        sign_out: SignOut::Here,
        refreshes: false,
    };
    signs_a_person_in_and_out(programs.command("django_mozilla.py"), library).await;
}

#[tokio::test]
async fn social_auth_signs_a_person_in() {
    let Some(programs) = Programs::for_test() else { return };
    let library = Library {
        callback: "/complete/oidc/",
        after_logout: None,
        knows: &["name", "email", "username"],
        sign_out: SignOut::Here,
        refreshes: true,
    };
    signs_a_person_in_and_out(programs.command("django_social.py"), library).await;
}
