//! The pages that people sign in on, from outside: by a browser, and by those who would use somebody's browser.

use std::time::Duration;

use auth_service::storage::{consents, users};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::browser::{Application, Browser, hidden};
use crate::harness::{ADMIN_EMAIL, Answer, App, PASSWORD, Person, on_both};

on_both! {
    b22_a_person_signs_in_and_out_again,
    a_wrong_password_and_an_unknown_address_get_one_answer,
    too_many_attempts_are_told_when_to_try_again with |config| config.throttle.attempts_per_account = 3,
    a_person_registers_and_is_signed_in,
    what_is_wrong_stands_beside_its_field_and_the_rest_is_kept,
    c15_no_form_is_taken_from_elsewhere,
    c15_no_page_does_by_get_what_its_form_does,
    every_page_protects_itself_whatever_its_status,
    every_page_speaks_both_languages,
    a_display_name_is_shown_as_text,
    ht5_a_display_name_is_changed_so_often_and_no_more with |config| config.throttle.changes_per_owner = 2,
    a_sign_in_leads_to_no_other_site,
    c12_a_planted_session_is_not_taken_over,
    hl2_a_planted_session_beside_the_victims_own_speaks_for_nobody,
    c13_cookies_are_kept_from_scripts_and_other_sites,
    c13_cookies_are_for_this_host_alone_where_browsers_come_by_https with |config| {
        config.cookie_secure = true;
        config.site.secure = true;
    },
    c13_the_cookie_of_the_session_is_sent_from_other_sites_frames_where_that_is_set with |config| {
        config.cookie_secure = true;
        config.site.secure = true;
        config.browser_same_site = actix_web::cookie::SameSite::None;
    },
    nobodys_account_is_shown_to_nobody,
    a_password_is_changed_and_the_other_sessions_end,
    a_session_elsewhere_is_ended_from_here,
    a_client_gets_what_the_person_allows_and_keeps_it_until_it_is_taken_back,
    a_refusal_is_told_to_the_client,
    nobody_consents_in_the_name_of_another,
    an_account_is_selected_or_another_signs_in,
    a_login_that_is_too_old_is_asked_for_the_password_alone,
    a_device_is_let_in_by_its_code,
    a_refusal_greets_whoever_is_signed_in_and_offers_a_sign_in_to_guests_alone,
}

const FORM: &str = "application/x-www-form-urlencoded";

fn origin(app: &App) -> String {
    app.url("").trim_end_matches('/').to_owned()
}

fn encoded(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The hidden token of a page's first form.
fn token(page: &Answer) -> &str {
    let (_, rest) = page.text.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("no form: {}", page.text));
    rest.split('"').next().unwrap()
}

/// The value that a page shows in one of its fields.
fn value<'a>(page: &'a Answer, field: &str) -> &'a str {
    let (_, rest) = page.text.split_once(&format!("id=\"{field}\"")).unwrap();
    let input = rest.split('>').next().unwrap();
    input.split_once(" value=\"").map_or("", |(_, rest)| rest.split('"').next().unwrap())
}

fn post(app: &App, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
    let request = app.request(Method::POST, path).header("content-type", FORM).body(encoded(fields));
    request.header("accept", "text/html").header("origin", origin(app)).header("sec-fetch-site", "same-origin")
}

impl Browser {
    /// Opens a page as browsers do.
    async fn open(&mut self, app: &App, path: &str) -> Answer {
        self.send(app, app.request(Method::GET, path).header("accept", "text/html,*/*;q=0.8")).await
    }

    /// Opens a page and sends its form.
    async fn fill(&mut self, app: &App, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.open(app, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        self.send_form(app, &page, path, fields).await
    }

    /// Sends the form of a page that is open.
    async fn send_form(&mut self, app: &App, page: &Answer, path: &str, fields: &[(&str, &str)]) -> Answer {
        let hidden = hidden(page, fields);
        let hidden: Vec<_> = hidden.iter().map(|(name, value)| (*name, &**value)).collect();
        self.send(app, post(app, path, &[fields, &hidden].concat())).await
    }

    async fn fill_sign_in(&mut self, app: &App, path: &str, email: &str, password: &str) -> Answer {
        self.fill(app, path, &[("email", email), ("password", password)]).await
    }

    async fn is_signed_in(&mut self, app: &App) -> bool {
        self.open(app, "/account").await.status == 200
    }
}

async fn signed_in(app: &App) -> (Browser, Person) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    let answer = browser.fill_sign_in(app, "/sign-in", &person.email, PASSWORD).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    (browser, person)
}

fn goes_to(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.headers["location"].to_str().unwrap()
}

fn alert(page: &Answer) -> &str {
    let (_, rest) = page.text.split_once("role=\"alert\">").unwrap_or_else(|| panic!("no alert: {}", page.text));
    rest.split('<').next().unwrap()
}

