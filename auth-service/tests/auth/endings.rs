//! An ended session stays ended: under each strategy, by each end, at another node, and after the store was emptied and all
//! restarted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_service::clients::registry;
use auth_service::storage::audit::{self, Actor, By, StoredEntry};
use auth_service::storage::endings::{self, Ended, NewEnding};
use auth_service::{Config, EmbeddedStores, Stores, end_session, grants};
use reqwest::Method;
use reqwest::header::SET_COOKIE;
use serde_json::{Value, json};
use shared::authentication::strategy::{Credential, Strategy};
use shared::authentication::{CookieKeys, DenyListMode};
use shared::key_value::MemoryKeyValueStore;
use shared::session::{EndReason, Endings, MemorySessionStore, NoSessionStore, SessionId, UserId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::back_channel::claims;
use crate::browser::{Application, Browser};
use crate::faults::Line;
use crate::harness::{ADMIN_EMAIL, ADMIN_PASSWORD, Answer, App, PASSWORD, Place, on_both};

/// A strategy, as far as it differs for what is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Sticky,
    Redis,
    JwtFeed,
    JwtList,
    Cookie,
    Hybrid,
}

const ON_REDIS: [Way; 5] = [Way::Redis, Way::JwtFeed, Way::JwtList, Way::Cookie, Way::Hybrid];
/// The memory of each process is all that it has.
const IN_MEMORY: [Way; 3] = [Way::Sticky, Way::JwtFeed, Way::Cookie];

/// Ways to end the session of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Logout,
    LogoutEverywhere,
    Password,
    Roles,
    Lock,
    Kick,
}

const ENDS: [End; 6] = [End::Logout, End::LogoutEverywhere, End::Password, End::Roles, End::Lock, End::Kick];

impl Way {
    fn strategy(self) -> (Strategy, DenyListMode) {
        match self {
            Self::Sticky => (Strategy::Sticky, DenyListMode::Off),
            Self::Redis => (Strategy::Redis, DenyListMode::Off),
            Self::JwtFeed => (Strategy::Jwt, DenyListMode::Feed),
            Self::JwtList => (Strategy::Jwt, DenyListMode::Redis),
            Self::Cookie => (Strategy::Cookie, DenyListMode::Off),
            Self::Hybrid => (Strategy::Hybrid, DenyListMode::Off),
        }
    }

    /// Whether it can carry out that end.
    fn has(self, end: End) -> bool {
        end != End::LogoutEverywhere || self.strategy().0 != Strategy::Jwt
    }

    async fn node(self, place: Place, keys: &CookieKeys) -> App {
        App::start(place, |config| self.configure(config, keys)).await
    }

    fn configure(self, config: &mut Config, keys: &CookieKeys) {
        (config.strategy, config.deny_list) = self.strategy();
        if config.strategy.credential() == Credential::SealedCookie {
            config.cookie_keys = Some(keys.clone());
        }
        if let Stores::Embedded(_) = &config.stores {
            let key_values = Arc::new(MemoryKeyValueStore::new(config.clock.clone()));
            let feed = Arc::new(MemorySessionStore::new(config.clock.clone(), config.remember()));
            let mode = if self == Self::Cookie { DenyListMode::Feed } else { config.deny_list };
            let stores = match self {
                Self::Sticky => EmbeddedStores { sessions: feed, key_values: Some(key_values), redis: None },
                _ => {
                    let endings = mode.endings(feed, key_values.clone(), config.remember());
                    let sessions = Arc::new(NoSessionStore::new(config.clock.clone(), endings));
                    EmbeddedStores { sessions, key_values: Some(key_values), redis: None }
                }
            };
            config.stores = Stores::Embedded(stores);
        }
    }
}

/// What a login gave to somebody.
#[derive(Debug, Clone)]
struct Held {
    email: String,
    user: String,
    session: String,
    cookie: Option<String>,
    tokens: Option<(String, String)>,
}

