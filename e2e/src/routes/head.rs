//! HEAD at every route of GET.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::HeaderMap;

use super::Route;

/// What differs between two answers to one request.
const OWN: [&str; 3] = ["date", "x-request-id", "retry-after"];

/// Asks each route by GET and by HEAD, and asserts that both have the same status and headers, the length of the content
/// among them. Answers the status of each.
///
/// # Panics
/// HEAD answers something else.
pub async fn assert_head_answers_as_get(base: &str, routes: &[Route], headers: &HeaderMap) -> BTreeMap<String, u16> {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let client = client.expect("a client");
    let mut statuses = BTreeMap::new();
    for route in routes {
        let url = format!("{base}{}", route.path);
        let ask = async |request: reqwest::RequestBuilder| {
            let answer = request.headers(headers.clone()).send().await.expect("an answer");
            let seen = (answer.status().as_u16(), comparable(answer.headers()));
            (seen, answer.bytes().await.expect("what follows the head").len())
        };
        let (by_get, length) = ask(client.get(&url)).await;
        let (by_head, nothing) = ask(client.head(&url)).await;
        assert_eq!(by_head, by_get, "HEAD {}", route.path);
        assert_eq!(nothing, 0, "HEAD {} has content", route.path);
        let told = by_head.1.get("content-length").map_or(0, |length| length[0].parse().expect("a number"));
        assert_eq!(told, length, "GET {} has another length than it tells", route.path);
        statuses.insert(route.path.clone(), by_head.0);
    }
    statuses
}

/// The headers without what is made up anew for each answer: of a cookie and of an address, the name counts.
fn comparable(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let names: BTreeSet<&str> = headers.keys().map(reqwest::header::HeaderName::as_str).collect();
    let names = names.into_iter().filter(|name| !OWN.contains(name));
    let values = |name: &str| {
        let values = headers.get_all(name).iter().map(|value| value.to_str().expect("text"));
        let values = values.map(|value| match name {
            // That of a sign-in under way ends in its state.
            "set-cookie" => {
                value.split('=').next().and_then(|name| name.split("_login_").next()).unwrap_or_default().to_owned()
            }
            "location" => value.split('?').next().unwrap_or_default().to_owned(),
            _ => value.to_owned(),
        });
        values.collect()
    };
    names.map(|name| (name.to_owned(), values(name))).collect()
}
