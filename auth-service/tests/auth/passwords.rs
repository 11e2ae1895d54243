//! Changing the password.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, App, PASSWORD, Person, all, on_both};

const NEW: &str = "another horse battery";

on_both! {
    a_new_password_ends_the_other_sessions,
    the_current_password_must_be_right,
    guesses_at_the_current_password_are_bounded,
    a_login_that_is_too_old_must_be_repeated,
    an_ended_session_changes_no_password,
    a_bad_new_password_is_refused,
    of_two_changes_at_once_one_wins,
    a_login_that_races_a_change_does_not_survive_it,
}

async fn change(app: &App, person: &Person, current: &str, new: &str) -> Answer {
    let body = json!({"current_password": current, "new_password": new});
    app.send(app.request(Method::POST, "/auth/password").bearer_auth(&person.access).json(&body)).await
}

async fn a_new_password_ends_the_other_sessions(app: App) {
    let here = app.somebody().await;
    let there = app.sign_in(&here.email, PASSWORD).await;
    assert_eq!(change(&app, &here, PASSWORD, NEW).await.status, 204);
    app.is_refused(&there.access).await;
    assert_eq!(app.refresh(&there.refresh).await.status, 401);
    assert_eq!(app.get("/auth/me", &here.access).await.status, 200);
    assert_eq!(app.refresh(&here.refresh).await.status, 200);
    assert_eq!(app.log_in(&here.email, PASSWORD).await.status, 401);
    assert_eq!(app.log_in(&here.email, NEW).await.status, 200);
    assert_eq!(app.audit_of(here.id).await[&("change_password".to_owned(), "done".to_owned())], 1);
}

async fn the_current_password_must_be_right(app: App) {
    let here = app.somebody().await;
    let answer = change(&app, &here, "not the password", NEW).await;
    assert_eq!((answer.status, answer.code(), answer.pointer()), (403, "wrong_password", "/current_password"));
    assert_eq!(app.log_in(&here.email, PASSWORD).await.status, 200, "nothing has changed");
    assert_eq!(app.audit_of(here.id).await[&("change_password".to_owned(), "wrong_password".to_owned())], 1);
}

async fn guesses_at_the_current_password_are_bounded(app: App) {
    let here = app.somebody().await;
    let answers = all((0..50).map(|_| change(&app, &here, "not the password", NEW))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 403).count(), 10);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 40);
    assert_eq!(change(&app, &here, PASSWORD, NEW).await.status, 429, "the right one comes too late");
    assert_eq!(app.log_in(&here.email, PASSWORD).await.status, 200, "the login is counted by itself");
}

async fn a_login_that_is_too_old_must_be_repeated(app: App) {
    let here = app.somebody().await;
    app.clock.advance(Duration::from_secs(901));
    let refreshed = app.refresh(&here.refresh).await;
    let old = Person { access: refreshed.body["access_token"].as_str().unwrap().to_owned(), ..here.clone() };
    let answer = change(&app, &old, PASSWORD, NEW).await;
    assert_eq!((answer.status, answer.code()), (401, "insufficient_user_authentication"));
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.replace('"', "").contains("max_age=900"), "{challenge}");
    let again = app.sign_in(&here.email, PASSWORD).await;
    assert_eq!(change(&app, &again, PASSWORD, NEW).await.status, 204);
}

async fn an_ended_session_changes_no_password(app: App) {
    let here = app.somebody().await;
    app.service.sessions.end(here.session.parse().unwrap(), shared::session::EndReason::Logout).await.unwrap();
    assert_eq!(change(&app, &here, PASSWORD, NEW).await.status, 401, "asked of the store, at once");
    assert_eq!(app.log_in(&here.email, PASSWORD).await.status, 200);
}

async fn a_bad_new_password_is_refused(app: App) {
    let here = app.somebody().await;
    for refused in ["", "short", "password1", &"x".repeat(1025)] {
        let answer = change(&app, &here, PASSWORD, refused).await;
        assert_eq!((answer.status, answer.pointer()), (422, "/new_password"), "{refused:?}");
    }
}

async fn of_two_changes_at_once_one_wins(app: App) {
    let here = app.somebody().await;
    let there = app.sign_in(&here.email, PASSWORD).await;
    let (one, two) =
        tokio::join!(change(&app, &here, PASSWORD, NEW), change(&app, &there, PASSWORD, "a third horse battery"));
    let statuses = [one.status, two.status];
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{} {}", one.text, two.text);
    assert!(statuses.iter().all(|status| [204, 401, 403, 409].contains(status)), "{statuses:?}");
    let works =
        [app.log_in(&here.email, NEW).await.status, app.log_in(&here.email, "a third horse battery").await.status];
    assert_eq!(works.iter().filter(|status| **status == 200).count(), 1);
}

async fn a_login_that_races_a_change_does_not_survive_it(app: App) {
    for round in 0..5 {
        let here = app.somebody().await;
        let logins = all((0..4).map(|_| app.log_in(&here.email, PASSWORD)));
        let (logins, changed) = tokio::join!(logins, change(&app, &here, PASSWORD, NEW));
        assert_eq!(changed.status, 204, "{}", changed.text);
        for login in logins.iter().filter(|login| login.status == 200) {
            let refreshed = app.refresh(login.body["refresh_token"].as_str().unwrap()).await;
            assert_eq!(refreshed.status, 401, "round {round}: a login with the old password lives on");
        }
        assert_eq!(app.service.sessions.list(here.id).await.unwrap().len(), 1);
    }
}
