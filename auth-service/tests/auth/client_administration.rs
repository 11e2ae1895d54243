//! Clients, as administrators make, see, change and remove them; by HTTP and by the command line.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use auth_service::clients::{self, FormerSecret};
use auth_service::scopes::Words;
use auth_service::storage::consents;
use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::{Application, Browser};
use crate::document_server::DocumentServer;
use crate::harness::{Answer, App, Person, Place, on_both};

on_both! {
    only_an_administrator_sees_or_changes_clients,
    a_client_is_made_shown_changed_and_removed,
    a_secret_is_shown_once_and_is_kept_as_a_hash,
    a_secret_that_was_replaced_is_good_beside_the_new_one_until_its_time,
    a_secret_is_made_when_it_is_needed_and_forgotten_when_it_is_not,
    what_is_shown_may_be_sent_back,
    a_field_against_a_rule_is_named,
    clients_are_listed_by_page,
    the_redirect_uris_must_be_in_the_sectors_list,
    an_initial_token_has_bounds,
    every_change_is_in_the_audit,
    what_a_client_was_given_ends_with_it,
    what_a_client_was_given_ends_when_it_is_disabled,
}

const REDIRECT: &str = "https://shop.example/cb";

async fn send(app: &App, method: Method, path: &str, admin: &Person, body: Value) -> Answer {
    app.send(app.request(method, path).bearer_auth(&admin.access).json(&body)).await
}

