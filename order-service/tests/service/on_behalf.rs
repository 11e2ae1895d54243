//! In whose name the cart service is called, and what happens when the auth service does not say.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::faults::Call;
use crate::harness::{Answer, World, on_both_databases};
use crate::issuer::Exchange;

on_both_databases! {
    the_cart_service_gets_a_token_for_itself_that_names_who_acts,
    one_exchange_serves_all_orders_of_an_access_token,
    orders_go_on_with_the_users_own_token_while_none_is_given,
    a_token_that_the_auth_service_refuses_places_nothing,
}

async fn place(world: &World, token: &str, key: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_bytes()), ("idempotency-key", key.as_bytes())];
    world.send(Method::POST, "/orders", &headers, None).await
}

async fn the_cart_service_gets_a_token_for_itself_that_names_who_acts(world: World) {
    let (ada, _) = world.shopper(1, 5).await;
    // The user's own is not for the cart service at all.
    place(&world, &ada.token_for(&["order-service"]), "k").await.expect(201);
    let seen = world.cart.tokens();
    assert_eq!(seen.len(), 1);
    assert_eq!((&seen[0]["aud"], &seen[0]["scope"]), (&json!(["cart-service"]), &json!("cart")));
    assert_eq!((&seen[0]["act"], &seen[0]["sub"]), (&json!({"sub": "order-service"}), &json!(ada.user)));
}

async fn one_exchange_serves_all_orders_of_an_access_token(world: World) {
    let (ada, lamp) = world.shopper(1, 5).await;
    let token = ada.token_for(&["order-service", "cart-service"]);
    for number in 1..=3 {
        place(&world, &token, &number.to_string()).await.expect(201);
        world.cart.fill(ada.user, lamp, 1);
    }
    assert_eq!((world.cart.calls(Call::CheckOut), world.issuer.exchanges()), (3, 1));
    place(&world, &ada.token_for(&["order-service"]), "4").await.expect(201);
    assert_eq!(world.issuer.exchanges(), 2, "another token, another exchange");
}

async fn orders_go_on_with_the_users_own_token_while_none_is_given(world: World) {
    for (number, answer) in [Exchange::Away, Exchange::Refused("unauthorized_client")].into_iter().enumerate() {
        world.issuer.answer_exchanges(answer);
        let (ada, _) = world.shopper(1, 5).await;
        let begun = Instant::now();
        ada.place("k").await.expect(201);
        assert!(begun.elapsed() < Duration::from_secs(3), "it waited {:?}", begun.elapsed());
        let seen = &world.cart.tokens()[number];
        assert_eq!((&seen["aud"], seen.get("act")), (&json!(["cart-service", "order-service"]), None));
    }
}

async fn a_token_that_the_auth_service_refuses_places_nothing(world: World) {
    let (ada, lamp) = world.shopper(1, 5).await;
    world.issuer.answer_exchanges(Exchange::Refused("invalid_request"));
    ada.place("k").await.refused(401, "invalid_token");
    assert_eq!((world.cart.calls(Call::CheckOut), world.cart.stock(lamp)), (0, 5));
    world.issuer.answer_exchanges(Exchange::Given);
    ada.place("k").await.expect(201);
}
