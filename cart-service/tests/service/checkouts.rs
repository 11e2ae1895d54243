//! Checkouts: stock is held once, sold once and given back once, whatever happens in between.

use std::pin::pin;
use std::time::Duration;

use cart_service::rules::cart::{Change, Quantity};
use cart_service::rules::checkout::{IdempotencyKey, Release, Status};
use cart_service::storage::carts::{self, Owner};
use cart_service::storage::checkouts::{self, CheckoutError, Opened};
use reqwest::Method;
use serde_json::json;
use shared::session::UserId;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::{Shop, TTL, eventually, on_both_databases, quantities};

const HOLD: Duration = Duration::from_secs(15 * 60);

on_both_databases! {
    a_checkout_holds_the_stock_and_empties_the_cart,
    an_order_that_is_placed_keeps_the_stock_and_one_that_is_cancelled_gives_it_back,
    a_hold_that_is_given_up_goes_back_into_the_cart,
    a_hundred_requests_with_one_key_are_one_checkout,
    a_key_belongs_to_its_user,
    one_item_wanted_by_fifty_is_sold_once,
    a_checkout_that_fails_names_every_line_and_keeps_the_cart,
    a_hold_that_is_over_counts_as_released_at_once_and_comes_back_by_itself,
    what_comes_back_joins_what_the_user_has_put_in_since,
    many_sweepers_and_releases_give_back_once,
    confirming_and_releasing_at_once_ends_in_one_consistent_state,
    crossing_checkouts_do_not_wait_for_each_other,
    a_checkout_that_is_cut_off_anywhere_is_whole_or_nothing,
    the_price_is_that_of_the_hold,
}

fn path(checkout: &serde_json::Value, action: &str) -> String {
    format!("/checkouts/{}{action}", checkout["id"].as_str().unwrap())
}

fn quantity(count: i64) -> Quantity {
    count.try_into().unwrap()
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).unwrap()
}

/// Puts so many into a user's cart.
async fn fill(shop: &Shop, user: UserId, product: Uuid, count: i64) {
    let change = Change::Set(quantity(count));
    carts::change(&shop.database, &Owner::User(user), product, change, shop.clock.now(), TTL).await.unwrap();
}

async fn open(shop: &Shop, user: UserId, text: &str) -> Result<Opened, CheckoutError> {
    let now = shop.clock.now();
    checkouts::open(&shop.database, user, &key(text), now, now + HOLD).await
}

async fn a_checkout_holds_the_stock_and_empties_the_cart(shop: Shop) {
    let (first, second) = (shop.product(250, 10).await, shop.product(1_000, 10).await);
    let user = shop.user();
    user.check_out("too-early").await.refused(409, "cart_empty");
    user.add(second, 1).await.expect(200);
    let cart = user.add(first, 4).await.expect(200);
    let held = user.check_out("order-1").await.expect(201);
    assert_eq!((&held["status"], &held["lines"], &held["total"]), (&json!("held"), &cart["lines"], &cart["total"]));
    let expires_at: shared::clock::Timestamp = serde_json::from_value(held["expires_at"].clone()).unwrap();
    let left = expires_at.since(shop.clock.now());
    assert!(left <= HOLD && left > HOLD - Duration::from_secs(60), "{left:?}");
    assert_eq!((shop.stock(first).await, shop.stock(second).await), (6, 9));
    let emptied = user.get("/cart").await.expect(200);
    assert_eq!((&emptied["lines"], &emptied["version"]), (&json!([]), &json!(3)));
    assert_eq!(shop.order_service(Method::GET, &path(&held, "")).await.expect(200), held);
    assert_eq!(user.check_out("order-1").await.expect(201), held, "the same key, the same answer");
    user.check_out("order-2").await.refused(409, "cart_empty");
}

