//! Attacks on codes, redirections and clients, from outside: B1 to B24 of `attacks.md`. B22, and the frames of B21, are in
//! `pages`; B25 is in `registration_of_clients`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::{Application, Browser, REDIRECT_URI};
use crate::harness::{App, PASSWORD, all, logged, on_both};

on_both!(
    b1_and_b2_and_b3_only_the_registered_address_is_returned_to,
    b4_at_a_loopback_address_the_port_may_be_chosen_and_nothing_else,
    b5_an_address_that_is_missing_or_sent_twice_is_refused,
    b6_an_unknown_client_is_sent_nowhere,
    b7_another_response_type_is_told_to_the_client,
    b8_a_code_has_one_use_now_later_and_at_once,
    b9_a_code_of_another_or_for_another_address_is_refused,
    b10_and_b11_a_verifier_must_be_the_one,
    b12_only_s256_and_for_public_clients_always,
    b13_a_state_comes_back_byte_for_byte_and_splits_no_header,
    b14_a_nonce_is_in_the_token_as_it_was_sent,
    b15_a_scope_never_widens,
    b16_a_prompt_is_honoured,
    b17_request_objects_are_refused_and_nothing_is_fetched,
    b18_a_client_proves_itself_in_one_way,
    b19_only_the_grants_that_a_client_registered,
    b20_each_answer_names_the_issuer,
    b21_no_other_site_reads_the_endpoint,
    b23_a_step_cannot_be_skipped_or_taken_for_another,
    b24_no_code_or_token_leaks_by_logs_or_referrers,
);

async fn signed_in(app: &App) -> Browser {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(app, &person, PASSWORD).await;
    browser
}

async fn b1_and_b2_and_b3_only_the_registered_address_is_returned_to(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    for odd in [
        "https://app.example/cb/../evil",
        "https://app.example/cb%2f..%2fevil",
        "https://app.example/cb%252e%252e",
        "https://app.example/cb/",
        "https://app.example/CB",
        "https://app.example/cb?x=1",
        "https://app.example/cb#f",
        "https://app.example:444/cb",
        "http://app.example/cb",
        "http://localhost:80@evil",
        "http://127.0.0.1\\@evil",
        "https://app.example.evil/cb",
        "https://app.example%00.evil/cb",
        "//evil",
        "https:evil",
        "\\\\evil",
        "https://\u{430}pp.example/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "com.other:/cb",
        "*",
    ] {
        let answer = client.begin(&[("redirect_uri", odd)]).go(&app, &mut browser).await;
        assert_eq!((answer.status, answer.headers.get("location")), (400, None), "{odd}");
    }
}

async fn b4_at_a_loopback_address_the_port_may_be_chosen_and_nothing_else(app: App) {
    let mut browser = signed_in(&app).await;
    for kind in [json!("native"), json!("web"), json!(null)] {
        let metadata = json!({"token_endpoint_auth_method": "none", "redirect_uris": ["http://127.0.0.1/cb"]});
        let Value::Object(mut metadata) = metadata else { unreachable!() };
        metadata.extend(kind.is_string().then(|| ("application_type".to_owned(), kind.clone())));
        let client = Application::register(&app, metadata.into()).await;
        let mut status = async |uri: &str| client.begin(&[("redirect_uri", uri)]).go(&app, &mut browser).await.status;
        assert_eq!(status("http://127.0.0.1:51004/cb").await, 303, "{kind}");
        for odd in [
            "http://127.0.0.1:51004/other",
            "http://127.0.0.1:51004/cb?q",
            "http://localhost:51004/cb",
            "http://[::1]:51004/cb",
            "http://127.1:51004/cb",
            "http://0.0.0.0:51004/cb",
        ] {
            assert_eq!(status(odd).await, 400, "{kind} {odd}");
        }
    }
}

async fn b5_an_address_that_is_missing_or_sent_twice_is_refused(app: App) {
    let mut browser = signed_in(&app).await;
    let two = json!({"redirect_uris": [REDIRECT_URI, "https://app.example/two"]});
    for client in [Application::first_party(&app).await, Application::register(&app, two).await] {
        let begun = client.begin(&[("redirect_uri", "")]);
        assert_eq!(begun.go(&app, &mut browser).await.status, 400);
        let twice = format!("{}&redirect_uri=https%3A%2F%2Fapp.example%2Fcb", client.begin(&[]).path());
        let answer = browser.get(&app, &twice).await;
        assert_eq!((answer.status, answer.headers.get("location")), (400, None));
    }
}

