//! A machine whose clock is wrong, and clients that leave before the answer: attacks HF6 and HF7 of `attacks.md`.

use reqwest::Method;
use serde_json::json;

use crate::back_channel::wait_for;
use crate::harness::{App, PASSWORD, on_both};

on_both! {
    hf6_while_the_clock_is_in_doubt_nobody_signs_in_and_no_token_is_issued,
    hf7_an_end_is_carried_out_though_its_client_leaves_at_once,
}

async fn hf6_while_the_clock_is_in_doubt_nobody_signs_in_and_no_token_is_issued(app: App) {
    let ada = app.somebody().await;
    let watch = app.service.keys.clock_watch();
    // The task that compares sees no difference, and PostgreSQL has one to compare with.
    if !matches!(app.service.database, shared::database::Database::Sqlite(_)) {
        return;
    }
    for ahead in [600_000_000, -600_000_000] {
        watch.made_up(ahead);
        watch.made_up(ahead);
        for answer in [
            app.send_whatever(
                app.request(Method::POST, "/auth/login").json(&json!({"email": ada.email, "password": PASSWORD})),
            )
            .await,
            app.refresh_whatever(&ada.refresh).await,
        ] {
            assert_eq!(answer.status, 503, "{}", answer.text);
            assert!(answer.text.contains("clock") && answer.headers.contains_key("retry-after"), "{}", answer.text);
        }
        let ready = app.send_whatever(app.request(Method::GET, "/readyz")).await;
        assert!(ready.status == 503 && ready.text.contains("the database's"), "{}", ready.text);
        watch.made_up(0);
        assert_eq!(app.log_in(&ada.email, PASSWORD).await.status, 200);
        assert_eq!(app.send_whatever(app.request(Method::GET, "/readyz")).await.status, 200);
    }
    assert_eq!(app.refresh(&ada.refresh).await.status, 200, "the token is as good as before");
}

async fn hf7_an_end_is_carried_out_though_its_client_leaves_at_once(app: App) {
    let address = app.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
    for round in 0..12 {
        let ada = app.somebody().await;
        let session = app.service.sessions.list(ada.id).await.unwrap().remove(0).id;
        let (head, body) = if round % 2 == 0 {
            (format!("Authorization: Bearer {}\r\nContent-Length: 0", ada.access), String::new())
        } else {
            let body = json!({"refresh_token": ada.refresh}).to_string();
            (format!("Content-Type: application/json\r\nContent-Length: {}", body.len()), body)
        };
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let request = format!("POST /auth/logout HTTP/1.1\r\nHost: {address}\r\n{head}\r\n\r\n{body}");
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        drop(stream);
        wait_for("the end of the session", async || app.service.sessions.load(session).await.unwrap().is_none()).await;
    }
}