async fn an_order_that_is_placed_keeps_the_stock_and_one_that_is_cancelled_gives_it_back(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 5).await);
    user.add(product, 2).await.expect(200);
    let held = user.check_out("order").await.expect(201);
    for _ in 0..3 {
        let confirmed = shop.order_service(Method::POST, &path(&held, "/confirm")).await.expect(200);
        assert_eq!((&confirmed["status"], &confirmed["total"]), (&json!("confirmed"), &held["total"]));
    }
    shop.clock.advance(100 * HOLD);
    let still = shop.order_service(Method::GET, &path(&held, "")).await.expect(200);
    assert_eq!((still["status"].as_str(), shop.stock(product).await), (Some("confirmed"), 3));
    for _ in 0..3 {
        shop.order_service(Method::DELETE, &path(&held, "")).await.expect(204);
        assert_eq!(shop.stock(product).await, 5);
    }
    shop.order_service(Method::POST, &path(&held, "/confirm")).await.refused(409, "checkout_released");
    user.sign_in();
    assert!(user.quantities().await.is_empty(), "what was ordered does not come back into the cart");
    assert_eq!(user.check_out("order").await.expect(201)["status"], "released");
}

async fn a_hold_that_is_given_up_goes_back_into_the_cart(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 5).await);
    user.add(product, 5).await.expect(200);
    let held = user.check_out("order").await.expect(201);
    shop.order_service(Method::DELETE, &path(&held, "")).await.expect(204);
    assert_eq!((shop.stock(product).await, user.quantities().await), (5, [(product, 5)].into()));
    user.delete("/cart").await.expect(204);
    shop.order_service(Method::DELETE, &path(&held, "")).await.expect(204);
    assert_eq!((shop.stock(product).await, user.quantities().await.len()), (5, 0), "releasing twice is once");
}

async fn a_hundred_requests_with_one_key_are_one_checkout(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 50).await);
    user.add(product, 3).await.expect(200);
    let answers = futures_util::future::join_all((0..100).map(|_| user.check_out("the-one"))).await;
    let bodies: Vec<_> = answers.into_iter().map(|answer| answer.expect(201)).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "every answer is the same");
    assert_eq!(shop.stock(product).await, 47);
}

async fn a_key_belongs_to_its_user(shop: Shop) {
    let (one, other, product) = (shop.user(), shop.user(), shop.product(100, 50).await);
    one.add(product, 1).await.expect(200);
    let ones = one.check_out("same-text").await.expect(201);
    other.check_out("same-text").await.refused(409, "cart_empty");
    other.add(product, 2).await.expect(200);
    let others = other.check_out("same-text").await.expect(201);
    assert_ne!(ones["id"], others["id"]);
    assert_eq!(one.check_out("same-text").await.expect(201), ones);
}

async fn one_item_wanted_by_fifty_is_sold_once(shop: Shop) {
    let (last, plenty) = (shop.product(100, 1).await, shop.product(100, 1_000).await);
    let users: Vec<_> = (0..50).map(|_| shop.user()).collect();
    for user in &users {
        fill(&shop, user.user(), last, 1).await;
        fill(&shop, user.user(), plenty, 1).await;
    }
    let answers = futures_util::future::join_all(users.iter().map(|user| user.check_out("mine"))).await;
    let mut winners = 0;
    for (user, answer) in users.iter().zip(answers) {
        let kept = user.quantities().await;
        if answer.status == 201 {
            winners += 1;
            assert!(kept.is_empty());
        } else {
            answer.refused(409, "insufficient_stock");
            assert_eq!(kept, [(last, 1), (plenty, 1)].into(), "who loses keeps the cart");
        }
    }
    assert_eq!((winners, shop.stock(last).await, shop.stock(plenty).await), (1, 0, 999));
}

