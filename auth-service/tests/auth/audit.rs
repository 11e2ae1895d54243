//! What an operator finds in the audit afterwards: each thing that was done or refused, once, with who did it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN_EMAIL, App, PASSWORD, Person, on_both};

on_both! {
    whatever_a_user_does_or_is_refused_is_written_down,
    whatever_an_administrator_does_is_written_down,
    ht1_failed_logins_from_one_network_are_one_entry_of_each_kind,
    ht1_the_audit_forgets_by_the_kind_of_entry,
}

/// The acts with their outcomes and details, from the oldest, that were written while `doing`.
async fn written(app: &App, admin: &Person, doing: impl AsyncFnOnce()) -> Vec<Value> {
    let entries = async || {
        let page = app.get("/admin/audit?limit=100", &admin.access).await;
        assert!(page.body["next"].is_null(), "one page holds them all");
        page.body["items"].as_array().unwrap().clone()
    };
    let before = entries().await.len();
    doing().await;
    let mut entries = entries().await;
    entries.truncate(entries.len() - before);
    entries.reverse();
    entries
}

/// `ACT OUTCOME`, each entry's.
fn acts(entries: &[Value]) -> Vec<String> {
    let word = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    entries.iter().map(|entry| format!("{} {}", word(entry, "act"), word(entry, "outcome"))).collect()
}

async fn whatever_a_user_does_or_is_refused_is_written_down(app: App) {
    let admin = app.administrator().await;
    let entries = written(&app, &admin, async || {
        let ada = app.somebody().await;
        app.log_in(&ada.email, "not the password").await;
        app.log_in("nobody@example.com", PASSWORD).await;
        let change = json!({"current_password": "not the password", "new_password": "another horse battery"});
        let change = app.request(Method::POST, "/auth/password").bearer_auth(&ada.access).json(&change);
        assert_eq!(app.send(change).await.status, 403);
        let other = app.sign_in(&ada.email, PASSWORD).await;
        let path = format!("/auth/sessions/{}", other.session);
        assert_eq!(app.call(Method::DELETE, &path, &ada.access).await.status, 204);
        let change = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
        let change = app.request(Method::POST, "/auth/password").bearer_auth(&ada.access).json(&change);
        assert_eq!(app.send(change).await.status, 204);
        assert_eq!(app.call(Method::POST, "/auth/logout", &ada.access).await.status, 204);
        let ada = app.sign_in(&ada.email, "another horse battery").await;
        assert_eq!(app.call(Method::POST, "/auth/logout-all", &ada.access).await.status, 200);
        let ada = app.sign_in(&ada.email, "another horse battery").await;
        app.refresh(&ada.refresh).await;
        app.clock.advance(std::time::Duration::from_secs(60));
        assert_eq!(app.refresh(&ada.refresh).await.status, 401);
    })
    .await;
    let expected = [
        "register done",
        "log_in done",
        "log_in wrong_password",
        "log_in unknown_account",
        "change_password wrong_password",
        "log_in done",
        "end_session done",
        "change_password done",
        "end_sessions done",
        "end_session done",
        "log_in done",
        "end_sessions done",
        "log_in done",
        "refresh refresh_token_reused",
        "end_session done",
    ];
    assert_eq!(acts(&entries), expected, "{entries:#?}");
    assert!(entries.iter().all(|entry| entry["address"] == "127.0.0.1"), "{entries:#?}");
}

