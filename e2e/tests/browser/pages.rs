//! The pages beside the story: those of the account, of refusals, and on the way to a client that others wrote.

use e2e::world::expect;
use e2e::{Service, World};
use serde_json::json;

use crate::chromium::{Chromium, LANGUAGES, given};

/// Nobody listens there: the address is all that matters.
const REDIRECT_URI: &str = "http://127.0.0.1/callback";

#[tokio::test]
async fn every_page_is_fit_to_be_seen_in_both_languages() {
    let Some(chromium) = Chromium::for_test() else { return };
    let world = World::all_in_one(&[]).await;
    let admin = world.admin().await;
    let client = json!({
        "client_name": "Reading list",
        "redirect_uris": [REDIRECT_URI],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
        "scope": "openid profile email orders",
    });
    let unapproved = json!({
        "client_name": "Somebody's list",
        "redirect_uris": [REDIRECT_URI],
        "token_endpoint_auth_method": "none",
        "scope": "openid",
        "approved": false,
    });
    let clients = admin.url(Service::Auth, "/admin/clients");
    let client = expect(201, admin.post(&clients, &client).await).body;
    let unapproved = expect(201, admin.post(&clients, &unapproved).await).body;
    let sold_out = sell_out(&world).await;
    for language in LANGUAGES {
        let mut given = given(&world.platform, language);
        given["client_id"] = client["client_id"].clone();
        given["unapproved_id"] = unapproved["client_id"].clone();
        given["redirect_uri"] = json!(REDIRECT_URI);
        given["sold_out"] = json!(sold_out);
        let steps = chromium.walk("pages.mjs", "pages", &given).await;
        let expected = [
            "guests",
            "sign-ins that come to no end",
            "by the address",
            "people who are signed in",
            "an order that is cancelled",
            "on the way to a client",
            "back at the client, by its form",
            "another account",
            "a device",
            "too many guesses",
            "the other language",
        ];
        assert_eq!(steps, expected, "{language}");
    }
    world.finish();
}

/// A product of which somebody has ordered the last.
async fn sell_out(world: &World) -> String {
    let buyer = world.platform.customer().await;
    let products = expect(200, buyer.products().await).body;
    let stock = |product: &serde_json::Value| product["stock"].as_i64().expect("a number");
    let products = products["items"].as_array().expect("a list").iter();
    let last = products.filter(|product| stock(product) > 0).min_by_key(|product| stock(product)).expect("a product");
    let id = last["id"].as_str().expect("its id");
    expect(200, buyer.add_to_cart(id, stock(last)).await);
    expect(201, buyer.place_order("the-last").await);
    id.to_owned()
}
