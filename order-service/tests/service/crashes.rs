//! The service dies at each step: the act is cut off there, as a killed process is, and only what is recorded survives.
//! An order exists once or not at all, and stock = initial - sold.

use std::time::Duration;

use order_service::OrderService;
use order_service::rules::order_status::OrderStatus;
use order_service::rules::payment_method::PaymentMethod;
use order_service::rules::recovery::LEASE;
use order_service::rules::request::OrderRequest;
use order_service::storage::charges;
use shared::problem::Problem;
use uuid::Uuid;

use crate::fake_cart::Status;
use crate::faults::{Call, Fault, When};
use crate::harness::{Person, World, key, on_both_databases};

on_both_databases! {
    a_crash_while_placing_and_a_repeat_make_one_order,
    a_crash_while_placing_is_recovered_without_the_client,
    a_crash_while_placing_that_nobody_looks_at_for_long_leaves_no_stock_behind,
    a_crash_while_paying_is_recovered,
    a_crash_while_cancelling_is_recovered,
    a_crash_during_recovery_is_recovered,
}

const PLACING: [(Call, When); 4] = [
    (Call::CheckOut, When::BeforeWork),
    (Call::CheckOut, When::AfterWork),
    (Call::Confirm, When::BeforeWork),
    (Call::Confirm, When::AfterWork),
];

/// Runs an act until it is at the fault, and cuts it off there.
async fn crash<T: Send + 'static>(
    world: &World,
    (call, when): (Call, When),
    act: impl Future<Output = Result<T, Problem>> + Send + 'static,
) {
    world.faults.switch_on(call, when, Fault::Hangs);
    let act = tokio::spawn(act);
    world.faults.reached().await;
    act.abort();
    assert!(act.await.is_err_and(|error| error.is_cancelled()), "the act was cut off");
    world.faults.switch_off();
}

async fn crash_while_placing(ada: &Person<'_>, at: (Call, When)) {
    let (service, user, authorization) = (ada.world.restarted().await, ada.user, ada.authorization());
    let act = async move { service.place(user, &authorization, &key("k"), &OrderRequest::default(), None).await };
    crash(ada.world, at, act).await;
}

/// The books agree: what is not in stock is in orders.
async fn assert_stock_is_right(ada: &Person<'_>, product: Uuid, initial: i64) {
    let sold: i64 = ada
        .orders()
        .await
        .iter()
        .filter(|order| order.status != OrderStatus::Cancelled)
        .flat_map(|order| order.reservation.clone().unwrap().lines)
        .map(|line| i64::from(line.quantity))
        .sum();
    assert_eq!(ada.world.cart.stock(product), initial - sold, "stock = initial - sold");
}

fn past_the_lease(world: &World) {
    world.clock.advance(LEASE + Duration::from_secs(1));
}

async fn a_crash_while_placing_and_a_repeat_make_one_order(world: World) {
    for at in PLACING {
        let (ada, lamp) = world.shopper(2, 10).await;
        crash_while_placing(&ada, at).await;
        past_the_lease(&world);
        let order = ada.place("k").await.expect(201);
        assert_eq!(ada.place("k").await.expect(201), order, "{at:?}");
        assert_eq!(ada.orders().await.len(), 1, "{at:?}");
        let checkouts = world.cart.checkouts(ada.user);
        assert_eq!((checkouts.len(), checkouts[0].status), (1, Status::Confirmed), "{at:?}");
        assert_stock_is_right(&ada, lamp, 10).await;
        assert_eq!(world.cart.stock(lamp), 8);
    }
}

async fn a_crash_while_placing_is_recovered_without_the_client(world: World) {
    for at in PLACING {
        let (ada, lamp) = world.shopper(2, 10).await;
        crash_while_placing(&ada, at).await;
        let service = world.restarted().await;
        assert_eq!(service.recover().await.unwrap(), 0, "the lease holds: {at:?}");
        past_the_lease(&world);
        service.recover().await.unwrap();
        // Without the client's token nobody can ask for stock, but a hold that is recorded is confirmed.
        let expected = usize::from(at.0 == Call::Confirm);
        assert_eq!(ada.orders().await.len(), expected, "{at:?}");
        world.clock.advance(Duration::from_secs(25 * 60));
        service.recover().await.unwrap();
        assert_eq!(ada.orders().await.len(), expected, "{at:?}");
        assert_stock_is_right(&ada, lamp, 10).await;
        // Either way the client's repeat ends with one order.
        ada.place("k").await.expect(201);
        assert_eq!((ada.orders().await.len(), world.cart.stock(lamp)), (1, 8), "{at:?}");
    }
}

