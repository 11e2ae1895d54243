//! Those who guess passwords, from one network and from many, and those whom that must not keep out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use reqwest::header::SET_COOKIE;
use serde_json::json;

use crate::browser::Browser;
use crate::harness::{Answer, App, PASSWORD, Person, all, on_both};

on_both! {
    hl6_a_thousand_guesses_in_a_row_are_ten with super::behind_a_gateway,
    hl6_many_networks_guess_no_more_than_the_accounts_bound with super::behind_a_gateway,
    hl6_a_site_of_many_networks_guesses_as_often_as_four with super::behind_a_gateway,
    hl6_a_site_of_many_networks_tries_as_many_accounts_as_four with |config| {
        super::behind_a_gateway(config);
        config.throttle.attempts_per_address = 10;
    },
    hl6_five_thousand_accounts_from_one_network_are_a_hundred_guesses with |config| {
        super::behind_a_gateway(config);
        config.throttle.attempts_per_address = 100;
    },
    hl7_a_browser_that_knows_the_account_is_not_locked_out with super::behind_a_gateway,
    hl7_a_known_browser_guesses_at_its_own_expense with super::behind_a_gateway,
    hl7_a_device_cookie_is_good_for_its_account_and_password_alone with super::behind_a_gateway,
    hl7_whoever_is_signed_in_proves_it_again_and_changes_the_password with super::behind_a_gateway,
    hl7_an_owner_elsewhere_is_not_locked_out_by_one_network with super::behind_a_gateway,
    hl8_right_passwords_use_up_no_budget with |config| {
        super::behind_a_gateway(config);
        config.throttle.attempts_per_address = 12;
    },
    hl8_right_passwords_of_one_account_are_bounded_too with |config| {
        super::behind_a_gateway(config);
        config.throttle.attempts_per_account_overall = 10;
        config.throttle.attempts_per_address = 12;
    },
    hl8_a_login_that_could_not_be_tried_uses_up_nothing with |config| {
        super::behind_a_gateway(config);
        config.hash_threads = 1;
        config.hash_queue = 1;
        config.throttle.attempts_per_address = 5;
    },
}

const WRONG: &str = "not the password";

fn behind_a_gateway(config: &mut auth_service::Config) {
    config.trusted_proxies = shared::request::TrustedProxies(vec!["127.0.0.1/32".parse().unwrap()]);
}

fn network(number: usize) -> String {
    format!("198.51.{}.{}", number / 250, number % 250 + 1)
}

/// A login from a network, with the cookies of a browser.
fn login(app: &App, from: &str, cookie: &str, email: &str, password: &str) -> reqwest::RequestBuilder {
    let request = app.request(Method::POST, "/auth/login").header("X-Forwarded-For", from);
    let request = if cookie.is_empty() { request } else { request.header("cookie", cookie) };
    request.json(&json!({"email": email, "password": password}))
}

async fn tried(app: &App, from: &str, cookie: &str, email: &str, password: &str) -> u16 {
    app.send(login(app, from, cookie, email, password)).await.status
}

/// The device cookie that an answer sets.
fn device(answer: &Answer) -> String {
    let set = answer.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap());
    let device = set.filter(|text| text.starts_with("roam_device=")).collect::<Vec<_>>();
    let [device] = device[..] else { panic!("{device:?}") };
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=15552000"] {
        assert!(device.split("; ").any(|found| found == attribute), "{attribute}: {device}");
    }
    assert!(!device.contains("Domain"), "{device}");
    device.split(';').next().unwrap().to_owned()
}

