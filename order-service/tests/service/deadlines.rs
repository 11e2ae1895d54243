//! The time to pay an order: afterwards it is cancelled and its stock is back, once, whatever happens at the same moment.

use std::time::Duration;

use futures_util::future::join_all;
use order_service::OrderService;
use order_service::rules::order_status::OrderStatus;
use order_service::rules::payment_method::PaymentMethod;
use order_service::rules::recovery::LEASE;
use order_service::storage::charges;
use shared::clock::Clock;
use shared::on_database;
use uuid::Uuid;

use crate::fake_cart::Status;
use crate::faults::{Call, Fault, When};
use crate::harness::{World, eventually, on_both_databases};

const DEADLINE: Duration = Duration::from_secs(30 * 60);
const SECOND: Duration = Duration::from_secs(1);

on_both_databases! {
    ho2_an_order_that_is_not_paid_in_time_is_cancelled_and_its_stock_is_back_once,
    ho2_a_payment_after_the_deadline_is_refused_and_charges_nothing,
    ho2_a_payment_that_began_in_time_counts,
    ho2_a_payment_and_the_deadline_at_the_same_moment_leave_one_story,
    ho2_an_outage_or_a_crash_at_the_deadline_is_made_up_for,
    an_order_of_the_release_before_gets_a_deadline_of_its_own,
}

async fn ho2_an_order_that_is_not_paid_in_time_is_cancelled_and_its_stock_is_back_once(world: World) {
    let mut shoppers = Vec::new();
    for _ in 0..5 {
        let (shopper, lamp) = world.shopper(3, 10).await;
        let placed = shopper.place("k").await.expect(201);
        let order: Uuid = placed["id"].as_str().unwrap().parse().unwrap();
        let due = shopper.orders().await[0].payment_due_at.unwrap();
        assert_eq!(due.since(shopper.orders().await[0].placed_at.unwrap()), DEADLINE);
        assert_eq!(placed["payment_due_at"], serde_json::to_value(due).unwrap());
        shoppers.push((shopper, lamp, order, placed));
    }
    let replicas = join_all((0..4).map(|_| world.restarted())).await;
    world.clock.advance(DEADLINE - 5 * SECOND);
    for replica in &replicas {
        assert_eq!(replica.recover().await.unwrap(), 0, "not before its time");
    }
    world.clock.advance(6 * SECOND);
    for outcome in join_all(replicas.iter().map(OrderService::recover)).await {
        outcome.unwrap();
    }
    assert_eq!(world.cart.calls(Call::Release), 5, "one release for each");
    for (shopper, lamp, order, placed) in shoppers {
        let cancelled = shopper.show(order).await;
        assert_eq!(
            (&cancelled["status"], &cancelled["cancellation_reason"]),
            (&"cancelled".into(), &"payment_overdue".into())
        );
        assert_eq!(world.cart.stock(lamp), 10);
        assert_eq!(world.cart.checkouts(shopper.user)[0].status, Status::Released);
        assert!(world.cart.cart(shopper.user).is_empty(), "it does not refill the cart");
        shopper.signed_in_again().await.pay(order).await.refused(409, "payment_overdue");
        assert_eq!(shopper.cancel(order).await.expect(200)["cancellation_reason"], "payment_overdue");
        assert_eq!(shopper.place("k").await.expect(201), placed, "a repeat is answered as it was");
        assert_eq!(charges::find(&world.database, (order, 1)).await.unwrap(), None);
    }
}

async fn ho2_a_payment_after_the_deadline_is_refused_and_charges_nothing(world: World) {
    let (ada, lamp) = world.shopper(1, 10).await;
    let order = ada.order().await;
    world.clock.advance(DEADLINE);
    let recent = ada.signed_in_again().await;
    // Nobody has looked yet, and yet it is too late.
    recent.pay(order).await.refused(409, "payment_overdue");
    assert_eq!(charges::find(&world.database, (order, 1)).await.unwrap(), None);
    world.restarted().await.recover().await.unwrap();
    recent.pay(order).await.refused(409, "payment_overdue");
    assert_eq!((ada.orders().await[0].status, world.cart.stock(lamp)), (OrderStatus::Cancelled, 10));
}

async fn ho2_a_payment_that_began_in_time_counts(world: World) {
    for (method, expected, stock) in
        [(PaymentMethod::TestCard, OrderStatus::Paid, 9), (PaymentMethod::TestCardDeclined, OrderStatus::Cancelled, 10)]
    {
        let (ada, lamp) = world.shopper(1, 10).await;
        let order = ada.order().await;
        world.faults.switch_on(Call::Charge, When::AfterWork, Fault::Breaks);
        let service = world.restarted().await;
        assert!(service.pay(ada.user, order, method).await.is_err(), "the answer is lost");
        world.faults.switch_off();
        assert_eq!(ada.orders().await[0].status, OrderStatus::Paying);
        world.clock.advance(DEADLINE + SECOND);
        service.recover().await.unwrap();
        assert_eq!((ada.orders().await[0].status, world.cart.stock(lamp)), (expected, stock), "{method}");
        let charge = charges::find(&world.database, (order, 1)).await.unwrap().unwrap();
        assert_eq!((charge.outcome == "approved", charge.refunded_at), (expected == OrderStatus::Paid, None));
    }
}

