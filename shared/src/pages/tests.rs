//! A small service with pages, as a browser and as others meet it.

use actix_web::dev::Service as _;
use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, init_service, read_body};
use actix_web::{App, HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::*;
use crate::problem::Problem;

pub(super) fn site(secure: bool) -> Site {
    let url = |text: &str| text.parse().expect("a URL");
    let scheme = if secure { "https" } else { "http" };
    Site {
        public_url: url(&format!("{scheme}://auth.shop.test")),
        account: url("http://localhost:8081"),
        shop: url("http://localhost:8082"),
        orders: url("http://localhost:8083"),
        secure,
        sign_in: "/sign-in",
        sign_out: "/sign-out",
    }
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"{% extends "layout.html" %}{% import "form.html" as form %}{% block title %}Wishes{% endblock %}
{% block main %}<form method="post">{% call form::token(page) %}{% endcall %}
{% call form::input("text", "wish", "Wish", wish, "off", "A short one", true, false) %}{% endcall %}</form>{% endblock %}"#
)]
struct WishPage<'a> {
    page: &'a Page,
    wish: Field,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WishForm {
    wish: String,
}

async fn show(page: Page) -> Result<HttpResponse, Problem> {
    let page = page.signed_in_as("<b>Ada</b>\u{202e}");
    page.show(&WishPage { page: &page, wish: Field::new("\"><svg onload=alert(1)>").error("{{7*7}}") })
}

async fn send(page: Page, HtmlForm(form): HtmlForm<WishForm>) -> Result<HttpResponse, Problem> {
    Ok(page.see_other(&format!("/wishes?made={}", form.wish.len())))
}

/// Who visits, by the request's own word.
fn greeter() -> Greeter {
    Greeter::new(|request| async move {
        match request.headers().get("visitor").map(|value| value.to_str().expect("text")) {
            None => Visit::Guest,
            Some("?") => Visit::Unknown,
            Some(name) => Visit::SignedIn(name.to_owned()),
        }
    })
}

async fn fail(kind: web::Path<String>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    if kind.as_str() == "recognised" {
        Visit::SignedIn("Ada".to_owned()).note(&request);
    }
    Err(match kind.as_str() {
        "throttled" => Problem::too_many_requests("too_many_attempts", "slow down", std::time::Duration::from_secs(90)),
        "unavailable" => Problem::unavailable("the database", "away"),
        "internal" => Problem::internal("a secret cause"),
        _ => Problem::not_found("wish"),
    })
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn token(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"csrf\" value=\"").expect("a form with a token");
        rest.split('"').next().expect("a value").to_owned()
    }

    fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
    }
}

async fn ask(request: TestRequest) -> Answer {
    ask_of(false, request).await
}

async fn ask_of(secure: bool, request: TestRequest) -> Answer {
    let app = App::new()
        .app_data(web::Data::new(site(secure)))
        .app_data(web::Data::new(greeter()))
        .service(web::resource("/wishes").get(show).post(send))
        .route("/fail/{kind}", web::get().to(fail))
        .configure(assets)
        .wrap_fn(|request, service| {
            let answer = service.call(request);
            async move { Ok(errors::as_page(answer.await?).await) }
        });
    let response = init_service(app).await.call(request.to_request()).await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = String::from_utf8(read_body(response).await.to_vec()).expect("text");
    Answer { status, headers, text }
}

fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(path).insert_header(("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"))
}

fn post(cookie: &str, body: &str) -> TestRequest {
    TestRequest::post()
        .uri("/wishes")
        .insert_header(("Host", "auth.shop.test"))
        .insert_header(("Origin", "http://auth.shop.test"))
        .insert_header(("Content-Type", "application/x-www-form-urlencoded"))
        .insert_header(("Cookie", cookie))
        .set_payload(body.to_owned())
}

#[actix_web::test]
async fn a_form_of_our_own_is_taken_and_answered_with_303() {
    let page = ask(get("/wishes")).await;
    let answer = ask(post(&page.cookie(), &format!("wish=a+pony&csrf={}", page.token()))).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/wishes?made=6"));
    assert_eq!(answer.header("set-cookie"), "", "the browser has its secret already: other tabs go on");
}

