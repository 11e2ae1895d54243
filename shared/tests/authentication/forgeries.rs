//! A1 to A27: tokens that are forged, of another kind, or good but not for this service.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{RSA_PKCS1_SHA512, RSA_PSS_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::keys::{Key, b64, key_set};
use crate::rig::{AUDIENCE, Answer, ISSUER, KeyServer, Service};
use crate::verdict::ANYBODYS;

#[actix_web::test]
async fn a_good_token_is_let_through_with_every_algorithm() {
    for key in [Key::ed("ed"), Key::es("es"), Key::rs("rs")] {
        let service = Service::with_key(key).await;
        let claims = service.claims();
        let token = service.key.token(&claims);
        for _ in 0..2 {
            let me: Value = service.get("/me", &token).await.json().await.unwrap();
            assert_eq!(me, json!({"user": claims["sub"], "roles": ["user"]}), "{}", service.key.alg());
        }
    }
}

#[actix_web::test]
async fn a_token_that_jsonwebtoken_wrote_is_let_through() {
    let service = Service::start().await;
    let crate::keys::Pair::Ed(pair) = &service.key.pair else { panic!("an EdDSA key") };
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.typ = Some("at+jwt".to_owned());
    header.kid = Some(service.key.id.clone());
    let key = jsonwebtoken::EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref());
    let claims: shared::token::AccessClaims = serde_json::from_value(service.claims()).unwrap();
    service.accepts("another library's token", &jsonwebtoken::encode(&header, &claims, &key).unwrap()).await;
}

#[actix_web::test]
async fn a1_an_unsigned_token_is_refused() {
    let service = Service::start().await;
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": service.key.id}).to_string();
        let message = format!("{}.{}", b64(header), b64(service.claims().to_string()));
        service.refuses(alg, &format!("{message}.")).await;
        service.refuses(alg, &message).await;
    }
}

