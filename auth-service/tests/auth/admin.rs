//! What administrators may, and nobody else.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN_EMAIL, App, PASSWORD, Person, on_both};

on_both! {
    only_an_administrator_administers,
    an_administrator_from_a_strange_network_is_refused with |config| {
        config.admin_allowed_networks = vec!["10.0.0.0/8".parse().unwrap()];
    },
    an_administrator_from_an_allowed_network_may with |config| {
        config.admin_allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    },
    accounts_are_listed_by_page_and_found_by_their_beginning,
    a_locked_account_is_out_at_once_and_stays_out,
    other_roles_take_effect_at_the_next_login,
    a_role_is_a_word,
    two_administrators_who_lock_each_other_leave_one,
    administrators_do_not_lock_themselves_out,
    who_is_online_is_listed_by_page,
    an_administrator_ends_anybodys_session,
    the_audit_is_read_by_page_the_newest_first,
    a_strange_query_is_refused,
}

/// D16
async fn only_an_administrator_administers(app: App) {
    let somebody = app.somebody().await;
    for (method, path) in [
        (Method::GET, "/admin/users".to_owned()),
        (Method::POST, format!("/admin/users/{}/lock", somebody.id)),
        (Method::POST, format!("/admin/users/{}/unlock", somebody.id)),
        (Method::GET, "/admin/sessions".to_owned()),
        (Method::DELETE, format!("/admin/sessions/{}", somebody.session)),
        (Method::GET, "/admin/audit".to_owned()),
        (Method::POST, "/admin/keys/rotate".to_owned()),
    ] {
        let answer = app.call(method.clone(), &path, &somebody.access).await;
        assert_eq!((answer.status, answer.code()), (403, "insufficient_role"), "{method} {path}");
    }
    let path = format!("/admin/users/{}/roles", somebody.id);
    let request = app.request(Method::PUT, &path).bearer_auth(&somebody.access).json(&json!({"roles": ["admin"]}));
    assert_eq!(app.send(request).await.status, 403);
    for (email, password) in [("admin@example.com", "admin"), (ADMIN_EMAIL, "admin"), (ADMIN_EMAIL, "password")] {
        assert_eq!(app.log_in(email, password).await.status, 401, "there is no default password");
    }
    for path in ["/admin", "/debug", "/actuator", "/.git/config", "/.env", "/admin/users/../users"] {
        assert!([401, 404].contains(&app.get(path, &somebody.access).await.status) || path.contains(".."), "{path}");
    }
}

async fn an_administrator_from_a_strange_network_is_refused(app: App) {
    let admin = app.administrator().await;
    let answer = app.get("/admin/users", &admin.access).await;
    assert_eq!((answer.status, answer.code()), (403, "network_not_allowed"));
    let forged =
        app.request(Method::GET, "/admin/users").bearer_auth(&admin.access).header("X-Forwarded-For", "10.0.0.1");
    assert_eq!(app.send(forged).await.status, 403);
    assert_eq!(app.send(app.request(Method::GET, "/admin/users")).await.status, 403, "before anything is asked");
    assert_eq!(app.get("/auth/me", &admin.access).await.status, 200);
}

async fn an_administrator_from_an_allowed_network_may(app: App) {
    let admin = app.administrator().await;
    assert_eq!(app.get("/admin/users", &admin.access).await.status, 200);
}

async fn pages(app: &App, path: &str, token: &str) -> Vec<Value> {
    let (mut items, mut cursor): (Vec<Value>, Option<String>) = (Vec::new(), None);
    loop {
        let next = cursor.map_or(path.to_owned(), |cursor| format!("{path}&cursor={cursor}"));
        let page = app.get(&next, token).await;
        assert_eq!(page.status, 200, "{}", page.text);
        items.extend(page.body["items"].as_array().unwrap().clone());
        cursor = page.body["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return items;
        }
    }
}

