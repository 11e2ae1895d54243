//! One verdict: whichever way a token comes, it is refused for the same reasons.

use std::time::Duration;

use actix_web::test::TestRequest;
use serde_json::{Value, json};
use shared::authentication::{Audience, Binding, Demand, Refusal, RequestView};
use shared::session::{EndReason, SessionStore as _, UserId, epoch_attribute};
use shared::token::TokenError;

use crate::keys::Key;
use crate::rig::{Service, eventually};

/// A demand of a caller that has no request, and says so.
pub(crate) const ANYBODYS: Demand<'static> =
    Demand { audience: Audience::Own, scope: None, binding: Binding::CheckedElsewhere };

/// The ways in which a token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Principal,
    Caller,
    Confirmed,
    Header,
    Form,
    View,
    Verify,
    VerifyWithRequest,
    AnyAudience,
}

const PATHS: [Path; 9] = [
    Path::Principal,
    Path::Caller,
    Path::Confirmed,
    Path::Header,
    Path::Form,
    Path::View,
    Path::Verify,
    Path::VerifyWithRequest,
    Path::AnyAudience,
];

impl Path {
    /// Whether the token opens something by this path.
    async fn takes(self, service: &Service, token: &str) -> bool {
        let by_http = async |path: &str| match service.status(path, token).await {
            200 => true,
            401 | 403 => false,
            other => panic!("{path}: {other}"),
        };
        let header = format!("Bearer {token}");
        let authorization = [header.as_str()];
        let view = RequestView { method: "GET", path: "/me", authorization: &authorization, dpop: &[] };
        let single_sign_on = &service.single_sign_on;
        let request = TestRequest::get().insert_header(("authorization", header.clone())).to_http_request();
        let scope = single_sign_on.scope();
        let verify =
            async |audience, binding| single_sign_on.verify(token, &Demand { audience, scope, binding }).await.is_ok();
        match self {
            Self::Principal => by_http("/me").await,
            Self::Caller => by_http("/greeting").await,
            Self::Confirmed => by_http("/payment").await,
            Self::Header => single_sign_on.authenticate_for(&request, scope).await.is_ok(),
            Self::Form => {
                let request = TestRequest::post().to_http_request();
                single_sign_on.authenticate_form(&request, token, scope).await.is_ok()
            }
            Self::View => single_sign_on.authenticate_view(&view, scope).await.is_ok(),
            Self::Verify => verify(Audience::Own, Binding::CheckedElsewhere).await,
            Self::VerifyWithRequest => verify(Audience::Own, Binding::Request(&view)).await,
            Self::AnyAudience => verify(Audience::Any, Binding::CheckedElsewhere).await,
        }
    }

    /// Whether it asks for the key that a token is bound to; the others say that it is checked elsewhere.
    fn asks_for_the_key(self) -> bool {
        !matches!(self, Self::Verify | Self::AnyAudience)
    }
}

/// Why a token that was good is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    SessionEnded,
    TokenRevoked,
    GrantRevoked,
    EpochRevoked,
    Expired,
    Unsigned,
    TooLong,
    Forgotten,
    OtherScope,
    BoundToKey,
}

const REASONS: [Reason; 10] = [
    Reason::SessionEnded,
    Reason::TokenRevoked,
    Reason::GrantRevoked,
    Reason::EpochRevoked,
    Reason::Expired,
    Reason::Unsigned,
    Reason::TooLong,
    Reason::Forgotten,
    Reason::OtherScope,
    Reason::BoundToKey,
];

const GRANT: u128 = 0x77;
const EPOCH: u128 = 0x88;

fn number(claims: &Value, name: &str) -> u128 {
    u128::from_str_radix(claims[name].as_str().unwrap(), 16).unwrap()
}

#[actix_web::test]
async fn hv4_every_path_refuses_a_token_for_every_reason() {
    for reason in REASONS {
        let service = Service::demanding("orders:read").await;
        let user = UserId::random();
        let session = service.session(user).await;
        let mut claims = service.claims_of(user, session.id);
        claims["grant"] = json!(format!("{GRANT:032x}"));
        claims["attributes"] = json!({epoch_attribute(EPOCH).0: epoch_attribute(EPOCH).1});
        let good = service.key.token(&claims);
        for path in PATHS {
            assert!(path.takes(&service, &good).await, "{path:?} refuses a good token");
        }
        let refused = match reason {
            Reason::SessionEnded => {
                service.store.end(session.id, EndReason::Logout).await.unwrap();
                good
            }
            Reason::TokenRevoked => {
                service.store.revoke_token(user, number(&claims, "jti")).await.unwrap();
                good
            }
            Reason::GrantRevoked => {
                service.store.revoke_token(user, GRANT).await.unwrap();
                good
            }
            Reason::EpochRevoked => {
                service.store.revoke_token(user, EPOCH).await.unwrap();
                good
            }
            Reason::Expired => {
                service.clock.advance(Duration::from_secs(301));
                good
            }
            Reason::Unsigned => Key::ed("2026-11").token(&claims),
            // More than 8 KiB.
            Reason::TooLong => {
                claims["padding"] = json!("x".repeat(7_000));
                service.key.token(&claims)
            }
            Reason::Forgotten => {
                claims["auth_time"] = json!(claims["auth_time"].as_i64().unwrap() - 3600);
                service.key.token(&claims)
            }
            Reason::OtherScope => {
                claims["scope"] = json!("openid");
                service.key.token(&claims)
            }
            Reason::BoundToKey => {
                claims["cnf"] = json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"});
                service.key.token(&claims)
            }
        };
        for path in PATHS {
            if reason == Reason::BoundToKey && !path.asks_for_the_key() {
                assert!(path.takes(&service, &refused).await, "{path:?} was told that the key is checked elsewhere");
                continue;
            }
            eventually(&format!("{path:?} refuses: {reason:?}"), async || !path.takes(&service, &refused).await).await;
        }
    }
}

#[actix_web::test]
async fn what_cannot_be_said_of_a_token_is_no_word_against_it() {
    let refusal = Refusal::Token(TokenError::KeysUnavailable);
    assert!(refusal.is_unavailable() && !refusal.is_revoked());
    let refusal = Refusal::Token(TokenError::Revoked);
    assert!(!refusal.is_unavailable() && refusal.is_revoked());
}

#[actix_web::test]
async fn a_caller_without_an_http_request_shows_one_token_and_one_proof() {
    let service = Service::start().await;
    let (good, other) = (format!("Bearer {}", service.good_token()), "Bearer x".to_owned());
    let single_sign_on = &service.single_sign_on;
    let view = |authorization: &'static [&'static str]| RequestView {
        method: "GET",
        path: "/socket",
        authorization,
        dpop: &[],
    };
    assert!(single_sign_on.authenticate_view(&view(&[]), None).await.unwrap().is_none(), "a guest");
    for (values, status) in [(vec![&*good, &*other], 400), (vec![&*other], 401), (vec!["Basic x"], 401)] {
        let view = RequestView { method: "GET", path: "/socket", authorization: &values, dpop: &[] };
        let problem = single_sign_on.authenticate_view(&view, None).await.unwrap_err();
        assert_eq!(problem.status().as_u16(), status, "{values:?}");
    }
    let values = [&*good];
    let view = RequestView { method: "GET", path: "/socket", authorization: &values, dpop: &[] };
    assert!(single_sign_on.authenticate_view(&view, None).await.unwrap().is_some());
}
