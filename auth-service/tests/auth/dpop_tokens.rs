//! Tokens that are bound to a key (RFC 9449), from the token endpoint to userinfo.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::{Application, Browser, REDIRECT_URI};
use crate::harness::{Answer, App, PASSWORD, on_both};

on_both!(
    a_token_that_was_asked_for_with_a_proof_is_worth_nothing_without_one,
    a_proof_is_good_once_and_for_the_token_endpoint_alone,
    a_client_that_registered_so_must_prove_its_key,
    a_public_clients_refresh_token_needs_the_same_key,
    a_code_that_names_a_key_needs_that_key,
    a_client_whose_clock_is_wrong_gets_a_nonce_and_its_tokens,
);

/// Somebody's key.
pub(crate) struct Holder(Ed25519KeyPair);

impl Holder {
    pub(crate) fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(self.0.public_key())})
    }

    fn thumbprint(&self) -> String {
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(self.0.public_key()));
        URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.as_bytes()))
    }

    /// A proof for a request at this service, by its public address.
    pub(crate) fn proof(&self, app: &App, method: &str, path: &str, token: Option<&str>) -> String {
        self.proof_with(app, method, path, token, json!({}))
    }

    /// The same with other claims.
    fn proof_with(&self, app: &App, method: &str, path: &str, token: Option<&str>, changes: Value) -> String {
        let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": self.jwk()});
        let mut claims = json!({
            "jti": uuid::Uuid::new_v4(),
            "htm": method,
            "htu": format!("{}{path}", app.service.issuer),
            "iat": app.clock.now().seconds(),
        });
        if let Some(token) = token {
            claims["ath"] = json!(URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())));
        }
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.0.sign(message.as_bytes())))
    }

    pub(crate) fn token_proof(&self, app: &App) -> String {
        self.proof(app, "POST", "/oauth2/token", None)
    }
}

async fn code(app: &App, client: &Application, changes: &[(&str, &str)]) -> (String, String) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(app, &person, PASSWORD).await;
    let begun = client.begin(changes);
    (begun.go(app, &mut browser).await.query("code"), begun.verifier)
}

async fn ask(app: &App, client: &Application, form: &[(&str, &str)], proof: Option<&str>) -> Answer {
    let mut form = form.to_vec();
    let mut request = app.request(Method::POST, "/oauth2/token");
    if client.secret.is_empty() {
        form.push(("client_id", &client.id));
    } else {
        request = request.basic_auth(&client.id, Some(&client.secret));
    }
    if let Some(proof) = proof {
        request = request.header("dpop", proof);
    }
    app.send(request.form(&form)).await
}

async fn exchange(app: &App, client: &Application, code: &(String, String), proof: Option<&str>) -> Answer {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.0.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", code.1.as_str()),
    ];
    ask(app, client, &form, proof).await
}

async fn userinfo(app: &App, scheme: &str, token: &str, proof: Option<&str>) -> u16 {
    let request = app.request(Method::GET, "/oauth2/userinfo").header("authorization", format!("{scheme} {token}"));
    let request = match proof {
        Some(proof) => request.header("dpop", proof),
        None => request,
    };
    // Its challenge is DPoP's, so that the document's check of Bearer is not for it.
    request.send().await.unwrap().status().as_u16()
}

async fn public(app: &App) -> Application {
    let client = Application::register(app, json!({"token_endpoint_auth_method": "none"})).await;
    Application { secret: String::new(), ..client }
}

async fn a_token_that_was_asked_for_with_a_proof_is_worth_nothing_without_one(app: App) {
    let (client, holder, thief) = (Application::first_party(&app).await, Holder::new(), Holder::new());
    let code = code(&app, &client, &[]).await;
    let tokens = exchange(&app, &client, &code, Some(&holder.token_proof(&app))).await;
    assert_eq!((tokens.status, &tokens.body["token_type"]), (200, &json!("DPoP")), "{}", tokens.text);
    let token = tokens.body["access_token"].as_str().unwrap();
    let proof = |holder: &Holder| holder.proof(&app, "GET", "/oauth2/userinfo", Some(token));
    assert_eq!(userinfo(&app, "DPoP", token, Some(&proof(&holder))).await, 200);
    assert_eq!(userinfo(&app, "DPoP", token, None).await, 401);
    assert_eq!(userinfo(&app, "Bearer", token, Some(&proof(&holder))).await, 401);
    assert_eq!(userinfo(&app, "DPoP", token, Some(&proof(&thief))).await, 401);
}

async fn a_proof_is_good_once_and_for_the_token_endpoint_alone(app: App) {
    let (client, holder) = (Application::first_party(&app).await, Holder::new());
    let (first, second) = (code(&app, &client, &[]).await, code(&app, &client, &[]).await);
    let proof = holder.token_proof(&app);
    assert_eq!(exchange(&app, &client, &first, Some(&proof)).await.status, 200);
    assert_eq!(exchange(&app, &client, &second, Some(&proof)).await.error(), "invalid_dpop_proof");
    for odd in [
        holder.proof(&app, "GET", "/oauth2/token", None),
        holder.proof(&app, "POST", "/oauth2/userinfo", None),
        "x.y.z".to_owned(),
        String::new(),
    ] {
        assert_eq!(exchange(&app, &client, &second, Some(&odd)).await.error(), "invalid_dpop_proof", "{odd}");
    }
    assert_eq!(
        exchange(&app, &client, &second, Some(&holder.token_proof(&app))).await.status,
        200,
        "the code was kept"
    );
}

