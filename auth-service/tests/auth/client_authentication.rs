//! How a client proves who it is: attack B18, and what a client may count on.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::ResponseError as _;
use actix_web::test::TestRequest;
use auth_service::client_authentication::authenticate;
use auth_service::clients::registry::{Decided, create};
use auth_service::clients::{Client, FormerSecret, Metadata, Registrar, Scope, SecretHash};
use auth_service::form::Form;
use auth_service::oauth_error::OAuthError;
use auth_service::storage::audit::By;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use crate::document_server::{DocumentServer, NEVER};
use crate::harness::{App, logged, on_both};

const ISSUER: &str = "http://localhost:8081";
const TOKEN_ENDPOINT: &str = "http://localhost:8081/oauth2/token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

on_both! {
    a_secret_proves_who_a_client_is_in_the_header_and_in_the_form,
    a_strict_client_is_told_its_method_for_a_right_secret_alone,
    unknown_clients_and_wrong_secrets_get_one_answer,
    two_ways_at_once_are_refused,
    a_secret_in_the_header_is_form_encoded,
    odd_headers_prove_nothing,
    a_client_without_a_secret_is_only_named,
    a_disabled_client_proves_nothing,
    failures_are_throttled_and_shut_nobody_out with |config| config.throttle.client_failures = 3,
    an_assertion_proves_who_a_client_is_once,
    an_assertion_of_each_kind_of_key_is_taken,
    every_other_assertion_is_refused,
    the_log_tells_why_a_client_was_refused,
    one_of_many_equal_assertions_is_taken,
    keys_are_read_where_they_are_published_rarely_and_again_when_they_change,
    an_unknown_key_id_holds_up_no_assertion_with_a_known_one,
    keys_that_cannot_be_read_prove_nothing,
}

fn members(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("an object") };
    members
}

/// A client with this metadata, and its secret where it has one.
async fn client(app: &App, metadata: Value) -> (String, String) {
    let mut all = members(json!({"redirect_uris": ["https://shop.example/cb"]}));
    all.extend(members(metadata));
    let metadata = Metadata::read(all, Registrar::Administrator).unwrap();
    let decided = Decided { metadata, first_party: false, approved: None, disabled: false };
    let made = create(&app.service, None, decided, &By::SERVICE).await.unwrap();
    (made.client.id, made.secret.map_or(String::new(), |secret| secret.expose_secret().to_owned()))
}

#[derive(Default)]
struct Sent<'a> {
    authorization: Vec<String>,
    form: BTreeMap<&'a str, String>,
    path: Option<&'a str>,
}

async fn try_with(app: &App, sent: Sent<'_>) -> Result<Client, OAuthError> {
    let mut request = TestRequest::post().uri(sent.path.unwrap_or("/oauth2/token"));
    request = request.peer_addr("192.0.2.7:4711".parse().unwrap());
    for value in sent.authorization {
        request = request.append_header(("Authorization", value));
    }
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pairs: Vec<_> = sent.form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let form = Form::parse(pairs.join("&").as_bytes())?;
    authenticate(&app.service, &request.to_http_request(), &form).await
}

fn basic(id: &str, secret: &str) -> Sent<'static> {
    Sent { authorization: vec![format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))], ..Sent::default() }
}

fn post<'a>(pairs: &[(&'a str, &str)]) -> Sent<'a> {
    Sent { form: pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), ..Sent::default() }
}