/// 303, never 307, so that no browser sends the password along.
async fn b22_a_person_signs_in_and_out_again(app: App) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    assert_eq!(goes_to(&browser.open(&app, "/account").await), "/sign-in?return_to=%2Faccount");
    let answer = browser.fill_sign_in(&app, "/sign-in?return_to=%2Faccount%2Fsessions", &person.email, PASSWORD).await;
    assert_eq!(goes_to(&answer), "/account/sessions");
    let account = browser.open(&app, "/account").await;
    assert!(account.text.contains(&person.email), "{}", account.text);
    assert_eq!(goes_to(&browser.open(&app, "/sign-in").await), "/account", "there is nothing to sign in for");
    let cookies = browser.cookies.clone();
    let out = browser.send(&app, post(&app, "/sign-out", &[("csrf", token(&account))])).await;
    assert_eq!(goes_to(&out), "/signed-out");
    assert!(!browser.cookies.contains_key("roam_session"), "the browser has forgotten it");
    let mut thief = Browser { cookies };
    assert!(!thief.is_signed_in(&app).await, "and the service too");
    assert_eq!(browser.open(&app, "/signed-out").await.status, 200);
}

/// D1
async fn a_wrong_password_and_an_unknown_address_get_one_answer(app: App) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    let wrong = browser.fill_sign_in(&app, "/sign-in", &person.email, "not the password").await;
    let unknown = browser.fill_sign_in(&app, "/sign-in", "nobody@example.com", "not the password").await;
    assert_eq!((wrong.status, unknown.status), (401, 401));
    assert_eq!(alert(&wrong), alert(&unknown));
    assert_eq!(value(&wrong, "email"), person.email, "what was entered is kept");
    assert!(!wrong.text.contains("not the password"), "but for the password");
    assert!(!browser.is_signed_in(&app).await);
}

async fn too_many_attempts_are_told_when_to_try_again(app: App) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    for _ in 0..3 {
        assert_eq!(browser.fill_sign_in(&app, "/sign-in", &person.email, "not the password").await.status, 401);
    }
    let page = browser.fill_sign_in(&app, "/sign-in", &person.email, PASSWORD).await;
    assert_eq!(page.status, 429);
    let minutes = page.retry_after().div_ceil(60);
    assert!(alert(&page).contains(&format!("Try again in {minutes} minutes")), "{}", alert(&page));
    assert_eq!(value(&page, "email"), person.email);
}

