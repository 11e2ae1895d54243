//! What the page's own script is told, and the script itself, run by Node.

use std::process::Command;

use serde_json::json;

use crate::rig::Service;

#[actix_web::test]
async fn a_script_of_an_own_page_is_told_who_is_signed_in_and_gets_a_token_where_it_asks() {
    let service = Service::start().await;
    let guest = service.browser();
    assert_eq!(guest.open("/session").await.json(), json!({"signed_in": false}));
    let browser = service.signed_in().await;
    let told = browser.open("/session").await;
    assert_eq!(told.json()["user"]["name"], "Ada Lovelace");
    assert!(told.json().get("access_token").is_none(), "a token was given unasked");
    assert_eq!(told.headers["cache-control"], "no-store");
    let asked =
        browser.get("/session").header("X-Requested-With", "session.js").header("Sec-Fetch-Site", "same-origin");
    let answer = browser.send(asked).await.json();
    assert_eq!(answer["access_token"], browser.open("/mine").await.json()["token"]);
    assert!((290..=300).contains(&answer["expires_in"].as_u64().unwrap()), "{answer}");
}

#[actix_web::test]
async fn no_other_site_learns_who_is_signed_in() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "http://evil.test"),
        ("Origin", "null"),
    ] {
        let answer = browser.send(browser.get("/session").header(name, value).header("X-Requested-With", "x")).await;
        assert_eq!(answer.status, 403, "{name}: {value}");
        assert!(!answer.body.contains("Ada"), "{}", answer.body);
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    }
}

#[actix_web::test]
async fn a_script_that_signs_out_gets_the_address_where_it_goes_on() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.post(format!("{}/logout", service.base)).header("Accept", "application/json");
    let answer = browser.send(request.header("Origin", &service.base)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["location"].as_str().unwrap().starts_with("http://auth.test/end?id_token_hint="));
    assert!(browser.cookies.lock().is_empty());
}

#[actix_web::test]
async fn the_script_is_served_to_be_kept_for_a_while() {
    let service = Service::start().await;
    let browser = service.browser();
    let answer = browser.open("/assets/session.js").await;
    assert_eq!(
        (answer.status, answer.headers["content-type"].to_str().unwrap()),
        (200, "text/javascript; charset=utf-8")
    );
    assert!(answer.body.contains("export class Session"));
    let known = browser.get("/assets/session.js").header("If-None-Match", answer.headers["etag"].clone());
    assert_eq!(browser.send(known).await.status, 304);
}

#[test]
fn session_js_does_what_it_says() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relying_party/session.test.mjs");
    let Ok(output) = Command::new("node").args(["--test", "--test-reporter=tap", tests]).output() else {
        assert!(std::env::var_os("ROAM_REQUIRE_SERVERS").is_none(), "node is not installed, and is required");
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "left to `cargo xtask test`: session.js on Node");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let passed = text.lines().find_map(|line| line.strip_prefix("# pass ")).and_then(|count| count.parse::<u32>().ok());
    assert!(passed.is_some_and(|count| count >= 8), "{text}");
}
