//! What an attacker sends: to reach another's cart, to drive checkouts, to pass for somebody, to make the service fail.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use shared::session::{EndReason, SessionStore as _, UserId};
use uuid::Uuid;

use crate::harness::{CHECKOUT_SECRET, Shop, eventually, on_both_databases};

on_both_databases! {
    nobody_reaches_another_users_cart,
    only_the_order_service_drives_checkouts,
    whoever_acts_for_a_user_still_proves_to_be_the_order_service,
    an_unknown_checkout_is_not_found,
    an_idempotency_key_is_visible_ascii,
    a_token_that_is_refused_is_never_a_guest,
    an_ended_session_is_refused,
    injections_are_ordinary_text,
    nothing_but_the_service_is_served,
}

const INJECTIONS: [&str; 14] = [
    "' OR '1'='1",
    "'; DROP TABLE products; --",
    "\" UNION SELECT NULL --",
    "1; SELECT pg_sleep(5)",
    "$(sleep 5)",
    "{\"$gt\": \"\"}",
    "*)(uid=*))(|(uid=*",
    "<script>alert(1)</script>",
    "{{7*7}}${7*7}",
    "../../../../etc/passwd",
    "a\r\nSet-Cookie: a=b",
    "nul\u{0}bell\u{7}del\u{7f}",
    "\u{202e}\u{1f600}\u{feff}",
    "return redis.call('FLUSHALL')",
];

async fn nobody_reaches_another_users_cart(shop: Shop) {
    let (victim, attacker, product) = (shop.user(), shop.user(), shop.product(100, 9).await);
    let cart = victim.add(product, 2).await.expect(200);
    let id = victim.user();
    for query in [format!("?user_id={id}"), format!("?user={id}"), format!("?sub={id}"), format!("?cart_id={id}")] {
        assert!(crate::harness::quantities(&attacker.get(&format!("/cart{query}")).await.expect(200)).is_empty());
    }
    let headers = [("x-user-id", id.to_string()), ("user-id", id.to_string())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    attacker.send(Method::DELETE, "/cart", &headers, None).await.expect(204);
    let body = json!({"product_id": product, "quantity": 1, "user_id": id});
    let refused = attacker.post("/cart/items", body).await.refused(422, "invalid_body");
    assert_eq!(refused["errors"][0]["pointer"], "/user_id");
    attacker.delete(&format!("/cart/items/{product}")).await.expect(200);
    for path in [format!("/cart/{id}"), format!("/carts/{id}"), "/carts".to_owned()] {
        attacker.get(&path).await.refused(404, "not_found");
    }
    assert_eq!(victim.get("/cart").await.expect(200), cart);
}

async fn only_the_order_service_drives_checkouts(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 9).await);
    user.add(product, 2).await.expect(200);
    let held = user.check_out("order").await.expect(201);
    let id = held["id"].as_str().unwrap();
    let wrong = CHECKOUT_SECRET.to_uppercase();
    let twice = [("service-secret", CHECKOUT_SECRET), ("service-secret", CHECKOUT_SECRET)];
    for credential in [&[][..], &[("service-secret", "")], &[("service-secret", &wrong)], &twice] {
        let headers = [credential, &[("idempotency-key", "another")]].concat();
        for (method, path) in [
            (Method::POST, "/checkouts".to_owned()),
            (Method::GET, format!("/checkouts/{id}")),
            (Method::POST, format!("/checkouts/{id}/confirm")),
            (Method::DELETE, format!("/checkouts/{id}")),
        ] {
            user.send(method, &path, &headers, None).await.refused(403, "service_credential_required");
        }
    }
    let nobody = shop.guest();
    let refused = nobody.check_out("order").await;
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    refused.refused(401, "authentication_required");
    assert_eq!(shop.order_service(Method::GET, &format!("/checkouts/{id}")).await.expect(200), held);
}

