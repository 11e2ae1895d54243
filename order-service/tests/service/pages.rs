//! The pages of orders, as the browser of somebody who signs in sees them: from the basket to the payment, and what nobody
//! else may do with them.

use std::time::Duration;

use order_service::rules::order_status::OrderStatus;
use shared::session::{EndReason, SessionStore as _};
use uuid::Uuid;

use crate::browser::{Browser, Shown};
use crate::faults::{Call, Fault, When};
use crate::harness::{Person, World, eventually};
use crate::provider::Provider;

/// An order service whose people sign in at this provider.
async fn start() -> (World, Provider) {
    let provider = Provider::start();
    let world = World::with(&[("ISSUER", &provider.url), ("ORDER_RECOVERY_INTERVAL", "1d")]).await;
    provider.keep_time_by(&world.clock);
    (world, provider)
}

/// Places what is in the person's basket. Answers the order's path.
async fn place(browser: &Browser) -> String {
    let checkout = browser.open("/checkout").await;
    submit_checkout(browser, &checkout, "").await.location().to_owned()
}

async fn submit_checkout(browser: &Browser, checkout: &Shown, note: &str) -> Shown {
    let fields = [("key", checkout.hidden("key")), ("seen", checkout.hidden("seen")), ("note", note)];
    browser.submit(checkout, "/checkout", &fields).await
}

