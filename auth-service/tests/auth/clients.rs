//! Clients: kept on both databases, and brought up to date by a start.

use std::time::Duration;

use auth_service::AuthService;
use auth_service::clients::registry;
use auth_service::clients::secret::{is_one_of, make_up};
use auth_service::clients::{self, Client, FirstClient, FormerSecret, Metadata, Registrar, SecretHash};
use auth_service::storage::MIGRATIONS;
use auth_service::storage::audit::{self, By};
use auth_service::storage::clients as storage;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use shared::clock::Timestamp;
use shared::config::Settings;
use shared::database::{Database, Transaction};

use crate::harness::{App, all, on_both};

macro_rules! on_both_databases {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $test() {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", folder.path().join("auth.db").display());
                super::$test(super::open(&url).await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $test() {
                if let Some(url) = shared::testing::postgres().await {
                    super::$test(super::open(&url).await).await;
                }
            })*
        }
    };
}

on_both_databases! {
    a_client_comes_back_as_it_was,
    an_id_is_taken_once,
    a_held_client_is_changed_by_one_at_a_time,
    pages_of_clients_follow_each_other,
    clients_that_registered_themselves_are_counted,
    a_removed_client_is_gone,
    an_initial_token_has_so_many_uses_and_an_end,
}

on_both! {
    first_clients_are_brought_up_to_date_at_a_start,
    a_start_does_not_bring_a_stolen_secret_back,
    a_disabled_client_is_not_found,
}

async fn open(url: &str) -> Database {
    let database = Database::open(url, 8).await.unwrap();
    database.migrate(&MIGRATIONS).await.unwrap();
    database
}

fn members(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("an object") };
    members
}

fn client(id: &str) -> Client {
    let metadata = json!({"redirect_uris": ["https://shop.example/cb"], "client_name": "Shop \u{1f511}"});
    Client {
        id: id.to_owned(),
        metadata: Metadata::read(members(metadata), Registrar::Administrator).unwrap(),
        secret_hash: Some(SecretHash::of("secret")),
        former_secret: FormerSecret::default(),
        registration_token_hash: None,
        first_party: true,
        approved: true,
        epoch: 0,
        created_at: Timestamp::from_micros(1_795_230_000_123_456),
        disabled_at: None,
    }
}

async fn in_one<T>(database: &Database, act: impl AsyncFnOnce(&mut Transaction) -> T) -> T {
    let mut transaction = database.begin().await.unwrap();
    let answer = act(&mut transaction).await;
    transaction.commit().await.unwrap();
    answer
}

async fn insert(database: &Database, client: &Client) -> bool {
    in_one(database, async |transaction| storage::insert(transaction, client).await.unwrap()).await
}

async fn a_client_comes_back_as_it_was(database: Database) {
    let plain = client("plain");
    let odd = Client {
        secret_hash: None,
        former_secret: FormerSecret::default(),
        registration_token_hash: Some(SecretHash::of("token")),
        first_party: false,
        approved: false,
        epoch: 7,
        disabled_at: Some(Timestamp::from_micros(7)),
        ..client("odd")
    };
    for client in [&plain, &odd] {
        assert!(insert(&database, client).await);
        assert_eq!(storage::by_id(&database, &client.id).await.unwrap().as_ref(), Some(client));
    }
    assert_eq!(storage::by_id(&database, "other").await.unwrap(), None);
}

async fn an_id_is_taken_once(database: Database) {
    let clients: Vec<_> = (0..8).map(|number| Client { first_party: number == 0, ..client("one") }).collect();
    let inserted = all(clients.iter().map(|client| insert(&database, client))).await;
    assert_eq!(inserted.iter().filter(|inserted| **inserted).count(), 1);
}

async fn a_held_client_is_changed_by_one_at_a_time(database: Database) {
    insert(&database, &client("shop")).await;
    let change = async |number: i64| {
        in_one(&database, async |transaction| {
            let held = storage::hold(transaction, "shop").await.unwrap().unwrap();
            let seen = held.disabled_at.map_or(0, Timestamp::micros);
            let changed = Client { disabled_at: Some(Timestamp::from_micros(seen + number)), ..held };
            assert!(storage::update(transaction, &changed).await.unwrap());
        })
        .await;
    };
    all((1..=8).map(change)).await;
    let kept = storage::by_id(&database, "shop").await.unwrap().unwrap();
    assert_eq!(kept.disabled_at, Some(Timestamp::from_micros(36)), "each saw what the one before had written");
    let nobody = in_one(&database, async |transaction| {
        let held = storage::hold(transaction, "other").await.unwrap();
        (held, storage::update(transaction, &client("other")).await.unwrap())
    });
    assert_eq!(nobody.await, (None, false));
}

