//! The pages at the gateway's hosts: what the containers need to know of one another to sign people in and out.

use std::time::{Duration, Instant};

use crate::World;
use crate::browser::Browser;
use crate::world::expect;

const PATIENCE: Duration = Duration::from_secs(10);
/// Stands in each page of whoever is signed in.
const SIGNED_IN: &str = r#"class="person""#;

#[tokio::test]
async fn who_signs_in_at_the_shop_is_known_at_the_orders_until_the_session_ends() {
    let Some(world) = World::in_containers().await else { return };
    let ada = world.platform.customer().await;
    let mut browser = Browser::new(&world.platform, &ada.credentials);
    let (shop, orders) = (format!("{}/basket", world.platform.cart()), format!("{}/", world.platform.orders()));
    assert!(!browser.reads(&shop).await.contains(SIGNED_IN), "a guest is signed in");

    let page = browser.reads(&format!("{}/login?return_to=/basket", world.platform.cart())).await;
    assert!(page.contains(SIGNED_IN), "not signed in at the shop: {page}");
    assert_eq!(browser.filled, ["/sign-in"]);
    assert!(browser.reads(&orders).await.contains(SIGNED_IN), "not known at the orders");
    assert_eq!(browser.filled, ["/sign-in"], "the second service asks again");

    expect(200, ada.log_out_everywhere().await);
    let ended = Instant::now();
    while browser.reads(&shop).await.contains(SIGNED_IN) {
        assert!(ended.elapsed() < PATIENCE, "the shop still knows whose session has ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.finish();
}
