//! The founding story: what went wrong in it goes right here.

use e2e::Service;

use crate::journeys;
use crate::world::expect;

journeys! {
    async fn one_login_serves_all_three_services(world: &mut World) {
        let product = world.product(5).await;
        let before = world.stock(&product).await;
        let mut ada = world.platform.person();
        expect(201, ada.register().await);

        // 10:00 she logs in, once.
        expect(200, ada.log_in().await);
        let me = expect(200, ada.me().await).body;
        assert_eq!(me["email"], ada.credentials.email.as_str());

        // 10:01 the cart knows her.
        expect(200, ada.add_to_cart(&product, 2).await);
        let cart = expect(200, ada.cart().await).body;
        assert_eq!(cart["lines"][0]["quantity"], 2);

        // 10:03 so does the order service.
        let order = expect(201, ada.place_order("ada-1").await).body;
        assert_eq!(order["status"], "placed");
        assert_eq!(order["total"], cart["total"]);
        assert_eq!(world.stock(&product).await, before - 2);
        assert_eq!(expect(200, ada.cart().await).body["lines"].as_array().map(Vec::len), Some(0), "the cart is empty");
        let id = order["id"].as_str().expect("an id").to_owned();
        assert_eq!(expect(200, ada.pay(&id).await).body["status"], "paid");
        assert_eq!(expect(200, ada.orders().await).body["items"][0]["status"], "paid");

        // 10:05 she leaves, and has left everywhere.
        expect(204, ada.log_out().await);
        for (service, path) in [(Service::Auth, "/auth/me"), (Service::Cart, "/cart"), (Service::Orders, "/orders")] {
            let url = ada.url(service, path);
            crate::world::eventually(401, || async { ada.get(&url).await.status }).await;
        }
        assert_eq!(ada.refresh().await.status, 401);
    }

    async fn a_cancelled_order_gives_the_stock_back(world: &mut World) {
        let product = world.product(5).await;
        let before = world.stock(&product).await;
        let ada = world.platform.customer().await;
        expect(200, ada.add_to_cart(&product, 3).await);
        let order = expect(201, ada.place_order("cancelled").await).body;
        let id = order["id"].as_str().expect("an id");
        assert_eq!(world.stock(&product).await, before - 3);
        assert_eq!(expect(200, ada.cancel(id).await).body["status"], "cancelled");
        assert_eq!(world.stock(&product).await, before);
        assert_eq!(ada.pay(id).await.status, 409, "a cancelled order is not paid");
    }

    async fn a_guests_cart_is_theirs_after_login(world: &mut World) {
        let product = world.product(5).await;
        let mut ada = world.platform.person();
        expect(201, ada.register().await);
        expect(200, ada.add_to_cart(&product, 2).await);
        assert!(ada.cookies().contains_key("guest_cart"), "a guest has a cookie");
        expect(200, ada.log_in().await);
        let cart = expect(200, ada.cart().await).body;
        assert_eq!(cart["lines"][0]["quantity"], 2, "{cart}");
        assert!(!ada.cookies().contains_key("guest_cart"), "the guest's cookie is cleared");
        assert_eq!(expect(200, ada.cart().await).body["lines"][0]["quantity"], 2, "merged once");
    }

    async fn a_restart_keeps_accounts_carts_orders_and_keys(world: &mut World) {
        let product = world.product(5).await;
        let mut ada = world.platform.customer().await;
        expect(200, ada.add_to_cart(&product, 1).await);
        let order = expect(201, ada.place_order("kept").await).body;
        expect(200, ada.add_to_cart(&product, 2).await);
        let (keys, stock) = (ada.get(&ada.url(Service::Auth, "/.well-known/jwks.json")).await.body, world.stock(&product).await);

        world.platform.restart_all().await;

        assert_eq!(ada.get(&ada.url(Service::Auth, "/.well-known/jwks.json")).await.body, keys);
        assert_eq!(world.stock(&product).await, stock, "the catalogue is not seeded again");
        expect(200, ada.log_in().await);
        assert_eq!(expect(200, ada.cart().await).body["lines"][0]["quantity"], 2);
        assert_eq!(expect(200, ada.orders().await).body["items"][0]["id"], order["id"]);
    }
}
