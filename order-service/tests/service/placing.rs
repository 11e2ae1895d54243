//! Placing an order: once for a key, whatever the cart service does.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::fake_cart::{PRICE, Status};
use crate::faults::{Call, Fault, When};
use crate::harness::{World, on_both_databases};

on_both_databases! {
    an_order_is_what_was_in_the_cart,
    a_hundred_repeats_at_once_place_one_order,
    a_hundred_repeats_at_once_of_a_refused_order_are_all_refused,
    the_same_key_with_another_body_is_refused,
    a_strangers_same_key_is_another_order,
    a_repeat_gets_the_first_answer_whatever_happened_since,
    a_refused_attempt_frees_its_key_and_is_no_order,
    the_last_item_is_sold_once,
    a_cart_service_that_breaks_is_a_503_and_a_repeat_goes_on,
    a_cart_service_that_refuses_the_token_loses_nothing,
    a_hold_that_ended_before_it_was_confirmed_is_no_order,
    an_answer_with_wrong_sums_is_never_taken,
}

async fn an_order_is_what_was_in_the_cart(world: World) {
    let (ada, lamp) = world.shopper(3, 10).await;
    let address =
        json!({"name": "Ada", "line1": "1 Main St", "postal_code": "10115", "city": "Berlin", "country": "DE"});
    let body = json!({"note": " ring twice\n", "shipping_address": address});
    let answer = ada.place_with("k", Some(body)).await;
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let order = answer.expect(201);
    assert_eq!(order["status"], "placed");
    assert_eq!(order["total"], json!({"amount": 3 * PRICE, "currency": "EUR"}));
    assert_eq!(order["lines"][0]["product_id"], json!(lamp));
    assert_eq!(order["lines"][0]["quantity"], 3);
    assert_eq!(order["lines"][0]["price"]["amount"], PRICE);
    assert_eq!(order["lines"][0]["total"]["amount"], 3 * PRICE);
    assert_eq!((&order["note"], &order["shipping_address"]), (&json!("ring twice"), &address));
    assert!(order.get("paid_at").is_none() && order.get("user_id").is_none(), "{order}");
    assert_eq!(ada.get(&location).await.expect(200), order);
    assert_eq!(world.cart.stock(lamp), 7);
    let checkouts = world.cart.checkouts(ada.user);
    assert_eq!((checkouts.len(), checkouts[0].status), (1, Status::Confirmed));
}

async fn a_hundred_repeats_at_once_place_one_order(world: World) {
    let (ada, lamp) = world.shopper(2, 10).await;
    let answers = join_all((0..100).map(|_| ada.place("once"))).await;
    let bodies: BTreeSet<String> = answers.into_iter().map(|answer| answer.expect(201).to_string()).collect();
    assert_eq!(bodies.len(), 1, "the same answer: {bodies:?}");
    assert_eq!(ada.orders().await.len(), 1);
    assert_eq!(world.cart.stock(lamp), 8);
    assert_eq!((world.cart.calls(Call::CheckOut), world.cart.calls(Call::Confirm)), (1, 1));
}

async fn a_hundred_repeats_at_once_of_a_refused_order_are_all_refused(world: World) {
    let ada = world.person().await;
    // Each failed attempt frees the key for the next one: on a slow machine the last of them are asked to repeat.
    let repeat = async || loop {
        let answer = ada.place("empty").await;
        if answer.status != 503 {
            return answer;
        }
    };
    for answer in join_all((0..100).map(|_| repeat())).await {
        answer.refused(409, "cart_empty");
    }
    assert!(ada.orders().await.is_empty());
}

async fn the_same_key_with_another_body_is_refused(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    ada.place_with("k", Some(json!({"note": "a"}))).await.expect(201);
    for other in [None, Some(json!({})), Some(json!({"note": "b"}))] {
        ada.place_with("k", other).await.refused(409, "idempotency_key_reused");
    }
    ada.place_with("k", Some(json!({"shipping_address": null, "note": "a"}))).await.expect(201);
    assert_eq!(ada.orders().await.len(), 1);
}