/// Two replicas whose clocks disagree: to one it is still time to pay, to the other it is over.
async fn ho2_a_payment_and_the_deadline_at_the_same_moment_leave_one_story(world: World) {
    let late = Clock::default();
    let mut config = world.config.clone();
    config.single_sign_on.clock = late.clone();
    let late_replica = OrderService::open(&config).await.unwrap();
    late.advance(DEADLINE + 60 * SECOND);
    for round in 0..24_u32 {
        let (ada, lamp) = world.shopper(1, 5).await;
        let (order, user, service) = (ada.order().await, ada.user, world.restarted().await);
        let pays = join_all((0..3).map(|_| service.pay(user, order, PaymentMethod::TestCard)));
        // Each time it is another of them that is a little ahead.
        let recovers = async {
            tokio::time::sleep(Duration::from_micros(u64::from(round % 8) * 400)).await;
            join_all((0..2).map(|_| late_replica.recover())).await
        };
        let (pays, recovers) = tokio::join!(pays, recovers);
        assert!(recovers.iter().all(Result::is_ok), "{recovers:?}");
        for refused in pays.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert!(["payment_overdue", "invalid_order_status"].contains(&refused.code()), "{refused}");
        }
        late_replica.recover().await.unwrap();
        let charge = charges::find(&world.database, (order, 1)).await.unwrap();
        match ada.orders().await[0].status {
            OrderStatus::Paid => {
                assert!(charge.is_some_and(|charge| charge.refunded_at.is_none()));
                assert_eq!(world.cart.stock(lamp), 4);
            }
            OrderStatus::Cancelled => {
                assert_eq!((charge, world.cart.stock(lamp)), (None, 5), "money kept for nothing, or stock lost");
                assert!(pays.iter().all(Result::is_err), "one of them was told that it has paid");
            }
            other => panic!("the order is left {other}"),
        }
    }
}

async fn ho2_an_outage_or_a_crash_at_the_deadline_is_made_up_for(world: World) {
    for when in [When::BeforeWork, When::AfterWork] {
        let (ada, lamp) = world.shopper(2, 5).await;
        ada.order().await;
        world.clock.advance(DEADLINE);
        world.faults.switch_on(Call::Release, when, Fault::Breaks);
        world.restarted().await.recover().await.unwrap();
        assert_eq!(ada.orders().await[0].status, OrderStatus::Cancelling, "{when:?}");
        // The next one dies at it.
        world.clock.advance(60 * SECOND);
        world.faults.switch_on(Call::Release, when, Fault::Hangs);
        let service = world.restarted().await;
        let dies = tokio::spawn(async move { service.recover().await });
        world.faults.reached().await;
        dies.abort();
        world.faults.switch_off();
        world.clock.advance(LEASE + SECOND);
        world.restarted().await.recover().await.unwrap();
        assert_eq!((ada.orders().await[0].status, world.cart.stock(lamp)), (OrderStatus::Cancelled, 5), "{when:?}");
    }
}

async fn an_order_of_the_release_before_gets_a_deadline_of_its_own(world: World) {
    let (ada, lamp) = world.shopper(1, 5).await;
    ada.order().await;
    let forget = "UPDATE orders SET payment_due_at = NULL";
    on_database!(&world.database, |pool| sqlx::query(forget).execute(pool).await.map(drop)).unwrap();
    world.clock.advance(DEADLINE * 100);
    let service = world.restarted().await;
    service.recover().await.unwrap();
    let order = ada.orders().await[0].clone();
    assert_eq!(order.status, OrderStatus::Placed, "nobody has told its owner yet");
    assert!(order.payment_due_at.unwrap().since(world.clock.now()) > DEADLINE - 60 * SECOND);
    world.clock.advance(DEADLINE);
    service.recover().await.unwrap();
    assert_eq!((ada.orders().await[0].status, world.cart.stock(lamp)), (OrderStatus::Cancelled, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn hf6_a_replica_whose_clock_is_not_the_databases_cancels_nothing() {
    let Some(world) = World::on_postgres_that_recovers_at_once().await else { return };
    let (ada, _) = world.shopper(1, 10).await;
    ada.place("k").await.expect(201);
    let status = async || ada.orders().await[0].status;
    world.database_clock().is_ahead(-3_600).await;
    let ready = || async { world.client.get(format!("{}/readyz", world.base)).send().await.unwrap().status() == 200 };
    eventually("the difference is seen", || async { !ready().await }).await;
    world.clock.advance(DEADLINE + SECOND);
    for _ in 0..20 {
        assert_eq!(status().await, OrderStatus::Placed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.database_clock().is_ahead(0).await;
    eventually("it is cancelled when the clocks agree", || async { status().await == OrderStatus::Cancelled }).await;
}