async fn a_person_registers_and_is_signed_in(app: App) {
    let mut browser = Browser::default();
    let fields = [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
    assert_eq!(
        goes_to(&browser.fill(&app, "/register?return_to=/account/password", &fields).await),
        "/account/password"
    );
    let account = browser.open(&app, "/account").await;
    assert!(account.text.contains("<bdi>Ada</bdi>"), "{}", account.text);
    let renamed = browser.fill(&app, "/account", &[("display_name", "Countess")]).await;
    assert_eq!(goes_to(&renamed), "/account?done=profile");
    let account = browser.open(&app, "/account?done=profile").await;
    assert!(account.text.contains("<bdi>Countess</bdi>") && account.text.contains("role=\"status\""));
    let user = users::by_email(&app.service.database, &"ada@example.com".parse().unwrap()).await.unwrap().unwrap();
    let audit = app.audit_of(user.id).await;
    assert_eq!(audit[&("rename".to_owned(), "done".to_owned())], 1);
}

async fn what_is_wrong_stands_beside_its_field_and_the_rest_is_kept(app: App) {
    let mut browser = Browser::default();
    for (email, name, password, field) in [
        ("ada", "Ada", PASSWORD, "email"),
        (ADMIN_EMAIL, "Ada", PASSWORD, "email"),
        ("ada@example.com", "\u{202e}", PASSWORD, "display_name"),
        ("ada@example.com", "Ada", "qzx-7", "password"),
        ("ada@example.com", "Ada", "password123", "password"),
        ("ada@example.com", "Ada", &"x".repeat(1025), "password"),
    ] {
        let fields = [("email", email), ("display_name", name), ("password", password)];
        let page = browser.fill(&app, "/register", &fields).await;
        let status = if email == ADMIN_EMAIL { 409 } else { 422 };
        assert_eq!(page.status, status, "{}", page.text);
        assert!(page.text.contains(&format!("id=\"{field}-error\"")), "{field}: {}", page.text);
        assert!(page.text.contains(&format!("aria-describedby=\"{field}-error")), "{field}: {}", page.text);
        assert_eq!(page.text.matches("<p class=\"error\"").count(), 1, "{}", page.text);
        assert_eq!(value(&page, "email"), email);
        assert_eq!(value(&page, "password"), "");
        assert!(!page.text.contains(password), "a password is never shown again");
    }
    let page = browser.fill(&app, "/sign-in", &[("email", "ada"), ("password", "")]).await;
    assert_eq!((page.status, page.text.matches("<p class=\"error\"").count()), (422, 2));
}

async fn c15_no_form_is_taken_from_elsewhere(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let mut other = Browser::default();
    let page = browser.open(&app, "/account").await;
    let others = token(&other.open(&app, "/sign-in").await).to_owned();
    let stranger = app.somebody().await;
    for (path, fields) in [
        ("/sign-in", vec![("email", stranger.email.as_str()), ("password", PASSWORD)]),
        ("/register", vec![("email", "new@example.com"), ("display_name", ""), ("password", PASSWORD)]),
        ("/sign-out", vec![]),
        ("/account", vec![("display_name", "Mallory")]),
        ("/account/password", vec![("current_password", PASSWORD), ("new_password", "another horse battery")]),
        ("/account/sessions", vec![]),
        ("/account/applications", vec![("client", "any")]),
        ("/consent?flow=x", vec![("account", "any"), ("decision", "allow")]),
        ("/select-account?flow=x", vec![("account", "any")]),
        ("/device", vec![("user_code", "BCDF-GHJK"), ("decision", "allow")]),
    ] {
        let with = |token: &str| {
            let fields: Vec<_> = fields.iter().copied().chain([("csrf", token)]).collect();
            post(&app, path, &fields)
        };
        let as_json = |kind: &str| {
            let text = format!("{}&csrf={}", encoded(&fields), token(&page));
            app.request(Method::POST, path).header("content-type", kind).header("origin", origin(&app)).body(text)
        };
        let replaced = |name: &'static str, value: &'static str| {
            let (client, built) = with(token(&page)).build_split();
            let mut built = built.unwrap();
            built.headers_mut().insert(name, value.parse().unwrap());
            RequestBuilder::from_parts(client, built)
        };
        for (what, request) in [
            ("no token", post(&app, path, &fields)),
            ("an empty token", with("")),
            ("another browser's token", with(&others)),
            ("an evil origin", replaced("origin", "https://evil.example")),
            ("no origin to be named", replaced("origin", "null")),
            ("another site's page", replaced("sec-fetch-site", "cross-site")),
            ("another host's page", replaced("sec-fetch-site", "same-site")),
            ("JSON", as_json("application/json")),
            ("plain text", as_json("text/plain")),
            ("no kind", as_json("")),
        ] {
            let answer = browser.send(&app, request).await;
            assert_eq!(answer.status, 403, "{path} took a form with {what}: {}", answer.text);
        }
    }
    let user = app.service.users.by_id(person.id).await.unwrap().unwrap();
    assert_ne!(user.display_name, "Mallory");
    assert!(users::by_email(&app.service.database, &"new@example.com".parse().unwrap()).await.unwrap().is_none());
    assert!(browser.open(&app, "/account").await.text.contains(&person.email), "still signed in, as the same person");
    assert_eq!(app.get("/auth/me", &person.access).await.status, 200, "and elsewhere");
    assert_eq!(app.log_in(&person.email, PASSWORD).await.status, 200, "with the same password");
}

async fn c15_no_page_does_by_get_what_its_form_does(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let credentials = encoded(&[("email", &person.email), ("password", PASSWORD)]);
    let mut other = Browser::default();
    assert_eq!(other.open(&app, &format!("/sign-in?{credentials}")).await.status, 200);
    assert!(!other.is_signed_in(&app).await);
    assert_eq!(browser.open(&app, "/sign-out").await.status, 405);
    assert_eq!(browser.open(&app, "/account?display_name=Mallory").await.status, 200);
    assert!(browser.is_signed_in(&app).await);
    let page = browser.open(&app, "/account").await;
    assert!(!page.text.contains("Mallory"));
}

/// E7
async fn every_page_protects_itself_whatever_its_status(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let mut nobody = Browser::default();
    let wrong = nobody.fill_sign_in(&app, "/sign-in", "nobody@example.com", "not the password").await;
    let forged = browser.send(&app, post(&app, "/sign-out", &[])).await;
    let mut answers = vec![(401, wrong), (403, forged)];
    for (status, path) in [
        (200, "/account"),
        (200, "/account/password"),
        (200, "/account/sessions"),
        (200, "/account/applications"),
        (200, "/device"),
        (200, "/register"),
        (200, "/signed-out"),
        (303, "/"),
        (400, "/consent?flow=none"),
        (400, "/sign-in?return_to=//evil.example"),
        (404, "/nowhere"),
        (404, "/%00/%ff"),
        (405, "/sign-out"),
    ] {
        answers.push((status, browser.open(&app, path).await));
    }
    app.service.database.close().await;
    let request = app.request(Method::GET, "/account").header("accept", "text/html");
    let cookies: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    answers.push((503, app.send_whatever(request.header("cookie", cookies.join("; "))).await));
    for (status, answer) in answers {
        assert_eq!(answer.status, status, "{}", answer.text);
        let header = |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().unwrap());
        assert_eq!(header("cache-control"), "no-store", "{status}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{status}");
        assert_eq!(header("x-frame-options"), "DENY", "{status}");
        assert!(["same-origin", "no-referrer"].contains(&header("referrer-policy")), "{status}");
        assert!(!answer.headers.contains_key("server"), "{status}");
        if status != 405 {
            assert_eq!(header("cross-origin-opener-policy"), "same-origin", "{status}");
            assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{status}");
        }
        if status >= 400 && status != 405 {
            assert!(header("content-type").starts_with("text/html"), "{status} {}", answer.text);
            assert!(answer.text.contains("<h1>"), "{status} {}", answer.text);
        }
    }
}

