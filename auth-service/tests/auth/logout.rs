//! An application asks that its user be signed out: what is done at once, what is asked first, and where the browser goes.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::back_channel::{Ears, Manner, claims, signed_in};
use crate::browser::{Application, Browser};
use crate::harness::{Answer, App, PASSWORD, on_both};

on_both!(
    c14_an_id_token_of_the_session_signs_out_at_once_however_old_it_is,
    c17_another_site_signs_nobody_out,
    c16_an_id_token_of_another_session_or_person_asks_first,
    whoever_stays_signed_in_stays_so,
    an_application_that_only_says_who_it_is_needs_the_persons_word,
    c16_a_browser_is_sent_to_no_address_that_is_not_registered,
    a_form_of_another_sites_finds_the_session_too,
    c15_the_question_needs_its_own_form,
    whoever_is_not_signed_in_is_sent_on,
    what_cannot_be_read_is_refused_and_ends_nothing,
    a_clients_refresh_token_ends_no_login,
    a_client_that_begins_a_logout_hears_of_its_end_before_the_browser_comes_back,
);

const BYE: &str = "https://app.example/bye?from=shop";

async fn application(app: &App) -> Application {
    Application::register(app, json!({"first_party": true, "post_logout_redirect_uris": [BYE]})).await
}

async fn with_tokens(app: &App) -> (Browser, Application, Value) {
    let (mut browser, _) = signed_in(app).await;
    let client = application(app).await;
    let tokens = client.tokens(app, &mut browser).await;
    (browser, client, tokens)
}

fn hint(tokens: &Value) -> &str {
    tokens["id_token"].as_str().unwrap()
}

fn path(parameters: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("/oauth2/logout?{query}")
}

async fn is_signed_in(app: &App, client: &Application, browser: &Browser) -> bool {
    // A copy: looking changes nothing.
    let answer = client.begin(&[("prompt", "none")]).go(app, &mut browser.clone()).await;
    let error = answer.query("error");
    assert!(["", "login_required"].contains(&error.as_str()), "{error}");
    error.is_empty()
}

fn is_question(answer: &Answer) -> bool {
    answer.location().path() == "/oauth2/logout/confirm" && answer.location().host_str() == Some("here")
}

async fn c14_an_id_token_of_the_session_signs_out_at_once_however_old_it_is(app: App) {
    let (mut browser, client, tokens) = with_tokens(&app).await;
    app.clock.advance(Duration::from_secs(86_400));
    let state = "a state/with ? & é";
    let parameters = [("id_token_hint", hint(&tokens)), ("post_logout_redirect_uri", BYE), ("state", state)];
    let copy = browser.clone();
    let answer = browser.get(&app, &path(&parameters)).await;
    assert!(answer.headers["location"].to_str().unwrap().starts_with("https://app.example/bye?from=shop&state="));
    assert_eq!((answer.query("from").as_str(), answer.query("state").as_str()), ("shop", state));
    assert!(!browser.cookies.contains_key("roam_session"), "the cookie is taken back");
    assert!(!is_signed_in(&app, &client, &copy).await, "and worth nothing if it is brought again");
}