async fn create(app: &App, admin: &Person, body: Value) -> Value {
    let answer = send(app, Method::POST, "/admin/clients", admin, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.body
}

fn path(client: &Value) -> String {
    format!("/admin/clients/{}", client["client_id"].as_str().unwrap())
}

async fn only_an_administrator_sees_or_changes_clients(app: App) {
    let (admin, somebody) = (app.administrator().await, app.somebody().await);
    let made = create(&app, &admin, json!({"redirect_uris": [REDIRECT]})).await;
    let body = json!({"redirect_uris": [REDIRECT]});
    for (method, path) in [
        (Method::GET, "/admin/clients".to_owned()),
        (Method::POST, "/admin/clients".to_owned()),
        (Method::GET, path(&made)),
        (Method::PUT, path(&made)),
        (Method::DELETE, path(&made)),
        (Method::POST, "/admin/initial-access-tokens".to_owned()),
    ] {
        let body = if path.ends_with("tokens") { json!({}) } else { body.clone() };
        let answer = send(&app, method.clone(), &path, &somebody, body.clone()).await;
        assert_eq!((answer.status, answer.code()), (403, "insufficient_role"), "{method} {path}");
        let answer = app.send(app.request(method.clone(), &path).json(&body)).await;
        assert_eq!(answer.status, 401, "{method} {path}");
    }
    assert_eq!(app.get(&path(&made), &admin.access).await.status, 200);
}

async fn a_client_is_made_shown_changed_and_removed(app: App) {
    let admin = app.administrator().await;
    let wanted = json!({"client_id": "shop", "client_name": "Shop", "redirect_uris": [REDIRECT], "first_party": true});
    let made = create(&app, &admin, wanted.clone()).await;
    assert_eq!((&made["client_id"], &made["first_party"]), (&json!("shop"), &json!(true)));
    assert_eq!((&made["disabled"], &made["registered_itself"]), (&json!(false), &json!(false)));
    assert_eq!(made["token_endpoint_auth_method"], "client_secret_basic", "defaults are shown");
    assert!(clients::find(&app.service, "shop").await.unwrap().unwrap().first_party);
    let again = send(&app, Method::POST, "/admin/clients", &admin, wanted).await;
    assert_eq!((again.status, again.code(), again.pointer()), (409, "client_exists", "/client_id"));

    let shown = app.get("/admin/clients/shop", &admin.access).await;
    assert_eq!((shown.status, &shown.body["client_name"]), (200, &json!("Shop")));
    let change = json!({"redirect_uris": ["https://shop.example/other"], "disabled": true});
    let changed = send(&app, Method::PUT, "/admin/clients/shop", &admin, change).await;
    assert_eq!((changed.status, &changed.body["disabled"]), (200, &json!(true)), "{}", changed.text);
    assert!(changed.body["client_name"].is_null() && changed.body["disabled_at"].is_string());
    assert_eq!(changed.body["first_party"], false, "what is left out gets its default");
    assert!(clients::find(&app.service, "shop").await.unwrap().is_none(), "a disabled client gets nothing");
    let enabled = send(&app, Method::PUT, "/admin/clients/shop", &admin, json!({"redirect_uris": [REDIRECT]})).await;
    assert_eq!((&enabled.body["disabled"], &enabled.body["disabled_at"]), (&json!(false), &json!(null)));
    assert!(clients::find(&app.service, "shop").await.unwrap().is_some());

    assert_eq!(app.call(Method::DELETE, "/admin/clients/shop", &admin.access).await.status, 204);
    for (method, body) in
        [(Method::GET, json!({})), (Method::PUT, json!({"redirect_uris": [REDIRECT]})), (Method::DELETE, json!({}))]
    {
        let answer = send(&app, method, "/admin/clients/shop", &admin, body).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found"));
    }
    for odd in ["%00", "a%20b", "platform", &"x".repeat(500)] {
        assert_eq!(app.get(&format!("/admin/clients/{odd}"), &admin.access).await.status, 404, "{odd}");
    }
}

async fn a_secret_is_shown_once_and_is_kept_as_a_hash(app: App) {
    let admin = app.administrator().await;
    let made = create(&app, &admin, json!({"redirect_uris": [REDIRECT]})).await;
    let secret = made["client_secret"].as_str().unwrap().to_owned();
    assert_eq!((secret.len(), &made["client_secret_expires_at"]), (43, &json!(0)));
    let client = clients::find(&app.service, made["client_id"].as_str().unwrap()).await.unwrap().unwrap();
    assert!(client.secret_hash.as_ref().unwrap().is_of(&secret));
    assert!(!format!("{client:?}").contains(&secret));
    for answer in [
        app.get(&path(&made), &admin.access).await,
        app.get("/admin/clients", &admin.access).await,
        send(&app, Method::PUT, &path(&made), &admin, json!({"redirect_uris": [REDIRECT]})).await,
        app.get("/admin/audit?limit=100", &admin.access).await,
    ] {
        assert_eq!(answer.status, 200);
        assert!(!answer.text.contains(&secret) && !answer.text.contains("client_secret\""), "{}", answer.text);
        assert!(!answer.text.contains("hash"), "{}", answer.text);
    }
    assert!(!crate::harness::logged().contains(&secret));

    let change = json!({"redirect_uris": [REDIRECT], "new_secret": true});
    let rotated = send(&app, Method::PUT, &path(&made), &admin, change).await;
    let new = rotated.body["client_secret"].as_str().unwrap();
    let client = clients::find(&app.service, &client.id).await.unwrap().unwrap();
    let hash = client.secret_hash.unwrap();
    assert!(hash.is_of(new) && !hash.is_of(&secret));
}

async fn a_secret_that_was_replaced_is_good_beside_the_new_one_until_its_time(app: App) {
    let admin = app.administrator().await;
    let mut made = create(&app, &admin, json!({"redirect_uris": [REDIRECT]})).await;
    let (at, id) = (path(&made), made["client_id"].as_str().unwrap().to_owned());
    let rotated = async |admin: &Person, rest: Value| {
        let mut change = json!({"redirect_uris": [REDIRECT], "new_secret": true});
        change.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let answer = send(&app, Method::PUT, &at, admin, change).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body
    };
    let is_good = async |secret: &Value| {
        let request = app.request(Method::POST, "/oauth2/introspect").form(&[("token", "x")]);
        let answer = app.send(request.basic_auth(&id, secret.as_str())).await;
        assert!([200, 401].contains(&answer.status), "{}", answer.text);
        answer.status == 200
    };
    let [first, day] = [made["client_secret"].take(), rotated(&admin, json!({})).await["client_secret"].take()];
    assert!(is_good(&first).await && is_good(&day).await);
    app.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert!(is_good(&first).await);
    app.clock.advance(Duration::from_secs(1));
    assert!(!is_good(&first).await && is_good(&day).await, "a day is over");

    let admin = app.administrator().await;
    let hour = rotated(&admin, json!({"old_secret_expires_in": 3600})).await;
    let shown = app.get(&at, &admin.access).await.body;
    assert_eq!(shown["old_secret_expires_at"], hour["old_secret_expires_at"]);
    assert!(is_good(&day).await && is_good(&hour["client_secret"]).await);
    send(&app, Method::PUT, &at, &admin, json!({"redirect_uris": [REDIRECT]})).await;
    assert!(is_good(&day).await, "another change leaves it");
    let stolen = rotated(&admin, json!({"old_secret_expires_in": 0})).await;
    assert!(is_good(&stolen["client_secret"]).await);
    for gone in [&first, &day, &hour["client_secret"]] {
        assert!(!is_good(gone).await, "at once, and those from before with it");
    }
    for odd in [json!(-1), json!(2_592_001), json!("1d")] {
        let change = json!({"redirect_uris": [REDIRECT], "new_secret": true, "old_secret_expires_in": odd});
        let refused = send(&app, Method::PUT, &at, &admin, change).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/old_secret_expires_in")));
    }
    let public = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"});
    rotated(&admin, json!({})).await;
    send(&app, Method::PUT, &at, &admin, public).await;
    let client = clients::find(&app.service, &id).await.unwrap().unwrap();
    assert_eq!((client.secret_hash, client.former_secret), (None, FormerSecret::default()));
}

async fn a_secret_is_made_when_it_is_needed_and_forgotten_when_it_is_not(app: App) {
    let admin = app.administrator().await;
    let public = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"});
    let made = create(&app, &admin, public.clone()).await;
    assert!(made["client_secret"].is_null());
    let none = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", "new_secret": true});
    let none = send(&app, Method::PUT, &path(&made), &admin, none).await;
    assert!(none.body["client_secret"].is_null(), "it has no use for one");
    let post = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "client_secret_post"});
    let confidential = send(&app, Method::PUT, &path(&made), &admin, post).await;
    assert!(confidential.body["client_secret"].is_string());
    send(&app, Method::PUT, &path(&made), &admin, public).await;
    let client = clients::find(&app.service, made["client_id"].as_str().unwrap()).await.unwrap().unwrap();
    assert_eq!(client.secret_hash, None);
}

