//! The strategies beside the hybrid, in one process.

use std::time::Duration;

use e2e::World;
use reqwest::Method;

use crate::by_cookie::somebody_shops;
use crate::world::expect;

#[tokio::test]
async fn one_login_by_a_cookie_serves_the_node_that_has_the_session_and_ends_with_it() {
    let mut world = World::all_in_one(&[("SESSION_STRATEGY", "sticky")]).await;
    let ada = somebody_shops(&world).await;
    world.platform.restart_all().await;
    assert_eq!(ada.me().await.status, 401, "her session was in the node's memory");
    let mut again = ada.clone();
    expect(200, again.log_in().await);
    assert_eq!(expect(200, again.orders().await).body["items"][0]["status"], "paid", "what may not be lost is in SQL");
    world.finish();
}

/// Without Redis, what was ended is remembered by the process alone: what began before it may have ended, and is refused.
#[tokio::test]
async fn a_sealed_cookie_is_not_taken_by_a_process_that_may_have_forgotten_its_end() {
    let mut world = World::all_in_one(&[("SESSION_STRATEGY", "cookie")]).await;
    let (ada, bob, eve) = (somebody_shops(&world).await, somebody_shops(&world).await, somebody_shops(&world).await);
    let copy: Vec<String> = eve.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
    expect(200, eve.log_out_everywhere().await);
    world.platform.restart_all().await;
    assert_eq!(ada.me().await.status, 401);
    assert_eq!(bob.cart().await.status, 401);
    let orders = world.platform.orders();
    let with_copy = eve.send(Method::GET, &format!("{orders}/orders"), None, &[("cookie", &copy.join("; "))]).await;
    assert_eq!(with_copy.status, 401, "the copy that was ended");
    let mut again = ada.clone();
    expect(200, again.log_in().await);
    expect(200, again.orders().await);
    world.finish();
}

#[tokio::test]
async fn a_self_contained_refresh_token_is_not_taken_by_a_process_that_may_have_forgotten_its_end() {
    let mut world = World::all_in_one(&[("SESSION_STRATEGY", "jwt"), ("JWT_DENY_LIST", "feed")]).await;
    let mut ada = world.platform.customer().await;
    expect(200, ada.refresh().await);
    expect(204, ada.log_out().await);
    // Tokens know whole seconds: the process must begin in another one than the login.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.platform.restart_all().await;
    assert_eq!(ada.me().await.status, 401);
    assert_eq!(ada.refresh().await.status, 401);
    expect(200, ada.log_in().await);
    expect(200, ada.me().await);
    world.finish();
}

/// A list that the process alone would know.
#[tokio::test]
async fn a_deny_list_in_redis_needs_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = std::process::Command::new(e2e::program("all-in-one"));
    command.env_clear().env("DATA_DIR", folder.path()).env("SESSION_STRATEGY", "jwt").env("JWT_DENY_LIST", "redis");
    let ended = command.output().expect("the program starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("JWT_DENY_LIST: redis needs REDIS_URL"), "{said}");
}
