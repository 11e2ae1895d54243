//! What a script of another origin may read, as a browser asks for it (CORS).

use reqwest::Method;
use reqwest::header::HeaderMap;

use super::{FORM, Route};

const ELSEWHERE: &str = "https://spa.example";

/// Asks each route as a browser does for a script of another origin: a preflight, then the request itself. Those of `open` are
/// open to every origin and never with credentials, refusals too; no other answer has a header of CORS.
///
/// # Panics
/// A route is open that should be closed, or closed that should be open.
pub async fn assert_open_to_other_origins(base: &str, routes: &[Route], open: &[&str]) {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let client = client.expect("a client");
    for path in open {
        assert!(routes.iter().any(|route| route.path == *path), "{path} is no route");
    }
    for route in routes {
        let url = format!("{base}{}", route.path);
        let preflight = client
            .request(Method::OPTIONS, &url)
            .header("origin", ELSEWHERE)
            .header("access-control-request-method", &route.method)
            .header("access-control-request-headers", "authorization,content-type,dpop");
        let preflight = preflight.send().await.expect("an answer");
        let request = client
            .request(route.method.parse().expect("a method"), &url)
            .header("origin", ELSEWHERE)
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", "cors")
            .header("content-type", FORM)
            .body("a=b");
        let answer = request.send().await.expect("an answer");
        if open.contains(&route.path.as_str()) {
            assert_eq!(preflight.status(), 204, "{route:?}");
            assert_eq!(
                list(preflight.headers(), "access-control-allow-headers"),
                ["authorization", "content-type", "dpop"]
            );
            assert!(list(preflight.headers(), "access-control-allow-methods").contains(&route.method.to_lowercase()));
            for headers in [preflight.headers(), answer.headers()] {
                assert_open(headers, &format!("{route:?}"));
            }
        } else {
            for headers in [preflight.headers(), answer.headers()] {
                let said: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("access-control-")).collect();
                assert!(said.is_empty(), "{route:?} says {said:?}");
            }
        }
    }
}

/// Asserts that a script of any origin may read an answer, its headers too.
///
/// # Panics
/// It may not.
pub fn assert_open(headers: &HeaderMap, whose: &str) {
    assert_eq!(list(headers, "access-control-allow-origin"), ["*"], "{whose}");
    assert!(!headers.contains_key("access-control-allow-credentials"), "{whose}");
    let exposed = list(headers, "access-control-expose-headers");
    for name in ["dpop-nonce", "www-authenticate", "retry-after"] {
        assert!(exposed.iter().any(|exposed| exposed == name), "{whose} keeps {name} from scripts: {exposed:?}");
    }
}

fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|item| item.trim().to_lowercase()).collect()
}