fn asserted<'a>(assertion: &str) -> Sent<'a> {
    post(&[("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)])
}

/// The whole answer: status, error, challenge, description.
fn answer(result: Result<Client, OAuthError>) -> (u16, &'static str, Option<String>, String) {
    let error = result.expect_err("a refusal");
    let response = error.error_response();
    let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), error.error, challenge, error.description)
}

fn refused(result: Result<Client, OAuthError>) -> (u16, &'static str) {
    let (status, error, ..) = answer(result);
    (status, error)
}

async fn a_secret_proves_who_a_client_is_in_the_header_and_in_the_form(app: App) {
    for method in ["client_secret_basic", "client_secret_post"] {
        let (id, secret) = client(&app, json!({"token_endpoint_auth_method": method})).await;
        assert_eq!(try_with(&app, basic(&id, &secret)).await.unwrap().id, id, "{method}");
        let named = Sent { form: post(&[("client_id", &id)]).form, ..basic(&id, &secret) };
        assert_eq!(try_with(&app, named).await.unwrap().id, id, "{method}");
        let posted = post(&[("client_id", &id), ("client_secret", &secret)]);
        assert_eq!(try_with(&app, posted).await.unwrap().id, id, "{method}");
        let posted = post(&[("client_id", &id), ("client_secret", &secret[..42])]);
        assert_eq!(refused(try_with(&app, posted).await), (401, "invalid_client"), "{method}");
        let named = post(&[("client_id", &id)]);
        assert_eq!(refused(try_with(&app, named).await), (401, "invalid_client"), "{method}");
    }
}

async fn a_strict_client_is_told_its_method_for_a_right_secret_alone(app: App) {
    let strict = json!({"token_endpoint_auth_method": "client_secret_post", "strict_auth_method": true});
    let (id, secret) = client(&app, strict).await;
    let posted = post(&[("client_id", &id), ("client_secret", &secret)]);
    assert_eq!(try_with(&app, posted).await.unwrap().id, id);
    let (status, error, challenge, description) = answer(try_with(&app, basic(&id, &secret)).await);
    assert_eq!((status, error), (401, "invalid_client"));
    assert!(challenge.is_some() && description.contains("client_secret_post alone"), "{description}");
    let wrong = answer(try_with(&app, basic(&id, "wrong")).await);
    assert_eq!(wrong, answer(try_with(&app, basic("nobody", "wrong")).await), "a stranger learns nothing");
}

async fn unknown_clients_and_wrong_secrets_get_one_answer(app: App) {
    let (id, secret) = client(&app, json!({})).await;
    let (post_id, _) = client(&app, json!({"token_endpoint_auth_method": "client_secret_post"})).await;
    let wrong = answer(try_with(&app, basic(&id, "wrong")).await);
    assert_eq!((wrong.0, wrong.1), (401, "invalid_client"));
    assert!(wrong.2.as_ref().unwrap().starts_with("Basic realm="), "{wrong:?}");
    for (id, secret) in
        [("nobody", "wrong"), (&id, &secret[..42]), ("nobody", &secret), ("\u{0}", "x"), (&post_id, "x")]
    {
        assert_eq!(answer(try_with(&app, basic(id, secret)).await), wrong, "{id}");
    }
    let wrong = answer(try_with(&app, post(&[("client_id", &post_id), ("client_secret", "wrong")])).await);
    let unknown = answer(try_with(&app, post(&[("client_id", "nobody"), ("client_secret", "wrong")])).await);
    assert_eq!((wrong.0, wrong.1, wrong.2.as_deref()), (401, "invalid_client", None));
    assert_eq!(unknown, wrong);
    assert_eq!(answer(try_with(&app, post(&[])).await), wrong, "and so does nobody at all");
}

async fn two_ways_at_once_are_refused(app: App) {
    let (id, secret) = client(&app, json!({})).await;
    let both = Sent { form: post(&[("client_id", &id), ("client_secret", &secret)]).form, ..basic(&id, &secret) };
    assert_eq!(refused(try_with(&app, both).await), (400, "invalid_request"));
    let assertion = asserted("a.b.c");
    let both = Sent { form: assertion.form, ..basic(&id, &secret) };
    assert_eq!(refused(try_with(&app, both).await), (400, "invalid_request"));
    let mut both = asserted("a.b.c");
    both.form.insert("client_secret", secret.clone());
    assert_eq!(refused(try_with(&app, both).await), (400, "invalid_request"));
    let mut headers = basic(&id, &secret);
    headers.authorization.push(headers.authorization[0].clone());
    assert_eq!(refused(try_with(&app, headers).await), (400, "invalid_request"));
    let half = post(&[("client_assertion", "a.b.c")]);
    assert_eq!(refused(try_with(&app, half).await), (400, "invalid_request"));
    let other = Sent { form: post(&[("client_id", "another")]).form, ..basic(&id, &secret) };
    assert_eq!(refused(try_with(&app, other).await), (401, "invalid_client"), "two names are no name");
}

async fn a_secret_in_the_header_is_form_encoded(app: App) {
    let secret = "a:b%c+d e/\u{fc}=&0123456789abcdefghij";
    let (id, _) = client(&app, json!({})).await;
    let database = &app.service.database;
    let mut transaction = database.begin().await.unwrap();
    let held = auth_service::storage::clients::hold(&mut transaction, &id).await.unwrap().unwrap();
    let chosen = Client { secret_hash: Some(SecretHash::of(secret)), ..held };
    auth_service::storage::clients::update(&mut transaction, &chosen).await.unwrap();
    transaction.commit().await.unwrap();
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    assert!(encoded.contains("%3A") && encoded.contains('+'));
    assert_eq!(try_with(&app, basic(&id, &encoded)).await.unwrap().id, id);
    assert_eq!(refused(try_with(&app, basic(&id, secret)).await), (401, "invalid_client"), "as RFC 6749 says");
}

async fn odd_headers_prove_nothing(app: App) {
    let (id, secret) = client(&app, json!({})).await;
    let good = STANDARD.encode(format!("{id}:{secret}"));
    let unpadded = STANDARD.encode(format!("{id}:"));
    for header in [
        "".to_owned(),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        format!("Basic\t{good}"),
        format!("Basic{good}"),
        format!("Bearer {good}"),
        format!("Basic {good} x"),
        format!("Basic {}", &good[1..]),
        format!("Basic {unpadded}"),
        format!("Basic {}", STANDARD.encode(&id)),
        format!("Basic {}", STANDARD.encode([0xff, b':', 0xff])),
        format!("Basic {}", STANDARD.encode(format!("{id}%00:{secret}"))),
        format!("Basic {}", STANDARD.encode(format!("{id}:{secret}%"))),
    ] {
        let (status, error, challenge, _) =
            answer(try_with(&app, Sent { authorization: vec![header.clone()], ..Sent::default() }).await);
        assert_eq!((status, error, challenge.is_some()), (401, "invalid_client", true), "{header}");
    }
    for header in [format!("basic {good}"), format!("BASIC  {good} ")] {
        assert!(try_with(&app, Sent { authorization: vec![header], ..Sent::default() }).await.is_ok());
    }
}

async fn a_client_without_a_secret_is_only_named(app: App) {
    let (id, secret) = client(&app, json!({"token_endpoint_auth_method": "none"})).await;
    assert!(secret.is_empty());
    let named = try_with(&app, post(&[("client_id", &id)])).await.unwrap();
    assert!(named.is_public());
    for sent in [basic(&id, "x"), post(&[("client_id", &id), ("client_secret", "x")]), basic(&id, "")] {
        assert_eq!(refused(try_with(&app, sent).await), (401, "invalid_client"), "it has no secret to show");
    }
}

async fn a_disabled_client_proves_nothing(app: App) {
    let (id, secret) = client(&app, json!({})).await;
    let mut transaction = app.service.database.begin().await.unwrap();
    let held = auth_service::storage::clients::hold(&mut transaction, &id).await.unwrap().unwrap();
    let disabled = Client { disabled_at: Some(app.clock.now()), ..held };
    auth_service::storage::clients::update(&mut transaction, &disabled).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(refused(try_with(&app, basic(&id, &secret)).await), (401, "invalid_client"));
}

async fn failures_are_throttled_and_shut_nobody_out(app: App) {
    let (id, secret) = client(&app, json!({})).await;
    for name in [id.as_str(), "nobody"] {
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(refused(try_with(&app, basic(name, "wrong")).await).0);
        }
        assert_eq!(statuses, [401, 401, 401, 429, 429], "{name}");
    }
    let throttled = try_with(&app, basic(&id, "wrong")).await.err().unwrap().error_response();
    assert!(throttled.headers().contains_key("retry-after"));
    assert!(try_with(&app, basic(&id, &secret)).await.is_ok(), "who proves it is not shut out");
    let entries = auth_service::storage::audit::page(&app.service.database, None, None, 100).await.unwrap();
    let noted: Vec<_> = entries.iter().filter(|entry| entry.act == "authenticate_client").collect();
    assert_eq!(noted.len(), 2, "once in each window");
    assert!(noted.iter().all(|entry| entry.outcome == "throttled" && entry.address.as_deref() == Some("192.0.2.7")));
    app.clock.advance(Duration::from_secs(901));
    assert_eq!(refused(try_with(&app, basic(&id, "wrong")).await).0, 401);
}