async fn whoever_acts_for_a_user_still_proves_to_be_the_order_service(shop: Shop) {
    use shared::token::{AccessClaims, Actor, Subject};
    let (user, product) = (shop.user(), shop.product(100, 9).await);
    user.add(product, 2).await.expect(200);
    let actor = |name: &str| Some(Actor { sub: Subject::Client(name.to_owned()), act: None });
    let acting = |name: &str, audience: &str| {
        let aud = vec![audience.to_owned()];
        let claims = AccessClaims { act: actor(name), client_id: name.to_owned(), aud, ..shop.claims(user.user()) };
        format!("Bearer {}", shop.issuer.sign(&claims))
    };
    let (good, elsewhere) = (acting("order-service", "cart-service"), acting("order-service", "order-service"));
    let (key, nobody) = (("idempotency-key", "order"), shop.guest());
    let send = async |headers: &[(&str, &str)]| nobody.send(Method::POST, "/checkouts", headers, None).await;
    send(&[("authorization", &good), key]).await.refused(403, "service_credential_required");
    let secret = ("service-secret", CHECKOUT_SECRET);
    send(&[("authorization", &elsewhere), secret, key]).await.refused(401, "invalid_token");
    let held = send(&[("authorization", &good), secret, key]).await.expect(201);
    assert_eq!(crate::harness::quantities(&held), [(product, 2)].into(), "it is the user's own cart");
    user.check_out("order").await.expect(201);
}

async fn an_unknown_checkout_is_not_found(shop: Shop) {
    for id in [Uuid::new_v4().to_string(), "1".to_owned(), "%00".to_owned(), "'%20OR%201=1".to_owned()] {
        shop.order_service(Method::GET, &format!("/checkouts/{id}")).await.refused(404, "not_found");
        shop.order_service(Method::POST, &format!("/checkouts/{id}/confirm")).await.refused(404, "not_found");
        shop.order_service(Method::DELETE, &format!("/checkouts/{id}")).await.refused(404, "not_found");
    }
}

async fn an_idempotency_key_is_visible_ascii(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 90).await);
    let long = "k".repeat(256);
    for bad in ["", "a b", "é", "a\tb", &long] {
        let refused = user.check_out(bad).await.refused(400, "invalid_idempotency_key");
        assert_eq!(refused["errors"][0]["pointer"], "#header/Idempotency-Key", "{bad:?}");
    }
    let secret = ("service-secret", CHECKOUT_SECRET);
    user.send(Method::POST, "/checkouts", &[secret], None).await.refused(400, "invalid_idempotency_key");
    let two = [secret, ("idempotency-key", "a"), ("idempotency-key", "b")];
    user.send(Method::POST, "/checkouts", &two, None).await.refused(400, "invalid_idempotency_key");
    for good in ["k", "'--;DROP", &long[1..]] {
        user.add(product, 1).await.expect(200);
        user.check_out(good).await.expect(201);
    }
}