async fn b6_an_unknown_client_is_sent_nowhere(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    for odd in ["", "unknown", "platform", "' OR 1=1 --", "a/../b"] {
        let answer = client.begin(&[("client_id", odd)]).go(&app, &mut browser).await;
        assert_eq!((answer.status, answer.headers.get("location")), (400, None), "{odd}");
    }
    let begun = client.begin(&[]).path();
    for odd in [format!("{begun}&client_id={}", client.id), begun.replace("client_id=", "client_id=%00")] {
        assert_eq!(browser.get(&app, &odd).await.status, 400, "{odd}");
    }
}

async fn b7_another_response_type_is_told_to_the_client(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    for (odd, error) in [
        ("", "invalid_request"),
        ("token", "unsupported_response_type"),
        ("id_token", "unsupported_response_type"),
        ("code token", "unsupported_response_type"),
        ("CODE", "unsupported_response_type"),
    ] {
        let back = client.begin(&[("response_type", odd)]).go(&app, &mut browser).await;
        assert_eq!((back.told("error").as_str(), back.told("state").as_str()), (error, "a state"), "{odd}");
    }
}

async fn b8_a_code_has_one_use_now_later_and_at_once(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    for wait in [Duration::ZERO, Duration::from_secs(30), Duration::from_secs(3600)] {
        let begun = client.begin(&[]);
        let code = begun.go(&app, &mut browser).await.query("code");
        let tokens = client.exchange(&app, &code, &begun.verifier).await;
        assert_eq!(tokens.status, 200);
        app.clock.advance(wait);
        assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant", "{wait:?}");
        assert_eq!(client.refresh(&app, tokens.body["refresh_token"].as_str().unwrap()).await.error(), "invalid_grant");
    }
    let begun = client.begin(&[]);
    let code = begun.go(&app, &mut browser).await.query("code");
    let answers = all((0..50).map(|_| client.exchange(&app, &code, &begun.verifier))).await;
    let good: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert!(good.len() <= 1 && answers.iter().all(|answer| answer.status == 200 || answer.error() == "invalid_grant"));
    for tokens in good {
        assert_eq!(client.refresh(&app, tokens.body["refresh_token"].as_str().unwrap()).await.error(), "invalid_grant");
    }
}

