//! Races whose two sides are at different replicas, past the gateway.

use std::collections::BTreeSet;

use e2e::{Entrance, Service};
use serde_json::json;

use crate::World;
use crate::world::{at_once, eventually, expect};

/// Two replicas of each service, and people who take turns at them.
async fn past_the_gateway(settings: &[(&str, &str)]) -> Option<World> {
    let mut world = World::replicated(settings).await?;
    world.platform.enter_by(Entrance::Replicas);
    Some(world)
}

/// The same path at each replica of `service`.
fn at_each(world: &World, service: Service, path: &str) -> Vec<String> {
    let replicas = 0..world.platform.replicas(service);
    replicas.map(|number| format!("{}{path}", world.platform.replica(service.replica(number)))).collect()
}

#[tokio::test]
async fn a_refresh_token_raced_200_times_over_two_replicas_has_one_successor() {
    let Some(world) = past_the_gateway(&[]).await else { return };
    let mut ada = world.platform.customer().await;
    let token = ada.refresh_token.clone().expect("a refresh token");
    let doors = at_each(&world, Service::Auth, "/auth/refresh");
    let body = json!({"refresh_token": token});
    let answers = at_once(200, |number| ada.post(&doors[number % 2], &body)).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!(refused.is_empty(), "{} of 200 were refused: {}", refused.len(), refused[0].body);
    let successors: BTreeSet<&str> =
        answers.iter().filter_map(|answer| answer.body["refresh_token"].as_str()).collect();
    assert_eq!(successors.len(), 1, "one live successor");
    // Again and again at the other replica: a chain has no memory of where it was forged.
    ada.refresh_token = successors.first().map(|token| (*token).to_owned());
    for _ in 0..6 {
        expect(200, ada.refresh().await);
        expect(200, ada.cart().await);
    }
    world.finish();
}

#[tokio::test]
async fn a_logout_at_one_replica_is_seen_at_all_replicas_of_all_services() {
    let Some(world) = past_the_gateway(&[]).await else { return };
    for door in at_each(&world, Service::Auth, "/auth/logout") {
        let mut ada = world.platform.customer().await;
        let everywhere = [(Service::Auth, "/auth/me"), (Service::Cart, "/cart"), (Service::Orders, "/orders")];
        let everywhere: Vec<String> =
            everywhere.into_iter().flat_map(|(service, path)| at_each(&world, service, path)).collect();
        assert_eq!(everywhere.len(), 6);
        for url in &everywhere {
            expect(200, ada.get(url).await);
        }
        expect(204, ada.send(reqwest::Method::POST, &door, None, &[]).await);
        for url in &everywhere {
            eventually(401, || async { ada.get(url).await.status }).await;
        }
        assert_eq!(ada.refresh().await.status, 401);
        assert_eq!(ada.refresh().await.status, 401);
    }
    world.finish();
}

#[tokio::test]
async fn a_session_begun_at_one_replica_is_listed_and_kicked_at_the_other() {
    let Some(world) = past_the_gateway(&[]).await else { return };
    let [one, other] = [0, 1].map(|number| world.platform.replica(Service::Auth.replica(number)));
    let ada = world.platform.customer().await;
    let credentials = json!({"email": ada.credentials.email, "password": ada.credentials.password});
    for (login, kick) in [(&one, &other), (&other, &one)] {
        let begun = expect(200, ada.other_device().post(&format!("{login}/auth/login"), &credentials).await).body;
        let id = begun["session_id"].as_str().expect("an id").to_owned();
        let mut phone = ada.other_device();
        phone.access_token = begun["access_token"].as_str().map(str::to_owned);
        expect(200, phone.cart().await);
        let list = expect(200, ada.get(&format!("{kick}/auth/sessions")).await).body;
        assert!(list["items"].as_array().expect("a list").iter().any(|session| session["id"] == id.as_str()), "{list}");
        expect(204, ada.delete(&format!("{kick}/auth/sessions/{id}")).await);
        for url in at_each(&world, Service::Cart, "/cart") {
            eventually(401, || async { phone.get(&url).await.status }).await;
        }
        let list = expect(200, ada.get(&format!("{login}/auth/sessions")).await).body;
        assert!(!list.to_string().contains(&id), "{list}");
    }
    world.finish();
}

#[tokio::test]
async fn the_last_item_is_sold_once_to_buyers_at_different_replicas() {
    let Some(world) = past_the_gateway(&[]).await else { return };
    let product = world.product(1).await;
    world.platform.set_stock(&product, 1);
    let mut buyers = Vec::new();
    for _ in 0..20 {
        let buyer = world.platform.customer().await;
        expect(200, buyer.add_to_cart(&product, 1).await);
        buyers.push(buyer);
    }
    // One after the other, they began at one and the other replica.
    let answers = at_once(buyers.len(), |number| buyers[number].place_order_patiently("the-last-one")).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    let lost = answers.iter().filter(|answer| answer.status != 201);
    for answer in lost {
        assert_eq!((answer.status, answer.code()), (409, "insufficient_stock"), "{}", answer.body);
    }
    assert_eq!(world.stock(&product).await, 0);
    world.finish();
}

#[tokio::test]
async fn the_same_order_key_100_times_over_two_replicas_places_one_order() {
    let Some(world) = past_the_gateway(&[]).await else { return };
    let product = world.product(5).await;
    let before = world.stock(&product).await;
    let ada = world.platform.customer().await;
    expect(200, ada.add_to_cart(&product, 2).await);
    let answers = at_once(100, |_| ada.place_order_patiently("once")).await;
    let ids: BTreeSet<&str> = answers.iter().filter_map(|answer| answer.body["id"].as_str()).collect();
    let statuses: BTreeSet<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!((ids.len(), statuses), (1, [201].into()), "one order, the same answer");
    for door in at_each(&world, Service::Orders, "/orders") {
        assert_eq!(expect(200, ada.get(&door).await).body["items"].as_array().map(Vec::len), Some(1));
    }
    assert_eq!(world.stock(&product).await, before - 2);

    // Paid at both replicas at once: the money is taken once.
    let id = ids.first().expect("an id");
    let pay = at_each(&world, Service::Orders, &format!("/orders/{id}/pay"));
    let card = json!({"method": "test_card"});
    for answer in at_once(20, |number| ada.post(&pay[number % 2], &card)).await {
        assert!(answer.status == 200 || answer.status == 409 || answer.status == 503, "{}", answer.body);
    }
    eventually(200, || async { ada.post(&pay[0], &card).await.status }).await;
    let charges = format!("SELECT count(*) FROM test_charges WHERE order_id = '{id}' AND outcome = 'approved'");
    assert_eq!(world.platform.sql(Service::Orders).execute(&charges).expect("an answer"), ["1"]);
    world.finish();
}
