//! The shop's pages, as a browser of a guest sees them. Whoever signs in is met in the platform's own tests: it takes a
//! provider.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;

use crate::harness::Shop;

/// A browser with its cookies. It follows no redirect by itself.
struct Browser {
    client: reqwest::Client,
    base: String,
    language: &'static str,
    cookies: Mutex<BTreeMap<String, String>>,
}

struct Shown {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Shown {
    fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }

    /// The value of the first hidden field of this name.
    fn hidden(&self, name: &str) -> String {
        let field = self.text.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap_or_else(|| panic!("no {name}"));
        field.split('"').next().unwrap().to_owned()
    }
}

impl Browser {
    fn new(shop: &Shop, language: &'static str) -> Self {
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Self { client, base: shop.base().to_owned(), language, cookies: Mutex::default() }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Shown {
        let cookies = self.cookies.lock().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let request = request.header("Accept", "text/html,*/*;q=0.8").header("Accept-Language", self.language);
        let response = request.header("Cookie", e2e::among_others(&cookies.join("; "))).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            self.cookies.lock().insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
        }
        Shown { status, headers, text: response.text().await.unwrap() }
    }

    async fn open(&self, path: &str) -> Shown {
        self.send(self.client.get(format!("{}{path}", self.base))).await
    }

