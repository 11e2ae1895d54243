//! Recovery beside other replicas, and on its own.

use std::time::Duration;

use futures_util::future::join_all;

use crate::faults::{Call, Fault, When};
use crate::harness::{World, eventually, on_both_databases};

on_both_databases! {
    several_replicas_recover_each_order_once,
    failed_attempts_are_forgotten_after_a_day,
}

async fn several_replicas_recover_each_order_once(world: World) {
    world.faults.switch_on(Call::Confirm, When::BeforeWork, Fault::Breaks);
    let mut shoppers = Vec::new();
    for _ in 0..12 {
        let (shopper, _) = world.shopper(1, 5).await;
        shopper.place("k").await.refused(503, "unavailable");
        shoppers.push(shopper);
    }
    world.faults.switch_off();
    let before = world.cart.calls(Call::Confirm);
    world.clock.advance(Duration::from_secs(5));
    let replicas = join_all((0..4).map(|_| world.restarted())).await;
    let recovered = join_all(replicas.iter().map(|replica| replica.recover())).await;
    let recovered: usize = recovered.into_iter().map(|count| count.unwrap()).sum();
    assert_eq!((recovered, world.cart.calls(Call::Confirm) - before), (12, 12));
    for shopper in shoppers {
        assert_eq!(shopper.orders().await.len(), 1);
    }
}

async fn failed_attempts_are_forgotten_after_a_day(world: World) {
    let count = || async {
        let query = "SELECT COUNT(*) FROM orders";
        let count: i64 =
            shared::on_database!(&world.database, |pool| sqlx::query_scalar(query).fetch_one(pool).await).unwrap();
        count
    };
    let ada = world.person().await;
    ada.place("k").await.refused(409, "cart_empty");
    let service = world.restarted().await;
    service.recover().await.unwrap();
    assert_eq!(count().await, 1);
    world.clock.advance(Duration::from_secs(24 * 3600 + 1));
    service.recover().await.unwrap();
    assert_eq!(count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_recovers_by_itself() {
    let world = World::with(&[("ORDER_RECOVERY_INTERVAL", "50ms")]).await;
    let (ada, lamp) = world.shopper(2, 10).await;
    world.faults.switch_on(Call::Confirm, When::AfterWork, Fault::Breaks);
    ada.place("k").await.refused(503, "unavailable");
    world.faults.switch_off();
    eventually("the order is placed", || async {
        world.clock.advance(Duration::from_secs(1));
        ada.orders().await.len() == 1
    })
    .await;
    assert_eq!(world.cart.stock(lamp), 8);
}
