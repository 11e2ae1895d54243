//! Paying: by a session that lives now and a recent login, once.

use std::time::Duration;

use futures_util::future::join_all;
use order_service::payment::{ChargeId, ChargeOutcome, PaymentProcessor as _, TestPaymentProcessor};
use serde_json::json;
use shared::session::{EndReason, SessionStore as _};
use uuid::Uuid;

use crate::faults::{Call, Fault, When};
use crate::harness::{Person, World, eventually, on_both_databases};

on_both_databases! {
    a_placed_order_is_paid_once,
    twenty_payments_at_once_take_the_money_once,
    a_declined_payment_leaves_the_order_placed,
    a_processor_that_breaks_is_a_503_and_the_payment_is_finished_later_once,
    the_processor_never_takes_an_orders_money_twice,
    an_ended_session_cannot_pay,
    a_login_that_is_too_old_is_asked_for_again,
    without_the_session_store_nobody_pays,
}

/// How many charges of an order were approved.
async fn approved(world: &World, order: Uuid) -> i64 {
    let query = "SELECT COUNT(*) FROM test_charges WHERE order_id = $1 AND outcome = 'approved'";
    shared::on_database!(&world.database, |pool| sqlx::query_scalar(query).bind(order).fetch_one(pool).await).unwrap()
}

async fn a_placed_order_is_paid_once(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    let order = ada.order().await;
    let paid = ada.pay(order).await.expect(200);
    assert_eq!(paid["status"], "paid");
    assert!(paid["paid_at"].is_string());
    assert_eq!(ada.pay(order).await.expect(200), paid, "paying what is paid is no error");
    assert_eq!(ada.pay_declined(order).await.expect(200), paid);
    assert_eq!(ada.show(order).await, paid);
    assert_eq!(approved(&world, order).await, 1);
}

async fn twenty_payments_at_once_take_the_money_once(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    let order = ada.order().await;
    let answers = join_all((0..20).map(|_| ada.pay(order))).await;
    assert!(answers.iter().any(|answer| answer.status == 200));
    for answer in answers {
        match answer.status {
            200 => assert_eq!(answer.body["status"], "paid"),
            _ => drop(answer.refused(409, "invalid_order_status")),
        }
    }
    assert_eq!((ada.show(order).await["status"].as_str(), approved(&world, order).await), (Some("paid"), 1));
}

async fn a_declined_payment_leaves_the_order_placed(world: World) {
    let (ada, lamp) = world.shopper(1, 10).await;
    let order = ada.order().await;
    for _ in 0..2 {
        ada.pay_declined(order).await.refused(402, "payment_declined");
        let shown = ada.show(order).await;
        assert_eq!((&shown["status"], shown.get("paid_at")), (&json!("placed"), None));
    }
    assert_eq!((world.cart.stock(lamp), approved(&world, order).await), (9, 0));
    assert_eq!(ada.pay(order).await.expect(200)["status"], "paid");
}

async fn a_processor_that_breaks_is_a_503_and_the_payment_is_finished_later_once(world: World) {
    let service = world.restarted().await;
    for when in [When::BeforeWork, When::AfterWork] {
        let (ada, _) = world.shopper(1, 10).await;
        let order = ada.order().await;
        world.faults.switch_on(Call::Charge, when, Fault::Breaks);
        ada.pay(order).await.refused(503, "unavailable");
        assert_eq!(ada.show(order).await["status"], "paying");
        // What became of the money is not known: neither another payment nor a cancellation may run into it.
        ada.pay(order).await.refused(409, "invalid_order_status");
        ada.cancel(order).await.refused(409, "invalid_order_status");
        world.faults.switch_off();
        world.clock.advance(Duration::from_secs(5));
        assert_eq!(service.recover().await.unwrap(), 1);
        assert_eq!(ada.pay(order).await.expect(200)["status"], "paid", "{when:?}");
        assert_eq!(approved(&world, order).await, 1, "{when:?}");
    }
}

async fn the_processor_never_takes_an_orders_money_twice(world: World) {
    use order_service::rules::payment_method::PaymentMethod::{TestCard, TestCardDeclined};
    let processor = TestPaymentProcessor::new(world.database.clone(), world.clock.clone());
    let amount = serde_json::from_value(json!({"amount": 5, "currency": "EUR"})).unwrap();
    let order = Uuid::new_v4();
    let attempt = |attempt| ChargeId { order, attempt };
    assert_eq!(processor.status(attempt(1)).await.unwrap(), None);
    processor.refund(order).await.unwrap();
    // A charge's outcome never changes, whatever is asked under its id.
    assert_eq!(processor.charge(attempt(1), amount, TestCardDeclined).await.unwrap(), ChargeOutcome::Declined);
    assert_eq!(processor.charge(attempt(1), amount, TestCard).await.unwrap(), ChargeOutcome::Declined);
    let charges = (0..10).map(|number| processor.charge(attempt(2 + number % 2), amount, TestCard));
    for outcome in join_all(charges).await {
        assert_eq!(outcome.unwrap(), ChargeOutcome::Approved);
    }
    assert_eq!(approved(&world, order).await, 1);
    assert_eq!(processor.status(attempt(3)).await.unwrap(), Some(ChargeOutcome::Approved));
}

async fn an_ended_session_cannot_pay(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    let order = ada.order().await;
    world.sessions.end(ada.session, EndReason::Logout).await.unwrap();
    ada.pay(order).await.refused(401, "invalid_token");
    eventually("the end is seen by ordinary requests too", || async { ada.get("/orders").await.status == 401 }).await;
    assert_eq!(ada.orders().await[0].status.as_str(), "placed");
}

async fn a_login_that_is_too_old_is_asked_for_again(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    let order = ada.order().await;
    world.clock.advance(Duration::from_secs(15 * 60 + 2));
    let answer = ada.pay(order).await;
    let challenge = answer.headers["www-authenticate"].to_str().unwrap().to_owned();
    answer.refused(401, "insufficient_user_authentication");
    assert!(
        challenge.contains("insufficient_user_authentication") && challenge.contains("max_age=\"900\""),
        "{challenge}"
    );
    // Everything else goes on.
    assert_eq!(ada.show(order).await["status"], "placed");
    let again = Person { signed_in_at: world.clock.now(), ..ada.clone() };
    assert_eq!(again.pay(order).await.expect(200)["status"], "paid");
}

async fn without_the_session_store_nobody_pays(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    let order = ada.order().await;
    world.sessions.take_away();
    ada.pay(order).await.refused(503, "unavailable");
    assert_eq!(ada.show(order).await["status"], "placed", "ordinary requests go on");
    assert_eq!(ada.cancel(order).await.expect(200)["status"], "cancelled");
    world.sessions.bring_back();
    ada.pay(order).await.refused(409, "invalid_order_status");
}