async fn every_page_speaks_both_languages(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    for (path, english, chinese) in [
        ("/sign-in?return_to=/device", "", ""),
        ("/register", "Create an account", "创建账户"),
        ("/signed-out", "You are signed out", "您已退出登录"),
        ("/account", "Your account", "我的账户"),
        ("/account/password", "Change the password", "修改密码"),
        ("/account/sessions", "Sessions", "登录设备"),
        ("/account/applications", "Applications", "应用"),
        ("/device", "Let a device in", "授权设备登录"),
        ("/nowhere", "There is nothing here", "页面不存在"),
        ("/consent?flow=none", "This sign-in is over", "本次登录已结束"),
    ] {
        for (accepted, tag, words) in [("en", "en", english), ("zh-CN,zh;q=0.9", "zh-Hans", chinese)] {
            let request =
                app.request(Method::GET, path).header("accept", "text/html").header("accept-language", accepted);
            let page = browser.send(&app, request).await;
            if page.status == 303 {
                continue;
            }
            assert!(page.text.contains(&format!("<html lang=\"{tag}\">")), "{path} {accepted}: {}", page.text);
            assert!(page.text.contains(words), "{path} {accepted}: {}", page.text);
            assert_eq!(page.headers["content-language"], tag);
        }
    }
    // The switch is a form: it works without scripts, and its choice stays.
    let switched = browser.open(&app, "/account/password?ui_locales=zh").await;
    assert!(switched.text.contains("修改密码"));
    assert!(browser.open(&app, "/account").await.text.contains("我的账户"));
    let client = Application::register(&app, json!({"first_party": false})).await;
    let mut other = Browser::default();
    let begun = client.begin(&[("ui_locales", "fr zh-CN")]).go(&app, &mut other).await;
    assert!(other.open(&app, goes_to(&begun)).await.text.contains("<html lang=\"zh-Hans\">"), "as the client asks");
}

/// D10
async fn a_display_name_is_shown_as_text(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    for name in ["<script>alert(1)</script>", "\"><svg onload=alert(1)>", "{{7*7}}", "' onfocus='alert(1)", "a & b"] {
        assert_eq!(browser.fill(&app, "/account", &[("display_name", name)]).await.status, 303, "{name}");
        let kept = app.service.users.by_id(person.id).await.unwrap().unwrap().display_name;
        assert_eq!(kept, name, "it is kept as it is, and escaped where it is shown");
        for path in ["/account", "/account/sessions"] {
            let page = browser.open(&app, path).await;
            for raw in ["<script>", "<svg onload", "'alert", "a & b"] {
                assert!(!page.text.contains(raw), "{raw} in {path}: {}", page.text);
            }
            assert!(!page.text.contains("<bdi>49</bdi>"), "no template in a template");
            assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        }
    }
    for (name, status) in
        [("\u{202e}gnp.exe", 422), ("\u{1b}[31m", 422), ("", 422), (&"x".repeat(65), 422), (&"x".repeat(100_000), 413)]
    {
        assert_eq!(browser.fill(&app, "/account", &[("display_name", name)]).await.status, status);
    }
    let client = Application::register(&app, json!({"first_party": false, "client_name": "<b>Bank</b>"})).await;
    let begun = client.begin(&[]).go(&app, &mut browser).await;
    let consent = browser.open(&app, goes_to(&begun)).await;
    assert!(!consent.text.contains("<b>Bank") && consent.text.contains("&#60;b&#62;Bank"), "{}", consent.text);
}

async fn ht5_a_display_name_is_changed_so_often_and_no_more(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    for (name, status) in [("One", 303), ("Two", 303), ("Three", 429), ("Four", 429)] {
        let answer = browser.fill(&app, "/account", &[("display_name", name)]).await;
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(answer.headers.contains_key("retry-after"), status == 429);
    }
    assert_eq!(app.service.users.by_id(person.id).await.unwrap().unwrap().display_name, "Two");
    let (mut other, _) = signed_in(&app).await;
    assert_eq!(other.fill(&app, "/account", &[("display_name", "One")]).await.status, 303, "each has its own");
}

/// E9
async fn a_sign_in_leads_to_no_other_site(app: App) {
    let person = app.somebody().await;
    for path in [
        "//evil.example",
        "/%5Cevil.example",
        "/\\evil.example",
        "https:evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:%20a=b",
        "/%09/evil.example",
        "/.//evil.example",
        "",
    ] {
        let mut browser = Browser::default();
        let page = browser.open(&app, &format!("/sign-in?return_to={path}")).await;
        assert_eq!(page.status, 400, "{path} was taken: {}", page.text);
        assert!(!page.headers.contains_key("location"));
        // Whoever sends the form there all the same gets no further.
        let good = browser.open(&app, "/sign-in").await;
        let fields = [("email", person.email.as_str()), ("password", PASSWORD), ("csrf", token(&good))];
        let sent = browser.send(&app, post(&app, &format!("/sign-in?return_to={path}"), &fields)).await;
        assert_eq!(sent.status, 400, "{path}");
        assert!(!browser.is_signed_in(&app).await);
    }
}

