//! HC3: what waits ends with the consent, or with the client.

use super::*;

on_both! {
    hc3_a_code_becomes_no_grant_once_the_consent_is_taken_back,
    hc3_a_devices_answer_becomes_no_grant_once_the_access_is_taken_back,
    hc3_a_decision_is_over_once_the_consent_is_taken_back,
    hc3_a_code_becomes_no_grant_once_the_client_was_disabled_or_made_anew,
    hc3_a_withdrawal_at_the_same_moment_leaves_nothing,
}

async fn withdraw(app: &App, person: &Person, client: &Application) -> bool {
    grants::withdraw(&app.service, person.id, &client.id, &By::SERVICE).await.unwrap()
}

async fn hc3_a_code_becomes_no_grant_once_the_consent_is_taken_back(app: App) {
    for way in WayIn::ALL {
        for first_party in [false, true] {
            let (mut browser, person) = signed_in(&app).await;
            let client = Application::register(&app, json!({"first_party": first_party})).await;
            let begun = client.begin(&[]);
            let answer = way.go(&app, &mut browser, &client, &begun).await;
            let code = if first_party { answer } else { allow(&app, &mut browser, &answer).await }.query("code");
            assert_eq!(withdraw(&app, &person, &client).await, !first_party);
            let late = client.exchange(&app, &code, &begun.verifier).await;
            assert_eq!(late.error(), "invalid_grant", "{way:?} {first_party}");
            assert!(stored_grants::open_of_user(&app.service.database, person.id).await.unwrap().is_empty());
            // What is allowed since is good.
            let answer = way.go(&app, &mut browser, &client, &begun).await;
            let code = if first_party { answer } else { allow(&app, &mut browser, &answer).await }.query("code");
            assert_eq!(client.exchange(&app, &code, &begun.verifier).await.status, 200, "{way:?} {first_party}");
        }
    }
    // Nobody leaves anything behind for a client that there is not.
    let (_, person) = signed_in(&app).await;
    for odd in ["nobody", "", "a b", &"x".repeat(41)] {
        assert!(!grants::withdraw(&app.service, person.id, odd, &By::SERVICE).await.unwrap());
        assert_eq!(consents::standing(&app.service.database, person.id, odd).await.unwrap().withdrawals, 0);
    }
}

async fn hc3_a_devices_answer_becomes_no_grant_once_the_access_is_taken_back(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = third_party(&app, json!({"grant_types": [DEVICE, "refresh_token"], "redirect_uris": []})).await;
    let device = begin_device(&app, &client, &[("scope", "openid")]).await;
    let page = device_page(&app, &mut browser, &device).await;
    assert_eq!(decide(&app, &mut browser, &page).await.status, 303);
    withdraw(&app, &person, &client).await;
    assert_eq!(poll(&app, &client, &device).await.error(), "invalid_grant");
    assert!(stored_grants::open_of_user(&app.service.database, person.id).await.unwrap().is_empty());
    let device = begin_device(&app, &client, &[("scope", "openid")]).await;
    let page = device_page(&app, &mut browser, &device).await;
    assert_eq!(decide(&app, &mut browser, &page).await.status, 303);
    assert_eq!(poll(&app, &client, &device).await.status, 200);
}

async fn hc3_a_decision_is_over_once_the_consent_is_taken_back(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = third_party(&app, json!({})).await;
    let asked = client.begin(&[]).go(&app, &mut browser).await;
    let allowed = browser.submit(&app, &asked, &[("decision", "allow")]).await;
    assert!(withdraw(&app, &person, &client).await);
    assert_eq!(browser.follow(&app, &allowed).await.location().path(), "/consent", "they are asked anew");
    assert_eq!(consents::of(&app.service.database, person.id, &client.id).await.unwrap(), None);
}

async fn hc3_a_code_becomes_no_grant_once_the_client_was_disabled_or_made_anew(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let admin = app.administrator().await;
    let client = third_party(&app, json!({"grant_types": ["authorization_code", "refresh_token", DEVICE]})).await;
    let path = format!("/admin/clients/{}", client.id);
    let disable = async |disabled: bool| {
        let mut shown = app.get(&path, &admin.access).await.body;
        shown["disabled"] = json!(disabled);
        let request = app.request(Method::PUT, &path).bearer_auth(&admin.access).json(&shown);
        assert_eq!(app.send(request).await.status, 200);
    };
    let begun = client.begin(&[]);
    let asked = begun.go(&app, &mut browser).await;
    let code = allow(&app, &mut browser, &asked).await.query("code");
    let device = begin_device(&app, &client, &[("scope", "openid")]).await;
    let page = device_page(&app, &mut browser, &device).await;
    assert_eq!(decide(&app, &mut browser, &page).await.status, 303);
    disable(true).await;
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_client");
    disable(false).await;
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant");
    assert_eq!(poll(&app, &client, &device).await.error(), "invalid_grant");

    let code = begun.go(&app, &mut browser).await.query("code");
    registry::delete(&app.service, &client.id, &By::SERVICE).await.unwrap();
    let again = json!({"client_id": client.id, "client_secret": client.secret, "first_party": false});
    Application::register(&app, again).await;
    assert_eq!(client.exchange(&app, &code, &begun.verifier).await.error(), "invalid_grant", "it is another client");
    assert!(stored_grants::open_of_user(&app.service.database, person.id).await.unwrap().is_empty());
}

async fn hc3_a_withdrawal_at_the_same_moment_leaves_nothing(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let client = third_party(&app, json!({})).await;
    for round in 0..12 {
        let begun = client.begin(&[("scope", "openid account")]);
        let asked = begun.go(&app, &mut browser).await;
        let code = allow(&app, &mut browser, &asked).await.query("code");
        let withdrawn = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            withdraw(&app, &person, &client).await
        };
        let (answer, _) = tokio::join!(client.exchange(&app, &code, &begun.verifier), withdrawn);
        assert!(stored_grants::open_of_user(&app.service.database, person.id).await.unwrap().is_empty(), "{round}");
        if answer.status == 200 {
            app.is_refused(answer.body["access_token"].as_str().unwrap()).await;
            let refresh = answer.body["refresh_token"].as_str().unwrap();
            assert_eq!(client.refresh(&app, refresh).await.error(), "invalid_grant", "{round}");
        } else {
            assert_eq!(answer.error(), "invalid_grant", "{}", answer.text);
        }
    }
}