async fn accounts_are_listed_by_page_and_found_by_their_beginning(app: App) {
    let admin = app.administrator().await;
    for email in [
        "zed@example.com",
        "ada@example.com",
        "ada.b@example.com",
        "adb@example.com",
        "a_a@example.com",
        "a%a@example.com",
    ] {
        assert_eq!(app.post("/auth/register", json!({"email": email, "password": PASSWORD})).await.status, 201);
    }
    let emails =
        |items: Vec<Value>| items.iter().map(|item| item["email"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let all = emails(pages(&app, "/admin/users?limit=2", &admin.access).await);
    assert_eq!(all.len(), 7);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 7, "each once: {all:?}");
    let found: HashSet<_> =
        emails(pages(&app, "/admin/users?limit=1&email=AdA", &admin.access).await).into_iter().collect();
    assert_eq!(found, ["ada@example.com", "ada.b@example.com"].map(str::to_owned).into());
    assert_eq!(emails(pages(&app, "/admin/users?email=a_", &admin.access).await), ["a_a@example.com"], "no wildcards");
    assert_eq!(emails(pages(&app, "/admin/users?email=a%25", &admin.access).await), ["a%a@example.com"]);
    assert!(emails(pages(&app, "/admin/users?email=%5C", &admin.access).await).is_empty());
    let one = pages(&app, "/admin/users?email=zed", &admin.access).await.remove(0);
    assert!(one.get("password_hash").is_none() && one.get("version").is_none(), "{one}");
}

async fn a_locked_account_is_out_at_once_and_stays_out(app: App) {
    let (admin, somebody) = (app.administrator().await, app.somebody().await);
    let path = |verb: &str| format!("/admin/users/{}/{verb}", somebody.id);
    let locked = app.call(Method::POST, &path("lock"), &admin.access).await;
    assert_eq!(locked.status, 200);
    assert!(locked.body["locked_at"].is_string());
    app.is_refused(&somebody.access).await;
    assert_eq!(app.refresh(&somebody.refresh).await.status, 401);
    assert_eq!(app.log_in(&somebody.email, PASSWORD).await.status, 401);
    let again = app.call(Method::POST, &path("lock"), &admin.access).await;
    assert_eq!((again.status, &again.body["locked_at"]), (200, &locked.body["locked_at"]), "a lock is a lock");

    let unlocked = app.call(Method::POST, &path("unlock"), &admin.access).await;
    assert_eq!((unlocked.status, &unlocked.body["locked_at"]), (200, &json!(null)));
    assert_eq!(app.refresh(&somebody.refresh).await.status, 401, "the old session does not come back");
    assert_eq!(app.log_in(&somebody.email, PASSWORD).await.status, 200);
    let nobody = format!("/admin/users/{}/lock", uuid::Uuid::new_v4());
    assert_eq!(app.call(Method::POST, &nobody, &admin.access).await.status, 404);
    assert_eq!(app.call(Method::POST, "/admin/users/7/lock", &admin.access).await.status, 404);
    let audit = app.audit_of(somebody.id).await;
    assert_eq!(audit[&("lock_user".to_owned(), "done".to_owned())], 2);
    assert_eq!(audit[&("unlock_user".to_owned(), "done".to_owned())], 1);
}

/// A29
async fn other_roles_take_effect_at_the_next_login(app: App) {
    let (admin, somebody) = (app.administrator().await, app.somebody().await);
    let path = format!("/admin/users/{}/roles", somebody.id);
    let set = |roles: Value| {
        app.send(app.request(Method::PUT, &path).bearer_auth(&admin.access).json(&json!({"roles": roles})))
    };
    let changed = set(json!(["user", "admin"])).await;
    assert_eq!((changed.status, &changed.body["roles"]), (200, &json!(["admin", "user"])));
    app.is_refused(&somebody.access).await;
    let promoted = app.sign_in(&somebody.email, PASSWORD).await;
    assert_eq!(app.get("/admin/users", &promoted.access).await.status, 200);
    assert_eq!(set(json!(["user"])).await.status, 200);
    app.is_refused(&promoted.access).await;
    let demoted = app.sign_in(&somebody.email, PASSWORD).await;
    assert_eq!(app.get("/admin/users", &demoted.access).await.status, 403);
}

async fn a_role_is_a_word(app: App) {
    let (admin, somebody) = (app.administrator().await, app.somebody().await);
    let path = format!("/admin/users/{}/roles", somebody.id);
    for refused in
        [json!(["Admin"]), json!(["a b"]), json!([""]), json!("admin"), json!([7]), json!(null), json!(["x y"])]
    {
        let request = app.request(Method::PUT, &path).bearer_auth(&admin.access).json(&json!({"roles": refused}));
        let answer = app.send(request).await;
        assert_eq!(answer.status, 422, "{refused}");
        assert!(answer.pointer().starts_with("/roles"), "{}", answer.text);
    }
    assert_eq!(app.get("/auth/me", &somebody.access).await.status, 200, "and nobody was signed out");
}

async fn administrators_do_not_lock_themselves_out(app: App) {
    let admin = app.administrator().await;
    let lock = app.call(Method::POST, &format!("/admin/users/{}/lock", admin.id), &admin.access).await;
    assert_eq!((lock.status, lock.code()), (409, "own_account"));
    let path = format!("/admin/users/{}/roles", admin.id);
    let demote = app.request(Method::PUT, &path).bearer_auth(&admin.access).json(&json!({"roles": ["user"]}));
    assert_eq!(app.send(demote).await.status, 409);
    assert_eq!(app.get("/admin/users", &admin.access).await.status, 200);
}

async fn who_is_online_is_listed_by_page(app: App) {
    let mut people = vec![app.administrator().await];
    for _ in 0..4 {
        app.clock.advance(Duration::from_secs(1));
        people.push(app.somebody().await);
    }
    let admin = &people[0];
    let items = pages(&app, "/admin/sessions?limit=2", &admin.access).await;
    let ids: Vec<_> = items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<_> = people.iter().rev().map(|person| person.session.clone()).collect();
    assert_eq!(ids, expected, "the last seen first");
    assert_eq!(items[0]["email"], people[4].email.as_str());
    assert_eq!(items[0]["user_id"], people[4].id.to_string());
    assert_eq!(app.call(Method::POST, "/auth/logout", &people[4].access).await.status, 204);
    assert_eq!(pages(&app, "/admin/sessions?limit=100", &admin.access).await.len(), 4);
}

async fn an_administrator_ends_anybodys_session(app: App) {
    let (admin, somebody) = (app.administrator().await, app.somebody().await);
    let path = format!("/admin/sessions/{}", somebody.session);
    assert_eq!(app.call(Method::DELETE, &path, &admin.access).await.status, 204);
    app.is_refused(&somebody.access).await;
    assert_eq!(app.call(Method::DELETE, &path, &admin.access).await.status, 404);
    assert_eq!(app.call(Method::DELETE, "/admin/sessions/*", &admin.access).await.status, 404);
    let log = app.get(&format!("/admin/audit?subject={}&limit=1", somebody.id), &admin.access).await;
    let entry = &log.body["items"][0];
    assert_eq!((&entry["act"], &entry["detail"]), (&json!("end_session"), &json!("ended_by_administrator")));
    assert_eq!((&entry["actor"], &entry["session"]), (&json!(admin.id.to_string()), &json!(somebody.session)));
    assert_eq!(entry["address"], "127.0.0.1");
}

async fn the_audit_is_read_by_page_the_newest_first(app: App) {
    let admin = app.administrator().await;
    let somebody = app.somebody().await;
    for _ in 0..5 {
        app.sign_in(&somebody.email, PASSWORD).await;
        app.log_in(&somebody.email, "not the password").await;
    }
    let items = pages(&app, "/admin/audit?limit=3", &admin.access).await;
    let times: Vec<_> = items.iter().map(|item| item["at"].as_str().unwrap().to_owned()).collect();
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "{times:?}");
    let ids: HashSet<_> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), items.len(), "each once");
    let own = pages(&app, &format!("/admin/audit?limit=3&subject={}", somebody.id), &admin.access).await;
    let acts: Vec<_> =
        own.iter().map(|item| (item["act"].as_str().unwrap(), item["outcome"].as_str().unwrap())).collect();
    let mut expected = vec![("log_in", "done"); 4];
    // Five failures in the same hour are one entry, where the first of them was; or two, when the hour ended meanwhile.
    expected.extend([("log_in", "wrong_password"), ("log_in", "done"), ("log_in", "done"), ("register", "done")]);
    let failures: Vec<_> = own.iter().filter(|item| item["outcome"] == "wrong_password").collect();
    assert_eq!(failures.iter().map(|item| item["count"].as_u64().unwrap()).sum::<u64>(), 5);
    if failures.len() == 1 {
        assert_eq!(acts, expected);
    }
    let text = serde_json::to_string(&items).unwrap();
    assert!(!text.contains(PASSWORD) && !text.contains(&somebody.refresh), "no secret is in it");
}