pub(crate) enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Pair {
    pub(crate) fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn public(&self, id: &str) -> Value {
        match self {
            Self::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()), "kid": id})
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]), "kid": id})
            }
            Self::Rsa(pair) => {
                let key = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": encode(&key.n), "e": encode(&key.e), "kid": id})
            }
        }
    }

    fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding =
                    if alg == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    pub(crate) fn assertion(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let alg = header["alg"].as_str().unwrap_or_default();
        format!("{message}.{}", encode(&self.sign(alg, message.as_bytes())))
    }
}

fn good_claims(app: &App, id: &str) -> Value {
    let now = app.clock.now().seconds();
    let jti = uuid::Uuid::new_v4().to_string();
    json!({"iss": id, "sub": id, "aud": ISSUER, "exp": now + 60, "iat": now, "jti": jti})
}

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "k"})
}

async fn with_key(app: &App, pair: &Pair) -> String {
    let metadata = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [pair.public("k")]}});
    client(app, metadata).await.0
}

async fn an_assertion_proves_who_a_client_is_once(app: App) {
    let pair = Pair::ed();
    let id = with_key(&app, &pair).await;
    let assertion = pair.assertion(&header(), &good_claims(&app, &id));
    assert_eq!(try_with(&app, asserted(&assertion)).await.unwrap().id, id);
    assert_eq!(refused(try_with(&app, asserted(&assertion)).await), (401, "invalid_client"), "a replay");
    let floats = {
        let mut claims = good_claims(&app, &id);
        claims["exp"] = json!(app.clock.now().seconds() as f64 + 60.5);
        claims
    };
    let far = {
        let mut claims = good_claims(&app, &id);
        claims["exp"] = json!(app.clock.now().seconds() + 3_600);
        claims
    };
    let mut good = vec![
        (header(), floats),
        (header(), far),
        (json!({"alg": "EdDSA", "typ": "JWT", "kid": "k"}), good_claims(&app, &id)),
        (json!({"alg": "EdDSA", "typ": "client-authentication+jwt", "kid": "k"}), good_claims(&app, &id)),
        (json!({"alg": "EdDSA"}), good_claims(&app, &id)),
        (json!({"alg": "EdDSA", "jwk": Pair::ed().public("k")}), good_claims(&app, &id)),
    ];
    for audience in [json!(TOKEN_ENDPOINT), json!([ISSUER]), json!([ISSUER, TOKEN_ENDPOINT])] {
        let mut claims = good_claims(&app, &id);
        claims["aud"] = audience;
        good.push((header(), claims));
    }
    for (header, claims) in good {
        let sent = try_with(&app, asserted(&pair.assertion(&header, &claims))).await;
        assert!(sent.is_ok(), "{header} {claims}");
    }
    let mut claims = good_claims(&app, &id);
    claims["aud"] = json!(format!("{ISSUER}/oauth2/introspect"));
    let elsewhere = Sent { path: Some("/oauth2/introspect"), ..asserted(&pair.assertion(&header(), &claims)) };
    assert!(try_with(&app, elsewhere).await.is_ok(), "the endpoint that it is sent to");
    let mut named = asserted(&pair.assertion(&header(), &good_claims(&app, &id)));
    named.form.insert("client_id", id.clone());
    assert!(try_with(&app, named).await.is_ok());
}

