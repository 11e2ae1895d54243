//! HC5: this service leads nobody to a client that no administrator approved, unasked.

use super::*;

on_both! {
    hc5_no_refusal_leads_to_a_client_that_nobody_approved_unasked with super::registering,
    hc7_a_client_that_takes_another_name_asks_anew with super::registering,
    hc5_a_first_party_is_what_was_looked_at with super::registering,
    hc5_an_approval_is_of_what_was_looked_at with super::registering,
    hc5_a_sign_out_leads_to_no_client_that_nobody_approved_unasked with super::registering,
}

/// Where the page between leads, if it is one.
pub(crate) fn leads_to(page: &Answer) -> String {
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.headers.get("location").is_none() && page.text.contains("Leave for another site?"), "{}", page.text);
    let (_, rest) = page.text.split_once("<a class=\"button secondary\" href=\"").unwrap();
    rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
}

async fn hc5_no_refusal_leads_to_a_client_that_nobody_approved_unasked(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let client = OnItsOwn::register(&app, json!({})).await.application;
    for (changes, error) in [
        (vec![("scope", "nothing")], "invalid_scope"),
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("code_challenge_method", "plain")], "invalid_request"),
        (vec![("claims", "{")], "invalid_request"),
        (vec![("request", "e30.e30.")], "request_not_supported"),
        (vec![("scope", "openid"), ("prompt", "none")], "consent_required"),
        (vec![("scope", "openid"), ("prompt", "none login")], "invalid_request"),
    ] {
        let begun = client.begin(&changes);
        for way in [WayIn::Get, WayIn::Post] {
            for mut browser in [browser.clone(), Browser::default()] {
                let page = way.go(&app, &mut browser, &client, &begun).await;
                let to = url::Url::parse(&leads_to(&page)).unwrap();
                let told = to.query().or(to.fragment()).unwrap_or_default();
                let told = url::form_urlencoded::parse(told.as_bytes());
                let told: std::collections::HashMap<_, _> = told.into_owned().collect();
                assert!(told["error"] == error || told["error"] == "login_required", "{changes:?}: {to}");
                assert_eq!((to.host_str(), told["state"].as_str()), (Some("app.example"), "a state"));
                assert!(
                    page.text.contains("<bdi>app.example</bdi>") && page.text.contains("On its own"),
                    "{}",
                    page.text
                );
                assert_eq!(page.headers["cache-control"], "no-store");
                assert!(page.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
            }
        }
        // A frame takes nobody anywhere, and could not be answered in.
        for (destination, asks) in [("iframe", false), ("document", true), ("empty", true)] {
            let request = app.request(Method::GET, &begun.path()).header("sec-fetch-dest", destination);
            let answer = browser.send(&app, request).await;
            assert_eq!(answer.status == 200, asks, "{destination}: {}", answer.text);
        }
    }
    let posted = client.begin(&[("scope", "nothing"), ("response_mode", "form_post"), ("ui_locales", "zh")]);
    let page = posted.go(&app, &mut browser).await;
    assert!(page.status == 200 && page.text.contains("要前往其他网站吗"), "{}", page.text);
    assert!(
        page.text.contains("action=\"https://app.example/cb\"") && !page.text.contains("data-submit"),
        "{}",
        page.text
    );
    // A person who refuses has seen where it leads.
    let asked = client.begin(&[("scope", "openid")]).go(&app, &mut browser).await;
    let refused = browser.submit(&app, &asked, &[("decision", "refuse")]).await;
    assert_eq!(browser.follow(&app, &refused).await.query("error"), "access_denied");
}

