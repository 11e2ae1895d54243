//! The strategy `replicated`: all-in-one nodes that each hold all sessions, by cookies, with no Redis anywhere.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{Entrance, Look, Person, Platform, Service, World};
use reqwest::Method;

use crate::browser::Browser;
use crate::by_cookie::somebody_shops;
use crate::load::NO_THROTTLE;
use crate::world::{at_once, eventually, expect};

/// A start on a loaded machine, with the state that is taken over.
const PATIENCE: Duration = Duration::from_secs(90);
const OWN: [(Service, &str); 3] = [(Service::Auth, "/auth/me"), (Service::Cart, "/cart"), (Service::Orders, "/orders")];

/// Nodes that people ask in turn, past the gateway.
async fn nodes(count: usize) -> Option<World> {
    let settings = [&[("SESSION_STRATEGY", "replicated")][..], &NO_THROTTLE].concat();
    let mut world = World::nodes(count, &settings).await?;
    world.platform.enter_by(Entrance::Replicas);
    Some(world)
}

/// The cookies that a person has now, to be shown also after an answer that deletes them.
fn kept(person: &Person) -> String {
    let pairs: Vec<String> = person.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("; ")
}

/// What these cookies open at all services of one node.
async fn statuses_at(platform: &Platform, node: usize, person: &Person, cookies: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (service, path) in OWN {
        let url = format!("{}{path}", platform.replica(service.replica(node)));
        statuses.push(person.send(Method::GET, &url, None, &[("Cookie", cookies)]).await.status);
    }
    statuses
}

async fn log_in_at(platform: &Platform, node: usize, person: &Person) {
    let url = format!("{}/auth/login", platform.replica(Service::Auth.replica(node)));
    let body = serde_json::json!({"email": person.credentials.email, "password": person.credentials.password});
    expect(200, person.post(&url, &body).await);
}

/// Somebody new, signed in at this node.
async fn customer_of(platform: &Platform, node: usize) -> (Person, String) {
    let person = platform.person();
    expect(201, person.register().await);
    log_in_at(platform, node, &person).await;
    let cookies = kept(&person);
    (person, cookies)
}

#[tokio::test]
async fn one_login_serves_all_nodes_in_turn_and_its_end_is_seen_at_all_at_once() {
    let Some(world) = nodes(2).await else { return };
    let ada = somebody_shops(&world).await;
    let cookies = kept(&ada);
    for node in 0..2 {
        assert_eq!(statuses_at(&world.platform, node, &ada, &cookies).await, [200; 3]);
    }
    expect(204, ada.log_out().await);
    for node in 0..2 {
        assert_eq!(statuses_at(&world.platform, node, &ada, &cookies).await, [401; 3], "node {node}");
    }
    world.finish();
}

#[tokio::test]
async fn a_login_at_one_node_is_answered_when_the_others_know_it() {
    let Some(world) = nodes(3).await else { return };
    let grace = world.platform.person();
    expect(201, grace.register().await);
    for turn in 0..12 {
        let device = grace.other_device();
        log_in_at(&world.platform, turn % 3, &device).await;
        let cookies = kept(&device);
        assert_eq!(statuses_at(&world.platform, (turn + 1) % 3, &device, &cookies).await, [200; 3], "turn {turn}");
        assert_eq!(statuses_at(&world.platform, (turn + 2) % 3, &device, &cookies).await, [200; 3], "turn {turn}");
    }
    world.finish();
}

