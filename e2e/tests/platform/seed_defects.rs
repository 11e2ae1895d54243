//! The founding document's sample code has seventeen defects. Here is one test for each, by its number, that would fail on
//! the sample.

use deadpool_redis::redis;
use deadpool_redis::redis::aio::MultiplexedConnection;
use e2e::{Person, Service};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{at_once, eventually, expect};
use crate::{World, journeys};

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).expect("a JWT has three parts");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn token(person: &Person) -> &str {
    person.access_token.as_deref().expect("an access token")
}

async fn sessions(person: &Person) -> Vec<Value> {
    let list = expect(200, person.get(&person.url(Service::Auth, "/auth/sessions")).await).body;
    list["items"].as_array().expect("a list").clone()
}

async fn redis(world: &World) -> MultiplexedConnection {
    let url = world.redis.as_ref().expect("the split has a Redis").url();
    let client = redis::Client::open(url).expect("its URL");
    client.get_multiplexed_async_connection().await.expect("it answers")
}

/// All that Redis holds, as text: each key, then what it holds.
async fn dump(world: &World) -> Vec<String> {
    let mut redis = redis(world).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.expect("the keys");
    let mut held = Vec::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut redis).await.expect("its type");
        let mut read = match kind.as_str() {
            "hash" => redis::cmd("HGETALL"),
            "zset" => redis::cmd("ZRANGE"),
            "stream" => redis::cmd("XRANGE"),
            _ => redis::cmd("GET"),
        };
        read.arg(&key);
        match kind.as_str() {
            "zset" => drop(read.arg(0).arg(-1)),
            "stream" => drop(read.arg("-").arg("+")),
            _ => {}
        }
        let value: redis::Value = read.query_async(&mut redis).await.expect("its value");
        held.push(format!("{key} {value:?}"));
    }
    held
}

/// 1: `KEYS session:*` blocks Redis, and trips over keys of another type. 3: a kick removes one key of four.
#[tokio::test]
async fn defects_1_and_3_nothing_enumerates_keys_and_a_kick_leaves_nothing_behind() {
    let Some(world) = World::split(&[]).await else { return };
    let (admin, ada) = (world.admin().await, world.platform.customer().await);
    expect(200, admin.get(&admin.url(Service::Auth, "/admin/sessions")).await);
    sessions(&ada).await;
    let id = ada.session_id.clone().expect("an id");
    let names_it = |held: Vec<String>| held.into_iter().filter(|entry| entry.contains(&id)).collect::<Vec<_>>();
    assert!(!names_it(dump(&world).await).is_empty());
    expect(204, admin.delete(&admin.url(Service::Auth, &format!("/admin/sessions/{id}"))).await);
    let left = names_it(dump(&world).await);
    let in_feed = |entry: &String| entry.split(' ').next().is_some_and(|key| key.ends_with(":rev"));
    assert!(left.iter().all(in_feed), "only the feed still names it: {left:?}");

    let mut connection = redis(&world).await;
    let reset: redis::RedisResult<()> = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut connection).await;
    reset.expect("Redis answers");
    let mut ada = ada;
    expect(200, ada.log_in().await);
    sessions(&ada).await;
    expect(200, admin.get(&admin.url(Service::Auth, "/admin/sessions")).await);
    expect(200, ada.log_out_everywhere().await);
    let used: redis::RedisResult<String> = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await;
    let used = used.expect("Redis answers");
    assert!(used.contains("cmdstat_evalsha"), "the sessions are in this Redis: {used}");
    for slow in ["cmdstat_keys:", "cmdstat_scan:"] {
        assert!(!used.contains(slow), "{slow} was used: {used}");
    }
    world.finish();
}