async fn a_checkout_that_fails_names_every_line_and_keeps_the_cart(shop: Shop) {
    let products = [shop.product(100, 3).await, shop.product(100, 9).await, shop.product(100, 3).await];
    let (slow, quick) = (shop.user(), shop.user());
    for product in products {
        slow.add(product, 3).await.expect(200);
    }
    quick.add(products[0], 1).await.expect(200);
    quick.add(products[2], 3).await.expect(200);
    quick.check_out("first").await.expect(201);
    let before = slow.get("/cart").await.expect(200);
    let refused = slow.check_out("second").await.refused(409, "insufficient_stock");
    let mut pointers: Vec<&str> =
        refused["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    let mut expected = [format!("/lines/{}", products[0]), format!("/lines/{}", products[2])];
    expected.sort();
    assert_eq!(pointers, expected);
    assert_eq!((slow.get("/cart").await.expect(200), shop.stock(products[1]).await), (before, 9));
    slow.put(&format!("/cart/items/{}", products[0]), json!({"quantity": 2})).await.expect(200);
    slow.delete(&format!("/cart/items/{}", products[2])).await.expect(200);
    slow.check_out("second").await.expect(201);
}

async fn a_hold_that_is_over_counts_as_released_at_once_and_comes_back_by_itself(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 5).await);
    user.add(product, 4).await.expect(200);
    let held = user.check_out("order").await.expect(201);
    shop.clock.advance(HOLD);
    let shown = shop.order_service(Method::GET, &path(&held, "")).await.expect(200);
    assert_eq!(shown["status"], "released");
    shop.order_service(Method::POST, &path(&held, "/confirm")).await.refused(409, "checkout_released");
    eventually("the sweeper gives the stock back", || async { shop.stock(product).await == 5 }).await;
    user.sign_in();
    assert_eq!(user.quantities().await, [(product, 4)].into(), "nothing is lost");
    assert_eq!(user.check_out("order").await.expect(201)["status"], "released", "a used key stays used");
    assert_eq!(user.check_out("order-again").await.expect(201)["status"], "held");
    let metrics = shop.guest().get("/metrics").await;
    assert!(metrics.body.to_string().contains("roam_checkouts_total"), "operators see it");
}

async fn what_comes_back_joins_what_the_user_has_put_in_since(shop: Shop) {
    let (user, product, other) = (shop.user(), shop.product(100, 6).await, shop.product(100, 6).await);
    user.add(product, 4).await.expect(200);
    let held = user.check_out("order").await.expect(201);
    user.add(product, 2).await.expect(200);
    user.add(other, 1).await.expect(200);
    shop.order_service(Method::DELETE, &path(&held, "")).await.expect(204);
    let cart = user.get("/cart").await.expect(200);
    assert_eq!((quantities(&cart), &cart["version"]), ([(product, 6), (other, 1)].into(), &json!(5)));
}