async fn a_client_that_registered_so_must_prove_its_key(app: App) {
    let client = Application::register(&app, json!({"dpop_bound_access_tokens": true})).await;
    let code = code(&app, &client, &[]).await;
    assert_eq!(exchange(&app, &client, &code, None).await.error(), "invalid_dpop_proof");
    assert_eq!(exchange(&app, &client, &code, Some(&Holder::new().token_proof(&app))).await.status, 200);
}

async fn a_public_clients_refresh_token_needs_the_same_key(app: App) {
    let (client, holder, thief) = (public(&app).await, Holder::new(), Holder::new());
    let code = code(&app, &client, &[]).await;
    let tokens = exchange(&app, &client, &code, Some(&holder.token_proof(&app))).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    let form = [("grant_type", "refresh_token"), ("refresh_token", tokens.body["refresh_token"].as_str().unwrap())];
    assert_eq!(ask(&app, &client, &form, None).await.error(), "invalid_grant");
    assert_eq!(ask(&app, &client, &form, Some(&thief.token_proof(&app))).await.error(), "invalid_grant");
    let again = ask(&app, &client, &form, Some(&holder.token_proof(&app))).await;
    assert_eq!((again.status, &again.body["token_type"]), (200, &json!("DPoP")), "a thief's tries used nothing up");
}

async fn a_code_that_names_a_key_needs_that_key(app: App) {
    let (client, holder, thief) = (Application::first_party(&app).await, Holder::new(), Holder::new());
    let code = code(&app, &client, &[("dpop_jkt", &holder.thumbprint())]).await;
    assert_eq!(exchange(&app, &client, &code, Some(&thief.token_proof(&app))).await.error(), "invalid_grant");
    assert_eq!(exchange(&app, &client, &code, None).await.error(), "invalid_grant");
    let own = exchange(&app, &client, &code, Some(&holder.token_proof(&app))).await;
    assert_eq!((own.status, &own.body["token_type"]), (200, &json!("DPoP")), "a thief's tries used nothing up");
    let odd = client.begin(&[("dpop_jkt", "short")]);
    assert_eq!(odd.go(&app, &mut Browser::default()).await.query("error"), "invalid_request");
}

async fn a_client_whose_clock_is_wrong_gets_a_nonce_and_its_tokens(app: App) {
    let (client, holder) = (Application::first_party(&app).await, Holder::new());
    let code = code(&app, &client, &[]).await;
    let wrong = app.clock.now().seconds() - 7_200;
    let proof = |nonce: &str, method: &str, path: &str, token: Option<&str>| {
        let claims = if nonce.is_empty() { json!({"iat": wrong}) } else { json!({"iat": wrong, "nonce": nonce}) };
        holder.proof_with(&app, method, path, token, claims)
    };
    let for_token = |nonce: &str| proof(nonce, "POST", "/oauth2/token", None);
    let mut nonce = String::new();
    for odd in ["", "made-up"] {
        let asked = exchange(&app, &client, &code, Some(&for_token(odd))).await;
        assert_eq!((asked.status, asked.error()), (400, "use_dpop_nonce"), "{}", asked.text);
        nonce = asked.headers["dpop-nonce"].to_str().unwrap().to_owned();
    }
    let proven = for_token(&nonce);
    let tokens = exchange(&app, &client, &code, Some(&proven)).await;
    assert_eq!((tokens.status, &tokens.body["token_type"]), (200, &json!("DPoP")), "{}", tokens.text);
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.body["refresh_token"].as_str().unwrap())];
    assert_eq!(ask(&app, &client, &refresh, Some(&proven)).await.error(), "invalid_dpop_proof", "it was used");
    assert_eq!(
        ask(&app, &client, &refresh, Some(&for_token(&nonce))).await.status,
        200,
        "the nonce goes on for a minute"
    );
    let token = tokens.body["access_token"].as_str().unwrap();
    let userinfo = async |nonce: &str| {
        let proof = proof(nonce, "GET", "/oauth2/userinfo", Some(token));
        let request = app.request(Method::GET, "/oauth2/userinfo").header("authorization", format!("DPoP {token}"));
        request.header("dpop", proof).send().await.unwrap()
    };
    let asked = userinfo("").await;
    assert_eq!(asked.status(), 401);
    let challenge = asked.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("DPoP error=\"use_dpop_nonce\""), "{challenge}");
    let nonce = asked.headers()["dpop-nonce"].to_str().unwrap();
    assert_eq!(userinfo(nonce).await.status(), 200);
}