fn signed_with_secret(service: &Service, secret: &[u8]) -> String {
    let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": service.key.id}).to_string();
    let message = format!("{}.{}", b64(header), b64(service.claims().to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", b64(tag))
}

#[actix_web::test]
async fn a2_the_public_key_is_no_secret_to_sign_with() {
    for key in [Key::ed("ed"), Key::es("es"), Key::rs("rs")] {
        let service = Service::with_key(key).await;
        let der = service.key.der();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(&der));
        let jwk = service.key.jwk();
        let number = jwk.get("n").or(jwk.get("x")).and_then(Value::as_str).unwrap();
        let set = key_set(&[&service.key]).to_string();
        for secret in [format!("{pem}\n"), pem, jwk.to_string(), set, number.to_owned()] {
            service.refuses(&secret, &signed_with_secret(&service, secret.as_bytes())).await;
        }
        service.refuses("the DER", &signed_with_secret(&service, &der)).await;
    }
}

#[actix_web::test]
async fn a3_a_guessed_secret_is_refused() {
    let service = Service::start().await;
    for secret in ["", "secret", "changeme", "password", "your-256-bit-secret", "jwt", "key", "\0"] {
        service.refuses(secret, &signed_with_secret(&service, secret.as_bytes())).await;
    }
}

#[actix_web::test]
async fn a4_a_damaged_signature_is_refused() {
    for key in [Key::ed("ed"), Key::es("es")] {
        let service = Service::with_key(key).await;
        let good = service.good_token();
        service.accepts("the whole token", &good).await;
        let (message, signature) = good.rsplit_once('.').unwrap();
        let last = if signature.ends_with('A') { "Q" } else { "A" };
        let flipped = format!("{}{last}", &signature[..signature.len() - 1]);
        let (zeros, short) = (b64([0; 64]), &signature[..signature.len() - 2]);
        for damaged in ["", short, &flipped, &zeros, &b64([0; 0]), &b64([0; 65]), &b64([255; 64])] {
            service.refuses(damaged, &format!("{message}.{damaged}")).await;
        }
    }
}

#[actix_web::test]
async fn a5_a_key_signs_with_its_own_algorithm_only() {
    let service = Service::with_key(Key::rs("rs")).await;
    let payload = b64(service.claims().to_string());
    let message =
        |alg: &str| format!("{}.{payload}", b64(json!({"alg": alg, "typ": "at+jwt", "kid": "rs"}).to_string()));
    for alg in ["RS512", "PS256", "RS256"] {
        let message = message(alg);
        for encoding in [&RSA_PKCS1_SHA512 as &'static dyn aws_lc_rs::signature::RsaEncoding, &RSA_PSS_SHA256] {
            let signature = b64(service.key.sign_rsa(encoding, message.as_bytes()));
            service.refuses(alg, &format!("{message}.{signature}")).await;
        }
    }
    for alg in ["ES256", "EdDSA", "RS384", "rs256"] {
        let message = message(alg);
        let signature = b64(service.key.sign(message.as_bytes()));
        service.refuses(alg, &format!("{message}.{signature}")).await;
    }
}

/// A header with one more member, under a good signature of the issuer's.
fn with_member(service: &Service, name: &str, value: Value) -> String {
    let mut header = service.key.header();
    header[name] = value;
    service.key.signed(&header.to_string(), &service.claims().to_string())
}

#[actix_web::test]
async fn a6_a_key_in_the_tokens_own_header_is_never_used() {
    let service = Service::start().await;
    let own = Key::ed("2026-11");
    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": own.id, "jwk": own.jwk()}).to_string();
    service.refuses("a key of the attacker's", &own.signed(&header, &service.claims().to_string())).await;
    service.refuses("the issuer's own key", &with_member(&service, "jwk", service.key.jwk())).await;
    service.refuses("another key under the same id", &own.token(&service.claims())).await;
}

#[actix_web::test]
async fn a7_an_address_in_the_header_is_never_asked() {
    let service = Service::start().await;
    let own = Key::ed("attacker");
    let listener = KeyServer::start(Answer::Keys(key_set(&[&own]).to_string()));
    for name in ["jku", "x5u"] {
        let mut header = own.header();
        header[name] = json!(listener.url.as_str());
        service.refuses(name, &own.signed(&header.to_string(), &service.claims().to_string())).await;
        service.refuses(name, &with_member(&service, name, json!(listener.url.as_str()))).await;
    }
    service.refuses("x5c", &with_member(&service, "x5c", json!([STANDARD.encode(own.der())]))).await;
    service.refuses("x5t", &with_member(&service, "x5t", json!("AAAA"))).await;
    assert_eq!(listener.hits(), 0);
}

#[actix_web::test]
async fn a8_an_odd_key_id_is_refused_at_once() {
    let service = Service::start().await;
    let long = "k".repeat(5_000);
    let kids = [
        json!("../../dev/null"),
        json!("/dev/null"),
        json!("' UNION SELECT 'x' --"),
        json!("|sleep 5"),
        json!(""),
        json!("a\nb"),
        json!("\0"),
        json!("k\u{e9}"),
        json!(" 2026-11"),
        json!(long),
        json!(null),
        json!({}),
        json!([]),
        json!([service.key.id]),
        json!(7),
    ];
    let before = service.key_server.hits();
    for kid in kids {
        let begun = Instant::now();
        service.refuses(&kid.to_string(), &with_member(&service, "kid", kid.clone())).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{kid} took {:?}", begun.elapsed());
    }
    let mut header = service.key.header();
    header.as_object_mut().unwrap().remove("kid");
    service.refuses("no kid", &service.key.signed(&header.to_string(), &service.claims().to_string())).await;
    assert_eq!(service.key_server.hits(), before, "an odd key id made the key set be read");
}

#[actix_web::test]
async fn a9_a_thousand_unknown_key_ids_cost_one_read_of_the_key_set() {
    let service = Service::start().await;
    let (stranger, before) = (Key::ed("stranger"), service.key_server.hits());
    let unknown = |number: usize| {
        let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": format!("unknown-{number}")}).to_string();
        stranger.signed(&header, &service.claims().to_string())
    };
    for hundred in 0..10 {
        let tokens: Vec<String> = (0..100).map(|number| unknown(hundred * 100 + number)).collect();
        let statuses = join_all(tokens.iter().map(|token| service.status("/me", token))).await;
        assert_eq!(statuses.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([401]));
    }
    assert_eq!(service.key_server.hits() - before, 1);
    service.accepts("a good token", &service.good_token()).await;
}

#[actix_web::test]
async fn a10_a_critical_extension_is_refused() {
    let service = Service::start().await;
    for crit in [json!(["x"]), json!(["b64"]), json!([]), json!(["exp"]), json!("x")] {
        service.refuses(&crit.to_string(), &with_member(&service, "crit", crit.clone())).await;
    }
    let mut header = service.key.header();
    header["crit"] = json!(["b64"]);
    header["b64"] = json!(false);
    let message = format!("{}.{}", b64(header.to_string()), service.claims());
    let signature = b64(service.key.sign(message.as_bytes()));
    let verdict = service.single_sign_on.verify(&format!("{message}.{signature}"), &ANYBODYS).await;
    assert!(verdict.is_err(), "a payload that is not encoded");
    service.refuses("b64", &with_member(&service, "b64", json!(true))).await;
    service.refuses("any other member", &with_member(&service, "x-own", json!(1))).await;
}

#[actix_web::test]
async fn a11_only_the_type_of_access_tokens_passes() {
    let service = Service::start().await;
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        service.accepts(typ, &with_member(&service, "typ", json!(typ))).await;
    }
    for typ in ["JWT", "jwt", "logout+jwt", "secevent+jwt", "id+jwt", "dpop+jwt", "", "at+jwt ", "application/jwt"] {
        service.refuses(typ, &with_member(&service, "typ", json!(typ))).await;
    }
    for typ in [json!(null), json!(["at+jwt"]), json!({}), json!(1)] {
        service.refuses(&typ.to_string(), &with_member(&service, "typ", typ.clone())).await;
    }
    let header = json!({"alg": service.key.alg(), "kid": service.key.id}).to_string();
    service.refuses("no typ", &service.key.signed(&header, &service.claims().to_string())).await;
}