#[tokio::test]
async fn a_node_that_is_killed_takes_no_session_along_and_is_ready_again_when_it_has_them_all() {
    let Some(mut world) = nodes(2).await else { return };
    let mut people = Vec::new();
    for number in 0..8 {
        people.push(customer_of(&world.platform, number % 2).await);
    }
    world.platform.kill(Service::Auth.replica(0));

    // From the first moment on, the other one answers for everybody, and begins new sessions.
    for (person, cookies) in &people {
        assert_eq!(statuses_at(&world.platform, 1, person, cookies).await, [200; 3]);
    }
    world.platform.enter_by(Entrance::Gateway);
    for _ in 0..4 {
        people.push(customer_of(&world.platform, 1).await);
    }
    let (left, left_cookies) = people.swap_remove(0);
    let url = format!("{}/auth/logout", world.platform.replica(Service::Auth.replica(1)));
    expect(204, left.send(Method::POST, &url, None, &[("Cookie", &left_cookies)]).await);

    world.platform.launch(Service::Auth.replica(0));
    let started = Instant::now();
    while !matches!(world.platform.look(Service::Auth.replica(0)), Look::Ready) {
        assert!(started.elapsed() < PATIENCE, "it is not ready after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (person, cookies) in &people {
        assert_eq!(statuses_at(&world.platform, 0, person, cookies).await, [200; 3], "ready, and knows less");
    }
    assert_eq!(statuses_at(&world.platform, 0, &left, &left_cookies).await, [401; 3], "what ended has come back");
    world.finish();
}

#[tokio::test]
async fn no_request_at_the_gateway_fails_while_a_node_is_killed_and_comes_back() {
    let Some(mut world) = nodes(2).await else { return };
    let mut people = Vec::new();
    for number in 0..4 {
        people.push(customer_of(&world.platform, number % 2).await);
    }
    let gateway: Vec<String> =
        OWN.iter().map(|(service, path)| format!("{}{path}", world.platform.url(*service))).collect();
    let stop = AtomicBool::new(false);
    let asked = at_once(people.len(), |number| {
        let ((person, cookies), gateway, stop) = (&people[number], &gateway, &stop);
        async move {
            let mut answers = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                for url in gateway {
                    answers.push(person.send(Method::GET, url, None, &[("Cookie", cookies)]).await.status);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            answers
        }
    });
    let killed = async {
        world.platform.kill(Service::Auth.replica(1));
        world.platform.restart(Service::Auth.replica(1)).await;
        world.platform.kill(Service::Auth.replica(0));
        world.platform.restart(Service::Auth.replica(0)).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (answers, ()) = futures_util::join!(asked, killed);
    let answers: Vec<u16> = answers.into_iter().flatten().collect();
    assert!(answers.len() > 50, "{} requests prove little", answers.len());
    assert_eq!(answers.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([200]), "of {}", answers.len());
    world.finish();
}

#[tokio::test]
async fn a_node_that_the_others_do_not_understand_is_never_ready_and_says_why() {
    let Some(mut world) = nodes(2).await else { return };
    let (ada, cookies) = customer_of(&world.platform, 0).await;
    let second = Service::Auth.replica(1);
    let key = world.platform.setting(second, "CLUSTER_KEY").expect("a key").to_owned();
    world.platform.stop_service(second);
    world.platform.set(second, "CLUSTER_KEY", "6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g=");
    world.platform.launch(second);
    let started = Instant::now();
    loop {
        match world.platform.look(second) {
            Look::Ready => panic!("it is ready without the sessions"),
            Look::NotYet(why) if why.contains("CLUSTER_KEY") => break,
            Look::NotYet(why) => assert!(started.elapsed() < PATIENCE, "it does not say why: {why}"),
            Look::Ended(status) => panic!("it ended with {status}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (service, path) in OWN {
        let url = format!("{}{path}", world.platform.replica(service.replica(1)));
        // The services of a process begin to listen one after the other.
        let status = || async {
            let answer = ada.try_send(Method::GET, &url, None, &[("Cookie", &cookies)]).await;
            answer.map_or(0, |answer| answer.status)
        };
        eventually(503, status).await;
        assert_eq!(status().await, 503, "it answers for what it does not know");
    }
    assert_eq!(statuses_at(&world.platform, 0, &ada, &cookies).await, [200; 3]);

    world.platform.set(second, "CLUSTER_KEY", &key);
    world.platform.restart(second).await;
    assert_eq!(statuses_at(&world.platform, 1, &ada, &cookies).await, [200; 3]);
    world.finish();
}

#[tokio::test]
async fn people_and_administrators_see_and_end_sessions_of_any_node_at_any_node() {
    let Some(world) = nodes(2).await else { return };
    let (ada, cookies) = customer_of(&world.platform, 0).await;
    let phone = ada.other_device();
    log_in_at(&world.platform, 1, &phone).await;
    let of_phone = kept(&phone);
    for _ in 0..2 {
        // Each time at the other node.
        let list = expect(200, ada.get(&ada.url(Service::Auth, "/auth/sessions")).await).body;
        let sessions: Vec<&serde_json::Value> = list["items"].as_array().expect("a list").iter().collect();
        assert_eq!(sessions.len(), 2, "{list}");
    }
    let admin = world.admin().await;
    let user = expect(200, ada.me().await).body["id"].as_str().expect("an id").to_owned();
    let mut seen = BTreeSet::new();
    for node in 0..2 {
        let url = format!("{}/admin/sessions?limit=100", world.platform.replica(Service::Auth.replica(node)));
        let page = expect(200, admin.get(&url).await).body;
        let items = page["items"].as_array().expect("a list");
        let of_ada = items.iter().filter(|session| session["user_id"] == user.as_str());
        let of_ada: BTreeSet<String> =
            of_ada.map(|session| session["id"].as_str().expect("an id").to_owned()).collect();
        assert_eq!(of_ada.len(), 2, "node {node} says who is online: {page}");
        seen.extend(of_ada);
    }
    assert_eq!(seen.len(), 2, "both nodes name the same sessions");

    // Kicked at one, out at both.
    for (number, session) in seen.iter().enumerate() {
        let url = format!("{}/admin/sessions/{session}", world.platform.replica(Service::Auth.replica(number % 2)));
        expect(204, admin.delete(&url).await);
    }
    for node in 0..2 {
        assert_eq!(statuses_at(&world.platform, node, &ada, &cookies).await, [401; 3]);
        assert_eq!(statuses_at(&world.platform, node, &phone, &of_phone).await, [401; 3]);
    }
    world.finish();
}

#[tokio::test]
async fn a_sign_in_by_the_pages_goes_on_at_whichever_node_comes_next() {
    // Stands in each page of whoever is signed in.
    const SIGNED_IN: &str = r#"class="person""#;
    let Some(mut world) = nodes(2).await else { return };
    world.platform.enter_by(Entrance::Gateway);
    let ada = world.platform.person();
    expect(201, ada.register().await);
    let orders = format!("{}/", world.platform.orders());
    for turn in 0..3 {
        let mut browser = Browser::new(&world.platform, &ada.credentials);
        let page = browser.reads(&format!("{}/login?return_to=/basket", world.platform.cart())).await;
        assert!(page.contains(SIGNED_IN), "turn {turn}: not signed in at the shop: {page}");
        for _ in 0..2 {
            assert!(browser.reads(&orders).await.contains(SIGNED_IN), "turn {turn}: not known at the orders");
        }
        assert_eq!(browser.filled, ["/sign-in"], "one sign-in for both services, at all nodes");
    }
    world.finish();
}

#[tokio::test]
async fn a_stranger_has_no_more_guesses_at_two_nodes_than_at_one() {
    let settings = [("SESSION_STRATEGY", "replicated"), ("LOGIN_ATTEMPTS_PER_ACCOUNT", "6")];
    let Some(mut world) = World::nodes(2, &settings).await else { return };
    world.platform.enter_by(Entrance::Replicas);
    let ada = world.platform.person();
    expect(201, ada.register().await);
    let mut mallory = ada.other_device();
    mallory.credentials.password = "never her password".to_owned();
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(mallory.log_in().await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 429, 429]);
    world.finish();
}
