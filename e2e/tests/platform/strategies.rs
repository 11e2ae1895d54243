//! The strategies beside the hybrid, in one process.

use e2e::World;

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
