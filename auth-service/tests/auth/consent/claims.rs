//! HC1: claims that are asked for one by one count as the scope that covers them.

use super::*;

on_both! {
    hc1_a_claim_is_told_where_its_scope_is_registered_and_allowed_whichever_way_it_is_asked_for,
    hc1_a_claim_is_not_told_to_a_client_that_lost_its_scope_or_a_token_without_it,
    hc1_a_device_gets_no_claim_and_nobody_one_without_openid,
    an_id_token_has_the_claims_of_the_scope_unless_its_client_wants_none,
}

async fn an_id_token_has_the_claims_of_the_scope_unless_its_client_wants_none(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let sign_in = async |browser: &mut Browser, metadata: Value, scope: &str| {
        let client = Application::register(&app, metadata).await;
        let begun = client.begin(&[("scope", scope)]);
        let code = WayIn::Get.go(&app, browser, &client, &begun).await.query("code");
        client.exchange(&app, &code, &begun.verifier).await.body
    };
    let all = json!({"scope": "openid profile email"});
    let tokens = sign_in(&mut browser, all.clone(), "openid profile email").await;
    for told in [id_claims(&tokens), userinfo(&app, &tokens).await] {
        assert!(told["name"].is_string() && told["email_verified"].is_null(), "{told}");
        assert_eq!((&told["email"], &told["preferred_username"]), (&json!(person.email), &json!(person.email)));
    }
    let tokens = sign_in(&mut browser, all, "openid profile").await;
    for told in [id_claims(&tokens), userinfo(&app, &tokens).await] {
        assert!(told["name"].is_string(), "{told}");
        assert!(
            told["email"].is_null() && told["preferred_username"].is_null(),
            "the address needs its own scope: {told}"
        );
    }
    let minimal = json!({"scope": "openid profile email", "minimal_id_token": true});
    let tokens = sign_in(&mut browser, minimal, "openid profile email").await;
    let (id, told) = (id_claims(&tokens), userinfo(&app, &tokens).await);
    assert!(["name", "email", "preferred_username"].iter().all(|name| id[*name].is_null()), "{id}");
    assert_eq!((&told["email"], id["sub"].is_string()), (&json!(person.email), true));
}

async fn hc1_a_claim_is_told_where_its_scope_is_registered_and_allowed_whichever_way_it_is_asked_for(app: App) {
    for way in WayIn::ALL {
        let (mut browser, person) = signed_in(&app).await;
        // The person has allowed the scope alone, once.
        let client = third_party(&app, json!({"scope": "openid email"})).await;
        let plain = client.begin(&[("scope", "openid")]);
        let asked = way.go(&app, &mut browser, &client, &plain).await;
        let code = allow(&app, &mut browser, &asked).await.query("code");
        let tokens = client.exchange(&app, &code, &plain.verifier).await.body;
        assert!(id_claims(&tokens)["email"].is_null() && userinfo(&app, &tokens).await["email"].is_null());

        let silent = client.begin(&[("scope", "openid"), ("claims", CLAIMS), ("prompt", "none")]);
        let back = way.go(&app, &mut browser, &client, &silent).await;
        assert_eq!(back.query("error"), "consent_required", "{way:?}");

        let begun = client.begin(&[("scope", "openid"), ("claims", CLAIMS)]);
        let asked = way.go(&app, &mut browser, &client, &begun).await;
        let page = browser.follow(&app, &asked).await;
        assert!(page.text.contains("see your email address"), "{way:?}: {}", page.text);
        assert!(!page.text.contains("see your name"), "{way:?}: the client may not have it: {}", page.text);
        let code = allow(&app, &mut browser, &asked).await.query("code");
        let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
        assert_eq!(tokens["scope"], "openid");
        let refreshed = client.refresh(&app, tokens["refresh_token"].as_str().unwrap()).await.body;
        for tokens in [&tokens, &refreshed] {
            let (id, told) = (id_claims(tokens), userinfo(&app, tokens).await);
            assert_eq!((&id["email"], &told["email"]), (&json!(person.email), &json!(person.email)), "{way:?}");
            for odd in ["name", "roles", "updated_at", "email_verified"] {
                assert!(id[odd].is_null() && told[odd].is_null(), "{way:?} {odd}: {id} {told}");
            }
        }
        let consent = consents::of(&app.service.database, person.id, &client.id).await.unwrap().unwrap();
        assert_eq!(consent.scope.to_string(), "email openid", "{way:?}");
        assert!(!way.go(&app, &mut browser, &client, &begun).await.query("code").is_empty(), "it is asked once");

        // One of the platform's own asks for nothing, but gets no more than it is registered for.
        let own = Application::register(&app, json!({"scope": "openid email"})).await;
        let begun = own.begin(&[("scope", "openid"), ("claims", CLAIMS), ("prompt", "none")]);
        let code = way.go(&app, &mut browser, &own, &begun).await.query("code");
        let tokens = own.exchange(&app, &code, &begun.verifier).await.body;
        let (id, told) = (id_claims(&tokens), userinfo(&app, &tokens).await);
        assert_eq!((&id["email"], &told["email"]), (&json!(person.email), &json!(person.email)));
        assert!(id["name"].is_null() && told["name"].is_null(), "{way:?}: {id} {told}");
    }
}

