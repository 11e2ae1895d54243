//! Clients are told that a session has ended: what they are told, when, and what becomes of those that do not listen.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auth_service::clients::{self, registry};
use auth_service::storage::audit::By;
use auth_service::storage::grants::StoredSession;
use auth_service::storage::outbox::{self, Which};
use auth_service::{Started, end_session, grants};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use reqwest::Method;
use serde_json::{Value, json};
use shared::session::{EndReason, SessionId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::browser::{Application, Browser};
use crate::harness::{App, PASSWORD, Person, Place, all, on_both};

on_both!(
    c18_a_client_hears_of_the_end_of_a_session_at_once_and_once,
    a_logout_token_is_signed_as_the_clients_id_tokens_are,
    a_client_without_an_address_is_told_nothing,
    c18_a_client_that_does_not_listen_is_told_again_and_at_last_waits_for_an_administrator with |config: &mut auth_service::Config| config.back_channel.attempts = 3,
    c18_a_client_that_refuses_a_logout_token_is_not_told_again_and_waits_for_an_administrator,
    c18_a_slow_client_holds_up_neither_the_user_nor_another_client,
    hb6_slow_clients_that_registered_themselves_leave_room_for_those_of_administrators,
    a_redirection_is_not_followed with |config: &mut auth_service::Config| config.back_channel.attempts = 1,
    an_address_inside_that_only_the_client_has_named_is_not_called with |config: &mut auth_service::Config| config.back_channel.attempts = 1,
    a_consent_that_is_taken_back_signs_the_user_out_at_the_client,
    a_client_that_is_deleted_is_told,
    word_that_was_left_goes_to_where_the_client_is_now with |config: &mut auth_service::Config| config.back_channel.attempts = 1,
    only_administrators_see_and_repeat_what_was_not_delivered,
);

/// How a client answers.
#[derive(Clone)]
pub(crate) enum Manner {
    Status(u16),
    /// It takes the token, and never answers.
    Silence,
    RedirectsTo(String),
}

/// A client's address for logout tokens, on a free port.
pub(crate) struct Ears {
    pub(crate) url: String,
    told: Arc<Mutex<Vec<String>>>,
    manner: Arc<Mutex<Manner>>,
    open: Arc<AtomicUsize>,
    _listening: JoinSet<()>,
}

impl Ears {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/backchannel-logout?tenant=1", listener.local_addr().unwrap());
        let (told, manner, open) =
            (Arc::default(), Arc::new(Mutex::new(Manner::Status(200))), Arc::new(AtomicUsize::new(0)));
        let mut listening = JoinSet::new();
        let parts: (Arc<Mutex<Vec<String>>>, _, _) = (Arc::clone(&told), Arc::clone(&manner), Arc::clone(&open));
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (told, manner, open) = parts.clone();
                connections.spawn(async move {
                    open.fetch_add(1, Ordering::SeqCst);
                    let _ = hear(stream, &told, &manner).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { url, told, manner, open, _listening: listening }
    }

    pub(crate) fn answer(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// The logout tokens that it got, in order.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until it was told so often.
    pub(crate) async fn hears(&self, times: usize) -> Vec<String> {
        wait_for("a logout token", async || self.told().len() >= times).await;
        self.told()
    }
}

/// Reads one request, and answers it.
async fn hear(mut stream: TcpStream, told: &Mutex<Vec<String>>, manner: &Mutex<Manner>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await?;
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if count == 0 {
                return Ok(());
            }
            continue;
        };
        let length = head
            .to_lowercase()
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next().and_then(|length| length.parse::<usize>().ok()));
        if body.len() >= length.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let form: Vec<_> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let is_good = head.starts_with("POST /backchannel-logout?tenant=1 HTTP/1.1\r\n")
        && head.to_lowercase().contains("content-type: application/x-www-form-urlencoded")
        && form.len() == 1
        && form[0].0 == "logout_token";
    told.lock().unwrap().push(if is_good { form[0].1.clone() } else { format!("odd: {head}\n{body}") });
    let manner = manner.lock().unwrap().clone();
    let answer = match manner {
        Manner::Status(status) => format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        Manner::RedirectsTo(url) => {
            format!("HTTP/1.1 307 X\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Manner::Silence => {
            let _ = stream.read(&mut [0; 1]).await;
            return Ok(());
        }
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

pub(crate) async fn wait_for(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(20), "{what} does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn signed_in(app: &App) -> (Browser, Person) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(app, &person, PASSWORD).await;
    (browser, person)
}

pub(crate) fn claims(jwt: &str) -> Value {
    let payload = jwt.split('.').nth(1).unwrap_or_else(|| panic!("no token: {jwt}"));
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

pub(crate) async fn application(app: &App, ears: &Ears) -> Application {
    Application::register(app, json!({"first_party": true, "backchannel_logout_uri": ears.url})).await
}

fn session_of(tokens: &Value) -> SessionId {
    claims(tokens["access_token"].as_str().unwrap())["sid"].as_str().unwrap().parse().unwrap()
}

async fn end(app: &App, tokens: &Value) {
    end_session::end(&app.service, session_of(tokens), EndReason::Logout, &By::SERVICE).await.unwrap().unwrap();
}

/// What waits or is dead, as an administrator sees it.
async fn deliveries(app: &App, admin: &Person, state: &str) -> Vec<Value> {
    let answer = app.get(&format!("/admin/logout-deliveries?state={state}"), &admin.access).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body["items"].as_array().unwrap().clone()
}

async fn nothing_is_left(app: &App) {
    wait_for("an empty outbox", async || {
        outbox::page(&app.service.database, Which::All, None, 9).await.unwrap().is_empty()
    })
    .await;
}

async fn c18_a_client_hears_of_the_end_of_a_session_at_once_and_once(app: App) {
    let ears = Ears::open().await;
    let client = application(&app, &ears).await;
    let (mut browser, person) = signed_in(&app).await;
    let tokens = client.tokens(&app, &mut browser).await;
    let again = client.tokens(&app, &mut browser).await;
    assert_eq!(session_of(&tokens), session_of(&again), "it was given something twice in one session");
    end(&app, &tokens).await;
    let token = ears.hears(1).await.remove(0);
    let header = decode_header(&token).unwrap();
    assert_eq!((header.typ.as_deref(), header.alg), (Some("logout+jwt"), jsonwebtoken::Algorithm::RS256));
    let told = verified(&app, &token, &client.id).await;
    let mut names: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["aud", "events", "exp", "iat", "iss", "jti", "sid", "sub"], "and no nonce");
    assert_eq!(told["iss"], app.service.issuer);
    assert_eq!((&told["aud"], &told["sub"]), (&json!(client.id), &json!(person.id)));
    assert_eq!(told["sid"], claims(tokens["id_token"].as_str().unwrap())["sid"]);
    assert_eq!(told["events"], json!({"http://schemas.openid.net/event/backchannel-logout": {}}));
    assert_eq!(told["exp"].as_i64().unwrap() - told["iat"].as_i64().unwrap(), 120);
    assert!((app.service.clock.now().seconds() - told["iat"].as_i64().unwrap()).abs() < 60);
    assert!(told["jti"].as_str().unwrap().len() >= 22);

    // Nobody takes it for another token.
    assert_eq!(app.get("/oauth2/userinfo", &token).await.status, 401);
    let hint = client.begin(&[("id_token_hint", &token), ("prompt", "none")]).go(&app, &mut browser).await;
    assert_eq!(hint.query("error"), "invalid_request");

    nothing_is_left(&app).await;
    end_session::end(&app.service, session_of(&tokens), EndReason::Logout, &By::SERVICE).await.unwrap();
    nothing_is_left(&app).await;
    assert_eq!(ears.told().len(), 1, "nobody is told twice");
}

/// The claims, by the published keys alone.
async fn verified(app: &App, token: &str, client: &str) -> Value {
    let keys = app.send(app.request(Method::GET, "/.well-known/jwks.json")).await.body;
    let keys: JwkSet = serde_json::from_value(keys).unwrap();
    let header = decode_header(token).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[&app.service.issuer]);
    validation.set_audience(&[client]);
    validation.validate_exp = false;
    decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims
}

async fn a_logout_token_is_signed_as_the_clients_id_tokens_are(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let mut heard = Vec::new();
    let mut tokens = Value::Null;
    for alg in ["EdDSA", "ES256", "RS256"] {
        let ears = Ears::open().await;
        let changes =
            json!({"first_party": true, "backchannel_logout_uri": ears.url, "id_token_signed_response_alg": alg});
        let client = Application::register(&app, changes).await;
        tokens = client.tokens(&app, &mut browser).await;
        heard.push((alg, client, ears));
    }
    end(&app, &tokens).await;
    for (alg, client, ears) in heard {
        let token = ears.hears(1).await.remove(0);
        assert_eq!(format!("{:?}", decode_header(&token).unwrap().alg), alg);
        verified(&app, &token, &client.id).await;
    }
}

async fn a_client_without_an_address_is_told_nothing(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    let tokens = client.tokens(&app, &mut browser).await;
    end(&app, &tokens).await;
    assert!(outbox::page(&app.service.database, Which::All, None, 9).await.unwrap().is_empty());
}

async fn c18_a_client_that_does_not_listen_is_told_again_and_at_last_waits_for_an_administrator(app: App) {
    let admin = app.administrator().await;
    let ears = Ears::open().await;
    ears.answer(Manner::Status(503));
    let client = application(&app, &ears).await;
    let (mut browser, person) = signed_in(&app).await;
    let tokens = client.tokens(&app, &mut browser).await;
    end(&app, &tokens).await;
    for attempt in 1..=3 {
        ears.hears(attempt).await;
        wait_for("the failure", async || {
            let found = outbox::page(&app.service.database, Which::All, None, 9).await.unwrap().remove(0);
            found.attempts == i64::try_from(attempt).unwrap()
                && found.last_error.as_deref() == Some("status 503")
                && (found.dead_at.is_some() == (attempt == 3))
        })
        .await;
        if attempt < 3 {
            let waiting = deliveries(&app, &admin, "waiting").await;
            assert_eq!(
                (&waiting[0]["client_id"], &waiting[0]["last_error"]),
                (&json!(client.id), &json!("status 503"))
            );
            assert!(waiting[0]["next_at"].is_string() && waiting[0]["dead_at"].is_null());
            app.clock.advance(Duration::from_secs(4));
        }
    }
    app.clock.advance(Duration::from_secs(3600));
    let admin =
        if app.get("/admin/audit", &admin.access).await.status == 401 { app.administrator().await } else { admin };
    assert!(deliveries(&app, &admin, "waiting").await.is_empty());
    let dead = deliveries(&app, &admin, "dead").await;
    assert_eq!((&dead[0]["attempts"], &dead[0]["user_id"]), (&json!(3), &json!(person.id)));
    assert!(dead[0]["dead_at"].is_string() && dead[0]["next_at"].is_null());
    assert_eq!(ears.told().len(), 3, "it is left alone");
    let all: Vec<_> = ears.told().iter().map(|token| claims(token)["jti"].clone()).collect();
    assert!(all[0] != all[1] && all[1] != all[2], "a repetition is a token of its own");

    ears.answer(Manner::Status(204));
    let path = format!("/admin/logout-deliveries/{}/retry", dead[0]["id"].as_str().unwrap());
    let answer = app.call(Method::POST, &path, &admin.access).await;
    assert_eq!((answer.status, &answer.body["attempts"]), (200, &json!(0)));
    ears.hears(4).await;
    nothing_is_left(&app).await;
    assert_eq!(app.call(Method::POST, &path, &admin.access).await.status, 404, "it was delivered");
    assert_eq!(app.audit_of(person.id).await[&("retry_logout_delivery".to_owned(), "done".to_owned())], 1);
}

async fn c18_a_client_that_refuses_a_logout_token_is_not_told_again_and_waits_for_an_administrator(app: App) {
    let admin = app.administrator().await;
    let ears = Ears::open().await;
    ears.answer(Manner::Status(400));
    let client = application(&app, &ears).await;
    let (mut browser, _) = signed_in(&app).await;
    let tokens = client.tokens(&app, &mut browser).await;
    end(&app, &tokens).await;
    wait_for("the refusal", async || !deliveries(&app, &admin, "dead").await.is_empty()).await;
    let refused = deliveries(&app, &admin, "dead").await.remove(0);
    assert_eq!((&refused["last_error"], &refused["attempts"]), (&json!("status 400"), &json!(1)));
    assert!(refused["dead_at"].is_string() && refused["next_at"].is_null());
    assert!(deliveries(&app, &admin, "waiting").await.is_empty());
    app.clock.advance(Duration::from_secs(120));
    // Another client's word shows that what is due was looked for since.
    let other = Ears::open().await;
    let tokens = application(&app, &other).await.tokens(&app, &mut signed_in(&app).await.0).await;
    end(&app, &tokens).await;
    other.hears(1).await;
    assert_eq!(ears.told().len(), 1, "it is left alone");
    ears.answer(Manner::Status(200));
    let path = format!("/admin/logout-deliveries/{}/retry", refused["id"].as_str().unwrap());
    assert_eq!(app.call(Method::POST, &path, &admin.access).await.status, 200);
    ears.hears(2).await;
    nothing_is_left(&app).await;
}

async fn c18_a_slow_client_holds_up_neither_the_user_nor_another_client(app: App) {
    let (slow, quick) = (Ears::open().await, Ears::open().await);
    slow.answer(Manner::Silence);
    let (slow_client, quick_client) = (application(&app, &slow).await, application(&app, &quick).await);
    let mut sessions = Vec::new();
    for _ in 0..8 {
        let (mut browser, _) = signed_in(&app).await;
        slow_client.tokens(&app, &mut browser).await;
        sessions.push(quick_client.tokens(&app, &mut browser).await);
    }
    let started = Instant::now();
    for tokens in &sessions {
        end(&app, tokens).await;
    }
    quick.hears(8).await;
    // A call has five seconds: none of the slow client's was waited for.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    wait_for("the slow client's lane", async || slow.open.load(Ordering::SeqCst) == 4).await;
    assert_eq!(slow.told().len(), 4, "it is not called more often at once");
}

async fn hb6_slow_clients_that_registered_themselves_leave_room_for_those_of_administrators(app: App) {
    let (slow, quick) = (Ears::open().await, Ears::open().await);
    slow.answer(Manner::Silence);
    let (mut browser, person) = signed_in(&app).await;
    let tokens = application(&app, &quick).await.tokens(&app, &mut browser).await;
    let now = app.clock.now();
    let mut transaction = app.service.database.begin().await.unwrap();
    for number in 0..200 {
        let delivery = outbox::Delivery {
            id: uuid::Uuid::new_v4(),
            client_id: format!("client-{}", number % 50),
            session: StoredSession(SessionId::random_for(person.id)),
            user_id: person.id,
            uri: slow.url.clone(),
            alg: "EdDSA".to_owned(),
            own_claim: true,
            created_at: now,
            attempts: 0,
            next_at: now,
            dead_at: None,
            last_error: None,
        };
        outbox::insert(&mut transaction, &delivery).await.unwrap();
    }
    transaction.commit().await.unwrap();
    wait_for("the slow clients' lanes", async || slow.open.load(Ordering::SeqCst) == 32).await;
    let started = Instant::now();
    end(&app, &tokens).await;
    quick.hears(1).await;
    // A call has five seconds: no slow one was waited for.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(slow.open.load(Ordering::SeqCst), 32, "all of them together have no more");
}

async fn a_redirection_is_not_followed(app: App) {
    let admin = app.administrator().await;
    let (ears, elsewhere) = (Ears::open().await, Ears::open().await);
    ears.answer(Manner::RedirectsTo(elsewhere.url.clone()));
    let client = application(&app, &ears).await;
    let (mut browser, _) = signed_in(&app).await;
    let tokens = client.tokens(&app, &mut browser).await;
    end(&app, &tokens).await;
    wait_for("the end", async || !deliveries(&app, &admin, "dead").await.is_empty()).await;
    assert_eq!(deliveries(&app, &admin, "dead").await[0]["last_error"], "status 307");
    assert!(elsewhere.told().is_empty());
}

async fn an_address_inside_that_only_the_client_has_named_is_not_called(app: App) {
    let admin = app.administrator().await;
    let ears = Ears::open().await;
    let client = application(&app, &ears).await;
    // What a client that registered itself can do: it names an address inside, by whatever name.
    for address in ["http://10.255.255.1/", "http://169.254.169.254/latest/meta-data", "http://[::ffff:10.0.0.1]/"] {
        let mut stored = clients::find(&app.service, &client.id).await.unwrap().unwrap();
        stored.registration_token_hash = Some(clients::SecretHash::of("a registration token"));
        stored.metadata.backchannel_logout_uri = Some(address.parse().unwrap());
        let mut transaction = app.service.database.begin().await.unwrap();
        assert!(auth_service::storage::clients::update(&mut transaction, &stored).await.unwrap());
        transaction.commit().await.unwrap();
        let (mut browser, person) = signed_in(&app).await;
        let tokens = client.tokens(&app, &mut browser).await;
        end(&app, &tokens).await;
        wait_for("the refusal", async || {
            deliveries(&app, &admin, "dead").await.iter().any(|it| it["user_id"] == json!(person.id))
        })
        .await;
        assert_eq!(deliveries(&app, &admin, "dead").await[0]["last_error"], "address", "{address}");
    }
}

async fn a_consent_that_is_taken_back_signs_the_user_out_at_the_client(app: App) {
    let (ears, others) = (Ears::open().await, Ears::open().await);
    let (client, other) = (application(&app, &ears).await, application(&app, &others).await);
    let (mut browser, person) = signed_in(&app).await;
    let tokens = client.tokens(&app, &mut browser).await;
    let kept = other.tokens(&app, &mut browser).await;
    let by = By::SERVICE;
    assert!(grants::withdraw(&app.service, person.id, &client.id, &by).await.unwrap());
    let told = claims(&ears.hears(1).await[0]);
    assert_eq!((&told["sub"], &told["sid"]), (&json!(person.id), &json!(session_of(&tokens))));
    let refresh = |tokens: &Value| tokens["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(client.refresh(&app, &refresh(&tokens)).await.error(), "invalid_grant");
    assert_eq!(other.refresh(&app, &refresh(&kept)).await.status, 200, "others go on");
    nothing_is_left(&app).await;
    assert!(others.told().is_empty());
    assert!(!grants::withdraw(&app.service, person.id, &client.id, &by).await.unwrap());
}

async fn a_client_that_is_deleted_is_told(app: App) {
    let ears = Ears::open().await;
    let client = application(&app, &ears).await;
    let (mut browser, person) = signed_in(&app).await;
    let tokens = client.tokens(&app, &mut browser).await;
    registry::delete(&app.service, &client.id, &By::COMMAND_LINE).await.unwrap();
    assert_eq!(claims(&ears.hears(1).await[0])["sub"], json!(person.id));
    assert_eq!(client.refresh(&app, tokens["refresh_token"].as_str().unwrap()).await.error(), "invalid_client");
    let open = auth_service::storage::grants::open_of_user(&app.service.database, person.id).await.unwrap();
    assert!(open.is_empty(), "{open:?}");
    let again = registry::delete(&app.service, &client.id, &By::COMMAND_LINE).await;
    assert_eq!(again.unwrap_err().code(), "not_found");
}

async fn word_that_was_left_goes_to_where_the_client_is_now(app: App) {
    let admin = app.administrator().await;
    let (before, now) = (Ears::open().await, Ears::open().await);
    before.answer(Manner::Status(404));
    let client = application(&app, &before).await;
    let (mut browser, _) = signed_in(&app).await;
    let tokens = client.tokens(&app, &mut browser).await;
    end(&app, &tokens).await;
    wait_for("the failure", async || !deliveries(&app, &admin, "dead").await.is_empty()).await;
    let mut stored = clients::find(&app.service, &client.id).await.unwrap().unwrap();
    let mut store = async |address: Option<&str>| {
        stored.metadata.backchannel_logout_uri = address.map(|address| address.parse().unwrap());
        let mut transaction = app.service.database.begin().await.unwrap();
        assert!(auth_service::storage::clients::update(&mut transaction, &stored).await.unwrap());
        transaction.commit().await.unwrap();
    };
    store(Some(&now.url)).await;
    let id = deliveries(&app, &admin, "dead").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/logout-deliveries/{id}/retry");
    assert_eq!(app.call(Method::POST, &path, &admin.access).await.status, 200);
    now.hears(1).await;
    nothing_is_left(&app).await;

    now.answer(Manner::Status(500));
    let (mut browser, _) = signed_in(&app).await;
    let tokens = client.tokens(&app, &mut browser).await;
    end(&app, &tokens).await;
    wait_for("the failure", async || !deliveries(&app, &admin, "dead").await.is_empty()).await;
    store(None).await;
    let id = deliveries(&app, &admin, "dead").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/logout-deliveries/{id}/retry");
    assert_eq!(app.call(Method::POST, &path, &admin.access).await.status, 200);
    nothing_is_left(&app).await;
    assert_eq!((before.told().len(), now.told().len()), (1, 2), "it does not want to be told any more");
}

async fn only_administrators_see_and_repeat_what_was_not_delivered(app: App) {
    let (admin, somebody) = (app.administrator().await, app.somebody().await);
    let unknown = format!("/admin/logout-deliveries/{}/retry", uuid::Uuid::new_v4());
    for (method, path) in [(Method::GET, "/admin/logout-deliveries"), (Method::POST, &*unknown)] {
        assert_eq!(app.send(app.request(method.clone(), path)).await.status, 401);
        assert_eq!(app.call(method, path, &somebody.access).await.status, 403);
    }
    assert_eq!(app.call(Method::POST, &unknown, &admin.access).await.status, 404);
    let odd = app.call(Method::POST, "/admin/logout-deliveries/x/retry", &admin.access).await;
    assert!([400, 404].contains(&odd.status), "{}", odd.text);
    for query in ["state=alive", "limit=0", "cursor=x", "other=1"] {
        let answer = app.get(&format!("/admin/logout-deliveries?{query}"), &admin.access).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid_query"), "{query}");
    }
    let user = somebody.id;
    for number in 0..5 {
        let now = app.service.clock.now();
        let delivery = outbox::Delivery {
            id: uuid::Uuid::new_v4(),
            client_id: format!("client-{number}"),
            session: auth_service::storage::grants::StoredSession(SessionId::random_for(user)),
            user_id: user,
            uri: "http://127.0.0.1:1/".to_owned(),
            alg: "RS256".to_owned(),
            own_claim: false,
            created_at: now,
            attempts: 12,
            next_at: now,
            dead_at: Some(now),
            last_error: Some("connect".to_owned()),
        };
        let mut transaction = app.service.database.begin().await.unwrap();
        outbox::insert(&mut transaction, &delivery).await.unwrap();
        transaction.commit().await.unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/admin/logout-deliveries?limit=2{cursor}"), &admin.access).await.body;
        seen.extend(page["items"].as_array().unwrap().iter().map(|it| it["client_id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["client-4", "client-3", "client-2", "client-1", "client-0"]);
}

/// Two replicas carry out what is left; each client hears each end once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_tells_a_client() {
    let Some(place) = Place::on_servers().await else { return };
    let app = App::start(place, |_| {}).await;
    let Started { running, service: replica, .. } = auth_service::start(app.place.config(&app.clock)).await.unwrap();
    let ears = Ears::open().await;
    let client = application(&app, &ears).await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let (mut browser, _) = signed_in(&app).await;
        sessions.push(session_of(&client.tokens(&app, &mut browser).await));
    }
    let by = By::SERVICE;
    all(sessions.iter().enumerate().flat_map(|(number, session)| {
        let (one, other) = if number % 2 == 0 { (&app.service, &replica) } else { (&replica, &app.service) };
        [one, other].map(|service| end_session::end(service, *session, EndReason::Logout, &by))
    }))
    .await;
    nothing_is_left(&app).await;
    let mut heard: Vec<_> = ears.told().iter().map(|token| claims(token)["sid"].as_str().unwrap().to_owned()).collect();
    heard.sort();
    let mut ended: Vec<_> = sessions.iter().map(ToString::to_string).collect();
    ended.sort();
    assert_eq!(heard, ended);
    running.stop().await;
}
