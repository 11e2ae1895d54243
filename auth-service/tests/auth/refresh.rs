//! Refresh tokens: rotated, repeated, stolen, ended.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use auth_service::storage::users;
use reqwest::Method;
use serde_json::json;
use shared::session::EndReason;

use crate::harness::{App, PASSWORD, Person, all, on_both};
use crate::login::claims;

on_both! {
    c1_a_refresh_gives_new_tokens_and_uses_up_the_old_one,
    c3_a_hundred_refreshes_with_one_token_get_one_successor,
    c4_a_lost_answer_is_repeated_with_the_same_successor,
    c2_a_token_used_again_after_the_grace_ends_the_session,
    c8_a_refresh_token_that_was_changed_ends_nothing,
    c7_no_refresh_after_the_session_has_ended,
    no_refresh_for_a_locked_account_even_if_its_session_lives,
    a_refresh_that_meets_a_change_of_the_password_never_ends_the_session_that_changed_it,
    a_refresh_waits_for_the_word_which_session_goes_on,
    c20_a_session_ends_when_it_is_not_refreshed_and_in_any_case,
    no_token_outlives_its_session,
    c22_a_logout_that_races_refreshes_leaves_nothing_alive,
    no_token_is_taken_for_another_kind,
    c9_the_tokens_are_nowhere_in_the_store,
}

fn token(answer: &crate::harness::Answer, name: &str) -> String {
    answer.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", answer.text)).to_owned()
}

async fn assert_ended(app: &App, person: &Person) {
    app.is_refused(&person.access).await;
    assert!(app.service.sessions.load(person.session.parse().unwrap()).await.unwrap().is_none());
}

async fn c1_a_refresh_gives_new_tokens_and_uses_up_the_old_one(app: App) {
    let somebody = app.somebody().await;
    let answer = app.refresh(&somebody.refresh).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_ne!(token(&answer, "access_token"), somebody.access);
    assert_ne!(token(&answer, "refresh_token"), somebody.refresh);
    assert_eq!(token(&answer, "session_id"), somebody.session);
    let (old, new) = (claims(&somebody.access), claims(&token(&answer, "access_token")));
    for same in ["iss", "sub", "aud", "sid", "client_id", "scope", "roles", "auth_time", "amr"] {
        assert_eq!(old[same], new[same], "{same}");
    }
    assert_ne!(old["jti"], new["jti"]);
    assert_eq!(app.get("/auth/me", &somebody.access).await.status, 200, "the access token before lives on");
    assert_eq!(app.refresh(&token(&answer, "refresh_token")).await.status, 200);
}

async fn c3_a_hundred_refreshes_with_one_token_get_one_successor(app: App) {
    let somebody = app.somebody().await;
    let answers = all((0..100).map(|_| app.refresh(&somebody.refresh))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "nobody is logged out");
    let successors: HashSet<_> = answers.iter().map(|answer| token(answer, "refresh_token")).collect();
    assert_eq!(successors.len(), 1, "there is one live branch");
    let successor = successors.into_iter().next().unwrap();
    assert_eq!(app.refresh(&successor).await.status, 200);
    let accesses: HashSet<_> = answers.iter().map(|answer| token(answer, "access_token")).collect();
    assert_eq!(accesses.len(), 100, "each has an access token of its own");
}

async fn c4_a_lost_answer_is_repeated_with_the_same_successor(app: App) {
    let somebody = app.somebody().await;
    let lost = app.refresh(&somebody.refresh).await;
    app.clock.advance(Duration::from_secs(8));
    let again = app.refresh(&somebody.refresh).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(token(&again, "refresh_token"), token(&lost, "refresh_token"));
}

async fn c2_a_token_used_again_after_the_grace_ends_the_session(app: App) {
    let somebody = app.somebody().await;
    let other = app.sign_in(&somebody.email, PASSWORD).await;
    let newest = app.refresh(&somebody.refresh).await;
    app.clock.advance(Duration::from_secs(11));
    let reused = app.refresh(&somebody.refresh).await;
    assert_eq!((reused.status, reused.code()), (401, "invalid_refresh_token"));
    let after = app.refresh(&token(&newest, "refresh_token")).await;
    assert_eq!((after.status, after.code()), (401, "invalid_refresh_token"), "the newest is dead too");
    assert_eq!(after.comparable(), reused.comparable(), "a thief is not told which it was");
    assert_ended(&app, &somebody).await;
    app.is_refused(&token(&newest, "access_token")).await;
    assert_eq!(app.get("/auth/me", &other.access).await.status, 200, "another login is another matter");
    let audit = app.audit_of(somebody.id).await;
    assert_eq!(audit[&("refresh".to_owned(), "refresh_token_reused".to_owned())], 1);
    assert_eq!(audit[&("end_session".to_owned(), "done".to_owned())], 1);
}

