//! HC4: no program on the machine is taken for a native application unasked.

use super::*;

on_both! {
    hc4_a_native_application_is_allowed_each_time_anew,
}

async fn hc4_a_native_application_is_allowed_each_time_anew(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let uris =
        json!(["http://127.0.0.1/cb", "http://[::1]/cb", "com.example.app:/cb", "https://localhost/cb", REDIRECT_URI]);
    let metadata = |method: &str, first_party: bool| {
        json!({"application_type": "native", "token_endpoint_auth_method": method, "redirect_uris": uris,
               "first_party": first_party})
    };
    for first_party in [false, true] {
        let client = Application::register(&app, metadata("none", first_party)).await;
        for uri in ["http://127.0.0.1:51004/cb", "http://[::1]:7/cb", "com.example.app:/cb", "https://localhost/cb"] {
            let at = |prompt: &'static str| client.begin(&[("redirect_uri", uri), ("prompt", prompt)]);
            for _ in 0..2 {
                assert_eq!(at("none").go(&app, &mut browser).await.query("error"), "consent_required", "{uri}");
                let asked = at("").go(&app, &mut browser).await;
                assert!(!allow(&app, &mut browser, &asked).await.query("code").is_empty(), "{uri}");
            }
            // By POST too.
            let sent = app.send(app.request(Method::POST, "/oauth2/authorize").form(&at("none").parameters)).await;
            assert_eq!(browser.follow(&app, &sent).await.query("error"), "consent_required", "{uri}");
        }
        // Whom the web has given the address, or who proves who it is, is asked for once.
        let claimed = client.begin(&[("redirect_uri", REDIRECT_URI), ("prompt", "none")]);
        assert!(!claimed.go(&app, &mut browser).await.query("code").is_empty());
        let proved = Application::register(&app, metadata("client_secret_basic", first_party)).await;
        let begun = proved.begin(&[("redirect_uri", "http://127.0.0.1:51004/cb")]);
        let answer = begun.go(&app, &mut browser).await;
        if !first_party {
            allow(&app, &mut browser, &answer).await;
        }
        assert!(!begun.go(&app, &mut browser).await.query("code").is_empty());
    }
}