async fn c12_a_planted_session_is_not_taken_over(app: App) {
    let (attacker, _) = signed_in(&app).await;
    let victim = app.somebody().await;
    let mut browser = attacker.clone();
    let planted = attacker.cookies["roam_session"].clone();
    let age = app.service.rules.step_up_after + Duration::from_secs(1);
    app.clock.advance(age);
    let answer = browser.fill_sign_in(&app, "/sign-in", &victim.email, PASSWORD).await;
    assert_eq!(goes_to(&answer), "/account");
    let own = &browser.cookies["roam_session"];
    assert_ne!(own.split('.').next(), planted.split('.').next(), "another session");
    assert!(browser.open(&app, "/account").await.text.contains(&victim.email));
    let mut attacker = attacker;
    assert!(!attacker.is_signed_in(&app).await, "and the planted one has ended");

    // The same person, again: the session goes on, and the cookie of before is worth nothing.
    let before = browser.cookies.clone();
    app.clock.advance(age);
    assert_eq!(browser.fill_sign_in(&app, "/sign-in", &victim.email, PASSWORD).await.status, 303);
    assert!(browser.is_signed_in(&app).await);
    assert!(!Browser { cookies: before }.is_signed_in(&app).await);
}

async fn hl2_a_planted_session_beside_the_victims_own_speaks_for_nobody(app: App) {
    let (victim, attacker) = (app.somebody().await, app.somebody().await);
    let (mut own, mut other) = (Browser::default(), Browser::default());
    own.sign_in(&app, &victim, PASSWORD).await;
    other.sign_in(&app, &attacker, PASSWORD).await;
    let mut both = own.clone();
    let planted = format!("{}; roam_session={}", other.cookies["roam_session"], own.cookies["roam_session"]);
    both.cookies.insert("roam_session".to_owned(), planted);
    let page = |path: &str| app.request(Method::GET, path).header("accept", "text/html");
    for path in ["/account", "/account/password", "/sign-in?return_to=/account"] {
        let answer = both.clone().send(&app, page(path)).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
    }
    assert_eq!(both.clone().get(&app, "/oauth2/logout").await.code(), "several_logins");
    let mut tab = both.clone();
    let refused = tab.send(&app, page("/account")).await;
    both.cookies.insert("roam_csrf".to_owned(), tab.cookies["roam_csrf"].clone());
    assert!(refused.text.contains("several_logins") && refused.text.contains("Several people"), "{}", refused.text);
    assert!(refused.text.contains("action=\"/sign-out\""), "there is a way out: {}", refused.text);
    let taken_back: Vec<_> = refused.headers.get_all("set-cookie").iter().map(|it| it.to_str().unwrap()).collect();
    assert!(
        taken_back.iter().any(|it| it.starts_with("roam_session=;") && it.contains("Path=/account")),
        "{taken_back:?}"
    );
    assert!(!taken_back.iter().any(|it| it.starts_with("roam_session=;") && it.contains("Path=/;")), "{taken_back:?}");
    let fields = [("csrf", token(&refused).to_owned())];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let out = both.send(&app, post(&app, "/sign-out", &fields)).await;
    assert_eq!(out.status, 303, "{}", out.text);
    for browser in [&mut own, &mut other] {
        assert_eq!(browser.send(&app, page("/account")).await.status, 303, "both sessions have ended");
    }
}

async fn c13_cookies_are_kept_from_scripts_and_other_sites(app: App) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    let page = browser.open(&app, "/sign-in").await;
    let fields = [("email", person.email.as_str()), ("password", PASSWORD), ("csrf", token(&page))];
    let answer = browser.send(&app, post(&app, "/sign-in", &fields)).await;
    for (name, answer) in [("roam_csrf", &page), ("roam_session", &answer)] {
        let set = answer.headers["set-cookie"].to_str().unwrap();
        assert!(set.starts_with(&format!("{name}=")), "{set}");
        for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/"] {
            assert!(set.contains(part), "{part} is missing: {set}");
        }
        assert!(!set.contains("Domain") && !set.contains("Secure"), "{set}");
    }
    // What a parent domain may add, and what is far too long, sign nobody out and nobody in.
    let own = browser.cookies["roam_session"].clone();
    for cookie in [format!("roam_session=x; roam_session={own}"), format!("roam_session={own}; roam_session=x")] {
        let request = app.request(Method::GET, "/account").header("accept", "text/html").header("cookie", cookie);
        assert_eq!(app.send(request).await.status, 200);
    }
    for cookie in
        [format!("roam_session={}", "x".repeat(8_000)), "roam_session=".to_owned(), format!("roam_session={own}x")]
    {
        let request = app.request(Method::GET, "/account").header("accept", "text/html").header("cookie", cookie);
        assert!([303, 400, 431].contains(&app.send(request).await.status));
    }
}

async fn c13_cookies_are_for_this_host_alone_where_browsers_come_by_https(app: App) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    let page = browser.open(&app, "/sign-in?ui_locales=en").await;
    let fields = [("email", person.email.as_str()), ("password", PASSWORD), ("csrf", token(&page))];
    let request = app.request(Method::POST, "/sign-in").header("content-type", FORM).body(encoded(&fields));
    let host = origin(&app).replace("http://", "https://");
    let answer = browser.send(&app, request.header("origin", host)).await;
    assert_eq!(goes_to(&answer), "/account");
    let set = |answer: &Answer| -> Vec<String> {
        answer.headers.get_all("set-cookie").iter().map(|set| set.to_str().unwrap().to_owned()).collect()
    };
    let cookies = [set(&page), set(&answer)].concat();
    assert_eq!(cookies.len(), 4, "{cookies:?}");
    for cookie in cookies {
        assert!(cookie.contains("; Secure") && cookie.contains("; Path=/") && !cookie.contains("Domain"), "{cookie}");
        assert!(cookie.starts_with("__Host-roam_") || cookie.starts_with("roam_language="), "{cookie}");
    }
    // Whoever is on the way could have written a page of http.
    let forged = browser.send(&app, post(&app, "/sign-out", &[("csrf", token(&page))])).await;
    assert_eq!(forged.status, 403, "{}", forged.text);
    assert!(browser.is_signed_in(&app).await);
}

