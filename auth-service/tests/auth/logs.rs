//! What the service writes down of itself: everything needed, and no secret.

use reqwest::Method;
use serde_json::json;

use crate::harness::{App, PASSWORD, logged, on_both};

on_both! {
    no_secret_is_logged_or_shown_or_measured,
    a_made_up_request_id_or_browser_forges_no_line,
    a_refused_request_is_found_by_the_request_id_of_its_answer,
    a_flood_of_refused_requests_fills_no_log,
}

/// What was logged for the request of this id.
fn lines_of(id: &str) -> Vec<String> {
    logged().lines().filter(|line| line.contains(id) && line.contains("is refused")).map(str::to_owned).collect()
}

async fn a_refused_request_is_found_by_the_request_id_of_its_answer(app: App) {
    let admin = app.administrator().await;
    let id = format!("shop-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let client = json!({"client_id": id, "redirect_uris": ["https://shop.example/cb"], "strict_auth_method": true});
    let made = app.send(app.request(Method::POST, "/admin/clients").bearer_auth(&admin.access).json(&client)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let secret = made.body["client_secret"].as_str().unwrap().to_owned();
    let asks = |client: &str, more: &str| {
        let path = format!("/oauth2/authorize?response_type=code&scope=openid&client_id={client}{more}");
        app.request(Method::GET, &path)
    };
    let evil = "&redirect_uri=https%3A%2F%2Fevil.example%2F%0Acb%3Ftoken%3Dhunter2";
    let unknown = format!("nobody-{}", uuid::Uuid::new_v4().simple());
    let token = |secret: &str| {
        let form = [("grant_type", "client_credentials"), ("client_id", &*id), ("client_secret", secret)];
        app.request(Method::POST, "/oauth2/token").form(&form)
    };
    let page = asks(&id, evil).header("accept", "text/html").send().await.unwrap();
    let shown = page.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(page.text().await.unwrap().contains(&shown), "the page does not show {shown}");
    assert_eq!(lines_of(&shown).len(), 1);
    for (request, reason, named) in [
        (asks(&id, evil), "redirect_uri", vec!["https://evil.example/?cb?(more)", "https://shop.example/cb", &id]),
        (asks(&unknown, ""), "unknown_client", vec![&*unknown]),
        (asks("a%0Ab", ""), "unknown_client", vec!["(no client's id)"]),
        (token("hunter2"), "wrong_secret", vec!["client_secret_post", "client_secret_basic", &id]),
        (token(&secret), "wrong_method", vec!["client_secret_post", "client_secret_basic", &id]),
    ] {
        let answer = app.send(request).await;
        let shown = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        let lines = lines_of(&shown);
        assert_eq!(lines.len(), 1, "{reason}: {lines:?}");
        assert!(lines[0].contains(&format!("\"reason\":\"{reason}\"")), "{}", lines[0]);
        for text in named {
            assert!(lines[0].contains(text), "{text} is missing: {}", lines[0]);
        }
        assert!(!lines[0].contains("hunter2") && !lines[0].contains(&secret), "{}", lines[0]);
    }
}

async fn a_flood_of_refused_requests_fills_no_log(app: App) {
    const REQUESTS: usize = 300;
    let nobody = format!("flood-{}", uuid::Uuid::new_v4().simple());
    let path = format!("/oauth2/authorize?client_id={nobody}");
    for _ in 0..REQUESTS {
        assert_eq!(app.send(app.request(Method::GET, &path)).await.status, 400);
    }
    let lines = logged().lines().filter(|line| line.contains(&nobody)).count();
    assert!((20..REQUESTS / 3).contains(&lines), "{lines} lines");
    assert!(logged().contains("too many lines of this kind"), "nothing says that lines are missing");
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
