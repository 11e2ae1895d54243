//! Whichever way a session ends, the same ends with it: each way is held against each consequence.

use std::time::Duration;

use auth_service::refresh_token::RefreshToken;
use auth_service::roles::Roles;
use auth_service::storage::audit::By;
use auth_service::storage::outbox::{self, Which};
use auth_service::storage::{grants, users};
use auth_service::{accounts, end_session};
use reqwest::Method;
use serde_json::{Value, json};
use shared::session::{EndReason, SessionId};
use shared::token::PLATFORM_CLIENT;

use crate::back_channel::{Ears, claims, wait_for};
use crate::browser::{Application, Begun, Browser};
use crate::command_line::program;
use crate::faults::Line;
use crate::harness::{App, PASSWORD, Person, Place, all, on_both};

on_both!(
    a_logout_with_an_access_token_ends_everything,
    a_logout_of_an_applications_ends_everything,
    a_logout_on_the_page_that_asks_ends_everything,
    a_logout_on_a_page_of_this_service_ends_everything,
    a_session_that_is_ended_from_another_ends_everything,
    a_logout_everywhere_ends_everything,
    a_new_password_ends_everything,
    other_roles_end_everything,
    a_lock_ends_everything,
    an_administrator_who_ends_a_session_ends_everything,
    an_operator_who_ends_a_session_ends_everything,
    a_stolen_refresh_token_ends_everything,
    the_limit_of_sessions_ends_everything with |config: &mut auth_service::Config| config.sessions.limit.max = 2,
    another_person_in_the_same_browser_ends_everything,
    a_session_that_was_not_seen_for_too_long_ends_everything,
    a_session_that_is_as_old_as_it_may_be_ends_everything,
    a_change_of_the_account_whose_process_died_ends_everything,
    a_session_whose_end_nobody_finished_ends_everything,
    c22_a_code_is_never_good_after_the_end_however_close_they_are,
);

/// A person who signed in at an application by their browser; and what that gave.
struct Scene {
    app: App,
    person: Person,
    browser: Browser,
    client: Application,
    ears: Ears,
    session: SessionId,
    tokens: Value,
    /// A code that nobody has exchanged yet.
    waiting: (Begun, String),
    /// A request that waits for the person.
    flow: String,
}

impl Scene {
    async fn begin(app: App) -> Self {
        let ears = Ears::open().await;
        let client = Application::register(
            &app,
            json!({
                "first_party": true,
                "backchannel_logout_uri": ears.url,
                "post_logout_redirect_uris": ["https://app.example/bye"],
            }),
        )
        .await;
        let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
        let answer = app.post("/auth/register", json!({"email": email, "password": PASSWORD})).await;
        let id = answer.body["id"].as_str().unwrap().parse().unwrap();
        let person = Person { id, email, access: String::new(), refresh: String::new(), session: String::new() };
        let mut browser = Browser::default();
        browser.sign_in(&app, &person, PASSWORD).await;
        let begun = client.begin(&[("scope", "openid account")]);
        let code = begun.go(&app, &mut browser).await.query("code");
        let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
        let session = claims(tokens["access_token"].as_str().unwrap())["sid"].as_str().unwrap().parse().unwrap();
        let waiting = client.begin(&[]);
        let code = waiting.go(&app, &mut browser).await.query("code");
        let asks = client.begin(&[("prompt", "select_account")]).go(&app, &mut browser).await;
        assert_eq!(asks.location().path(), "/select-account");
        let flow = asks.query("flow");
        let scene = Self { app, person, browser, client, ears, session, tokens, waiting: (waiting, code), flow };
        scene.is_alive().await;
        scene
    }

    fn access(&self) -> &str {
        self.tokens["access_token"].as_str().unwrap()
    }

    fn refresh(&self) -> &str {
        self.tokens["refresh_token"].as_str().unwrap()
    }

    /// The same person, signed in elsewhere.
    async fn elsewhere(&self) -> Person {
        self.app.sign_in(&self.person.email, PASSWORD).await
    }

