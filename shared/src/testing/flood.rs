//! Callers without an account who ask for everything that a service answers, again and again, with the largest input that
//! it takes. What they leave behind is for the test to measure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use reqwest::header::{CONTENT_TYPE, COOKIE, ORIGIN, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Map, Value, json};

/// How many requests are under way at once.
const AT_ONCE: usize = 16;
/// The largest body that a service reads.
const LARGEST_BODY: usize = 64 * 1024;

/// One request that is repeated.
#[derive(Debug, Clone)]
enum Call {
    Plain {
        method: Method,
        /// With its query.
        path: String,
        headers: Vec<(String, String)>,
        body: Option<(&'static str, String)>,
    },
    /// A form of a page, with the hidden fields and the cookies that the page came with.
    Form { shown_at: String, posted_to: String, fields: Vec<(String, String)> },
}

/// All that is asked of one service.
pub struct Flood {
    client: Client,
    base: String,
    calls: Vec<Call>,
    /// The last cookies that were given out: every other request sends them.
    cookies: Mutex<String>,
}

/// What was answered: how often each status.
pub type Answers = BTreeMap<u16, usize>;

impl Flood {
    /// Every operation of an OpenAPI document, once with the smallest input that is good and once with the largest, and
    /// every path (see [`paths_in`]) by every method. `hints` are good values of parameters and fields, by their name.
    ///
    /// # Panics
    /// The document names no operation.
    pub fn new(base: &str, document: &Value, paths: &BTreeSet<String>, hints: &[(&str, Value)]) -> Self {
        let inputs = Inputs { document, hints };
        let mut calls = Vec::new();
        for (path, item) in document["paths"].as_object().expect("the document has paths") {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let Ok(method) = Method::from_bytes(method.to_ascii_uppercase().as_bytes()) else { continue };
                calls.extend([false, true].map(|largest| inputs.call(&method, path, operation, largest)));
            }
        }
        assert!(!calls.is_empty(), "the document names no operation");
        for path in paths {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                let query = format!("?a={}", "a".repeat(4_000));
                let filler = format!("filler={}", "a".repeat(LARGEST_BODY - 7));
                let body = (method != Method::GET).then_some(("application/x-www-form-urlencoded", filler));
                let path = inputs.path(path, true) + &query;
                calls.push(Call::Plain { method, path, headers: Vec::new(), body });
            }
        }
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().expect("a client");
        Self { client, base: base.to_owned(), calls, cookies: Mutex::default() }
    }

    /// A form that the page at `shown_at` sends to `posted_to`, as a browser without a script does.
    #[must_use]
    pub fn with_form(mut self, shown_at: &str, posted_to: &str, fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.calls.push(Call::Form { shown_at: shown_at.to_owned(), posted_to: posted_to.to_owned(), fields });
        self
    }

    /// Sends `count` requests, the calls in turn, from these addresses (`X-Forwarded-For`) in turn.
    ///
    /// # Panics
    /// There is no answer, or a 5xx other than 503.
    pub async fn run(&self, count: usize, addresses: &[&str]) -> Answers {
        let answers = Mutex::new(Answers::new());
        let number = AtomicUsize::new(0);
        stream::iter(0..count)
            .for_each_concurrent(AT_ONCE, |_| async {
                let number = number.fetch_add(1, Ordering::Relaxed);
                let round = number / self.calls.len();
                let call = &self.calls[number % self.calls.len()];
                // Neither which address nor whether with cookies depends on the call.
                let address = addresses[(number + round) % addresses.len()];
                let with_cookies = (number / 2 + round) % 2 == 1;
                let status = self.send(call, address, with_cookies).await;
                assert!(status < 500 || status == 503, "{status} to {call:?}");
                *answers.lock().entry(status).or_default() += 1;
            })
            .await;
        answers.into_inner()
    }

    /// Sends the call that was added last so often, one after the other.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn run_last(&self, count: usize) -> Answers {
        let mut answers = Answers::new();
        for _ in 0..count {
            let call = self.calls.last().expect("there is a call");
            *answers.entry(self.send(call, "192.0.2.1", false).await).or_default() += 1;
        }
        answers
    }

    async fn send(&self, call: &Call, address: &str, with_cookies: bool) -> u16 {
        let known = if with_cookies { self.cookies.lock().clone() } else { String::new() };
        match call {
            Call::Plain { method, path, headers, body } => {
                let mut request = self.request(method.clone(), path, address, &known);
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                if let Some((content_type, body)) = body {
                    request = request.header(CONTENT_TYPE, *content_type).body(body.clone());
                }
                self.answer(request).await.0
            }
            Call::Form { shown_at, posted_to, fields } => {
                let shown = self.request(Method::GET, shown_at, address, &known).header("accept", "text/html");
                let (status, given, page) = self.answer(shown).await;
                if status != 200 {
                    return status;
                }
                let mut all = hidden_fields(&page);
                all.extend(fields.iter().cloned());
                let cookies = [known, given].join("; ");
                let request = self.request(Method::POST, posted_to, address, cookies.trim_matches([';', ' ']));
                self.answer(request.header(ORIGIN, &self.base).header("accept", "text/html").form(&all)).await.0
            }
        }
    }

    fn request(&self, method: Method, path: &str, address: &str, cookies: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base)).header("x-forwarded-for", address);
        if cookies.is_empty() { request } else { request.header(COOKIE, cookies) }
    }

    /// The status, the cookies that it gives out, and the text.
    async fn answer(&self, request: RequestBuilder) -> (u16, String, String) {
        let response = request.send().await.expect("the service answers");
        let status = response.status().as_u16();
        let given = response.headers().get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
        let given: Vec<&str> = given.filter_map(|cookie| cookie.split(';').next()).collect();
        let given = given.join("; ");
        if !given.is_empty() {
            self.cookies.lock().clone_from(&given);
        }
        (status, given, response.text().await.unwrap_or_default())
    }
}

