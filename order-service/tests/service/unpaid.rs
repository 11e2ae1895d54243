//! How many orders of a user may be unpaid or come to nothing: they hold stock that others want, and fill the table.

use crate::faults::{Call, Fault, When};
use crate::harness::{Person, World};

async fn with_the_limit() -> World {
    World::with(&[("MAX_UNPAID_ORDERS", "3"), ("ORDER_RECOVERY_INTERVAL", "1d")]).await
}

/// Fills the cart and places an order under this key.
async fn order(ada: &Person<'_>, lamp: uuid::Uuid, key: &str) -> crate::harness::Answer {
    ada.world.cart.fill(ada.user, lamp, 1);
    ada.place(key).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ho3_a_user_holds_no_more_stock_than_the_limit_allows_and_pays_or_cancels_to_go_on() {
    let world = with_the_limit().await;
    let (ada, lamp) = (world.person().await, world.cart.product(100));
    let mut placed = Vec::new();
    for key in ["one", "two", "three"] {
        placed.push(order(&ada, lamp, key).await.expect(201));
    }
    let refused = order(&ada, lamp, "four").await.refused(409, "too_many_unpaid_orders");
    assert!(refused["detail"].as_str().unwrap().contains("at most 3"), "{refused}");
    assert_eq!((world.cart.stock(lamp), ada.orders().await.len()), (97, 3), "nothing was held for it");
    assert_eq!(world.cart.cart(ada.user).len(), 1, "and the cart is as it was");
    for (key, placed) in ["one", "two", "three"].iter().zip(&placed) {
        assert_eq!(&ada.place(key).await.expect(201), placed, "a repeat is answered");
    }
    let id = |number: usize| placed[number]["id"].as_str().unwrap().parse().unwrap();
    ada.pay(id(0)).await.expect(200);
    ada.place("four").await.expect(201);
    order(&ada, lamp, "five").await.refused(409, "too_many_unpaid_orders");
    ada.cancel(id(1)).await.expect(200);
    ada.place("five").await.expect(201);

    // It is each user's own.
    let eve = world.person().await;
    order(&eve, lamp, "one").await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn ho3_an_outage_of_the_cart_locks_nobody_out_and_holds_no_more_than_a_few() {
    let world = with_the_limit().await;
    let (ada, lamp) = (world.person().await, world.cart.product(100));
    world.cart.fill(ada.user, lamp, 1);
    world.faults.switch_on(Call::CheckOut, When::BeforeWork, Fault::Breaks);
    for number in 0..9 {
        ada.place(&format!("outage-{number}")).await.refused(503, "unavailable");
    }
    world.faults.switch_off();
    ada.place("after").await.expect(201);
    world.faults.switch_on(Call::CheckOut, When::AfterWork, Fault::Breaks);
    order(&ada, lamp, "outage-10").await.refused(503, "unavailable");
    order(&ada, lamp, "outage-11").await.refused(409, "too_many_unpaid_orders");
    world.faults.switch_off();
    // What stopped half-way goes on.
    ada.place("outage-10").await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn ho4_orders_that_come_to_nothing_are_bounded_for_a_day_and_those_that_are_paid_do_not_count() {
    let world = World::with(&[("MAX_ABANDONED_ORDERS", "2"), ("ORDER_RECOVERY_INTERVAL", "1d")]).await;
    let (ada, lamp) = (world.person().await, world.cart.product(100));
    let id = |placed: &serde_json::Value| placed["id"].as_str().unwrap().parse().unwrap();
    let paid = order(&ada, lamp, "paid").await.expect(201);
    ada.pay(id(&paid)).await.expect(200);
    ada.cancel(id(&paid)).await.expect(200);
    let cancelled = order(&ada, lamp, "cancelled").await.expect(201);
    ada.cancel(id(&cancelled)).await.expect(200);
    for number in 0..10 {
        ada.place(&format!("failed-{number}")).await.refused(409, "cart_empty");
    }

    let refused = order(&ada, lamp, "third").await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.refused(429, "too_many_abandoned_orders");
    assert_eq!((world.cart.stock(lamp), world.cart.cart(ada.user).len()), (100, 1), "nothing is held for it");
    assert_eq!(ada.place("cancelled").await.expect(201)["id"], cancelled["id"], "a repeat is answered");

    // It is each user's own, and of one day.
    order(&world.person().await, lamp, "one").await.expect(201);
    world.clock.advance(std::time::Duration::from_secs(86_401));
    ada.signed_in_again().await.place("third").await.expect(201);
}
