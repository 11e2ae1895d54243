//! What the service writes down of itself: everything needed, and no secret.

use reqwest::Method;
use serde_json::json;

use crate::harness::{App, PASSWORD, logged, on_both};

on_both! {
    no_secret_is_logged_or_shown_or_measured,
    a_made_up_request_id_or_browser_forges_no_line,
}

/// D18
async fn no_secret_is_logged_or_shown_or_measured(app: App) {
    let (password, new) = (format!("Pw {}", uuid::Uuid::new_v4()), format!("Pw {}", uuid::Uuid::new_v4()));
    let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
    app.post("/auth/register", json!({"email": email, "password": password})).await;
    let person = app.sign_in(&email, &password).await;
    let wrong = format!("Wrong {}", uuid::Uuid::new_v4());
    app.log_in(&email, &wrong).await;
    let refreshed = app.refresh(&person.refresh).await;
    app.clock.advance(std::time::Duration::from_secs(20));
    app.refresh(&person.refresh).await;
    app.get("/auth/me", &person.access).await;
    let person = app.sign_in(&email, &password).await;
    let body = json!({"current_password": password, "new_password": new});
    assert_eq!(
        app.send(app.request(Method::POST, "/auth/password").bearer_auth(&person.access).json(&body)).await.status,
        204
    );
    app.get("/auth/me", &format!("{}x", person.access)).await;
    app.refresh(&format!("{}x", person.refresh)).await;
    app.post("/auth/login", json!({"email": wrong, "password": [new]})).await;
    let admin = app.administrator().await;
    app.call(Method::POST, "/admin/keys/rotate", &admin.access).await;

    let metrics = reqwest::get(app.url("/metrics")).await.unwrap().text().await.unwrap();
    let audit = app.get("/admin/audit?limit=100", &admin.access).await.text;
    let logged = logged();
    assert!(logged.contains("a refresh token was used again") && logged.contains("a signing key was made"), "{logged}");
    let new_access = refreshed.body["access_token"].as_str().unwrap();
    let new_refresh = refreshed.body["refresh_token"].as_str().unwrap();
    let tokens = [&person.access, &person.refresh, &admin.access, &admin.refresh].map(String::as_str);
    let signatures = tokens.into_iter().chain([new_access, new_refresh]).map(|token| token.rsplit('.').next().unwrap());
    let secrets = [
        password.as_str(),
        &new,
        &wrong,
        PASSWORD,
        crate::harness::ADMIN_PASSWORD,
        crate::harness::MASTER_KEY,
        "$argon2id",
    ];
    for secret in signatures.chain(secrets) {
        for (place, text) in [("log", &logged), ("metrics", &metrics), ("audit", &audit)] {
            assert!(!text.contains(secret), "{secret} is in the {place}");
        }
    }
    for metric in ["roam_logins_total", "roam_refreshes_total", "roam_sessions_ended_total", "roam_hash_queue"] {
        assert!(metrics.contains(metric), "{metric} is missing");
    }
}

/// D17
async fn a_made_up_request_id_or_browser_forges_no_line(app: App) {
    let mark = uuid::Uuid::new_v4().simple().to_string();
    let forged = format!("{{\"level\":\"ERROR\",\"message\":\"{mark}\"}}");
    let request = app.request(Method::POST, "/auth/login").json(&json!({"email": "a@example.com", "password": "x"}));
    app.send(request.header("X-Request-Id", &forged).header("User-Agent", &forged)).await;
    app.post(
        "/auth/login",
        json!({"email": format!("a\r\n{forged}@example.com"), "password": forged, "device": forged}),
    )
    .await;
    app.refresh(&forged).await;
    assert!(!logged().contains(&mark), "what a client sends is not logged");
    assert!(
        logged()
            .lines()
            .filter(|line| !line.is_empty())
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
}
