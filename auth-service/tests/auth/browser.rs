//! A person's browser, as far as a protocol sees it: cookies that it keeps, redirections that it shows; and an application
//! that signs people in by it.

use std::collections::HashMap;

use auth_service::browser_session;
use auth_service::clients::FirstClient;
use auth_service::codes::{random_text, sha256};
use auth_service::device::DeviceLabel;
use auth_service::known_browser::KnownBrowser;
use auth_service::sign_in::Attempt;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::harness::{Answer, App, Person};

/// Cookies by name, and nothing else.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    pub(crate) cookies: HashMap<String, String>,
}

impl Browser {
    pub(crate) async fn get(&mut self, app: &App, path: &str) -> Answer {
        self.send(app, app.request(Method::GET, path)).await
    }

    pub(crate) async fn send(&mut self, app: &App, request: reqwest::RequestBuilder) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = app.send(request.header("cookie", e2e::among_others(&cookies.join("; ")))).await;
        for set in answer.headers.get_all("set-cookie") {
            let text = set.to_str().unwrap();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Goes to where it is sent, at this service.
    pub(crate) async fn follow(&mut self, app: &App, answer: &Answer) -> Answer {
        self.get(app, &address(answer)).await
    }

    /// Goes to the page that it is sent to, and sends its form.
    pub(crate) async fn submit(&mut self, app: &App, answer: &Answer, fields: &[(&str, &str)]) -> Answer {
        let page = address(answer);
        self.submit_to(app, &page, &page, fields).await
    }

    /// Goes to `page`, and sends a form of it to `path`.
    pub(crate) async fn submit_to(&mut self, app: &App, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get(app, page).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let hidden = hidden(&page, fields);
        let fields: Vec<_> =
            fields.iter().copied().chain(hidden.iter().map(|(name, value)| (*name, &**value))).collect();
        self.send(app, app.request(Method::POST, path).form(&fields)).await
    }

    /// Signs in, past the page.
    pub(crate) async fn sign_in(&mut self, app: &App, person: &Person, password: &str) {
        let attempt = Attempt {
            email: person.email.parse().unwrap(),
            password: serde_json::from_value(json!(password)).unwrap(),
            device: DeviceLabel::from_user_agent(None),
            address: None,
            browser: KnownBrowser::default(),
        };
        let http = self.as_request();
        let current = browser_session::find(&app.service, &http).await.unwrap();
        let (_, cookie) = browser_session::sign_in(&app.service, &attempt, current).await.unwrap();
        self.cookies.insert(cookie.name().to_owned(), cookie.value().to_owned());
    }

    fn as_request(&self) -> actix_web::HttpRequest {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        actix_web::test::TestRequest::default().insert_header(("cookie", cookies.join("; "))).to_http_request()
    }
}

/// Path and query of where a browser is sent, at this service.
fn address(answer: &Answer) -> String {
    let location = answer.location();
    assert_eq!(location.host_str(), Some("here"), "{location}");
    location[url::Position::BeforePath..].to_owned()
}

/// What a page's form sends along unseen, but for what is among the `fields`.
pub(crate) fn hidden(page: &Answer, fields: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let value = |name: &str| {
        let (_, rest) = page.text.split_once(&format!("type=\"hidden\" name=\"{name}\" value=\""))?;
        rest.split('"').next().map(str::to_owned)
    };
    let names = ["csrf", "account", "shown", "user_code"].into_iter();
    let missing = names.filter(|name| fields.iter().all(|(known, _)| known != name));
    missing.filter_map(|name| Some((name, value(name)?))).collect()
}

/// What shows that a form is of this page.
pub(crate) fn form_token(page: &Answer) -> String {
    let (_, rest) = page.text.split_once("name=\"csrf\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// An application that is registered.
#[derive(Clone)]
pub(crate) struct Application {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) redirect_uri: String,
}

/// A sign-in that an application has begun.
#[derive(Clone)]
pub(crate) struct Begun {
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) verifier: String,
}

pub(crate) const REDIRECT_URI: &str = "https://app.example/cb";

impl Application {
    /// One that belongs to the platform: nobody is asked for consent.
    pub(crate) async fn first_party(app: &App) -> Self {
        Self::register(app, json!({})).await
    }

    /// One with other metadata than the usual: `client_secret_basic`, codes and refreshes, all scopes.
    pub(crate) async fn register(app: &App, changes: Value) -> Self {
        let id = format!("app-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let secret = random_text();
        let mut metadata = json!({
            "client_id": id,
            "client_secret": secret,
            "client_name": "An application",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": "openid profile email offline_access account cart orders",
        });
        for (name, value) in changes.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        if metadata["token_endpoint_auth_method"] == "none"
            || metadata["token_endpoint_auth_method"] == "private_key_jwt"
        {
            metadata.as_object_mut().unwrap().remove("client_secret");
        }
        let Value::Object(members) = metadata else { unreachable!() };
        let first = FirstClient::read(members).unwrap();
        let id = first.id.clone();
        auth_service::clients::first::align(&app.service, &[first]).await.unwrap();
        Self { id, secret, redirect_uri: REDIRECT_URI.to_owned() }
    }

    /// The usual request, with some parameters changed; one that is empty is left out.
    pub(crate) fn begin(&self, changes: &[(&str, &str)]) -> Begun {
        let verifier = random_text();
        let challenge = sha256(&verifier);
        let mut parameters: Vec<(String, String)> = [
            ("client_id", self.id.as_str()),
            ("redirect_uri", &self.redirect_uri),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            ("state", "a state"),
            ("nonce", "a nonce"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        for (name, value) in changes {
            parameters.retain(|(known, _)| known != name);
            if !value.is_empty() {
                parameters.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        Begun { parameters, verifier }
    }

    pub(crate) async fn token(&self, app: &App, form: &[(&str, &str)]) -> Answer {
        app.send(app.request(Method::POST, "/oauth2/token").basic_auth(&self.id, Some(&self.secret)).form(form)).await
    }

    pub(crate) async fn exchange(&self, app: &App, code: &str, verifier: &str) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", verifier),
        ];
        self.token(app, &form).await
    }

    pub(crate) async fn refresh(&self, app: &App, token: &str) -> Answer {
        self.token(app, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// Signs in by a browser that is signed in, and answers the tokens.
    pub(crate) async fn tokens(&self, app: &App, browser: &mut Browser) -> Value {
        let begun = self.begin(&[]);
        let code = begun.go(app, browser).await.query("code");
        let answer = self.exchange(app, &code, &begun.verifier).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body
    }
}

impl Begun {
    pub(crate) fn path(&self) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.parameters).finish();
        format!("/oauth2/authorize?{query}")
    }

    pub(crate) async fn go(&self, app: &App, browser: &mut Browser) -> Answer {
        browser.get(app, &self.path()).await
    }
}

impl Answer {
    /// Where the browser is sent.
    pub(crate) fn location(&self) -> Url {
        assert_eq!(self.status, 303, "{}", self.text);
        let location = self.headers["location"].to_str().unwrap();
        Url::parse("http://here").unwrap().join(location).unwrap()
    }

    /// A parameter of where the browser is sent, or nothing.
    pub(crate) fn query(&self, name: &str) -> String {
        let location = self.location();
        let found = location.query_pairs().find(|(known, _)| known == name);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    /// The same, in the query or in the fragment.
    pub(crate) fn told(&self, name: &str) -> String {
        let location = self.location();
        let text = location.query().or(location.fragment()).unwrap_or_default();
        let found = url::form_urlencoded::parse(text.as_bytes()).find(|(known, _)| known == name);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    pub(crate) fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}
