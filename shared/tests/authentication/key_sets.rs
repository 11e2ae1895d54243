//! A30 and the key set: what is taken, what is refused whole, and what happens when the issuer is away.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::token::{KeySet, KeySetError};

use crate::keys::{Key, b64, key_set};
use crate::rig::{Answer, KeyServer, Service, eventually};

/// A JWK with one member changed, or without it where the value is null.
fn jwk_with(key: &Key, name: &str, value: Value) -> Value {
    let mut jwk = key.jwk();
    match value {
        Value::Null => drop(jwk.as_object_mut().unwrap().remove(name)),
        value => jwk[name] = value,
    }
    jwk
}

fn refusal(keys: Value) -> Option<KeySetError> {
    KeySet::default().replace(json!({"keys": keys}).to_string().as_bytes()).err()
}

#[test]
fn a_set_of_sound_keys_is_taken() {
    let (ed, es, rs) = (Key::ed("ed"), Key::es("es.1"), Key::rs("rs~1_-"));
    let keys = KeySet::default();
    assert!(!keys.has_keys());
    assert_eq!(keys.replace(key_set(&[&ed, &es, &rs]).to_string().as_bytes()), Ok(3));
    assert!(keys.has_keys());
    for key in [&ed, &es, &rs] {
        let published = keys.find(&key.id).unwrap();
        assert_eq!(published.algorithm().as_str(), key.alg());
        assert!(published.verifies(b"message", &b64(key.sign(b"message"))));
        assert!(!published.verifies(b"massage", &b64(key.sign(b"message"))));
    }
    assert!(keys.find("other").is_none());
    for (name, value) in [("use", json!(null)), ("key_ops", json!(["verify"])), ("x5t", json!("AAAA"))] {
        assert_eq!(refusal(json!([jwk_with(&ed, name, value)])), None, "{name} is allowed (RFC 7517, section 4)");
    }
}

