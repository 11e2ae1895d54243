//! The life of the keys that sign.

use std::collections::BTreeSet;
use std::time::Duration;

use auth_service::AuthService;
use auth_service::signing_keys::{Rotate, SigningAlg};
use auth_service::storage::audit::By;
use auth_service::storage::keys::{StoredKey, published};
use base64::Engine as _;
use reqwest::Method;
use serde_json::{Value, json};
use shared::on_database;
use shared::token::KeySet;

use crate::harness::{App, MASTER_KEY, Place, all, on_both};

const OTHER_MASTER_KEY: &str = "IB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=";
const LEAD: Duration = Duration::from_secs(900);

on_both! {
    the_published_keys_are_public_and_may_be_kept_for_a_while,
    a_new_key_is_published_before_it_signs_and_an_old_one_until_its_tokens_are_gone,
    replicas_that_rotate_at_once_make_one_key,
    a_key_is_rotated_when_its_time_has_come,
    a_compromised_key_is_withdrawn_at_once,
    each_algorithm_signs_with_a_ring_of_its_own,
    one_ring_is_rotated_alone_and_all_of_them_together,
    the_slow_first_key_is_made_once_however_many_replicas_begin,
    what_we_signed_is_read_back_after_its_key_was_withdrawn_by_plan,
    what_a_stolen_key_signed_is_believed_no_more,
    a_wrong_master_key_refuses_to_start,
    a_new_master_key_takes_over,
    a_replica_that_cannot_read_what_others_seal_says_so,
    tokens_of_rs256_are_taken_too with |config| config.keys.alg = auth_service::signing_keys::SigningAlg::Rs256,
    tokens_of_eddsa_are_taken_too with |config| config.keys.alg = auth_service::signing_keys::SigningAlg::EdDsa,
    another_algorithm_signs_at_once_for_its_keys_are_published_already,
}

fn header(token: &str) -> Value {
    let header = token.split('.').next().unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
}

async fn published_keys(app: &App) -> Vec<Value> {
    let answer = app.send(app.request(Method::GET, "/.well-known/jwks.json")).await;
    answer.body["keys"].as_array().unwrap().clone()
}

