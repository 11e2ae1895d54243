//! The last item and the repeated order.

use std::collections::BTreeSet;

use e2e::Service;
use reqwest::Method;
use serde_json::json;

use crate::journeys;
use crate::world::{at_once, eventually, expect};

journeys! {
    async fn the_last_item_wanted_by_50_at_once_is_sold_once(world: &mut World) {
        let product = world.product(1).await;
        if world.platform.containers().is_some() {
            // Others were here before, and may have filled the shelves for a load.
            world.platform.set_stock(&product, 120);
        }
        // Everybody but the last buyer's item is bought first.
        let mut left = world.stock(&product).await;
        let hoarder = world.platform.customer().await;
        while left > 1 {
            let quantity = (left - 1).min(99);
            expect(200, hoarder.add_to_cart(&product, quantity).await);
            let order = expect(201, hoarder.place_order_patiently(&format!("hoard-{left}")).await).body;
            expect(200, hoarder.pay(order["id"].as_str().expect("an id")).await);
            left -= quantity;
        }
        assert_eq!(world.stock(&product).await, 1);
        let mut buyers = Vec::new();
        for _ in 0..50 {
            let buyer = world.platform.customer().await;
            expect(200, buyer.add_to_cart(&product, 1).await);
            buyers.push(buyer);
        }
        let answers = at_once(buyers.len(), |number| buyers[number].place_order_patiently("the-last-one")).await;
        let won = answers.iter().filter(|answer| answer.status == 201).count();
        let lost: Vec<_> = answers.iter().filter(|answer| answer.status != 201).collect();
        assert_eq!(won, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        assert!(lost.iter().all(|answer| answer.code() == "insufficient_stock"), "{}", lost[0].body);
        assert_eq!(world.stock(&product).await, 0);
    }

    #[settings("PAYMENT_DEADLINE" => "1s", "ORDER_RECOVERY_INTERVAL" => "200ms")]
    async fn ho2_an_order_that_is_not_paid_in_time_is_cancelled_and_its_stock_is_back(world: &mut World) {
        let product = world.product(5).await;
        let (ada, before) = (world.platform.customer().await, world.stock(&product).await);
        expect(200, ada.add_to_cart(&product, 2).await);
        let order = expect(201, ada.place_order("forgotten").await).body;
        assert!(order["payment_due_at"].is_string(), "{order}");
        let id = order["id"].as_str().expect("an id");
        let is_cancelled = || async {
            let shown = ada.get(&ada.url(Service::Orders, &format!("/orders/{id}"))).await;
            if shown.body["status"] == "cancelled" { shown.status } else { 0 }
        };
        eventually(200, is_cancelled).await;
        assert_eq!(world.stock(&product).await, before);
        assert_eq!(ada.pay(id).await.code(), "payment_overdue");
    }

    async fn the_same_order_key_100_times_places_one_order(world: &mut World) {
        let product = world.product(5).await;
        let before = world.stock(&product).await;
        let ada = world.platform.customer().await;
        expect(200, ada.add_to_cart(&product, 2).await);
        let answers = at_once(100, |_| ada.place_order_patiently("once")).await;
        let ids: BTreeSet<&str> = answers.iter().filter_map(|answer| answer.body["id"].as_str()).collect();
        let statuses: BTreeSet<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!((ids.len(), statuses), (1, [201].into()), "one order, the same answer");
        assert_eq!(expect(200, ada.orders().await).body["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(world.stock(&product).await, before - 2);

        let other_body = json!({"note": "another body"});
        let url = ada.url(Service::Orders, "/orders");
        let answer = ada.send(Method::POST, &url, Some(&other_body), &[("Idempotency-Key", "once")]).await;
        assert_eq!((answer.status, answer.code()), (409, "idempotency_key_reused"), "{}", answer.body);
    }

    async fn nobody_sees_a_strangers_order(world: &mut World) {
        let product = world.product(2).await;
        let (ada, mallory) = (world.platform.customer().await, world.platform.customer().await);
        expect(200, ada.add_to_cart(&product, 1).await);
        let order = expect(201, ada.place_order("mine").await).body;
        let id = order["id"].as_str().expect("an id");
        expect(404, mallory.get(&mallory.url(Service::Orders, &format!("/orders/{id}"))).await);
        expect(404, mallory.pay(id).await);
        expect(404, mallory.cancel(id).await);
        assert_eq!(expect(200, mallory.orders().await).body["items"].as_array().map(Vec::len), Some(0));
        // A checkout is between the services: a user alone cannot hold stock, confirm or release.
        let key = [("Idempotency-Key", "direct")];
        expect(403, mallory.send(Method::POST, &mallory.url(Service::Cart, "/checkouts"), None, &key).await);
    }
}
