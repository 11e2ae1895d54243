//! A sign-in that is over: its page says why, and leads back to where the person came from; a form that is sent twice leads to
//! where it led the first time.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::{Application, Begun, Browser, REDIRECT_URI, form_token};
use crate::consent::OnItsOwn;
use crate::harness::{ADMIN_EMAIL, Answer, App, PASSWORD, Person, on_both};

on_both! {
    a_sign_in_that_took_too_long_leads_back_to_its_application,
    a_sign_in_that_was_answered_leads_back_and_gives_no_second_code,
    another_browser_is_led_back_without_the_state,
    a_way_back_is_named_and_asked_for_and_never_taken_unasked with crate::consent::registering,
    a_way_back_goes_where_the_application_begins_or_lives,
    a_form_that_is_sent_twice_leads_where_it_led,
    a_registration_that_is_sent_twice_signs_in,
    a_pushed_request_that_is_over_leads_back_to_its_application,
    a_sign_out_that_took_too_long_asks_anew,
}

const HOME: &str = "https://app.example/home";

/// As a browser shows it.
async fn open(app: &App, browser: &mut Browser, path: &str) -> Answer {
    browser.send(app, app.request(Method::GET, path).header("accept", "text/html")).await
}

/// Where the page's first button leads, as a link.
fn way_back(page: &Answer) -> url::Url {
    way_back_as(page, "button")
}

fn way_back_as(page: &Answer, class: &str) -> url::Url {
    assert_eq!(page.status, 400, "{}", page.text);
    assert!(page.text.contains("This sign-in is over"), "{}", page.text);
    assert!(!page.headers.contains_key("location"));
    let (_, rest) =
        page.text.split_once(&format!("<a class=\"{class}\" href=\"")).unwrap_or_else(|| panic!("{}", page.text));
    url::Url::parse(&rest.split('"').next().unwrap().replace("&#38;", "&")).unwrap()
}

fn told(address: &url::Url, name: &str) -> String {
    let found = address.query_pairs().find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn flow_of(asked: &Answer) -> String {
    asked.query("flow")
}

async fn signed_in(app: &App) -> (Browser, Person) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(app, &person, PASSWORD).await;
    (browser, person)
}

async fn begin(
    app: &App,
    browser: &mut Browser,
    changes: Value,
    asked: &[(&str, &str)],
) -> (Application, Begun, Answer) {
    let client = Application::register(app, changes).await;
    let begun = client.begin(asked);
    let page = begun.go(app, browser).await;
    (client, begun, page)
}

async fn a_sign_in_that_took_too_long_leads_back_to_its_application(app: App) {
    let mut browser = Browser::default();
    let metadata = json!({"client_name": "Photo Book"});
    let (_, _, asked) = begin(&app, &mut browser, metadata, &[("ui_locales", "zh")]).await;
    let flow = flow_of(&asked);
    let page = open(&app, &mut browser, &format!("/sign-in?flow={flow}&ui_locales=en")).await;
    app.clock.advance(Duration::from_secs(30 * 60));
    for path in ["/sign-in", "/register", "/consent", "/select-account", "/switch-account", "/oauth2/authorize"] {
        let over = open(&app, &mut browser, &format!("{path}?flow={flow}&ui_locales=en")).await;
        let back = way_back(&over);
        assert_eq!(back[..url::Position::AfterPath], *REDIRECT_URI, "{path}");
        let answer = ["error", "state", "iss", "code"].map(|name| told(&back, name));
        assert_eq!(answer, ["login_required", "a state", &app.service.issuer, ""], "{path}");
        assert!(
            over.text.contains("left open for too long") && over.text.contains("Back to Photo Book"),
            "{}",
            over.text
        );
        assert!(
            over.text.contains("<bdi>app.example</bdi>") && !over.text.contains("has not checked"),
            "{}",
            over.text
        );
    }
    // Whoever fills in the form that was left open is told the same.
    let fields = [("email", ADMIN_EMAIL), ("password", PASSWORD), ("csrf", &*form_token(&page))];
    let path = format!("/sign-in?flow={flow}");
    let sent = browser.send(&app, app.request(Method::POST, &path).form(&fields)).await;
    let on = sent.location()[url::Position::BeforePath..].to_owned();
    assert_eq!(on, format!("/oauth2/authorize?flow={flow}"));
    let mut chinese = Browser { cookies: browser.cookies.clone() };
    chinese.cookies.remove("roam_language");
    assert!(open(&app, &mut chinese, &on).await.text.contains("返回 Photo Book"), "as the client asked");
    assert_eq!(browser.get(&app, &on).await.code(), "flow_over", "programs are told in JSON");
}

