//! The modules of the OpenID Foundation's conformance suite, each under its own name, against the service in memory. What
//! is known to deviate stands in `deviations.txt`: a module in that list must fail, so that the list stays true.

mod basic;
mod config;
mod dynamic;
mod rp_initiated_logout;

use std::panic::AssertUnwindSafe;

use auth_service::clients::registration::RegistrationMode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::{Application, Begun, Browser};
use crate::harness::{Answer, App, PASSWORD, Person};

const DEVIATIONS: &str = include_str!("deviations.txt");
/// The modules of each plan.
const PLANS: &str = include_str!("plans.txt");

/// Makes each function a test of the module of that name, with `-` for `_`.
macro_rules! modules {
    ($($module:ident),* $(,)?) => {
        pub(super) const NAMES: &[&str] = &[$(stringify!($module)),*];
        mod conforms {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $module() {
                crate::conformance::run(stringify!($module), super::$module).await;
            })*
        }
    };
}
pub(crate) use modules;

/// Runs a module, which must pass, or fail if it is known to deviate.
pub(crate) async fn run<F: Future<Output = ()>>(module: &str, test: impl FnOnce(Suite) -> F) {
    let name = module.replace('_', "-");
    let deviates =
        DEVIATIONS.lines().filter(|line| !line.starts_with('#')).any(|line| line.split(':').next() == Some(&name));
    let ran = AssertUnwindSafe(test(Suite::begin().await)).catch_unwind().await;
    match (ran, deviates) {
        (Ok(()), false) | (Err(_), true) => {}
        (Ok(()), true) => panic!("{name} passes now: take it from deviations.txt"),
        (Err(panic), false) => std::panic::resume_unwind(panic),
    }
}

#[test]
fn each_known_deviation_is_a_module() {
    for line in DEVIATIONS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, why) = line.split_once(':').unwrap();
        assert!(!why.trim().is_empty(), "{name} has no reason");
        assert!(PLANS.lines().any(|line| line.strip_prefix("  ") == Some(name)), "{name} is no module here");
    }
}

#[test]
fn each_module_of_the_plans_has_a_test_of_its_name() {
    let mut tested = [basic::NAMES, config::NAMES, rp_initiated_logout::NAMES, dynamic::NAMES].concat();
    let mut planned: Vec<_> =
        PLANS.lines().filter_map(|line| line.strip_prefix("  ")).map(|name| name.replace('-', "_")).collect();
    tested.sort_unstable();
    planned.sort_unstable();
    assert_eq!(tested, planned);
}

/// A person with a browser, and an application with which they sign in.
pub(crate) struct Suite {
    pub(crate) app: App,
    pub(crate) person: Person,
    pub(crate) browser: Browser,
    pub(crate) client: Application,
}

impl Suite {
    async fn begin() -> Self {
        let app = App::embedded(|config| config.registration.mode = RegistrationMode::Token).await;
        let person = app.somebody().await;
        // The suite's own way: a client that was registered, with RS256.
        let client =
            Application::register(&app, json!({"scope": "openid profile email address phone offline_access"})).await;
        let mut browser = Browser::default();
        browser.sign_in(&app, &person, PASSWORD).await;
        Self { app, person, browser, client }
    }

    /// Begins with these parameters, and goes to where the browser is sent.
    pub(crate) async fn authorize(&mut self, changes: &[(&str, &str)]) -> (Begun, Answer) {
        let begun = self.client.begin(changes);
        let answer = begun.go(&self.app, &mut self.browser).await;
        (begun, answer)
    }

    /// Signs in with these parameters, and answers the tokens and the verified ID token.
    pub(crate) async fn sign_in(&mut self, changes: &[(&str, &str)]) -> (Value, Value) {
        let (begun, answer) = self.authorize(changes).await;
        let answer = self.allow(answer).await;
        self.finish(&begun, answer).await
    }

    /// Where the person is asked whether the client may know them, they agree.
    pub(crate) async fn allow(&mut self, answer: Answer) -> Answer {
        if answer.location().path() != "/consent" {
            return answer;
        }
        let account = self.person.id.to_string();
        let fields = [("account", account.as_str()), ("decision", "allow")];
        let allowed = self.browser.submit(&self.app, &answer, &fields).await;
        self.browser.follow(&self.app, &allowed).await
    }

    pub(crate) async fn finish(&self, begun: &Begun, answer: Answer) -> (Value, Value) {
        assert_eq!(answer.query("error"), "", "{}", answer.query("error_description"));
        assert_eq!(answer.query("iss"), self.app.service.issuer);
        let has_challenge = begun.parameters.iter().any(|(name, _)| name == "code_challenge");
        let verifier = if has_challenge { begun.verifier.as_str() } else { "" };
        let tokens = self.client.exchange(&self.app, &answer.query("code"), verifier).await;
        assert_eq!((tokens.status, &tokens.body["token_type"]), (200, &json!("Bearer")), "{}", tokens.text);
        let id = self.verified(tokens.body["id_token"].as_str().unwrap()).await;
        assert_eq!(
            id["at_hash"],
            at_hash(&tokens.body, decode_header(tokens.body["id_token"].as_str().unwrap()).unwrap().alg)
        );
        (tokens.body, id)
    }

    /// The person comes to a page, signs in again, and goes back.
    pub(crate) async fn sign_in_again(&mut self, page: &Answer) -> Answer {
        assert_eq!(page.location().path(), "/sign-in");
        let (person, flow) = (self.person.clone(), page.query("flow"));
        self.browser.sign_in(&self.app, &person, PASSWORD).await;
        self.browser.get(&self.app, &format!("/oauth2/authorize?flow={flow}")).await
    }

    /// The claims of an ID token, by the published keys alone.
    pub(crate) async fn verified(&self, token: &str) -> Value {
        let claims = self.signed(token).await;
        assert!(claims["exp"].is_i64(), "{claims}");
        claims
    }

    /// The claims of what is signed for the client and need not expire, as signed userinfo.
    pub(crate) async fn signed(&self, token: &str) -> Value {
        let keys = self.app.send(self.app.request(Method::GET, "/.well-known/jwks.json")).await.body;
        let keys: JwkSet = serde_json::from_value(keys).unwrap();
        let header = decode_header(token).unwrap();
        let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.app.service.issuer]);
        validation.set_audience(&[&self.client.id]);
        // The test moves the clock.
        validation.validate_exp = false;
        validation.required_spec_claims.remove("exp");
        decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims
    }

    pub(crate) async fn userinfo(&self, tokens: &Value) -> Value {
        let answer = self.app.get("/oauth2/userinfo", tokens["access_token"].as_str().unwrap()).await;
        assert_eq!((answer.status, &answer.body["sub"]), (200, &json!(self.person.id)), "{}", answer.text);
        answer.body
    }
}

fn at_hash(tokens: &Value, alg: jsonwebtoken::Algorithm) -> Value {
    use aws_lc_rs::digest::{SHA256, SHA512, digest};
    let hash = if alg == jsonwebtoken::Algorithm::EdDSA { &SHA512 } else { &SHA256 };
    let hash = digest(hash, tokens["access_token"].as_str().unwrap().as_bytes());
    json!(URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2]))
}
