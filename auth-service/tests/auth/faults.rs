//! What happens when PostgreSQL or Redis does not answer: nothing is let through, nothing is lost, and all comes back.

use std::time::{Duration, Instant};

use auth_service::accounts;
use auth_service::roles::Roles;
use auth_service::storage::audit::By;
use auth_service::storage::users;
use reqwest::Method;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::browser::{Application, Browser};
use crate::harness::{ADMIN_EMAIL, Answer, App, PASSWORD, Place};

/// A line to a server that can be cut.
pub(crate) struct Line {
    address: std::net::SocketAddr,
    is_cut: watch::Sender<bool>,
    /// What the line does: it follows what it should.
    is_dead: watch::Receiver<bool>,
    _task: tokio_task::Aborting,
}

mod tokio_task {
    pub(super) struct Aborting(pub(super) tokio::task::JoinHandle<()>);

    impl Drop for Aborting {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
}

impl Line {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_cut, mut cut) = watch::channel(false);
        let (dead, is_dead) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    biased;
                    changed = cut.changed() => {
                        if changed.is_err() { return }
                        let is_cut = *cut.borrow_and_update();
                        if is_cut { connections.shutdown().await }
                        dead.send_replace(is_cut);
                    }
                    accepted = listener.accept() => {
                        let Ok((mut client, _)) = accepted else { continue };
                        if *cut.borrow() { continue }
                        let server = server.clone();
                        connections.spawn(async move {
                            let Ok(mut server) = TcpStream::connect(server).await else { return };
                            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                        });
                    }
                }
            }
        });
        Self { address, is_cut, is_dead, _task: tokio_task::Aborting(task) }
    }

    /// The same URL, through this line.
    pub(crate) async fn in_front_of(url: &str) -> (Self, String) {
        let mut url = url::Url::parse(url).unwrap();
        let default = if url.scheme() == "redis" { 6379 } else { 5432 };
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(default));
        let line = Self::to(server).await;
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(line.address.port())).unwrap();
        (line, url.into())
    }

    /// Whatever is sent from now on is lost.
    pub(crate) async fn cut(&self) {
        self.set(true).await;
    }

    pub(crate) async fn mend(&self) {
        self.set(false).await;
    }

    async fn set(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
        self.is_dead.clone().wait_for(|is_dead| *is_dead == is_cut).await.unwrap();
    }
}