/// G12, as it applies here
async fn a_strange_query_is_refused(app: App) {
    let admin = app.administrator().await;
    let good = ["/admin/users", "/admin/sessions", "/admin/audit"];
    for query in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=1e9",
        "limit=a",
        "limit=",
        "cursor=*",
        "cursor=AAAA",
        "cursor=%00",
        "offset=1",
        "limit=1&limit=2",
    ] {
        for path in good {
            let answer = app.get(&format!("{path}?{query}"), &admin.access).await;
            assert_eq!(answer.status, 400, "{path}?{query}: {}", answer.text);
        }
    }
    for query in ["email=%00", "email=%0a", &format!("email={}", "a".repeat(300))] {
        assert_eq!(app.get(&format!("/admin/users?{query}"), &admin.access).await.status, 400, "{query}");
    }
    assert_eq!(app.get("/admin/audit?subject=me", &admin.access).await.status, 400);
    assert_eq!(app.call(Method::POST, "/admin/keys/rotate?at_once=maybe", &admin.access).await.status, 400);
}

async fn two_administrators_who_lock_each_other_leave_one(app: App) {
    let first = app.administrator().await;
    for round in 0..5 {
        let second = app.somebody().await;
        let roles = format!("/admin/users/{}/roles", second.id);
        let promoted = app.request(Method::PUT, &roles).bearer_auth(&first.access).json(&json!({"roles": ["admin"]}));
        assert_eq!(app.send(promoted).await.status, 200);
        let second = app.sign_in(&second.email, PASSWORD).await;
        let lock = |by: &Person, whom: &Person| {
            app.call_owned(Method::POST, format!("/admin/users/{}/lock", whom.id), by.access.clone())
        };
        let (one, other) = tokio::join!(lock(&first, &second), lock(&second, &first));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert!(matches!(statuses, [200, 401 | 409]), "{statuses:?} in round {round}: {} {}", one.text, other.text);
        if other.status == 200 {
            // The first one is locked: the second one administers, and the story ends here.
            return;
        }
    }
}
