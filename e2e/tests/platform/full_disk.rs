//! A disk that is full for a while, under all three services at once.

use std::time::{Duration, Instant};

use e2e::servers::SmallDisk;
use e2e::{Answer, Person, Service};
use serde_json::json;

use crate::World;
use crate::world::{at_once, eventually, expect};

const PATIENCE: Duration = Duration::from_secs(60);
const MEGABYTES: usize = 48;
/// More than any service has connections.
const AT_ONCE: usize = 24;

/// A write at each service: one that is refused says 503 and when to come back, and no other failure.
async fn write(person: &Person, service: Service, product: &str) -> bool {
    let answer = match service {
        Service::Auth => person.other_device().log_in().await,
        Service::Cart => {
            let item = person.url(Service::Cart, &format!("/cart/items/{product}"));
            person.put(&item, &json!({"quantity": 1})).await
        }
        Service::Orders => {
            let unique = uuid_of(&person.me().await);
            person.place_order(&unique).await
        }
    };
    if answer.status == 503 {
        assert!(answer.header("retry-after").parse::<u64>().is_ok(), "{service:?}: {}", answer.body);
        return false;
    }
    // An order of an empty cart is refused by the cart, which is an answer, too.
    assert!(matches!(answer.status, 200 | 201 | 409), "{service:?} answers {}: {}", answer.status, answer.body);
    true
}

/// A key that no other order has: the id of a request.
fn uuid_of(answer: &Answer) -> String {
    answer.header("x-request-id").to_owned()
}

async fn ready(world: &World, service: Service) -> u16 {
    world.platform.person().get(&format!("{}/readyz", world.platform.url(service))).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ho1_while_the_disk_is_full_each_service_answers_503_and_then_goes_on_without_a_restart() {
    let Some(disk) = SmallDisk::for_test(MEGABYTES) else { return };
    let folder = disk.path().join("data").display().to_string();
    let world = World::all_in_one(&[
        ("DATA_DIR", &folder),
        ("LOGIN_ATTEMPTS_PER_ACCOUNT", "100000"),
        ("LOGIN_ATTEMPTS_PER_ADDRESS", "100000"),
        ("MAX_SESSIONS_PER_USER", "1000"),
        ("MAX_UNPAID_ORDERS", "1000"),
        ("MAX_ABANDONED_ORDERS", "1000"),
    ])
    .await;
    let (ada, product) = (world.platform.customer().await, world.product(5).await);
    for service in Service::ALL {
        assert!(write(&ada, service, &product).await, "{service:?} takes no writes");
    }

    disk.fill().expect("the disk can be filled");
    for service in Service::ALL {
        let started = Instant::now();
        while write(&ada, service, &product).await {
            assert!(started.elapsed() < PATIENCE, "{service:?} writes to a full disk");
        }
        at_once(AT_ONCE, |_| write(&ada, service, &product)).await;
        eventually(503, || ready(&world, service)).await;
    }
    expect(200, ada.cart().await);
    expect(200, ada.orders().await);
    expect(200, ada.me().await);

    disk.free().expect("the disk can be freed");
    for service in Service::ALL {
        eventually(200, || ready(&world, service)).await;
        let done = at_once(AT_ONCE, |_| write(&ada, service, &product)).await;
        assert!(done.iter().all(|done| *done), "{service:?} is ready and refuses");
    }
    let eve = world.platform.customer().await;
    expect(200, eve.add_to_cart(&product, 1).await);
    let order = expect(201, eve.place_order("after").await).body;
    expect(200, eve.pay(order["id"].as_str().expect("an id")).await);
    world.finish();
}