async fn a_sign_in_that_was_answered_leads_back_and_gives_no_second_code(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let (client, begun, asked) = begin(&app, &mut browser, json!({"first_party": false}), &[]).await;
    let allowed = browser.submit(&app, &asked, &[("decision", "allow")]).await;
    let code = browser.follow(&app, &allowed).await.query("code");
    let on = allowed.location()[url::Position::BeforePath..].to_owned();
    let again = open(&app, &mut browser, &on).await;
    let back = way_back(&again);
    assert_eq!((told(&back, "code"), told(&back, "error")), (String::new(), "login_required".to_owned()));
    assert!(again.text.contains("a second click"), "{}", again.text);
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.status, 200, "the code is as good as before");
    way_back(&open(&app, &mut browser, &on).await);
    // By a form, where the client gets its answers so.
    let asked = client.begin(&[("response_mode", "form_post"), ("prompt", "consent")]).go(&app, &mut browser).await;
    let refused = browser.submit(&app, &asked, &[("decision", "refuse")]).await;
    assert_eq!(browser.follow(&app, &refused).await.status, 200);
    let again = open(&app, &mut browser, &refused.location()[url::Position::BeforePath..]).await;
    assert!(again.text.contains(&format!("<form method=\"post\" action=\"{REDIRECT_URI}\">")), "{}", again.text);
    assert!(again.text.contains("name=\"state\" value=\"a state\"") && !again.text.contains("data-submit"));
    assert!(again.headers["content-security-policy"].to_str().unwrap().contains(" https:;"));
}

async fn another_browser_is_led_back_without_the_state(app: App) {
    let (mut browser, mut other) = (Browser::default(), Browser::default());
    let (_, _, asked) = begin(&app, &mut browser, json!({}), &[]).await;
    let on = format!("/sign-in?flow={}", flow_of(&asked));
    let over = open(&app, &mut other, &on).await;
    assert_eq!(over.status, 400);
    assert!(!over.text.contains("a state") && !over.text.contains(REDIRECT_URI), "{}", over.text);
    let (_, _, asked) = begin(&app, &mut browser, json!({"client_uri": HOME}), &[]).await;
    let over = open(&app, &mut other, &format!("/sign-in?flow={}", flow_of(&asked))).await;
    assert_eq!(way_back(&over).as_str(), HOME);
    assert!(over.text.contains("begun in another browser") && !over.text.contains("a state"), "{}", over.text);
}

/// RFC 9700, section 4.11.2
async fn a_way_back_is_named_and_asked_for_and_never_taken_unasked(app: App) {
    let mut browser = Browser::default();
    let client = OnItsOwn::register(&app, json!({})).await.application;
    let asked = client.begin(&[("scope", "openid")]).go(&app, &mut browser).await;
    app.clock.advance(Duration::from_secs(30 * 60));
    let over = open(&app, &mut browser, &format!("/sign-in?flow={}", flow_of(&asked))).await;
    assert_eq!(way_back_as(&over, "button secondary").host_str(), Some("app.example"));
    assert!(over.text.contains("has not checked this application"), "{}", over.text);
    assert!(over.text.contains("<bdi>app.example</bdi>"), "{}", over.text);
}

async fn a_way_back_goes_where_the_application_begins_or_lives(app: App) {
    let mut browser = Browser::default();
    let begins = json!({"client_uri": HOME, "initiate_login_uri": "https://app.example/login?a=b"});
    for (metadata, expected) in [
        (begins, format!("https://app.example/login?a=b&iss={}", urlencoded(&app.service.issuer))),
        (json!({"client_uri": HOME}), HOME.to_owned()),
    ] {
        let (client, _, asked) = begin(&app, &mut browser, metadata, &[]).await;
        let on = format!("/sign-in?flow={}", flow_of(&asked));
        app.clock.advance(Duration::from_secs(30 * 60));
        assert_eq!(way_back(&open(&app, &mut browser, &on).await).as_str(), expected);
        let gone = json!({
            "client_id": client.id, "client_secret": client.secret, "redirect_uris": ["https://new.example/cb"],
        });
        Application::register(&app, gone).await;
        let over = open(&app, &mut browser, &on).await;
        assert!(over.status == 400 && !over.text.contains("app.example"), "{}", over.text);
    }
}

fn urlencoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

