//! What an operator finds in the audit afterwards: each thing that was done or refused, once, with who did it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN_EMAIL, App, PASSWORD, Person, on_both};

on_both! {
    whatever_a_user_does_or_is_refused_is_written_down,
    whatever_an_administrator_does_is_written_down,
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