async fn many_sweepers_and_releases_give_back_once(shop: Shop) {
    let product = shop.product(100, 500).await;
    let mut held = Vec::new();
    for number in 0..20 {
        let user = UserId::random();
        fill(&shop, user, product, 3).await;
        let Ok(Opened::New(checkout)) = open(&shop, user, &format!("order-{number}")).await else { panic!("not held") };
        held.push(checkout);
    }
    assert_eq!(shop.stock(product).await, 440);
    shop.clock.advance(HOLD);
    let mut tasks = JoinSet::new();
    for number in 0..6 {
        let (database, clock, held) = (shop.database.clone(), shop.clock.clone(), held.clone());
        tasks.spawn(async move {
            if number % 3 == 0 {
                for checkout in held {
                    checkouts::release(&database, checkout.id, clock.now()).await.unwrap();
                }
            } else {
                cart_service::sweeper::sweep(&database, &clock).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(shop.stock(product).await, 500);
    assert!(checkouts::due(&shop.database, shop.clock.now(), 100).await.unwrap().is_empty());
    for checkout in held {
        let cart = carts::show(&shop.database, &Owner::User(checkout.user), shop.clock.now()).await.unwrap().unwrap();
        assert_eq!(cart.lines.iter().map(|line| line.quantity.get()).collect::<Vec<_>>(), [3]);
    }
}

async fn confirming_and_releasing_at_once_ends_in_one_consistent_state(shop: Shop) {
    for _ in 0..8 {
        let (user, product) = (UserId::random(), shop.product(100, 5).await);
        fill(&shop, user, product, 2).await;
        let Ok(Opened::New(held)) = open(&shop, user, "order").await else { panic!("not held") };
        let now = shop.clock.now();
        let (confirmed, released) = tokio::join!(
            checkouts::confirm(&shop.database, held.id, now),
            checkouts::release(&shop.database, held.id, now),
        );
        // Whichever came first: in the end it is released, the stock is back, and the cart knows which it was.
        let released = released.unwrap();
        let expected = if confirmed.is_ok() { Release::Stock } else { Release::StockAndCart };
        assert_eq!(released, expected);
        assert_eq!(checkouts::find(&shop.database, held.id).await.unwrap().unwrap().status, Status::Released);
        assert_eq!(shop.stock(product).await, 5);
        let cart = carts::show(&shop.database, &Owner::User(user), now).await.unwrap().unwrap();
        assert_eq!(cart.lines.is_empty(), released == Release::Stock);
    }
}

async fn crossing_checkouts_do_not_wait_for_each_other(shop: Shop) {
    let products = [shop.product(100, 1_000).await, shop.product(100, 1_000).await, shop.product(100, 1_000).await];
    let mut tasks = JoinSet::new();
    for number in 0..24_usize {
        let user = UserId::random();
        for step in 0..3 {
            fill(&shop, user, products[(number + step) % 3], 2).await;
        }
        let (database, now) = (shop.database.clone(), shop.clock.now());
        tasks.spawn(async move {
            let opened = checkouts::open(&database, user, &key("order"), now, now + HOLD).await.unwrap();
            let (Opened::New(held) | Opened::Again(held)) = opened;
            if number % 2 == 0 {
                checkouts::release(&database, held.id, now).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    for product in products {
        assert_eq!(shop.stock(product).await, 1_000 - 12 * 2);
    }
}

/// Polls a future so many times and then drops it, as a crash or a closed connection does.
async fn cut_off_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(move |context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
        std::task::Poll::Pending => {
            left -= 1;
            std::task::Poll::Pending
        }
    })
    .await
}

async fn a_checkout_that_is_cut_off_anywhere_is_whole_or_nothing(shop: Shop) {
    let products = [shop.product(100, 100).await, shop.product(100, 100).await];
    let mut cut_off = 0;
    // One step further each time, until nothing is cut off any more.
    for polls in 0..1_000 {
        let before = cut_off;
        let user = UserId::random();
        let now = shop.clock.now();
        fill(&shop, user, products[0], 1).await;
        fill(&shop, user, products[1], 2).await;
        let opened = cut_off_after(polls, open(&shop, user, "order")).await;
        cut_off += usize::from(opened.is_none());
        // Asked again, it is held exactly once, whatever the first request came to.
        let (Opened::New(held) | Opened::Again(held)) = open(&shop, user, "order").await.unwrap();
        let stocks = || async { (shop.stock(products[0]).await, shop.stock(products[1]).await) };
        assert_eq!(stocks().await, (99, 98), "after {polls} polls");
        let released = cut_off_after(polls, checkouts::release(&shop.database, held.id, now)).await;
        cut_off += usize::from(released.is_none());
        checkouts::release(&shop.database, held.id, now).await.unwrap();
        assert_eq!(stocks().await, (100, 100), "after {polls} polls");
        let cart = carts::show(&shop.database, &Owner::User(user), now).await.unwrap().unwrap();
        let counts: Vec<i64> = cart.lines.iter().map(|line| line.quantity.get()).collect();
        assert_eq!(counts.iter().sum::<i64>(), 3, "after {polls} polls");
        if polls > 20 && cut_off == before {
            break;
        }
    }
    assert!(cut_off > 0, "nothing was cut off");
}

async fn the_price_is_that_of_the_hold(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 9).await);
    user.add(product, 2).await.expect(200);
    let reprice = |amount: i64| {
        let database = shop.database.clone();
        async move {
            shared::on_database!(&database, |pool| {
                let update = sqlx::query("UPDATE products SET amount = $1 WHERE id = $2").bind(amount).bind(product);
                update.execute(pool).await.map(drop).unwrap();
            });
        }
    };
    reprice(150).await;
    assert_eq!(user.get("/cart").await.expect(200)["total"]["amount"], 300, "a cart shows the price of now");
    let held = user.check_out("order").await.expect(201);
    reprice(990).await;
    let confirmed = shop.order_service(Method::POST, &path(&held, "/confirm")).await.expect(200);
    assert_eq!((&confirmed["lines"], &confirmed["total"]["amount"]), (&held["lines"], &json!(300)));
}
