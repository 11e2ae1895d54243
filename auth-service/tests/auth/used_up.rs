//! What is used up once goes back where the service fails before it has given what that is worth, or is over for good; and
//! nothing stays open whose tokens nobody holds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use auth_service::codes::{self, Code};
use auth_service::consent_epoch::ConsentEpoch;
use auth_service::scopes::Words;
use auth_service::storage::audit::By;
use auth_service::storage::grants;
use auth_service::{EmbeddedStores, Stores};
use reqwest::Method;
use serde_json::{Value, json};
use shared::in_transaction;
use shared::key_value::{Count, Key, KeyValueStore, MemoryKeyValueStore};
use shared::session::{SessionId, StoreUnavailable};

use crate::back_channel::{signed_in, wait_for};
use crate::browser::{Application, Begun, Browser, hidden};
use crate::harness::{Answer, App, Person, Place, on_both};

on_both! {
    a_code_is_as_good_as_before_where_the_service_failed,
    a_device_code_is_as_good_as_before_where_the_service_failed,
    a_grant_that_was_not_given_ends_as_soon_as_it_can,
    a_code_that_was_presented_twice_does_not_come_back,
}

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

macro_rules! rename {
    ($app:expr, $from:literal to $to:literal) => {{
        let mut transaction = $app.service.database.begin().await.unwrap();
        in_transaction!(&mut transaction, |connection| {
            sqlx::query(concat!("ALTER TABLE ", $from, " RENAME TO ", $to)).execute(connection).await.map(drop)
        })
        .unwrap();
        transaction.commit().await.unwrap();
    }};
}

/// Asks for tokens, and answers the status: that of a fault is in no document.
async fn status_of(app: &App, client: &Application, form: &[(&str, &str)]) -> u16 {
    let request = app.request(Method::POST, "/oauth2/token").basic_auth(&client.id, Some(&client.secret));
    request.form(form).send().await.unwrap().status().as_u16()
}

fn code_form<'a>(begun: &'a Begun, client: &'a Application, code: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &client.redirect_uri),
        ("code_verifier", &begun.verifier),
    ]
}

async fn open_grants(app: &App, person: &Person) -> usize {
    grants::open_of_user(&app.service.database, person.id).await.unwrap().len()
}

async fn nothing_was_betrayed(app: &App, person: &Person) {
    let audit = app.audit_of(person.id).await;
    assert_eq!(audit.get(&("grant".to_owned(), "code_reused".to_owned())), None, "{audit:?}");
}

async fn waiting_code(app: &App) -> (Browser, Person, Application, Begun, String) {
    let ((mut browser, person), client) = (signed_in(app).await, Application::first_party(app).await);
    let begun = client.begin(&[]);
    let code = begun.go(app, &mut browser).await.query("code");
    (browser, person, client, begun, code)
}

async fn a_code_is_as_good_as_before_where_the_service_failed(app: App) {
    let (_, person, client, begun, code) = waiting_code(&app).await;
    let form = code_form(&begun, &client, &code);
    rename!(app, "audit" to "audit_away");
    for _ in 0..2 {
        let status = status_of(&app, &client, &form).await;
        assert!(status >= 500, "{status}");
        assert_eq!(open_grants(&app, &person).await, 0, "nobody holds its tokens");
    }
    rename!(app, "audit_away" to "audit");
    let tokens = client.token(&app, &form).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    assert_eq!(open_grants(&app, &person).await, 1);
    nothing_was_betrayed(&app, &person).await;
    let refreshed = client.refresh(&app, tokens.body["refresh_token"].as_str().unwrap()).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
    assert_eq!(client.token(&app, &form).await.error(), "invalid_grant", "it has one use");
    let refresh = refreshed.body["refresh_token"].as_str().unwrap();
    assert_eq!(client.refresh(&app, refresh).await.error(), "invalid_grant", "which a second one ends");
}

async fn begin_device(app: &App) -> (Application, Value) {
    let metadata = json!({"grant_types": [DEVICE, "refresh_token"], "redirect_uris": []});
    let client = Application::register(app, metadata).await;
    let ask = app.request(Method::POST, "/oauth2/device_authorization").basic_auth(&client.id, Some(&client.secret));
    let device = app.send(ask.form(&[("scope", "openid account")])).await.body;
    (client, device)
}

/// The page on which the person decides, and how they send it.
async fn allow(app: &App, browser: &mut Browser, device: &Value) -> u16 {
    let code = device["user_code"].as_str().unwrap();
    let page = browser.submit_to(app, "/device", "/device", &[("user_code", code)]).await;
    let fields = hidden(&page, &[]);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).chain([("decision", "allow")]).collect();
    let cookies: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = app.request(Method::POST, "/device").header("cookie", cookies.join("; ")).form(&fields);
    request.send().await.unwrap().status().as_u16()
}