async fn a_token_that_is_refused_is_never_a_guest(shop: Shop) {
    let (guest, product) = (shop.guest(), shop.product(100, 9).await);
    guest.add(product, 1).await.expect(200);
    let claims = shop.claims(UserId::random());
    let expired = {
        let now = shop.clock.now().seconds();
        shop.issuer.sign(&shared::token::AccessClaims { iat: now - 600, exp: now - 300, ..claims.clone() })
    };
    let for_others =
        shop.issuer.sign(&shared::token::AccessClaims { aud: vec!["order-service".to_owned()], ..claims.clone() });
    let from_others =
        shop.issuer.sign(&shared::token::AccessClaims { iss: "http://evil.example".to_owned(), ..claims.clone() });
    let good = shop.issuer.sign(&claims);
    let forged = format!("{}x", &good[..good.len() - 1]);
    for token in [expired.as_str(), &for_others, &from_others, &forged, "x", "a.b.c"] {
        let bad = [("authorization", format!("Bearer {token}"))];
        let bad = [(bad[0].0, bad[0].1.as_str())];
        for (method, path) in [(Method::GET, "/cart"), (Method::DELETE, "/cart")] {
            let refused = guest.send(method, path, &bad, None).await;
            assert!(refused.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"), "{token:?}");
            refused.refused(401, "invalid_token");
        }
    }
    let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    guest.send(Method::GET, "/cart", &two, None).await.refused(400, "invalid_request");
    let in_query = guest.get(&format!("/cart?access_token={good}")).await.expect(200);
    assert_eq!(crate::harness::quantities(&in_query)[&product], 1, "a token in the query is not looked at");
}

async fn an_ended_session_is_refused(shop: Shop) {
    let user = shop.user();
    let claims = shop.claims(user.user());
    *user.token.lock() = Some(shop.issuer.sign(&claims));
    user.get("/cart").await.expect(200);
    shop.sessions.end(claims.sid.unwrap(), EndReason::Logout).await.unwrap();
    eventually("the cart service has heard of it", || async { user.get("/cart").await.status == 401 }).await;
    user.get("/cart").await.refused(401, "invalid_token");
    user.sign_in();
    user.get("/cart").await.expect(200);
    shop.clock.advance(Duration::from_secs(600));
    user.get("/cart").await.refused(401, "invalid_token");
}

/// As a part of a path or query.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn injections_are_ordinary_text(shop: Shop) {
    let guest = shop.guest();
    let whole = guest.get("/products?limit=100").await.expect(200);
    for text in INJECTIONS {
        let found = guest.get(&format!("/products?q={}", encoded(text))).await.expect(200);
        assert!(found["items"].as_array().unwrap().len() < 3, "{text:?} found {found}");
        for parameter in ["category", "cursor", "limit", "sort", "order_by"] {
            guest.get(&format!("/products?{parameter}={}", encoded(text))).await.refused(400, "invalid_query");
        }
        guest.get(&format!("/products/{}", encoded(text))).await.refused(404, "not_found");
        guest.delete(&format!("/cart/items/{}", encoded(text))).await.refused(404, "not_found");
        guest.post("/cart/items", json!({"product_id": text, "quantity": 1})).await.refused(422, "invalid_body");
        guest
            .post("/cart/items", json!({"product_id": Uuid::nil(), "quantity": text}))
            .await
            .refused(422, "invalid_body");
    }
    assert_eq!(guest.get("/products?limit=100").await.expect(200), whole);
}

async fn nothing_but_the_service_is_served(shop: Shop) {
    for path in
        ["/.git/config", "/.env", "/debug", "/actuator", "/admin", "/products/", "//products", "/Products", "/cart/"]
    {
        shop.guest().get(path).await.refused(404, "not_found");
    }
    for (method, path, allow) in [
        (Method::POST, "/products", "GET, HEAD"),
        (Method::TRACE, "/cart", "GET, HEAD, DELETE"),
        (Method::PATCH, "/cart/items", "POST"),
        (Method::GET, "/checkouts", "POST"),
    ] {
        let refused = shop.guest().send(method.clone(), path, &[], None).await;
        assert_eq!(refused.headers["allow"], allow, "{method} {path}");
        refused.refused(405, "method_not_allowed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_a_503_that_asks_to_try_again() {
    let Some(shop) = Shop::on_postgres().await else { return };
    let (user, guest, product) = (shop.user(), shop.guest(), shop.product(100, 9).await);
    let shared::database::Database::Postgres(primary) = &shop.database else { panic!("PostgreSQL was asked for") };
    let pool = &primary.pool();
    let mut blocking = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE products, carts IN ACCESS EXCLUSIVE MODE").execute(&mut *blocking).await.unwrap();
    let (listed, added, opened) = tokio::join!(guest.get("/products"), user.add(product, 1), user.check_out("k"));
    for answer in [listed, added, opened] {
        assert_eq!(answer.headers["retry-after"], "1");
        answer.refused(503, "unavailable");
    }
    blocking.rollback().await.unwrap();
    user.add(product, 1).await.expect(200);
    assert_eq!(user.quantities().await[&product], 1, "nothing was done behind the 503");
}
