//! The strategies of session cookies (`sticky`, `redis`): a cookie opens the session, and nothing else does.

use std::time::Duration;

use auth_service::{Config, Stores};
use reqwest::Method;
use reqwest::header::SET_COOKIE;
use serde_json::json;
use shared::authentication::DomainPattern;
use shared::authentication::strategy::Strategy;
use shared::session::{LimitPolicy, SessionLimit};

use crate::harness::{ADMIN_EMAIL, ADMIN_PASSWORD, Answer, App, PASSWORD, on_both};

const IDLE: Duration = Duration::from_secs(30 * 60);
const ABSOLUTE: Duration = Duration::from_secs(2 * 60 * 60);

on_both! {
    a_login_gives_a_cookie_and_no_token with super::by_cookies,
    hl2_junk_of_the_cookies_name_hides_no_login with super::by_cookies,
    a_login_gives_a_new_id_each_time_and_ends_the_session_before with super::by_cookies,
    a_logout_ends_the_session_and_the_browser_forgets_its_cookie with super::by_cookies,
    a_logout_everywhere_ends_the_sessions_of_all_browsers with super::by_cookies,
    a_session_goes_on_while_it_is_seen_and_ends_when_it_is_not with super::by_cookies,
    a_session_ends_at_its_greatest_age_however_often_it_is_seen with super::by_cookies,
    a_cookie_that_opens_nothing_is_nobodys with super::by_cookies,
    of_several_cookies_the_one_that_opens_a_session_counts with super::by_cookies,
    hl2_cookies_of_two_people_speak_for_neither with super::by_cookies,
    hl2_a_login_or_a_logout_ends_what_was_planted with super::by_cookies,
    hl2_more_cookies_than_are_looked_at_are_nobodys with super::by_cookies,
    another_sites_page_changes_nothing_by_a_cookie with super::by_cookies,
    a_new_password_needs_a_recent_login_and_ends_the_other_sessions with super::by_cookies,
    an_administrator_sees_who_is_online_and_ends_a_session with super::by_cookies,
    there_is_nothing_to_refresh with super::by_cookies,
    the_cookie_is_set_and_taken_back_for_the_domain_of_the_requests_host with super::by_any_domain,
    a_second_login_ends_the_first_where_one_login_is_all with super::by_one_login,
}

/// Sessions in the memory of one process, or in Redis.
pub(crate) fn by_cookies(config: &mut Config) {
    config.strategy = match config.stores {
        Stores::Embedded(_) => Strategy::Sticky,
        Stores::Redis(_) => Strategy::Redis,
    };
    (config.sessions.idle_ttl, config.sessions.absolute_ttl) = (IDLE, ABSOLUTE);
}

fn by_any_domain(config: &mut Config) {
    by_cookies(config);
    let pattern = DomainPattern::new(r"^.+?\.(\w+\.[a-z]+)$").expect("an expression");
    config.session_cookie.domain_pattern = Some(pattern);
}

fn by_one_login(config: &mut Config) {
    by_cookies(config);
    config.sessions.limit = SessionLimit { max: 1, policy: LimitPolicy::EndOldest };
}

/// Somebody's browser, with what it keeps.
struct Browser<'a> {
    app: &'a App,
    email: String,
    cookie: String,
    session: String,
}

