//! HC2: a decision counts for what was shown, and for nothing else.

use super::*;

on_both! {
    hc2_a_decision_counts_for_what_was_shown_alone with super::registering,
    hc2_a_device_gets_what_was_shown_alone with super::registering,
    hc2_a_client_that_changes_after_the_decision_gets_no_more with super::registering,
    hc2_a_client_that_leads_elsewhere_is_allowed_anew with super::registering,
    hc2_an_account_is_selected_and_signed_out_as_shown_alone with super::registering,
    hc2_a_code_goes_to_no_address_that_is_registered_no_more,
}

/// Sends the form of a page that was opened before.
async fn send_form(app: &App, browser: &mut Browser, asked: &Answer, page: &Answer, fields: &[(&str, &str)]) -> Answer {
    let hidden = hidden(page, fields);
    let fields: Vec<_> = fields.iter().copied().chain(hidden.iter().map(|(name, value)| (*name, &**value))).collect();
    let location = asked.location();
    let to = &location[url::Position::BeforePath..];
    browser.send(app, app.request(Method::POST, to).form(&fields)).await
}

/// What a client may change of itself between the page and the press of a button.
fn changes() -> Vec<(&'static str, Value)> {
    let both = json!([REDIRECT_URI, "https://other.example/cb"]);
    vec![
        ("a wider scope", json!({"scope": "openid email cart"})),
        ("another name", json!({"scope": "openid", "client_name": "Your bank"})),
        ("another address", json!({"scope": "openid", "redirect_uris": both})),
        ("another policy", json!({"scope": "openid", "policy_uri": "https://evil.example/"})),
        ("other terms", json!({"scope": "openid", "tos_uri": "https://evil.example/"})),
        ("another logo", json!({"scope": "openid", "logo_uri": "https://evil.example/l.png"})),
    ]
}

async fn hc2_a_decision_counts_for_what_was_shown_alone(app: App) {
    for way in WayIn::ALL {
        for (what, change) in changes() {
            let (mut browser, person) = signed_in(&app).await;
            let mut client = OnItsOwn::register(&app, json!({"scope": "openid email cart"})).await;
            let begun = client.application.begin(&[("scope", "openid email cart"), ("claims", CLAIMS)]);
            let asked = way.go(&app, &mut browser, &client.application, &begun).await;
            // The page lists one line.
            client.change(&app, json!({"scope": "openid"})).await;
            let page = browser.follow(&app, &asked).await;
            assert!(!page.text.contains("see your email") && !page.text.contains("your basket"), "{}", page.text);
            client.change(&app, change).await;
            let sent = send_form(&app, &mut browser, &asked, &page, &[("decision", "allow")]).await;
            assert_eq!(sent.status, 409, "{way:?}, {what}: {}", sent.text);
            assert!(sent.text.contains("has changed"), "{}", sent.text);
            let consent = consents::of(&app.service.database, person.id, &client.application.id).await.unwrap();
            assert_eq!(consent, None, "{way:?}, {what}");
            let resumed = browser.get(&app, &format!("/oauth2/authorize?flow={}", asked.query("flow"))).await;
            assert_eq!(resumed.location().path(), "/consent", "{way:?}, {what}");
            // What is shown again can be allowed, and is what is written down.
            let wide = what == "a wider scope";
            assert_eq!(sent.text.contains("your basket"), wide, "{way:?}, {what}: {}", sent.text);
            let allowed = send_form(&app, &mut browser, &asked, &sent, &[("decision", "allow")]).await;
            let code = browser.follow(&app, &allowed).await.query("code");
            let tokens = client.application.exchange(&app, &code, &begun.verifier).await.body;
            assert_eq!(tokens["scope"], if wide { "cart email openid" } else { "openid" }, "{way:?}, {what}");
            let consent = consents::of(&app.service.database, person.id, &client.application.id).await.unwrap();
            assert_eq!(json!(consent.unwrap().scope.to_string()), tokens["scope"]);
        }
    }
    // Without what was shown, or with somebody else's, a decision counts for nothing.
    let (mut browser, person) = signed_in(&app).await;
    let client = OnItsOwn::register(&app, json!({})).await;
    let asked = client.application.begin(&[("scope", "openid")]).go(&app, &mut browser).await;
    let page = browser.follow(&app, &asked).await;
    for odd in ["", "x", &"A".repeat(43)] {
        let sent = send_form(&app, &mut browser, &asked, &page, &[("decision", "allow"), ("shown", odd)]).await;
        assert_eq!(sent.status, 409, "{odd:?}: {}", sent.text);
    }
    assert_eq!(consents::of(&app.service.database, person.id, &client.application.id).await.unwrap(), None);
}