async fn what_is_shown_may_be_sent_back(app: App) {
    let admin = app.administrator().await;
    let wanted = json!({"redirect_uris": [REDIRECT], "first_party": true, "disabled": true, "scope": "openid cart",
                        "logo_uri": "https://shop.example"});
    let made = create(&app, &admin, wanted).await;
    let shown = app.get(&path(&made), &admin.access).await.body;
    let put = send(&app, Method::PUT, &path(&made), &admin, shown.clone()).await;
    assert_eq!((put.status, &put.body), (200, &shown), "{}", put.text);
}

async fn a_field_against_a_rule_is_named(app: App) {
    let admin = app.administrator().await;
    let made = create(&app, &admin, json!({"client_id": "good", "redirect_uris": [REDIRECT]})).await;
    for (body, pointer) in [
        (json!({}), "/redirect_uris"),
        (json!({"redirect_uris": ["javascript:alert(1)"]}), "/redirect_uris/0"),
        (json!({"redirect_uris": [REDIRECT], "logo_uri": "javascript:alert(1)"}), "/logo_uri"),
        (json!({"redirect_uris": [REDIRECT], "typo": 1}), "/typo"),
        (json!({"redirect_uris": [REDIRECT], "client_secret": "chosen"}), "/client_secret"),
        (json!({"redirect_uris": [REDIRECT], "first_party": "yes"}), "/first_party"),
        (json!({"redirect_uris": [REDIRECT], "disabled": 1}), "/disabled"),
        (json!({"redirect_uris": [REDIRECT], "client_id": "a~b"}), "/client_id"),
        (json!({"redirect_uris": [REDIRECT], "client_id": "platform"}), "/client_id"),
        (json!({"redirect_uris": [REDIRECT], "client_id": 7}), "/client_id"),
        (json!({"redirect_uris": [REDIRECT], "scope": "openid wishes"}), "/scope"),
    ] {
        for (method, path) in [(Method::POST, "/admin/clients".to_owned()), (Method::PUT, path(&made))] {
            let answer = send(&app, method, &path, &admin, body.clone()).await;
            assert_eq!((answer.status, answer.pointer()), (422, pointer), "{body}: {}", answer.text);
        }
    }
    let renamed = json!({"redirect_uris": [REDIRECT], "client_id": "other"});
    assert_eq!(send(&app, Method::PUT, &path(&made), &admin, renamed).await.pointer(), "/client_id");
}

