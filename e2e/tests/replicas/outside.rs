//! What the gateway keeps from the outside, and from the services.

use e2e::{Entrance, Service};
use reqwest::Method;

use crate::journeys;
use crate::world::expect;

journeys! {
    async fn the_services_hear_the_truth_about_the_caller(world: &mut World) {
        world.platform.enter_by(Entrance::Gateway);
        let ada = world.platform.customer().await;
        // Whatever a caller writes into the header, the session names the address that called.
        let mut liar = ada.other_device();
        let body = serde_json::json!({"email": liar.credentials.email, "password": liar.credentials.password});
        let forged = [("X-Forwarded-For", "203.0.113.7"), ("Forwarded", "for=203.0.113.7"), ("X-Real-IP", "203.0.113.7")];
        let login = liar.url(Service::Auth, "/auth/login");
        let answer = liar.send(Method::POST, &login, Some(&body), &forged).await;
        liar.access_token = expect(200, answer).body["access_token"].as_str().map(str::to_owned);
        let sessions = expect(200, liar.get(&liar.url(Service::Auth, "/auth/sessions")).await).body;
        let sessions = sessions["items"].as_array().expect("a list");
        let here = world.platform.callers_address();
        assert!(sessions.iter().all(|session| session["address"] == here.as_str()), "{sessions:?}");
    }

    async fn what_is_for_operators_is_not_for_the_outside(world: &mut World) {
        world.platform.enter_by(Entrance::Gateway);
        let nobody = world.platform.person();
        for service in Service::ALL {
            for path in ["/metrics", "/healthz", "/readyz", "/%6detrics", "//metrics", "/a/../readyz"] {
                let answer = nobody.get(&nobody.url(service, path)).await;
                assert_eq!((answer.status, answer.code()), (404, "not_found"), "{service:?} {path}: {}", answer.body);
            }
            expect(200, nobody.get(&nobody.url(service, "/openapi.json")).await);
        }
        // The services' own door is closed to people: an unknown host is named, and the checkouts are not there.
        let address = nobody.url(Service::Cart, "/products");
        let stranger = nobody.send(Method::GET, &address, None, &[("Host", "shop.example")]).await;
        assert_eq!((stranger.status, stranger.code()), (421, "unknown_host"), "{}", stranger.body);
    }
}