async fn a_device_code_is_as_good_as_before_where_the_service_failed(app: App) {
    let ((mut browser, person), (client, device)) = (signed_in(&app).await, begin_device(&app).await);
    assert_eq!(allow(&app, &mut browser, &device).await, 303);
    let poll = [("grant_type", DEVICE), ("device_code", device["device_code"].as_str().unwrap())];
    rename!(app, "audit" to "audit_away");
    let status = status_of(&app, &client, &poll).await;
    assert!(status >= 500, "{status}");
    assert_eq!(open_grants(&app, &person).await, 0, "nobody holds its tokens");
    rename!(app, "audit_away" to "audit");
    app.clock.advance(Duration::from_secs(6));
    let tokens = client.token(&app, &poll).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    assert_eq!(open_grants(&app, &person).await, 1);
    app.clock.advance(Duration::from_secs(6));
    assert_eq!(client.token(&app, &poll).await.error(), "expired_token", "it has one use");
}

async fn a_grant_that_was_not_given_ends_as_soon_as_it_can(app: App) {
    let (_, person, client, begun, code) = waiting_code(&app).await;
    let form = code_form(&begun, &client, &code);
    rename!(app, "endings" to "endings_away");
    rename!(app, "audit" to "audit_away");
    let status = status_of(&app, &client, &form).await;
    assert!(status >= 500, "{status}");
    assert_eq!(open_grants(&app, &person).await, 1, "what would end it is away");
    rename!(app, "audit_away" to "audit");
    rename!(app, "endings_away" to "endings");
    wait_for("the end of the grant", async || open_grants(&app, &person).await == 0).await;
    let audit = app.audit_of(person.id).await;
    assert_eq!(audit.get(&("end_grant".to_owned(), "done".to_owned())), Some(&1), "{audit:?}");
    assert_eq!(client.token(&app, &form).await.status, 200, "the code was as good as before");
    nothing_was_betrayed(&app, &person).await;
}

async fn a_code_that_was_presented_twice_does_not_come_back(app: App) {
    let person = app.somebody().await;
    let code = Code {
        session: SessionId::random_for(person.id),
        user: person.id,
        client_id: "shop".to_owned(),
        redirect_uri: "https://app.example/cb".to_owned(),
        code_challenge: None,
        scope: Words::default(),
        audiences: Words::default(),
        nonce: None,
        claims: Default::default(),
        dpop_jkt: None,
        auth_time: app.clock.now(),
        epoch: ConsentEpoch::default(),
    };
    let (service, by) = (&app.service, &By::SERVICE);
    let text = codes::write(service, &code).await.unwrap();
    let once = codes::use_up(service, &text, &code, by).await.unwrap();
    assert!(codes::give_back(service, &text, once).await.unwrap(), "nobody else has presented it");
    let again = codes::use_up(service, &text, &code, by).await.unwrap();
    assert_ne!(again, once, "each use is a grant of its own");
    assert_eq!(codes::use_up(service, &text, &code, by).await.unwrap_err().error, "invalid_grant");
    assert!(!codes::give_back(service, &text, again).await.unwrap(), "two have it");
    assert_eq!(codes::use_up(service, &text, &code, by).await.unwrap_err().error, "invalid_grant");
}

/// A memory that does not answer to one verb, for keys of one purpose.
struct Forgetful {
    memory: MemoryKeyValueStore,
    away: Mutex<(&'static str, &'static str)>,
}

impl Forgetful {
    fn check(&self, verb: &str, key: &Key) -> Result<(), StoreUnavailable> {
        let is_away = *self.away.lock().unwrap() == (verb, key.purpose());
        if is_away { Err(StoreUnavailable("it is away".to_owned())) } else { Ok(()) }
    }

    fn is_away(&self, verb: &'static str, purpose: &'static str) {
        *self.away.lock().unwrap() = (verb, purpose);
    }
}

