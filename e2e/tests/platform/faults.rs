//! What goes on while a part is away, and that all recovers by itself. Three processes only: in one, all parts are one.

use e2e::{Person, Service};
use reqwest::Method;
use serde_json::json;

use crate::World;
use crate::world::{eventually, expect};

/// Logs in without keeping anything, for a status that changes.
async fn login_status(person: &Person) -> u16 {
    person.other_device().log_in().await.status
}

#[tokio::test]
async fn cart_and_order_go_on_while_auth_is_stopped() {
    let Some(mut world) = World::split(&[]).await else { return };
    let product = world.product(5).await;
    let mut ada = world.platform.customer().await;

    world.platform.kill(Service::Auth);
    expect(200, ada.add_to_cart(&product, 1).await);
    let order = expect(201, ada.place_order("without-auth").await).body;
    expect(200, ada.pay(order["id"].as_str().expect("an id")).await);
    let refresh = json!({"refresh_token": ada.refresh_token});
    assert!(ada.try_send(Method::POST, &ada.url(Service::Auth, "/auth/refresh"), Some(&refresh), &[]).await.is_err());

    world.platform.restart(Service::Auth).await;
    expect(200, ada.refresh().await);
    expect(200, ada.cart().await);
    world.finish();
}

#[tokio::test]
async fn a_service_that_starts_while_auth_is_stopped_waits_for_its_keys() {
    let Some(mut world) = World::split(&[]).await else { return };
    let ada = world.platform.customer().await;
    world.platform.kill(Service::Auth);
    world.platform.kill(Service::Cart);
    // The cart comes back first, and is not ready before auth is there.
    world.platform.launch(Service::Cart);
    let ready = ada.url(Service::Cart, "/readyz");
    let status = |url: String| {
        let ada = ada.clone();
        async move { ada.try_send(Method::GET, &url, None, &[]).await.map_or(0, |answer| answer.status) }
    };
    eventually(503, || status(ready.clone())).await;
    eventually(503, || status(ada.url(Service::Cart, "/cart"))).await;
    world.platform.restart(Service::Auth).await;
    eventually(200, || status(ready.clone())).await;
    eventually(200, || async { ada.cart().await.status }).await;
    world.finish();
}

#[tokio::test]
async fn without_redis_ordinary_requests_go_on_and_sensitive_ones_answer_503() {
    let Some(mut world) = World::split(&[]).await else { return };
    let product = world.product(5).await;
    let mut ada = world.platform.customer().await;
    expect(200, ada.add_to_cart(&product, 1).await);
    let order = expect(201, ada.place_order("without-redis").await).body;
    let order = order["id"].as_str().expect("an id");

    world.redis.as_mut().expect("the split has a Redis").stop().expect("it stops");

    // Ordinary requests: a token's signature and the revocations already heard.
    expect(200, ada.add_to_cart(&product, 1).await);
    expect(200, ada.cart().await);
    expect(200, ada.orders().await);
    // Sensitive ones fail closed, and say when to come back.
    let refused =
        [ada.other_device().log_in().await, ada.clone().refresh().await, ada.pay(order).await, ada.log_out().await];
    for answer in refused {
        assert_eq!((answer.status, answer.code()), (503, "unavailable"), "{}", answer.body);
        assert!(answer.header("retry-after").parse::<u64>().is_ok(), "a Retry-After in seconds");
    }

    world.redis.as_mut().expect("the split has a Redis").start().expect("it starts again");

    // A Redis that lost its memory knows no session: people log in again, and all works by itself.
    eventually(200, || login_status(&ada)).await;
    expect(200, ada.log_in().await);
    expect(200, ada.pay(order).await);
    expect(204, ada.log_out().await);
    eventually(401, || async { ada.cart().await.status }).await;
    world.finish();
}

#[tokio::test]
async fn a_redis_that_hangs_is_a_503_in_time() {
    let Some(mut world) = World::split(&[]).await else { return };
    let ada = world.platform.customer().await;
    world.redis.as_mut().expect("the split has a Redis").freeze().expect("it freezes");
    let started = std::time::Instant::now();
    let answer = ada.other_device().log_in().await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(started.elapsed().as_secs() < 5, "a login waited {:?} for a Redis that hangs", started.elapsed());
    expect(200, ada.cart().await);
    world.redis.as_mut().expect("the split has a Redis").thaw().expect("it thaws");
    eventually(200, || login_status(&ada)).await;
    world.finish();
}

#[tokio::test]
async fn an_order_while_cart_is_stopped_is_a_503_and_is_placed_once_when_it_is_back() {
    let Some(mut world) = World::split(&[]).await else { return };
    let product = world.product(5).await;
    let before = world.stock(&product).await;
    let ada = world.platform.customer().await;
    expect(200, ada.add_to_cart(&product, 2).await);

    world.platform.kill(Service::Cart);
    let answer = ada.place_order("again").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(!answer.header("retry-after").is_empty());

    world.platform.restart(Service::Cart).await;
    eventually(201, || async { ada.place_order("again").await.status }).await;
    assert_eq!(expect(200, ada.orders().await).body["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.stock(&product).await, before - 2);
    world.finish();
}
