//! Random bytes and damaged tokens: nothing panics, and nothing but the token itself passes.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use shared::clock::Clock;
use shared::session::{SessionId, UserId};
use shared::token::{KeySet, Verifier};

use crate::keys::{Key, key_set};
use crate::rig::{AUDIENCE, ISSUER};

fn verifier_and_token(key: &Key) -> (Verifier, String) {
    let (keys, clock, user) = (KeySet::default(), Clock::default(), UserId::random());
    keys.replace(key_set(&[key]).to_string().as_bytes()).unwrap();
    let now = clock.now().seconds();
    let claims = json!({
        "iss": ISSUER, "sub": user, "aud": AUDIENCE, "exp": now + 300, "iat": now, "auth_time": now,
        "jti": "00112233445566778899aabbccddeeff", "sid": SessionId::random_for(user), "client_id": "shop",
    });
    let verifier = Verifier::new(keys, ISSUER.to_owned(), AUDIENCE.to_owned(), clock);
    (verifier.with_longest_life(Duration::from_secs(300)), key.token(&claims))
}

/// One way to damage a text.
#[derive(Debug, Clone)]
enum Damage {
    Replace(usize, char),
    Insert(usize, char),
    Remove(usize),
    Cut(usize),
    Swap(usize, usize),
    Repeat(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = 0..2_000_usize;
    let letter = prop_oneof![prop::char::range('!', '~'), Just('.'), Just('='), any::<char>()];
    prop_oneof![
        (at.clone(), letter.clone()).prop_map(|(at, letter)| Damage::Replace(at, letter)),
        (at.clone(), letter).prop_map(|(at, letter)| Damage::Insert(at, letter)),
        at.clone().prop_map(Damage::Remove),
        at.clone().prop_map(Damage::Cut),
        (at.clone(), at.clone()).prop_map(|(one, other)| Damage::Swap(one, other)),
        at.prop_map(Damage::Repeat),
    ]
}

fn damaged(token: &str, damages: &[Damage]) -> String {
    let mut text: Vec<char> = token.chars().collect();
    for damage in damages {
        if text.is_empty() {
            break;
        }
        let length = text.len();
        match *damage {
            Damage::Replace(at, letter) => text[at % length] = letter,
            Damage::Insert(at, letter) => text.insert(at % length, letter),
            Damage::Remove(at) => drop(text.remove(at % length)),
            Damage::Cut(at) => text.truncate(at % length),
            Damage::Swap(one, other) => text.swap(one % length, other % length),
            Damage::Repeat(at) => text.extend_from_within(at % length..),
        }
    }
    text.into_iter().collect()
}

#[test]
fn a_damaged_token_never_passes() {
    for key in [Key::ed("k"), Key::es("k"), Key::rs("k")] {
        let (verifier, token) = verifier_and_token(&key);
        assert!(verifier.verify_now(&token).is_ok());
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_500) };
        proptest!(config, |(damages in prop::collection::vec(damage(), 1..4))| {
            let text = damaged(&token, &damages);
            prop_assert_eq!(verifier.verify_now(&text).is_ok(), text == token, "{:?}", damages);
        });
    }
}

#[test]
fn a_damaged_header_or_payload_under_a_good_signature_never_panics() {
    let key = Key::ed("k");
    let (verifier, _) = verifier_and_token(&key);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_500) };
    proptest!(config, |(header in ".{0,80}", payload in ".{0,200}", damages in prop::collection::vec(damage(), 0..4))| {
        let good = key.header().to_string();
        prop_assert!(verifier.verify_now(&key.signed(&header, &payload)).is_err());
        prop_assert!(verifier.verify_now(&key.signed(&good, &payload)).is_err());
        prop_assert!(verifier.verify_now(&key.signed(&damaged(&good, &damages), &payload)).is_err());
    });
}

#[test]
fn any_text_at_all_is_refused_in_peace() {
    let (verifier, _) = verifier_and_token(&Key::ed("k"));
    let keys = KeySet::default();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_500) };
    proptest!(config, |(text in any::<String>(), parts in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,90}",
                        bytes in prop::collection::vec(any::<u8>(), 0..300))| {
        prop_assert!(verifier.verify_now(&text).is_err());
        prop_assert!(verifier.verify_now(&parts).is_err());
        prop_assert!(keys.replace(&bytes).is_err());
    });
}

#[test]
fn more_tokens_than_are_remembered_are_all_told_apart() {
    let key = Key::ed("k");
    let (verifier, token) = verifier_and_token(&key);
    let claims = |number: u32| {
        let payload = token.split('.').nth(1).unwrap();
        let payload = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap();
        let mut claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        claims["jti"] = json!(format!("{number:032x}"));
        key.token(&claims)
    };
    let tokens: Vec<String> = (0..12_000).map(claims).collect();
    for _ in 0..2 {
        for (number, token) in tokens.iter().enumerate() {
            assert_eq!(verifier.verify_now(token).unwrap().token_id(), number as u128);
        }
    }
}