async fn b9_a_code_of_another_or_for_another_address_is_refused(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    let other = Application::first_party(&app).await;
    let begun = client.begin(&[]);
    let code = begun.go(&app, &mut browser).await.query("code");
    assert_eq!(other.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant");
    let moved = Application { redirect_uri: format!("{REDIRECT_URI}/"), ..client.clone() };
    assert_eq!(moved.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant");
    let without = [("grant_type", "authorization_code"), ("code", &*code), ("code_verifier", &*begun.verifier)];
    assert_eq!(client.token(&app, &without).await.status, 400);
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant", "it is over");
}

async fn b10_and_b11_a_verifier_must_be_the_one(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    let begun = client.begin(&[]);
    let code = begun.go(&app, &mut browser).await.query("code");
    let challenge = auth_service::codes::sha256(&begun.verifier);
    for odd in [
        "",
        &begun.verifier[..42],
        &"a".repeat(129),
        &format!("{}é", &begun.verifier[..42]),
        &challenge,
        &"a".repeat(43),
    ] {
        assert_eq!(client.exchange(&app, &code, odd).await.error(), "invalid_grant", "{odd:?}");
    }
    let begun = client.begin(&[("code_challenge", ""), ("code_challenge_method", "")]);
    let code = begun.go(&app, &mut browser).await.query("code");
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.status, 400, "a downgrade");
}

async fn b12_only_s256_and_for_public_clients_always(app: App) {
    let mut browser = signed_in(&app).await;
    let public = Application::register(&app, json!({"token_endpoint_auth_method": "none"})).await;
    let confidential = Application::first_party(&app).await;
    for method in ["plain", "", "s256", "S512"] {
        for client in [&public, &confidential] {
            let back = client.begin(&[("code_challenge_method", method)]).go(&app, &mut browser).await;
            assert_eq!(back.query("error"), "invalid_request", "{method}");
        }
    }
    let none = [("code_challenge", ""), ("code_challenge_method", "")];
    assert_eq!(public.begin(&none).go(&app, &mut browser).await.query("error"), "invalid_request");
    let twice = format!("{}&code_challenge_method=plain", public.begin(&[]).path());
    assert_eq!(browser.get(&app, &twice).await.status, 400);
}

async fn b13_a_state_comes_back_byte_for_byte_and_splits_no_header(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    for state in
        ["<script>alert(1)</script>", "a\r\nSet-Cookie: x=y", "\u{1f511} 密钥", "a+b%20c&d=e#f", &"s".repeat(4096)]
    {
        let back = client.begin(&[("state", state)]).go(&app, &mut browser).await;
        assert_eq!(back.query("state"), state);
        let set: Vec<_> = back.headers.get_all("set-cookie").iter().collect();
        assert!(!set.iter().any(|cookie| cookie.to_str().unwrap().starts_with("x=")), "{set:?}");
    }
    let refused = client.begin(&[("state", &"s".repeat(4097))]).go(&app, &mut browser).await;
    assert_eq!((refused.status, refused.code()), (400, "invalid_request"), "nothing is sent back without its state");
}

async fn b14_a_nonce_is_in_the_token_as_it_was_sent(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    let mut nonce = async |nonce: &str| {
        let begun = client.begin(&[("nonce", nonce)]);
        let code = begun.go(&app, &mut browser).await.query("code");
        let tokens = client.exchange(&app, &code, &begun.verifier).await;
        let claims = app.service.keys.verify_own(tokens.body["id_token"].as_str().unwrap(), "JWT").unwrap();
        claims.get("nonce").cloned().unwrap_or_default()
    };
    assert_eq!(nonce("n-0S6_WzA2Mj \"é").await, json!("n-0S6_WzA2Mj \"é"));
    assert_eq!(nonce("").await, json!(null));
    let long = client.begin(&[("nonce", &"n".repeat(2049))]).go(&app, &mut browser).await;
    assert_eq!(long.query("error"), "invalid_request");
}

async fn b15_a_scope_never_widens(app: App) {
    let mut browser = signed_in(&app).await;
    let client = Application::register(&app, json!({"scope": "openid email", "first_party": false})).await;
    let wide = client.begin(&[("scope", "openid email cart admin everything"), ("prompt", "none")]);
    assert_eq!(wide.go(&app, &mut browser).await.query("error"), "consent_required");
    let own = Application::register(&app, json!({"scope": "openid email"})).await;
    let begun = own.begin(&[("scope", "openid email cart admin everything")]);
    let code = begun.go(&app, &mut browser).await.query("code");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", &*begun.verifier),
        ("scope", "openid email cart admin"),
    ];
    let tokens = own.token(&app, &form).await;
    assert_eq!(tokens.body["scope"], "email openid");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.body["refresh_token"].as_str().unwrap()),
        ("scope", "openid cart"),
    ];
    assert_eq!(own.token(&app, &form).await.error(), "invalid_scope");
    let offline = Application::register(&app, json!({"first_party": false})).await;
    let asked = offline.begin(&[("scope", "openid offline_access"), ("prompt", "none")]);
    assert_eq!(asked.go(&app, &mut browser).await.query("error"), "consent_required");
}

async fn b16_a_prompt_is_honoured(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    let told = async |browser: &mut Browser, prompt: &str, max_age: &str| {
        client.begin(&[("prompt", prompt), ("max_age", max_age)]).go(&app, browser).await.query("error")
    };
    assert_eq!(told(&mut Browser::default(), "none", "").await, "login_required");
    assert_eq!(told(&mut browser, "none", "").await, "");
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(told(&mut browser, "none", "0").await, "login_required");
    assert_eq!(told(&mut browser, "none login", "").await, "invalid_request");
    let asks = |prompt: &'static str| client.begin(&[("prompt", prompt)]);
    assert_eq!(asks("login").go(&app, &mut browser).await.location().path(), "/sign-in");
    assert_eq!(asks("select_account").go(&app, &mut browser).await.location().path(), "/select-account");
    let third = Application::register(&app, json!({"first_party": false})).await;
    assert_eq!(third.begin(&[("prompt", "consent")]).go(&app, &mut browser).await.location().path(), "/consent");
    assert_eq!(asks("create").go(&app, &mut Browser::default()).await.location().path(), "/register");
}

async fn b17_request_objects_are_refused_and_nothing_is_fetched(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = format!("http://{}/request", listener.local_addr().unwrap());
    for uri in
        [&own, "file:///etc/passwd", "http://169.254.169.254/latest", "urn:ietf:params:oauth:request_uri:unknown"]
    {
        let back = client.begin(&[("request_uri", uri)]).go(&app, &mut browser).await;
        assert!(back.status == 400 || back.query("error") == "request_uri_not_supported", "{uri}");
    }
    let back = client.begin(&[("request", "eyJhbGciOiJub25lIn0.e30.")]).go(&app, &mut browser).await;
    assert_eq!(back.query("error"), "request_not_supported");
    let hit = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(hit.is_err(), "something was fetched");
}