async fn a_strangers_same_key_is_another_order(world: World) {
    let (ada, lamp) = world.shopper(1, 10).await;
    let mallory = world.person().await;
    world.cart.fill(mallory.user, lamp, 2);
    let (one, other) = (ada.place("k").await.expect(201), mallory.place("k").await.expect(201));
    assert_ne!(one["id"], other["id"]);
    let path = format!("/orders/{}", one["id"].as_str().unwrap());
    let missing = "/orders/00000000-0000-4000-8000-000000000000";
    let (foreign, missing) =
        (mallory.get(&path).await.refused(404, "not_found"), mallory.get(missing).await.expect(404));
    assert_eq!(foreign, missing, "a stranger's order looks like none");
    for act in ["pay", "cancel"] {
        mallory.post(&format!("{path}/{act}"), None).await.refused(404, "not_found");
    }
    assert_eq!(ada.get(&path).await.expect(200)["status"], "placed");
}

async fn a_repeat_gets_the_first_answer_whatever_happened_since(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    let first = ada.place("k").await.expect(201);
    let id = first["id"].as_str().unwrap().parse().unwrap();
    ada.pay(id).await.expect(200);
    assert_eq!(ada.place("k").await.expect(201), first);
    ada.cancel(id).await.expect(200);
    assert_eq!(ada.place("k").await.expect(201), first);
    assert_eq!(ada.show(id).await["status"], "cancelled");
}

async fn a_refused_attempt_frees_its_key_and_is_no_order(world: World) {
    let (ada, lamp) = world.shopper(11, 10).await;
    let refused = ada.place("k").await.refused(409, "insufficient_stock");
    assert_eq!(refused["errors"][0]["pointer"], format!("/lines/{lamp}"), "it says which: {refused}");
    assert!(ada.orders().await.is_empty());
    let chair = world.cart.product(5);
    let eve = world.person().await;
    eve.place("k").await.refused(409, "cart_empty");
    world.cart.fill(eve.user, chair, 1);
    // Another body, for the key is as good as new.
    eve.place_with("k", Some(json!({"note": "now"}))).await.expect(201);
    assert_eq!((eve.orders().await.len(), world.cart.stock(chair), world.cart.stock(lamp)), (1, 4, 10));
}