journeys! {
    // 2: a cast of a JSON number that fails for small ids. An id is the same text at every service.
    async fn defect_2_an_id_has_one_form_everywhere(world: &mut World) {
        let (admin, ada) = (world.admin().await, world.platform.customer().await);
        let me = expect(200, ada.me().await).body["id"].clone();
        assert_eq!(claims(token(&ada))["sub"], me);
        let users = expect(200, admin.get(&admin.url(Service::Auth, "/admin/users?limit=100")).await).body;
        assert!(users["items"].as_array().expect("a list").iter().any(|user| user["id"] == me), "{users}");
    }

    // 4: "one login only" that reads, deletes and adds.
    #[settings("MAX_SESSIONS_PER_USER" => "1")]
    async fn defect_4_one_login_only_is_atomic(world: &mut World) {
        let ada = world.platform.customer().await;
        let logins = at_once(10, |_| async {
            let mut device = ada.other_device();
            expect(200, device.log_in().await);
            device
        });
        let mut alive = Vec::new();
        for mut device in logins.await {
            if device.refresh().await.status == 200 {
                alive.push(device);
            }
        }
        assert_eq!(alive.len(), 1);
        assert_eq!(sessions(&alive[0]).await.len(), 1);
    }

    // 5: the session id of before the login is kept.
    async fn defect_5_a_login_has_a_new_session_id_and_takes_none(world: &mut World) {
        let mut ada = world.platform.customer().await;
        let first = ada.session_id.clone().expect("an id");
        let login = ada.url(Service::Auth, "/auth/login");
        let mut body = json!({"email": ada.credentials.email, "password": ada.credentials.password});
        let chosen = [("Cookie", format!("SESSIONID={first}; sid={first}"))];
        let headers: Vec<(&str, &str)> = chosen.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = expect(200, ada.send(Method::POST, &login, Some(&body), &headers).await);
        assert_ne!(answer.body["session_id"], first.as_str());
        body["session_id"] = first.clone().into();
        expect(422, ada.post(&login, &body).await);
        expect(200, ada.log_in().await);
        assert_ne!(ada.session_id.as_deref(), Some(first.as_str()));
    }

    // 6: the filter never asks the blacklist.
    async fn defect_6_a_revoked_token_is_refused_by_every_service(world: &mut World) {
        let ada = world.platform.customer().await;
        expect(204, ada.log_out().await);
        eventually(401, || async { ada.me().await.status }).await;
        eventually(401, || async { ada.cart().await.status }).await;
        eventually(401, || async { ada.orders().await.status }).await;
        assert!(ada.cart().await.header("www-authenticate").contains("invalid_token"));
    }

    // 7: a refresh demands a valid access token, and is called when there is none.
    async fn defect_7_a_refresh_needs_no_access_token(world: &mut World) {
        let mut ada = world.platform.customer().await;
        for authorization in [None, Some("not.a.token".to_owned())] {
            ada.access_token = authorization;
            expect(200, ada.refresh().await);
        }
    }

    // 8: a retry that calls itself for ever. A refused refresh says so the same way each time, and is no 401 to retry.
    async fn defect_8_a_refused_refresh_is_final(world: &mut World) {
        let mut ada = world.platform.customer().await;
        expect(204, ada.log_out().await);
        for _ in 0..3 {
            let answer = ada.refresh().await;
            assert_eq!((answer.status, answer.code()), (401, "invalid_refresh_token"), "{}", answer.body);
        }
    }

    // 9: the client's logout never tells the server.
    async fn defect_9_a_logout_is_known_to_the_server(world: &mut World) {
        let mut ada = world.platform.customer().await;
        expect(204, ada.log_out().await);
        assert_eq!(ada.refresh().await.status, 401);
    }

    // 12: milliseconds in one answer, seconds in another.
    async fn defect_12_expires_in_is_in_seconds(world: &mut World) {
        let mut ada = world.platform.person();
        expect(201, ada.register().await);
        for answer in [ada.log_in().await, ada.refresh().await] {
            let answer = expect(200, answer).body;
            let claims = claims(answer["access_token"].as_str().expect("a token"));
            let life = claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat);
            assert_eq!(answer["expires_in"].as_i64(), life);
            assert_eq!(life, Some(300));
        }
    }

    // 13: a route for sticky sessions that routes nothing. Nothing here needs one: a login sets no cookie but the one by which
    // the browser is known.
    async fn defect_13_no_answer_asks_to_be_routed(world: &mut World) {
        let mut ada = world.platform.person();
        expect(201, ada.register().await);
        let answer = expect(200, ada.log_in().await);
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert!(cookies.len() == 1 && cookies[0].as_bytes().starts_with(b"roam_device="), "{cookies:?}");
    }

    // 14: tokens that lie about. An answer with tokens may not be stored.
    async fn defect_14_answers_with_tokens_are_not_stored(world: &mut World) {
        let mut ada = world.platform.person();
        expect(201, ada.register().await);
        for answer in [ada.log_in().await, ada.refresh().await] {
            assert_eq!(expect(200, answer).header("cache-control"), "no-store");
        }
    }

    // 15: `secure=false` by default.
    #[settings("COOKIE_SECURE" => "true")]
    async fn defect_15_a_cookie_is_closed_to_scripts_strangers_and_plain_http(world: &mut World) {
        let product = world.product(1).await;
        let answer = expect(200, world.platform.person().add_to_cart(&product, 1).await);
        let cookie = answer.header("set-cookie");
        for attribute in ["__Host-", "HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
            assert!(cookie.contains(attribute), "{attribute} is missing");
        }
        assert!(!cookie.contains("Domain"));
    }

    // 16: the login answers the user's row.
    async fn defect_16_the_login_answers_no_hash(world: &mut World) {
        let mut ada = world.platform.person();
        expect(201, ada.register().await);
        let user = expect(200, ada.log_in().await).body["user"].clone();
        let mut fields: Vec<&str> = user.as_object().expect("an object").keys().map(String::as_str).collect();
        fields.retain(|field| !["id", "email", "display_name", "roles", "created_at"].contains(field));
        assert!(fields.is_empty(), "{fields:?}");
    }

    // 17: one HS256 secret with which every service can mint tokens.
    async fn defect_17_only_auth_can_sign(world: &mut World) {
        let ada = world.platform.customer().await;
        let keys = ada.get(&ada.url(Service::Auth, "/.well-known/jwks.json")).await.body;
        for key in keys["keys"].as_array().expect("keys") {
            assert_ne!(key["kty"], "oct");
            assert!(key.get("d").is_none() && key.get("k").is_none(), "a published key is public");
        }
        let (head, rest) = token(&ada).split_once('.').expect("a JWT");
        let hs256 = {
            use base64::Engine as _;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"at+jwt"}"#)
        };
        assert_ne!(head, hs256);
        let mut forger = ada.clone();
        forger.access_token = Some(format!("{hs256}.{rest}"));
        expect(401, forger.cart().await);
    }
}

