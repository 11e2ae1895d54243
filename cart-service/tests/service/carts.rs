//! Carts: what a user's changes make of one, however many come at once.

use cart_service::rules::cart::{Change, Quantity};
use cart_service::storage::carts::{self, ChangeError, Owner};
use serde_json::json;
use shared::session::UserId;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::{Shop, TTL, on_both_databases};

on_both_databases! {
    a_cart_follows_its_user_through_a_day_of_shopping,
    no_parallel_change_is_lost,
    parallel_changes_never_break_a_limit,
    a_cart_holds_a_hundred_lines_of_ninety_nine,
    more_than_the_stock_is_refused,
    a_total_that_is_too_large_is_refused,
    removing_what_is_not_there_changes_nothing,
}

async fn a_cart_follows_its_user_through_a_day_of_shopping(shop: Shop) {
    let (cheap, dear) = (shop.product(250, 10).await, shop.product(10_000, 10).await);
    let user = shop.user();
    let nothing = json!({"lines": [], "total": {"amount": 0, "currency": "EUR"}, "version": 0});
    assert_eq!(user.get("/cart").await.expect(200), nothing);
    user.add(cheap, 2).await.expect(200);
    user.add(dear, 1).await.expect(200);
    let cart = user.add(cheap, 1).await.expect(200);
    assert_eq!(cart["version"], 3);
    assert_eq!(cart["total"], json!({"amount": 10_750, "currency": "EUR"}));
    let line = &cart["lines"][0];
    assert_eq!((&line["product_id"], &line["quantity"]), (&json!(cheap), &json!(3)), "lines keep their order");
    assert_eq!(line["price"], json!({"amount": 250, "currency": "EUR"}));
    assert_eq!(line["total"], json!({"amount": 750, "currency": "EUR"}));
    assert_eq!(user.get("/cart").await.expect(200), cart);

    let cart = user.put(&format!("/cart/items/{cheap}"), json!({"quantity": 1})).await.expect(200);
    assert_eq!((&cart["total"]["amount"], &cart["version"]), (&json!(10_250), &json!(4)));
    let again = user.put(&format!("/cart/items/{cheap}"), json!({"quantity": 1})).await.expect(200);
    assert_eq!(again, cart, "setting what is so is no change");
    let cart = user.delete(&format!("/cart/items/{dear}")).await.expect(200);
    assert_eq!((&cart["total"]["amount"], &cart["version"]), (&json!(250), &json!(5)));
    let cart = user.put(&format!("/cart/items/{dear}"), json!({"quantity": 2})).await.expect(200);
    assert_eq!(cart["total"]["amount"], 20_250, "setting adds what is not there");

    user.sign_in();
    assert_eq!(user.get("/cart").await.expect(200), cart, "another login of the same user sees the same cart");
    user.delete("/cart").await.expect(204);
    let cart = user.get("/cart").await.expect(200);
    assert_eq!((cart["lines"].as_array().unwrap().len(), &cart["version"]), (0, &json!(7)));
    assert_eq!(shop.stock(cheap).await, 10, "a cart holds no stock");
}

fn quantity(count: i64) -> Quantity {
    count.try_into().unwrap()
}

async fn no_parallel_change_is_lost(shop: Shop) {
    let user = Owner::User(UserId::random());
    let products = [shop.product(100, 1_000).await, shop.product(100, 1_000).await];
    let mut tasks = JoinSet::new();
    for number in 0..40 {
        let (database, now, product) = (shop.database.clone(), shop.clock.now(), products[number % 2]);
        tasks.spawn(async move {
            carts::change(&database, &user, product, Change::Add(quantity(2)), now, TTL).await.unwrap();
        });
    }
    tasks.join_all().await;
    let cart = carts::show(&shop.database, &user, shop.clock.now()).await.unwrap().unwrap();
    let counts: Vec<i64> = cart.lines.iter().map(|line| line.quantity.get()).collect();
    assert_eq!((counts, cart.version), (vec![40, 40], 40));
}

async fn parallel_changes_never_break_a_limit(shop: Shop) {
    let user = Owner::User(UserId::random());
    let product = shop.product(100, 1_000).await;
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (database, now) = (shop.database.clone(), shop.clock.now());
        tasks.spawn(async move { carts::change(&database, &user, product, Change::Add(quantity(10)), now, TTL).await });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 9);
    let refused = |outcome: &Result<_, ChangeError>| matches!(outcome, Err(ChangeError::Refused(_)));
    assert_eq!(outcomes.iter().filter(|outcome| refused(outcome)).count(), 11);
    let cart = carts::show(&shop.database, &user, shop.clock.now()).await.unwrap().unwrap();
    assert_eq!((cart.lines[0].quantity.get(), cart.version), (90, 9));
}

async fn a_cart_holds_a_hundred_lines_of_ninety_nine(shop: Shop) {
    let user = shop.user();
    let owner = Owner::User(user.user());
    let mut products = Vec::new();
    for _ in 0..100 {
        let product = shop.product(1, 200).await;
        carts::change(&shop.database, &owner, product, Change::Set(quantity(99)), shop.clock.now(), TTL).await.unwrap();
        products.push(product);
    }
    user.add(shop.product(1, 200).await, 1).await.refused(409, "cart_full");
    let one_more = user.add(products[50], 1).await.refused(422, "invalid_field");
    assert_eq!(one_more["errors"][0]["pointer"], "/quantity");
    let cart = user.get("/cart").await.expect(200);
    assert_eq!((cart["lines"].as_array().unwrap().len(), &cart["total"]["amount"]), (100, &json!(9_900)));
    user.check_out("all-of-it").await.expect(201);
    assert_eq!(shop.stock(products[99]).await, 101);
}

async fn more_than_the_stock_is_refused(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 3).await);
    user.add(product, 2).await.expect(200);
    let refused = user.add(product, 2).await.refused(409, "insufficient_stock");
    assert_eq!(refused["errors"][0]["pointer"], "/quantity");
    user.put(&format!("/cart/items/{product}"), json!({"quantity": 4})).await.refused(409, "insufficient_stock");
    assert_eq!(user.quantities().await[&product], 2);
    user.add(Uuid::new_v4(), 1).await.refused(404, "not_found");
    user.put(&format!("/cart/items/{}", Uuid::new_v4()), json!({"quantity": 1})).await.refused(404, "not_found");
}

async fn a_total_that_is_too_large_is_refused(shop: Shop) {
    const LARGEST: i64 = 9_007_199_254_740_991;
    let (user, priceless, cheap) = (shop.user(), shop.product(LARGEST, 50).await, shop.product(1, 50).await);
    user.add(priceless, 2).await.refused(409, "total_too_large");
    assert_eq!(user.add(priceless, 1).await.expect(200)["total"]["amount"], LARGEST);
    user.add(cheap, 1).await.refused(409, "total_too_large");
    let held = user.check_out("priceless").await.expect(201);
    assert_eq!(held["total"]["amount"], LARGEST);
}

async fn removing_what_is_not_there_changes_nothing(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 3).await);
    let before = user.add(product, 1).await.expect(200);
    assert_eq!(user.delete(&format!("/cart/items/{}", Uuid::new_v4())).await.expect(200), before);
    let guest = shop.guest();
    assert_eq!(guest.delete(&format!("/cart/items/{product}")).await.expect(200)["version"], 0);
    guest.delete("/cart").await.expect(204);
    assert!(guest.cookie.lock().is_none(), "no cart begins before the first item");
}