impl Held {
    async fn new(app: &App) -> Self {
        let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
        let answer = app.post("/auth/register", json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        Self::at(app, &email, PASSWORD).await
    }

    async fn at(app: &App, email: &str, password: &str) -> Self {
        let answer = app.log_in(email, password).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let set = answer.headers.get(SET_COOKIE).map(|set| set.to_str().unwrap().split(';').next().unwrap().to_owned());
        Self {
            email: email.to_owned(),
            user: text(&answer.body["user"]["id"]).unwrap(),
            session: text(&answer.body["session_id"]).unwrap(),
            cookie: set,
            tokens: text(&answer.body["access_token"]).zip(text(&answer.body["refresh_token"])),
        }
    }

    async fn send(&self, app: &App, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = app.request(method, path);
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some((access, _)) = &self.tokens {
            request = request.bearer_auth(access);
        }
        app.send_whatever(if let Some(body) = body { request.json(&body) } else { request }).await
    }

    async fn is_taken(&self, app: &App) -> bool {
        match self.send(app, Method::GET, "/auth/me", None).await.status {
            200 => true,
            401 => false,
            other => panic!("{other}"),
        }
    }

    /// Refused within a moment, and so is its refresh token.
    async fn is_over(&self, app: &App, what: &str) {
        let started = Instant::now();
        while self.is_taken(app).await {
            assert!(started.elapsed() < Duration::from_secs(5), "{what}: still taken");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if let Some((_, refresh)) = &self.tokens {
            let answer = app.refresh_whatever(refresh).await;
            assert_eq!(answer.status, 401, "{what}: {}", answer.text);
        }
    }
}

/// Ends the session `held` by somebody at a node.
async fn carry_out(end: End, at: &App, held: &Held) {
    let elsewhere = Held::at(at, &held.email, PASSWORD).await;
    let admin = Held::at(at, ADMIN_EMAIL, ADMIN_PASSWORD).await;
    let account = format!("/admin/users/{}", held.user);
    let password = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
    let answer = match end {
        End::Logout => held.send(at, Method::POST, "/auth/logout", None).await,
        End::LogoutEverywhere => elsewhere.send(at, Method::POST, "/auth/logout-all", None).await,
        End::Password => elsewhere.send(at, Method::POST, "/auth/password", Some(password)).await,
        End::Roles => {
            let roles = json!({"roles": ["user", "auditor"]});
            admin.send(at, Method::PUT, &format!("{account}/roles"), Some(roles)).await
        }
        End::Lock => admin.send(at, Method::POST, &format!("{account}/lock"), None).await,
        End::Kick => admin.send(at, Method::DELETE, &format!("/admin/sessions/{}", held.session), None).await,
    };
    assert!([200, 204].contains(&answer.status), "{end:?}: {} {}", answer.status, answer.text);
}

/// One end of each kind for sessions that began at `home`, carried out at `acts`; and somebody's whom none concerns.
async fn end_some(way: Way, home: &App, acts: &App) -> (Vec<(End, Held)>, Held) {
    let mut ended = Vec::new();
    for end in ENDS.into_iter().filter(|end| way.has(*end)) {
        let held = Held::new(home).await;
        assert!(held.is_taken(home).await, "{way:?} {end:?}");
        // A cookie of one node's opens nothing at another.
        let at = if way == Way::Sticky && end == End::Logout { home } else { acts };
        carry_out(end, at, &held).await;
        ended.push((end, held));
    }
    (ended, Held::new(home).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hv1_a_session_in_the_memory_of_one_node_ends_by_whatever_another_does() {
    for way in IN_MEMORY {
        let keys = CookieKeys::random();
        let (place, first) = (Place::embedded(), way);
        let home = first.node(place.again(), &keys).await;
        let acts = way.node(place.again(), &keys).await;
        let (ended, bystander) = end_some(way, &home, &acts).await;
        for (end, held) in &ended {
            held.is_over(&home, &format!("{way:?} {end:?} where it began")).await;
            held.is_over(&acts, &format!("{way:?} {end:?} where it was ended")).await;
        }
        assert!(bystander.is_taken(&home).await, "{way:?}: nobody else is signed out");
        drop(place);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hv1_the_session_that_changed_its_password_goes_on_at_its_node() {
    let keys = CookieKeys::random();
    let place = Place::embedded();
    let nodes = [Way::Sticky.node(place.again(), &keys).await, Way::Sticky.node(place.again(), &keys).await];
    let held = Held::new(&nodes[0]).await;
    let (here, there) =
        (Held::at(&nodes[0], &held.email, PASSWORD).await, Held::at(&nodes[1], &held.email, PASSWORD).await);
    let body = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
    let changed = held.send(&nodes[0], Method::POST, "/auth/password", Some(body)).await;
    assert_eq!(changed.status, 204, "{}", changed.text);
    let cookie = changed.headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    held.is_over(&nodes[0], "the cookie of before").await;
    let held = Held { cookie: Some(cookie), ..held };
    here.is_over(&nodes[0], "another session at the node").await;
    there.is_over(&nodes[1], "a session at the other node").await;
    assert!(held.is_taken(&nodes[0]).await);
    // What the account is at now began after all that.
    let again = Held::at(&nodes[1], &held.email, "another horse battery").await;
    assert!(again.is_taken(&nodes[1]).await);
    drop(place);
}

/// Empties the Redis that is a test's own.
async fn empty(url: &str) {
    let url = url::Url::parse(url).unwrap();
    let address = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(6379));
    let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
    let database = url.path().trim_start_matches('/');
    line.write_all(format!("SELECT {database}\r\nFLUSHDB\r\nQUIT\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "+OK\r\n+OK\r\n+OK\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hv3_what_was_ended_stays_so_at_all_nodes_and_when_redis_is_emptied_and_all_restart() {
    for way in ON_REDIS {
        let Some(place) = Place::on_servers().await else { return };
        let redis = place.redis_url.clone().unwrap();
        let keys = CookieKeys::random();
        let home = way.node(place.again(), &keys).await;
        let acts = way.node(place.again(), &keys).await;
        let (ended, bystander) = end_some(way, &home, &acts).await;
        for (end, held) in &ended {
            held.is_over(&home, &format!("{way:?} {end:?} where it began")).await;
            held.is_over(&acts, &format!("{way:?} {end:?} where it was ended")).await;
        }
        home.stop().await;
        acts.stop().await;
        empty(&redis).await;
        let again = way.node(place.again(), &keys).await;
        for (end, held) in &ended {
            assert!(!held.is_taken(&again).await, "{way:?} {end:?}: it lives again");
            held.is_over(&again, &format!("{way:?} {end:?} after the loss")).await;
        }
        // What Redis did not keep goes on, but for a session that was there.
        assert_eq!(bystander.is_taken(&again).await, way != Way::Redis, "{way:?}: nobody else is signed out");

        // While the service runs, the loss is noticed too.
        let held = Held::new(&again).await;
        carry_out(End::Kick, &again, &held).await;
        held.is_over(&again, &format!("{way:?}")).await;
        empty(&redis).await;
        let other = way.node(place.again(), &keys).await;
        assert!(!held.is_taken(&other).await, "{way:?}: it lives again at a node that starts after the loss");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hv3_an_end_of_all_of_an_account_ends_the_sessions_that_redis_has_lost() {
    let Some(place) = Place::on_servers().await else { return };
    let redis = place.redis_url.clone().unwrap();
    let app = Way::Hybrid.node(place.again(), &CookieKeys::random()).await;
    let mut held = Vec::new();
    for end in [End::LogoutEverywhere, End::Password, End::Roles, End::Lock] {
        let one = Held::new(&app).await;
        let other = Held::at(&app, &one.email, PASSWORD).await;
        held.push((end, one, other));
    }
    let bystander = Held::new(&app).await;
    empty(&redis).await;
    for (end, one, other) in &held {
        assert!(one.is_taken(&app).await && other.is_taken(&app).await, "its tokens are checked in memory");
        carry_out(*end, &app, one).await;
        for lost in [one, other] {
            lost.is_over(&app, &format!("{end:?} of a lost session")).await;
        }
    }
    assert!(bystander.is_taken(&app).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hv3_a_token_and_a_grant_that_were_taken_back_stay_so_when_redis_is_emptied() {
    let Some(place) = Place::on_servers().await else { return };
    let redis = place.redis_url.clone().unwrap();
    let keys = CookieKeys::random();
    let app = Way::Hybrid.node(place.again(), &keys).await;
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(&app, &person, PASSWORD).await;
    let mut given = Vec::new();
    for how in ["revoked", "withdrawn", "code reused", "refresh token reused", "client removed", "kept"] {
        let client = Application::first_party(&app).await;
        let begun = client.begin(&[("scope", "openid account offline_access")]);
        let code = begun.go(&app, &mut browser).await.query("code");
        let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        let (access, refresh) = (text("access_token"), text("refresh_token"));
        assert_eq!(app.get("/auth/me", &access).await.status, 200);
        let (service, by) = (&app.service, By::COMMAND_LINE);
        match how {
            "revoked" => {
                let request = app.request(Method::POST, "/oauth2/revoke").form(&[("token", &access)]);
                let revoked = app.send(request.basic_auth(&client.id, Some(&client.secret))).await;
                assert_eq!(revoked.status, 200, "{}", revoked.text);
            }
            "withdrawn" => assert!(grants::withdraw(service, person.id, &client.id, &by).await.unwrap()),
            "code reused" => {
                assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant");
            }
            "refresh token reused" => {
                let next = client.refresh(&app, &refresh).await.body["refresh_token"].as_str().unwrap().to_owned();
                assert_eq!(client.refresh(&app, &next).await.status, 200);
                assert_eq!(client.refresh(&app, &refresh).await.error(), "invalid_grant");
            }
            "client removed" => registry::delete(service, &client.id, &by).await.unwrap(),
            _ => {}
        }
        if how != "kept" {
            app.is_refused(&access).await;
        }
        given.push((how, access));
    }
    app.stop().await;
    empty(&redis).await;
    let again = Way::Hybrid.node(place.again(), &keys).await;
    for (how, access) in given {
        let expected = if how == "kept" { 200 } else { 401 };
        assert_eq!(again.get("/auth/me", &access).await.status, expected, "{how}");
    }
}

async fn entries_of(app: &App, user: UserId, session: SessionId) -> Vec<StoredEntry> {
    let entries = audit::page(&app.service.database, Some(user), None, 1000).await.unwrap();
    let of_session = |entry: &StoredEntry| entry.act == "end_session" && entry.session == Some(session.to_string());
    entries.into_iter().filter(of_session).collect()
}

on_both! {
    hv6_an_end_whose_process_died_gets_its_one_entry,
    hv6_each_ended_session_has_one_entry_however_often_its_end_is_asked_for,
    hv4_every_endpoint_refuses_what_was_taken_back,
    hv4_every_endpoint_refuses_what_the_feed_tells with super::told_by_the_feed,
    hv4_every_endpoint_refuses_what_the_list_says with super::told_by_a_list,
    hv5_a_new_password_ends_the_tokens_of_the_other_sessions_by_the_feed with super::told_by_the_feed,
    hv5_a_new_password_ends_the_tokens_of_the_other_sessions_by_the_list with super::told_by_a_list,
    hv5_where_nothing_is_told_the_answer_says_how_long_other_tokens_live with super::untold,
    hv5_a_new_password_gives_this_browser_a_new_cookie with super::sealed,
}

fn told_by_the_feed(config: &mut Config) {
    Way::JwtFeed.configure(config, &CookieKeys::random());
}

fn told_by_a_list(config: &mut Config) {
    Way::JwtList.configure(config, &CookieKeys::random());
}

fn sealed(config: &mut Config) {
    Way::Cookie.configure(config, &CookieKeys::random());
}

fn untold(config: &mut Config) {
    Way::JwtFeed.configure(config, &CookieKeys::random());
    config.deny_list = DenyListMode::Off;
    if let Stores::Embedded(stores) = &mut config.stores {
        stores.sessions = Arc::new(NoSessionStore::new(config.clock.clone(), Endings::Untold));
    }
}

/// What is left where the store has carried out an end, and the process died before it heard of it.
async fn hv6_an_end_whose_process_died_gets_its_one_entry(app: App) {
    let ada = app.somebody().await;
    let session: SessionId = ada.session.parse().unwrap();
    let by = By { actor: Actor::User(ada.id), address: Some("192.0.2.7".to_owned()) };
    let mut transaction = app.service.database.begin().await.unwrap();
    let (what, reason) = (Ended::Session(session), EndReason::Logout);
    let new = NewEnding { what, user: Some(ada.id), spared: None, reason, by: &by, is_settled: false };
    assert!(endings::add(&mut transaction, &new, app.clock.now()).await.unwrap());
    transaction.commit().await.unwrap();
    app.service.sessions.end(session, EndReason::Logout).await.unwrap();
    assert!(entries_of(&app, ada.id, session).await.is_empty());
    // The client, which got no answer, repeats it; and at last any replica carries it out.
    app.is_refused(&ada.access).await;
    app.post("/auth/logout", json!({"refresh_token": ada.refresh})).await;
    app.clock.advance(Duration::from_secs(10));
    let started = Instant::now();
    let entries = loop {
        let entries = entries_of(&app, ada.id, session).await;
        if !entries.is_empty() {
            break entries;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "the audit lacks the end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((&*entry.actor, entry.address.as_deref()), (&*ada.id.to_string(), Some("192.0.2.7")));
    assert_eq!(entry.detail, "logout");
}

async fn hv6_each_ended_session_has_one_entry_however_often_its_end_is_asked_for(app: App) {
    let (ada, admin) = (app.somebody().await, app.administrator().await);
    let session: SessionId = ada.session.parse().unwrap();
    let kick = format!("/admin/sessions/{session}");
    let (logout, kicked, again) = tokio::join!(
        app.call(Method::POST, "/auth/logout", &ada.access),
        app.call(Method::DELETE, &kick, &admin.access),
        app.call(Method::DELETE, &kick, &admin.access),
    );
    for answer in [&logout, &kicked, &again] {
        assert!([204, 401, 404].contains(&answer.status), "{}", answer.text);
    }
    end_session::end(&app.service, session, EndReason::Logout, &By::SERVICE).await.unwrap();
    assert_eq!(entries_of(&app, ada.id, session).await.len(), 1);
}

/// The database is away when a session ends, and the entry is written when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hv6_an_end_while_the_database_is_away_gets_its_one_entry() {
    let Some(mut place) = Place::on_servers().await else { return };
    let (line, url) = Line::in_front_of(&place.database_url).await;
    place.database_url = url;
    let app = App::start(place, |_| {}).await;
    let ada = app.somebody().await;
    let session: SessionId = ada.session.parse().unwrap();
    line.cut().await;
    let logout = app.request(Method::POST, "/auth/logout").bearer_auth(&ada.access);
    assert_eq!(app.send(logout).await.status, 204, "nobody is kept signed in for it");
    app.is_refused(&ada.access).await;
    line.mend().await;
    let started = Instant::now();
    loop {
        let entries = audit::page(&app.service.database, Some(ada.id), None, 1000).await;
        let ends = |entry: &&StoredEntry| entry.act == "end_session" && entry.session == Some(session.to_string());
        let found = entries.map(|entries| entries.iter().filter(ends).count()).unwrap_or_default();
        if found > 0 {
            assert_eq!(found, 1);
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the audit lacks the end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Where nothing but the database remembers an end, one that it did not take is not confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hv6_a_logout_that_nothing_would_remember_is_not_confirmed() {
    let Some(mut place) = Place::on_servers().await else { return };
    let (line, url) = Line::in_front_of(&place.database_url).await;
    place.database_url = url;
    let app = Way::JwtFeed.node(place, &CookieKeys::random()).await;
    let ada = app.somebody().await;
    line.cut().await;
    let logout = app.request(Method::POST, "/auth/logout").bearer_auth(&ada.access);
    let answer = app.send_whatever(logout).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    line.mend().await;
    let started = Instant::now();
    while app.refresh_whatever(&ada.refresh).await.status != 401 {
        assert!(started.elapsed() < Duration::from_secs(30), "the refresh token lives on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The ways in which a token comes to this service, and whether it is good there. Where it is for something else, a good one
/// is a 403 and a refused one a 401.
async fn taken_at(app: &App, client: &Application, token: &str) -> Vec<(&'static str, bool)> {
    let by_header = async |method: Method, path: &str| app.call(method, path, token).await.status != 401;
    let form = app.request(Method::POST, "/oauth2/userinfo").form(&[("access_token", token)]);
    let introspected = app.request(Method::POST, "/oauth2/introspect").form(&[("token", token)]);
    let introspected = introspected.basic_auth(&client.id, Some(&client.secret));
    let exchange =
        [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN), ("scope", "cart")];
    vec![
        ("/auth/me", by_header(Method::GET, "/auth/me").await),
        ("/admin/users", by_header(Method::GET, "/admin/users").await),
        ("GET /oauth2/userinfo", by_header(Method::GET, "/oauth2/userinfo").await),
        ("POST /oauth2/userinfo", by_header(Method::POST, "/oauth2/userinfo").await),
        ("POST /oauth2/userinfo, in the form", app.send(form).await.status != 401),
        ("/oauth2/introspect", app.send(introspected).await.body["active"] == json!(true)),
        ("a token exchange", client.token(app, &exchange).await.status == 200),
    ]
}

async fn every_endpoint_refuses(app: App) {
    let grants = json!(["authorization_code", EXCHANGE]);
    let metadata = json!({"client_id": "order-service", "grant_types": grants, "token_exchange_scope": "cart"});
    let client = Application { id: "order-service".to_owned(), ..Application::register(&app, metadata).await };
    let good = app.somebody().await;
    for why in ["a logout", "the token was taken back", "a new password"] {
        let ada = app.somebody().await;
        let taken = taken_at(&app, &client, &ada.access).await;
        assert!(taken.iter().all(|(_, is_taken)| *is_taken), "{taken:?}");
        match why {
            "a logout" => assert_eq!(app.call(Method::POST, "/auth/logout", &ada.access).await.status, 204),
            "a new password" => {
                let other = Held::at(&app, &ada.email, PASSWORD).await;
                assert!([200, 204].contains(&change_password(&app, &other).await.status));
            }
            _ => {
                let id = u128::from_str_radix(claims(&ada.access)["jti"].as_str().unwrap(), 16).unwrap();
                app.service.sessions.revoke_token(ada.id, id).await.unwrap();
            }
        }
        app.is_refused(&ada.access).await;
        let taken = taken_at(&app, &client, &ada.access).await;
        assert!(taken.iter().all(|(_, is_taken)| !*is_taken), "{why}: {taken:?}");
    }
    assert!(taken_at(&app, &client, &good.access).await.iter().all(|(_, is_taken)| *is_taken), "others go on");
}

async fn hv4_every_endpoint_refuses_what_was_taken_back(app: App) {
    every_endpoint_refuses(app).await;
}

async fn hv4_every_endpoint_refuses_what_the_feed_tells(app: App) {
    every_endpoint_refuses(app).await;
}

async fn hv4_every_endpoint_refuses_what_the_list_says(app: App) {
    every_endpoint_refuses(app).await;
}

async fn change_password(app: &App, held: &Held) -> Answer {
    let body = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
    held.send(app, Method::POST, "/auth/password", Some(body)).await
}

async fn new_password_ends_other_tokens(app: &App) {
    let other = Held::new(app).await;
    let held = Held::at(app, &other.email, PASSWORD).await;
    let answer = change_password(app, &held).await;
    assert_eq!((answer.status, &answer.body["other_access_tokens_end_within"]), (200, &json!(0)), "{}", answer.text);
    other.is_over(app, "the other session").await;
    held.is_over(app, "the tokens of before").await;
    let new = answer.body["access_token"].as_str().unwrap();
    assert_eq!(app.get("/auth/me", new).await.status, 200, "this session goes on");
    assert_eq!(answer.body["session_id"], json!(held.session));
    assert_eq!(app.refresh(answer.body["refresh_token"].as_str().unwrap()).await.status, 200);
}

async fn hv5_a_new_password_ends_the_tokens_of_the_other_sessions_by_the_feed(app: App) {
    new_password_ends_other_tokens(&app).await;
}

async fn hv5_a_new_password_ends_the_tokens_of_the_other_sessions_by_the_list(app: App) {
    new_password_ends_other_tokens(&app).await;
}

async fn hv5_where_nothing_is_told_the_answer_says_how_long_other_tokens_live(app: App) {
    let other = Held::new(&app).await;
    let held = Held::at(&app, &other.email, PASSWORD).await;
    let answer = change_password(&app, &held).await;
    assert_eq!((answer.status, &answer.body["other_access_tokens_end_within"]), (200, &json!(300)), "{}", answer.text);
    let (access, refresh) = other.tokens.as_ref().unwrap();
    assert_eq!(app.get("/auth/me", access).await.status, 200);
    assert_eq!(app.refresh(refresh).await.status, 401);
    app.clock.advance(Duration::from_secs(301));
    assert_eq!(app.get("/auth/me", access).await.status, 401);
}

async fn hv5_a_new_password_gives_this_browser_a_new_cookie(app: App) {
    let other = Held::new(&app).await;
    let held = Held::at(&app, &other.email, PASSWORD).await;
    let answer = change_password(&app, &held).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    other.is_over(&app, "the other session").await;
    held.is_over(&app, "the cookie of before").await;
    let renewed = Held { cookie: Some(cookie), ..held };
    assert!(renewed.is_taken(&app).await, "this session goes on");
}
