//! Strangers who ask for everything that the service answers, again and again, with the largest input that it takes: what
//! they leave behind stays within the bound that docs/operations.md states for a network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use auth_service::Config;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use shared::key_value::ENTRY_COST;
use shared::testing::flood::{Flood, paths_in};
use shared::testing::tables;

use crate::anonymous_state::{ALL_NETWORKS, EACH, narrow, pairs, public_client, weighed};
use crate::browser::{Application, Browser, REDIRECT_URI};
use crate::dpop_tokens::Holder;
use crate::harness::{App, PASSWORD, Place, all};

const NETWORKS: [&str; 2] = ["192.0.2.1", "2001:db8:1:2::1"];
const ATTEMPTS: u64 = 10;
/// One page has its address from elsewhere in the sources.
const ASKS_TO_SIGN_OUT: &str = "/oauth2/logout/confirm";
/// Counters of attempts that a network can have: of each kind one, and of accounts and clients one for each attempt.
const COUNTERS: usize = 40;
/// Entries of the audit that a network can have in an hour: one for each kind of refusal.
const AUDIT: i64 = 40;

fn settings(config: &mut Config) {
    narrow(config);
    config.throttle.attempts_per_address = ATTEMPTS;
    config.throttle.registrations_per_address = ATTEMPTS;
}

fn paths() -> BTreeSet<String> {
    let mut paths = paths_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/endpoints"));
    paths.insert(ASKS_TO_SIGN_OUT.to_owned());
    paths
}

#[test]
fn hb8_no_page_is_left_out() {
    let named = include_str!("../../src/endpoints/mod.rs").matches("web::resource(").count();
    let literal = include_str!("../../src/endpoints/mod.rs").matches("web::resource(\"").count();
    assert_eq!(named - literal, 1, "a page whose address is not written out is named here");
    assert!(include_str!("../../src/endpoints/logout.rs").contains(ASKS_TO_SIGN_OUT));
    for page in ["/", "/sign-in", "/register", "/consent", "/device", "/account/applications", "/oauth2/authorize"] {
        assert!(paths().contains(page), "{page}");
    }
}

/// What the documents cannot tell: forms of the protocol that are good but for their sender, with all that they may hold.
struct Stranger<'a> {
    app: &'a App,
    client: &'a Application,
    holder: Holder,
}

impl Stranger<'_> {
    async fn round(&self, number: usize) -> BTreeMap<u16, usize> {
        let (app, client, address) = (self.app, self.client, NETWORKS[number % NETWORKS.len()]);
        let from_here = |request: RequestBuilder| request.header("x-forwarded-for", address);
        let post = |path: &str, fields: &[(&str, &str)]| from_here(app.request(Method::POST, path)).form(fields);
        let begun = client.begin(&[("acr_values", &"x".repeat(3_200)), ("state", &format!("state-{number}"))]);
        let huge = client.begin(&[("acr_values", &"x".repeat(60_000))]);
        let (id, email) = (format!("invented-{number}"), format!("invented-{number}@example.com"));
        let invented = [("client_id", &*id), ("client_secret", "x"), ("token", "x")];
        let code = [
            ("client_id", &*client.id),
            ("grant_type", "authorization_code"),
            ("code", &id),
            ("redirect_uri", REDIRECT_URI),
        ];
        let mut requests = vec![
            from_here(app.request(Method::GET, &begun.path())),
            post("/oauth2/authorize", &pairs(&begun.parameters, &[])),
            post("/oauth2/authorize", &pairs(&huge.parameters, &[])),
            post("/oauth2/par", &pairs(&begun.parameters, &[])),
            post("/oauth2/device_authorization", &[("client_id", &client.id), ("scope", "openid cart")]),
            post("/oauth2/logout", &[("state", &"s".repeat(2_000)), ("ui_locales", "en")]),
            post("/oauth2/token", &code).header("dpop", self.holder.token_proof(app)),
            from_here(app.request(Method::POST, "/auth/login")).json(&json!({"email": email, "password": PASSWORD})),
        ];
        let ends =
            ["/oauth2/token", "/oauth2/par", "/oauth2/device_authorization", "/oauth2/revoke", "/oauth2/introspect"];
        requests.extend(ends.map(|path| post(path, &invented)));
        let mut answers = BTreeMap::new();
        for request in requests {
            let answer = app.send(request).await;
            *answers.entry(answer.status).or_default() += 1;
            if answer.status == 303 {
                // Where it is sent on to, twice.
                for _ in 0..2 {
                    let location = answer.location();
                    let path = &location[url::Position::BeforePath..];
                    app.send(from_here(app.request(Method::GET, path))).await;
                }
            }
        }
        answers
    }
}