#[actix_web::test]
async fn a_form_that_is_not_our_own_is_refused() {
    let (page, other) = (ask(get("/wishes")).await, ask(get("/wishes")).await);
    let body = format!("wish=a&csrf={}", page.token());
    let cookie = page.cookie();
    for (forged, code) in [
        (post(&cookie, "wish=a"), "invalid_csrf_token"),
        (post(&cookie, "wish=a&csrf="), "invalid_csrf_token"),
        (post(&cookie, &format!("wish=a&csrf={}", other.token())), "invalid_csrf_token"),
        (post(&other.cookie(), &body), "invalid_csrf_token"),
        (post("", &body), "invalid_csrf_token"),
        (post(&format!("{cookie}; {}", other.cookie()), &body), "invalid_csrf_token"),
        (post(&cookie, &body).insert_header(("Origin", "http://evil.test")), "cross_origin_request"),
        (post(&cookie, &body).insert_header(("Origin", "null")), "cross_origin_request"),
        (post(&cookie, &body).insert_header(("Sec-Fetch-Site", "cross-site")), "cross_origin_request"),
        (post(&cookie, &body).insert_header(("Content-Type", "text/plain")), "invalid_csrf_token"),
        (post(&cookie, &body).insert_header(("Content-Type", "application/json")), "invalid_csrf_token"),
        (post(&cookie, &body).insert_header(("Content-Type", "multipart/form-data")), "invalid_csrf_token"),
    ] {
        let answer = ask(forged).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text);
        assert!(answer.text.contains(code), "{code}: {}", answer.text);
    }
    let page = ask(post(&cookie, "wish=a").insert_header(("Accept", "text/html"))).await;
    assert!(page.text.contains("This form cannot be sent any more"), "{}", page.text);
}

#[actix_web::test]
async fn a_form_is_read_strictly_and_within_bounds() {
    let page = ask(get("/wishes")).await;
    let token = page.token();
    let long = "x".repeat(70_000);
    for (fields, status) in [
        ("wish=a&wish=b", 400),
        ("wish=a&other=b", 400),
        ("", 400),
        ("wish=%FF%FE", 400),
        ("wish=a&csrf=again", 400),
        (&*format!("wish={long}"), 413),
    ] {
        let answer = ask(post(&page.cookie(), &format!("csrf={token}&{fields}"))).await;
        assert_eq!(answer.status.as_u16(), status, "{}", &fields[..fields.len().min(40)]);
        assert!(!answer.text.contains("FF"), "nothing of a form is quoted");
    }
}

#[actix_web::test]
async fn every_page_has_the_headers_that_protect_it() {
    for (path, status) in [
        ("/wishes", 200),
        ("/fail/x", 404),
        ("/fail/throttled", 429),
        ("/fail/unavailable", 503),
        ("/fail/internal", 500),
    ] {
        let answer = ask(get(path)).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("referrer-policy"), "same-origin");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
        let policy = answer.header("content-security-policy");
        for word in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self';"] {
            assert!(policy.contains(word), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("strict-transport-security"), "", "by http it would lock people out");
        let by_https = ask_of(true, get(path)).await;
        assert_eq!(by_https.header("strict-transport-security"), "max-age=31536000");
        assert!(by_https.header("set-cookie").starts_with("__Host-roam_csrf="));
    }
}

#[actix_web::test]
async fn a_refusal_is_a_page_for_a_browser_and_a_problem_for_a_program() {
    let page = ask(get("/fail/throttled")).await;
    assert!(page.text.contains("Try again in 2 minutes"), "{}", page.text);
    assert_eq!(page.header("retry-after"), "90");
    let page = ask(get("/fail/throttled").insert_header(("Accept-Language", "zh-CN"))).await;
    assert!(page.text.contains("请在2分钟后重试") && page.text.contains("lang=\"zh-Hans\""), "{}", page.text);
    let page = ask(get("/fail/internal")).await;
    assert!(!page.text.contains("a secret cause"), "{}", page.text);
    for accept in ["*/*", "application/json", "application/problem+json, text/html;q=0.5", ""] {
        let answer = ask(get("/fail/throttled").insert_header(("Accept", accept))).await;
        assert_eq!(answer.header("content-type"), "application/problem+json", "{accept}");
    }
}

#[actix_web::test]
async fn a_refusal_greets_whoever_is_signed_in_and_offers_a_sign_in_to_guests_alone() {
    let shown = async |visitor: Option<&str>, path: &str| {
        let request = visitor.into_iter().fold(get(path), |request, name| request.insert_header(("Visitor", name)));
        let text = ask(request).await.text;
        (text.contains("<bdi>Ada</bdi>"), text.contains("href=\"/sign-in\""))
    };
    assert_eq!(shown(None, "/fail/x").await, (false, true));
    assert_eq!(shown(Some("Ada"), "/fail/x").await, (true, false));
    assert_eq!(shown(Some("?"), "/fail/x").await, (false, false), "nobody knows");
    assert_eq!(shown(None, "/fail/recognised").await, (true, false), "a handler knew");
    assert_eq!(shown(Some("Ada"), "/fail/internal").await, (false, false), "what has failed is not asked again");
}

