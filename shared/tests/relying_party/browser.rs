//! A client with cookies, as browsers have them, that shows every redirect.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::{ACCEPT, COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::Value;

use crate::provider::Provider;

pub(crate) struct Browser {
    http: reqwest::Client,
    base: String,
    pub(crate) cookies: Mutex<BTreeMap<String, String>>,
}

/// What a browser got.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub(crate) fn location(&self) -> &str {
        self.headers
            .get(LOCATION)
            .unwrap_or_else(|| panic!("{} without Location: {}", self.status, self.body))
            .to_str()
            .unwrap()
    }

    pub(crate) fn set_cookies(&self) -> Vec<String> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }
}

impl Browser {
    pub(crate) fn new(base: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(Duration::from_secs(20));
        Self { http: http.build().unwrap(), base: base.to_owned(), cookies: Mutex::default() }
    }

    /// Another one with the same cookies as now: what a thief has, or a tab that was slow.
    pub(crate) fn copy(&self) -> Self {
        Self { http: self.http.clone(), base: self.base.clone(), cookies: Mutex::new(self.cookies.lock().clone()) }
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.base)).header(ACCEPT, "text/html,*/*;q=0.8")
    }

    /// As a form on an own page sends it.
    pub(crate) fn post(&self, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.base)).header(ACCEPT, "text/html,*/*;q=0.8");
        request.header("Origin", &self.base).header("Sec-Fetch-Site", "same-origin")
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let cookies = self.cookies.lock().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let response = request.header(COOKIE, e2e::among_others(&cookies.join("; "))).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for value in headers.get_all(SET_COOKIE) {
            let text = value.to_str().unwrap();
            let (name, rest) = text.split_once('=').unwrap();
            let content = rest.split(';').next().unwrap();
            if text.contains("Max-Age=0") {
                self.cookies.lock().remove(name);
            } else {
                self.cookies.lock().insert(name.to_owned(), content.to_owned());
            }
        }
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    pub(crate) async fn open(&self, path: &str) -> Answer {
        self.send(self.get(path)).await
    }

    /// Begins a sign-in at `login`, and answers the callback's address that the provider sends the browser to.
    pub(crate) async fn callback_of(&self, provider: &Provider, login: &str) -> String {
        let begun = self.open(login).await;
        assert_eq!(begun.status, 303, "{}", begun.body);
        let asked = provider.reached(begun.location());
        let answered = self.http.get(asked).send().await.unwrap();
        let location = answered.headers()[LOCATION].to_str().unwrap();
        location.strip_prefix(&self.base).unwrap_or(location).to_owned()
    }

    /// A whole sign-in. Answers where the browser ends up.
    pub(crate) async fn sign_in(&self, provider: &Provider, login: &str) -> String {
        let callback = self.callback_of(provider, login).await;
        let finished = self.open(&callback).await;
        assert_eq!(finished.status, 303, "{}", finished.body);
        finished.location().to_owned()
    }

    pub(crate) async fn is_signed_in(&self) -> bool {
        let answer = self.open("/").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["signed_in"] == true
    }
}