/// Somebody, and the device cookie of their browser.
async fn somebody(app: &App) -> (Person, String) {
    let person = app.somebody().await;
    let answer = app.send(login(app, &network(0), "", &person.email, PASSWORD)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    (person, device(&answer))
}

/// Guesses, so many at once. Answers how many were compared with the password.
async fn guess(app: &App, guesses: impl IntoIterator<Item = (String, String)>, at_once: usize) -> usize {
    let before = app.service.hasher.computed();
    let (compared, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    stream::iter(guesses)
        .for_each_concurrent(at_once, async |(from, email): (String, String)| {
            let counter = match tried(app, &from, "", &email, WRONG).await {
                401 => &compared,
                429 => &refused,
                other => panic!("{other}"),
            };
            counter.fetch_add(1, Ordering::Relaxed);
        })
        .await;
    let hashed = app.service.hasher.computed() - before;
    assert_eq!(usize::try_from(hashed).unwrap(), compared.load(Ordering::Relaxed), "only those are hashed");
    compared.into_inner()
}

async fn hl6_a_thousand_guesses_in_a_row_are_ten(app: App) {
    let (victim, _) = somebody(&app).await;
    let one_network = || (0..1000).map(|_| (network(1), victim.email.clone()));
    assert_eq!(guess(&app, one_network(), 1).await, 10);
    assert_eq!(tried(&app, &network(1), "", &victim.email, PASSWORD).await, 429, "the right one comes too late");
    app.clock.advance(Duration::from_secs(901));
    assert_eq!(guess(&app, one_network().take(100), 100).await, 10, "a hundred at once are ten too");
}

async fn hl6_many_networks_guess_no_more_than_the_accounts_bound(app: App) {
    let (victim, known) = somebody(&app).await;
    let guesses = (0..2000).map(|number| (network(number % 200 + 1), victim.email.clone()));
    assert_eq!(guess(&app, guesses, 50).await, 100, "two hundred networks gain no more than ten");
    let refused = app.send(login(&app, &network(900), "", &victim.email, PASSWORD)).await;
    assert_eq!((refused.status, refused.code()), (429, "too_many_attempts"), "from everywhere");
    assert!((1..=900).contains(&refused.retry_after()));
    assert_eq!(tried(&app, &network(1), &known, &victim.email, PASSWORD).await, 200, "but for a browser that is known");
    assert_eq!(app.get("/auth/me", &victim.access).await.status, 200);
    let audit = app.audit_of(victim.id).await;
    assert_eq!(audit[&("log_in".to_owned(), "wrong_password".to_owned())], 100);
    // A success of the owner's does not begin the attackers' window anew.
    assert_eq!(guess(&app, (0..300).map(|number| (network(number + 1), victim.email.clone())), 50).await, 0);
    app.clock.advance(Duration::from_secs(refused.retry_after()));
    assert_eq!(tried(&app, &network(900), "", &victim.email, PASSWORD).await, 200, "as Retry-After said");
}

/// One of the 65,536 networks of an IPv6 site.
fn network_of_a_site(number: usize) -> String {
    format!("2001:db8:1:{number:x}::1")
}

async fn hl6_a_site_of_many_networks_guesses_as_often_as_four(app: App) {
    let (victim, _) = somebody(&app).await;
    let guesses = (0..200).map(|number| (network_of_a_site(number), victim.email.clone()));
    assert_eq!(guess(&app, guesses, 50).await, 40);
    assert_eq!(tried(&app, &network(2), "", &victim.email, PASSWORD).await, 200, "it shuts the owner out nowhere else");
    assert_eq!(tried(&app, "2001:db8:2::1", "", &victim.email, PASSWORD).await, 200, "nor in the next site");
}

async fn hl6_a_site_of_many_networks_tries_as_many_accounts_as_four(app: App) {
    let guesses = (0..200).map(|number| (network_of_a_site(number), format!("user{number}@example.com")));
    assert_eq!(guess(&app, guesses, 50).await, 40);
    let rows = auth_service::storage::audit::page(&app.service.database, None, None, 1000).await.unwrap();
    let refused: Vec<_> = rows.iter().filter(|row| row.act == "log_in").map(|row| (&*row.outcome, row.count)).collect();
    assert_eq!(refused.len(), 2, "refusals of one site are counted in one row of a kind: {refused:?}");
    assert!(refused.contains(&("unknown_account", 40)), "{refused:?}");
}

async fn hl6_five_thousand_accounts_from_one_network_are_a_hundred_guesses(app: App) {
    let (victim, known) = somebody(&app).await;
    let guesses = (0..5000).map(|number| (network(1), format!("user{number}@example.com")));
    assert_eq!(guess(&app, guesses, 50).await, 100);
    assert_eq!(tried(&app, &network(1), &known, &victim.email, PASSWORD).await, 200, "a browser there that is known");
    assert_eq!(tried(&app, &network(2), "", &victim.email, PASSWORD).await, 200, "the next network");
    // From the network that is shut out nothing counts for any account.
    assert_eq!(guess(&app, (0..300).map(|_| (network(1), victim.email.clone())), 50).await, 0);
    assert_eq!(tried(&app, &network(3), "", &victim.email, PASSWORD).await, 200);
}

async fn hl7_a_browser_that_knows_the_account_is_not_locked_out(app: App) {
    let (victim, known) = somebody(&app).await;
    assert_eq!(guess(&app, (0..50).map(|_| (network(0), victim.email.clone())), 10).await, 10);
    assert_eq!(tried(&app, &network(0), "", &victim.email, PASSWORD).await, 429, "a stranger in the same network");
    let answer = app.send(login(&app, &network(0), &known, &victim.email, PASSWORD)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_ne!(device(&answer), known, "each login gives another one");
    for _ in 0..30 {
        assert_eq!(tried(&app, &network(0), &known, &victim.email, PASSWORD).await, 200, "the owner may sign in often");
    }
    app.clock.advance(Duration::from_secs(180 * 86_400));
    assert_eq!(guess(&app, (0..50).map(|_| (network(0), victim.email.clone())), 10).await, 10);
    assert_eq!(tried(&app, &network(0), &known, &victim.email, PASSWORD).await, 429, "it is too old");
}

async fn hl7_a_known_browser_guesses_at_its_own_expense(app: App) {
    let (victim, stolen) = somebody(&app).await;
    let own = device(&app.send(login(&app, &network(5), "", &victim.email, PASSWORD)).await);
    let here = network(0);
    let guesses = all((0..40).map(|_| tried(&app, &here, &stolen, &victim.email, WRONG))).await;
    assert_eq!(guesses.iter().filter(|status| **status == 401).count(), 10);
    assert_eq!(tried(&app, &network(0), &stolen, &victim.email, PASSWORD).await, 429);
    assert_eq!(tried(&app, &network(5), &own, &victim.email, PASSWORD).await, 200, "another browser of hers");
    assert_eq!(
        tried(&app, &network(0), "", &victim.email, PASSWORD).await,
        200,
        "and strangers are counted by themselves"
    );
}

async fn hl7_a_device_cookie_is_good_for_its_account_and_password_alone(app: App) {
    let ((victim, known), (_, of_attacker)) = (somebody(&app).await, somebody(&app).await);
    let forged = known.replace(&victim.id.to_string(), &app.somebody().await.id.to_string());
    assert_eq!(guess(&app, (0..20).map(|_| (network(1), victim.email.clone())), 10).await, 10);
    for (cookie, what) in [(&of_attacker, "another account's"), (&forged, "a forged one")] {
        assert_eq!(tried(&app, &network(1), cookie, &victim.email, PASSWORD).await, 429, "{what}");
    }
    // One browser may know several accounts.
    let both = device(&app.send(login(&app, &network(2), &of_attacker, &victim.email, PASSWORD)).await);
    assert!(both.contains('~'), "{both}");
    assert_eq!(tried(&app, &network(1), &both, &victim.email, PASSWORD).await, 200);
    let body = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
    let change = app.request(Method::POST, "/auth/password").bearer_auth(&victim.access).json(&body);
    let changed = app.send(change).await;
    assert_eq!(changed.status, 204);
    let new = device(&changed);
    let new_password = "another horse battery";
    assert_eq!(tried(&app, &network(1), &both, &victim.email, new_password).await, 429, "it was revoked");
    assert_eq!(tried(&app, &network(1), &new, &victim.email, new_password).await, 200, "the browser that changed it");
}

async fn hl7_whoever_is_signed_in_proves_it_again_and_changes_the_password(app: App) {
    let (victim, _) = somebody(&app).await;
    let mut browser = Browser::default();
    browser.sign_in(&app, &victim, PASSWORD).await;
    assert!(!browser.cookies.contains_key("roam_device"), "by its session alone");
    let everywhere = (0..2000).map(|number| (network(number % 200), victim.email.clone()));
    assert_eq!(guess(&app, everywhere, 50).await, 100);
    // Where everybody else comes from one address: that of this machine.
    let here = app.log_in(&victim.email, PASSWORD).await;
    assert_eq!(here.status, 429);
    let page = browser.get(&app, "/sign-in?return_to=/account").await;
    assert!([200, 303].contains(&page.status), "{}", page.text);
    app.clock.advance(Duration::from_secs(14 * 60));
    let form = browser.get(&app, "/account/password").await;
    assert_eq!(form.status, 200, "{}", form.text);
    let fields = [("current_password", PASSWORD), ("new_password", "another horse battery")];
    let changed = browser.submit_to(&app, "/account/password", "/account/password", &fields).await;
    assert_eq!(changed.status, 303, "{}", changed.text);
    // The sign-in page asks her for the password again, and so does the API.
    let again = [("email", victim.email.as_str()), ("password", "another horse battery")];
    browser.cookies.remove("roam_device");
    let path = "/sign-in?return_to=/device";
    let csrf = browser.get(&app, "/account").await;
    let token = crate::browser::form_token(&csrf);
    let fields: Vec<_> = again.iter().copied().chain([("csrf", &*token)]).collect();
    let answer = browser.send(&app, app.request(Method::POST, path).form(&fields)).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
}

async fn hl7_an_owner_elsewhere_is_not_locked_out_by_one_network(app: App) {
    let (victim, _) = somebody(&app).await;
    let guesses = (0..1000).map(|_| (network(1), victim.email.clone()));
    assert_eq!(guess(&app, guesses, 50).await, 10);
    assert_eq!(tried(&app, &network(2), "", &victim.email, PASSWORD).await, 200, "a program, without a cookie");
    // Who has an access token shows that it is they who prove it again.
    let request = login(&app, &network(1), "", &victim.email, PASSWORD);
    assert_eq!(app.send(request.bearer_auth(&victim.access)).await.status, 200);
    let other = app.somebody().await;
    let request = login(&app, &network(1), "", &victim.email, PASSWORD);
    assert_eq!(app.send(request.bearer_auth(&other.access)).await.status, 429, "another one's token shows nothing");
    let request = login(&app, &network(2), "", &victim.email, PASSWORD);
    assert_eq!(app.send(request.bearer_auth("no token")).await.status, 200, "nor does it harm");
}

async fn hl8_right_passwords_use_up_no_budget(app: App) {
    let (one, other) = (app.somebody().await, app.somebody().await);
    for _ in 0..20 {
        assert_eq!(tried(&app, &network(1), "", &one.email, PASSWORD).await, 200);
    }
    let here = network(1);
    let at_once = all((0..8).map(|_| tried(&app, &here, "", &one.email, PASSWORD))).await;
    assert_eq!(at_once, [200; 8]);
    // What is left is the whole budget of wrong ones, and no more.
    let guesses = (0..40).map(|number| (network(1), format!("user{number}@example.com")));
    assert_eq!(guess(&app, guesses, 1).await, 12);
    assert_eq!(tried(&app, &network(1), "", &other.email, PASSWORD).await, 429);
}

async fn hl8_right_passwords_of_one_account_are_bounded_too(app: App) {
    let (one, known) = somebody(&app).await;
    let before = app.service.hasher.computed();
    for number in 0..40 {
        // Two logins came before.
        let expected = if number < 18 { 200 } else { 429 };
        assert_eq!(tried(&app, &network(0), "", &one.email, PASSWORD).await, expected, "{number}");
    }
    assert_eq!(app.service.hasher.computed() - before, 18, "a refusal costs no hash");
    for number in 0..20 {
        let expected = if number < 10 { 200 } else { 429 };
        assert_eq!(tried(&app, &network(0), &known, &one.email, PASSWORD).await, expected, "a known browser, {number}");
    }
    let (other, _) = somebody(&app).await;
    assert_eq!(tried(&app, &network(0), "", &other.email, PASSWORD).await, 200, "its neighbours go on");
    app.clock.advance(Duration::from_secs(901));
    assert_eq!(tried(&app, &network(0), "", &one.email, PASSWORD).await, 200);
}

async fn hl8_a_login_that_could_not_be_tried_uses_up_nothing(app: App) {
    let somebody = app.somebody().await;
    let flood = |number: usize| {
        let request = login(&app, &network(1), "", &format!("user{number}@example.com"), WRONG);
        app.send_whatever(request)
    };
    let mut compared = 0;
    for _ in 0..20 {
        let answers = all((0..5).map(flood)).await;
        compared += answers.iter().filter(|answer| answer.status == 401).count();
        if answers.iter().any(|answer| answer.status == 503) {
            break;
        }
        app.clock.advance(Duration::from_secs(901));
        compared = 0;
    }
    let left = 5_usize.saturating_sub(compared);
    let guesses = (100..140).map(|number| (network(1), format!("user{number}@example.com")));
    assert_eq!(guess(&app, guesses, 1).await, left);
    assert_eq!(tried(&app, &network(2), "", &somebody.email, PASSWORD).await, 200);
}