async fn statuses(person: &Person<'_>) -> Vec<OrderStatus> {
    person.orders().await.iter().map(|order| order.status).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_signed_in_signs_in_and_comes_back_to_the_same_page() {
    let (world, provider) = start().await;
    let ada = world.person().await;
    let pay = format!("/o/{}/pay", Uuid::new_v4());
    for path in ["/", "/checkout", "/?cursor=x", &pay] {
        let browser = Browser::new(&world, "en");
        let sent = browser.open(path).await;
        let login = sent.location();
        assert!(login.starts_with("/login?return_to="), "{path}: {login}");
        assert_eq!(browser.sign_in(&provider, &ada, login).await, path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_fails_says_why_and_leads_to_another_one_for_the_same_page() {
    let (world, provider) = start().await;
    for (language, again, shop, cancelled, failed) in [
        ("en", "Sign in again", "To the shop", "The sign-in was cancelled", "The sign-in did not come to its end"),
        ("zh", "重新登录", "前往商店", "登录已取消", "登录未能完成"),
    ] {
        for (error, status, title) in [
            ("access_denied", 400, cancelled),
            ("login_required", 400, failed),
            ("consent_required", 400, failed),
            ("temporarily_unavailable", 503, again),
        ] {
            let browser = Browser::new(&world, language);
            let begun = browser.open("/login?return_to=/checkout?x=1").await;
            let asked: url::Url = begun.location().parse().unwrap();
            let state = asked.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs([("error", error), ("state", &state), ("iss", &provider.url)])
                .finish();
            let page = browser.open(&format!("/callback?{query}")).await;
            // The second time, its cookie is gone.
            let repeated = browser.open(&format!("/callback?{query}")).await;
            for (page, status, title) in [(&page, status, title), (&repeated, 400, failed)] {
                let text = page.expect(status);
                for part in [title, again, shop, "href=\"/login?return_to=%2Fcheckout%3Fx%3D1\""] {
                    assert!(text.contains(part), "{error} {part}: {text}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_basket_becomes_one_order_without_a_script() {
    let (world, provider) = start().await;
    let (ada, lamp) = world.shopper(2, 10).await;
    let browser = Browser::of(&provider, &ada, "en").await;
    assert!(browser.open("/").await.expect(200).contains("No orders yet"));
    let checkout = browser.open("/checkout").await;
    for part in ["Lamp", "2 × €12.50", "€25.00", "<bdi>Ada Lovelace</bdi>"] {
        assert!(checkout.expect(200).contains(part), "{part}: {}", checkout.text);
    }
    let placed = submit_checkout(&browser, &checkout, "<b>ring</b>\r\ntwice").await;
    let order = placed.location().to_owned();
    let again = submit_checkout(&browser, &checkout, "<b>ring</b>\r\ntwice").await;
    assert_eq!(again.location(), order, "the form that is sent twice is one order");
    assert_eq!((statuses(&ada).await, world.cart.stock(lamp)), (vec![OrderStatus::Placed], 8));
    let shown = browser.open(&order).await;
    for part in ["Placed, to be paid", "€25.00", "&#60;b&#62;ring&#60;/b&#62;\ntwice"] {
        assert!(shown.expect(200).contains(part), "{part}: {}", shown.text);
    }
    let list = browser.open("/").await;
    assert!(list.expect(200).contains(&format!("href=\"{order}\"")), "{}", list.text);
    assert!(browser.open("/checkout").await.expect(200).contains("There is nothing to order"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_seen_is_not_ordered() {
    let (world, provider) = start().await;
    let (ada, lamp) = world.shopper(1, 1).await;
    let browser = Browser::of(&provider, &ada, "en").await;
    let seen = browser.open("/checkout").await;
    let long = submit_checkout(&browser, &seen, &"x".repeat(501)).await;
    assert!(long.expect(422).contains("id=\"note-error\"") && long.text.contains("xxx"), "{}", long.text);
    world.cart.fill(ada.user, lamp, 2);
    let changed = submit_checkout(&browser, &seen, "").await;
    assert!(changed.expect(409).contains("Your basket has changed since"), "{}", changed.text);
    let short = submit_checkout(&browser, &changed, "").await;
    assert!(short.expect(409).contains("not there in that number any more"), "{}", short.text);
    assert!(!statuses(&ada).await.contains(&OrderStatus::Placed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_sent_again_after_a_failure_orders_no_more_than_was_seen() {
    let (world, provider) = start().await;
    let (ada, lamp) = world.shopper(1, 10).await;
    let browser = Browser::of(&provider, &ada, "en").await;
    let seen = browser.open("/checkout").await;
    world.faults.switch_on(Call::CheckOut, When::BeforeWork, Fault::Breaks);
    submit_checkout(&browser, &seen, "").await.expect(503);
    world.faults.switch_off();
    world.cart.fill(ada.user, lamp, 2);
    let changed = submit_checkout(&browser, &seen, "").await;
    assert!(changed.expect(409).contains("Your basket has changed since"), "{}", changed.text);
    assert!(changed.text.contains("€37.50"), "{}", changed.text);
    assert_eq!((world.cart.stock(lamp), statuses(&ada).await), (10, vec![]), "it holds no stock");
    let placed = submit_checkout(&browser, &changed, "").await;
    assert!(placed.location().starts_with("/o/"), "{}", placed.location());
    assert_eq!((world.cart.stock(lamp), statuses(&ada).await), (7, vec![OrderStatus::Placed]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_whose_stock_was_held_before_the_failure_is_that_order_whatever_came_later() {
    let (world, provider) = start().await;
    let (ada, lamp) = world.shopper(1, 10).await;
    let browser = Browser::of(&provider, &ada, "en").await;
    let seen = browser.open("/checkout").await;
    world.faults.switch_on(Call::CheckOut, When::AfterWork, Fault::Breaks);
    submit_checkout(&browser, &seen, "").await.expect(503);
    world.faults.switch_off();
    world.cart.fill(ada.user, lamp, 2);
    let placed = submit_checkout(&browser, &seen, "").await;
    assert!(browser.open(placed.location()).await.expect(200).contains("€12.50"));
    assert_eq!(world.cart.stock(lamp), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_asks_for_a_recent_sign_in_and_comes_straight_back() {
    let (world, provider) = start().await;
    let (ada, _) = world.shopper(1, 10).await;
    let browser = Browser::of(&provider, &ada, "en").await;
    let order = place(&browser).await;
    let pay = format!("{order}/pay");
    let page = browser.open(&pay).await;
    assert!(page.expect(200).contains("Pay €12.50"), "{}", page.text);
    world.clock.advance(Duration::from_secs(15 * 60 + 2));
    let too_late = browser.submit(&page, &pay, &[("method", "test_card")]).await;
    assert!(too_late.location().starts_with("/login?"), "{}", too_late.location());
    assert_eq!(statuses(&ada).await, [OrderStatus::Placed]);
    assert_eq!(browser.open(&order).await.status, 200, "all else goes on");
    let sent = browser.open(&pay).await;
    assert!(sent.location().ends_with("&max_age=870"), "{}", sent.location());
    assert_eq!(browser.sign_in(&provider, &ada, sent.location()).await, pay);

    let page = browser.open(&pay).await;
    for (method, status, alert) in [
        (&[("method", "test_card_declined")][..], 402, "The payment was declined"),
        (&[("method", "gold")], 422, "Choose how to pay"),
        (&[], 422, "Choose how to pay"),
    ] {
        let refused = browser.submit(&page, &pay, method).await;
        assert!(refused.expect(status).contains(alert) && refused.text.contains("role=\"alert\""), "{}", refused.text);
    }
    assert_eq!(browser.submit(&page, &pay, &[("method", "test_card")]).await.location(), order);
    assert_eq!(statuses(&ada).await, [OrderStatus::Paid]);
    assert_eq!(browser.open(&pay).await.location(), order, "there is nothing to pay any more");
    let shown = browser.open(&order).await;
    assert!(shown.expect(200).contains("The money is given back"), "{}", shown.text);
    assert_eq!(browser.submit(&shown, &format!("{order}/cancel"), &[]).await.location(), order);
    assert_eq!(statuses(&ada).await, [OrderStatus::Cancelled]);
    let late = browser.submit(&shown, &format!("{order}/cancel"), &[]).await;
    assert!(matches!(late.status, 303 | 409), "{}", late.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_pays_in_a_session_that_has_ended() {
    let (world, provider) = start().await;
    let (ada, _) = world.shopper(1, 10).await;
    let browser = Browser::of(&provider, &ada, "en").await;
    let order = place(&browser).await;
    let page = browser.open(&format!("{order}/pay")).await;
    world.sessions.end(ada.session, EndReason::Logout).await.unwrap();
    let sent = browser.submit(&page, &format!("{order}/pay"), &[("method", "test_card")]).await;
    assert!(sent.location().starts_with("/login?"), "{}", sent.location());
    assert_eq!(statuses(&ada).await, [OrderStatus::Placed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_persons_order_is_as_one_that_never_was() {
    let (world, provider) = start().await;
    let (ada, _) = world.shopper(1, 10).await;
    let (mallory, _) = world.shopper(1, 10).await;
    let (hers, his) = (Browser::of(&provider, &ada, "en").await, Browser::of(&provider, &mallory, "en").await);
    let order = place(&hers).await;
    let form = his.open("/checkout").await;
    let never = format!("/o/{}", Uuid::new_v4());
    // The request's own number aside.
    let told = |shown: &Shown| {
        let (_, main) = shown.expect(404).split_once("<main").unwrap();
        main.split("<dl").next().unwrap().to_owned()
    };
    for path in ["", "/pay"] {
        let [foreign, unknown] = [his.open(&format!("{order}{path}")).await, his.open(&format!("{never}{path}")).await];
        assert_eq!(told(&foreign), told(&unknown));
        assert!(foreign.text.contains("<bdi>Ada Lovelace</bdi>") && !foreign.text.contains("href=\"/login\""));
    }
    for (path, fields) in [("/pay", &[("method", "test_card")][..]), ("/cancel", &[])] {
        his.submit(&form, &format!("{order}{path}"), fields).await.expect(404);
    }
    assert_eq!(statuses(&ada).await, [OrderStatus::Placed]);
    assert!(!his.open("/").await.expect(200).contains(&order));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_not_of_this_browser_changes_nothing() {
    let (world, provider) = start().await;
    let (ada, lamp) = world.shopper(1, 10).await;
    let (browser, other) = (Browser::of(&provider, &ada, "en").await, Browser::of(&provider, &ada, "en").await);
    let order = place(&browser).await;
    world.cart.fill(ada.user, lamp, 1);
    let (own, foreign) = (browser.open("/checkout").await, other.open("/checkout").await);
    let checkout = [("key", own.hidden("key")), ("seen", own.hidden("seen"))];
    let (pay, cancel) = (format!("{order}/pay"), format!("{order}/cancel"));
    for (path, fields) in
        [("/checkout", &checkout[..]), (&pay, &[("method", "test_card")]), (&cancel, &[]), ("/logout", &[])]
    {
        let with = |token| [fields, &[("csrf", token)]].concat();
        browser.submit(&foreign, path, fields).await.expect(403);
        browser.send(browser.form(path, fields)).await.expect(403);
        for origin in ["http://evil.test", "null"] {
            let forged = browser.form(path, &with(own.hidden("csrf"))).header("Sec-Fetch-Site", "cross-site");
            browser.send(forged.header("Origin", origin)).await.expect(403);
        }
    }
    assert_eq!((statuses(&ada).await, world.cart.stock(lamp)), (vec![OrderStatus::Placed], 9));
    assert_eq!(browser.open("/").await.status, 200, "and nobody was signed out");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_speak_the_visitors_language_and_protect_themselves() {
    let (world, provider) = start().await;
    let (ada, _) = world.shopper(1, 10).await;
    let browser = Browser::of(&provider, &ada, "zh-CN,zh;q=0.9").await;
    let checkout = browser.open("/checkout").await;
    let order = submit_checkout(&browser, &checkout, "").await.location().to_owned();
    let pay = format!("{order}/pay");
    for (path, status, word) in [
        ("/", 200, "我的订单"),
        (&order, 200, "待付款"),
        (&pay, 200, "支付订单"),
        ("/checkout", 200, "没有可结算的商品"),
        ("/o/x", 404, "页面不存在"),
    ] {
        let page = browser.open(path).await;
        assert!(page.expect(status).contains(word) && page.text.contains("<html lang=\"zh-Hans\">"), "{}", page.text);
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(page.headers["cache-control"], "no-store", "{path}");
        assert!(!page.text.contains("style=\"") && !page.text.contains("<script>"), "{path}");
    }
    assert!(browser.open("/?ui_locales=en").await.expect(200).contains("Your orders"));
    assert!(browser.open(&order).await.expect(200).contains("Placed, to be paid"), "the choice is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_greets_whoever_is_known_and_renews_nothing() {
    let (world, provider) = start().await;
    let ada = world.person().await;
    let browser = Browser::of(&provider, &ada, "en").await;
    let told = async |browser: &Browser| {
        let page = browser.open("/nowhere").await;
        let text = page.expect(404);
        assert!(!page.headers.contains_key("set-cookie"), "{:?}", page.headers);
        (text.contains("<bdi>Ada Lovelace</bdi>"), text.contains("href=\"/login\""))
    };
    let guest = Browser::new(&world, "en");
    for browser in [&browser, &guest] {
        browser.open("/nowhere").await;
    }
    assert_eq!((told(&browser).await, told(&guest).await), ((true, false), (false, true)));
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(told(&browser).await, (false, false), "the next page will know");
    assert_eq!(browser.open("/").await.status, 200);
    assert_eq!(told(&browser).await, (true, false));
    world.sessions.end(ada.session, EndReason::Logout).await.unwrap();
    eventually("the end is seen", || async { told(&browser).await == (false, true) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_to_pay_is_shown_in_both_languages_and_so_is_its_end() {
    let (world, provider) = start().await;
    for (language, due, pay_by, over, too_late) in [
        ("en", "To be paid by", "Pay by ", "was not paid in time", "The time to pay this order is over"),
        ("zh", "付款截止时间", "请在", "未在规定时间内付款", "已超过付款期限"),
    ] {
        let (ada, _) = world.shopper(1, 10).await;
        let browser = Browser::of(&provider, &ada, language).await;
        let order = place(&browser).await;
        let due_at = ada.orders().await[0].payment_due_at.unwrap();
        let (hours, minutes) = (due_at.seconds() / 3600 % 24, due_at.seconds() / 60 % 60);
        let time = format!("{hours:02}:{minutes:02} UTC");
        let shown = browser.open(&order).await;
        for part in [due, pay_by, &time] {
            assert!(shown.expect(200).contains(part), "{part}: {}", shown.text);
        }
        let pay = format!("{order}/pay");
        let form = browser.open(&pay).await;
        for part in [pay_by, &time] {
            assert!(form.expect(200).contains(part), "{part}: {}", form.text);
        }

        world.clock.advance(Duration::from_secs(30 * 60));
        let shown = browser.open(&order).await;
        assert!(shown.expect(200).contains(over) && !shown.text.contains(&pay), "{}", shown.text);
        let sent = browser.open(&pay).await;
        assert_eq!(browser.sign_in(&provider, &ada, sent.location()).await, pay);
        assert_eq!(browser.open(&pay).await.location(), order, "there is nothing to pay any more");
        let refused = browser.submit(&form, &pay, &[("method", "test_card")]).await;
        assert!(refused.expect(409).contains(too_late), "{}", refused.text);
        world.restarted().await.recover().await.unwrap();
        let shown = browser.open(&order).await;
        assert!(shown.expect(200).contains(over) && shown.text.contains("status-cancelled"), "{}", shown.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_too_many_unpaid_orders_is_told_and_the_basket_stays() {
    let provider = Provider::start();
    let settings = [("ISSUER", provider.url.as_str()), ("ORDER_RECOVERY_INTERVAL", "1d"), ("MAX_UNPAID_ORDERS", "1")];
    let world = World::with(&settings).await;
    provider.keep_time_by(&world.clock);
    for (language, told) in [("en", "Too many of your orders are not paid yet"), ("zh", "您有过多未付款的订单")]
    {
        let (ada, lamp) = world.shopper(1, 10).await;
        let browser = Browser::of(&provider, &ada, language).await;
        place(&browser).await;
        world.cart.fill(ada.user, lamp, 2);
        let checkout = browser.open("/checkout").await;
        let refused = submit_checkout(&browser, &checkout, "").await;
        assert!(refused.expect(409).contains(told) && refused.text.contains("2 × €12.50"), "{}", refused.text);
        assert_eq!((statuses(&ada).await.len(), world.cart.cart(ada.user).len()), (1, 1));
    }
}