/// Several thousand requests from two networks, then a few from each of many more.
async fn flood(app: &App, client: &Application, rounds: usize) {
    let hints =
        [("client_id", json!(client.id)), ("redirect_uri", json!(REDIRECT_URI)), ("response_type", json!("code"))];
    let flood = Flood::new(&app.url(""), app.api(), &paths(), &hints)
        .with_form("/sign-in", "/sign-in", &[("email", "ada@example.com"), ("password", "a wrong password")])
        .with_form("/register", "/register", &[("email", "eve@example.com"), ("password", "x")]);
    let stranger = Stranger { app, client, holder: Holder::new() };
    let asked = flood.run(rounds * 10, &NETWORKS).await;
    let mut answers = BTreeMap::<u16, usize>::new();
    for begin in (0..rounds).step_by(16) {
        for (status, count) in all((begin..begin + 16).map(|number| stranger.round(number))).await.into_iter().flatten()
        {
            *answers.entry(status).or_default() += count;
        }
    }
    assert!(answers[&201] > 5 && answers[&429] > 200, "the budget was never spent, so this shows nothing: {answers:?}");
    assert!(asked[&400] > rounds / 4 && asked[&401] > rounds, "{asked:?}");
    // Whoever has many networks has no more than the budget of all of them.
    let push = |number: usize| {
        let begun = client.begin(&[("acr_values", &"x".repeat(3_200))]);
        let request =
            app.request(Method::POST, "/oauth2/par").header("x-forwarded-for", format!("198.51.100.{number}"));
        app.send(request.form(&begun.parameters))
    };
    let last = all((1..120).map(push)).await;
    assert!(last.iter().filter(|answer| answer.status == 429).count() > 60, "the budget of all was never spent");
}

/// The most that two networks, and then all, may leave behind: their budget, and counters of attempts. The last part's
/// networks have a counter each, for which they pay.
fn bound() -> usize {
    usize::try_from(ALL_NETWORKS + EACH).unwrap() + COUNTERS * NETWORKS.len() * ENTRY_COST
}

async fn tables_stay_small(app: &App, before: &BTreeMap<String, i64>) {
    let networks = i64::try_from(NETWORKS.len()).unwrap();
    for (table, rows) in tables::rows(&app.service.database).await {
        let most = match table.as_str() {
            "users" => networks * i64::try_from(ATTEMPTS).unwrap(),
            "audit" => networks * AUDIT,
            _ => 0,
        };
        let grown = rows - before[&table];
        assert!(grown <= most, "{table} has {grown} rows more, and may have {most}");
    }
}

/// The limit that stops strangers lets those in who are known.
async fn people_go_on(app: &App) {
    let (person, client) = (app.somebody().await, Application::first_party(app).await);
    let mut browser = Browser::default();
    browser.sign_in(app, &person, PASSWORD).await;
    client.tokens(app, &mut browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hb8_whatever_strangers_ask_for_the_memory_holds_no_more_than_the_bound() {
    let (app, held) = weighed(settings).await;
    let client = public_client(&app).await;
    let (before, rows) = (held.bytes(), tables::rows(&app.service.database).await);
    flood(&app, &client, 160).await;
    let grown = held.bytes() - before;
    assert!(grown <= bound(), "{grown} bytes in {} entries, and {} were the bound", held.entries(), bound());
    let sessions = app.service.sessions.online(None, 100).await.unwrap().sessions.len();
    assert!(sessions <= NETWORKS.len() * usize::try_from(ATTEMPTS).unwrap(), "{sessions} sessions");
    tables_stay_small(&app, &rows).await;
    people_go_on(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hb8_whatever_strangers_ask_for_redis_holds_no_more_than_the_bound() {
    let Some(redis) = e2e::servers::redis_for_test() else { return };
    let app = App::start(Place::on_redis(redis.url()), settings).await;
    let client = public_client(&app).await;
    let rows = tables::rows(&app.service.database).await;
    // What each key takes, by Redis' own word.
    let held = || {
        let sum = "EVAL \"local sum = 0 for _, key in ipairs(redis.call('KEYS', '*')) do \
                   sum = sum + redis.call('MEMORY', 'USAGE', key) end return sum\" 0";
        redis.ask(sum).unwrap().trim_start_matches(':').parse::<usize>().unwrap()
    };
    let before = held();
    flood(&app, &client, 80).await;
    let (grown, keys) = (held() - before, redis.ask("DBSIZE").unwrap());
    assert!(grown <= bound(), "{grown} bytes in {keys} keys, and {} were the bound", bound());
    tables_stay_small(&app, &rows).await;
    people_go_on(&app).await;
}