async fn ids_of(app: &App, alg: &str) -> Vec<String> {
    let keys = published_keys(app).await;
    keys.iter().filter(|key| key["alg"] == alg).map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Of the keys that sign access tokens.
async fn published_ids(app: &App) -> Vec<String> {
    ids_of(app, "ES256").await
}

/// The stored keys of one algorithm that are published now.
async fn stored(app: &App, alg: &str) -> Vec<StoredKey> {
    let keys = published(&app.service.database, app.clock.now()).await.unwrap();
    keys.into_iter().filter(|key| key.alg == alg).collect()
}

/// What a rotation says of one algorithm's newest key.
fn newest(body: &Value, alg: &str) -> Value {
    let keys = body["keys"].as_array().unwrap();
    keys.iter().find(|key| key["alg"] == alg).unwrap_or_else(|| panic!("no {alg} in {body}")).clone()
}

/// Another replica on the same database.
async fn replica(app: &App) -> AuthService {
    AuthService::open(&app.place.config(&app.clock)).await.unwrap()
}

async fn the_published_keys_are_public_and_may_be_kept_for_a_while(app: App) {
    let somebody = app.somebody().await;
    let answer = app.send(app.request(Method::GET, "/.well-known/jwks.json")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    let keys = answer.body["keys"].as_array().unwrap();
    let members = |key: &Value| {
        let mut members: Vec<_> = key.as_object().unwrap().keys().cloned().collect();
        members.sort();
        (key["alg"].as_str().unwrap().to_owned(), members.join(" "))
    };
    let public =
        [("EdDSA", "alg crv kid kty use x"), ("ES256", "alg crv kid kty use x y"), ("RS256", "alg e kid kty n use")];
    let public: Vec<_> = public.iter().map(|(alg, members)| ((*alg).to_owned(), (*members).to_owned())).collect();
    let mut found: Vec<_> = keys.iter().map(members).collect();
    assert_eq!(found[0].0, "RS256", "some libraries take the first key");
    found.sort_by_key(|(alg, _)| ["EdDSA", "ES256", "RS256"].iter().position(|name| name == alg));
    assert_eq!(found, public, "nothing private");
    let keys: Vec<_> = keys.iter().filter(|key| key["alg"] == "ES256").collect();
    let header = header(&somebody.access);
    assert_eq!((&header["kid"], &header["typ"], &header["alg"]), (&keys[0]["kid"], &"at+jwt".into(), &"ES256".into()));
    // PKCS#8 begins with its version and the algorithm's name (RFC 8410, RFC 5480, RFC 8017).
    let ec = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    let rsa = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    for name in [&[0x06, 0x03, 0x2b, 0x65, 0x70][..], &ec, &rsa] {
        for key in published(&app.service.database, app.clock.now()).await.unwrap() {
            let sealed = &key.sealed_private_key;
            assert!(!sealed.windows(name.len()).any(|window| window == name), "{} is not sealed", key.alg);
        }
    }
}

async fn a_new_key_is_published_before_it_signs_and_an_old_one_until_its_tokens_are_gone(app: App) {
    let old = published_ids(&app).await.remove(0);
    let admin = app.administrator().await;
    let rotated = app.call(Method::POST, "/admin/keys/rotate", &admin.access).await;
    let made = newest(&rotated.body, "ES256");
    assert_eq!((rotated.status, &made["made_now"]), (200, &true.into()), "{}", rotated.text);
    let new = made["kid"].as_str().unwrap().to_owned();
    assert_eq!(published_ids(&app).await, [old.clone(), new.clone()], "it is published");
    let again = app.call(Method::POST, "/admin/keys/rotate", &admin.access).await;
    let again = newest(&again.body, "ES256");
    assert_eq!((&again["kid"], &again["made_now"]), (&new.as_str().into(), &false.into()), "and not overtaken");

    app.clock.advance(LEAD - Duration::from_secs(60));
    let before = app.somebody().await;
    assert_eq!(header(&before.access)["kid"], old.as_str(), "but it does not sign yet");
    app.clock.advance(Duration::from_secs(61));
    let after = app.somebody().await;
    assert_eq!(header(&after.access)["kid"], new.as_str());
    for person in [&before, &after] {
        assert_eq!(app.get("/auth/me", &person.access).await.status, 200, "tokens of both are good");
    }
    app.clock.advance(Duration::from_secs(300));
    assert_eq!(published_ids(&app).await.len(), 2, "the last token of the old one may have just been signed");
    app.clock.advance(Duration::from_secs(200));
    assert_eq!(published_ids(&app).await, [new]);
    assert_eq!(app.refresh(&before.refresh).await.status, 200, "no session ends for it");
}

async fn replicas_that_rotate_at_once_make_one_key(app: App) {
    let (one, two) = (replica(&app).await, replica(&app).await);
    let rotate = |number: usize| {
        let keys = if number.is_multiple_of(2) { &one.keys } else { &two.keys };
        keys.rotate(None, Rotate::Planned, &By::COMMAND_LINE)
    };
    let made: Vec<_> = all((0..8).map(rotate)).await.into_iter().flat_map(Result::unwrap).collect();
    for alg in SigningAlg::ALL {
        let made: Vec<_> = made.iter().filter(|key| key.alg == alg.as_str()).collect();
        assert_eq!((made.len(), made.iter().filter(|key| key.made_now).count()), (8, 1), "{made:?}");
        assert!(made.iter().all(|key| key.kid == made[0].kid && key.generation == 2), "the others adopt it: {made:?}");
    }
    app.service.keys.tend().await.unwrap();
    assert_eq!(published_keys(&app).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_open_an_empty_database_at_once_make_one_key() {
    for _ in 0..3 {
        let Some(place) = Place::on_servers().await else { return };
        let clock = shared::clock::Clock::default();
        auth_service::open_database(&place.config(&clock)).await.unwrap().close().await;
        let replicas = all((0..6).map(|_| {
            let config = place.config(&clock);
            async move { AuthService::open(&config).await }
        }));
        for replica in replicas.await {
            let keys = published(&replica.unwrap().database, clock.now()).await.unwrap();
            let keys: Vec<_> = keys.iter().map(|key| (key.alg.as_str(), key.generation)).collect();
            assert_eq!(keys.iter().collect::<BTreeSet<_>>(), BTreeSet::from([&("ES256", 1), &("EdDSA", 1)]));
            assert_eq!(keys.len(), 2);
        }
    }
}

async fn a_key_is_rotated_when_its_time_has_come(app: App) {
    const DAY: Duration = Duration::from_secs(86_400);
    let other = replica(&app).await;
    app.clock.advance(DAY * 30 - LEAD - Duration::from_secs(60));
    app.service.keys.tend().await.unwrap();
    assert_eq!(published_ids(&app).await.len(), 1, "not yet");
    app.clock.advance(Duration::from_secs(61));
    let (one, two) = tokio::join!(app.service.keys.tend(), other.keys.tend());
    one.unwrap();
    two.unwrap();
    app.service.keys.tend().await.unwrap();
    assert_eq!(published_ids(&app).await.len(), 2, "one new key, by one of the two");
    for alg in SigningAlg::ALL {
        let newest = stored(&app, alg.as_str()).await.pop().unwrap();
        assert_eq!(newest.generation, 2, "{alg:?}");
        assert!(newest.activates_at.since(app.clock.now()) > LEAD - Duration::from_secs(60), "{alg:?}");
    }
}

async fn a_compromised_key_is_withdrawn_at_once(app: App) {
    let admin = app.administrator().await;
    app.call(Method::POST, "/admin/keys/rotate", &admin.access).await;
    let rotated = app.call(Method::POST, "/admin/keys/rotate?at_once=true", &admin.access).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let new = newest(&rotated.body, "ES256")["kid"].as_str().unwrap().to_owned();
    assert_eq!(published_keys(&app).await.len(), 3, "one of each algorithm");
    assert_eq!(published_ids(&app).await, [new.as_str()], "the one on its way is withdrawn too");
    let refreshed = app.refresh(&admin.refresh).await;
    let access = refreshed.body["access_token"].as_str().unwrap();
    assert_eq!(header(access)["kid"], new.as_str());
    assert_eq!(app.get("/auth/me", access).await.status, 200, "an unknown key is looked up");
    app.is_refused(&admin.access).await;
}

async fn a_wrong_master_key_refuses_to_start(app: App) {
    let mut config = app.place.config(&app.clock);
    config.master_key = OTHER_MASTER_KEY.into();
    let error = format!("{:#}", AuthService::open(&config).await.err().unwrap());
    assert!(error.contains("MASTER_KEY does not open signing key"), "{error}");
    config.master_key = "".into();
    let error = format!("{:#}", AuthService::open(&config).await.err().unwrap());
    assert!(error.contains("MASTER_KEY is not set"), "{error}");
    // The way on after a loss that docs/operations.md tells.
    config.master_key = OTHER_MASTER_KEY.into();
    on_database!(&app.service.database, |pool| sqlx::query("DELETE FROM signing_keys").execute(pool).await.map(drop))
        .unwrap();
    let anew = AuthService::open(&config).await.unwrap();
    assert!(serde_json::to_string(&anew.keys.published()).unwrap().contains("kid"));
}

async fn a_new_master_key_takes_over(app: App) {
    let somebody = app.somebody().await;
    let mut config = app.place.config(&app.clock);
    config.master_key = format!("{OTHER_MASTER_KEY},{MASTER_KEY}").into();
    let both = AuthService::open(&config).await.unwrap();
    assert!(both.refresh_tokens.read(&somebody.refresh).is_some(), "refresh tokens of the old one are read");
    config.master_key = OTHER_MASTER_KEY.into();
    AuthService::open(&config).await.unwrap();
    config.master_key = MASTER_KEY.into();
    assert!(AuthService::open(&config).await.is_err(), "the keys are sealed with the new one now");
}

async fn a_replica_that_cannot_read_what_others_seal_says_so(app: App) {
    let ask = async || app.send_whatever(app.request(Method::GET, "/readyz")).await;
    let mut config = app.place.config(&app.clock);
    config.master_key = format!("{OTHER_MASTER_KEY},{MASTER_KEY}").into();
    AuthService::open(&config).await.unwrap();
    assert!(app.service.keys.tend().await.is_err());
    let answer = ask().await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.text.contains("MASTER_KEY does not open the keys"), "{}", answer.text);
    // In the order of the guide, every replica reads every key.
    config.master_key = format!("{MASTER_KEY},{OTHER_MASTER_KEY}").into();
    AuthService::open(&config).await.unwrap();
    app.service.keys.tend().await.unwrap();
    assert_eq!(ask().await.status, 200);
}

async fn tokens_of_rs256_are_taken_too(app: App) {
    let somebody = app.somebody().await;
    assert_eq!(header(&somebody.access)["alg"], "RS256");
    assert_eq!(app.get("/auth/me", &somebody.access).await.status, 200);
    let middle = somebody.access.len() - 100;
    let other = if somebody.access.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let forged = format!("{}{other}{}", &somebody.access[..middle], &somebody.access[middle + 1..]);
    assert_eq!(app.get("/auth/me", &forged).await.status, 401);
}

async fn tokens_of_eddsa_are_taken_too(app: App) {
    let somebody = app.somebody().await;
    assert_eq!(header(&somebody.access)["alg"], "EdDSA");
    assert_eq!(app.get("/auth/me", &somebody.access).await.status, 200);
    let forged = format!("{}A", &somebody.access[..somebody.access.len() - 1]);
    if forged != somebody.access {
        assert_eq!(app.get("/auth/me", &forged).await.status, 401);
    }
}

async fn another_algorithm_signs_at_once_for_its_keys_are_published_already(app: App) {
    let before = app.somebody().await;
    let mut config = app.place.config(&app.clock);
    config.keys.alg = SigningAlg::EdDsa;
    let other = AuthService::open(&config).await.unwrap();
    other.keys.tend().await.unwrap();
    assert_eq!(published_keys(&app).await.len(), 3, "no key is made for it");
    let claims = serde_json::from_value(payload(&before.access)).unwrap();
    let access = other.keys.sign_access(&claims).unwrap();
    assert_eq!(header(&access)["alg"], "EdDSA");
    assert_eq!(app.get("/auth/me", &access).await.status, 200);
}

fn payload(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn each_algorithm_signs_with_a_ring_of_its_own(app: App) {
    let keys = KeySet::default();
    let published = json!({"keys": published_keys(&app).await}).to_string();
    assert_eq!(keys.replace(published.as_bytes()), Ok(3), "a set that services take");
    for alg in SigningAlg::ALL {
        let token = app.service.keys.sign("JWT", alg, &json!({"sub": "somebody", "at": alg.as_str()})).unwrap();
        let header = header(&token);
        assert_eq!((&header["alg"], &header["typ"]), (&json!(alg.as_str()), &json!("JWT")));
        assert_eq!(payload(&token), json!({"sub": "somebody", "at": alg.as_str()}));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let key = keys.find(header["kid"].as_str().unwrap()).unwrap();
        assert!(key.verifies(message.as_bytes(), signature), "{alg:?}");
        assert_eq!(app.get("/auth/me", &token).await.status, 401, "it is no access token");
    }
    let n = published_keys(&app).await.into_iter().find(|key| key["alg"] == "RS256").unwrap()["n"].clone();
    let n = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(n.as_str().unwrap()).unwrap();
    assert_eq!((n.len(), n[0] >> 7), (256, 1), "2048 bits");
}

async fn one_ring_is_rotated_alone_and_all_of_them_together(app: App) {
    let admin = app.administrator().await;
    let before = published_keys(&app).await;
    let rotated = app.call(Method::POST, "/admin/keys/rotate?alg=RS256", &admin.access).await;
    let made = newest(&rotated.body, "RS256");
    assert_eq!((rotated.body["keys"].as_array().unwrap().len(), &made["made_now"]), (1, &true.into()));
    assert_eq!(published_keys(&app).await.len(), 4);
    let (old, new) = (ids_of(&app, "RS256").await, made["kid"].as_str().unwrap().to_owned());
    assert_eq!(old.len(), 2);
    let signer = |alg| header(&app.service.keys.sign("JWT", alg, &json!({})).unwrap())["kid"].clone();
    assert_ne!(signer(SigningAlg::Rs256), new.as_str(), "it does not sign yet");
    app.clock.advance(LEAD + Duration::from_secs(1));
    assert_eq!(signer(SigningAlg::Rs256), new.as_str());
    for key in before.iter().filter(|key| key["alg"] != "RS256") {
        assert_eq!(signer(key["alg"].as_str().unwrap().parse().unwrap()), key["kid"], "the others go on");
    }
    let rotated = app.call(Method::POST, "/admin/keys/rotate", &app.administrator().await.access).await;
    assert_eq!(rotated.body["keys"].as_array().unwrap().len(), 3);
    for (alg, generation) in [("EdDSA", 2), ("ES256", 2), ("RS256", 3)] {
        let made = newest(&rotated.body, alg);
        assert_eq!((&made["generation"], &made["made_now"]), (&generation.into(), &true.into()), "{alg}");
    }
    let admin = app.administrator().await;
    for query in ["?alg=HS256", "?alg=none", "?alg=", "?alg=EdDSA&alg=ES256", "?algorithm=EdDSA"] {
        let refused = app.call(Method::POST, &format!("/admin/keys/rotate{query}"), &admin.access).await;
        assert_eq!(refused.status, 400, "{query}");
    }
}

async fn the_slow_first_key_is_made_once_however_many_replicas_begin(app: App) {
    let clock = shared::clock::Clock::default();
    let place = if app.place.redis_url.is_some() { Place::on_servers().await.unwrap() } else { Place::embedded() };
    auth_service::open_database(&place.config(&clock)).await.unwrap().close().await;
    let (one, two) = (place.config(&clock), place.config(&clock));
    let replicas = [AuthService::open(&one).await.unwrap(), AuthService::open(&two).await.unwrap()];
    for replica in &replicas {
        assert_eq!(replica.keys.missing(), [SigningAlg::Rs256], "a start does not wait for it");
        let refused = replica.keys.sign("JWT", SigningAlg::Rs256, &json!({})).unwrap_err();
        assert_eq!(refused.status(), 503);
    }
    for done in all(replicas.iter().map(|replica| replica.keys.tend())).await {
        done.unwrap();
    }
    let kids: BTreeSet<_> = replicas
        .iter()
        .map(|replica| replica.keys.sign("JWT", SigningAlg::Rs256, &json!({})).unwrap())
        .map(|token| header(&token)["kid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kids.len(), 1, "both sign with one key");
    let keys = published(&replicas[0].database, clock.now()).await.unwrap();
    assert_eq!(keys.len(), 3, "{:?}", keys.iter().map(|key| (&key.alg, key.generation)).collect::<Vec<_>>());
}

async fn what_we_signed_is_read_back_after_its_key_was_withdrawn_by_plan(app: App) {
    const DAY: Duration = Duration::from_secs(86_400);
    let keys = &app.service.keys;
    for alg in SigningAlg::ALL {
        let claims = json!({"iss": "i", "sub": "somebody", "exp": 1, "n": [1, {"a": null}]});
        let hint = keys.sign("JWT", alg, &claims).unwrap();
        let read = |text: &str| keys.verify_own(text, "JWT").map(Value::Object);
        assert_eq!(read(&hint), Some(claims.clone()), "an expiry is not looked at");
        for typ in ["at+jwt", "logout+jwt", "jwt", ""] {
            assert_eq!(keys.verify_own(&hint, typ), None, "{typ:?}");
        }
        let own = published_ids(&app).await.len();
        keys.rotate(Some(alg), Rotate::Planned, &By::COMMAND_LINE).await.unwrap();
        app.clock.advance(LEAD + DAY);
        keys.reload().await.unwrap();
        assert!(
            own > 0 && !ids_of(&app, alg.as_str()).await.contains(&header(&hint)["kid"].as_str().unwrap().to_owned())
        );
        assert_eq!(read(&hint), Some(claims.clone()), "its key is withdrawn, and still stored");
        assert_eq!(
            replica(&app).await.keys.verify_own(&hint, "JWT").map(Value::Object),
            Some(claims),
            "at any replica"
        );

        let (message, signature) = hint.rsplit_once('.').unwrap();
        let (head, body) = message.split_once('.').unwrap();
        let b64 = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let none = b64(json!({"alg": "none", "typ": "JWT", "kid": header(&hint)["kid"]}).to_string());
        let hs256 = b64(json!({"alg": "HS256", "typ": "JWT", "kid": header(&hint)["kid"]}).to_string());
        let other = b64(json!({"sub": "another"}).to_string());
        for forged in [
            format!("{head}.{other}.{signature}"),
            format!("{none}.{body}."),
            format!("{hs256}.{body}.{signature}"),
            format!("{head}.{body}.{}", b64("x".repeat(64))),
            message.to_owned(),
            format!("{hint}."),
            format!("{hint}{}", "A".repeat(20_000)),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(read(&forged), None, "{forged}");
        }
    }
    let foreign = App::embedded(|_| {}).await;
    let hint = foreign.service.keys.sign("JWT", SigningAlg::EdDsa, &json!({"sub": "somebody"})).unwrap();
    assert_eq!(keys.verify_own(&hint, "JWT"), None, "another platform's");
}

async fn what_a_stolen_key_signed_is_believed_no_more(app: App) {
    let keys = &app.service.keys;
    let sign = |alg| keys.sign("JWT", alg, &json!({"sub": "somebody"})).unwrap();
    let first = sign(SigningAlg::Rs256);
    keys.rotate(Some(SigningAlg::Rs256), Rotate::Planned, &By::COMMAND_LINE).await.unwrap();
    app.clock.advance(LEAD * 2);
    keys.reload().await.unwrap();
    let (second, other) = (sign(SigningAlg::Rs256), sign(SigningAlg::Es256));
    assert!([&first, &second, &other].iter().all(|hint| keys.verify_own(hint, "JWT").is_some()));
    keys.rotate(Some(SigningAlg::Rs256), Rotate::AtOnce, &By::COMMAND_LINE).await.unwrap();
    assert_eq!(keys.verify_own(&second, "JWT"), None);
    assert_eq!(keys.verify_own(&first, "JWT"), None, "the ones before were sealed alike");
    assert!(keys.verify_own(&other, "JWT").is_some(), "another ring is another key");
    assert!(keys.verify_own(&sign(SigningAlg::Rs256), "JWT").is_some());
}