async fn hc5_an_approval_is_of_what_was_looked_at(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let admin = app.administrator().await;
    let mut client = OnItsOwn::register(&app, json!({})).await;
    let invalid = client.application.begin(&[("scope", "nothing")]);
    let path = format!("/admin/clients/{}", client.application.id);
    let shown = app.get(&path, &admin.access).await.body;
    assert_eq!((&shown["approved"], &shown["registered_itself"]), (&json!(false), &json!(true)));
    let put = async |approved: Value| {
        let mut body = app.get(&path, &admin.access).await.body;
        body["approved"] = approved;
        let request = app.request(Method::PUT, &path).bearer_auth(&admin.access).json(&body);
        app.send(request).await.body["approved"].clone()
    };
    assert_eq!(put(Value::Null).await, false, "left out, it stays as it is");
    assert_eq!(put(json!(true)).await, true);
    assert_eq!(put(Value::Null).await, true);
    assert_eq!(invalid.go(&app, &mut browser).await.query("error"), "invalid_scope");
    // It changes nothing that people see, and then something.
    client.change(&app, json!({"contacts": ["ops@app.example"]})).await;
    assert_eq!(invalid.go(&app, &mut browser).await.query("error"), "invalid_scope");
    client.change(&app, json!({"redirect_uris": [REDIRECT_URI, "https://evil.example/cb"]})).await;
    leads_to(&invalid.go(&app, &mut browser).await);
    // What is approved is what was looked at, and not what the client has become meanwhile.
    let client_id = &client.application.id.clone();
    let looks = || async { registry::by_id(&app.service, client_id).await.unwrap().metadata.looks() };
    let before = looks().await;
    client.change(&app, json!({"redirect_uris": [REDIRECT_URI, "https://other.example/cb"]})).await;
    let late = registry::approve(&app.service, client_id, &before, &By::COMMAND_LINE).await;
    assert_eq!(late.map(|client| client.approved).unwrap_err().code(), "client_changed");
    leads_to(&invalid.go(&app, &mut browser).await);
    assert!(registry::approve(&app.service, client_id, &looks().await, &By::COMMAND_LINE).await.unwrap().approved);
    assert_eq!(invalid.go(&app, &mut browser).await.query("error"), "invalid_scope");
    // An administrator's own are approved, unless that is taken from them.
    let made = app.request(Method::POST, "/admin/clients").bearer_auth(&admin.access);
    let made = app.send(made.json(&json!({"redirect_uris": [REDIRECT_URI]}))).await.body;
    assert_eq!(made["approved"], true);
    let waits = app.request(Method::POST, "/admin/clients").bearer_auth(&admin.access);
    let waits = app.send(waits.json(&json!({"redirect_uris": [REDIRECT_URI], "approved": false}))).await.body;
    assert_eq!(waits["approved"], false);
    let kept = clients::find(&app.service, waits["client_id"].as_str().unwrap()).await.unwrap().unwrap();
    assert!(!kept.approved);
}

async fn hc7_a_client_that_takes_another_name_asks_anew(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let mut client = OnItsOwn::register(&app, json!({})).await;
    let asked = client.application.begin(&[("scope", "openid")]).go(&app, &mut browser).await;
    assert!(!allow(&app, &mut browser, &asked).await.query("code").is_empty());
    client.change(&app, json!({"contacts": ["ops@app.example"]})).await;
    let again = client.application.begin(&[("scope", "openid")]).go(&app, &mut browser).await;
    assert!(!again.query("code").is_empty(), "it is the same to people");
    for change in [json!({"client_name": "Your bank"}), json!({"policy_uri": "https://app.example/other"})] {
        client.change(&app, change).await;
        let asked = client.application.begin(&[("scope", "openid")]).go(&app, &mut browser).await;
        assert_eq!(asked.location().path(), "/consent");
        assert!(!allow(&app, &mut browser, &asked).await.query("code").is_empty());
    }
}

async fn hc5_a_first_party_is_what_was_looked_at(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let admin = app.administrator().await;
    let mut client = OnItsOwn::register(&app, json!({})).await;
    let path = format!("/admin/clients/{}", client.application.id);
    let mut body = app.get(&path, &admin.access).await.body;
    body["first_party"] = json!(true);
    let request = app.request(Method::PUT, &path).bearer_auth(&admin.access).json(&body);
    assert_eq!(app.send(request).await.body["first_party"], true);
    let begun = client.application.begin(&[("scope", "openid")]);
    assert!(!begun.go(&app, &mut browser).await.query("code").is_empty(), "the platform's own asks for no consent");
    client.change(&app, json!({"redirect_uris": ["https://evil.example/cb"]})).await;
    client.application.redirect_uri = "https://evil.example/cb".to_owned();
    let asked = client.application.begin(&[("scope", "openid")]).go(&app, &mut browser).await;
    assert_eq!(asked.location().path(), "/consent", "what it has become was looked at by no administrator");
    assert_eq!(app.get(&path, &admin.access).await.body["first_party"], false);
}

async fn hc5_a_sign_out_leads_to_no_client_that_nobody_approved_unasked(app: App) {
    // The client has an ID token of somebody of its own.
    let (mut accomplice, _) = signed_in(&app).await;
    let client = OnItsOwn::register(&app, json!({"post_logout_redirect_uris": [BYE]})).await.application;
    let begun = client.begin(&[("scope", "openid")]);
    let asked = begun.go(&app, &mut accomplice).await;
    let code = allow(&app, &mut accomplice, &asked).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("id_token_hint", tokens["id_token"].as_str().unwrap())
        .append_pair("post_logout_redirect_uri", BYE)
        .finish();
    let path = format!("/oauth2/logout?{query}");
    let mut guest = Browser::default();
    assert_eq!(leads_to(&guest.get(&app, &path).await), BYE);
    let (mut victim, _) = signed_in(&app).await;
    let asked = victim.get(&app, &path).await;
    assert_eq!(asked.location().path(), "/oauth2/logout/confirm");
    assert!(victim.follow(&app, &asked).await.text.contains("app.example"));
    let looks = registry::by_id(&app.service, &client.id).await.unwrap().metadata.looks();
    registry::approve(&app.service, &client.id, &looks, &By::SERVICE).await.unwrap();
    assert_eq!(guest.get(&app, &path).await.headers["location"], BYE);
}