async fn whatever_an_administrator_does_is_written_down(app: App) {
    let (admin, ada) = (app.administrator().await, app.somebody().await);
    let account = format!("/admin/users/{}", ada.id);
    let entries = written(&app, &admin, async || {
        let kick = format!("/admin/sessions/{}", ada.session);
        let calls = [
            (Method::DELETE, kick, Value::Null, 204),
            (Method::POST, format!("{account}/lock"), Value::Null, 200),
            (Method::POST, format!("{account}/unlock"), Value::Null, 200),
            (Method::PUT, format!("{account}/roles"), json!({"roles": ["user", "support"]}), 200),
            (Method::POST, "/admin/keys/rotate".to_owned(), Value::Null, 200),
        ];
        for (method, path, body, status) in calls {
            let request = app.request(method, &path).bearer_auth(&admin.access);
            let request = if body.is_null() { request } else { request.json(&body) };
            let answer = app.send(request).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
        }
    })
    .await;
    let expected = [
        "end_session done",
        "lock_user done",
        "end_sessions done",
        "unlock_user done",
        "set_roles done",
        "end_sessions done",
        // One for each algorithm.
        "rotate_keys done",
        "rotate_keys done",
        "rotate_keys done",
    ];
    assert_eq!(acts(&entries), expected, "{entries:#?}");
    for entry in &entries {
        assert_eq!(entry["actor"], json!(admin.id.to_string()), "{ADMIN_EMAIL} did it: {entry:#?}");
    }
}

async fn ht1_failed_logins_from_one_network_are_one_entry_of_each_kind(app: App) {
    // From the beginning of an hour: no entry ends in the middle of the test.
    let hour = auth_service::storage::audit::COUNTED_TOGETHER;
    let since = u64::try_from(app.clock.now().micros()).unwrap() % u64::try_from(hour.as_micros()).unwrap();
    app.clock.advance(hour - std::time::Duration::from_micros(since));
    let admin = app.administrator().await;
    let (ada, bob) = (app.somebody().await, app.somebody().await);
    let entries = written(&app, &admin, async || {
        let logins = (0..60).map(|number| {
            let (app, ada, bob) = (&app, &ada, &bob);
            async move {
                let invented = format!("invented-{number}@example.com");
                let email = [&ada.email, &bob.email, &invented][number % 3];
                app.log_in(email, "not the password").await;
            }
        });
        futures_util::future::join_all(logins).await;
    })
    .await;
    let mut counts: Vec<(String, Value, i64)> = entries
        .iter()
        .map(|entry| {
            assert!(entry["last_at"].as_str() >= entry["at"].as_str(), "{entry:#?}");
            let outcome = entry["outcome"].as_str().unwrap().to_owned();
            (outcome, entry["subject"].clone(), entry["count"].as_i64().unwrap())
        })
        .collect();
    counts.retain(|(outcome, ..)| outcome != "throttled");
    counts.sort_by_key(|(outcome, subject, _)| (outcome.clone(), subject.to_string()));
    let of = |outcome: &str| -> Vec<i64> {
        counts.iter().filter(|(found, ..)| found == outcome).map(|(.., count)| *count).collect()
    };
    assert_eq!(of("unknown_account"), [20], "invented accounts share one entry: {entries:#?}");
    assert_eq!(of("wrong_password").len(), 2, "an account has an entry of its own: {entries:#?}");
    assert_eq!(of("wrong_password").iter().max(), Some(&10), "and each guess is counted: {entries:#?}");
}

async fn ht1_the_audit_forgets_by_the_kind_of_entry(app: App) {
    use std::time::Duration;
    const DAY: Duration = Duration::from_secs(86_400);
    let ada = app.somebody().await;
    app.log_in("nobody@example.com", PASSWORD).await;
    let outcomes = async || {
        let entries = auth_service::storage::audit::page(&app.service.database, None, None, 100).await.unwrap();
        let refused = entries.iter().filter(|entry| entry.outcome != "done").count();
        let of_ada = entries.iter().filter(|entry| entry.subject == Some(ada.id)).count();
        (refused, of_ada)
    };
    let before = outcomes().await;
    assert_eq!(before.0, 1);
    app.clock.advance(30 * DAY - Duration::from_secs(60));
    auth_service::pruning::prune(&app.service).await.unwrap();
    assert_eq!(outcomes().await, before, "all is there until its time has come");
    app.clock.advance(Duration::from_secs(120));
    auth_service::pruning::prune(&app.service).await.unwrap();
    assert_eq!(outcomes().await, (0, before.1), "refusals are kept for 30 days");
    app.clock.advance(370 * DAY);
    auth_service::pruning::prune(&app.service).await.unwrap();
    assert_eq!(outcomes().await, (0, 0), "what was done is kept for 400 days");
}