    /// Sends a form of `page`, with its token.
    async fn submit(&self, page: &Shown, path: &str, fields: &[(&str, &str)]) -> Shown {
        let token = page.hidden("csrf");
        let fields = [fields, &[("csrf", token.as_str())]].concat();
        self.send(self.client.post(format!("{}{path}", self.base)).header("Origin", &self.base).form(&fields)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_looks_around_and_fills_a_basket_without_a_script() {
    let shop = Shop::on_sqlite().await;
    let browser = Browser::new(&shop, "en");
    let catalogue = browser.open("/?q=coffee&category=coffee").await;
    assert_eq!(catalogue.status, 200);
    assert!(
        catalogue.text.contains("House Espresso Coffee") && !catalogue.text.contains("Sencha"),
        "{}",
        catalogue.text
    );
    let link = catalogue.text.split("href=\"/p/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let product = browser.open(&format!("/p/{link}")).await;
    assert!(product.status == 200 && product.text.contains("Add to basket"), "{}", product.text);
    let added = browser.submit(&product, "/basket/items", &[("product_id", &link), ("quantity", "2")]).await;
    assert_eq!((added.status, added.location()), (303, "/basket"));
    let basket = browser.open("/basket").await;
    assert!(basket.text.contains("value=\"2\"") && basket.text.contains("Sign in and check out"), "{}", basket.text);
    let line = format!("/basket/items/{link}");
    let changed = browser.submit(&basket, &line, &[("quantity", "3"), ("action", "update")]).await;
    assert_eq!((changed.status, changed.location()), (303, "/basket"));
    assert!(browser.open("/basket").await.text.contains("value=\"3\""));
    let removed = browser.submit(&basket, &line, &[("quantity", ""), ("action", "remove")]).await;
    assert_eq!(removed.status, 303);
    assert!(browser.open("/basket").await.text.contains("Your basket is empty"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_said_beside_the_basket_as_it_is() {
    let shop = Shop::on_sqlite().await;
    let rare = shop.product(500, 2).await.to_string();
    let browser = Browser::new(&shop, "en");
    let page = browser.open(&format!("/p/{rare}")).await;
    assert!(page.text.contains("Only 2 left"), "{}", page.text);
    for (quantity, status, alert) in [
        ("3", 409, "There are not that many left"),
        ("0", 422, "Choose a quantity from 1 to 99"),
        ("-1", 422, "Choose a quantity from 1 to 99"),
        ("1.5", 422, "Choose a quantity from 1 to 99"),
        ("9999999999999999999", 422, "Choose a quantity from 1 to 99"),
        ("", 422, "Choose a quantity from 1 to 99"),
    ] {
        let fields = [("product_id", rare.as_str()), ("quantity", quantity)];
        let shown = browser.submit(&page, "/basket/items", &fields).await;
        assert_eq!(shown.status, status, "{quantity}: {}", shown.text);
        assert!(shown.text.contains(alert) && shown.text.contains("role=\"alert\""), "{quantity}: {}", shown.text);
    }
    for (path, fields, status) in [
        ("/basket/items", vec![("product_id", "nonsense"), ("quantity", "1")], 404),
        ("/basket/items", vec![("product_id", "00000000-0000-0000-0000-000000000000"), ("quantity", "1")], 404),
        ("/basket/items", vec![("quantity", "1")], 400),
        ("/basket/items/nonsense", vec![("quantity", "1")], 404),
    ] {
        let shown = browser.submit(&page, path, &fields).await;
        assert_eq!(shown.status, status, "{fields:?}");
        assert!(shown.text.starts_with("<!doctype html>"), "{}", shown.text);
    }
    assert!(browser.open("/basket").await.text.contains("Your basket is empty"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_not_of_this_browser_changes_nothing() {
    let shop = Shop::on_sqlite().await;
    let product = shop.product(500, 9).await.to_string();
    let (browser, other) = (Browser::new(&shop, "en"), Browser::new(&shop, "en"));
    let own = browser.open(&format!("/p/{product}")).await;
    let foreign = other.open(&format!("/p/{product}")).await;
    let fields = [("product_id", product.as_str()), ("quantity", "1")];
    let token = foreign.hidden("csrf");
    assert_eq!(browser.submit(&foreign, "/basket/items", &fields).await.status, 403);
    let url = format!("{}/basket/items", shop.base());
    let cross = browser.client.post(&url).header("Origin", "http://evil.test").form(&[("csrf", own.hidden("csrf"))]);
    assert_eq!(browser.send(cross).await.status, 403);
    let without = browser.client.post(&url).header("Origin", shop.base()).form(&fields);
    assert_eq!(browser.send(without).await.status, 403);
    let json = browser.client.post(&url).json(&serde_json::json!({"csrf": token, "product_id": product}));
    assert_eq!(browser.send(json).await.status, 403);
    assert!(browser.open("/basket").await.text.contains("Your basket is empty"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_speaks_the_visitors_language_and_says_how_to_change_it() {
    let shop = Shop::on_sqlite().await;
    let browser = Browser::new(&shop, "zh-CN,zh;q=0.9,en;q=0.5");
    let catalogue = browser.open("/").await;
    assert!(
        catalogue.text.contains("<html lang=\"zh-Hans\">") && catalogue.text.contains("购物车"),
        "{}",
        catalogue.text
    );
    assert!(catalogue.text.contains("English"), "{}", catalogue.text);
    assert!(browser.open("/?ui_locales=en").await.text.contains("<html lang=\"en\">"));
    assert!(browser.open("/basket").await.text.contains("Your basket is empty"), "the choice is forgotten");
    let lost = Browser::new(&shop, "zh").open("/p/nothing").await;
    assert!(lost.status == 404 && lost.text.contains("<html lang=\"zh-Hans\">"), "{}", lost.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_has_pages_and_an_odd_query_is_a_page_that_says_so() {
    let shop = Shop::on_sqlite().await;
    let browser = Browser::new(&shop, "en");
    let mut seen = Vec::new();
    let mut next = Some("/".to_owned());
    while let Some(path) = next.take() {
        let page = browser.open(&path).await;
        assert_eq!(page.status, 200);
        seen.extend(page.text.split("href=\"/p/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        next = page.text.split("rel=\"next\" href=\"").nth(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    }
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((all, seen.len()), (67, 67));
    let nothing = browser.open("/?q=%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(nothing.text.contains("Nothing fits") && !nothing.text.contains("<script>alert"), "{}", nothing.text);
    let long = format!("/?q={}", "a".repeat(200));
    for odd in ["/?cursor=nonsense", "/?category=No%20Such!", "/?q=%00%ff", &long, "/?q=a&utm_source=elsewhere"] {
        let page = browser.open(odd).await;
        assert!(matches!(page.status, 200 | 400), "{odd}: {}", page.status);
        assert!(page.text.starts_with("<!doctype html>"), "{odd}: {}", page.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_can_say_who_visits_the_catalogue_is_open_and_a_sign_in_is_put_off() {
    // The issuer of these tests is no provider.
    let shop = Shop::on_sqlite().await;
    let browser = Browser::new(&shop, "en");
    let login = browser.open("/login").await;
    assert_eq!(login.status, 503);
    assert!(login.text.starts_with("<!doctype html>") && login.text.contains("does not work at the moment"));
    assert_eq!(browser.open("/").await.status, 200);
    let sent = browser.open("/basket/checkout").await;
    assert_eq!((sent.status, sent.location()), (303, "/login?return_to=%2Fbasket%2Fcheckout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_protected_and_brings_its_own_files() {
    let shop = Shop::on_sqlite().await;
    let browser = Browser::new(&shop, "en");
    for path in ["/", "/basket", "/p/nothing"] {
        let page = browser.open(path).await;
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(page.headers["cache-control"], "no-store", "{path}");
        assert!(!page.text.contains("style=\"") && !page.text.contains("onclick"), "{path}");
        for address in page.text.split("src=\"").chain(page.text.split("rel=\"stylesheet\" href=\"")).skip(1) {
            let address = address.split('"').next().unwrap();
            assert!(address.starts_with('/') || !address.contains("//"), "{path} brings {address}");
        }
    }
    assert_eq!(browser.open("/assets/session.js").await.status, 200);
    assert_eq!(browser.open("/assets/style.css").await.status, 200);
}
