//! The guest's cart, and how it becomes a user's: once, whole, and only by its secret.

use std::time::Duration;

use cart_service::storage::carts::{self, GuestSecretHash, Owner};
use cart_service::sweeper;
use reqwest::Method;
use serde_json::json;
use shared::session::UserId;
use tokio::task::JoinSet;

use crate::harness::{Shop, TTL, eventually, on_both_databases};

const DAY: Duration = Duration::from_secs(86_400);

on_both_databases! {
    a_guests_cart_begins_with_its_first_item_and_follows_the_cookie,
    a_login_takes_the_guests_cart_over_once,
    a_merge_is_cut_at_the_stock_and_at_ninety_nine,
    many_merges_at_once_are_one,
    two_users_cannot_both_take_a_guests_cart,
    a_secret_that_the_service_did_not_make_opens_nothing,
    all_cookies_of_the_name_are_tried,
    a_guests_cart_expires_after_a_week_without_a_change,
    only_expired_guests_carts_are_swept,
    ht3_looking_begins_no_guests_cart,
    ht3_a_guests_cart_goes_with_its_last_item,
}

async fn a_guests_cart_begins_with_its_first_item_and_follows_the_cookie(shop: Shop) {
    let (guest, product) = (shop.guest(), shop.product(100, 9).await);
    guest.get("/cart").await.expect(200);
    guest.add(product, 10).await.refused(409, "insufficient_stock");
    assert!(guest.cookie.lock().is_none(), "a refused item begins no cart");
    let answer = guest.add(product, 2).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("guest_cart=") && cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"));
    let cart = guest.add(product, 1).await.expect(200);
    assert_eq!((&cart["lines"][0]["quantity"], &cart["version"]), (&json!(3), &json!(2)));
    assert_eq!(guest.get("/cart").await.expect(200), cart);
    assert!(shop.guest().quantities().await.is_empty(), "another guest has another cart");
    guest.delete("/cart").await.expect(204);
    assert!(guest.quantities().await.is_empty());
}

async fn a_login_takes_the_guests_cart_over_once(shop: Shop) {
    let (both, guests, users) = (shop.product(100, 9).await, shop.product(200, 9).await, shop.product(300, 9).await);
    let user = shop.user();
    user.add(both, 1).await.expect(200);
    user.add(users, 1).await.expect(200);
    let guest = shop.guest();
    guest.add(guests, 2).await.expect(200);
    guest.add(both, 3).await.expect(200);
    let cookie = guest.cookie.lock().clone().unwrap();

    *user.cookie.lock() = Some(cookie.clone());
    let merged = user.get("/cart").await.expect(200);
    assert_eq!(crate::harness::quantities(&merged), [(both, 4), (guests, 2), (users, 1)].into());
    assert_eq!(merged["version"], 3);
    assert!(user.cookie.lock().is_none(), "the browser forgets the cookie");

    *user.cookie.lock() = Some(cookie);
    assert_eq!(user.get("/cart").await.expect(200), merged, "the cookie of a merged cart does nothing");
    assert!(user.cookie.lock().is_none(), "and is forgotten again");
    assert!(guest.quantities().await.is_empty(), "the guest's cart is gone");
}

async fn a_merge_is_cut_at_the_stock_and_at_ninety_nine(shop: Shop) {
    let (scarce, plenty) = (shop.product(100, 5).await, shop.product(100, 1_000).await);
    let (user, guest) = (shop.user(), shop.guest());
    for visitor in [&user, &guest] {
        visitor.add(scarce, 4).await.expect(200);
        visitor.add(plenty, 60).await.expect(200);
    }
    *user.cookie.lock() = guest.cookie.lock().clone();
    assert_eq!(user.quantities().await, [(scarce, 5), (plenty, 99)].into());
}