/// 10: a refresh token that stays, is kept in clear, and outlives the logout. 11: a whole token as a key.
#[tokio::test]
async fn defects_10_and_11_a_refresh_token_rotates_and_no_token_is_kept_in_redis() {
    let Some(world) = World::split(&[]).await else { return };
    let mut ada = world.platform.customer().await;
    let first = ada.refresh_token.clone().expect("a refresh token");
    expect(200, ada.refresh().await);
    let second = ada.refresh_token.clone().expect("a refresh token");
    assert_ne!(first, second);
    let mac = |token: &str| token.rsplit('.').next().expect("a MAC").to_owned();
    for when in ["alive", "ended"] {
        let held = dump(&world).await;
        assert!(!held.is_empty());
        for secret in [mac(&first), mac(&second), mac(token(&ada)), token(&ada).to_owned()] {
            let found = held.iter().any(|entry| entry.contains(&secret));
            assert!(!found, "Redis holds a token in clear while the session is {when}");
        }
        let keys = held.iter().filter_map(|entry| entry.split(' ').next());
        assert!(keys.clone().all(|key| key.len() < 100), "a key is as long as a token");
        if when == "alive" {
            expect(204, ada.log_out().await);
        }
    }
    assert_eq!(ada.present(&second).await.status, 401);
    world.finish();
}
