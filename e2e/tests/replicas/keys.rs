//! Signing keys change while people shop.

use std::time::{Duration, Instant};

use e2e::{Entrance, Person, Service};
use reqwest::Method;
use serde_json::Value;

use crate::World;
use crate::load::{Load, NO_THROTTLE, Requests, is_known_everywhere};
use crate::world::{at_once, expect};

/// The shortest that is taken: a key is published so long before it signs.
const LEAD: (&str, &str) = ("KEY_PUBLISH_LEAD", "30s");
const PATIENCE: Duration = Duration::from_secs(90);

/// The id of the key that signed a person's access token.
fn key_of(person: &Person) -> String {
    use base64::Engine as _;
    let token = person.access_token.as_deref().expect("an access token");
    let header = token.split('.').next().expect("a header");
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a key id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_the_signing_key_is_rotated() {
    let settings = [&[LEAD][..], &NO_THROTTLE[..]].concat();
    let Some(mut world) = World::replicated(&settings).await else { return };
    // At every replica and at the gateway in turn: a token goes at once to whoever has not seen its key yet.
    world.platform.enter_by(Entrance::Every);
    let (before, admin) = (world.platform.customer().await, world.admin().await);
    let old = key_of(&before);
    let load = Load::begin(&world, 4, Requests::All).await;

    let rotate = |number: usize| {
        let address = world.platform.replica(Service::Auth.replica(number % 2));
        let (admin, url) = (&admin, format!("{address}/admin/keys/rotate?alg=ES256"));
        async move { expect(200, admin.send(Method::POST, &url, None, &[]).await).body["keys"][0].clone() }
    };
    let made = at_once(4, rotate).await;
    assert_eq!(made.iter().filter(|key| key["made_now"] == true).count(), 1, "{made:?}");
    let new = made[0]["kid"].as_str().expect("a key id").to_owned();
    assert!(made.iter().all(|key| key["kid"] == new.as_str()), "both replicas name one key: {made:?}");

    // Until both replicas sign with the new one.
    let mut after = world.platform.customer().await;
    let (started, mut in_a_row) = (Instant::now(), 0);
    while in_a_row < 6 {
        assert!(started.elapsed() < PATIENCE, "the new key does not sign");
        expect(200, after.refresh().await);
        let key = key_of(&after);
        assert!(key == old || key == new, "{key}");
        in_a_row = if key == new { in_a_row + 1 } else { 0 };
        is_known_everywhere(&world, &after).await;
        is_known_everywhere(&world, &before).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    load.goes_on(100).await;
    assert_eq!(key_of(&before), old);
    is_known_everywhere(&world, &before).await;
    load.end_without_failure().await;
    world.finish();
}
