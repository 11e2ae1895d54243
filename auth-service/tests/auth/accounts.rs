//! The accounts that a first start makes.

use auth_service::accounts::create_first;
use auth_service::password::NewPassword;
use auth_service::roles::Roles;
use auth_service::{AuthService, FirstUser};

use crate::harness::{ADMIN_EMAIL, App, PASSWORD, all, on_both};

on_both! {
    a_first_start_makes_an_administrator_once,
    a_made_up_password_works_and_is_told_once,
    nobody_is_made_an_administrator_by_having_the_address,
    of_replicas_that_start_at_once_one_makes_each_account with |config| config.first_users.clear(),
}

fn first(email: &str, roles: Roles, password: Option<&str>) -> FirstUser {
    let password = password.map(|text| NewPassword::parse(text).unwrap());
    FirstUser { email: email.parse().unwrap(), display_name: "First".to_owned(), password, roles }
}

async fn a_first_start_makes_an_administrator_once(app: App) {
    let admin = app.administrator().await;
    assert_eq!(app.get("/auth/me", &admin.access).await.body["roles"], serde_json::json!(["admin", "user"]));
    let again = [
        first("other@example.com", Roles::administrator(), None),
        first(ADMIN_EMAIL, Roles::administrator(), Some(PASSWORD)),
    ];
    assert!(create_first(&app.service, &again).await.unwrap().is_empty(), "there is an administrator already");
    app.administrator().await;
    assert_eq!(app.log_in(ADMIN_EMAIL, PASSWORD).await.status, 401, "and the password is as it was");
}

async fn a_made_up_password_works_and_is_told_once(app: App) {
    let demo = [first("demo@example.com", Roles::user(), None)];
    let created = create_first(&app.service, &demo).await.unwrap();
    let password = created[0].made_up_password.as_ref().unwrap();
    assert_eq!(app.log_in("demo@example.com", password.expose()).await.status, 200);
    assert!(create_first(&app.service, &demo).await.unwrap().is_empty());
    let given = create_first(&app.service, &[first("given@example.com", Roles::user(), Some(PASSWORD))]).await.unwrap();
    assert!(given[0].made_up_password.is_none(), "one that was given is not told");
    assert_eq!(app.log_in("given@example.com", PASSWORD).await.status, 200);
}

async fn nobody_is_made_an_administrator_by_having_the_address(app: App) {
    let somebody = app.somebody().await;
    // Nobody is an administrator any more.
    let admin = app.administrator().await;
    let by = auth_service::storage::audit::By::COMMAND_LINE;
    auth_service::accounts::set_roles(&app.service, admin.id, &Roles::user(), &by).await.unwrap();
    let taken = [first(&somebody.email, Roles::administrator(), Some("a password of the operator's"))];
    assert!(create_first(&app.service, &taken).await.unwrap().is_empty());
    let me = app.get("/auth/me", &app.sign_in(&somebody.email, PASSWORD).await.access).await;
    assert_eq!(me.body["roles"], serde_json::json!(["user"]));
}

async fn of_replicas_that_start_at_once_one_makes_each_account(app: App) {
    let other = AuthService::open(&app.place.config(&app.clock)).await.unwrap();
    let users =
        [first("root@example.com", Roles::administrator(), None), first("demo@example.com", Roles::user(), None)];
    let starts = (0..8).map(|number| create_first(if number % 2 == 0 { &app.service } else { &other }, &users));
    let created: Vec<_> = all(starts).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(created.len(), 2, "{created:?}");
    for user in created {
        let password = user.made_up_password.unwrap();
        assert_eq!(app.log_in(user.email.as_str(), password.expose()).await.status, 200, "the one that is told works");
    }
}