async fn hc2_a_device_gets_what_was_shown_alone(app: App) {
    for (what, change) in changes() {
        let (mut browser, _) = signed_in(&app).await;
        let mut client = OnItsOwn::register(&app, json!({"scope": "openid email cart"})).await;
        let device = begin_device(&app, &client.application, &[("scope", "openid email cart")]).await;
        client.change(&app, json!({"scope": "openid"})).await;
        let page = device_page(&app, &mut browser, &device).await;
        assert!(!page.text.contains("see your email") && !page.text.contains("your basket"), "{}", page.text);
        client.change(&app, change).await;
        let sent = decide(&app, &mut browser, &page).await;
        assert_eq!(sent.status, 409, "{what}: {}", sent.text);
        assert_eq!(poll(&app, &client.application, &device).await.error(), "authorization_pending", "{what}");
        let wide = what == "a wider scope";
        assert_eq!(sent.text.contains("your basket"), wide, "{what}: {}", sent.text);
        assert_eq!(decide(&app, &mut browser, &sent).await.status, 303, "{what}");
        app.clock.advance(Duration::from_secs(6));
        let tokens = poll(&app, &client.application, &device).await.body;
        assert_eq!(tokens["scope"], if wide { "cart email openid" } else { "openid" }, "{what}");
    }
    // It widens after the decision: what was allowed was one word.
    let (mut browser, _) = signed_in(&app).await;
    let mut client = OnItsOwn::register(&app, json!({"scope": "openid email cart"})).await;
    let device = begin_device(&app, &client.application, &[("scope", "openid email cart")]).await;
    client.change(&app, json!({"scope": "openid"})).await;
    let page = device_page(&app, &mut browser, &device).await;
    assert_eq!(decide(&app, &mut browser, &page).await.status, 303);
    client.change(&app, json!({"scope": "openid email cart"})).await;
    assert_eq!(poll(&app, &client.application, &device).await.body["scope"], "openid");
    // Somebody else signs in between the page and the decision.
    let device = begin_device(&app, &client.application, &[("scope", "openid")]).await;
    let page = device_page(&app, &mut browser, &device).await;
    let (mut others, other) = signed_in(&app).await;
    browser.cookies.insert("roam_session".to_owned(), others.cookies["roam_session"].clone());
    let sent = decide(&app, &mut browser, &page).await;
    assert!(sent.status == 409 && sent.text.contains(&other.email), "{}", sent.text);
    assert_eq!(poll(&app, &client.application, &device).await.error(), "authorization_pending");
    assert_eq!(others.get(&app, "/account").await.status, 200);
}

async fn hc2_a_client_that_changes_after_the_decision_gets_no_more(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let mut client = OnItsOwn::register(&app, json!({"scope": "openid email cart"})).await;
    let begun = client.application.begin(&[("scope", "openid email cart"), ("prompt", "consent")]);
    let asked = begun.go(&app, &mut browser).await;
    client.change(&app, json!({"scope": "openid"})).await;
    // Between the decision and the code it becomes wider, or another: the person is asked anew.
    for (what, change) in changes() {
        client.change(&app, json!({"scope": "openid"})).await;
        let allowed = browser.submit(&app, &asked, &[("decision", "allow")]).await;
        assert_eq!(allowed.location().path(), "/oauth2/authorize", "{what}");
        client.change(&app, change).await;
        let resumed = browser.follow(&app, &allowed).await;
        assert_eq!(resumed.location().path(), "/consent", "{what}");
    }
    // Between the code and the token: the code is worth what was allowed.
    client.change(&app, json!({"scope": "openid"})).await;
    let code = allow(&app, &mut browser, &asked).await.query("code");
    client.change(&app, json!({"scope": "openid email cart"})).await;
    let tokens = client.application.exchange(&app, &code, &begun.verifier).await.body;
    assert_eq!(tokens["scope"], "openid", "{tokens}");
    let wider = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let wider = client.application.token(&app, &[wider[0], wider[1], ("scope", "openid email")]).await;
    assert_eq!(wider.error(), "invalid_scope");
    let consent = consents::of(&app.service.database, person.id, &client.application.id).await.unwrap().unwrap();
    assert_eq!(consent.scope.to_string(), "openid");
    let silent = client.application.begin(&[("scope", "openid email"), ("prompt", "none")]);
    let page = silent.go(&app, &mut browser).await;
    assert!(page.status == 200 && page.text.contains("consent_required"), "{}", page.text);
}