async fn hc1_a_claim_is_not_told_to_a_client_that_lost_its_scope_or_a_token_without_it(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = Application::register(&app, json!({"scope": "openid profile email"})).await;
    let may_have = async |scope: &str| {
        let metadata = json!({"client_id": client.id, "client_secret": client.secret, "scope": scope});
        Application::register(&app, metadata).await;
    };
    let begin = || client.begin(&[("scope", "openid email"), ("claims", CLAIMS)]);
    let (begun, waiting) = (begin(), begin());
    let code = begun.go(&app, &mut browser).await.query("code");
    let waiting_code = waiting.go(&app, &mut browser).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
    assert_eq!(id_claims(&tokens)["email"], json!(person.email));
    // Asked for without the word, a token is without its claims.
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let narrower = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("scope", "openid")];
    let narrower = client.token(&app, &narrower).await.body;
    let (id, told) = (id_claims(&narrower), userinfo(&app, &narrower).await);
    assert!(id["email"].is_null() && told["email"].is_null(), "{id} {told}");
    assert!(id["name"].is_string() && told["name"].is_string(), "{id} {told}");

    may_have("openid").await;
    assert!(userinfo(&app, &tokens).await["email"].is_null(), "a token of before tells no more either");
    assert!(userinfo(&app, &tokens).await["name"].is_null());
    let refreshed = client.refresh(&app, narrower["refresh_token"].as_str().unwrap()).await.body;
    let late = client.exchange(&app, &waiting_code, &waiting.verifier).await.body;
    for tokens in [&refreshed, &late] {
        let (id, told) = (id_claims(tokens), userinfo(&app, tokens).await);
        assert!(["email", "name"].iter().all(|name| id[*name].is_null() && told[*name].is_null()), "{id} {told}");
    }
    may_have("openid profile email").await;
    let told = userinfo(&app, &late).await;
    assert!(told["email"].is_null() && told["name"].is_null(), "what it was given does not grow: {told}");
}

async fn hc1_a_device_gets_no_claim_and_nobody_one_without_openid(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let metadata = json!({"grant_types": ["authorization_code", DEVICE], "scope": "openid email cart"});
    let client = third_party(&app, metadata).await;
    let device = begin_device(&app, &client, &[("scope", "openid"), ("claims", CLAIMS)]).await;
    let page = device_page(&app, &mut browser, &device).await;
    assert!(!page.text.contains("see your email address"), "{}", page.text);
    assert_eq!(decide(&app, &mut browser, &page).await.status, 303);
    let tokens = poll(&app, &client, &device).await.body;
    let (id, told) = (id_claims(&tokens), userinfo(&app, &tokens).await);
    assert!(id["email"].is_null() && told["email"].is_null(), "{id} {told}");

    let begun = client.begin(&[("scope", "cart"), ("claims", CLAIMS)]);
    let asked = begun.go(&app, &mut browser).await;
    let page = browser.follow(&app, &asked).await;
    assert!(!page.text.contains("see your email address"), "{}", page.text);
    let code = allow(&app, &mut browser, &asked).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
    assert!(tokens["id_token"].is_null(), "{tokens}");
}