async fn c8_a_refresh_token_that_was_changed_ends_nothing(app: App) {
    let somebody = app.somebody().await;
    let good = &somebody.refresh;
    let parts: Vec<&str> = good.split('.').collect();
    let guessed = format!("{}.{}.2.{}", parts[0], parts[1], parts[3]);
    let other_client = format!("{}.other.1.{}", parts[0], parts[3]);
    let mut changed =
        vec![guessed, other_client, good[..good.len() - 1].to_owned(), format!("{good}A"), format!("{good}\r\n")];
    changed.extend(["", ".", "...", "rt:*", "*", "\u{0}", "a.b.c.d", "roam:{0}:s:*"].map(str::to_owned));
    for place in [0, 5, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone().into_bytes();
        bytes[place] ^= 1;
        changed.push(String::from_utf8(bytes).unwrap());
    }
    let shape = app.refresh("garbage").await.comparable();
    for changed in changed {
        assert_eq!(app.refresh(&changed).await.comparable(), shape, "{changed:?}");
        assert_eq!(app.post("/auth/logout", json!({"refresh_token": changed})).await.status, 401);
    }
    assert_eq!(app.refresh(&"x".repeat(1_000_000)).await.status, 413);
    assert_eq!(app.post("/auth/refresh", json!({"refresh_token": 7})).await.status, 422);
    assert_eq!(app.refresh(good).await.status, 200, "the session has not noticed");
}

async fn c7_no_refresh_after_the_session_has_ended(app: App) {
    let admin = app.administrator().await;
    let by = auth_service::storage::audit::By::SERVICE;
    for how in ["logout", "logout-all", "password", "lock", "roles", "administrator"] {
        let (other, somebody) = {
            let somebody = app.somebody().await;
            (app.sign_in(&somebody.email, PASSWORD).await, somebody)
        };
        let answer = match how {
            "logout" => app.call(Method::POST, "/auth/logout", &somebody.access).await,
            "logout-all" => app.call(Method::POST, "/auth/logout-all", &other.access).await,
            "password" => {
                let body = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
                app.send(app.request(Method::POST, "/auth/password").bearer_auth(&other.access).json(&body)).await
            }
            "lock" => app.call(Method::POST, &format!("/admin/users/{}/lock", somebody.id), &admin.access).await,
            "roles" => {
                let path = format!("/admin/users/{}/roles", somebody.id);
                app.send(
                    app.request(Method::PUT, &path)
                        .bearer_auth(&admin.access)
                        .json(&json!({"roles": ["user", "support"]})),
                )
                .await
            }
            _ => app.call(Method::DELETE, &format!("/admin/sessions/{}", somebody.session), &admin.access).await,
        };
        assert!(answer.status < 300, "{how}: {}", answer.text);
        let refreshed = app.refresh(&somebody.refresh).await;
        assert_eq!((refreshed.status, refreshed.code()), (401, "invalid_refresh_token"), "{how}");
        assert_ended(&app, &somebody).await;
    }
    let somebody = app.somebody().await;
    auth_service::end_session::end(&app.service, somebody.session.parse().unwrap(), EndReason::Logout, &by)
        .await
        .unwrap();
    assert_eq!(app.refresh(&somebody.refresh).await.status, 401);
}

async fn no_refresh_for_a_locked_account_even_if_its_session_lives(app: App) {
    let somebody = app.somebody().await;
    // A lock whose second half, ending the sessions, never came to be.
    let mut transaction = app.service.database.begin().await.unwrap();
    let now = app.clock.now();
    users::set_locked(&mut transaction, somebody.id, Some(now)).await.unwrap().unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(app.refresh(&somebody.refresh).await.status, 401);
    assert_ended(&app, &somebody).await;
}

/// One tab changes the password while others refresh.
async fn a_refresh_that_meets_a_change_of_the_password_never_ends_the_session_that_changed_it(app: App) {
    let mut somebody = app.somebody().await;
    let mut password = PASSWORD.to_owned();
    for round in 0..12 {
        let next = format!("a new passphrase, number {round}");
        let body = json!({"current_password": password, "new_password": next});
        let request = app.request(Method::POST, "/auth/password").bearer_auth(&somebody.access).json(&body);
        let is_changed = AtomicBool::new(false);
        let change = async {
            let answer = app.send(request).await;
            is_changed.store(true, Ordering::Relaxed);
            answer
        };
        let refreshes = async {
            let mut newest = somebody.refresh.clone();
            while !is_changed.load(Ordering::Relaxed) {
                let answer = app.refresh_whatever(&newest).await;
                match answer.status {
                    200 => newest = token(&answer, "refresh_token"),
                    _ => assert_eq!((answer.status, answer.code()), (503, "account_changing"), "round {round}"),
                }
            }
            newest
        };
        let (changed, newest) = tokio::join!(change, refreshes);
        assert_eq!(changed.status, 204, "round {round}: {}", changed.text);
        let answer = app.refresh(&newest).await;
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text);
        (somebody.access, somebody.refresh) = (token(&answer, "access_token"), token(&answer, "refresh_token"));
        password = next;
    }
}

