//! The strategies beside the hybrid on many replicas: the founding story under each, an ending that all see, and what is left
//! without the store.

use e2e::{Person, Service, World};
use reqwest::Method;

use crate::by_cookie::somebody_shops;
use crate::world::{eventually, expect};

const REDIS: &[(&str, &str)] = &[("SESSION_STRATEGY", "redis")];
/// The same, and what sessions hold is sealed in Redis.
const SEALED: &[(&str, &str)] =
    &[("SESSION_STRATEGY", "redis"), ("SESSION_ATTRIBUTE_KEY", "q0pY3m7x5B1c9dZ2e4F6g8H0jK2l4M6n8P0r2S4t6U8=")];

/// What a login opens at each service.
const OWN: [(Service, &str); 3] = [(Service::Auth, "/auth/me"), (Service::Cart, "/cart"), (Service::Orders, "/orders")];

/// The statuses at all replicas of all services, with the cookies that the person has now: a refusal makes a browser forget
/// its cookie, and would be the last one.
async fn statuses(world: &World, person: &Person) -> Vec<u16> {
    let kept: Vec<String> = person.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let kept = kept.join("; ");
    let mut statuses = Vec::new();
    for (service, path) in OWN {
        for replica in 0..world.platform.replicas(service) {
            let url = format!("{}{path}", world.platform.replica(service.replica(replica)));
            statuses.push(person.send(Method::GET, &url, None, &[("Cookie", &kept)]).await.status);
        }
    }
    statuses
}

#[tokio::test]
async fn one_login_by_a_cookie_that_redis_knows_and_cannot_read_serves_all_replicas() {
    let Some(world) = World::replicated(SEALED).await else { return };
    let ada = somebody_shops(&world).await;
    assert_eq!(statuses(&world, &ada).await, [200; 6]);

    // Ended at one, it has ended at all: nothing has to be told to anybody.
    let left = ada.clone();
    let kept = ada.cookies();
    expect(204, left.log_out().await);
    assert!(!left.cookies().contains_key("SESSIONID"), "the browser forgets the cookie");
    let cookie = format!("SESSIONID={}", kept["SESSIONID"]);
    for (service, path) in OWN {
        for replica in 0..world.platform.replicas(service) {
            let url = format!("{}{path}", world.platform.replica(service.replica(replica)));
            let answer = ada.send(Method::GET, &url, None, &[("Cookie", &cookie)]).await;
            assert_eq!(answer.status, 401, "{url} still takes a kept cookie");
        }
    }
    world.finish();
}

#[tokio::test]
async fn an_administrator_ends_a_session_of_a_cookie_at_all_replicas() {
    let Some(world) = World::replicated(REDIS).await else { return };
    let (admin, ada) = (world.admin().await, world.platform.customer().await);
    assert_eq!(statuses(&world, &ada).await, [200; 6]);
    let session = ada.session_id.clone().expect("a session");
    expect(204, admin.delete(&admin.url(Service::Auth, &format!("/admin/sessions/{session}"))).await);
    assert_eq!(statuses(&world, &ada).await, [401; 6]);
    world.finish();
}

#[tokio::test]
async fn without_redis_nobody_is_recognised_by_a_cookie_and_nobody_is_signed_out() {
    let Some(mut world) = World::replicated(REDIS).await else { return };
    let ada = world.platform.customer().await;
    let redis = world.redis.as_mut().expect("a Redis of its own");
    redis.freeze().expect("it stops answering");
    for status in statuses(&world, &ada).await {
        assert_eq!(status, 503, "it fails closed, and says so");
    }
    world.redis.as_mut().expect("a Redis of its own").thaw().expect("it goes on");
    for (service, path) in OWN {
        eventually(200, || async { ada.get(&ada.url(service, path)).await.status }).await;
    }
    world.finish();
}

#[tokio::test]
async fn tokens_of_a_platform_that_keeps_no_sessions_serve_all_replicas_and_are_denied_at_all() {
    for list in ["feed", "redis"] {
        let settings = [("SESSION_STRATEGY", "jwt"), ("JWT_DENY_LIST", list)];
        let Some(world) = World::replicated(&settings).await else { return };
        let product = world.product(5).await;
        let mut ada = world.platform.customer().await;
        expect(200, ada.add_to_cart(&product, 1).await);
        expect(200, ada.refresh().await);
        let order = expect(201, ada.place_order("by-token").await).body;
        expect(200, ada.pay(order["id"].as_str().expect("an id")).await);
        assert_eq!(statuses(&world, &ada).await, [200; 6], "{list}");
        expect(204, ada.log_out().await);
        for (service, path) in OWN {
            for replica in 0..world.platform.replicas(service) {
                let url = format!("{}{path}", world.platform.replica(service.replica(replica)));
                eventually(401, || async { ada.get(&url).await.status }).await;
            }
        }
        assert_eq!(ada.refresh().await.status, 401, "{list}");
        world.finish();
    }
}

#[tokio::test]
async fn tokens_of_a_shared_secret_serve_all_replicas() {
    let settings = [
        ("SESSION_STRATEGY", "jwt"),
        ("JWT_DENY_LIST", "feed"),
        ("JWT_COMPATIBILITY", "hs256"),
        ("JWT_HS256_SECRET", "4f9a1c77d2be60835a5e0b1f8c3d2e6f"),
    ];
    let Some(world) = World::replicated(&settings).await else { return };
    let product = world.product(5).await;
    let mut ada = world.platform.customer().await;
    expect(200, ada.add_to_cart(&product, 1).await);
    expect(200, ada.refresh().await);
    let order = expect(201, ada.place_order("by-token").await).body;
    expect(200, ada.pay(order["id"].as_str().expect("an id")).await);
    assert_eq!(statuses(&world, &ada).await, [200; 6]);
    expect(204, ada.log_out().await);
    for (service, path) in OWN {
        for replica in 0..world.platform.replicas(service) {
            let url = format!("{}{path}", world.platform.replica(service.replica(replica)));
            eventually(401, || async { ada.get(&url).await.status }).await;
        }
    }
    world.finish();
}

#[tokio::test]
async fn a_session_in_a_sealed_cookie_serves_all_replicas_until_its_users_epoch_ends() {
    let settings = [("SESSION_STRATEGY", "cookie"), ("COOKIE_KEY", "6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g=")];
    let Some(world) = World::replicated(&settings).await else { return };
    let ada = somebody_shops(&world).await;
    assert_eq!(statuses(&world, &ada).await, [200; 6]);
    let kept = format!("SESSIONID={}", ada.cookies()["SESSIONID"]);
    expect(200, ada.log_out_everywhere().await);
    for (service, path) in OWN {
        for replica in 0..world.platform.replicas(service) {
            let url = format!("{}{path}", world.platform.replica(service.replica(replica)));
            let copy = || async { ada.send(Method::GET, &url, None, &[("Cookie", &kept)]).await.status };
            eventually(401, copy).await;
        }
    }
    world.finish();
}