async fn b18_a_client_proves_itself_in_one_way(app: App) {
    let (client, other) = (Application::first_party(&app).await, Application::first_party(&app).await);
    let grant = ("grant_type", "refresh_token");
    let refresh = ("refresh_token", "x");
    let in_body = [grant, refresh, ("client_id", &*client.id), ("client_secret", &*client.secret)];
    let both = app.request(Method::POST, "/oauth2/token").basic_auth(&client.id, Some(&client.secret)).form(&in_body);
    let both = app.send(both).await;
    assert!([400, 401].contains(&both.status), "{}", both.text);
    let only_body = app.send(app.request(Method::POST, "/oauth2/token").form(&in_body)).await;
    assert_eq!(only_body.error(), "invalid_grant", "the form is as good as the header");
    for (id, secret) in
        [(&client.id, "wrong"), (&client.id, ""), (&client.id, &other.secret), (&"unknown".to_owned(), &client.secret)]
    {
        let request = app.request(Method::POST, "/oauth2/token").basic_auth(id, Some(secret)).form(&[grant, refresh]);
        let answer = app.send(request).await;
        assert_eq!((answer.status, answer.error()), (401, "invalid_client"), "{id}");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    }
    assert_eq!(client.refresh(&app, "x").await.error(), "invalid_grant", "the right one is known");
}

async fn b19_only_the_grants_that_a_client_registered(app: App) {
    let client = Application::register(&app, json!({"grant_types": ["authorization_code"]})).await;
    for grant in ["password", "implicit", "unknown", "urn:ietf:params:oauth:grant-type:jwt-bearer"] {
        assert_eq!(client.token(&app, &[("grant_type", grant)]).await.error(), "unsupported_grant_type", "{grant}");
    }
    for grant in [
        "client_credentials",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:device_code",
    ] {
        assert_eq!(client.token(&app, &[("grant_type", grant)]).await.error(), "unauthorized_client", "{grant}");
    }
    assert_eq!(client.token(&app, &[("scope", "x")]).await.error(), "invalid_request");
}

async fn b20_each_answer_names_the_issuer(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    for changes in [("nonce", "n"), ("scope", "unknown"), ("response_type", "none")] {
        assert_eq!(client.begin(&[changes]).go(&app, &mut browser).await.query("iss"), app.service.issuer);
    }
}

async fn b21_no_other_site_reads_the_endpoint(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    for path in [client.begin(&[]).path(), client.begin(&[("redirect_uri", "x")]).path()] {
        let request = app.request(Method::GET, &path).header("origin", "https://evil.example");
        let answer = browser.send(&app, request).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

async fn b23_a_step_cannot_be_skipped_or_taken_for_another(app: App) {
    let (mut mine, mut theirs) = (signed_in(&app).await, signed_in(&app).await);
    let client = Application::register(&app, json!({"first_party": false})).await;
    let page = client.begin(&[]).go(&app, &mut mine).await;
    assert_eq!(page.location().path(), "/consent");
    let resume = format!("/oauth2/authorize?flow={}", page.query("flow"));
    assert_eq!(mine.get(&app, &resume).await.location().path(), "/consent", "going on without consent leads back");
    assert_eq!(theirs.get(&app, &resume).await.code(), "flow_over");
    for odd in ["", "x", "../../etc", &"a".repeat(5000)] {
        assert_eq!(mine.get(&app, &format!("/oauth2/authorize?flow={odd}")).await.status, 400, "{odd}");
    }
}

async fn b24_no_code_or_token_leaks_by_logs_or_referrers(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    let begun = client.begin(&[]);
    let back = begun.go(&app, &mut browser).await;
    assert_eq!(back.headers["referrer-policy"], "no-referrer");
    assert_eq!(back.headers["cache-control"], "no-store");
    let code = back.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
    let logs = logged();
    let secrets = [
        &code,
        &begun.verifier,
        &client.secret,
        tokens["access_token"].as_str().unwrap(),
        tokens["refresh_token"].as_str().unwrap(),
        tokens["id_token"].as_str().unwrap(),
    ];
    for (place, secret) in secrets.into_iter().enumerate() {
        assert!(!logs.contains(secret), "secret {place} stands in the log");
    }
    for cookie in browser.cookies.values() {
        assert!(!logs.contains(cookie.as_str()), "a cookie stands in the log");
    }
}
