//! Cancelling: money and stock come back, once.

use std::time::Duration;

use futures_util::future::join_all;
use order_service::storage::charges;
use uuid::Uuid;

use crate::fake_cart::Status;
use crate::faults::{Call, Fault, When};
use crate::harness::{World, on_both_databases};

on_both_databases! {
    a_placed_order_is_cancelled_once,
    a_paid_order_is_refunded_first,
    payments_and_cancellations_at_once_leave_one_story,
    an_outage_while_cancelling_is_made_up_for,
}

async fn refunded(world: &World, order: Uuid) -> bool {
    let charge = charges::find(&world.database, (order, 1)).await.unwrap();
    charge.is_some_and(|charge| charge.refunded_at.is_some())
}

async fn a_placed_order_is_cancelled_once(world: World) {
    let (ada, lamp) = world.shopper(3, 10).await;
    let order = ada.order().await;
    assert_eq!(world.cart.stock(lamp), 7);
    let answers = join_all((0..20).map(|_| ada.cancel(order))).await;
    for answer in answers {
        let body = answer.expect(200);
        assert!(["cancelling", "cancelled"].contains(&body["status"].as_str().unwrap()), "{body}");
    }
    let cancelled = ada.cancel(order).await.expect(200);
    assert_eq!(cancelled["status"], "cancelled");
    assert!(cancelled["cancelled_at"].is_string() && cancelled.get("paid_at").is_none());
    assert_eq!((world.cart.stock(lamp), world.cart.calls(Call::Release)), (10, 1));
    assert!(world.cart.cart(ada.user).is_empty(), "a cancelled order does not refill the cart");
    ada.pay(order).await.refused(409, "invalid_order_status");
}

async fn a_paid_order_is_refunded_first(world: World) {
    let (ada, lamp) = world.shopper(3, 10).await;
    let order = ada.order().await;
    ada.pay(order).await.expect(200);
    assert!(!refunded(&world, order).await);
    world.faults.switch_on(Call::Refund, When::BeforeWork, Fault::Breaks);
    assert_eq!(ada.cancel(order).await.expect(200)["status"], "cancelling");
    assert_eq!((world.cart.stock(lamp), refunded(&world, order).await), (7, false), "no refund, no stock");
    world.faults.switch_off();
    let cancelled = ada.cancel(order).await.expect(200);
    assert_eq!(cancelled["status"], "cancelled");
    assert!(cancelled["paid_at"].is_string());
    assert_eq!((world.cart.stock(lamp), refunded(&world, order).await), (10, true));
}

async fn payments_and_cancellations_at_once_leave_one_story(world: World) {
    for _ in 0..8 {
        let (ada, lamp) = world.shopper(1, 5).await;
        let order = ada.order().await;
        let pays = join_all((0..4).map(|_| ada.pay(order)));
        let cancels = join_all((0..4).map(|_| ada.cancel(order)));
        let (pays, cancels) = tokio::join!(pays, cancels);
        for answer in pays.into_iter().chain(cancels).filter(|answer| answer.status != 200) {
            answer.refused(409, "invalid_order_status");
        }
        let charge = charges::find(&world.database, (order, 1)).await.unwrap();
        match ada.show(order).await["status"].as_str().unwrap() {
            "paid" => {
                assert!(charge.is_some_and(|charge| charge.refunded_at.is_none()));
                assert_eq!(world.cart.stock(lamp), 4);
            }
            "cancelled" => {
                assert!(charge.is_none_or(|charge| charge.refunded_at.is_some()), "money kept for nothing");
                assert_eq!(world.cart.stock(lamp), 5);
            }
            other => panic!("the order is left {other}"),
        }
    }
}

async fn an_outage_while_cancelling_is_made_up_for(world: World) {
    let service = world.restarted().await;
    for (call, when) in
        [(Call::Refund, When::AfterWork), (Call::Release, When::BeforeWork), (Call::Release, When::AfterWork)]
    {
        let (ada, lamp) = world.shopper(2, 5).await;
        let order = ada.order().await;
        ada.pay(order).await.expect(200);
        world.faults.switch_on(call, when, Fault::Breaks);
        assert_eq!(ada.cancel(order).await.expect(200)["status"], "cancelling");
        // While the outage lasts, recovery waits longer each time.
        for wait in [2, 3, 5] {
            world.clock.advance(Duration::from_secs(wait));
            assert_eq!(service.recover().await.unwrap(), 1);
            assert_eq!(service.recover().await.unwrap(), 0, "not before its time");
        }
        world.faults.switch_off();
        world.clock.advance(Duration::from_secs(9));
        assert_eq!(service.recover().await.unwrap(), 1);
        assert_eq!(ada.show(order).await["status"], "cancelled");
        assert_eq!((world.cart.stock(lamp), refunded(&world, order).await), (5, true), "{call:?} {when:?}");
        assert_eq!(world.cart.checkouts(ada.user)[0].status, Status::Released);
    }
}