async fn an_assertion_of_each_kind_of_key_is_taken(app: App) {
    let pairs = [
        ("EdDSA", Pair::ed()),
        ("ES256", Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())),
        ("RS256", Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())),
        ("PS256", Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())),
    ];
    for (alg, pair) in &pairs {
        let id = with_key(&app, pair).await;
        let good = pair.assertion(&json!({"alg": alg, "kid": "k"}), &good_claims(&app, &id));
        assert!(try_with(&app, asserted(&good)).await.is_ok(), "{alg}");
        for (other, _) in pairs.iter().filter(|(other, _)| other != alg) {
            let forged = pair.assertion(&json!({"alg": other, "kid": "k"}), &good_claims(&app, &id));
            // An RSA key that names no algorithm signs by either.
            let by_rsa =
                alg.ends_with("S256") && other.ends_with("S256") && !alg.starts_with('E') && !other.starts_with('E');
            if !by_rsa {
                assert_eq!(
                    refused(try_with(&app, asserted(&forged)).await),
                    (401, "invalid_client"),
                    "{alg} as {other}"
                );
            }
        }
    }
}

async fn the_log_tells_why_a_client_was_refused(app: App) {
    let (pair, stranger) = (Pair::ed(), Pair::ed());
    let (by_key, (by_secret, secret)) =
        (with_key(&app, &pair).await, client(&app, json!({"strict_auth_method": true})).await);
    let with = |name: &str, value: Value| {
        let mut claims = good_claims(&app, &by_key);
        claims[name] = value;
        pair.assertion(&header(), &claims)
    };
    let now = app.clock.now().seconds();
    let used = pair.assertion(&header(), &good_claims(&app, &by_key));
    try_with(&app, asserted(&used)).await.unwrap();
    let nobody = format!("nobody-{}", uuid::Uuid::new_v4().simple());
    let other_key = pair.assertion(&json!({"alg": "EdDSA", "kid": "other"}), &good_claims(&app, &by_key));
    let foreign = stranger.assertion(&header(), &good_claims(&app, &by_key));
    for (sent, client, reason) in [
        (basic(&nobody, "x"), &nobody, "unknown_client"),
        (basic(&by_secret, "wrong"), &by_secret, "wrong_secret"),
        (post(&[("client_id", &by_secret), ("client_secret", &secret)]), &by_secret, "wrong_method"),
        (asserted(&with("exp", json!(now + 86_400))), &by_key, "assertion_too_long_lived"),
        (asserted(&with("exp", json!(now - 1))), &by_key, "assertion_expired"),
        (asserted(&with("nbf", json!(now + 3600))), &by_key, "assertion_not_yet_valid"),
        (asserted(&with("aud", json!("https://evil.example"))), &by_key, "assertion_wrong_audience"),
        (asserted(&other_key), &by_key, "assertion_unknown_key"),
        (asserted(&foreign), &by_key, "assertion_wrong_signature"),
        (asserted(&used), &by_key, "assertion_repeated"),
    ] {
        assert_eq!(refused(try_with(&app, sent).await), (401, "invalid_client"), "{reason}");
        let (of, why) = (format!("\"client\":\"{client}\""), format!("\"reason\":\"{reason}\""));
        let lines = logged().lines().filter(|line| line.contains(&of) && line.contains(&why)).count();
        assert_eq!(lines, 1, "{reason}");
    }
    let method =
        logged().lines().find(|line| line.contains(&by_secret) && line.contains("wrong_method")).unwrap().to_owned();
    for named in ["\"shown\":\"client_secret_post\"", "\"registered\":\"client_secret_basic\"", "\"level\":\"WARN\""] {
        assert!(method.contains(named) && !method.contains(&secret), "{method}");
    }
}

