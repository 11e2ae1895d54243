//! A browser as far as pages need one: cookies, forms with their token, and where it is sent.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use url::{Position, Url};

use crate::harness::{Person, World};
use crate::provider::Provider;

/// It follows no redirect by itself.
pub(crate) struct Browser {
    client: Client,
    base: String,
    language: &'static str,
    cookies: Mutex<BTreeMap<String, String>>,
}

pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Shown {
    /// Where the browser is sent.
    #[track_caller]
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text);
        self.headers[LOCATION].to_str().unwrap()
    }

    /// The value of the first hidden field of this name.
    #[track_caller]
    pub(crate) fn hidden(&self, name: &str) -> &str {
        let field = self.text.split(&format!("name=\"{name}\" value=\"")).nth(1);
        field.unwrap_or_else(|| panic!("no {name} in {}", self.text)).split('"').next().unwrap()
    }

    /// The text with this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.text);
        &self.text
    }
}

impl Browser {
    pub(crate) fn new(world: &World, language: &'static str) -> Self {
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Self { client, base: world.base.clone(), language, cookies: Mutex::default() }
    }

    /// One in which this person has signed in.
    pub(crate) async fn of(provider: &Provider, person: &Person<'_>, language: &'static str) -> Self {
        let browser = Self::new(person.world, language);
        assert_eq!(browser.sign_in(provider, person, "/login").await, "/");
        browser
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Shown {
        let cookies =
            self.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let request = request.header("Accept", "text/html,*/*;q=0.8").header("Accept-Language", self.language);
        let response = request.header("Cookie", e2e::among_others(&cookies.join("; "))).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, rest) = cookie.split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.lock().unwrap().remove(name);
            } else {
                self.cookies.lock().unwrap().insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
            }
        }
        Shown { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) async fn open(&self, path: &str) -> Shown {
        self.send(self.client.get(format!("{}{path}", self.base))).await
    }

    /// A form of this browser's, whatever is in it.
    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).header("Origin", &self.base).form(fields)
    }

    /// Sends a form of `page`, with its token.
    pub(crate) async fn submit(&self, page: &Shown, path: &str, fields: &[(&str, &str)]) -> Shown {
        self.send(self.form(path, &[fields, &[("csrf", page.hidden("csrf"))]].concat())).await
    }

    /// Goes the way of a sign-in from `login` on. Answers where it ends.
    pub(crate) async fn sign_in(&self, provider: &Provider, person: &Person<'_>, login: &str) -> String {
        provider.expect(person);
        let begun = self.open(login).await;
        let answer = self.client.get(begun.location()).send().await.unwrap();
        let back: Url = answer.headers()[LOCATION].to_str().unwrap().parse().unwrap();
        // The provider knows the service by its public address.
        let finished = self.open(&back[Position::BeforePath..]).await;
        finished.location().to_owned()
    }
}