#[test]
fn one_weak_odd_or_private_key_refuses_the_whole_set() {
    let (ed, es, rs) = (Key::ed("ed"), Key::es("es"), Key::rs("rs"));
    let long_id = "k".repeat(129);
    let weak_rsa = b64([[0xff; 127].as_slice(), &[0xfb]].concat());
    let symmetric = json!({"kty": "oct", "k": b64([7; 32]), "kid": "oct", "alg": "HS256"});
    let cases = [
        ("symmetric", symmetric),
        ("empty symmetric", json!({"kty": "oct", "k": "", "kid": "oct", "alg": "HS256"})),
        ("symmetric under another alg", json!({"kty": "oct", "k": b64([7; 32]), "kid": "oct", "alg": "EdDSA"})),
        ("private EdDSA", jwk_with(&ed, "d", json!(b64([7; 32])))),
        ("private RSA", jwk_with(&rs, "p", json!(b64([7; 32])))),
        ("RSA-1024", jwk_with(&rs, "n", json!(weak_rsa))),
        ("RSA with an even modulus", jwk_with(&rs, "n", json!(b64([0xfe; 256])))),
        ("RSA-16384", jwk_with(&rs, "n", json!(b64([0xff; 2048])))),
        ("RSA with a leading nought", jwk_with(&rs, "n", json!(b64([[0].as_slice(), &[0xff; 256]].concat())))),
        ("RSA, e = 1", jwk_with(&rs, "e", json!("AQ"))),
        ("RSA, e = 3", jwk_with(&rs, "e", json!("Aw"))),
        ("RSA, e even", jwk_with(&rs, "e", json!("AQAA"))),
        ("RSA without n", jwk_with(&rs, "n", json!(null))),
        ("RSA as RS512", jwk_with(&rs, "alg", json!("RS512"))),
        ("RSA as PS256", jwk_with(&rs, "alg", json!("PS256"))),
        ("RSA as ES256", jwk_with(&rs, "alg", json!("ES256"))),
        ("EC on another curve", jwk_with(&es, "crv", json!("P-384"))),
        ("EC on secp256k1", jwk_with(&es, "crv", json!("secp256k1"))),
        ("EC as EdDSA", jwk_with(&es, "alg", json!("EdDSA"))),
        ("EC as RS256", jwk_with(&es, "alg", json!("RS256"))),
        ("EC off its curve", jwk_with(&es, "y", json!(b64([7; 32])))),
        ("EC cut short", jwk_with(&es, "x", json!(b64([7; 31])))),
        (
            "EC at infinity",
            json!({"kty": "EC", "crv": "P-256", "x": b64([0; 32]), "y": b64([0; 32]), "kid": "z", "alg": "ES256"}),
        ),
        ("Ed448", jwk_with(&ed, "crv", json!("Ed448"))),
        ("X25519", jwk_with(&ed, "crv", json!("X25519"))),
        ("Ed25519 as ES256", jwk_with(&ed, "alg", json!("ES256"))),
        ("Ed25519 cut short", jwk_with(&ed, "x", json!(b64([7; 31])))),
        ("Ed25519 with padding", jwk_with(&ed, "x", json!(format!("{}=", b64([7; 32]))))),
        ("no alg", jwk_with(&ed, "alg", json!(null))),
        ("alg none", jwk_with(&ed, "alg", json!("none"))),
        ("alg in lower case", jwk_with(&ed, "alg", json!("eddsa"))),
        ("alg that is no text", jwk_with(&ed, "alg", json!(["EdDSA"]))),
        ("for encryption", jwk_with(&ed, "use", json!("enc"))),
        ("use that is no text", jwk_with(&ed, "use", json!(1))),
        ("to sign", jwk_with(&ed, "key_ops", json!(["sign", "verify"]))),
        ("no kid", jwk_with(&ed, "kid", json!(null))),
        ("an empty kid", jwk_with(&ed, "kid", json!(""))),
        ("a long kid", jwk_with(&ed, "kid", json!(long_id))),
        ("a kid with a slash", jwk_with(&ed, "kid", json!("../k"))),
        ("a kid with a line end", jwk_with(&ed, "kid", json!("k\n"))),
        ("a kid that is a number", jwk_with(&ed, "kid", json!(1))),
        ("no kty", jwk_with(&ed, "kty", json!(null))),
        ("no object", json!("key")),
        ("an array", json!(["OKP"])),
    ];
    let good = Key::ed("good");
    for (what, bad) in cases {
        assert!(refusal(json!([bad])).is_some(), "{what} was taken");
        assert!(refusal(json!([good.jwk(), bad])).is_some(), "{what} was taken beside a sound key");
    }
    let same = Key::es("ed");
    assert!(refusal(json!([ed.jwk(), same.jwk()])).is_some(), "two keys under one kid");
    assert!(refusal(json!([])).is_some(), "an empty set");
    let many: Vec<Value> = (0..33).map(|number| Key::ed(&format!("k{number}")).jwk()).collect();
    assert!(refusal(json!(many)).is_some(), "33 keys");
}

#[test]
fn a_point_under_which_anybody_can_sign_is_no_key() {
    let p = |first: u8| [[first].as_slice(), &[0xff; 30], &[0x7f]].concat();
    let near_nought = |first: u8, last: u8| [[first].as_slice(), &[0; 30], &[last]].concat();
    let of_order_8 = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];
    let from_hex = |text: &str| -> Vec<u8> {
        (0..32).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect()
    };
    let mut points = vec![near_nought(0, 0), near_nought(0, 0x80), near_nought(1, 0), p(0xec), p(0xed), p(0xee)];
    points.extend(of_order_8.map(from_hex));
    for x in points {
        // The proof: without any private key, the same signature fits one in eight messages, or all.
        let forged = [near_nought(1, 0), vec![0; 32]].concat();
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, &x);
        let fits = (0..200_u32).filter(|number| key.verify(&number.to_be_bytes(), &forged).is_ok()).count();
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&x), "kid": "k", "alg": "EdDSA"});
        assert!(refusal(json!([jwk])).is_some(), "{x:x?} was taken; the forgery fits {fits} of 200");
    }
}

