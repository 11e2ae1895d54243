//! The API documents say what the service does: the harness holds every answer of every test against them, and here
//! each endpoint gets what it does not expect.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{App, on_both};

on_both! {
    every_endpoint_of_the_contract_is_documented,
    whatever_is_sent_the_answer_is_documented_and_no_failure,
    unknown_paths_and_methods_are_refused,
}

async fn every_endpoint_of_the_contract_is_documented(app: App) {
    let paths = &app.api()["paths"];
    for (method, path, is_open) in [
        ("post", "/auth/register", true),
        ("post", "/auth/login", true),
        ("post", "/auth/refresh", true),
        ("post", "/auth/logout", false),
        ("post", "/auth/logout-all", false),
        ("get", "/auth/me", false),
        ("get", "/auth/sessions", false),
        ("delete", "/auth/sessions/{id}", false),
        ("post", "/auth/password", false),
        ("get", "/admin/users", false),
        ("get", "/admin/sessions", false),
        ("delete", "/admin/sessions/{id}", false),
        ("post", "/admin/users/{id}/lock", false),
        ("post", "/admin/users/{id}/unlock", false),
        ("put", "/admin/users/{id}/roles", false),
        ("get", "/admin/audit", false),
        ("post", "/admin/keys/rotate", false),
        ("get", "/admin/clients", false),
        ("post", "/admin/clients", false),
        ("get", "/admin/clients/{id}", false),
        ("put", "/admin/clients/{id}", false),
        ("delete", "/admin/clients/{id}", false),
        ("post", "/admin/initial-access-tokens", false),
        ("post", "/oauth2/register", false),
        ("get", "/oauth2/register/{id}", false),
        ("put", "/oauth2/register/{id}", false),
        ("delete", "/oauth2/register/{id}", false),
        ("get", "/.well-known/jwks.json", true),
    ] {
        let operation = &paths[path][method];
        assert!(operation.is_object(), "{method} {path} is not documented");
        assert_eq!(operation["security"].is_null(), is_open, "{method} {path}");
        assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
        let no_content = operation["responses"]["204"]["content"].is_null();
        assert!(no_content, "{method} {path}");
    }
    let text = app.api().to_string();
    assert!(!text.contains("password_hash"), "nothing of the inside is shown");
}

async fn whatever_is_sent_the_answer_is_documented_and_no_failure(app: App) {
    let admin = app.administrator().await;
    let bodies: Vec<Value> = vec![
        json!(null),
        json!([]),
        json!({}),
        json!("text"),
        json!(-1),
        json!({"email": null, "password": null}),
        json!({"email": {"a": 1}, "password": [1]}),
        json!({"email": "\u{0}@\u{0}", "password": "\u{0}"}),
        json!({"refresh_token": null}),
        json!({"refresh_token": "\u{0}"}),
        json!({"roles": [[]]}),
        json!({"roles": ["\u{0}"]}),
        json!({"current_password": 1, "new_password": 2}),
        json!({"redirect_uris": ["\u{0}"], "client_name": "\u{0}"}),
        json!({"redirect_uris": ["https://shop.example/"], "jwks": {"keys": [[[]]]}}),
    ];
    let ids = [
        "0",
        "%00",
        "..%2f..",
        "%ff%fe",
        "null",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "fAAAAAAAAAAAAAAAAAAAAAA",
        "%F0%9F%94%91",
    ];
    let paths = app.api()["paths"].as_object().unwrap().clone();
    for (pattern, item) in &paths {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            if pattern == "/auth/logout-all" || pattern == "/auth/logout" {
                continue;
            }
            for id in ids {
                let path = pattern.replace("{id}", id);
                let sent = app.request(method.clone(), &path).bearer_auth(&admin.access);
                app.send(sent).await;
                if !pattern.contains("{id}") {
                    break;
                }
            }
            for body in &bodies {
                let path = pattern.replace("{id}", &admin.id.to_string());
                for authorized in [true, false] {
                    let sent = app.request(method.clone(), &path).json(body);
                    let sent = if authorized { sent.bearer_auth(&admin.access) } else { sent };
                    app.send(sent).await;
                }
            }
            for query in ["limit=%00", "cursor=%ff", "limit=99999999999999999999", "a=b", "%", "limit"] {
                let path = format!("{}?{query}", pattern.replace("{id}", "0"));
                app.send(app.request(method.clone(), &path).bearer_auth(&admin.access)).await;
            }
            for header in
                ["Bearer", "Bearer ", "Bearer  x", "\u{e9}", "Bearer \u{e9}", "Basic YTpi", "Bearer a.b.c.d.e"]
            {
                let path = pattern.replace("{id}", "0");
                let value = reqwest::header::HeaderValue::from_bytes(header.as_bytes()).unwrap();
                app.send(app.request(method.clone(), &path).header("Authorization", value)).await;
            }
        }
    }
    assert_eq!(app.get("/auth/me", &admin.access).await.status, 200, "and the administrator is still there");
}

async fn unknown_paths_and_methods_are_refused(app: App) {
    for path in [
        "/auth",
        "/auth/",
        "/auth/login/",
        "//auth/login",
        "/AUTH/LOGIN",
        "/auth/me;x=y",
        "/.well-known/jwks.json/",
        "/oauth2/token",
    ] {
        let answer = app.send(app.request(Method::GET, path)).await;
        assert!([404, 405].contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    for (method, path) in [
        (Method::GET, "/auth/login"),
        (Method::PUT, "/auth/me"),
        (Method::DELETE, "/auth/logout"),
        (Method::PATCH, "/admin/users"),
    ] {
        let answer = app.send(app.request(method.clone(), path)).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.headers.contains_key("allow"));
    }
}