#[actix_web::test]
async fn a12_an_id_token_is_no_access_token() {
    let service = Service::start().await;
    let now = service.clock.now().seconds();
    let claims = json!({
        "iss": ISSUER, "sub": service.claims()["sub"], "aud": "shop", "exp": now + 300, "iat": now, "nonce": "n",
    });
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": service.key.id}).to_string();
    service.refuses("an ID token", &service.key.signed(&header, &claims.to_string())).await;
    // Even one that names this service, a session and all else: OpenID Connect gives it no type.
    let rich = service.claims().to_string();
    service.refuses("an ID token with all claims", &service.key.signed(&header, &rich)).await;
    let header = json!({"alg": "EdDSA", "kid": service.key.id}).to_string();
    service.refuses("an ID token without a type", &service.key.signed(&header, &rich)).await;
    service.refuses("one that says it is an access token", &service.key.token(&claims)).await;
}

#[actix_web::test]
async fn a13_another_credential_is_no_access_token() {
    let service = Service::start().await;
    let claims = service.claims();
    let session = claims["sid"].as_str().unwrap();
    let refresh = format!("{session}.shop.1.{}", b64([7; 32]));
    let cookie = format!("{session}.{}", b64([7; 32]));
    let logout = json!({
        "iss": ISSUER, "aud": AUDIENCE, "iat": service.clock.now().seconds(), "jti": "x", "sid": session,
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    });
    let header = json!({"alg": "EdDSA", "typ": "logout+jwt", "kid": service.key.id}).to_string();
    let logout = service.key.signed(&header, &logout.to_string());
    let rich_logout = service.key.signed(&header, &service.claims().to_string());
    let holder = Key::es("holder");
    let proof = crate::dpop::Proof::for_get(&service, "http://cart.test/me", "").by(&holder);
    let own_proof = crate::dpop::Proof::for_get(&service, "http://cart.test/me", "").by(&service.key);
    for (what, credential) in [
        ("a refresh token", refresh.as_str()),
        ("a session cookie", &cookie),
        ("a session id", session),
        ("a logout token", &logout),
        ("a logout token with all claims", &rich_logout),
        ("a DPoP proof", &proof),
        ("a DPoP proof by the issuer's key", &own_proof),
        ("a one-time code", "SplxlOBeZQQYbYS6WxSbIA"),
        ("a user's id", claims["sub"].as_str().unwrap()),
    ] {
        service.refuses(what, credential).await;
    }
}