async fn many_merges_at_once_are_one(shop: Shop) {
    let product = shop.product(100, 90).await;
    let (user, guest) = (shop.user(), shop.guest());
    user.add(product, 1).await.expect(200);
    guest.add(product, 2).await.expect(200);
    *user.cookie.lock() = guest.cookie.lock().clone();
    let headers = [("cookie", user.cookie.lock().take().unwrap())];
    let headers = [(headers[0].0, headers[0].1.as_str())];
    let requests = (0..30).map(|number| {
        let (method, path) = if number % 2 == 0 {
            (Method::GET, "/cart")
        } else {
            (Method::DELETE, "/cart/items/00000000-0000-0000-0000-000000000000")
        };
        user.send(method, path, &headers, None)
    });
    futures_util::future::join_all(requests).await;
    assert_eq!(user.quantities().await, [(product, 3)].into());
}

async fn two_users_cannot_both_take_a_guests_cart(shop: Shop) {
    let product = shop.product(100, 90).await;
    for round in 0..5_u8 {
        let guest = GuestSecretHash([round; 32]);
        let add = cart_service::rules::cart::Change::Add(7.try_into().unwrap());
        carts::open_for_guest(&shop.database, guest, product, add, shop.clock.now(), TTL).await.unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..10 {
            let (database, user, now) = (shop.database.clone(), UserId::random(), shop.clock.now());
            tasks.spawn(async move {
                let merged = carts::merge(&database, guest, user, now).await.unwrap();
                let cart = carts::show(&database, &Owner::User(user), now).await.unwrap();
                (merged, cart.map_or(0, |cart| cart.lines.iter().map(|line| line.quantity.get()).sum::<i64>()))
            });
        }
        let outcomes = tasks.join_all().await;
        assert_eq!(outcomes.iter().filter(|(merged, _)| *merged).count(), 1);
        assert!(outcomes.iter().all(|(merged, count)| *count == if *merged { 7 } else { 0 }), "{outcomes:?}");
    }
}

async fn a_secret_that_the_service_did_not_make_opens_nothing(shop: Shop) {
    let (attacker, product) = (shop.guest(), shop.product(100, 90).await);
    let planted = format!("guest_cart={}", "A".repeat(43));
    for odd in [planted.as_str(), "guest_cart=", "guest_cart=1", "guest_cart=' OR '1'='1", "guest_cart=%00", "=;=;"] {
        *attacker.cookie.lock() = Some(odd.to_owned());
        attacker.add(product, 1).await.expect(200);
        let given = attacker.cookie.lock().clone().unwrap();
        assert!(given.starts_with("guest_cart=") && given != odd, "a planted secret was taken: {odd}");
        assert_eq!(attacker.quantities().await[&product], 1);
    }
}

async fn all_cookies_of_the_name_are_tried(shop: Shop) {
    let (guest, product) = (shop.guest(), shop.product(100, 90).await);
    guest.add(product, 3).await.expect(200);
    let good = guest.cookie.lock().clone().unwrap();
    *guest.cookie.lock() = Some(format!("guest_cart=tossed; guest_cart={}; {good}", "A".repeat(43)));
    assert_eq!(guest.quantities().await[&product], 3);
}

async fn a_guests_cart_expires_after_a_week_without_a_change(shop: Shop) {
    let (guest, product) = (shop.guest(), shop.product(100, 90).await);
    guest.add(product, 1).await.expect(200);
    shop.clock.advance(6 * DAY);
    guest.add(product, 1).await.expect(200);
    shop.clock.advance(6 * DAY);
    assert_eq!(guest.quantities().await[&product], 2, "a change begins the time anew");
    shop.clock.advance(DAY);
    let user = shop.user();
    *user.cookie.lock() = guest.cookie.lock().clone();
    assert!(user.quantities().await.is_empty(), "an expired cart is not merged");
    assert!(guest.quantities().await.is_empty());
    let old = guest.cookie.lock().clone();
    guest.add(product, 1).await.expect(200);
    assert_ne!(*guest.cookie.lock(), old, "a new cart has a new secret");
}

