//! What is tried on every route of this service.

use std::path::Path;
use std::time::Duration;

use auth_service::Config;
use e2e::routes::{self, Route};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, SET_COOKIE};
use serde_json::json;
use shared::authentication::strategy::Strategy;

use crate::browser::Browser;
use crate::harness::{ADMIN_EMAIL, ADMIN_PASSWORD, App};

const SIBLING: &str = "http://cart.shop.example";

fn all_routes(app: &App) -> Vec<Route> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/endpoints");
    let routes = routes::that_change_something(app.api(), &[&sources]);
    for known in ["/auth/logout", "/admin/keys/rotate", "/oauth2/token", "/sign-in", "/oauth2/logout/confirm"] {
        assert!(routes.iter().any(|route| route.path == known), "{known} is missing");
    }
    routes
}

fn all_that_show_something(app: &App) -> Vec<Route> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/endpoints");
    let routes = routes::that_show_something(app.api(), &[&sources]);
    for known in ["/auth/me", "/oauth2/authorize", "/sign-in", "/oauth2/logout/confirm", "/"] {
        assert!(routes.iter().any(|route| route.path == known), "{known} is missing");
    }
    routes
}

fn by_cookie(config: &mut Config) {
    config.strategy = Strategy::Sticky;
    config.session_cookie.origins = vec![SIBLING.to_owned()];
    // What is compared is the answers' statuses, thousands of them.
    config.throttle.client_failures = u64::MAX;
    config.throttle.client_registrations_per_address = u64::MAX;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hl1_no_page_of_another_origin_changes_anything_by_a_login_cookie() {
    let app = App::embedded(by_cookie).await;
    let answer = app.log_in(ADMIN_EMAIL, ADMIN_PASSWORD).await;
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let (base, routes) = (app.url(""), all_routes(&app));
    let for_users = routes.iter().filter(|route| route.is_for_users).count();
    let refused = routes::assert_no_cookie_speaks_for_others(&base, &routes, &cookie, &[SIBLING.to_owned()]).await;
    // Each with at least what has no body, or JSON.
    assert!(for_users > 10 && refused > for_users * 40, "{refused} refusals on {for_users} routes");
    let me = app.send(app.request(Method::GET, "/auth/me").header("cookie", &cookie)).await;
    assert_eq!((me.status, &me.body["email"]), (200, &json!(ADMIN_EMAIL)), "she is still signed in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_answers_as_get_does_on_every_route() {
    let app = App::embedded(|_| {}).await;
    let admin = app.administrator().await;
    let mut browser = Browser::default();
    browser.sign_in(&app, &admin, ADMIN_PASSWORD).await;
    assert_eq!(browser.get(&app, "/account").await.status, 200);
    let cookies: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let routes = all_that_show_something(&app);
    for (name, value, at_least) in [
        ("accept", "text/html".to_owned(), 6),
        ("authorization", format!("Bearer {}", admin.access), 8),
        ("cookie", cookies.join("; "), 8),
    ] {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())]);
        let statuses = routes::assert_head_answers_as_get(&app.url(""), &routes, &headers).await;
        let shown = statuses.values().filter(|status| **status == 200).count();
        assert!(shown >= at_least, "{name}: {statuses:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_of_other_origins_may_read_what_clients_ask_for_and_nothing_else() {
    let app = App::embedded(|_| {}).await;
    let routes = [all_routes(&app), all_that_show_something(&app)].concat();
    let open = [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/jwks.json",
        "/oauth2/token",
        "/oauth2/revoke",
        "/oauth2/par",
        "/oauth2/device_authorization",
        "/oauth2/userinfo",
    ];
    routes::assert_open_to_other_origins(&app.url(""), &routes, &open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hl3_no_route_waits_for_a_body_that_never_arrives() {
    let app = App::embedded(|config| config.server.body_patience = Duration::from_millis(300)).await;
    let admin = app.administrator().await;
    let address = app.url("").trim_start_matches("http://").to_owned();
    let bearer = format!("Authorization: Bearer {}\r\n", admin.access);
    for headers in ["", &bearer] {
        let patience = Duration::from_secs(5);
        let ends = routes::ends_of_bodies_that_never_arrive(&address, &all_routes(&app), headers, patience).await;
        let at = |path: &str| ends.iter().filter(|(route, _)| route.path == path).map(|(_, status)| *status).max();
        assert_eq!((at("/auth/login"), at("/oauth2/par")), (Some(415), Some(415)), "of JSON and a form, the wrong one");
        assert!(ends.iter().filter(|(_, status)| *status == 408).count() > 8, "{ends:?}");
    }
}