    async fn introspect(&self, token: &str) -> Value {
        let request = self.app.request(Method::POST, "/oauth2/introspect");
        let request = request.basic_auth(&self.client.id, Some(&self.client.secret)).form(&[("token", token)]);
        self.app.send(request).await.body
    }

    async fn is_alive(&self) {
        assert_eq!(self.app.get("/auth/me", self.access()).await.status, 200);
        assert_eq!(self.introspect(self.access()).await["active"], true);
        assert_eq!(self.introspect(self.refresh()).await["active"], true);
        assert_eq!(self.open_grants().await, 1);
        assert!(self.ears.told().is_empty());
    }

    async fn open_grants(&self) -> usize {
        grants::open_of_session(&self.app.service.database, self.session).await.unwrap().len()
    }

    /// All that must have come of it.
    async fn everything_has_ended(&mut self) {
        let app = &self.app;
        wait_for("the end of the grants", async || self.open_grants().await == 0).await;
        assert!(app.service.sessions.load(self.session).await.unwrap().is_none(), "the session");
        app.is_refused(self.access()).await;
        assert_eq!(app.get("/oauth2/userinfo", self.access()).await.status, 401, "the access token at userinfo");
        assert_eq!(self.introspect(self.access()).await, json!({"active": false}));
        assert_eq!(self.introspect(self.refresh()).await, json!({"active": false}));
        assert_eq!(self.client.refresh(app, self.refresh()).await.error(), "invalid_grant", "the refresh token");
        let (begun, code) = &self.waiting;
        assert_eq!(self.client.exchange(app, code, &begun.verifier).await.error(), "invalid_grant", "the code");
        assert_eq!(self.open_grants().await, 0, "what a code that came too late left");

        let told = self.ears.hears(1).await;
        let told = claims(&told[0]);
        assert_eq!((&told["sid"], &told["sub"]), (&json!(self.session), &json!(self.person.id)), "the client");
        wait_for("an empty outbox", async || {
            outbox::page(&app.service.database, Which::All, None, 9).await.unwrap().is_empty()
        })
        .await;
        assert_eq!(self.ears.told().len(), 1, "once");
    }

    /// And the browser is nobody's.
    async fn nobody_is_signed_in(&mut self) {
        let silent = self.client.begin(&[("prompt", "none")]).go(&self.app, &mut self.browser).await;
        assert_eq!(silent.query("error"), "login_required");
        let path = format!("/oauth2/authorize?flow={}", self.flow);
        let waited = self.browser.get(&self.app, &path).await;
        // One that waited for too long is over.
        assert!(waited.status == 400 || waited.location().path() == "/sign-in", "the request that waited");
    }

    async fn all_has_ended(mut self) {
        self.everything_has_ended().await;
        self.nobody_is_signed_in().await;
    }
}

async fn a_logout_with_an_access_token_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    assert_eq!(scene.app.call(Method::POST, "/auth/logout", scene.access()).await.status, 204);
    scene.all_has_ended().await;
}

async fn a_logout_of_an_applications_ends_everything(app: App) {
    let mut scene = Scene::begin(app).await;
    let path = format!("/oauth2/logout?id_token_hint={}", scene.tokens["id_token"].as_str().unwrap());
    assert_eq!(scene.browser.get(&scene.app, &path).await.location().path(), "/signed-out");
    scene.all_has_ended().await;
}

async fn a_logout_on_the_page_that_asks_ends_everything(app: App) {
    let mut scene = Scene::begin(app).await;
    let asked = scene.browser.get(&scene.app, "/oauth2/logout").await;
    let answer = scene.browser.submit(&scene.app, &asked, &[]).await;
    assert_eq!(answer.location().path(), "/signed-out");
    scene.all_has_ended().await;
}

async fn a_logout_on_a_page_of_this_service_ends_everything(app: App) {
    let mut scene = Scene::begin(app).await;
    let answer = scene.browser.submit_to(&scene.app, "/account", "/sign-out", &[]).await;
    assert_eq!(answer.location().path(), "/signed-out");
    scene.all_has_ended().await;
}

