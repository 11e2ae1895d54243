//! Every route of a service, as its API documents and its own source name them, and what is tried on all of them. A new route
//! is among them by itself.

mod cross_origin;
mod head;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub use self::cross_origin::{assert_open, assert_open_to_other_origins};
pub use self::head::assert_head_answers_as_get;

/// How many requests are under way at once.
const AT_ONCE: usize = 16;
const FORM: &str = "application/x-www-form-urlencoded";

/// A method and a path, with a made-up id in the place of each parameter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub method: String,
    pub path: String,
    /// Whether the documents say that it is for those who have signed in alone.
    pub is_for_users: bool,
}

/// The routes that `documents` (OpenAPI) name, and those of the pages, which the Rust files under `sources` name: those that
/// change something.
///
/// # Panics
/// A file cannot be read, or a source names no page.
pub fn that_change_something(documents: &Value, sources: &[&Path]) -> Vec<Route> {
    named(documents, sources, &["post", "put", "patch", "delete"], "post")
}

/// As [`that_change_something`], those that show something.
///
/// # Panics
/// A file cannot be read, or a source names no page.
pub fn that_show_something(documents: &Value, sources: &[&Path]) -> Vec<Route> {
    named(documents, sources, &["get"], "get")
}

fn named(documents: &Value, sources: &[&Path], methods: &[&str], of_pages: &str) -> Vec<Route> {
    let mut routes = BTreeSet::new();
    for (path, item) in documents["paths"].as_object().into_iter().flatten() {
        for method in methods {
            let operation = &item[*method];
            if operation.is_object() {
                let security = operation["security"].as_array().map(Vec::as_slice).unwrap_or_default();
                let is_for_users = !security.is_empty() && security.iter().all(|way| way["bearer"].is_array());
                routes.insert(Route { method: method.to_uppercase(), path: filled(path), is_for_users });
            }
        }
    }
    for source in sources {
        let mut text = String::new();
        read(source, &mut text);
        let pages = pages(&text, of_pages);
        assert!(!pages.is_empty(), "{} names no page with {of_pages}", source.display());
        let method = of_pages.to_uppercase();
        let route = |path: &String| Route { method: method.clone(), path: filled(path), is_for_users: false };
        routes.extend(pages.iter().map(route));
    }
    routes.into_iter().collect()
}

fn read(path: &Path, text: &mut String) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for entry in entries {
            read(&entry.unwrap_or_else(|error| panic!("{}: {error}", path.display())).path(), text);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        text.push_str(&std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        text.push('\n');
    }
}

/// `web::resource(PATH)….post(…)`, `.route(PATH, web::post()…)` and `only(PATH, "POST", …)`, or `get` in their place; a path
/// may be a constant.
fn pages(source: &str, method: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in source.lines().map(str::trim) {
        let argument = |start: &str, end: char| {
            let rest = line.split_once(start)?.1;
            Some(rest.split([end, ')']).next().unwrap_or_default().to_owned())
        };
        let named = match () {
            () if line.contains(&format!(".{method}(")) => argument("web::resource(", ')'),
            () if line.contains(&format!("web::{method}()")) => {
                argument(".route(", ',').or_else(|| argument("only(", ','))
            }
            () => None,
        };
        let Some(named) = named else { continue };
        let constant = named.rsplit("::").next().unwrap_or_default();
        let path = named.strip_prefix('"').and_then(|text| text.strip_suffix('"')).map(str::to_owned);
        let path = path.or_else(|| {
            let declared = source.split_once(&format!("const {constant}: &str = \""))?.1;
            declared.split('"').next().map(str::to_owned)
        });
        found.push(path.unwrap_or_else(|| panic!("no path is known for {named:?} in {line:?}")));
    }
    found
}

fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.starts_with('{') {
        true => "0190a6e1-7f3c-7bd4-8c41-5d1f0f5c9a11",
        false => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// What a browser says of where a request comes from, and what it sends.
#[derive(Debug, Clone)]
struct Sent {
    site: Option<&'static str>,
    origins: Vec<String>,
    kind: Option<&'static str>,
}

/// Whether a page of ours may have sent it, by the rule as it is documented, or a program.
fn may_be_ours(sent: &Sent, ours: &[String]) -> bool {
    let [origin] = &sent.origins[..] else {
        return sent.origins.is_empty()
            && match sent.site {
                Some(site) => matches!(site, "same-origin" | "none"),
                None => matches!(sent.kind, None | Some("application/json")),
            };
    };
    ours.contains(origin) && matches!(sent.site, None | Some("same-origin" | "same-site" | "none"))
}

fn all_that_is_sent(own: &str, trusted: &[String]) -> Vec<Sent> {
    let host = own.trim_start_matches("http://").split(':').next().unwrap_or_default();
    let mut origins: Vec<Vec<String>> = vec![vec![], vec![own.to_owned()], vec!["null".to_owned()]];
    origins.extend(trusted.iter().map(|origin| vec![origin.clone()]));
    origins.push(vec![format!("http://{host}:9")]);
    origins.push(vec!["http://blog.shop.example".to_owned()]);
    origins.push(vec!["https://evil.example".to_owned()]);
    origins.push(vec![own.to_owned(), "https://evil.example".to_owned()]);
    let kinds =
        [None, Some("text/plain"), Some(FORM), Some("multipart/form-data; boundary=x"), Some("application/json")];
    let sites = [None, Some("none"), Some("same-origin"), Some("same-site"), Some("cross-site"), Some("of this world")];
    let mut all = Vec::new();
    for site in sites {
        for origins in &origins {
            all.extend(kinds.map(|kind| Sent { site, origins: origins.clone(), kind }));
        }
    }
    all
}

/// Sends every route all that a page of another origin could make a browser send along with `cookie`, and asserts that the
/// cookie does not speak for it: the answer is a refusal, or the very status that a stranger gets.
///
/// `trusted` are the origins that the service is told of. Answers how many requests the cookie was refused for.
///
/// # Panics
/// The cookie speaks for a page of another origin, or does not for one of ours.
pub async fn assert_no_cookie_speaks_for_others(
    base: &str,
    routes: &[Route],
    cookie: &str,
    trusted: &[String],
) -> usize {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let client = client.expect("a client");
    let ours: Vec<String> = trusted.iter().cloned().chain([base.to_owned()]).collect();
    let all = all_that_is_sent(base, trusted);
    let strange = all.iter().filter(|sent| !may_be_ours(sent, &ours));
    let cells = routes.iter().flat_map(|route| strange.clone().map(move |sent| (route, sent)));
    let refused = stream::iter(cells)
        .map(|(route, sent)| {
            let client = &client;
            async move {
                let (status, code) = ask(client, base, route, sent, Some(cookie)).await;
                if status == 403 {
                    return usize::from(code == "cross_site");
                }
                let (stranger, _) = ask(client, base, route, sent, None).await;
                assert_eq!(status, stranger, "the cookie speaks for {route:?} {sent:?}: {code}");
                0
            }
        })
        .buffer_unordered(AT_ONCE)
        .fold(0, |sum, refused| std::future::ready(sum + refused))
        .await;
    // Whoever may, is not taken for a stranger: with an id that there is not, or no body, nothing is done.
    let harmless = routes.iter().filter(|route| !route.path.contains("/logout"));
    for (route, sent) in harmless.flat_map(|route| {
        let sample = all.iter().filter(|sent| may_be_ours(sent, &ours) && sent.kind.is_none());
        sample.map(move |sent| (route, sent))
    }) {
        let (status, code) = ask(&client, base, route, sent, Some(cookie)).await;
        assert_ne!(code, "cross_site", "{route:?} {sent:?} is refused with {status}");
    }
    refused
}

async fn ask(client: &reqwest::Client, base: &str, route: &Route, sent: &Sent, cookie: Option<&str>) -> (u16, String) {
    let method = route.method.parse::<reqwest::Method>().expect("a method");
    let mut request = client.request(method, format!("{base}{}", route.path));
    request = sent.origins.iter().fold(request, |request, origin| request.header("origin", origin));
    if let Some(site) = sent.site {
        request = request.header("sec-fetch-site", site);
    }
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    if let Some(kind) = sent.kind {
        request = request.header("content-type", kind).body(if kind == "application/json" { "{}" } else { "a=b" });
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    assert!(status < 500, "{route:?} {sent:?} got {status}");
    let body: Value = answer.json().await.unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

/// Begins a body at each route, as JSON and as a form, and never sends the rest. Answers the status of each, 0 where the
/// connection was closed without one.
///
/// # Panics
/// A route is still waiting after `patience`.
pub async fn ends_of_bodies_that_never_arrive(
    address: &str,
    routes: &[Route],
    headers: &str,
    patience: Duration,
) -> Vec<(Route, u16)> {
    let cells = routes.iter().flat_map(|route| ["application/json", FORM].map(|kind| (route, kind)));
    let ends = stream::iter(cells).map(|(route, kind)| async move {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Type: {kind}\r\nContent-Length: 50\r\n\r\n{{",
            route.method, route.path
        );
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        let mut answer = [0; 64];
        let read = tokio::time::timeout(patience, stream.read(&mut answer)).await;
        let Ok(read) = read else { panic!("{route:?} with {kind} still waits after {:?}", begun.elapsed()) };
        let answer = String::from_utf8_lossy(&answer[..read.unwrap_or_default()]).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (route.clone(), status.unwrap_or_default())
    });
    ends.buffer_unordered(64).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_however_they_are_written() {
        let source = r#"
            const QUESTION: &str = "/ask/{id}";
            .service(web::resource("/sign-in").get(show).post(submit))
            .service(web::resource(logout::QUESTION).get(show).post(submit))
            .service(web::resource("/signed-out").get(show))
            .route("/basket/items", web::post().to(basket::add))
            .route("/basket", web::get().to(basket::show))
            .service(only("/logout", "POST", web::post().to(logout::begin)))
        "#;
        assert_eq!(pages(source, "post"), ["/sign-in", "/ask/{id}", "/basket/items", "/logout"]);
        assert_eq!(pages(source, "get"), ["/sign-in", "/ask/{id}", "/signed-out", "/basket"]);
    }
}