impl<'a> Browser<'a> {
    async fn of_somebody(app: &'a App) -> Self {
        let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
        let answer = app.post("/auth/register", json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        Self::signed_in(app, &email, PASSWORD).await
    }

    async fn signed_in(app: &'a App, email: &str, password: &str) -> Self {
        let mut browser = Self { app, email: email.to_owned(), cookie: String::new(), session: String::new() };
        browser.log_in(password).await;
        browser
    }

    async fn log_in(&mut self, password: &str) -> Answer {
        let request = self.request(Method::POST, "/auth/login");
        let answer = self.app.send(request.json(&json!({"email": self.email, "password": password}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.cookie = set_cookie(&answer).split(';').next().unwrap().to_owned();
        self.session = answer.body["session_id"].as_str().unwrap().to_owned();
        answer
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.app.request(method, path).header("cookie", e2e::among_others(&self.cookie))
    }

    async fn status(&self, method: Method, path: &str) -> u16 {
        self.app.send(self.request(method, path)).await.status
    }

    async fn is_signed_in(&self) -> bool {
        match self.status(Method::GET, "/auth/me").await {
            200 => true,
            401 => false,
            other => panic!("{other}"),
        }
    }
}

fn set_cookie(answer: &Answer) -> &str {
    answer.headers[SET_COOKIE].to_str().unwrap()
}

async fn a_login_gives_a_cookie_and_no_token(app: App) {
    let mut browser = Browser::of_somebody(&app).await;
    let answer = browser.log_in(PASSWORD).await;
    let cookie = set_cookie(&answer);
    assert!(cookie.starts_with(&format!("SESSIONID={}.", browser.session)), "{cookie}");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=7200"] {
        assert!(cookie.split("; ").any(|found| found == attribute), "{attribute}: {cookie}");
    }
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.body["expires_at"].is_string() && answer.body["user"]["email"] == json!(browser.email));
    assert!(answer.body.get("access_token").is_none() && answer.body.get("refresh_token").is_none(), "{}", answer.text);
    let me = app.send(browser.request(Method::GET, "/auth/me")).await;
    assert_eq!((me.status, &me.body["email"]), (200, &json!(browser.email)));
    assert_eq!(app.send(app.request(Method::GET, "/auth/me")).await.status, 401);
}

async fn hl2_junk_of_the_cookies_name_hides_no_login(app: App) {
    let browser = Browser::of_somebody(&app).await;
    let junk = |name: &str, count: usize| (0..count).map(|number| format!("{name}=j{number}; ")).collect::<String>();
    let ask =
        async |method, path: &str, cookies: String| app.send(app.request(method, path).header("cookie", cookies)).await;
    let few = ask(Method::GET, "/auth/me", junk("SESSIONID", 7) + &browser.cookie).await;
    assert_eq!(few.status, 200, "{}", few.text);
    for (method, path) in [(Method::GET, "/auth/me"), (Method::POST, "/auth/logout")] {
        let many = ask(method, path, junk("SESSIONID", 8) + &browser.cookie).await;
        assert_eq!((many.status, many.code()), (400, "several_logins"), "{path}");
        assert!(many.headers.get_all(SET_COOKIE).iter().count() > 0, "{path}: what others have set is taken back");
    }
    assert!(browser.is_signed_in().await);
    let page = ask(Method::GET, "/account", junk("roam_session", 9)).await;
    assert_eq!(page.status, 400, "{}", page.text);
}

async fn a_login_gives_a_new_id_each_time_and_ends_the_session_before(app: App) {
    let mut browser = Browser::of_somebody(&app).await;
    let (before, first) = (browser.cookie.clone(), browser.session.clone());
    browser.log_in(PASSWORD).await;
    assert_ne!(browser.session, first);
    assert!(browser.is_signed_in().await);
    let list = app.send(browser.request(Method::GET, "/auth/sessions")).await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1, "{}", list.text);
    browser.cookie = before;
    assert!(!browser.is_signed_in().await, "the session before is still there");
    // An id that somebody planted does not become a session.
    browser.cookie = format!("SESSIONID={first}.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    browser.log_in(PASSWORD).await;
    assert_ne!(browser.session, first);
}

async fn a_logout_ends_the_session_and_the_browser_forgets_its_cookie(app: App) {
    let browser = Browser::of_somebody(&app).await;
    let answer = app.send(browser.request(Method::POST, "/auth/logout")).await;
    assert_eq!(answer.status, 204);
    let cookie = set_cookie(&answer);
    assert!(cookie.starts_with("SESSIONID=;") && cookie.contains("Max-Age=0") && cookie.contains("Path=/"), "{cookie}");
    assert!(!browser.is_signed_in().await, "a kept cookie still opens the session");
    assert_eq!(browser.status(Method::POST, "/auth/logout").await, 401);
}

async fn a_logout_everywhere_ends_the_sessions_of_all_browsers(app: App) {
    let browser = Browser::of_somebody(&app).await;
    let other = Browser::signed_in(&app, &browser.email, PASSWORD).await;
    let answer = app.send(browser.request(Method::POST, "/auth/logout-all")).await;
    assert_eq!((answer.status, &answer.body["ended"]), (200, &json!(2)));
    assert!(!browser.is_signed_in().await && !other.is_signed_in().await);
}

async fn a_session_goes_on_while_it_is_seen_and_ends_when_it_is_not(app: App) {
    let browser = Browser::of_somebody(&app).await;
    for _ in 0..3 {
        app.clock.advance(IDLE - Duration::from_secs(60));
        assert!(browser.is_signed_in().await, "it was seen in time");
    }
    app.clock.advance(IDLE + Duration::from_secs(60));
    assert!(!browser.is_signed_in().await, "nobody saw it for too long");
}

async fn a_session_ends_at_its_greatest_age_however_often_it_is_seen(app: App) {
    let browser = Browser::of_somebody(&app).await;
    let step = IDLE / 2;
    for _ in 0..(ABSOLUTE.as_secs() / step.as_secs() - 1) {
        app.clock.advance(step);
        assert!(browser.is_signed_in().await);
    }
    app.clock.advance(step + Duration::from_secs(1));
    assert!(!browser.is_signed_in().await);
}

async fn a_cookie_that_opens_nothing_is_nobodys(app: App) {
    let (mut browser, other) = (Browser::of_somebody(&app).await, Browser::of_somebody(&app).await);
    let secret = browser.cookie.split_once('.').unwrap().1.to_owned();
    for text in [
        String::new(),
        "SESSIONID=".to_owned(),
        "SESSIONID=.".to_owned(),
        format!("SESSIONID={}", browser.session),
        format!("SESSIONID={}.", browser.session),
        format!("SESSIONID={}.{}", browser.session, secret.to_lowercase()),
        format!("SESSIONID={}.{secret}", other.session),
        format!("SESSION={}.{secret}", browser.session),
        format!("SESSIONID={}", "x".repeat(4000)),
    ] {
        browser.cookie = text;
        assert!(!browser.is_signed_in().await, "{:?} opened a session", browser.cookie);
    }
}

async fn of_several_cookies_the_one_that_opens_a_session_counts(app: App) {
    let mut browser = Browser::of_somebody(&app).await;
    browser.cookie = format!("SESSIONID=planted; theme=dark; SESSIONID=7AAAA.x; {}", browser.cookie);
    assert!(browser.is_signed_in().await);
}

async fn hl2_cookies_of_two_people_speak_for_neither(app: App) {
    let (victim, attacker) = (Browser::of_somebody(&app).await, Browser::of_somebody(&app).await);
    let twice = Browser::signed_in(&app, &victim.email, PASSWORD).await;
    for (first, second) in [(&victim.cookie, &attacker.cookie), (&attacker.cookie, &victim.cookie)] {
        for (method, path) in
            [(Method::GET, "/auth/me"), (Method::POST, "/auth/logout-all"), (Method::GET, "/auth/sessions")]
        {
            let request = app.request(method, path).header("cookie", format!("{first}; {second}"));
            let answer = app.send(request.header("host", "auth.shop.example")).await;
            assert_eq!((answer.status, answer.code()), (400, "several_logins"), "{}", answer.text);
            // Those that somebody else may have set are taken back, and the service's own is not.
            let taken_back: Vec<_> = answer.headers.get_all(SET_COOKIE).iter().map(|it| it.to_str().unwrap()).collect();
            assert!(
                taken_back.iter().all(|it| it.starts_with("SESSIONID=;") && it.contains("Max-Age=0")),
                "{taken_back:?}"
            );
            assert!(taken_back.iter().any(|it| it.contains("Path=/auth") && !it.contains("Domain")), "{taken_back:?}");
            assert!(taken_back.iter().any(|it| it.contains("Domain=shop.example")), "{taken_back:?}");
            assert!(!taken_back.iter().any(|it| it.ends_with("Path=/") && !it.contains("Domain")), "{taken_back:?}");
        }
    }
    assert!(victim.is_signed_in().await && attacker.is_signed_in().await, "nothing was done");
    let both = format!("{}; {}", victim.cookie, twice.cookie);
    assert_eq!(app.send(app.request(Method::GET, "/auth/me").header("cookie", both)).await.status, 200, "one person");
    // A cookie that is over is nobody's.
    assert_eq!(attacker.status(Method::POST, "/auth/logout").await, 204);
    let both = format!("{}; {}", attacker.cookie, victim.cookie);
    let answer = app.send(app.request(Method::GET, "/auth/me").header("cookie", both)).await;
    assert_eq!((answer.status, &answer.body["email"]), (200, &json!(victim.email)));
}

async fn hl2_a_login_or_a_logout_ends_what_was_planted(app: App) {
    let (victim, attacker) = (Browser::of_somebody(&app).await, Browser::of_somebody(&app).await);
    let both = format!("{}; {}", attacker.cookie, victim.cookie);
    let logout = app.request(Method::POST, "/auth/logout").header("cookie", &both);
    assert_eq!(app.send(logout).await.status, 204);
    assert!(!victim.is_signed_in().await && !attacker.is_signed_in().await);
    let (mut victim, attacker) = (Browser::of_somebody(&app).await, Browser::of_somebody(&app).await);
    let before = victim.cookie.clone();
    victim.cookie = format!("{}; {before}", attacker.cookie);
    victim.log_in(PASSWORD).await;
    assert!(victim.is_signed_in().await && !attacker.is_signed_in().await);
    victim.cookie = format!("{}; {before}; {}", attacker.cookie, victim.cookie);
    assert!(victim.is_signed_in().await, "only the new one lives");
}

async fn hl2_more_cookies_than_are_looked_at_are_nobodys(app: App) {
    let (victim, attacker) = (Browser::of_somebody(&app).await, Browser::of_somebody(&app).await);
    let planted = [vec![attacker.cookie.as_str()], vec!["SESSIONID=x"; 7], vec![victim.cookie.as_str()]].concat();
    let answer = app.send(app.request(Method::GET, "/auth/me").header("cookie", planted.join("; "))).await;
    assert_eq!((answer.status, answer.code()), (400, "several_logins"), "{}", answer.text);
}

async fn another_sites_page_changes_nothing_by_a_cookie(app: App) {
    let browser = Browser::of_somebody(&app).await;
    let from = |name: &str, value: &str| browser.request(Method::POST, "/auth/logout").header(name, value);
    for (name, value) in [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example"), ("Origin", "null")] {
        let answer = app.send(from(name, value)).await;
        assert_eq!((answer.status, answer.code()), (403, "cross_site"), "{name}: {value}");
    }
    assert!(browser.is_signed_in().await);
    let answer = app.send(from("Sec-Fetch-Site", "same-site")).await;
    assert_eq!((answer.status, answer.code()), (403, "cross_site"), "any port of localhost is of the same site");
    assert_eq!(app.send(from("Sec-Fetch-Site", "same-origin")).await.status, 204);
}

async fn a_new_password_needs_a_recent_login_and_ends_the_other_sessions(app: App) {
    let browser = Browser::of_somebody(&app).await;
    let other = Browser::signed_in(&app, &browser.email, PASSWORD).await;
    let body = json!({"current_password": PASSWORD, "new_password": "another sentence of hers"});
    let change = |browser: &Browser<'_>| app.send(browser.request(Method::POST, "/auth/password").json(&body));
    app.clock.advance(Duration::from_secs(16 * 60));
    let answer = change(&browser).await;
    assert_eq!((answer.status, answer.code()), (401, "insufficient_user_authentication"), "{}", answer.text);
    let again = Browser::signed_in(&app, &browser.email, PASSWORD).await;
    let answer = change(&again).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    let new = set_cookie(&answer).split(';').next().unwrap().to_owned();
    assert!(new.starts_with(&format!("SESSIONID={}.", again.session)), "{new}");
    assert!(!again.is_signed_in().await, "by the cookie of before, which somebody may have copied");
    assert!(Browser { cookie: new, ..again }.is_signed_in().await, "the session goes on");
    assert!(!browser.is_signed_in().await && !other.is_signed_in().await);
}

async fn an_administrator_sees_who_is_online_and_ends_a_session(app: App) {
    let browser = Browser::of_somebody(&app).await;
    let admin = Browser::signed_in(&app, ADMIN_EMAIL, ADMIN_PASSWORD).await;
    let online = app.send(admin.request(Method::GET, "/admin/sessions")).await;
    assert_eq!(online.status, 200, "{}", online.text);
    assert!(online.text.contains(&browser.session));
    assert_eq!(browser.status(Method::GET, "/admin/sessions").await, 403);
    assert_eq!(admin.status(Method::DELETE, &format!("/admin/sessions/{}", browser.session)).await, 204);
    assert!(!browser.is_signed_in().await);
}

async fn there_is_nothing_to_refresh(app: App) {
    let answer = app.refresh("whatever").await;
    assert_eq!((answer.status, answer.code()), (409, "strategy_cannot"), "{}", answer.text);
}

async fn the_cookie_is_set_and_taken_back_for_the_domain_of_the_requests_host(app: App) {
    let mut browser = Browser::of_somebody(&app).await;
    let body = json!({"email": browser.email, "password": PASSWORD});
    for (host, domain) in
        [("account.shop.test:8080", Some("shop.test")), ("account.shop.example", Some("shop.example"))]
            .into_iter()
            .chain([("localhost:8081", None), ("account.github.io", None), ("127.0.0.1", None)])
    {
        let login = app.request(Method::POST, "/auth/login").header("host", host).json(&body);
        let answer = app.send(login).await;
        let attribute = domain.map(|domain| format!("Domain={domain}"));
        let found = |cookie: &str| cookie.split("; ").find(|it| it.starts_with("Domain=")).map(str::to_owned);
        assert_eq!(found(set_cookie(&answer)), attribute, "{host}");
        browser.cookie = set_cookie(&answer).split(';').next().unwrap().to_owned();
        let logout = app.send(browser.request(Method::POST, "/auth/logout").header("host", host)).await;
        let taken_back: Vec<_> =
            logout.headers.get_all(SET_COOKIE).iter().map(|cookie| found(cookie.to_str().unwrap())).collect();
        let own = attribute.is_some().then_some(None);
        assert_eq!(taken_back, [Some(attribute), own].into_iter().flatten().collect::<Vec<_>>(), "{host}");
    }
}

async fn a_second_login_ends_the_first_where_one_login_is_all(app: App) {
    let first = Browser::of_somebody(&app).await;
    let second = Browser::signed_in(&app, &first.email, PASSWORD).await;
    assert!(!first.is_signed_in().await && second.is_signed_in().await);
    let list = app.send(second.request(Method::GET, "/auth/sessions")).await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1, "{}", list.text);
}