async fn every_other_assertion_is_refused(app: App) {
    let (pair, stranger) = (Pair::ed(), Pair::ed());
    let id = with_key(&app, &pair).await;
    let other = with_key(&app, &stranger).await;
    let now = app.clock.now().seconds();
    let claims_with = |name: &str, value: Value| {
        let mut claims = good_claims(&app, &id);
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good_claims(&app, &id);
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let odd_claims = vec![
        claims_with("iss", json!(other)),
        claims_with("sub", json!(other)),
        claims_with("iss", json!([id])),
        claims_with("aud", json!("https://evil.example")),
        claims_with("aud", json!([ISSUER, "https://evil.example"])),
        claims_with("aud", json!([])),
        claims_with("aud", json!("")),
        claims_with("aud", json!({"a": ISSUER})),
        claims_with("aud", json!(format!("{ISSUER}/"))),
        claims_with("aud", json!(format!("{ISSUER}/oauth2/revoke"))),
        claims_with("aud", json!("HTTP://localhost:8081")),
        claims_with("exp", json!(now - 1)),
        claims_with("exp", json!(now - 300)),
        claims_with("exp", json!(now + 3_700)),
        claims_with("exp", json!(now + 86_400)),
        claims_with("exp", json!((now + 60).to_string())),
        claims_with("exp", json!(-1)),
        claims_with("exp", json!(1e300)),
        claims_with("exp", json!(null)),
        claims_with("nbf", json!(now + 3600)),
        claims_with("nbf", json!("0")),
        claims_with("iat", json!(now + 3600)),
        claims_with("jti", json!("")),
        claims_with("jti", json!(7)),
        claims_with("jti", json!("x".repeat(257))),
        without("iss"),
        without("sub"),
        without("aud"),
        without("exp"),
        without("jti"),
    ];
    for claims in odd_claims {
        let sent = try_with(&app, asserted(&pair.assertion(&header(), &claims))).await;
        assert_eq!(refused(sent), (401, "invalid_client"), "{claims}");
    }
    for header in [
        json!({"alg": "none", "kid": "k"}),
        json!({"alg": "HS256", "kid": "k"}),
        json!({"alg": "eddsa", "kid": "k"}),
        json!({"alg": "EdDSA", "kid": "other"}),
        json!({"alg": "EdDSA", "kid": ["k"]}),
        json!({"alg": "EdDSA", "kid": "k", "typ": "at+jwt"}),
        json!({"alg": "EdDSA", "kid": "k", "typ": "logout+jwt"}),
        json!({"alg": "EdDSA", "kid": "k", "crit": ["exp"]}),
        json!({"alg": "EdDSA", "kid": "k", "crit": []}),
        json!({"kid": "k"}),
    ] {
        let sent = try_with(&app, asserted(&pair.assertion(&header, &good_claims(&app, &id)))).await;
        assert_eq!(refused(sent), (401, "invalid_client"), "{header}");
    }
    let good = pair.assertion(&header(), &good_claims(&app, &id));
    let (message, _) = good.rsplit_once('.').unwrap();
    let foreign = stranger.assertion(&header(), &good_claims(&app, &id));
    let own_key = json!({"alg": "EdDSA", "kid": "k", "jwk": stranger.public("k")});
    let doubled = format!("{{\"sub\":\"{id}\",{}", &good_claims(&app, &id).to_string()[1..]);
    let doubled = format!("{}.{}", encode(header().to_string().as_bytes()), encode(doubled.as_bytes()));
    let doubled = format!("{doubled}.{}", encode(&pair.sign("EdDSA", doubled.as_bytes())));
    for text in [
        format!("{message}."),
        format!("{message}.{}", encode(&[0; 64])),
        message.to_owned(),
        format!("{good}="),
        format!("{good}\n"),
        format!("{good}.x"),
        foreign,
        stranger.assertion(&own_key, &good_claims(&app, &id)),
        doubled,
        "a.b.c".to_owned(),
        "..".to_owned(),
        "x".repeat(10_000),
    ] {
        let sent = try_with(&app, asserted(&text)).await;
        assert_eq!(refused(sent), (401, "invalid_client"), "{text}");
    }
    let mut named = asserted(&good);
    named.form.insert("client_id", other.clone());
    assert_eq!(refused(try_with(&app, named).await), (401, "invalid_client"), "another client's assertion");
    let mut typed = asserted(&good);
    typed.form.insert("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer".to_owned());
    assert_eq!(refused(try_with(&app, typed).await), (401, "invalid_client"));
    assert!(try_with(&app, asserted(&good)).await.is_ok(), "and what was refused has used nothing up");
    let (secret_id, _) = client(&app, json!({"jwks": {"keys": [pair.public("k")]}})).await;
    let unregistered = pair.assertion(&header(), &good_claims(&app, &secret_id));
    assert_eq!(refused(try_with(&app, asserted(&unregistered)).await), (401, "invalid_client"), "not its method");
}

async fn one_of_many_equal_assertions_is_taken(app: App) {
    let pair = Pair::ed();
    let id = with_key(&app, &pair).await;
    let assertion = pair.assertion(&header(), &good_claims(&app, &id));
    let sent = crate::harness::all((0..16).map(|_| try_with(&app, asserted(&assertion)))).await;
    assert_eq!(sent.iter().filter(|sent| sent.is_ok()).count(), 1);
}

async fn keys_are_read_where_they_are_published_rarely_and_again_when_they_change(app: App) {
    let (old, new) = (Pair::ed(), Pair::ed());
    let server = DocumentServer::start(json!({"keys": [old.public("k")]})).await;
    let (id, _) =
        client(&app, json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": server.url()})).await;
    let by = |pair: &Pair, kid: &str| {
        let header = json!({"alg": "EdDSA", "kid": kid});
        asserted(&pair.assertion(&header, &good_claims(&app, &id)))
    };
    let sent = crate::harness::all((0..16).map(|_| try_with(&app, by(&old, "k")))).await;
    assert!(sent.iter().all(Result::is_ok));
    assert_eq!(server.reads(), 1, "one read serves all who wait");

    server.serve(200, json!({"keys": [new.public("n")]}));
    app.clock.advance(Duration::from_secs(2));
    assert!(try_with(&app, by(&new, "n")).await.is_ok(), "a client signs with the key that it has just published");
    assert_eq!(server.reads(), 2);
    for _ in 0..50 {
        app.clock.advance(Duration::from_millis(500));
        assert!(try_with(&app, by(&old, "unknown")).await.is_err());
    }
    assert!(server.reads() <= 7, "unknown ids make few reads: {}", server.reads());
    let reads = server.reads();
    assert!(try_with(&app, by(&old, "k")).await.is_err(), "what is no longer published proves nothing");

    server.serve(500, "");
    app.clock.advance(Duration::from_secs(601));
    assert!(try_with(&app, by(&new, "n")).await.is_ok(), "the last good keys stay for a while");
    assert_eq!(server.reads(), reads + 1);
    app.clock.advance(Duration::from_secs(3600));
    assert!(try_with(&app, by(&new, "n")).await.is_err(), "but not for ever");
}

/// HB6
async fn an_unknown_key_id_holds_up_no_assertion_with_a_known_one(app: App) {
    let pair = Pair::ed();
    let server = DocumentServer::start(json!({"keys": [pair.public("k")]})).await;
    let (id, _) =
        client(&app, json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": server.url()})).await;
    let with = |kid: &str| {
        let header = json!({"alg": "EdDSA", "kid": kid});
        try_with(&app, asserted(&pair.assertion(&header, &good_claims(&app, &id))))
    };
    assert!(with("k").await.is_ok());
    server.serve(NEVER, "");
    app.clock.advance(Duration::from_secs(31));
    let mut waits = Box::pin(with("unknown"));
    let reads = async {
        while server.reads() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = &mut waits => panic!("there is no answer yet"),
        () = reads => {}
    }
    tokio::select! {
        biased;
        good = with("k") => assert!(good.is_ok()),
        _ = &mut waits => panic!("the good one waited for the other"),
    }
    assert!(waits.await.is_err());
}

async fn keys_that_cannot_be_read_prove_nothing(app: App) {
    let pair = Pair::ed();
    let server = DocumentServer::start(json!({})).await;
    let good = json!({"keys": [pair.public("k")]}).to_string();
    let private = {
        let mut key = pair.public("k");
        key["d"] = json!("AA");
        json!({"keys": [key]}).to_string()
    };
    let (id, _) =
        client(&app, json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": server.url()})).await;
    let try_now = async || try_with(&app, asserted(&pair.assertion(&header(), &good_claims(&app, &id)))).await;
    for (status, body) in [
        (302, good.clone()),
        (404, good.clone()),
        (500, String::new()),
        (200, "<html>".to_owned()),
        (200, private),
        (200, json!({"keys": []}).to_string()),
        (200, format!("{good}{}", " ".repeat(70_000))),
    ] {
        server.serve(status, body.clone());
        app.clock.advance(Duration::from_secs(31));
        let reads = server.reads();
        assert_eq!(refused(try_now().await), (401, "invalid_client"), "{status} {}", &body[..body.len().min(50)]);
        assert_eq!(server.reads(), reads + 1, "and no redirect is followed");
    }
    server.serve(200, good);
    app.clock.advance(Duration::from_secs(31));
    assert!(try_now().await.is_ok());

    // A client that registered itself has no say in what this service calls inside.
    let scope = Scope::identity();
    let by = Registrar::Itself { scope: &scope, may_name_this_machine: true };
    let metadata = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://10.0.0.1/jwks",
                          "redirect_uris": ["https://shop.example/cb"]});
    let inside = Client {
        id: "inside".to_owned(),
        metadata: Metadata::read(members(metadata), by).unwrap(),
        secret_hash: None,
        former_secret: FormerSecret::default(),
        registration_token_hash: Some(SecretHash::of("token")),
        first_party: false,
        approved: false,
        epoch: 0,
        created_at: app.clock.now(),
        disabled_at: None,
    };
    let mut transaction = app.service.database.begin().await.unwrap();
    assert!(auth_service::storage::clients::insert(&mut transaction, &inside).await.unwrap());
    transaction.commit().await.unwrap();
    let sent = try_with(&app, asserted(&pair.assertion(&header(), &good_claims(&app, "inside")))).await;
    assert_eq!(refused(sent), (401, "invalid_client"));
}
