//! Listing and showing orders.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{World, on_both_databases};

on_both_databases! {
    a_list_is_paged_without_gaps_or_repeats,
    a_list_holds_only_ones_own_orders,
    whoever_does_not_say_who_they_are_sees_nothing,
}

async fn a_list_is_paged_without_gaps_or_repeats(world: World) {
    let ada = world.person().await;
    let lamp = world.cart.product(100);
    let mut placed = Vec::new();
    for _ in 0..7 {
        world.cart.fill(ada.user, lamp, 1);
        placed.push(ada.order().await);
    }
    placed.reverse();
    for limit in [1, 2, 3, 7, 100] {
        let (mut seen, mut next) = (Vec::new(), None);
        loop {
            let cursor = next.map(|next: String| format!("&cursor={next}")).unwrap_or_default();
            let page = ada.get(&format!("/orders?limit={limit}{cursor}")).await.expect(200);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            seen.extend(items.iter().map(|order| order["id"].as_str().unwrap().parse::<Uuid>().unwrap()));
            // An order that comes while one turns the pages moves nothing.
            next = page["next"].as_str().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        assert_eq!(seen, placed, "the newest first, by {limit}");
    }
    assert_eq!(ada.get("/orders").await.expect(200)["next"], Value::Null);
}

async fn a_list_holds_only_ones_own_orders(world: World) {
    let (ada, lamp) = world.shopper(1, 10).await;
    let mallory = world.person().await;
    world.cart.fill(mallory.user, lamp, 1);
    let (one, other) = (ada.order().await, mallory.order().await);
    let listed = ada.get("/orders").await.expect(200);
    let ids: BTreeSet<&str> =
        listed["items"].as_array().unwrap().iter().filter_map(|order| order["id"].as_str()).collect();
    assert_eq!(ids, [one.to_string().as_str()].into());
    assert_ne!(one, other);
    // A filter on somebody else is no filter that there is.
    mallory.get(&format!("/orders?user_id={}", ada.user)).await.refused(400, "invalid_query");
}

async fn whoever_does_not_say_who_they_are_sees_nothing(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    let id = ada.order().await;
    let for_another = format!("Bearer {}", ada.token_for(&["cart-service"]));
    let key = ("idempotency-key", &b"k"[..]);
    for (method, path) in [
        ("GET", "/orders".to_owned()),
        ("GET", format!("/orders/{id}")),
        ("POST", "/orders".to_owned()),
        ("POST", format!("/orders/{id}/pay")),
        ("POST", format!("/orders/{id}/cancel")),
    ] {
        let method: reqwest::Method = method.parse().unwrap();
        let answer = world.send(method.clone(), &path, &[key], None).await;
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{method} {path}");
        answer.refused(401, "authentication_required");
        for token in [for_another.as_bytes(), b"Bearer x", b"Bearer a.b.c"] {
            let answer = world.send(method.clone(), &path, &[key, ("authorization", token)], None).await;
            answer.refused(401, "invalid_token");
        }
        for no_token in [&b"Basic eDp5"[..], b"Bearer "] {
            let answer = world.send(method.clone(), &path, &[key, ("authorization", no_token)], None).await;
            assert_eq!(answer.status, 401, "{method} {path}");
        }
        let twice = [key, ("authorization", ada.bearer().into_bytes().leak() as &[u8]), ("authorization", b"Bearer x")];
        world.send(method.clone(), &path, &twice, None).await.refused(400, "invalid_request");
    }
    assert_eq!(json!(ada.orders().await.len()), 1);
}
