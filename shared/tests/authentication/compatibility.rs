//! `JWT_COMPATIBILITY=hs256`: what is let through that a shared secret signed, and that nothing else is.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shared::session::EndReason;
use shared::token::SharedSecret;

use crate::keys::{Key, b64, key_set};
use crate::rig::{Service, eventually};

const SECRET: &str = "4f9a1c77d2be60835a5e0b1f8c3d2e6f";

fn signed(secret: &str, claims: &Value) -> String {
    SharedSecret::parse(&secret.into()).unwrap().sign(claims).unwrap()
}

/// As a library would sign that knows no rules.
fn signed_as(header: &Value, secret: &[u8], claims: &Value) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", b64(tag))
}

#[actix_web::test]
async fn a_token_that_the_shared_secret_signed_is_let_through() {
    let service = Service::sharing(Key::ed("ed"), SECRET).await;
    let claims = service.claims();
    for _ in 0..2 {
        let me: Value = service.get("/me", &signed(SECRET, &claims)).await.json().await.unwrap();
        assert_eq!(me, json!({"user": claims["sub"], "roles": ["user"]}));
    }
    let header = jsonwebtoken::Header { typ: Some("at+jwt".to_owned()), ..Default::default() };
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    service.accepts("another library's token", &jsonwebtoken::encode(&header, &claims, &key).unwrap()).await;
}

#[actix_web::test]
async fn the_claims_are_read_as_strictly_as_ever() {
    let service = Service::sharing(Key::ed("ed"), SECRET).await;
    let now = service.clock.now().seconds();
    for (name, value) in [
        ("iss", json!("http://other.test")),
        ("aud", json!("order-service")),
        ("exp", json!(now)),
        ("iat", json!(now + 60)),
        ("exp", json!(now + 86_400)),
        ("sub", json!("nobody")),
    ] {
        service.refuses(name, &signed(SECRET, &service.claims_with(name, value))).await;
    }
    service.refuses("without jti", &signed(SECRET, &service.claims_without("jti"))).await;
}

#[actix_web::test]
async fn the_published_key_is_no_secret_and_signs_nothing() {
    for key in [Key::ed("ed"), Key::es("es"), Key::rs("rs")] {
        let service = Service::sharing(key, SECRET).await;
        let claims = service.claims();
        service.refuses("a token of the published key", &service.key.token(&claims)).await;
        let der = service.key.der();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
        let jwk = service.key.jwk();
        let number = jwk.get("n").or(jwk.get("x")).and_then(Value::as_str).unwrap();
        let set = key_set(&[&service.key]).to_string();
        for secret in [der.as_slice(), pem.as_bytes(), jwk.to_string().as_bytes(), number.as_bytes(), set.as_bytes()] {
            for header in [
                json!({"alg": "HS256", "typ": "at+jwt"}),
                json!({"alg": "HS256", "typ": "at+jwt", "kid": service.key.id}),
            ] {
                service.refuses("the public key as the secret", &signed_as(&header, secret, &claims)).await;
            }
        }
    }
}

#[actix_web::test]
async fn another_header_or_another_secret_is_refused() {
    let service = Service::sharing(Key::ed("ed"), SECRET).await;
    let claims = service.claims();
    for header in [
        json!({"alg": "none", "typ": "at+jwt"}),
        json!({"alg": "HS512", "typ": "at+jwt"}),
        json!({"alg": "EdDSA", "typ": "at+jwt"}),
        json!({"alg": "HS256", "typ": "JWT"}),
        json!({"alg": "HS256", "typ": "rt+jwt"}),
        json!({"alg": "HS256"}),
        json!({"alg": "HS256", "typ": "at+jwt", "kid": service.key.id}),
        json!({"alg": "HS256", "typ": "at+jwt", "jku": "http://127.0.0.1/"}),
    ] {
        service.refuses(&header.to_string(), &signed_as(&header, SECRET.as_bytes(), &claims)).await;
    }
    let header = json!({"alg": "HS256", "typ": "at+jwt"});
    for secret in ["", "secret", &SECRET[..31], &SECRET.to_uppercase()] {
        service.refuses(secret, &signed_as(&header, secret.as_bytes(), &claims)).await;
    }
    let token = signed(SECRET, &claims);
    service.refuses("unsigned", &format!("{}.", token.rsplit_once('.').unwrap().0)).await;
    service.accepts("the token itself", &token).await;
}

#[actix_web::test]
async fn a_service_that_was_not_told_the_secret_takes_no_token_of_it() {
    let service = Service::start().await;
    service.refuses("a shared secret's token", &signed(SECRET, &service.claims())).await;
}

#[actix_web::test]
async fn a_token_of_the_shared_secret_is_revoked_and_expires_like_any_other() {
    let service = Service::sharing(Key::ed("ed"), SECRET).await;
    let user = shared::session::UserId::random();
    let session = service.session(user).await;
    let ended = signed(SECRET, &service.claims_of(user, session.id));
    service.accepts("a live session's token", &ended).await;
    shared::session::SessionStore::end(&*service.store, session.id, EndReason::Logout).await.unwrap();
    eventually("the end is heard of", async || service.status("/me", &ended).await == 401).await;
    let expiring = signed(SECRET, &service.claims());
    service.accepts("a fresh token", &expiring).await;
    service.clock.advance(Duration::from_secs(301));
    assert_eq!(service.status("/me", &expiring).await, 401, "it was remembered beyond its expiry");
}