async fn clients_are_listed_by_page(app: App) {
    let admin = app.administrator().await;
    for id in ["e", "b", "d", "a", "c"] {
        create(&app, &admin, json!({"client_id": id, "redirect_uris": [REDIRECT]})).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/admin/clients?limit=2{cursor}"), &admin.access).await;
        let items = page.body["items"].as_array().unwrap();
        assert!((1..=2).contains(&items.len()), "{}", page.text);
        seen.extend(items.iter().map(|item| item["client_id"].as_str().unwrap().to_owned()));
        let Some(next) = page.body["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    for query in ["limit=0", "limit=101", "cursor=*", "cursor=AAAA", "offset=1"] {
        assert_eq!(app.get(&format!("/admin/clients?{query}"), &admin.access).await.status, 400, "{query}");
    }
}

async fn the_redirect_uris_must_be_in_the_sectors_list(app: App) {
    let admin = app.administrator().await;
    let server = DocumentServer::start(json!([REDIRECT, "https://other.example/cb"])).await;
    let body = |uri: &str| json!({"redirect_uris": [uri], "sector_identifier_uri": server.url()});
    let made = create(&app, &admin, body(REDIRECT)).await;
    for (method, path) in [(Method::POST, "/admin/clients".to_owned()), (Method::PUT, path(&made))] {
        let answer = send(&app, method, &path, &admin, body("https://shop.example/elsewhere")).await;
        assert_eq!((answer.status, answer.pointer()), (422, "/sector_identifier_uri"), "{}", answer.text);
    }
    server.serve(200, "{}");
    let answer = send(&app, Method::POST, "/admin/clients", &admin, body(REDIRECT)).await;
    assert_eq!((answer.status, answer.pointer()), (422, "/sector_identifier_uri"));
}

async fn an_initial_token_has_bounds(app: App) {
    let admin = app.administrator().await;
    let path = "/admin/initial-access-tokens";
    let made = send(&app, Method::POST, path, &admin, json!({})).await;
    assert_eq!((made.status, &made.body["uses"]), (201, &json!(1)));
    assert_eq!(made.headers["cache-control"], "no-store");
    for (body, pointer) in [
        (json!({"uses": 0}), "/uses"),
        (json!({"uses": 1001}), "/uses"),
        (json!({"uses": -1}), "/uses"),
        (json!({"expires_in": 59}), "/expires_in"),
        (json!({"expires_in": 2_592_001}), "/expires_in"),
        (json!({"use": 1}), "/use"),
    ] {
        let answer = send(&app, Method::POST, path, &admin, body.clone()).await;
        assert_eq!((answer.status, answer.pointer()), (422, pointer), "{body}");
    }
}

async fn every_change_is_in_the_audit(app: App) {
    let admin = app.administrator().await;
    let made = create(&app, &admin, json!({"client_id": "shop", "redirect_uris": [REDIRECT]})).await;
    let change = json!({"redirect_uris": [REDIRECT], "new_secret": true});
    send(&app, Method::PUT, &path(&made), &admin, change).await;
    send(&app, Method::DELETE, &path(&made), &admin, json!({})).await;
    send(&app, Method::POST, "/admin/initial-access-tokens", &admin, json!({"uses": 7})).await;
    let audit = app.get("/admin/audit?limit=100", &admin.access).await;
    let mut entries: Vec<_> = audit.body["items"].as_array().unwrap().iter().rev().collect();
    entries.retain(|entry| entry["actor"] == admin.id.to_string() && entry["act"] != "log_in");
    let acts: Vec<_> = entries.iter().map(|entry| entry["act"].as_str().unwrap()).collect();
    let expected = ["create_client", "change_client", "rotate_client_secret", "delete_client", "make_initial_token"];
    let mut sorted = (acts.clone(), expected.to_vec());
    sorted.0.sort_unstable();
    sorted.1.sort_unstable();
    assert_eq!(sorted.0, sorted.1, "{acts:?}");
    assert!(entries[..4].iter().all(|entry| entry["detail"] == "shop" && entry["address"] == "127.0.0.1"));
    assert!(entries[4]["detail"].as_str().unwrap().starts_with("7 uses until "));
}

/// An application with tokens of somebody's, which are taken.
async fn with_tokens(app: &App) -> (Application, Person, Value) {
    let (person, application) = (app.somebody().await, Application::first_party(app).await);
    let mut browser = Browser::default();
    browser.sign_in(app, &person, crate::harness::PASSWORD).await;
    let tokens = application.tokens(app, &mut browser).await;
    assert_eq!(app.get("/oauth2/userinfo", tokens["access_token"].as_str().unwrap()).await.status, 200);
    (application, person, tokens)
}

/// Waits until the access token is refused everywhere; the refresh token is at once.
async fn are_ended(app: &App, application: &Application, tokens: &Value) {
    let refreshed = application.refresh(app, tokens["refresh_token"].as_str().unwrap()).await;
    assert!([400, 401].contains(&refreshed.status), "{}", refreshed.text);
    let (access, started) = (tokens["access_token"].as_str().unwrap(), std::time::Instant::now());
    while app.get("/oauth2/userinfo", access).await.status != 401 {
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "the token is still taken");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn what_a_client_was_given_ends_with_it(app: App) {
    let admin = app.administrator().await;
    let (application, person, tokens) = with_tokens(&app).await;
    let scope = Words::split("openid");
    let now = app.clock.now();
    let mut transaction = app.service.database.begin().await.unwrap();
    consents::put(&mut transaction, person.id, &application.id, &scope, now).await.unwrap();
    transaction.commit().await.unwrap();
    let path = format!("/admin/clients/{}", application.id);
    assert_eq!(app.call(Method::DELETE, &path, &admin.access).await.status, 204);
    are_ended(&app, &application, &tokens).await;
    let consent = consents::of(&app.service.database, person.id, &application.id).await.unwrap();
    assert!(consent.is_none(), "another client of this id would have to ask");
    assert_eq!(app.get("/auth/me", &person.access).await.status, 200, "the person stays signed in");
}

async fn what_a_client_was_given_ends_when_it_is_disabled(app: App) {
    let admin = app.administrator().await;
    let (application, _, tokens) = with_tokens(&app).await;
    let path = format!("/admin/clients/{}", application.id);
    let mut shown = app.get(&path, &admin.access).await.body;
    shown["disabled"] = json!(true);
    assert_eq!(send(&app, Method::PUT, &path, &admin, shown.clone()).await.status, 200);
    are_ended(&app, &application, &tokens).await;
    shown["disabled"] = json!(false);
    assert_eq!(send(&app, Method::PUT, &path, &admin, shown).await.status, 200);
    are_ended(&app, &application, &tokens).await;
}

fn program(place: &Place, arguments: &[&str], input: &str) -> (bool, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth-service"));
    command.arg("client").args(arguments).env_clear().envs(place.settings());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.success(), printed, String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_made_shown_changed_and_removed_by_commands() {
    let Some(app) = App::on_servers(|_| {}).await else { return };
    let run = |arguments: &[&str], input: Value| {
        let (good, printed, errors) = program(&app.place, arguments, &input.to_string());
        assert!(good, "{arguments:?}: {errors}");
        printed
    };
    let metadata = json!({"client_id": "shop", "client_name": "Shop", "redirect_uris": [REDIRECT]});
    let unknown = json!({"client_id": "shop", "redirect_uris": [REDIRECT], "scope": "openid wishes"});
    let (good, _, errors) = program(&app.place, &["create"], &unknown.to_string());
    assert!(!good && errors.contains("wishes is unknown; API_SCOPES adds") && errors.contains("/scope"), "{errors}");
    let made = run(&["create"], metadata.clone());
    let secret = made["client_secret"].as_str().unwrap().to_owned();
    let is_its_secret = async |secret: &str| {
        let client = clients::find(&app.service, "shop").await.unwrap().unwrap();
        client.secret_hash.unwrap().is_of(secret)
    };
    assert!(is_its_secret(&secret).await);
    assert_eq!(run(&["show", "shop"], json!(null))["client_name"], "Shop");
    assert_eq!(run(&["list"], json!(null)).as_array().unwrap().len(), 1);
    let changed = run(&["update", "shop"], json!({"client_name": "The Shop", "redirect_uris": [REDIRECT]}));
    assert_eq!((&changed["client_name"], &changed["client_secret"]), (&json!("The Shop"), &json!(null)));
    let rotated = run(&["rotate-secret", "shop"], json!(null));
    assert!(is_its_secret(rotated["client_secret"].as_str().unwrap()).await && !is_its_secret(&secret).await);
    let former = async || clients::find(&app.service, "shop").await.unwrap().unwrap().former_secret;
    assert!(former().await.hash.unwrap().is_of(&secret));
    let at_once = run(&["rotate-secret", "shop", "--keep-old-for", "0s"], json!(null));
    assert!(is_its_secret(at_once["client_secret"].as_str().unwrap()).await);
    assert!(former().await.at(app.clock.now()).is_none());
    let token = run(&["initial-token", "--uses", "3", "--expires-in", "1h"], json!(null));
    assert_eq!(token["uses"], 3);
    assert_eq!(run(&["delete", "shop"], json!(null)), json!({"deleted": "shop"}));

    for (arguments, input, mistake) in [
        (vec!["show", "shop"], "", "there is no such client"),
        (vec!["delete", "shop"], "", "there is no such client"),
        (vec!["rotate-secret", "a b"], "", "there is no such client"),
        (vec!["create"], "[]", "JSON object"),
        (vec!["create"], r#"{"redirect_uris":["javascript:x"]}"#, "/redirect_uris/0"),
        (vec!["update", "shop"], r#"{"redirect_uri":"x"}"#, "/redirect_uri"),
        (vec!["initial-token", "--uses", "0"], "", "expected 1 to 1000"),
        (vec!["initial-token", "--expires-in", "5 minutes"], "", "expected a duration"),
    ] {
        let (good, _, errors) = program(&app.place, &arguments, input);
        assert!(!good && errors.contains(mistake), "{arguments:?}: {errors}");
    }
}