/// Good claims with one of them written as this JSON text, whether or not it is a JSON value.
fn with_raw(service: &Service, name: &str, json: &str) -> String {
    let claims = service.claims_with(name, json!("@@")).to_string().replace("\"@@\"", json);
    service.key.signed(&service.key.header().to_string(), &claims)
}

#[actix_web::test]
async fn a14_an_expiry_is_a_whole_number_in_the_future() {
    let service = Service::start().await;
    let now = service.clock.now().seconds();
    for exp in [
        (now - 61).to_string(),
        (now - 1).to_string(),
        now.to_string(),
        format!("\"{}\"", now + 300),
        format!("{}.5", now + 300),
        format!("{}.0", now + 200),
        "1e400".to_owned(),
        "1e10".to_owned(),
        "18446744073709551616".to_owned(),
        "9223372036854775807".to_owned(),
        "-1".to_owned(),
        "-0".to_owned(),
        "0".to_owned(),
        "null".to_owned(),
        "true".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "NaN".to_owned(),
    ] {
        service.refuses(&exp, &with_raw(&service, "exp", &exp)).await;
    }
    service.refuses("no exp", &service.key.token(&service.claims_without("exp"))).await;
    let beyond = service.key.token(&service.claims_with("exp", json!(now + 3600)));
    service.refuses("a life beyond the memory of revocations", &beyond).await;
}

#[actix_web::test]
async fn a14_a_token_that_was_let_through_expires_to_the_second() {
    let service = Service::start().await;
    let token = service.good_token();
    service.accepts("the token", &token).await;
    service.clock.advance(Duration::from_secs(298));
    service.accepts("the token just before", &token).await;
    service.clock.advance(Duration::from_secs(2));
    service.refuses("the token just after", &token).await;
    service.refuses("and again", &token).await;
}

#[actix_web::test]
async fn a15_a_token_is_not_valid_before_its_time() {
    let service = Service::start().await;
    let now = service.clock.now().seconds();
    for nbf in [format!("{}", now + 3600), format!("\"{now}\""), format!("{now}.0"), "null".into(), "-1".into()] {
        service.refuses(&nbf, &with_raw(&service, "nbf", &nbf)).await;
    }
    service.accepts("a clock that differs a little", &with_raw(&service, "nbf", &(now + 20).to_string())).await;
}

#[actix_web::test]
async fn a16_a_token_from_the_future_is_refused() {
    let service = Service::start().await;
    let now = service.clock.now().seconds();
    for name in ["iat", "auth_time"] {
        let far = (now + 86_400).to_string();
        for moment in [far.as_str(), "null", "-1", "\"1\"", "1.5", "9223372036854775807"] {
            let mut claims = service.claims_with(name, json!("@@"));
            claims["exp"] = json!(now + 86_500);
            let claims = claims.to_string().replace("\"@@\"", moment);
            let token = service.key.signed(&service.key.header().to_string(), &claims);
            service.refuses(&format!("{name} {moment}"), &token).await;
        }
        service.refuses(name, &service.key.token(&service.claims_without(name))).await;
    }
    let ahead = |seconds: i64| {
        let mut claims = service.claims_with("iat", json!(now + seconds));
        claims["exp"] = json!(now + 290);
        service.key.token(&claims)
    };
    service.accepts("a clock that differs a little", &ahead(20)).await;
    service.refuses("a clock that differs too much", &ahead(45)).await;
}

#[actix_web::test]
async fn a17_the_issuer_is_compared_byte_for_byte() {
    let service = Service::start().await;
    for iss in [
        "http://auth.test/",
        "https://auth.test",
        "http://AUTH.test",
        "http://auth.test.evil",
        "",
        "http://auth.test\u{0}",
    ] {
        service.refuses(iss, &service.key.token(&service.claims_with("iss", json!(iss)))).await;
    }
    for iss in [json!([ISSUER]), json!([ISSUER, "http://evil"]), json!({"a": ISSUER}), json!(null), json!(1)] {
        service.refuses(&iss.to_string(), &service.key.token(&service.claims_with("iss", iss.clone()))).await;
    }
    service.refuses("no iss", &service.key.token(&service.claims_without("iss"))).await;
}

