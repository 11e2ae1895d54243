//! A single-page application of another origin signs people in with npm's `oidc-client-ts`.

use e2e::world::expect;
use e2e::{Service, World};
use serde_json::json;

use crate::chromium::{Chromium, given};

#[tokio::test]
async fn a_single_page_application_of_another_origin_signs_in_renews_and_signs_out() {
    let Some(chromium) = Chromium::for_test() else { return };
    let world = World::all_in_one(&[]).await;
    let admin = world.admin().await;
    // Its server takes any port, which a loopback address leaves open (RFC 8252, section 7.3).
    let client = json!({
        "client_name": "Notes",
        "redirect_uris": ["http://127.0.0.1/callback", "http://127.0.0.1/silent"],
        "post_logout_redirect_uris": ["http://127.0.0.1/"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": "openid profile email offline_access",
    });
    let client = expect(201, admin.post(&admin.url(Service::Auth, "/admin/clients"), &client).await).body;
    let mut given = given(&world.platform, "en");
    given["client_id"] = client["client_id"].clone();
    let steps = chromium.walk("single_page.mjs", "application", &given).await;
    let expected = ["signed in", "renewed by the refresh token", "not known in a frame of another site", "signed out"];
    assert_eq!(steps, expected);
    world.finish();
}