async fn a_session_that_is_ended_from_another_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    let elsewhere = scene.elsewhere().await;
    let path = format!("/auth/sessions/{}", scene.session);
    assert_eq!(scene.app.call(Method::DELETE, &path, &elsewhere.access).await.status, 204);
    assert_eq!(scene.app.get("/auth/me", &elsewhere.access).await.status, 200, "the other one goes on");
    scene.all_has_ended().await;
}

async fn a_logout_everywhere_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    let elsewhere = scene.elsewhere().await;
    assert_eq!(scene.app.call(Method::POST, "/auth/logout-all", &elsewhere.access).await.status, 200);
    scene.all_has_ended().await;
}

async fn a_new_password_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    let elsewhere = scene.elsewhere().await;
    let change = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
    let request = scene.app.request(Method::POST, "/auth/password").bearer_auth(&elsewhere.access).json(&change);
    assert_eq!(scene.app.send(request).await.status, 204);
    assert_eq!(scene.app.get("/auth/me", &elsewhere.access).await.status, 200, "the one that changed it goes on");
    scene.all_has_ended().await;
}

async fn other_roles_end_everything(app: App) {
    let scene = Scene::begin(app).await;
    let admin = scene.app.administrator().await;
    let path = format!("/admin/users/{}/roles", scene.person.id);
    let request = scene.app.request(Method::PUT, &path).bearer_auth(&admin.access);
    assert_eq!(scene.app.send(request.json(&json!({"roles": ["user", "auditor"]}))).await.status, 200);
    scene.all_has_ended().await;
}

async fn a_lock_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    let admin = scene.app.administrator().await;
    let path = format!("/admin/users/{}/lock", scene.person.id);
    assert_eq!(scene.app.call(Method::POST, &path, &admin.access).await.status, 200);
    scene.all_has_ended().await;
}

async fn an_administrator_who_ends_a_session_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    let admin = scene.app.administrator().await;
    let path = format!("/admin/sessions/{}", scene.session);
    assert_eq!(scene.app.call(Method::DELETE, &path, &admin.access).await.status, 204);
    scene.all_has_ended().await;
}

async fn an_operator_who_ends_a_session_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    if scene.app.place.redis_url.is_some() {
        let (done, text) = program(Some(&scene.app.place), &["sessions", "end", &scene.person.email], "");
        assert!(done && text.contains("1 session(s) ended"), "{text}");
    } else {
        // The program would have a memory of its own.
        let (reason, by) = (EndReason::EndedByAdministrator, By::COMMAND_LINE);
        end_session::end_all(&scene.app.service, scene.person.id, None, reason, &by).await.unwrap();
    }
    scene.all_has_ended().await;
}

async fn a_stolen_refresh_token_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    let own = |generation| {
        let client = PLATFORM_CLIENT.to_owned();
        scene.app.service.refresh_tokens.write(&RefreshToken { session: scene.session, client, generation })
    };
    for generation in [1, 2] {
        let answer = scene.app.refresh(&own(generation)).await;
        assert_eq!((answer.status, &answer.body["refresh_token"]), (200, &json!(own(generation + 1))));
    }
    assert_eq!(scene.app.refresh(&own(1)).await.code(), "invalid_refresh_token");
    scene.all_has_ended().await;
}

async fn the_limit_of_sessions_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    scene.elsewhere().await;
    scene.elsewhere().await;
    scene.all_has_ended().await;
}

async fn another_person_in_the_same_browser_ends_everything(app: App) {
    let mut scene = Scene::begin(app).await;
    let other = scene.app.somebody().await;
    scene.browser.sign_in(&scene.app, &other, PASSWORD).await;
    scene.everything_has_ended().await;
    let tokens = scene.client.tokens(&scene.app, &mut scene.browser).await;
    assert_eq!(claims(tokens["access_token"].as_str().unwrap())["sub"], json!(other.id));
}

async fn a_session_that_was_not_seen_for_too_long_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    scene.app.clock.advance(scene.app.service.rules.idle_ttl + Duration::from_secs(1));
    scene.all_has_ended().await;
}