#[actix_web::test]
async fn a18_a_token_for_another_service_is_refused() {
    let service = Service::start().await;
    for aud in [json!(AUDIENCE), json!([AUDIENCE]), json!(["order-service", AUDIENCE])] {
        service.accepts(&aud.to_string(), &service.key.token(&service.claims_with("aud", aud.clone()))).await;
    }
    for aud in [
        json!("order-service"),
        json!(["order-service", "auth-service"]),
        json!([]),
        json!(""),
        json!({"cart-service": true}),
        json!([["cart-service"]]),
        json!(["cart-service", 1]),
        json!("cart-service order-service"),
        json!("Cart-Service"),
        json!(null),
    ] {
        service.refuses(&aud.to_string(), &service.key.token(&service.claims_with("aud", aud.clone()))).await;
    }
    service.refuses("no aud", &service.key.token(&service.claims_without("aud"))).await;
}

#[actix_web::test]
async fn a19_a_claim_that_is_given_twice_is_refused() {
    let service = Service::start().await;
    let claims = service.claims().to_string();
    let header = service.key.header().to_string();
    for (name, first) in [
        ("sub", json!(uuid::Uuid::new_v4())),
        ("roles", json!(["admin"])),
        ("aud", json!(AUDIENCE)),
        ("scope", json!("admin")),
        ("exp", json!(9_999_999_999_i64)),
        ("iss", json!(ISSUER)),
        ("sid", json!("7AAAAAAAAAAAAAAAAAAAAAA")),
    ] {
        let member = format!("\"{name}\":{first}");
        service.refuses(name, &service.key.signed(&header, &format!("{{{member},{}", &claims[1..]))).await;
        let after = format!("{},{member}}}", &claims[..claims.len() - 1]);
        service.refuses(name, &service.key.signed(&header, &after)).await;
    }
    let twice = format!("{},\"nbf\":0,\"nbf\":1}}", &claims[..claims.len() - 1]);
    service.refuses("nbf", &service.key.signed(&header, &twice)).await;
    let role = format!("{},\"role\":\"admin\",\"role\":\"admin\"}}", &claims[..claims.len() - 1]);
    assert_eq!(service.status("/administration", &service.key.signed(&header, &role)).await, 403);
}