/// Sends what may be answered with 503, until it is.
async fn until(status: u16, what: &str, send: impl AsyncFn() -> Answer) -> Answer {
    let started = Instant::now();
    loop {
        let answer = send().await;
        if answer.status == status {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{what} answers {} {}", answer.status, answer.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn post(app: &App, path: &str, body: serde_json::Value) -> Answer {
    app.send_whatever(app.request(Method::POST, path).json(&body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_nobody_signs_in_and_a_refresh_token_stays_good() {
    let Some(mut place) = Place::on_servers().await else { return };
    let (line, url) = Line::in_front_of(place.redis_url.as_deref().unwrap()).await;
    place.redis_url = Some(url);
    let app = App::start(place, |_| {}).await;
    let somebody = app.somebody().await;
    line.cut().await;
    let login = json!({"email": somebody.email, "password": PASSWORD});
    let refused = until(503, "a login", async || post(&app, "/auth/login", login.clone()).await).await;
    assert_eq!(refused.code(), "unavailable");
    assert!(refused.retry_after() > 0);
    assert!(!refused.text.to_lowercase().contains("redis"), "the cause stays inside: {}", refused.text);
    let hashed = app.service.hasher.computed();
    assert_eq!(post(&app, "/auth/login", login.clone()).await.status, 503);
    assert_eq!(app.service.hasher.computed(), hashed, "what cannot be counted is not tried");
    assert_eq!(post(&app, "/auth/refresh", json!({"refresh_token": somebody.refresh})).await.status, 503);
    assert_eq!(post(&app, "/auth/register", json!({"email": "x@example.com", "password": PASSWORD})).await.status, 503);
    let logout = app.request(Method::POST, "/auth/logout").bearer_auth(&somebody.access);
    assert_eq!(app.send_whatever(logout).await.status, 503, "an end that is not known to be one is not called one");
    let change = app.request(Method::POST, "/auth/password").bearer_auth(&somebody.access);
    let change = change.json(&json!({"current_password": PASSWORD, "new_password": "another horse battery"}));
    assert_eq!(app.send_whatever(change).await.status, 503, "a sensitive request is refused");
    assert_eq!(app.get("/auth/me", &somebody.access).await.status, 200, "an ordinary one goes on");
    let ready = reqwest::get(app.url("/readyz")).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("the session store"));

    line.mend().await;
    let again = async || post(&app, "/auth/refresh", json!({"refresh_token": somebody.refresh})).await;
    until(200, "a refresh", again).await;
    until(200, "a login", async || post(&app, "/auth/login", login.clone()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c10_a_token_that_could_not_be_taken_back_is_not_called_so() {
    let Some(mut place) = Place::on_servers().await else { return };
    let (line, url) = Line::in_front_of(place.redis_url.as_deref().unwrap()).await;
    place.redis_url = Some(url);
    let app = App::start(place, |_| {}).await;
    let (client, somebody) = (Application::first_party(&app).await, app.somebody().await);
    let mut browser = Browser::default();
    browser.sign_in(&app, &somebody, PASSWORD).await;
    let tokens = client.tokens(&app, &mut browser).await;
    let revoke = async |token: &str| {
        let request = app.request(Method::POST, "/oauth2/revoke").basic_auth(&client.id, Some(&client.secret));
        app.send_whatever(request.form(&[("token", token)])).await
    };
    let [access, refresh] = ["access_token", "refresh_token"].map(|name| tokens[name].as_str().unwrap());
    line.cut().await;
    let refused = until(503, "a revocation", async || revoke(refresh).await).await;
    assert_eq!((refused.error(), revoke(access).await.status), ("temporarily_unavailable", 503));
    line.mend().await;
    until(200, "a revocation", async || revoke(refresh).await).await;
    assert_eq!(client.refresh(&app, refresh).await.error(), "invalid_grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_nobody_signs_in_and_a_refresh_token_stays_good() {
    let Some(mut place) = Place::on_servers().await else { return };
    let (line, url) = Line::in_front_of(&place.database_url).await;
    place.database_url = url;
    let app = App::start(place, |_| {}).await;
    let somebody = app.somebody().await;
    line.cut().await;
    let login = json!({"email": somebody.email, "password": PASSWORD});
    let refused = until(503, "a login", async || post(&app, "/auth/login", login.clone()).await).await;
    assert!(!refused.text.to_lowercase().contains("postgres"), "{}", refused.text);
    assert_eq!(post(&app, "/auth/refresh", json!({"refresh_token": somebody.refresh})).await.status, 503);
    let sessions = app.get("/auth/sessions", &somebody.access).await;
    assert_eq!(sessions.status, 200, "what needs no database goes on");
    app.clock.advance(Duration::from_secs(60));

    line.mend().await;
    let again = async || post(&app, "/auth/refresh", json!({"refresh_token": somebody.refresh})).await;
    until(200, "a refresh, long after the grace", again).await;
    assert_eq!(app.service.sessions.list(somebody.id).await.unwrap().len(), 1, "no login is left that nobody knows of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_is_not_held_back_by_the_audit() {
    let Some(mut place) = Place::on_servers().await else { return };
    let (line, url) = Line::in_front_of(&place.database_url).await;
    place.database_url = url;
    let app = App::start(place, |_| {}).await;
    let admin = app.sign_in(ADMIN_EMAIL, crate::harness::ADMIN_PASSWORD).await;
    line.cut().await;
    let logout = app.request(Method::POST, "/auth/logout").bearer_auth(&admin.access);
    assert_eq!(app.send(logout).await.status, 204);
    assert!(app.service.sessions.list(admin.id).await.unwrap().is_empty());
}

/// F9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_cannot_be_written_down_does_not_happen() {
    let Some(app) = App::on_servers(|_| {}).await else { return };
    let somebody = app.somebody().await;
    let operator = sqlx::PgPool::connect(&app.place.database_url).await.unwrap();
    let mut lock = operator.begin().await.unwrap();
    sqlx::query("LOCK TABLE audit IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let login = json!({"email": somebody.email, "password": PASSWORD});
    let refused = post(&app, "/auth/login", login.clone()).await;
    assert_eq!((refused.status, refused.code()), (503, "unavailable"), "{}", refused.text);
    let live = app.service.sessions.list(somebody.id).await.unwrap();
    assert_eq!(live.len(), 1, "the session that had begun has ended");
    assert_eq!(live[0].id.to_string(), somebody.session);
    drop(lock);
    until(200, "a login", async || post(&app, "/auth/login", login.clone()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_a_change_of_roles_could_not_end_are_refused_and_end_by_themselves() {
    let Some(mut place) = Place::on_servers().await else { return };
    let (line, url) = Line::in_front_of(place.redis_url.as_deref().unwrap()).await;
    place.redis_url = Some(url);
    let app = App::start(place, |_| {}).await;
    let other = app.administrator().await;
    let demoted = app.somebody().await;
    let roles = |names: &[&str]| Roles::new(names.iter().copied()).unwrap();
    accounts::set_roles(&app.service, demoted.id, &roles(&["user", "admin"]), &By::COMMAND_LINE).await.unwrap();
    let demoted = app.sign_in(&demoted.email, PASSWORD).await;
    assert_eq!(app.get("/admin/users", &demoted.access).await.status, 200);

    // The change is made while no session can be ended, by a process that dies then: nobody repeats it.
    line.cut().await;
    let problem = accounts::set_roles(&app.service, demoted.id, &roles(&["user"]), &By::COMMAND_LINE).await;
    assert_eq!(problem.unwrap_err().code(), "sessions_not_ended");
    line.mend().await;

    let administers =
        async || app.send_whatever(app.request(Method::GET, "/admin/users").bearer_auth(&demoted.access)).await;
    until(401, "an administrator of before", administers).await;
    let promotes = app.request(Method::PUT, &format!("/admin/users/{}/roles", demoted.id)).bearer_auth(&demoted.access);
    assert_eq!(app.send_whatever(promotes.json(&json!({"roles": ["admin"]}))).await.status, 401);
    until(401, "an ordinary request", async || app.get("/auth/me", &demoted.access).await).await;
    assert_eq!(app.refresh(&demoted.refresh).await.status, 401);
    assert_eq!(app.get("/admin/users", &other.access).await.status, 200, "others go on");
    app.sign_in(&demoted.email, PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_is_refused_before_the_outdated_session_is_ended() {
    let app = App::embedded(|_| {}).await;
    let somebody = app.somebody().await;
    let mut transaction = app.service.database.begin().await.unwrap();
    // What a change leaves behind whose process died right after its commit.
    users::set_roles(&mut transaction, somebody.id, &Roles::new(["user", "auditor"]).unwrap()).await.unwrap();
    transaction.commit().await.unwrap();
    let refused = app.refresh_whatever(&somebody.refresh).await;
    assert_eq!((refused.status, refused.code()), (503, "account_changing"), "{}", refused.text);
    until(401, "a refresh", async || app.refresh_whatever(&somebody.refresh).await).await;
    app.is_refused(&somebody.access).await;
}
