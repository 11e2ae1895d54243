//! What the gateway alone decides.

use std::net::{Ipv4Addr, SocketAddr};

use e2e::{Entrance, Service};
use reqwest::Client;
use reqwest::redirect::Policy;

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
async fn a_state_of_4_kb_reaches_the_sign_in_page_through_the_gateway() {
    let Some(mut world) = World::replicated(&[]).await else { return };
    world.platform.enter_by(Entrance::Gateway);
    let nobody = world.platform.person();
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let client = Service::ALL
        .into_iter()
        .fold(Client::builder().no_proxy(), |client, service| client.resolve(service.host(), here));
    let client = client.redirect(Policy::none()).build().expect("a client");
    let leads = async |url: &str| {
        let answer = client.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 303, "{url}");
        answer.headers()["location"].to_str().expect("an address").to_owned()
    };
    let begun = leads(&nobody.url(Service::Cart, "/login")).await;
    let (address, query) = begun.split_once('?').expect("an authorization request");
    // The same request with a state that a client of another make has.
    let others = query.split('&').filter(|pair| !pair.starts_with("state="));
    let query: Vec<&str> = others.collect();
    let page = leads(&format!("{address}?{}&state={}", query.join("&"), "s".repeat(4_096))).await;
    assert!(page.contains("/sign-in?flow=") && page.len() < 8 * 1024, "{} bytes", page.len());
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

/// One new cart for each network.
const ONE_CART: [(&str, &str); 2] =
    [("GUEST_CART_BYTES_PER_NETWORK", "1024"), ("GATEWAY_TRUSTED_PROXIES", "127.0.0.1")];

#[tokio::test]
async fn ht3_behind_the_gateway_guests_of_two_networks_do_not_share_a_budget() {
    let Some(mut world) = World::replicated(&ONE_CART).await else { return };
    world.platform.enter_by(Entrance::Gateway);
    let somebody = world.platform.person();
    let products = expect(200, somebody.get(&somebody.url(Service::Cart, "/products?q=coffee")).await);
    let item = serde_json::json!({"product_id": products.body["items"][0]["id"], "quantity": 1});
    let first_item = async |address: &str| {
        // A guest without a cookie, at either replica.
        let guest = somebody.other_device();
        let url = guest.url(Service::Cart, "/cart/items");
        guest.send(reqwest::Method::POST, &url, Some(&item), &[("X-Forwarded-For", address)]).await
    };
    for address in ["198.51.100.1", "198.51.100.2", "2001:db8:7::1"] {
        expect(200, first_item(address).await);
    }
    for address in ["198.51.100.1", "198.51.100.2", "2001:db8:7::2"] {
        let refused = first_item(address).await;
        assert_eq!((refused.status, refused.code()), (429, "too_many_requests"), "{address}: {}", refused.body);
        assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{address}");
    }
    world.finish();
}