async fn pages_of_clients_follow_each_other(database: Database) {
    for id in ["b", "a", "C", "a-b", "a_b"] {
        insert(&database, &client(id)).await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = storage::page(&database, &after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        seen.extend(page.into_iter().map(|client| client.id));
    }
    assert_eq!(seen.len(), 5);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5, "each once");
}

async fn clients_that_registered_themselves_are_counted(database: Database) {
    let count = async || {
        in_one(&database, async |transaction| storage::count_registered_by_themselves(transaction).await.unwrap()).await
    };
    insert(&database, &client("made")).await;
    assert_eq!(count().await, 0);
    insert(&database, &Client { registration_token_hash: Some(SecretHash::of("t")), ..client("came") }).await;
    assert_eq!(count().await, 1);
}

async fn a_removed_client_is_gone(database: Database) {
    insert(&database, &client("shop")).await;
    let delete =
        async || in_one(&database, async |transaction| storage::delete(transaction, "shop").await.unwrap()).await;
    assert!(delete().await);
    assert!(!delete().await);
    assert_eq!(storage::by_id(&database, "shop").await.unwrap(), None);
}

async fn an_initial_token_has_so_many_uses_and_an_end(database: Database) {
    let at = Timestamp::from_seconds;
    let make = async |text: &str, uses: i64, now: i64| {
        in_one(&database, async |transaction| {
            storage::insert_initial_token(transaction, &SecretHash::of(text), uses, at(now), at(now + 10))
                .await
                .unwrap();
        })
        .await;
    };
    let use_once = async |text: &str, now: i64| {
        in_one(&database, async |transaction| {
            storage::use_initial_token(transaction, &SecretHash::of(text), at(now)).await.unwrap()
        })
        .await
    };
    make("one", 3, 0).await;
    let used = all((0..8).map(|_| use_once("one", 1))).await;
    assert_eq!(used.iter().filter(|used| **used).count(), 3, "no more than it has uses");
    make("two", 1, 0).await;
    assert!(!use_once("other", 1).await);
    assert!(!use_once("two", 10).await, "it has expired");
    assert!(use_once("two", 9).await);
    make("three", 1, 0).await;
    let forget = async |now: i64| storage::forget_used_initial_tokens(&database, at(now), 9).await.unwrap();
    assert_eq!((forget(9).await, forget(9).await), (2, 0), "what is used up is forgotten");
    assert_eq!(forget(10).await, 1, "and what has expired");
}

fn first(metadata: Value) -> FirstClient {
    FirstClient::read(members(metadata)).unwrap()
}

/// Starts another replica with these first clients, and reads the one that is called `shop`.
async fn start_with(app: &App, clients: Vec<FirstClient>) -> Client {
    let service = AuthService::open(&app.place.config(&app.clock)).await.unwrap();
    clients::first::align(&service, &clients).await.unwrap();
    clients::find(&service, "shop").await.unwrap().unwrap()
}

async fn audit_of_shop(app: &App) -> Vec<String> {
    let entries = audit::page(&app.service.database, None, None, 100).await.unwrap();
    let of_shop = entries.into_iter().filter(|entry| entry.detail == "shop" && entry.actor == "service");
    of_shop.map(|entry| entry.act).collect()
}

async fn first_clients_are_brought_up_to_date_at_a_start(app: App) {
    let (one, other) = (make_up().0, make_up().0);
    let shop = |name: &str, secret: &str| {
        first(json!({
            "client_id": "shop", "client_secret": secret, "client_name": name,
            "redirect_uris": ["http://localhost:8082/callback"],
            "backchannel_logout_uri": "http://cart-service:8082/backchannel-logout",
        }))
    };
    let added = start_with(&app, vec![shop("Shop", one.expose_secret())]).await;
    assert!(added.first_party && added.secret_hash.as_ref().unwrap().is_of(one.expose_secret()));
    assert_eq!(start_with(&app, vec![shop("Shop", one.expose_secret())]).await, added);
    assert_eq!(audit_of_shop(&app).await, ["create_client"], "a start that changes nothing leaves no trace");

    let changed = start_with(&app, vec![shop("The Shop", other.expose_secret())]).await;
    assert_eq!(changed.metadata.client_name.as_ref().unwrap().as_str(), "The Shop");
    let hash = changed.secret_hash.as_ref().unwrap();
    assert!(hash.is_of(other.expose_secret()) && !hash.is_of(one.expose_secret()));
    let replicas = changed.secret_hashes(app.clock.now());
    assert!(is_one_of(replicas, one.expose_secret()), "the client's replicas still have the one before");
    assert!(!is_one_of(changed.secret_hashes(app.clock.now() + Duration::from_secs(25 * 3600)), one.expose_secret()));
    assert_eq!(start_with(&app, vec![]).await, changed, "what is not among them stays");
    let replica = start_with(&app, vec![shop("The Shop", one.expose_secret())]).await;
    assert_eq!(replica, changed, "a replica that has the former secret does not bring it back");
    assert_eq!(audit_of_shop(&app).await, ["change_client", "create_client"]);

    let together = all((0..4).map(|_| start_with(&app, vec![shop("Together", one.expose_secret())]))).await;
    assert!(together.iter().all(|client| *client == together[0]));
    assert_eq!(audit_of_shop(&app).await.len(), 3, "one of several replicas does it");
}