#[actix_web::test]
async fn a20_a_header_member_that_is_given_twice_is_refused() {
    let service = Service::start().await;
    let (id, claims) = (&service.key.id, service.claims().to_string());
    for header in [
        format!(r#"{{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"{id}"}}"#),
        format!(r#"{{"alg":"EdDSA","alg":"none","typ":"at+jwt","kid":"{id}"}}"#),
        format!(r#"{{"alg":"EdDSA","alg":"EdDSA","typ":"at+jwt","kid":"{id}"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"JWT","typ":"at+jwt","kid":"{id}"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"other","kid":"{id}"}}"#),
        format!(r#"["EdDSA","at+jwt","{id}"]"#),
    ] {
        service.refuses(&header, &service.key.signed(&header, &claims)).await;
    }
}

#[actix_web::test]
async fn a21_an_odd_subject_session_or_token_id_is_refused() {
    let service = Service::start().await;
    let long = "a".repeat(4_000);
    let odd = [
        json!(1),
        json!(""),
        json!(long),
        json!("\0"),
        json!("ann@example.com"),
        json!("\u{430}dmin"),
        json!("../admin"),
        json!(null),
        json!(["a"]),
        json!({}),
    ];
    for name in ["sub", "sid", "jti"] {
        for value in &odd {
            let token = service.key.token(&service.claims_with(name, value.clone()));
            service.refuses(&format!("{name} {value}"), &token).await;
        }
        service.refuses(name, &service.key.token(&service.claims_without(name))).await;
    }
    let sub = service.claims()["sub"].as_str().unwrap().to_owned();
    let padded = service.key.token(&service.claims_with("sub", json!(format!("{sub}\0"))));
    service.refuses("a subject with a NUL behind it", &padded).await;
    let signed = service.key.token(&service.claims_with("jti", json!("+0000000000000000000000000000001")));
    service.refuses("a token id with a sign", &signed).await;
    for (name, value) in [("client_id", json!("a\nb")), ("roles", json!(["a\u{1b}[2J"])), ("amr", json!(["\0"]))] {
        service.refuses(name, &service.key.token(&service.claims_with(name, value))).await;
    }
    let many: Vec<String> = (0..100).map(|number| format!("role-{number}")).collect();
    service.refuses("a hundred roles", &service.key.token(&service.claims_with("roles", json!(many)))).await;
}

#[actix_web::test]
async fn a22_a_scope_is_compared_word_by_word() {
    let service = Service::start().await;
    let with_scope = |scope: Value| service.key.token(&service.claims_with("scope", scope));
    assert_eq!(service.status("/orders", &with_scope(json!("openid orders:read"))).await, 200);
    for scope in ["", "orders:readx", "orders", "xorders:read", "ORDERS:READ", "orders:read,admin"] {
        let answer = service.get("/orders", &with_scope(json!(scope))).await;
        assert_eq!(answer.status().as_u16(), 403, "{scope:?} got through");
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"orders:read\"");
    }
    assert_eq!(service.status("/orders", &service.key.token(&service.claims_without("scope"))).await, 403);
    let demanding = Service::demanding("orders").await;
    for scope in ["", "ordersx", "xorders", "ORDERS", "orders:read", "orders,cart", "cart\torders"] {
        let token = demanding.key.token(&demanding.claims_with("scope", json!(scope)));
        for path in ["/me", "/greeting", "/payment", "/clients"] {
            assert_ne!(demanding.status(path, &token).await, 200, "{scope:?} got through at {path}");
        }
    }
    for scope in [json!(["orders:read"]), json!(null), json!({"orders:read": true})] {
        service.refuses(&scope.to_string(), &with_scope(scope.clone())).await;
    }
    let token = service.good_token();
    let parts: Vec<&str> = token.split('.').collect();
    let wider = service.claims_with("roles", json!(["admin"])).to_string();
    service.refuses("wider claims under the old signature", &format!("{}.{}.{}", parts[0], b64(wider), parts[2])).await;
}

#[actix_web::test]
async fn a23_a_huge_token_is_refused_before_it_is_read() {
    let service = Service::start().await;
    let padded = |length: usize| service.key.token(&service.claims_with("pad", json!("a".repeat(length))));
    service.accepts("a token of nearly 8 KiB", &padded(5_000)).await;
    for kilobytes in [8, 64, 120] {
        service.refuses(&format!("{kilobytes} KiB"), &padded(kilobytes * 1024 * 3 / 4)).await;
    }
    for megabytes in [1, 3] {
        let token = padded(megabytes * 1024 * 1024);
        let begun = Instant::now();
        assert!(service.single_sign_on.verify(&token, &ANYBODYS).await.is_err());
        assert!(begun.elapsed() < Duration::from_millis(500), "{megabytes} MB took {:?}", begun.elapsed());
        // The server closes the connection before such a header is whole, or says that it is too large.
        let answer = service.http.get(format!("{}/me", service.base)).bearer_auth(&token).send().await;
        assert!(answer.is_err() || matches!(answer.unwrap().status().as_u16(), 400 | 413 | 431));
    }
    for name in ["aud", "roles", "sub", "scope", "exp"] {
        let deep = format!("{}{}", "[".repeat(2_500), "]".repeat(2_500));
        service.refuses(&format!("a deep {name}"), &with_raw(&service, name, &deep)).await;
    }
    let claims = service.claims().to_string();
    let deep_header = format!("{{\"alg\":{}", "{\"a\":".repeat(1_000));
    service.refuses("a deep header", &service.key.signed(&deep_header, &claims)).await;
    let many: String = (0..10_000).map(|number| format!(",\"c{number}\":1")).collect();
    let many = format!("{}{many}}}", &claims[..claims.len() - 1]);
    let many = service.key.signed(&service.key.header().to_string(), &many);
    assert!(service.single_sign_on.verify(&many, &ANYBODYS).await.is_err(), "10,000 claims");
}

#[actix_web::test]
async fn a24_an_encrypted_compressed_or_nested_token_is_refused() {
    let service = Service::start().await;
    let claims = service.claims().to_string();
    for header in [
        json!({"alg": "RSA-OAEP", "enc": "A256GCM", "typ": "at+jwt", "kid": service.key.id}),
        json!({"alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": 2_147_483_648_u32, "p2s": "AAAA", "kid": "k"}),
        json!({"alg": "dir", "enc": "A256GCM", "zip": "DEF", "kid": service.key.id}),
    ] {
        let encoded = b64(header.to_string());
        service.refuses("five parts", &format!("{encoded}.AAAA.AAAA.AAAA.AAAA")).await;
        service.refuses("three parts", &service.key.signed(&header.to_string(), &claims)).await;
    }
    for (name, value) in [("zip", json!("DEF")), ("cty", json!("JWT")), ("enc", json!("A256GCM"))] {
        service.refuses(name, &with_member(&service, name, value)).await;
    }
    let nested = service.key.signed(&service.key.header().to_string(), &service.good_token());
    service.refuses("a token in a token", &nested).await;
}

#[actix_web::test]
async fn a25_a_token_has_one_spelling() {
    let service = Service::start().await;
    // One whose text differs between the two alphabets.
    let token = std::iter::repeat_with(|| service.good_token()).find(|token| token.contains(['-', '_'])).unwrap();
    service.accepts("the token", &token).await;
    let parts: Vec<&str> = token.split('.').collect();
    let padded: Vec<String> =
        parts.iter().map(|part| format!("{part}{}", "=".repeat((4 - part.len() % 4) % 4))).collect();
    assert!(URL_SAFE.decode(&padded[0]).is_ok());
    let json = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string();
    let flattened = json!({"payload": parts[1], "signatures": [{"protected": parts[0], "signature": parts[2]}]});
    for spelling in [
        token.replace('-', "+").replace('_', "/"),
        padded.join("."),
        format!("{token}="),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{}", parts[2]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        "...".to_owned(),
        "..".to_owned(),
        token.replacen('.', ". ", 1),
        json,
        flattened.to_string(),
        format!("\"{token}\""),
        format!("{token},{token}"),
    ] {
        service.refuses(&spelling, &spelling).await;
    }
    for spelling in
        [format!(" {token}"), format!("{token} "), format!("{token}\n"), format!("{token}\0"), String::new()]
    {
        assert!(service.single_sign_on.verify(&spelling, &ANYBODYS).await.is_err(), "{spelling:?} got through");
    }
}

#[actix_web::test]
async fn a26_a_token_is_sent_once_and_in_the_header() {
    let service = Service::start().await;
    let (token, other) = (service.good_token(), service.good_token());
    for second in [&token, &other] {
        let request = service.http.get(format!("{}/me", service.base)).bearer_auth(&token).bearer_auth(second);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 400);
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.contains("error=\"invalid_request\""), "{challenge}");
    }
    let in_query = service.http.get(format!("{}/me?access_token={token}", service.base)).send().await.unwrap();
    assert_eq!(in_query.status().as_u16(), 401);
    let form = [("access_token", &token)];
    let in_form = service.http.get(format!("{}/me", service.base)).form(&form).send().await.unwrap();
    assert_eq!(in_form.status().as_u16(), 401);
    let in_cookie = service.http.get(format!("{}/me", service.base)).header("cookie", format!("SESSIONID={token}"));
    assert_eq!(in_cookie.send().await.unwrap().status().as_u16(), 401);
}

#[actix_web::test]
async fn a27_only_the_bearer_scheme_is_read_in_any_case() {
    let service = Service::start().await;
    let token = service.good_token();
    let send = async |value: String| {
        let request = service.http.get(format!("{}/me", service.base)).header("authorization", value);
        request.send().await.unwrap()
    };
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        assert_eq!(send(format!("{scheme} {token}")).await.status().as_u16(), 200, "{scheme}");
    }
    for value in [
        format!("Bearer\t{token}"),
        format!("Bearer{token}"),
        format!("Basic {token}"),
        format!("Basic {}", STANDARD.encode("ann:password")),
        format!("DPoP {token}"),
        format!("Token {token}"),
        format!("Bearer Bearer {token}"),
        format!("Bearer {token} {token}"),
        format!("Bearer {token}, Bearer {token}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer \u{e9}".to_owned(),
        token.clone(),
        String::new(),
    ] {
        let answer = send(value.clone()).await;
        assert_eq!(answer.status().as_u16(), 401, "{value:?} got through");
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
}