async fn only_expired_guests_carts_are_swept(shop: Shop) {
    let (product, now) = (shop.product(100, 90).await, shop.clock.now());
    let add = cart_service::rules::cart::Change::Add(1.try_into().unwrap());
    let user = Owner::User(UserId::random());
    carts::change(&shop.database, &user, product, add, now, TTL).await.unwrap();
    carts::open_for_guest(&shop.database, GuestSecretHash([1; 32]), product, add, now, TTL).await.unwrap();
    shop.clock.advance(DAY);
    let later = shop.clock.now();
    carts::open_for_guest(&shop.database, GuestSecretHash([2; 32]), product, add, later, TTL).await.unwrap();
    let remaining = || async {
        shared::on_database!(&shop.database, |pool| {
            let count = sqlx::query_as("SELECT COUNT(*) FROM carts").fetch_one(pool).await;
            count.map(|(count,): (i64,)| count).unwrap()
        })
    };
    shop.clock.advance(6 * DAY);
    eventually("the sweeper has been there", || async { remaining().await == 2 }).await;
    sweeper::sweep(&shop.database, &shop.clock).await.unwrap();
    assert_eq!(remaining().await, 2);
    assert!(carts::show(&shop.database, &user, shop.clock.now()).await.unwrap().is_some(), "a user's never expires");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_https_the_cookie_belongs_to_the_host_alone() {
    let shop = Shop::on_sqlite_with(&[("COOKIE_SECURE", "true")]).await;
    let (guest, product) = (shop.guest(), shop.product(100, 90).await);
    let answer = guest.add(product, 1).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-guest_cart=") && cookie.contains("; Secure") && cookie.contains("; Path=/"));
    assert!(!cookie.contains("Domain"));
    assert_eq!(guest.quantities().await[&product], 1);
    let unprefixed = guest.cookie.lock().clone().unwrap().replace("__Host-", "");
    *guest.cookie.lock() = Some(unprefixed);
    assert!(guest.quantities().await.is_empty(), "a cookie without the prefix could be anybody's");
}

async fn rows(shop: &Shop, table: &str) -> i64 {
    shared::testing::tables::rows(&shop.database).await[table]
}

async fn ht3_looking_begins_no_guests_cart(shop: Shop) {
    let (guest, product) = (shop.guest(), shop.product(100, 9).await);
    let before = shared::testing::tables::rows(&shop.database).await;
    let line = format!("/cart/items/{product}");
    for path in
        ["/", "/basket", "/cart", "/products", "/login", &format!("/p/{product}"), &format!("/products/{product}")]
    {
        let status = guest.get(path).await.status;
        assert!(matches!(status, 200 | 303 | 503), "{path}: {status}");
    }
    guest.delete(&line).await.expect(200);
    guest.delete("/cart").await.expect(204);
    guest.put(&line, json!({"quantity": 10})).await.refused(409, "insufficient_stock");
    let mut after = shared::testing::tables::rows(&shop.database).await;
    after.insert("small_values".to_owned(), before["small_values"]);
    assert_eq!(after, before, "only the refused item was counted, and nothing else is kept");
    let cookie = guest.cookie.lock().clone().unwrap_or_default();
    assert!(!cookie.contains("guest_cart"), "{cookie}");
}

async fn ht3_a_guests_cart_goes_with_its_last_item(shop: Shop) {
    let (guest, product, other) = (shop.guest(), shop.product(100, 9).await, shop.product(100, 9).await);
    for last in [format!("/cart/items/{other}"), "/cart".to_owned()] {
        guest.add(product, 1).await.expect(200);
        guest.add(other, 1).await.expect(200);
        guest.delete(&format!("/cart/items/{product}")).await.expect(200);
        assert_eq!((rows(&shop, "carts").await, rows(&shop, "cart_lines").await), (1, 1));
        let answer = guest.delete(&last).await;
        assert!(answer.status < 300 && !answer.headers.contains_key("set-cookie"), "{last}");
        assert_eq!((rows(&shop, "carts").await, rows(&shop, "cart_lines").await), (0, 0));
        assert!(guest.quantities().await.is_empty());
    }
    let user = shop.user();
    user.add(product, 1).await.expect(200);
    user.delete("/cart").await.expect(204);
    assert_eq!(rows(&shop, "carts").await, 1, "a user's cart stays, for its version counts on");
}

/// Four carts, or sixteen changes.
const NARROW: [(&str, &str); 3] =
    [("GUEST_CART_BYTES_PER_NETWORK", "4096"), ("GUEST_CART_BYTES", "9216"), ("TRUSTED_PROXIES", "127.0.0.1")];

#[tokio::test(flavor = "multi_thread")]
async fn ht3_guests_of_a_network_who_write_too_much_wait_and_nobody_else_does() {
    let shop = Shop::on_sqlite_with(&NARROW).await;
    let product = shop.product(100, 900).await;
    let new_guest = async |address: &str| {
        let guest = shop.guest_from(address);
        let answer = guest.add(product, 1).await;
        (guest, answer)
    };
    let (first, answer) = new_guest("192.0.2.1").await;
    answer.expect(200);
    for _ in 0..3 {
        new_guest("192.0.2.1").await.1.expect(200);
    }
    let (refused, answer) = new_guest("192.0.2.1").await;
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    answer.refused(429, "too_many_requests");
    assert!(refused.cookie.lock().is_none());
    first.add(product, 1).await.refused(429, "too_many_requests");
    assert_eq!(first.quantities().await[&product], 1, "looking is free");
    first.delete(&format!("/cart/items/{product}")).await.expect(200);
    assert_eq!(rows(&shop, "carts").await, 3, "so is taking out");

    // Users of the same network, and guests of another one.
    let user = shop.user_from("192.0.2.1");
    user.add(product, 1).await.expect(200);
    new_guest("192.0.2.2").await.1.expect(200);
    // One IPv6 subscriber is one network.
    for number in 0..4 {
        new_guest(&format!("2001:db8::{number}")).await.1.expect(200);
    }
    new_guest("2001:db8::ffff").await.1.refused(429, "too_many_requests");
    // All networks together.
    new_guest("192.0.2.3").await.1.refused(429, "too_many_requests");
    shop.clock.advance(Duration::from_secs(3601));
    user.sign_in();
    new_guest("192.0.2.1").await.1.expect(200);
    new_guest("192.0.2.3").await.1.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn ht3_a_page_tells_a_guest_to_wait() {
    let shop = Shop::on_sqlite_with(&[("GUEST_CART_BYTES_PER_NETWORK", "1024")]).await;
    let product = shop.product(100, 900).await;
    shop.guest().add(product, 1).await.expect(200);
    let path = format!("/p/{product}");
    let flood = shared::testing::flood::Flood::new(shop.base(), &shop.documents, &Default::default(), &[]);
    let flood = flood.with_form(&path, "/basket/items", &[("quantity", "1")]);
    let answers = flood.run_last(3).await;
    assert_eq!(answers, [(429, 3)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn ht3_replicas_share_the_budget_and_of_many_at_once_no_more_are_let_in() {
    let Some(one) = Shop::on_postgres_with(&NARROW).await else { return };
    let other = one.another(&NARROW).await;
    let product = one.product(100, 900).await;
    let adding = (0..40).map(|number| {
        let shop = if number % 2 == 0 { &one } else { &other };
        async move { shop.guest_from("192.0.2.1").add(product, 1).await.status }
    });
    let statuses = futures_util::future::join_all(adding).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 4, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    assert_eq!(rows(&one, "carts").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_cart_lives_as_long_as_the_setting_says() {
    let shop = Shop::on_sqlite_with(&[("GUEST_CART_TTL", "2h")]).await;
    let (guest, product) = (shop.guest(), shop.product(100, 90).await);
    let answer = guest.add(product, 1).await;
    assert!(answer.headers["set-cookie"].to_str().unwrap().contains("Max-Age=7200"));
    shop.clock.advance(Duration::from_secs(7_190));
    assert_eq!(guest.quantities().await[&product], 1);
    shop.clock.advance(Duration::from_secs(11));
    assert!(guest.quantities().await.is_empty());
    eventually("it is swept", || async { rows(&shop, "carts").await == 0 }).await;
}