async fn the_last_item_is_sold_once(world: World) {
    let lamp = world.cart.product(1);
    let mut buyers = Vec::new();
    for _ in 0..30 {
        let buyer = world.person().await;
        world.cart.fill(buyer.user, lamp, 1);
        buyers.push(buyer);
    }
    let answers = join_all(buyers.iter().map(|buyer| buyer.place("mine"))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((won.len(), world.cart.stock(lamp)), (1, 0));
    for answer in lost {
        answer.refused(409, "insufficient_stock");
    }
}

async fn a_cart_service_that_breaks_is_a_503_and_a_repeat_goes_on(world: World) {
    for call in [Call::CheckOut, Call::Confirm] {
        for when in [When::BeforeWork, When::AfterWork] {
            let (ada, lamp) = world.shopper(2, 10).await;
            world.faults.switch_on(call, when, Fault::Breaks);
            for _ in 0..3 {
                ada.place("k").await.refused(503, "unavailable");
            }
            assert!(ada.get("/orders").await.expect(200)["items"].as_array().unwrap().is_empty(), "it is no order yet");
            world.faults.switch_off();
            let order = ada.place("k").await.expect(201);
            assert_eq!(ada.place("k").await.expect(201), order);
            assert_eq!((ada.orders().await.len(), world.cart.stock(lamp)), (1, 8), "{call:?} {when:?}");
            assert_eq!(world.cart.checkouts(ada.user).len(), 1, "{call:?} {when:?}");
        }
    }
}

async fn a_cart_service_that_refuses_the_token_loses_nothing(world: World) {
    let (ada, lamp) = world.shopper(2, 10).await;
    // The stock is held, but nobody hears of it; then the token is refused.
    world.faults.switch_on(Call::CheckOut, When::AfterWork, Fault::Breaks);
    ada.place("k").await.refused(503, "unavailable");
    world.faults.switch_off();
    world.cart.answer(Some((401, json!({"status": 401, "code": "invalid_token"}))));
    ada.place("k").await.refused(401, "invalid_token");
    world.cart.answer(None);
    ada.place("k").await.expect(201);
    assert_eq!((world.cart.checkouts(ada.user).len(), world.cart.stock(lamp)), (1, 8));
}

async fn a_hold_that_ended_before_it_was_confirmed_is_no_order(world: World) {
    for call in [Call::CheckOut, Call::Confirm] {
        let (ada, lamp) = world.shopper(2, 10).await;
        let when = if call == Call::CheckOut { When::AfterWork } else { When::BeforeWork };
        world.faults.switch_on(call, when, Fault::Breaks);
        ada.place("k").await.refused(503, "unavailable");
        world.faults.switch_off();
        world.clock.advance(Duration::from_secs(16 * 60));
        ada.place("k").await.refused(409, "checkout_expired");
        assert_eq!((ada.orders().await.len(), world.cart.stock(lamp)), (0, 10), "{call:?}");
        // The cart is as it was, and the key is free.
        assert_eq!(world.cart.cart(ada.user), [(lamp, 2)]);
        ada.place("k").await.expect(201);
        assert_eq!((ada.orders().await.len(), world.cart.stock(lamp)), (1, 8), "{call:?}");
    }
}

async fn an_answer_with_wrong_sums_is_never_taken(world: World) {
    let (ada, lamp) = world.shopper(2, 10).await;
    let money = |amount: i64| json!({"amount": amount, "currency": "EUR"});
    let line = |price: i64, total: i64| json!({"product_id": lamp, "name": "Lamp", "quantity": 2, "price": money(price), "total": money(total)});
    let checkout = |lines: serde_json::Value, total: serde_json::Value| json!({"id": lamp, "status": "held", "lines": lines, "total": total});
    for answer in [
        (201, checkout(json!([line(5, 10)]), money(9))),
        (201, checkout(json!([line(5, 5)]), money(5))),
        (201, checkout(json!([line(-5, -10)]), money(-10))),
        (201, checkout(json!([line(i64::MAX, 10)]), money(10))),
        (201, checkout(json!([]), money(0))),
        (201, checkout(json!([line(5, 10)]), json!({"amount": 10, "currency": "USD"}))),
        (201, json!({"id": "../../orders", "status": "held", "lines": [line(5, 10)], "total": money(10)})),
        (201, json!("what")),
        (201, json!({"padding": "x".repeat(2_000_000)})),
        (302, json!({})),
        (403, json!({"status": 403, "code": "service_credential_required"})),
        (409, json!("no problem")),
        (500, json!({"status": 500})),
    ] {
        world.cart.answer(Some(answer.clone()));
        let problem = ada.place("k").await.refused(503, "unavailable");
        assert!(!problem.to_string().contains("sums"), "the cause is for the log: {problem}");
    }
    world.cart.answer(None);
    ada.place("k").await.expect(201);
    assert_eq!(world.cart.stock(lamp), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_service_that_hangs_is_a_503_in_time() {
    let world = World::on_sqlite().await;
    let (ada, lamp) = world.shopper(2, 10).await;
    world.faults.switch_on(Call::CheckOut, When::AfterWork, Fault::Hangs);
    let started = Instant::now();
    ada.place("k").await.refused(503, "unavailable");
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
    world.faults.switch_off();
    ada.place("k").await.expect(201);
    assert_eq!((ada.orders().await.len(), world.cart.stock(lamp)), (1, 8));
}
