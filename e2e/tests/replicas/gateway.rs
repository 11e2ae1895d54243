//! What the gateway alone decides.

use e2e::{Entrance, Service};

use crate::World;
use crate::world::expect;

#[tokio::test]
async fn the_gateway_spreads_requests_over_the_replicas() {
    let Some(mut world) = World::replicated(&[]).await else { return };
    world.platform.enter_by(Entrance::Gateway);
    let ada = world.platform.customer().await;
    for _ in 0..8 {
        expect(200, ada.cart().await);
    }
    for number in 0..2 {
        let metrics = ada.get(&format!("{}/metrics", world.platform.replica(Service::Cart.replica(number)))).await;
        let asked = metrics.body.as_str().is_some_and(|text| text.contains(r#"route="/cart""#));
        assert!(asked, "replica {number} was never asked");
    }
    world.finish();
}

#[tokio::test]
async fn without_any_replica_the_gateway_says_so_in_the_services_words_and_all_recovers() {
    let Some(mut world) = World::replicated(&[]).await else { return };
    world.platform.enter_by(Entrance::Gateway);
    let ada = world.platform.customer().await;
    for number in 0..2 {
        world.platform.kill(Service::Cart.replica(number));
    }
    let answer = ada.cart().await;
    assert_eq!((answer.status, answer.code()), (502, "unavailable"), "{}", answer.body);
    assert!(answer.header("retry-after").parse::<u64>().is_ok(), "a Retry-After in seconds");
    expect(200, ada.orders().await);
    for number in 0..2 {
        world.platform.restart(Service::Cart.replica(number)).await;
    }
    crate::world::eventually(200, || async { ada.cart().await.status }).await;
    world.finish();
}