/// The paths that the sources of a service name, as `deploy/agreement.py` reads them: pages too, which no document has.
///
/// # Panics
/// The folder cannot be read, or names no path.
pub fn paths_in(endpoints: &Path) -> BTreeSet<String> {
    const NAMED: &str = r#"(?:#\[(?:get|post|put|delete)|web::resource|\.route|\bonly)\("(/[^"]*)""#;
    let named = regex_lite::Regex::new(NAMED).expect("an expression");
    let mut paths = BTreeSet::new();
    for entry in std::fs::read_dir(endpoints).expect("the sources are there") {
        let path = entry.expect("the sources are there").path();
        if path.is_dir() {
            paths.extend(paths_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source is read");
            paths.extend(named.captures_iter(&text).map(|found| found[1].to_owned()));
            if text.contains("relying_party::endpoints") {
                let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/relying_party/endpoints");
                paths.extend(paths_in(&shared));
            }
        }
    }
    paths
}

fn hidden_fields(page: &str) -> Vec<(String, String)> {
    let field = regex_lite::Regex::new(r#"type="hidden" name="([^"]*)" value="([^"]*)""#).expect("an expression");
    let found = field.captures_iter(page).map(|found| (found[1].to_owned(), found[2].to_owned()));
    // Those of the first form that has a field are enough; a name that comes again is another form's.
    found.collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// Makes inputs by an OpenAPI document.
struct Inputs<'a> {
    document: &'a Value,
    hints: &'a [(&'a str, Value)],
}