async fn c17_another_site_signs_nobody_out(app: App) {
    let (mut browser, client, _) = with_tokens(&app).await;
    for parameters in [&[][..], &[("client_id", &*client.id)], &[("state", "x")], &[("logout_hint", "ada@example.com")]]
    {
        let answer = browser.get(&app, &path(parameters)).await;
        assert!(is_question(&answer), "{parameters:?}");
        assert!(is_signed_in(&app, &client, &browser).await, "{parameters:?}");
        let page =
            browser.get(&app, &format!("{}?{}", answer.location().path(), answer.location().query().unwrap())).await;
        assert_eq!(page.status, 200);
        assert!(page.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
        assert!(is_signed_in(&app, &client, &browser).await, "to look at the question is no answer");
    }
}

async fn c16_an_id_token_of_another_session_or_person_asks_first(app: App) {
    let (browser, client, tokens) = with_tokens(&app).await;
    let (other_browser, _, others) = with_tokens(&app).await;
    let mut both = [(browser, &others, "somebody else's"), (other_browser, &tokens, "somebody else's")];
    for (browser, tokens, whose) in &mut both {
        let parameters = [("id_token_hint", hint(tokens)), ("post_logout_redirect_uri", BYE)];
        assert!(is_question(&browser.get(&app, &path(&parameters)).await), "{whose}");
        assert!(is_signed_in(&app, &client, browser).await);
    }
    // The person themselves, in the session after that one.
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(&app, &person, PASSWORD).await;
    let before = client.tokens(&app, &mut browser).await;
    let parameters = [("id_token_hint", hint(&before)), ("post_logout_redirect_uri", BYE)];
    assert_eq!(browser.get(&app, &path(&parameters)).await.location().host_str(), Some("app.example"));
    browser.sign_in(&app, &person, PASSWORD).await;
    let asked = browser.get(&app, &path(&parameters)).await;
    assert!(is_question(&asked));
    assert!(is_signed_in(&app, &client, &browser).await);
    let answer = browser.submit(&app, &asked, &[]).await;
    assert_eq!(answer.headers["location"].to_str().unwrap(), BYE);
    assert!(!is_signed_in(&app, &client, &browser).await);
}

async fn whoever_stays_signed_in_stays_so(app: App) {
    let (mut browser, client, _) = with_tokens(&app).await;
    let asked = browser.get(&app, "/oauth2/logout?ui_locales=zh").await;
    let page = browser.follow(&app, &asked).await;
    assert!(page.text.contains("要退出登录吗"), "{}", page.text);
    app.clock.advance(Duration::from_secs(601));
    let answer = browser.follow(&app, &asked).await;
    assert_eq!((answer.status, answer.code()), (400, "logout_over"));
    assert!(is_signed_in(&app, &client, &browser).await);
}

async fn an_application_that_only_says_who_it_is_needs_the_persons_word(app: App) {
    let (mut browser, client, _) = with_tokens(&app).await;
    let parameters = [("client_id", &*client.id), ("post_logout_redirect_uri", BYE), ("state", "s")];
    let asked = browser.get(&app, &path(&parameters)).await;
    assert!(is_question(&asked));
    let page = browser.follow(&app, &asked).await;
    assert!(page.text.contains("An application"), "the person sees who asks: {}", page.text);
    let answer = browser.submit(&app, &asked, &[]).await;
    assert_eq!(answer.headers["location"].to_str().unwrap(), format!("{BYE}&state=s"));
    assert!(!is_signed_in(&app, &client, &browser).await);
    let again = browser.get(&app, &path(&parameters)).await;
    assert_eq!(again.location().path(), "/signed-out", "nobody is there to agree");
}

async fn c16_a_browser_is_sent_to_no_address_that_is_not_registered(app: App) {
    let (mut browser, client, tokens) = with_tokens(&app).await;
    for odd in [
        "https://evil.example/",
        "https://app.example/bye",
        "https://app.example/bye?from=shop&x=y",
        "https://app.example/bye?from=shop#x",
        "https://app.example/cb",
        "https://app.example@evil.example/",
        "//evil.example",
        "javascript:alert(1)",
    ] {
        let with_hint = [("id_token_hint", hint(&tokens)), ("post_logout_redirect_uri", odd)];
        let with_id = [("client_id", &*client.id), ("post_logout_redirect_uri", odd)];
        for parameters in [with_hint, with_id] {
            let answer = browser.get(&app, &path(&parameters)).await;
            assert_eq!((answer.status, answer.code()), (400, "invalid_request"), "{odd}");
            assert!(!answer.headers.contains_key("location"));
        }
        let unknown = browser.get(&app, &path(&[("post_logout_redirect_uri", odd)])).await;
        assert!(is_question(&unknown));
        let answer = browser.clone().submit(&app, &unknown, &[]).await;
        assert!(answer.status != 303 || answer.location().path() == "/signed-out", "{odd}");
        browser = signed_in_again(&app, &client, browser).await;
    }
}

/// The browser of before, or another one of somebody who is signed in.
async fn signed_in_again(app: &App, client: &Application, browser: Browser) -> Browser {
    if is_signed_in(app, client, &browser).await { browser } else { signed_in(app).await.0 }
}

async fn a_form_of_another_sites_finds_the_session_too(app: App) {
    let (mut browser, client, tokens) = with_tokens(&app).await;
    let form = [("id_token_hint", hint(&tokens)), ("post_logout_redirect_uri", BYE), ("state", "s")];
    // A browser brings no cookie of `SameSite=Lax` with it.
    let posted =
        app.send(app.request(Method::POST, "/oauth2/logout").header("origin", "https://app.example").form(&form)).await;
    assert_eq!(posted.location().path(), "/oauth2/logout");
    assert!(!posted.headers["location"].to_str().unwrap().contains(hint(&tokens)), "no ID token in an address");
    assert!(is_signed_in(&app, &client, &browser).await);
    let answer = browser.follow(&app, &posted).await;
    assert_eq!(answer.headers["location"].to_str().unwrap(), format!("{BYE}&state=s"));
    assert!(!is_signed_in(&app, &client, &browser).await);
}

async fn c15_the_question_needs_its_own_form(app: App) {
    let (mut browser, client, _) = with_tokens(&app).await;
    let asked = browser.get(&app, "/oauth2/logout").await;
    let address = format!("{}?{}", asked.location().path(), asked.location().query().unwrap());
    let page = browser.get(&app, &address).await;
    let token = crate::browser::form_token(&page);
    let send = |browser: &Browser, change: &dyn Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder| {
        let request = change(app.request(Method::POST, &address));
        let (mut browser, app) = (browser.clone(), &app);
        async move { browser.send(app, request).await }
    };
    let forms: [&dyn Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder; 5] = [
        &|request| request,
        &|request| request.form(&[("csrf", "")]),
        &|request| request.form(&[("csrf", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]),
        &|request| request.header("origin", "https://evil.example").form(&[("csrf", token.as_str())]),
        &|request| request.header("origin", "null").form(&[("csrf", token.as_str())]),
    ];
    for form in forms {
        assert_eq!(send(&browser, form).await.status, 403);
        assert!(is_signed_in(&app, &client, &browser).await);
    }
    let unasked = send(&browser, &|request| request.form(&[("csrf", token.as_str())])).await;
    assert_eq!(unasked.location().path(), "/oauth2/logout/confirm", "it does not say who was asked");
    assert!(is_signed_in(&app, &client, &browser).await);
    let fields = crate::browser::hidden(&page, &[]);
    let good = send(&browser, &|request| request.form(&fields)).await;
    assert_eq!(good.location().path(), "/signed-out");
    assert!(!is_signed_in(&app, &client, &browser).await);
}

async fn whoever_is_not_signed_in_is_sent_on(app: App) {
    let (_, _, tokens) = with_tokens(&app).await;
    let mut nobody = Browser::default();
    let parameters = [("id_token_hint", hint(&tokens)), ("post_logout_redirect_uri", BYE), ("state", "s")];
    let answer = nobody.get(&app, &path(&parameters)).await;
    assert_eq!(answer.headers["location"].to_str().unwrap(), format!("{BYE}&state=s"));
    let session = claims(hint(&tokens))["sid"].as_str().unwrap().parse().unwrap();
    let alive = app.service.sessions.load(session).await.unwrap();
    assert!(alive.is_some(), "whoever has an ID token alone ends nobody's session");
    assert_eq!(nobody.get(&app, "/oauth2/logout").await.location().path(), "/signed-out");
}

async fn what_cannot_be_read_is_refused_and_ends_nothing(app: App) {
    let (mut browser, client, tokens) = with_tokens(&app).await;
    let hint = hint(&tokens);
    let long = "x".repeat(4097);
    for parameters in [
        &[("client_id", "nobody-known")][..],
        &[("client_id", "a b\u{7}")],
        &[("client_id", "cart-service"), ("id_token_hint", hint)],
        &[("id_token_hint", hint), ("state", long.as_str())],
        &[("state", "a"), ("state", "b")],
        &[("request", "unknown")],
    ] {
        let answer = browser.get(&app, &path(parameters)).await;
        assert_eq!(answer.status, 400, "{parameters:?}");
        if parameters[0].0 != "request" {
            let form = app.request(Method::POST, "/oauth2/logout").form(parameters);
            assert_eq!(app.send(form).await.status, 400, "{parameters:?}");
        }
    }
    let json = app.request(Method::POST, "/oauth2/logout").json(&json!({"id_token_hint": hint}));
    assert_eq!(app.send(json).await.status, 415);
    assert!(is_signed_in(&app, &client, &browser).await);
}

/// Neither while it is good nor when it was revoked: its MAC is good for ever.
async fn a_clients_refresh_token_ends_no_login(app: App) {
    let (browser, client, tokens) = with_tokens(&app).await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let sign_out = async || app.post("/auth/logout", json!({"refresh_token": refresh})).await;
    let refused = sign_out().await;
    assert_eq!((refused.status, refused.code()), (401, "invalid_refresh_token"), "{}", refused.text);
    let revoke = app.request(Method::POST, "/oauth2/revoke").basic_auth(&client.id, Some(&client.secret));
    assert_eq!(app.send(revoke.form(&[("token", refresh)])).await.status, 200);
    assert_eq!(sign_out().await.status, 401);
    assert!(is_signed_in(&app, &client, &browser).await);
}

async fn a_client_that_begins_a_logout_hears_of_its_end_before_the_browser_comes_back(app: App) {
    let ears = Ears::open().await;
    let metadata = json!({"first_party": true, "post_logout_redirect_uris": [BYE], "backchannel_logout_uri": ears.url});
    let client = Application::register(&app, metadata).await;
    let mut in_time = 0;
    for round in 1..=5 {
        let (mut browser, _) = signed_in(&app).await;
        let tokens = client.tokens(&app, &mut browser).await;
        let parameters = [("id_token_hint", hint(&tokens)), ("post_logout_redirect_uri", BYE)];
        let answer = browser.get(&app, &path(&parameters)).await;
        assert_eq!(answer.status, 303);
        in_time += usize::from(ears.told().len() == round);
        ears.hears(round).await;
    }
    // A machine that is busy for a second may be late once.
    assert!(in_time >= 4, "{in_time} of 5 were told before the answer");
    // One that does not answer is not waited for.
    ears.answer(Manner::Silence);
    let (mut browser, _) = signed_in(&app).await;
    let tokens = client.tokens(&app, &mut browser).await;
    let parameters = [("id_token_hint", hint(&tokens)), ("post_logout_redirect_uri", BYE)];
    // A call has five seconds.
    let answer = tokio::time::timeout(Duration::from_secs(4), browser.get(&app, &path(&parameters))).await;
    assert_eq!(answer.expect("sooner than the client's time is over").status, 303);
}