/// What a person was shown when they allowed it is where codes go: another host of the client's is asked for anew.
async fn hc2_a_client_that_leads_elsewhere_is_allowed_anew(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let mut client = OnItsOwn::register(&app, json!({})).await;
    let begun = client.application.begin(&[("scope", "openid")]);
    let asked = begun.go(&app, &mut browser).await;
    allow(&app, &mut browser, &asked).await;
    client.change(&app, json!({"redirect_uris": [REDIRECT_URI, "https://app.example/other"]})).await;
    assert!(!begun.go(&app, &mut browser).await.query("code").is_empty(), "the same host");
    let code = begun.go(&app, &mut browser).await.query("code");
    grants::withdraw(&app.service, person.id, &client.application.id, &By::SERVICE).await.unwrap();
    let asked = begun.go(&app, &mut browser).await;
    allow(&app, &mut browser, &asked).await;
    client.change(&app, json!({"redirect_uris": [REDIRECT_URI, "https://evil.example/cb"]})).await;
    let there = client.application.begin(&[("scope", "openid"), ("redirect_uri", "https://evil.example/cb")]);
    let asked = there.go(&app, &mut browser).await;
    assert!(browser.follow(&app, &asked).await.text.contains("evil.example"));
    assert_eq!(begun.go(&app, &mut browser).await.location().path(), "/consent");
    let late = client.application.exchange(&app, &code, &begun.verifier).await;
    assert_eq!(late.error(), "invalid_grant", "what was taken back stays taken back");
}

async fn hc2_an_account_is_selected_and_signed_out_as_shown_alone(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    app.clock.advance(Duration::from_secs(1));
    let mut client = OnItsOwn::register(&app, json!({})).await;
    let begun = client.application.begin(&[("scope", "openid"), ("prompt", "select_account")]);
    let asked = begun.go(&app, &mut browser).await;
    assert_eq!(asked.location().path(), "/select-account");
    let page = browser.follow(&app, &asked).await;
    client.change(&app, json!({"client_name": "Your bank"})).await;
    let account = person.id.to_string();
    let sent = send_form(&app, &mut browser, &asked, &page, &[("account", &account)]).await;
    assert!(sent.status == 409 && sent.text.contains("Your bank"), "{}", sent.text);
    let sent = send_form(&app, &mut browser, &asked, &sent, &[("account", &account)]).await;
    assert_eq!(browser.follow(&app, &sent).await.location().path(), "/consent");

    // Whoever is asked to sign out is the one who does; and the address must still be the client's.
    let leave = json!({"post_logout_redirect_uris": [BYE]});
    let application = Application::register(&app, leave).await;
    let query =
        format!("/oauth2/logout?client_id={}&post_logout_redirect_uri=https%3A%2F%2Fapp.example%2Fbye", application.id);
    let asked = browser.get(&app, &query).await;
    let page = browser.follow(&app, &asked).await;
    assert!(page.text.contains("app.example"), "{}", page.text);
    let (other, _) = signed_in(&app).await;
    let mut planted = browser.clone();
    planted.cookies.insert("roam_session".to_owned(), other.cookies["roam_session"].clone());
    let sent = send_form(&app, &mut planted, &asked, &page, &[]).await;
    assert_eq!(sent.location().path(), "/oauth2/logout/confirm", "they are asked themselves");
    assert_eq!(planted.get(&app, "/account").await.status, 200);
    let gone =
        json!({"client_id": application.id, "client_secret": application.secret, "post_logout_redirect_uris": []});
    Application::register(&app, gone).await;
    let sent = send_form(&app, &mut browser, &asked, &page, &[]).await;
    assert_eq!(sent.location().path(), "/signed-out");
}

async fn hc2_a_code_goes_to_no_address_that_is_registered_no_more(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = third_party(&app, json!({})).await;
    let change = async |changes: Value| {
        let mut metadata = json!({"client_id": client.id, "client_secret": client.secret, "first_party": false});
        metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Application::register(&app, metadata).await
    };
    let unproved = client.begin(&[("code_challenge", ""), ("code_challenge_method", "")]);
    let asked = unproved.go(&app, &mut browser).await;
    let code = allow(&app, &mut browser, &asked).await.query("code");
    let begun = client.begin(&[("prompt", "consent")]);
    let asked = begun.go(&app, &mut browser).await;
    change(json!({"redirect_uris": ["https://new.example/cb"]})).await;
    assert_eq!(client.exchange(&app, &code, "").await.error(), "invalid_grant");
    assert_eq!(browser.follow(&app, &asked).await.code(), "flow_over");
    let resume = format!("/oauth2/authorize?flow={}", asked.query("flow"));
    assert_eq!(browser.get(&app, &resume).await.code(), "flow_over");
    // A code without a proof was for a client that has a secret.
    change(json!({})).await;
    let code = unproved.go(&app, &mut browser).await.query("code");
    change(json!({"token_endpoint_auth_method": "none"})).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", client.id.as_str()),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
    ];
    let stolen = app.send(app.request(Method::POST, "/oauth2/token").form(&form)).await;
    assert_eq!(stolen.error(), "invalid_grant", "{}", stolen.text);
}