async fn c13_the_cookie_of_the_session_is_sent_from_other_sites_frames_where_that_is_set(app: App) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    let page = browser.open(&app, "/sign-in").await;
    let host = origin(&app).replace("http://", "https://");
    let form = |path: &str, fields: &[(&str, &str)]| {
        let request = app.request(Method::POST, path).header("content-type", FORM).body(encoded(fields));
        request.header("accept", "text/html").header("origin", &host)
    };
    let fields = [("email", person.email.as_str()), ("password", PASSWORD), ("csrf", token(&page))];
    let signed_in = browser.send(&app, form("/sign-in", &fields)).await;
    let account = browser.open(&app, "/account").await;
    // What shows that a form is ours is never sent from there, and without it no form is taken.
    let same_site = |answer: &Answer, name: &str| {
        let all = answer.headers.get_all("set-cookie").iter().map(|it| it.to_str().unwrap().to_owned());
        let set = all.into_iter().find(|it| it.starts_with(&format!("__Host-{name}="))).unwrap_or_default();
        set.split("SameSite=").nth(1).map(|rest| rest.split(';').next().unwrap().to_owned())
    };
    assert_eq!(same_site(&signed_in, "roam_session").as_deref(), Some("None"));
    assert_eq!(same_site(&page, "roam_csrf").as_deref(), Some("Lax"));
    let client = Application::first_party(&app).await;
    let begun = client.begin(&[("prompt", "none")]);
    let framed = app.request(Method::GET, &begun.path()).header("sec-fetch-dest", "iframe");
    let silent = browser.send(&app, framed.header("sec-fetch-site", "cross-site")).await;
    assert!(!silent.query("code").is_empty(), "{}", silent.text);
    let csrf = browser.cookies.remove("__Host-roam_csrf").unwrap();
    let forged = browser.send(&app, form("/sign-out", &[("csrf", token(&account))])).await;
    assert_eq!(forged.status, 403, "{}", forged.text);
    browser.cookies.insert("__Host-roam_csrf".to_owned(), csrf);
    let out = browser.send(&app, form("/sign-out", &[("csrf", token(&account))])).await;
    assert_eq!((goes_to(&out), same_site(&out, "roam_session").as_deref()), ("/signed-out", Some("None")));
}

async fn nobodys_account_is_shown_to_nobody(app: App) {
    let mut browser = Browser::default();
    for path in ["/account", "/account/password", "/account/sessions", "/account/applications", "/device?user_code=A-B"]
    {
        let to = browser.open(&app, path).await;
        assert_eq!(to.location().path(), "/sign-in", "{path}");
        assert_eq!(to.query("return_to"), path);
    }
    let token = token(&browser.open(&app, "/sign-in").await).to_owned();
    let sent = browser.send(&app, post(&app, "/account", &[("display_name", "x"), ("csrf", &token)])).await;
    assert_eq!(goes_to(&sent), "/sign-in?return_to=%2Faccount");
}

async fn a_password_is_changed_and_the_other_sessions_end(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let change = |current, new| [("current_password", current), ("new_password", new)];
    let wrong = browser.fill(&app, "/account/password", &change("not the password", "another horse battery")).await;
    assert_eq!(wrong.status, 403, "{}", wrong.text);
    assert!(wrong.text.contains("id=\"current_password-error\""), "{}", wrong.text);
    let common = browser.fill(&app, "/account/password", &change(PASSWORD, "password123")).await;
    assert_eq!(common.status, 422);
    assert!(common.text.contains("id=\"new_password-error\""));
    assert_eq!(app.get("/auth/me", &person.access).await.status, 200, "nothing has changed so far");
    let changed = browser.fill(&app, "/account/password", &change(PASSWORD, "another horse battery")).await;
    assert_eq!(goes_to(&changed), "/account/password?done=changed");
    app.is_refused(&person.access).await;
    assert!(browser.is_signed_in(&app).await, "whoever changed it stays");
    assert_eq!(app.log_in(&person.email, PASSWORD).await.status, 401);
    assert_eq!(app.log_in(&person.email, "another horse battery").await.status, 200);
}