/// Between the commit of a new password and the word to the session store.
async fn a_refresh_waits_for_the_word_which_session_goes_on(app: App) {
    let database = &app.service.database;
    loop {
        let (keeps, ends) = (app.somebody().await, app.somebody().await);
        let begun = Instant::now();
        for person in [&keeps, &ends] {
            let mut transaction = database.begin().await.unwrap();
            assert!(users::set_password(&mut transaction, person.id, 1, "$argon2id$").await.unwrap());
            transaction.commit().await.unwrap();
        }
        let refused = [app.refresh_whatever(&keeps.refresh).await, app.refresh_whatever(&ends.refresh).await];
        let change = [("account_version".to_owned(), Some("2".to_owned()))];
        app.service.sessions.write(keeps.session.parse().unwrap(), &change, None).await.unwrap();
        for person in [&keeps, &ends] {
            users::sessions_ended(database, person.id, 2).await.unwrap();
        }
        if begun.elapsed() > Duration::from_secs(1) {
            // The service itself may have ended what seemed to be left over.
            continue;
        }
        for answer in refused {
            assert_eq!((answer.status, answer.code()), (503, "account_changing"), "{}", answer.text);
            assert_eq!(answer.headers["retry-after"], "1");
        }
        assert_eq!(app.refresh(&keeps.refresh).await.status, 200, "the token was not lost by the refusal");
        assert_eq!(app.refresh(&ends.refresh).await.status, 401);
        return assert_ended(&app, &ends).await;
    }
}

async fn c20_a_session_ends_when_it_is_not_refreshed_and_in_any_case(app: App) {
    const DAY: Duration = Duration::from_secs(86_400);
    let idle = app.somebody().await;
    app.clock.advance(DAY * 7 + Duration::from_secs(1));
    assert_eq!(app.refresh(&idle.refresh).await.status, 401);

    let busy = app.somebody().await;
    let mut newest = busy.refresh;
    for day in 1..=4 {
        app.clock.advance(DAY * 6);
        let answer = app.refresh(&newest).await;
        assert_eq!(answer.status, 200, "day {}", day * 6);
        newest = token(&answer, "refresh_token");
    }
    app.clock.advance(DAY * 6 + Duration::from_secs(1));
    assert_eq!(app.refresh(&newest).await.status, 401, "thirty days are the end");
}

async fn no_token_outlives_its_session(app: App) {
    const DAY: Duration = Duration::from_secs(86_400);
    let mut newest = app.somebody().await.refresh;
    for step in [DAY * 6, DAY * 6, DAY * 6, DAY * 6, DAY * 6 - Duration::from_secs(60)] {
        app.clock.advance(step);
        newest = token(&app.refresh(&newest).await, "refresh_token");
    }
    let answer = app.refresh(&newest).await;
    let left = answer.body["expires_in"].as_i64().unwrap();
    assert!((1..=60).contains(&left), "a minute is left of the session, and {left} s of the token");
    let claims = claims(&token(&answer, "access_token"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), left);
}

async fn c22_a_logout_that_races_refreshes_leaves_nothing_alive(app: App) {
    for round in 0..30 {
        let somebody = app.sign_in(crate::harness::ADMIN_EMAIL, crate::harness::ADMIN_PASSWORD).await;
        let refreshes = all((0..8).map(|_| app.refresh(&somebody.refresh)));
        let logout = app.call(Method::POST, "/auth/logout", &somebody.access);
        let (refreshed, logged_out) = tokio::join!(refreshes, logout);
        assert_eq!(logged_out.status, 204);
        for answer in refreshed.iter().filter(|answer| answer.status == 200) {
            assert_eq!(app.refresh(&token(answer, "refresh_token")).await.status, 401, "round {round}");
            app.is_refused(&token(answer, "access_token")).await;
        }
        assert!(app.service.sessions.list(somebody.id).await.unwrap().is_empty());
    }
}

/// A13
async fn no_token_is_taken_for_another_kind(app: App) {
    let somebody = app.somebody().await;
    assert_eq!(app.get("/auth/me", &somebody.refresh).await.status, 401, "a refresh token opens no endpoint");
    assert_eq!(app.refresh(&somebody.access).await.status, 401, "an access token refreshes nothing");
    assert_eq!(app.get("/auth/me", &somebody.session).await.status, 401, "a session's id opens nothing");
    for scheme in ["Basic", "Token"] {
        let request =
            app.request(Method::GET, "/auth/me").header("Authorization", format!("{scheme} {}", somebody.access));
        assert_eq!(app.send(request).await.status, 401);
    }
    let query = app.request(Method::GET, &format!("/auth/me?access_token={}", somebody.access));
    assert_eq!(app.send(query).await.status, 401, "a token in the query is not looked at");
}

/// A dump of the store has no token in it.
async fn c9_the_tokens_are_nowhere_in_the_store(app: App) {
    let somebody = app.somebody().await;
    let refreshed = app.refresh(&somebody.refresh).await;
    let session = app.service.sessions.load(somebody.session.parse().unwrap()).await.unwrap().unwrap();
    let kept = format!("{session:?}");
    for secret in [&somebody.refresh, &somebody.access, &token(&refreshed, "refresh_token")] {
        let mac = secret.rsplit('.').next().unwrap();
        assert!(!kept.contains(mac), "{kept}");
    }
}