#[async_trait]
impl KeyValueStore for Forgetful {
    async fn put(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<(), StoreUnavailable> {
        self.check("put", key)?;
        self.memory.put(key, value, ttl).await
    }

    async fn claim(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<bool, StoreUnavailable> {
        self.check("claim", key)?;
        self.memory.claim(key, value, ttl).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        self.memory.get(key).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        self.memory.take(key).await
    }

    async fn count_by(&self, key: &Key, amount: u64, window: Duration) -> Result<Count, StoreUnavailable> {
        self.memory.count_by(key, amount, window).await
    }

    async fn uncount(&self, key: &Key) -> Result<(), StoreUnavailable> {
        self.memory.uncount(key).await
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreUnavailable> {
        self.check("remove", key)?;
        self.memory.remove(key).await
    }
}

async fn on_a_forgetful_memory() -> (App, Arc<Forgetful>) {
    let mut kept = None;
    let app = App::start(Place::embedded(), |config| {
        let memory = MemoryKeyValueStore::new(config.clock.clone());
        let values = Arc::new(Forgetful { memory, away: Mutex::new(("", "")) });
        kept = Some(values.clone());
        let Stores::Embedded(EmbeddedStores { key_values, .. }) = &mut config.stores else { unreachable!() };
        *key_values = Some(values);
    })
    .await;
    (app, kept.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_cannot_go_back_is_over_and_its_client_is_told_to_begin_again() {
    let (app, values) = on_a_forgetful_memory().await;
    let (_, person, client, begun, code) = waiting_code(&app).await;
    let form = code_form(&begun, &client, &code);
    rename!(app, "audit" to "audit_away");
    values.is_away("remove", "used_code");
    let lost = client.token(&app, &form).await;
    assert_eq!((lost.status, lost.error()), (400, "invalid_grant"), "{}", lost.text);
    assert!(lost.body["error_description"].as_str().unwrap().ends_with("begin again"), "{}", lost.text);
    assert_eq!(open_grants(&app, &person).await, 0);
    values.is_away("", "");
    rename!(app, "audit_away" to "audit");
    assert_eq!(client.token(&app, &form).await.error(), "invalid_grant");
    nothing_was_betrayed(&app, &person).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_code_could_not_be_written_is_answered_later() {
    let (app, values) = on_a_forgetful_memory().await;
    let ((mut browser, person), client) = (signed_in(&app).await, Application::first_party(&app).await);
    let begun = client.begin(&[("prompt", "select_account")]);
    let asked = begun.go(&app, &mut browser).await;
    let id = person.id.to_string();
    let chosen = browser.submit(&app, &asked, &[("account", &id)]).await;
    let back = &chosen.location()[url::Position::BeforePath..];
    let go_back = async |browser: &Browser| -> Answer {
        let cookies: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        app.send_whatever(app.request(Method::GET, back).header("cookie", cookies.join("; "))).await
    };
    values.is_away("put", "code");
    assert_eq!(go_back(&browser).await.status, 503);
    values.is_away("remove", "authorization");
    let code = go_back(&browser).await.query("code");
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.status, 200);
    assert_eq!(go_back(&browser).await.code(), "flow_over", "it is answered once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushed_request_whose_answer_failed_is_opened_again_and_answered_once() {
    let (app, values) = on_a_forgetful_memory().await;
    let ((mut browser, person), client) = (signed_in(&app).await, Application::first_party(&app).await);
    let path = async |changes: &[(&str, &str)]| {
        let push = app.request(Method::POST, "/oauth2/par").basic_auth(&client.id, Some(&client.secret));
        let pushed = app.send(push.form(&client.begin(changes).parameters)).await;
        let uri = pushed.body["request_uri"].as_str().unwrap().replace(':', "%3A");
        format!("/oauth2/authorize?client_id={}&request_uri={uri}", client.id)
    };
    let go = async |browser: &Browser, path: &str| -> Answer {
        let cookies: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        app.send_whatever(app.request(Method::GET, path).header("cookie", cookies.join("; "))).await
    };
    let at_once = path(&[]).await;
    for (verb, purpose) in [("put", "code"), ("claim", "answered_pushed_request")] {
        values.is_away(verb, purpose);
        assert_eq!(go(&browser, &at_once).await.status, 503, "{verb} {purpose}");
    }
    values.is_away("", "");
    assert!(!go(&browser, &at_once).await.query("code").is_empty());
    assert_eq!(go(&browser, &at_once).await.status, 400, "it was answered");
    let asked = browser.get(&app, &path(&[("prompt", "select_account")]).await).await;
    let chosen = browser.submit(&app, &asked, &[("account", &person.id.to_string())]).await;
    let back = chosen.location()[url::Position::BeforePath..].to_owned();
    for (verb, purpose) in [("put", "code"), ("claim", "answered_pushed_request"), ("claim", "answered_authorization")]
    {
        values.is_away(verb, purpose);
        assert_eq!(go(&browser, &back).await.status, 503, "{verb} {purpose}");
    }
    values.is_away("", "");
    assert!(!go(&browser, &back).await.query("code").is_empty());
    assert_eq!(go(&browser, &back).await.code(), "flow_over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_answer_to_a_device_that_was_lost_is_given_again() {
    let (app, values) = on_a_forgetful_memory().await;
    let ((mut browser, _), (client, device)) = (signed_in(&app).await, begin_device(&app).await);
    values.is_away("put", "device_code");
    assert_eq!(allow(&app, &mut browser, &device).await, 503);
    values.is_away("", "");
    assert_eq!(allow(&app, &mut browser, &device).await, 303);
    let poll = [("grant_type", DEVICE), ("device_code", device["device_code"].as_str().unwrap())];
    assert_eq!(client.token(&app, &poll).await.status, 200);
}