async fn a_start_does_not_bring_a_stolen_secret_back(app: App) {
    let stolen = make_up().0;
    let given = |secret: &str| {
        first(
            json!({"client_id": "shop", "client_secret": secret, "redirect_uris": ["http://localhost:8082/callback"]}),
        )
    };
    start_with(&app, vec![given(stolen.expose_secret())]).await;
    let rotated = registry::rotate_secret(&app.service, "shop", Duration::ZERO, &By::COMMAND_LINE).await.unwrap();
    let new = rotated.secret.unwrap();
    let now = app.clock.now();
    let again = start_with(&app, vec![given(stolen.expose_secret())]).await;
    assert!(!is_one_of(again.secret_hashes(now), stolen.expose_secret()), "the settings have it still");
    assert!(is_one_of(again.secret_hashes(now), new.expose_secret()));
    let mended = start_with(&app, vec![given(new.expose_secret())]).await;
    assert!(is_one_of(mended.secret_hashes(now), new.expose_secret()));
    assert!(!is_one_of(mended.secret_hashes(now), stolen.expose_secret()));
}

async fn a_disabled_client_is_not_found(app: App) {
    let disabled = Client { disabled_at: Some(app.clock.now()), ..client("disabled") };
    assert!(insert(&app.service.database, &disabled).await);
    assert!(insert(&app.service.database, &client("enabled")).await);
    assert!(clients::find(&app.service, "enabled").await.unwrap().is_some());
    for unknown in ["disabled", "other", "", "a\u{0}b", "platform", &"x".repeat(10_000)] {
        assert!(clients::find(&app.service, unknown).await.unwrap().is_none(), "{unknown:?}");
    }
}

#[test]
fn first_clients_that_are_wrong_refuse_the_start_and_no_secret_is_told() {
    let secret = "0123456789abcdef0123456789abcdef";
    for (clients, mistake) in [
        ("[", "a JSON array"),
        ("{}", "a JSON array"),
        (r#"["0123456789abcdef0123456789abcdef"]"#, "a JSON array"),
        (r#"[{}]"#, "client_id"),
        (r#"[{"client_id":"platform"}]"#, "client_id"),
        (r#"[{"client_id":"a~b"}]"#, "client_id"),
        (r#"[{"client_id":7}]"#, "client_id: expected text"),
        (r#"[{"client_id":"a","redirect_uris":["https://a.example/"]}]"#, "a: client_secret: expected one"),
        (r#"[{"client_id":"a","client_secret":"short","redirect_uris":["https://a.example/"]}]"#, "at least 32"),
        (
            r#"[{"client_id":"a","client_secret":"0123456789abcdef0123456789abcdef","redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"none"}]"#,
            "has none",
        ),
        (
            r#"[{"client_id":"a","client_secret":"0123456789abcdef0123456789abcdef","redirect_uris":["http://a.example/"]}]"#,
            "a: /redirect_uris/0",
        ),
        (
            r#"[{"client_id":"a","client_secret":"0123456789abcdef0123456789abcdef","redirect_uri":"x"}]"#,
            "a: /redirect_uri: there is no such field",
        ),
        (
            r#"[{"client_id":"a","token_endpoint_auth_method":"none","redirect_uris":["https://a.example/"]},{"client_id":"a","token_endpoint_auth_method":"none","redirect_uris":["https://a.example/"]}]"#,
            "another client of this id",
        ),
    ] {
        let pairs = crate::harness::Place::embedded().settings();
        let pairs = pairs.into_iter().chain([("FIRST_CLIENTS".to_owned(), clients.to_owned())]);
        let mut settings = Settings::from_pairs(pairs);
        auth_service::Config::read(&mut settings, None);
        let text = settings.finish().unwrap_err().to_string();
        assert!(text.contains(mistake), "{clients}: {text}");
        assert!(!text.contains(secret) && !settings.describe().contains(secret), "{text}");
    }
}
