//! Replicas that come and go while people shop.

use e2e::{Entrance, Service};
use reqwest::Method;

use crate::World;
use crate::load::{Load, NO_THROTTLE, Requests};
use crate::world::{eventually, expect};

const DRAINING: [(&str, &str); 2] = [("DRAIN", "2s"), ("GATEWAY_REST", "3s")];

async fn behind_the_gateway() -> Option<World> {
    let settings = [&DRAINING[..], &NO_THROTTLE[..]].concat();
    let mut world = World::replicated(&settings).await?;
    world.platform.enter_by(Entrance::Gateway);
    Some(world)
}

// In these, stopping a process waits on this thread: the clients work on others.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_each_replica_is_restarted_in_turn() {
    let Some(mut world) = behind_the_gateway().await else { return };
    let load = Load::begin(&world, 6, Requests::All).await;
    for service in Service::ALL {
        for number in 0..2 {
            let replica = service.replica(number);
            world.platform.restart(replica).await;
            // As an operator does: the next one stops when the gateway has taken this one back.
            load.reaches(&world, replica).await;
        }
    }
    let answered = load.end_without_failure().await;
    assert!(answered > 300, "{answered} requests are no load");
    world.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_may_be_repeated_fails_while_a_replica_of_each_service_is_killed() {
    let Some(mut world) = behind_the_gateway().await else { return };
    let load = Load::begin(&world, 6, Requests::Idempotent).await;
    for service in Service::ALL {
        for number in 0..2 {
            let replica = service.replica(number);
            world.platform.kill(replica);
            load.goes_on(100).await;
            world.platform.restart(replica).await;
            load.reaches(&world, replica).await;
        }
    }
    load.end_without_failure().await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_replica_says_that_it_is_not_ready_answers_and_closes_its_connections() {
    let Some(mut world) = behind_the_gateway().await else { return };
    let nobody = world.platform.person();
    for service in Service::ALL {
        let replica = service.replica(1);
        let address = world.platform.replica(replica);
        let answer = expect(200, nobody.get(&format!("{address}/openapi.json")).await);
        assert_eq!(answer.header("connection"), "", "{service:?} keeps connections");

        world.platform.ask_to_stop(replica);
        let ready = format!("{address}/readyz");
        eventually(503, || async { nobody.get(&ready).await.status }).await;
        let answer = expect(200, nobody.get(&format!("{address}/openapi.json")).await);
        assert_eq!(answer.header("connection"), "close", "{service:?}");
        world.platform.stop_service(replica);
        assert!(nobody.try_send(Method::GET, &ready, None, &[]).await.is_err(), "{service:?} still listens");
    }
    world.finish();
}