#[actix_web::test]
async fn what_others_wrote_is_shown_as_text() {
    let page = ask(get("/wishes?a=%22%3E%3Cscript%3E&b=%7B%7B7*7%7D%7D")).await;
    for raw in ["<b>Ada", "<svg onload", "<script>", ">49<", "\"49\""] {
        assert!(!page.text.contains(raw), "{raw} is in {}", page.text);
    }
    assert!(page.text.contains("&#60;b&#62;Ada") && page.text.contains("<bdi>"), "{}", page.text);
    assert!(page.text.contains("{{7*7}}"), "an error is no template");
}

#[actix_web::test]
async fn a_field_is_bound_to_its_label_its_hint_and_its_error() {
    let page = ask(get("/wishes")).await;
    for part in [
        "<label for=\"wish\">Wish</label>",
        "<p class=\"hint\" id=\"wish-hint\">A short one</p>",
        "<p class=\"error\" id=\"wish-error\">",
        "aria-invalid=\"true\"",
        "aria-describedby=\"wish-error wish-hint\"",
    ] {
        assert!(page.text.contains(part), "{part} is missing in {}", page.text);
    }
}

#[actix_web::test]
async fn the_language_is_the_chosen_one_then_the_remembered_then_the_browsers() {
    let language = |answer: &Answer| answer.header("content-language").to_owned();
    let plain = ask(get("/wishes")).await;
    assert_eq!(language(&plain), "en");
    let accepted = ask(get("/wishes").insert_header(("Accept-Language", "zh"))).await;
    assert_eq!(language(&accepted), "zh-Hans");
    let remembered =
        get("/wishes").insert_header(("Accept-Language", "zh")).insert_header(("Cookie", "roam_language=en"));
    assert_eq!(language(&ask(remembered).await), "en");
    let chosen = ask(get("/wishes?flow=7&ui_locales=zh").insert_header(("Cookie", "roam_language=en"))).await;
    assert_eq!(language(&chosen), "zh-Hans");
    let cookies: Vec<_> = chosen.headers.get_all("set-cookie").map(|cookie| cookie.to_str().expect("text")).collect();
    assert!(cookies.iter().any(|cookie| cookie.starts_with("roam_language=zh;")), "{cookies:?}");
    assert!(chosen.text.contains("name=\"flow\" value=\"7\""), "the switch keeps the rest of the address");
    assert!(!chosen.text.contains("type=\"hidden\" name=\"ui_locales\""));
}

#[actix_web::test]
async fn an_asset_is_kept_for_ever_under_the_address_of_its_content() {
    let page = ask(get("/wishes")).await;
    let (_, rest) = page.text.split_once("href=\"/assets/style.css").expect("the style");
    let address = format!("/assets/style.css{}", rest.split('"').next().expect("an address"));
    let style = ask(get(&address)).await;
    assert_eq!((style.status, style.header("content-type")), (StatusCode::OK, "text/css; charset=utf-8"));
    assert_eq!(style.header("cache-control"), "public, max-age=31536000, immutable");
    let again = ask(get(&address).insert_header(("If-None-Match", style.header("etag")))).await;
    assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    let other = ask(get("/assets/style.css?v=0")).await;
    assert_eq!((other.status, other.header("cache-control")), (StatusCode::OK, "no-cache"));
    assert_eq!(ask(get("/assets/..%2fCargo.toml")).await.status, StatusCode::NOT_FOUND);
    let method = ask(TestRequest::default().method(Method::PUT).uri("/assets/style.css")).await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn what_a_page_loads_is_its_own() {
    for (name, text) in [
        ("style.css", include_str!("../../assets/style.css")),
        ("layout.html", include_str!("../../templates/layout.html")),
    ] {
        for word in ["url(", "@import", "src=\"http", "href=\"http", "style=\"", "<script>"] {
            assert!(!text.contains(word), "{word} in {name}");
        }
    }
}

#[test]
fn a_text_says_how_long_to_wait() {
    let (en, zh) = (LayoutTexts(Language::En), LayoutTexts(Language::Zh));
    for (seconds, text) in
        [(1, "a moment"), (30, "a minute"), (61, "2 minutes"), (3_600, "an hour"), (3_601, "2 hours")]
    {
        assert_eq!(en.duration(seconds), text);
    }
    assert_eq!(zh.duration(900), "15分钟");
}
