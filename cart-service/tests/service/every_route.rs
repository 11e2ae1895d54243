//! What is tried on every route of this service.

use std::path::Path;
use std::time::Duration;

use e2e::routes::{self, Route};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName};
use shared::authentication::SessionCookie;
use shared::session::{Created, LimitPolicy, NewSession, SessionLimit, SessionStore as _, UserId};

use crate::harness::Shop;

const SIBLING: &str = "http://orders.shop.example";

fn all_routes(shop: &Shop) -> Vec<Route> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (pages, sign_in) = (own.join("src/endpoints/pages"), own.join("../shared/src/relying_party/endpoints"));
    let routes = routes::that_change_something(&shop.documents, &[&pages, &sign_in]);
    for known in ["/cart/items", "/checkouts", "/basket/items", "/logout", "/backchannel-logout"] {
        assert!(routes.iter().any(|route| route.path == known), "{known} is missing");
    }
    routes
}

fn all_that_show_something(shop: &Shop) -> Vec<Route> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (pages, sign_in) = (own.join("src/endpoints/pages"), own.join("../shared/src/relying_party/endpoints"));
    let routes = routes::that_show_something(&shop.documents, &[&pages, &sign_in]);
    for known in ["/cart", "/products", "/basket", "/login", "/callback"] {
        assert!(routes.iter().any(|route| route.path == known), "{known} is missing");
    }
    routes
}

#[tokio::test(flavor = "multi_thread")]
async fn head_answers_as_get_does_on_every_route() {
    let shop = Shop::on_sqlite().await;
    let routes = all_that_show_something(&shop);
    let claims = shop.claims(UserId::random());
    let bearer = format!("Bearer {}", shop.issuer.sign(&claims));
    for (name, value) in [("accept", "text/html"), ("authorization", &bearer)] {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())]);
        let statuses = routes::assert_head_answers_as_get(shop.base(), &routes, &headers).await;
        assert!(statuses.values().any(|status| *status == 200) && statuses.values().any(|status| *status > 400));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_other_origins_may_read_nothing() {
    let shop = Shop::on_sqlite().await;
    let routes = [all_routes(&shop), all_that_show_something(&shop)].concat();
    routes::assert_open_to_other_origins(shop.base(), &routes, &[]).await;
}

/// The cookie of a login.
async fn login_cookie(shop: &Shop) -> String {
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
    let Created::Begun { session, .. } = shop.sessions.create(new, limit).await.unwrap() else {
        panic!("the limit is not reached");
    };
    SessionCookie::default().of(&session, &secret).to_string().split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn hl1_no_page_of_another_origin_changes_anything_by_a_login_cookie() {
    let shop = Shop::on_sqlite_with(&[("SESSION_STRATEGY", "sticky"), ("COOKIE_ORIGINS", SIBLING)]).await;
    let (cookie, routes) = (login_cookie(&shop).await, all_routes(&shop));
    let visitor = shop.guest();
    *visitor.cookie.lock() = Some(cookie.clone());
    let before = visitor.get("/cart").await.expect(200);
    let refused =
        routes::assert_no_cookie_speaks_for_others(shop.base(), &routes, &cookie, &[SIBLING.to_owned()]).await;
    assert!(refused > 400, "{refused}");
    assert_eq!(visitor.get("/cart").await.expect(200)["lines"], before["lines"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hl2_cookies_of_two_people_speak_for_neither() {
    let shop = Shop::on_sqlite_with(&[("SESSION_STRATEGY", "sticky")]).await;
    let (victims, planted) = (login_cookie(&shop).await, login_cookie(&shop).await);
    let visitor = shop.guest();
    *visitor.cookie.lock() = Some(format!("{planted}; {victims}"));
    let answer = visitor.send(Method::DELETE, "/cart", &[], None).await;
    answer.refused(400, "several_logins");
}

#[tokio::test(flavor = "multi_thread")]
async fn hl3_no_route_waits_for_a_body_that_never_arrives() {
    let shop = Shop::on_sqlite().await;
    let address = shop.base().trim_start_matches("http://");
    let claims = shop.claims(UserId::random());
    let headers = format!(
        "Authorization: Bearer {}\r\nService-Secret: {}\r\nIdempotency-Key: a-key-of-this-test\r\n",
        shop.issuer.sign(&claims),
        crate::harness::CHECKOUT_SECRET
    );
    for headers in ["", &headers] {
        let patience = Duration::from_secs(8);
        let ends = routes::ends_of_bodies_that_never_arrive(address, &all_routes(&shop), headers, patience).await;
        let late = |path: &str| ends.iter().any(|(route, status)| route.path == path && *status == 408);
        assert!(late("/cart/items") && late("/backchannel-logout"), "{ends:?}");
    }
}
