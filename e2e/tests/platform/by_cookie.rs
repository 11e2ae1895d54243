//! The founding story with a session cookie instead of tokens.

use e2e::{Person, World};

use crate::world::expect;

/// A guest fills a cart, signs in, orders and pays, by one cookie at three services. Answers who is still signed in.
pub(crate) async fn somebody_shops(world: &World) -> Person {
    let product = world.product(5).await;
    let mut ada = world.platform.person();
    expect(201, ada.register().await);
    expect(200, ada.add_to_cart(&product, 2).await);
    let login = expect(200, ada.log_in().await);
    assert!(ada.access_token.is_none() && ada.refresh_token.is_none(), "{}", login.body);
    assert_eq!(expect(200, ada.cart().await).body["lines"][0]["quantity"], 2, "the guest's cart is hers");
    let order = expect(201, ada.place_order("by-cookie").await).body;
    expect(200, ada.pay(order["id"].as_str().expect("an id")).await);
    assert_eq!(expect(200, ada.orders().await).body["items"][0]["status"], "paid");
    ada
}