async fn a_form_that_is_sent_twice_leads_where_it_led(app: App) {
    let person = app.somebody().await;
    let account = person.id.to_string();
    let mut browser = Browser::default();
    let metadata = json!({"first_party": false});
    let (client, _, asked) = begin(&app, &mut browser, metadata, &[("prompt", "select_account consent")]).await;
    let flow = flow_of(&asked);
    let twice = async |browser: &mut Browser, page: &str, fields: &[(&str, &str)]| {
        let page = format!("{page}?flow={flow}");
        let shown = open(&app, browser, &page).await;
        assert_eq!(shown.status, 200, "{page}: {}", shown.text);
        let hidden = crate::browser::hidden(&shown, fields);
        let hidden = hidden.iter().map(|(name, value)| (*name, value.as_str()));
        let fields: Vec<(String, String)> =
            fields.iter().copied().chain(hidden).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let send = || app.request(Method::POST, &page).form(&fields);
        // The second click comes before the browser has taken in the answer to the first.
        let mut quick = browser.clone();
        let first = browser.send(&app, send()).await.location();
        assert_eq!(quick.send(&app, send()).await.location(), first, "{page}");
        *browser = quick;
        (page, fields, first)
    };
    let sign_in = twice(&mut browser, "/sign-in", &[("email", &*person.email), ("password", PASSWORD)]).await;
    let next = open(&app, &mut browser, &sign_in.2[url::Position::BeforePath..]).await;
    assert_eq!(next.location().path(), "/consent", "a sign-in of just now selects the account");
    let select = twice(&mut browser, "/select-account", &[("account", &account)]).await;
    let consent = twice(&mut browser, "/consent", &[("decision", "allow")]).await;
    let on = consent.2[url::Position::BeforePath..].to_owned();
    assert!(!browser.get(&app, &on).await.query("code").is_empty());
    // And after the answer.
    for (page, fields, first) in [sign_in, select, consent] {
        let late = browser.send(&app, app.request(Method::POST, &page).form(&fields)).await;
        assert_eq!(late.location(), first, "{page}");
    }
    assert_eq!(way_back(&open(&app, &mut browser, &on).await).host_str(), Some("app.example"));
    assert!(!client.id.is_empty());
}

async fn a_registration_that_is_sent_twice_signs_in(app: App) {
    let mut browser = Browser::default();
    let page = open(&app, &mut browser, "/register?return_to=/device").await;
    let token = form_token(&page);
    let send = |password: &str| {
        let fields = [("email", "ada@example.com"), ("display_name", "Ada"), ("password", password), ("csrf", &*token)];
        app.request(Method::POST, "/register?return_to=/device").header("accept", "text/html").form(&fields)
    };
    let mut quick = browser.clone();
    for browser in [&mut browser, &mut quick] {
        let made = browser.send(&app, send(PASSWORD)).await;
        assert_eq!(made.location().path(), "/device");
        assert_eq!(browser.get(&app, "/account").await.status, 200);
    }
    let mut stranger = Browser { cookies: page_cookies(&quick) };
    let taken = stranger.send(&app, send("another horse battery")).await;
    assert_eq!(taken.status, 409, "{}", taken.text);
    assert!(taken.text.contains("There is an account with this address already"), "{}", taken.text);
    assert!(!stranger.cookies.contains_key("roam_session"));
}

/// The cookies of a browser that has only opened a page.
fn page_cookies(browser: &Browser) -> std::collections::HashMap<String, String> {
    browser.cookies.iter().filter(|(name, _)| *name == "roam_csrf").map(|(a, b)| (a.clone(), b.clone())).collect()
}

async fn a_sign_out_that_took_too_long_asks_anew(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let asked = browser.get(&app, "/oauth2/logout").await;
    let page = asked.location()[url::Position::BeforePath..].to_owned();
    app.clock.advance(Duration::from_secs(10 * 60));
    let over = open(&app, &mut browser, &page).await;
    assert_eq!(over.status, 400);
    assert!(over.text.contains("This sign-out is over"), "{}", over.text);
    assert!(over.text.contains("<a class=\"button\" href=\"/oauth2/logout\""), "{}", over.text);
    assert_eq!(browser.get(&app, "/account").await.status, 200, "nothing was done");
}

async fn a_pushed_request_that_is_over_leads_back_to_its_application(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = Application::register(&app, json!({"client_uri": HOME})).await;
    let push = app.request(Method::POST, "/oauth2/par").basic_auth(&client.id, Some(&client.secret));
    let pushed = app.send(push.form(&client.begin(&[]).parameters)).await;
    let uri = urlencoded(pushed.body["request_uri"].as_str().unwrap());
    let path = format!("/oauth2/authorize?client_id={}&request_uri={uri}", client.id);
    assert!(!browser.get(&app, &path).await.query("code").is_empty());
    let again = open(&app, &mut browser, &path).await;
    assert_eq!(way_back(&again).as_str(), HOME);
}