impl Inputs<'_> {
    fn call(&self, method: &Method, path: &str, operation: &Value, largest: bool) -> Call {
        let (mut query, mut headers) = (Vec::new(), Vec::new());
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or_default();
            let value = text_of(&self.value(&parameter["schema"], name, if largest { 1_000 } else { 0 }, 0));
            match parameter["in"].as_str() {
                Some("query") => query.push((name.to_owned(), value)),
                Some("header") => headers.push((name.to_owned(), value)),
                _ => {}
            }
        }
        let mut path = self.path(path, largest);
        if !query.is_empty() {
            let mut text = url::form_urlencoded::Serializer::new(String::new());
            path = format!("{path}?{}", text.extend_pairs(&query).finish());
        }
        let body = self.body(&operation["requestBody"]["content"], largest);
        Call::Plain { method: method.clone(), path, headers, body }
    }

    fn path(&self, pattern: &str, largest: bool) -> String {
        let parts =
            pattern.split('/').map(|part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                None => part.to_owned(),
                Some(_) if largest => "a".repeat(1_000),
                Some(name) => self.hint(name).map_or_else(|| uuid::Uuid::nil().to_string(), |value| text_of(&value)),
            });
        parts.collect::<Vec<_>>().join("/")
    }

    fn body(&self, content: &Value, largest: bool) -> Option<(&'static str, String)> {
        let encode = |length: usize| {
            if let Some(json) = content.get("application/json") {
                return Some(("application/json", self.value(&json["schema"], "", length, 0).to_string()));
            }
            let form = content.get("application/x-www-form-urlencoded")?;
            let fields = self.value(&form["schema"], "", length, 0);
            let fields = fields.as_object().into_iter().flatten().map(|(name, value)| (name, text_of(value)));
            let mut text = url::form_urlencoded::Serializer::new(String::new());
            Some(("application/x-www-form-urlencoded", text.extend_pairs(fields).finish()))
        };
        if !largest {
            return encode(0);
        }
        // The longest texts with which all of it fits.
        (0..17)
            .map(|halvings| encode(LARGEST_BODY >> halvings))
            .find(|body| body.as_ref().is_none_or(|(_, text)| text.len() <= LARGEST_BODY))?
    }

    fn hint(&self, name: &str) -> Option<Value> {
        self.hints.iter().find(|(hinted, _)| *hinted == name).map(|(_, value)| value.clone())
    }

    /// A value of this schema: the smallest that is good with a `length` of 0, else the largest, with texts of that length
    /// where the schema names none.
    fn value(&self, schema: &Value, name: &str, length: usize, depth: usize) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.document.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null);
            return if depth > 8 { Value::Null } else { self.value(target, name, length, depth + 1) };
        }
        if let Some(hint) = self.hint(name) {
            return hint;
        }
        for several in ["oneOf", "anyOf", "allOf"] {
            let choices = schema[several].as_array().into_iter().flatten();
            if let Some(choice) = choices.into_iter().find(|choice| choice["type"] != "null") {
                return if depth > 8 { Value::Null } else { self.value(choice, name, length, depth + 1) };
            }
        }
        if let Some(word) = schema["enum"].as_array().and_then(|words| words.first()) {
            return word.clone();
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
        match kind {
            "string" => self.text(schema, length),
            "integer" | "number" if length > 0 => {
                schema.get("maximum").cloned().unwrap_or(json!(9_007_199_254_740_991_i64))
            }
            "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(1)),
            "boolean" => json!(true),
            "array" => {
                let item = self.value(&schema["items"], name, length, depth + 1);
                Value::Array(vec![item; if length > 0 { 20 } else { 1 }])
            }
            _ => {
                let properties = schema["properties"].as_object();
                let value =
                    |(name, schema): (&String, &Value)| (name.clone(), self.value(schema, name, length, depth + 1));
                Value::Object(properties.into_iter().flatten().map(value).collect::<Map<_, _>>())
            }
        }
    }

    fn text(&self, schema: &Value, length: usize) -> Value {
        if length == 0 {
            let example =
                schema.get("example").or_else(|| schema["examples"].get(0)).filter(|example| example.is_string());
            let uuid = (schema["format"] == "uuid").then(|| json!(uuid::Uuid::nil()));
            return example.cloned().or(uuid).unwrap_or(json!("a"));
        }
        let most = schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok());
        json!("a".repeat(most.unwrap_or(length).min(LARGEST_BODY)))
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