async fn a_session_elsewhere_is_ended_from_here(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let (second, stranger) = (app.sign_in(&person.email, PASSWORD).await, app.somebody().await);
    let page = browser.open(&app, "/account/sessions").await;
    assert!(page.text.contains(&person.session) && page.text.contains(&second.session), "{}", page.text);
    assert!(!page.text.contains(&stranger.session));
    for id in [&stranger.session, &person.session] {
        let answer = browser.fill(&app, "/account/sessions", &[("session", id)]).await;
        assert_eq!(goes_to(&answer), "/account/sessions?done=ended");
    }
    app.is_refused(&person.access).await;
    assert_eq!(app.get("/auth/me", &stranger.access).await.status, 200, "somebody else's is left alone");
    assert_eq!(app.get("/auth/me", &second.access).await.status, 200);
    browser.fill(&app, "/account/sessions", &[]).await;
    app.is_refused(&second.access).await;
    assert!(browser.is_signed_in(&app).await, "this one goes on");
    let refused = browser.fill(&app, "/account/sessions", &[("session", "no session's id")]).await;
    assert_eq!(refused.status, 400);
}

async fn a_client_gets_what_the_person_allows_and_keeps_it_until_it_is_taken_back(app: App) {
    let person = app.somebody().await;
    let client = Application::register(&app, json!({"first_party": false, "client_name": "Photo Book"})).await;
    let mut browser = Browser::default();
    let begun = client.begin(&[("scope", "openid email account")]);
    let sign_in = goes_to(&begun.go(&app, &mut browser).await).to_owned();
    let page = browser.open(&app, &sign_in).await;
    assert!(page.text.contains("to continue to Photo Book"), "{}", page.text);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https:;"), "the way back is open: {policy}");
    let answer = browser.fill_sign_in(&app, &sign_in, &person.email, PASSWORD).await;
    let consent = goes_to(&browser.open(&app, goes_to(&answer)).await).to_owned();
    let page = browser.open(&app, &consent).await;
    for words in ["Photo Book", &person.email, "see your email address", "see and change your account", "app.example"] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    let account = person.id.to_string();
    let allowed = browser.fill(&app, &consent, &[("account", &account), ("decision", "allow")]).await;
    let back = browser.open(&app, goes_to(&allowed)).await;
    let tokens = client.exchange(&app, &back.query("code"), &begun.verifier).await;
    let (access, refresh) = (tokens.body["access_token"].as_str().unwrap(), tokens.body["refresh_token"].as_str());
    assert_eq!(app.get("/auth/me", access).await.status, 200);
    assert!(begun.go(&app, &mut browser).await.query("code").len() > 20, "it is asked once");

    let page = browser.open(&app, "/account/applications").await;
    assert!(page.text.contains("Photo Book") && page.text.contains("see and change your account"), "{}", page.text);
    let withdrawn = browser.fill(&app, "/account/applications", &[("client", &client.id)]).await;
    assert_eq!(goes_to(&withdrawn), "/account/applications?done=withdrawn");
    app.is_refused(access).await;
    if let Some(refresh) = refresh {
        assert_eq!(client.refresh(&app, refresh).await.error(), "invalid_grant");
    }
    assert!(!browser.open(&app, "/account/applications").await.text.contains("Photo Book"));
    assert_eq!(begun.go(&app, &mut browser).await.location().path(), "/consent", "and it must ask again");
    let audit = app.audit_of(person.id).await;
    assert_eq!(audit[&("consent".to_owned(), "done".to_owned())], 1);
}

async fn a_refusal_is_told_to_the_client(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = Application::register(&app, json!({"first_party": false})).await;
    let consent = goes_to(&client.begin(&[]).go(&app, &mut browser).await).to_owned();
    let account = person.id.to_string();
    let refused = browser.fill(&app, &consent, &[("account", &account), ("decision", "refuse")]).await;
    let back = browser.open(&app, goes_to(&refused)).await;
    assert_eq!((back.query("error").as_str(), back.query("state").as_str()), ("access_denied", "a state"));
    assert!(consents::of(&app.service.database, person.id, &client.id).await.unwrap().is_none());
}

async fn nobody_consents_in_the_name_of_another(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = Application::register(&app, json!({"first_party": false})).await;
    let consent = goes_to(&client.begin(&[]).go(&app, &mut browser).await).to_owned();
    let page = browser.open(&app, &consent).await;
    // In another tab, somebody else signs in meanwhile.
    let stranger = app.somebody().await;
    browser.sign_in(&app, &stranger, PASSWORD).await;
    let account = person.id.to_string();
    let fields = [("account", account.as_str()), ("decision", "allow"), ("csrf", token(&page))];
    let sent = browser.send(&app, post(&app, &consent, &fields)).await;
    assert_eq!(browser.open(&app, goes_to(&sent)).await.location().path(), "/consent", "the other is asked");
    for user in [person.id, stranger.id] {
        assert!(consents::of(&app.service.database, user, &client.id).await.unwrap().is_none());
    }
    // Nor in another browser.
    let mut other = Browser::default();
    other.sign_in(&app, &person, PASSWORD).await;
    assert_eq!(other.open(&app, &consent).await.status, 400);
}