async fn a_crash_while_placing_that_nobody_looks_at_for_long_leaves_no_stock_behind(world: World) {
    for at in PLACING {
        let (ada, lamp) = world.shopper(2, 10).await;
        crash_while_placing(&ada, at).await;
        world.clock.advance(Duration::from_secs(25 * 60));
        let service = world.restarted().await;
        assert_eq!(service.recover().await.unwrap(), 1, "{at:?}");
        assert_eq!(service.recover().await.unwrap(), 0, "{at:?}");
        let expected = usize::from(at == (Call::Confirm, When::AfterWork));
        assert_eq!(ada.orders().await.len(), expected, "only what was confirmed in time is sold: {at:?}");
        assert_stock_is_right(&ada, lamp, 10).await;
    }
}

async fn a_crash_while_paying_is_recovered(world: World) {
    for when in [When::BeforeWork, When::AfterWork] {
        for (method, expected) in
            [(PaymentMethod::TestCard, OrderStatus::Paid), (PaymentMethod::TestCardDeclined, OrderStatus::Placed)]
        {
            let (ada, _) = world.shopper(1, 10).await;
            let (order, user, service) = (ada.order().await, ada.user, world.restarted().await);
            crash(&world, (Call::Charge, when), async move { service.pay(user, order, method).await }).await;
            assert_eq!(ada.orders().await[0].status, OrderStatus::Paying);
            past_the_lease(&world);
            assert_eq!(world.restarted().await.recover().await.unwrap(), 1);
            assert_eq!(ada.orders().await[0].status, expected, "{when:?} {method}");
            let charge = charges::find(&world.database, (order, 1)).await.unwrap().unwrap();
            assert_eq!(charge.outcome == "approved", expected == OrderStatus::Paid);
            // And the client goes on as if nothing had been.
            assert_eq!(ada.pay(order).await.expect(200)["status"], "paid");
        }
    }
}

async fn a_crash_while_cancelling_is_recovered(world: World) {
    for at in [Call::Refund, Call::Release].into_iter().flat_map(|c| [(c, When::BeforeWork), (c, When::AfterWork)]) {
        let (ada, lamp) = world.shopper(2, 10).await;
        let (order, user, service) = (ada.order().await, ada.user, world.restarted().await);
        ada.pay(order).await.expect(200);
        crash(&world, at, async move { service.cancel(user, order).await }).await;
        assert_eq!(ada.orders().await[0].status, OrderStatus::Cancelling);
        past_the_lease(&world);
        assert_eq!(world.restarted().await.recover().await.unwrap(), 1);
        assert_eq!(ada.orders().await[0].status, OrderStatus::Cancelled, "{at:?}");
        let charge = charges::find(&world.database, (order, 1)).await.unwrap().unwrap();
        assert!(charge.refunded_at.is_some(), "{at:?}");
        assert_eq!(world.cart.stock(lamp), 10, "{at:?}");
    }
}

async fn a_crash_during_recovery_is_recovered(world: World) {
    let (ada, lamp) = world.shopper(2, 10).await;
    crash_while_placing(&ada, (Call::Confirm, When::BeforeWork)).await;
    for when in [When::BeforeWork, When::AfterWork] {
        past_the_lease(&world);
        let service: OrderService = world.restarted().await;
        crash(&world, (Call::Confirm, when), async move { Ok(service.recover().await?) }).await;
    }
    past_the_lease(&world);
    world.restarted().await.recover().await.unwrap();
    assert_eq!(ada.orders().await.len(), 1);
    assert_stock_is_right(&ada, lamp, 10).await;
}