#[test]
fn what_is_no_key_set_is_refused_and_never_panics() {
    let jwk = Key::ed("k").jwk().to_string();
    let deep = "[".repeat(50_000);
    for json in [
        "",
        "null",
        "[]",
        "{}",
        "{\"keys\":null}",
        "{\"keys\":{}}",
        "<html>",
        "\u{0}",
        &deep,
        &format!("[[{jwk}]]"),
        &format!("{{\"keys\":[{jwk}],\"keys\":[{jwk}]}}"),
        &format!("{{\"keys\":[{jwk}]}} trailing"),
        &format!("{{\"keys\":[{{\"kid\":\"other\",{}]}}", &jwk[1..]),
        &jwk,
    ] {
        let start: String = json.chars().take(40).collect();
        assert!(KeySet::default().replace(json.as_bytes()).is_err(), "{start} was taken");
    }
}

#[test]
fn a_refused_set_leaves_the_last_good_one() {
    let (keys, good) = (KeySet::default(), Key::ed("good"));
    keys.replace(key_set(&[&good]).to_string().as_bytes()).unwrap();
    let kept = keys.find("good").unwrap();
    assert!(keys.replace(br#"{"keys":[]}"#).is_err());
    assert!(keys.find("good").is_some() && !kept.is_withdrawn());
    let other = Key::ed("good");
    keys.replace(key_set(&[&other]).to_string().as_bytes()).unwrap();
    assert!(kept.is_withdrawn(), "another key took its id");
}

#[actix_web::test]
async fn a30_a_token_is_good_for_as_long_as_its_key_is_published() {
    let service = Service::without_cool_down().await;
    let old = service.good_token();
    service.accepts("the old key's token", &old).await;
    let next = Key::ed("2026-12");
    let new = next.token(&service.claims());
    service.refuses("a token of a key that is not published", &new).await;

    service.key_server.publish(&[&service.key, &next]);
    service.accepts("the new key's token", &new).await;
    service.accepts("the old key's token, in its grace", &old).await;
    service.accepts("one that nobody has seen", &service.good_token()).await;

    service.key_server.publish(&[&next]);
    // An unknown key id makes the service read the set again.
    service.refuses("a stranger's token", &Key::ed("stranger").token(&service.claims())).await;
    service.refuses("the retired key's token, though it was remembered", &old).await;
    service.refuses("the retired key's token", &service.good_token()).await;
    service.accepts("the new key's token", &new).await;
}

#[actix_web::test]
async fn a_key_that_comes_under_a_known_id_ends_the_old_ones_tokens() {
    let service = Service::without_cool_down().await;
    let old = service.good_token();
    service.accepts("the old key's token", &old).await;
    let imposter = Key::es(&service.key.id);
    service.key_server.publish(&[&imposter]);
    service.refuses("a stranger's token", &Key::ed("stranger").token(&service.claims())).await;
    service.refuses("the old key's token", &old).await;
    service.accepts("the token of the key that is published", &imposter.token(&service.claims())).await;
}

#[actix_web::test]
async fn the_last_good_set_stays_while_the_issuer_is_away_or_publishes_nonsense() {
    let service = Service::without_cool_down().await;
    let remembered = service.good_token();
    service.accepts("a token", &remembered).await;
    let stranger = Key::ed("stranger").token(&service.claims());
    let mixed = json!({"keys": [Key::ed("stranger").jwk(), {"kty": "oct", "k": "AAAA", "kid": "o", "alg": "HS256"}]});
    let large = json!({"keys": [Key::ed("stranger").jwk()], "pad": "a".repeat(70_000)});
    let elsewhere = KeyServer::start(Answer::Keys(key_set(&[&Key::ed("stranger")]).to_string()));
    for answer in [
        Answer::Status(500),
        Answer::Status(404),
        Answer::Keys("{\"keys\":[]}".to_owned()),
        Answer::Keys("<html>sign in to the hotel's network</html>".to_owned()),
        Answer::Keys(mixed.to_string()),
        Answer::Keys(large.to_string()),
        Answer::Redirect(elsewhere.url.clone()),
    ] {
        service.key_server.answer(answer);
        let before = service.key_server.hits();
        service.refuses("a stranger's token", &stranger).await;
        assert!(service.key_server.hits() > before, "the set was not asked for");
        service.accepts("a token that is remembered", &remembered).await;
        service.accepts("a token that is not", &service.good_token()).await;
    }
    assert_eq!(elsewhere.hits(), 0, "a redirect was followed");
    service.key_server.stop().await;
    service.refuses("a stranger's token", &stranger).await;
    service.accepts("a token with the issuer away", &service.good_token()).await;
}

#[actix_web::test]
async fn many_who_wait_for_a_new_key_share_one_read() {
    let service = Service::start().await;
    let next = Key::ed("2026-12");
    service.key_server.publish(&[&service.key, &next]);
    let before = service.key_server.hits();
    let tokens: Vec<String> = (0..60).map(|_| next.token(&service.claims())).collect();
    let statuses = join_all(tokens.iter().map(|token| service.status("/me", token))).await;
    assert_eq!(statuses.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([200]));
    assert_eq!(service.key_server.hits() - before, 1);
}

#[actix_web::test]
async fn who_waits_for_an_issuer_that_is_silent_is_refused_in_time() {
    let service = Service::start().await;
    service.key_server.answer(Answer::Silence);
    let stranger = Key::ed("stranger").token(&service.claims());
    let begun = Instant::now();
    let waiting: Vec<_> = (0..20).map(|_| service.status("/me", &stranger)).collect();
    let known = service.good_token();
    let (statuses, ()) = tokio::join!(join_all(waiting), service.accepts("a known key's token meanwhile", &known));
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

#[actix_web::test]
async fn an_issuer_that_comes_up_late_is_found_within_seconds() {
    let key = Key::ed("late");
    let service = Service::joining(key, KeySet::default());
    let server = &service.key_server;
    eventually("it asks again and again", async || server.hits() >= 4).await;
    server.publish(&[&service.key]);
    service.is_ready().await;
    let settled = server.hits();
    service.accepts("a token", &service.good_token()).await;
    assert_eq!(server.hits(), settled, "a good set is not asked for again");
}

#[actix_web::test]
async fn hf3_a_clock_that_is_far_from_the_issuers_makes_a_service_unready_and_silent() {
    let service = Service::without_cool_down().await;
    let token = service.good_token();
    service.accepts("a good token", &token).await;
    let keys = key_set(&[&service.key]).to_string();
    let in_doubt = async || service.single_sign_on.missing().iter().any(|missing| missing.contains("clock"));
    let now = service.clock.now().seconds();
    let mut claims = service.claims_with("exp", json!(now - 400));
    (claims["iat"], claims["auth_time"]) = (json!(now - 700), json!(now - 700));
    let expired = service.key.token(&claims);
    assert_eq!(service.status("/me", &expired).await, 401);
    // A key that is not known has the set read again.
    let unknown = Key::ed("not-published").token(&service.claims());
    let read_again = async || drop(service.get("/me", &unknown).await);
    for seconds in [600, -600] {
        service.key_server.answer(Answer::Ahead(keys.clone(), seconds));
        eventually("the difference is seen twice", async || {
            read_again().await;
            in_doubt().await
        })
        .await;
        let answer = service.get("/me", &token).await;
        assert_eq!(answer.status().as_u16(), 503, "no 401 for a token that may be good: {seconds} s apart");
        assert!(answer.text().await.unwrap().contains("clock"));
        assert_eq!(service.status("/me", &expired).await, 503, "by a wrong clock");
        service.key_server.answer(Answer::Ahead(keys.clone(), 0));
        eventually("the clocks agree again", async || {
            read_again().await;
            !in_doubt().await
        })
        .await;
        service.accepts("the same token", &token).await;
    }
    service.key_server.answer(Answer::Ahead(keys, 20));
    for _ in 0..3 {
        read_again().await;
    }
    assert!(!in_doubt().await && service.single_sign_on.keys().skew().is_in_doubt(), "worth a line, and no more");
}