async fn an_account_is_selected_or_another_signs_in(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    app.clock.advance(Duration::from_secs(1));
    let client = Application::first_party(&app).await;
    let select = goes_to(&client.begin(&[("prompt", "select_account")]).go(&app, &mut browser).await).to_owned();
    let page = browser.open(&app, &select).await;
    assert!(page.text.contains(&person.email), "{}", page.text);
    let account = person.id.to_string();
    let selected = browser.fill(&app, &select, &[("account", &account)]).await;
    assert!(browser.open(&app, goes_to(&selected)).await.query("code").len() > 20);

    let select = goes_to(&client.begin(&[("prompt", "select_account")]).go(&app, &mut browser).await).to_owned();
    let stranger = app.somebody().await;
    let sign_in = format!("{}&another=true", select.replace("/select-account", "/sign-in"));
    let page = browser.open(&app, &select).await;
    assert!(page.text.contains(&sign_in.replace('&', "&#38;")), "{}", page.text);
    let page = browser.open(&app, &sign_in).await;
    assert!(value(&page, "email").is_empty() && !page.text.contains("Confirm that it is you"), "{}", page.text);
    assert!(page.text.contains(&format!("{} is signed in here now", person.email)), "{}", page.text);
    app.clock.advance(Duration::from_secs(1));
    let answer = browser.fill_sign_in(&app, &sign_in, &stranger.email, PASSWORD).await;
    assert!(browser.open(&app, goes_to(&answer)).await.query("code").len() > 20);
    assert!(browser.open(&app, "/account").await.text.contains(&stranger.email));
}

async fn a_login_that_is_too_old_is_asked_for_the_password_alone(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = Application::first_party(&app).await;
    app.clock.advance(Duration::from_secs(61));
    let sign_in = goes_to(&client.begin(&[("max_age", "60")]).go(&app, &mut browser).await).to_owned();
    let page = browser.open(&app, &sign_in).await;
    assert!(page.text.contains("Confirm that it is you"), "{}", page.text);
    assert_eq!(value(&page, "email"), person.email);
    let answer = browser.fill_sign_in(&app, &sign_in, &person.email, PASSWORD).await;
    assert!(browser.open(&app, goes_to(&answer)).await.query("code").len() > 20);
    let hinted = client.begin(&[("prompt", "login"), ("login_hint", "other@example.com")]);
    app.clock.advance(Duration::from_secs(1));
    let sign_in = goes_to(&hinted.go(&app, &mut browser).await).to_owned();
    assert_eq!(value(&browser.open(&app, &sign_in).await, "email"), "other@example.com");
}

async fn a_device_is_let_in_by_its_code(app: App) {
    const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
    let (mut browser, person) = signed_in(&app).await;
    let metadata = json!({"client_name": "Television", "grant_types": [GRANT], "redirect_uris": []});
    let client = Application::register(&app, metadata).await;
    let ask = app.request(Method::POST, "/oauth2/device_authorization").basic_auth(&client.id, Some(&client.secret));
    let device = app.send(ask.form(&[("scope", "openid account")])).await.body;
    let poll = [("grant_type", GRANT), ("device_code", device["device_code"].as_str().unwrap())];
    assert_eq!(client.token(&app, &poll).await.error(), "authorization_pending");

    let wrong = browser.fill(&app, "/device", &[("user_code", "BBBB-BBBB")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("id=\"user_code-error\"") && value(&wrong, "user_code") == "BBBB-BBBB");
    let code = device["user_code"].as_str().unwrap();
    let page = browser.fill(&app, "/device", &[("user_code", &code.to_lowercase())]).await;
    assert_eq!(page.status, 200);
    for words in ["Let Television in?", "see and change your account", &person.email, "a device of your own"] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    app.clock.advance(Duration::from_secs(6));
    assert_eq!(client.token(&app, &poll).await.error(), "authorization_pending", "to look is not to allow");
    let allowed = browser.send_form(&app, &page, "/device", &[("decision", "allow")]).await;
    assert_eq!(goes_to(&allowed), "/device?done=allow");
    app.clock.advance(Duration::from_secs(6));
    let tokens = client.token(&app, &poll).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    assert_eq!(app.get("/auth/me", tokens.body["access_token"].as_str().unwrap()).await.status, 200);
    let again = browser.send_form(&app, &page, "/device", &[("decision", "allow")]).await;
    assert_eq!(again.status, 422, "a code is answered once");
    for _ in 0..10 {
        browser.fill(&app, "/device", &[("user_code", "BBBB-BBBB")]).await;
    }
    let guessed = browser.fill(&app, "/device", &[("user_code", "BBBB-BBBC")]).await;
    assert_eq!(guessed.status, 429);
    assert!(alert(&guessed).contains("Try again in"), "{}", guessed.text);
}

async fn a_refusal_greets_whoever_is_signed_in_and_offers_a_sign_in_to_guests_alone(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let (sign_in, sign_out) = ("href=\"/sign-in\"", "action=\"/sign-out\"");
    for (path, status) in [("/nowhere", 404), ("/consent?flow=none", 400)] {
        let refused = browser.open(&app, path).await;
        assert_eq!(refused.status, status);
        assert!(refused.text.contains(sign_out) && !refused.text.contains(sign_in), "{}", refused.text);
        let guest = Browser::default().open(&app, path).await;
        assert!(guest.text.contains(sign_in) && !guest.text.contains(sign_out), "{}", guest.text);
    }
    let page = browser.open(&app, "/nowhere").await;
    assert_eq!(goes_to(&browser.send(&app, post(&app, "/sign-out", &[("csrf", token(&page))])).await), "/signed-out");
    assert!(browser.open(&app, "/nowhere").await.text.contains(sign_in), "{} is still greeted", person.email);
}