async fn a_session_that_is_as_old_as_it_may_be_ends_everything(app: App) {
    let mut scene = Scene::begin(app).await;
    let step = scene.app.service.rules.idle_ttl - Duration::from_secs(3600);
    let mut age = Duration::ZERO;
    while age + step < scene.app.service.rules.absolute_ttl {
        scene.app.clock.advance(step);
        age += step;
        let answer = scene.client.refresh(&scene.app, scene.refresh()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        scene.tokens = answer.body;
    }
    assert_eq!(scene.open_grants().await, 1);
    assert!(scene.ears.told().is_empty());
    scene.app.clock.advance(scene.app.service.rules.absolute_ttl - age + Duration::from_secs(1));
    scene.all_has_ended().await;
}

async fn a_change_of_the_account_whose_process_died_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    let mut transaction = scene.app.service.database.begin().await.unwrap();
    // What a change leaves behind whose process died right after its commit.
    users::set_roles(&mut transaction, scene.person.id, &Roles::new(["user", "auditor"]).unwrap()).await.unwrap();
    transaction.commit().await.unwrap();
    scene.all_has_ended().await;
}

async fn a_session_whose_end_nobody_finished_ends_everything(app: App) {
    let scene = Scene::begin(app).await;
    // What a process leaves behind that died right after the session store had ended the session.
    scene.app.service.sessions.end(scene.session, EndReason::Logout).await.unwrap();
    scene.app.is_refused(scene.access()).await;
    scene.app.clock.advance(end_session::LOOK_EVERY);
    scene.all_has_ended().await;
}

async fn c22_a_code_is_never_good_after_the_end_however_close_they_are(app: App) {
    for _ in 0..10 {
        let person = app.somebody().await;
        let client = Application::first_party(&app).await;
        let mut browser = Browser::default();
        browser.sign_in(&app, &person, PASSWORD).await;
        let mut codes = Vec::new();
        for _ in 0..4 {
            let begun = client.begin(&[("scope", "openid account")]);
            codes.push((begun.go(&app, &mut browser).await.query("code"), begun.verifier));
        }
        let exchanges = codes.iter().map(|(code, verifier)| client.exchange(&app, code, verifier));
        let by = By::COMMAND_LINE;
        let (answers, ended) = tokio::join!(all(exchanges), accounts::lock(&app.service, person.id, &by));
        ended.unwrap();
        for answer in answers.into_iter().filter(|answer| answer.status == 200) {
            app.is_refused(answer.body["access_token"].as_str().unwrap()).await;
            let refresh = answer.body["refresh_token"].as_str().unwrap();
            assert_eq!(client.refresh(&app, refresh).await.error(), "invalid_grant");
        }
        let open = grants::open_of_user(&app.service.database, person.id).await.unwrap();
        assert!(open.is_empty(), "{open:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_while_the_database_is_away_reaches_the_client_when_it_is_back() {
    let Some(mut place) = Place::on_servers().await else { return };
    let (line, url) = Line::in_front_of(&place.database_url).await;
    place.database_url = url;
    let scene = Scene::begin(App::start(place, |_| {}).await).await;
    line.cut().await;
    let logout = scene.app.request(Method::POST, "/auth/logout").bearer_auth(scene.access());
    assert_eq!(scene.app.send(logout).await.status, 204, "nobody is kept signed in for it");
    assert!(scene.app.service.sessions.load(scene.session).await.unwrap().is_none());
    line.mend().await;
    scene.all_has_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_a_restart_has_lost_end_everything() {
    let scene = Scene::begin(App::embedded(|_| {}).await).await;
    let Scene { app, ears, session, person, .. } = scene;
    let config = app.place.config(&app.clock);
    // The store of before is gone with its process; the database is not.
    let place = app.stop().await;
    let again = auth_service::start(config).await.unwrap();
    let told = claims(&ears.hears(1).await[0]);
    assert_eq!((&told["sid"], &told["sub"]), (&json!(session), &json!(person.id)));
    let open = async || grants::open_of_session(&again.service.database, session).await.unwrap().len();
    wait_for("the end of the grants", async || open().await == 0).await;
    again.running.stop().await;
    drop(place);
}
