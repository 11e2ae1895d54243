//! What is tried on every route of this service.

use std::path::Path;
use std::time::Duration;

use e2e::routes::{self, Route};
use reqwest::header::{HeaderMap, HeaderName};
use shared::authentication::SessionCookie;
use shared::session::{Created, LimitPolicy, NewSession, SessionLimit, SessionStore as _, UserId};

use crate::harness::World;

const SIBLING: &str = "http://cart.shop.example";

fn all_routes(world: &World) -> Vec<Route> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (pages, sign_in) = (own.join("src/endpoints/pages"), own.join("../shared/src/relying_party/endpoints"));
    let routes = routes::that_change_something(&world.documents, &[&pages, &sign_in]);
    for known in ["/orders", "/checkout", "/logout", "/backchannel-logout"] {
        assert!(routes.iter().any(|route| route.path == known), "{known} is missing");
    }
    routes
}

fn all_that_show_something(world: &World) -> Vec<Route> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (pages, sign_in) = (own.join("src/endpoints/pages"), own.join("../shared/src/relying_party/endpoints"));
    let routes = routes::that_show_something(&world.documents, &[&pages, &sign_in]);
    for known in ["/orders", "/checkout", "/login", "/callback"] {
        assert!(routes.iter().any(|route| route.path == known), "{known} is missing");
    }
    routes
}

#[tokio::test(flavor = "multi_thread")]
async fn head_answers_as_get_does_on_every_route() {
    let world = World::on_sqlite().await;
    let routes = all_that_show_something(&world);
    let bearer = format!("Bearer {}", world.person().await.token_for(&["order-service"]));
    for (name, value) in [("accept", "text/html"), ("authorization", &bearer)] {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())]);
        let statuses = routes::assert_head_answers_as_get(&world.base, &routes, &headers).await;
        assert!(statuses.values().any(|status| *status == 200) && statuses.values().any(|status| *status > 400));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_other_origins_may_read_nothing() {
    let world = World::on_sqlite().await;
    let routes = [all_routes(&world), all_that_show_something(&world)].concat();
    routes::assert_open_to_other_origins(&world.base, &routes, &[]).await;
}

/// The cookie of a login.
async fn login_cookie(world: &World) -> String {
    let (opened, secret) = SessionCookie::secret();
    let new = NewSession {
        user: UserId::random(),
        client: "platform".to_owned(),
        roles: vec!["user".to_owned()],
        amr: vec!["pwd".to_owned()],
        device: "test".to_owned(),
        address: "127.0.0.1".to_owned(),
        attributes: [opened].into(),
        idle: Duration::from_secs(3600),
        absolute: Duration::from_secs(3600),
    };
    let limit = SessionLimit { max: 5, policy: LimitPolicy::EndOldest };
    let Created::Begun { session, .. } = world.sessions.create(new, limit).await.unwrap() else {
        panic!("the limit is not reached");
    };
    SessionCookie::default().of(&session, &secret).to_string().split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn hl1_no_page_of_another_origin_changes_anything_by_a_login_cookie() {
    let settings = [("SESSION_STRATEGY", "sticky"), ("COOKIE_ORIGINS", SIBLING), ("ORDER_RECOVERY_INTERVAL", "1d")];
    let world = World::with(&settings).await;
    let (cookie, routes) = (login_cookie(&world).await, all_routes(&world));
    let for_users = routes.iter().filter(|route| route.is_for_users).count();
    let refused =
        routes::assert_no_cookie_speaks_for_others(&world.base, &routes, &cookie, &[SIBLING.to_owned()]).await;
    assert!(for_users >= 3 && refused > for_users * 100, "{refused} refusals on {for_users} routes");
    let list = world.client.get(format!("{}/orders", world.base)).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(list.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn hl3_no_route_waits_for_a_body_that_never_arrives() {
    let world = World::on_sqlite().await;
    let address = world.base.trim_start_matches("http://");
    let headers = "Idempotency-Key: a-key-of-this-test\r\n";
    let patience = Duration::from_secs(8);
    let ends = routes::ends_of_bodies_that_never_arrive(address, &all_routes(&world), headers, patience).await;
    let late = |path: &str| ends.iter().any(|(route, status)| route.path == path && *status == 408);
    assert!(late("/backchannel-logout"), "{ends:?}");
}
