//! That every table has a bound, and that callers without an account leave nothing behind.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use shared::testing::flood::{Flood, paths_in};
use shared::testing::tables;

use crate::harness::{World, on_both_databases};

const DAY: Duration = Duration::from_secs(86_400);

on_both_databases! {
    ht4_every_table_has_its_bound_in_the_operations_guide,
    what_was_never_paid_is_forgotten_in_its_time_and_money_is_not,
}

async fn ht4_every_table_has_its_bound_in_the_operations_guide(world: World) {
    let real = tables::rows(&world.database).await.into_keys().collect();
    assert_eq!(tables::documented("order"), real, "docs/operations.md names each table with its bound");
}

async fn what_was_never_paid_is_forgotten_in_its_time_and_money_is_not(world: World) {
    let mut orders = Vec::new();
    for _ in 0..4 {
        let (ada, _) = world.shopper(1, 10).await;
        let order = ada.order().await;
        orders.push((ada, order));
    }
    let [placed, given_up, refunded, paid] = &orders[..] else { panic!("four orders") };
    placed.0.pay_declined(placed.1).await.refused(402, "payment_declined");
    assert_eq!(given_up.0.cancel(given_up.1).await.expect(200)["status"], "cancelled");
    refunded.0.pay(refunded.1).await.expect(200);
    assert_eq!(refunded.0.cancel(refunded.1).await.expect(200)["status"], "cancelled");
    paid.0.pay(paid.1).await.expect(200);

    let service = world.restarted().await;
    let rows = async || {
        service.prune().await.unwrap();
        let rows = tables::rows(&world.database).await;
        (rows["orders"], rows["test_charges"])
    };
    world.clock.advance(29 * DAY);
    assert_eq!(rows().await, (4, 3));
    world.clock.advance(2 * DAY);
    assert_eq!(rows().await, (4, 2), "a declined payment is kept for 30 days");
    world.clock.advance(58 * DAY);
    assert_eq!(rows().await, (4, 2));
    world.clock.advance(2 * DAY);
    assert_eq!(rows().await, (3, 2), "an order that was given up is kept for 90 days");
    let load = async |id| order_service::storage::orders::load(&world.database, id).await.unwrap();
    assert!(load(given_up.1).await.is_none());
    world.clock.advance(4_000 * DAY);
    assert_eq!(rows().await, (3, 2), "what was paid stays, and so does what waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn ht4_whatever_callers_without_an_account_ask_for_no_table_grows() {
    let world = World::on_sqlite().await;
    let (ada, _) = world.shopper(1, 10).await;
    let order = ada.order().await.to_string();
    let paths = paths_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/endpoints"));
    assert!(paths.contains("/checkout") && paths.contains("/backchannel-logout"), "{paths:?}");
    let flood = Flood::new(&world.base, &world.documents, &paths, &[("id", json!(order))]);
    let before = tables::rows(&world.database).await;
    let answers = flood.run(6_000, &["192.0.2.1", "2001:db8:1:2::1"]).await;
    assert_eq!(tables::rows(&world.database).await, before, "{answers:?}");
}
