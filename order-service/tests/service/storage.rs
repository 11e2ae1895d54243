//! Every storage function, on its own.

use std::time::Duration;

use futures_util::future::join_all;
use order_service::rules::cursor::OrderCursor;
use order_service::rules::lines::Reservation;
use order_service::rules::money::Money;
use order_service::rules::order::Order;
use order_service::rules::order_limits::{Exceeded, OrderLimits};
use order_service::rules::order_status::{OrderStatus, Step};
use order_service::rules::payment_method::PaymentMethod;
use order_service::rules::request::OrderRequest;
use order_service::storage::attempts::{self, Begun, NewOrder, Resumed};
use order_service::storage::{MIGRATIONS, charges, orders};
use serde_json::json;
use shared::clock::Timestamp;
use shared::database::Database;
use shared::session::UserId;
use uuid::Uuid;

use crate::harness::key;

struct Tables {
    database: Database,
    _folder: tempfile::TempDir,
}

macro_rules! on_both_databases {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $test() {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", folder.path().join("order.db").display());
                super::$test(super::Tables::open(&url, folder).await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $test() {
                if let Some(url) = shared::testing::postgres().await {
                    super::$test(super::Tables::open(&url, tempfile::tempdir().unwrap()).await).await;
                }
            })*
        }
    };
}

on_both_databases! {
    an_attempt_is_recorded_once_for_a_key,
    ho3_of_many_attempts_at_once_as_many_are_recorded_as_may_be_unpaid,
    a_row_comes_back_as_it_was,
    an_attempt_is_no_order,
    a_move_is_made_by_one_of_many,
    a_move_from_another_status_is_none,
    a_payment_is_counted_and_an_older_one_settles_nothing,
    a_lease_is_one_owners,
    due_orders_come_in_turn,
    only_failed_attempts_are_forgotten,
    a_list_begins_after_the_cursor,
    a_charge_is_recorded_once_and_approved_once,
    migrating_twice_is_once,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn reservation() -> Reservation {
    let money = |amount| json!({"amount": amount, "currency": "EUR"});
    let line =
        json!({"product_id": "p", "name": "Lamp \u{1f4a1}", "quantity": 2, "price": money(5), "total": money(10)});
    Reservation {
        checkout_id: "c".to_owned(),
        lines: vec![serde_json::from_value(line).unwrap()],
        total: serde_json::from_value(money(10)).unwrap(),
    }
}

impl Tables {
    async fn open(url: &str, folder: tempfile::TempDir) -> Self {
        let database = Database::open(url, 8).await.unwrap();
        database.migrate(&MIGRATIONS).await.unwrap();
        Self { database, _folder: folder }
    }

    async fn begin(&self, user: UserId, name: &str, request: &OrderRequest, created_at: Timestamp) -> Option<Order> {
        let key = key(name);
        let new = NewOrder {
            id: Uuid::new_v4(),
            user,
            key: &key,
            request,
            created_at,
            leased_until: created_at,
            next_attempt_at: created_at + Duration::from_secs(100),
        };
        match attempts::begin(&self.database, &new, OrderLimits { unpaid: 1_000, abandoned: 1_000 }).await.unwrap() {
            Begun::New(order) => Some(*order),
            Begun::KeyTaken => None,
            Begun::Refused(_) => panic!("no limit is reached"),
        }
    }

    async fn placing(&self, user: UserId, created_at: i64) -> Order {
        let name = Uuid::new_v4().to_string();
        self.begin(user, &name, &OrderRequest::default(), at(created_at)).await.unwrap()
    }

    async fn step(&self, order: &Order, step: Step, now: i64) -> Option<Order> {
        let transition = order.status.after(step).unwrap();
        orders::advance(&self.database, order, transition, at(now), at(now), at(now + 1_800)).await.unwrap()
    }

    async fn placed(&self, user: UserId, created_at: i64) -> Order {
        let order = self.placing(user, created_at).await;
        let transition = order.status.after(Step::Reserve).unwrap();
        let order = orders::reserve(&self.database, &order, transition, &reservation()).await.unwrap().unwrap();
        self.step(&order, Step::Place, created_at + 1).await.unwrap()
    }

    async fn paying(&self, order: &Order, method: PaymentMethod) -> Option<Order> {
        let transition = order.status.after(Step::BeginPayment).unwrap();
        orders::begin_payment(&self.database, order, transition, method, at(50), at(60)).await.unwrap()
    }

    async fn load(&self, order: &Order) -> Order {
        orders::load(&self.database, order.id).await.unwrap().unwrap()
    }
}

async fn an_attempt_is_recorded_once_for_a_key(tables: Tables) {
    let (ada, eve, request) = (UserId::random(), UserId::random(), OrderRequest::default());
    let tries = join_all((0..16).map(|_| tables.begin(ada, "k", &request, at(1)))).await;
    let recorded: Vec<Order> = tries.into_iter().flatten().collect();
    assert_eq!(recorded.len(), 1);
    assert!(tables.begin(eve, "k", &request, at(1)).await.is_some(), "a key is its user's");
    assert!(tables.begin(ada, "K", &request, at(1)).await.is_some(), "capitals count");
    let found = orders::find_by_key(&tables.database, ada, &key("k")).await.unwrap();
    assert_eq!(found.as_ref(), recorded.first());
    assert_eq!(orders::find_by_key(&tables.database, ada, &key("other")).await.unwrap(), None);
}

async fn ho3_of_many_attempts_at_once_as_many_are_recorded_as_may_be_unpaid(tables: Tables) {
    let (ada, request, limit) =
        (UserId::random(), OrderRequest::default(), OrderLimits { unpaid: 3, abandoned: 1_000 });
    let begin = |name: String| {
        let database = tables.database.clone();
        let request = request.clone();
        async move {
            let key = key(&name);
            let (user, id) = (ada, Uuid::new_v4());
            let (created_at, leased_until, next_attempt_at) = (at(1), at(20), at(1_000));
            let new = NewOrder { id, user, key: &key, request: &request, created_at, leased_until, next_attempt_at };
            attempts::begin(&database, &new, limit).await.unwrap()
        }
    };
    let tries = join_all((0..24).map(|number| begin(format!("key-{number}")))).await;
    let recorded: Vec<usize> = (0..24).filter(|number| matches!(tries[*number], Begun::New(_))).collect();
    assert_eq!(recorded.len(), 3, "{tries:?}");
    assert_eq!(tries.iter().filter(|outcome| **outcome == Begun::Refused(Exceeded::Unpaid)).count(), 21);
    assert_eq!(begin(format!("key-{}", recorded[0])).await, Begun::KeyTaken, "a repeat is no further order");

    // Those that stopped half-way are no orders, and may go on as far as the limit allows.
    let given_up: Vec<Order> = tries
        .iter()
        .filter_map(|outcome| if let Begun::New(order) = outcome { Some((**order).clone()) } else { None })
        .collect();
    for order in &given_up {
        orders::put_off(&tables.database, order, at(1_000)).await.unwrap();
    }
    for number in 100..103 {
        assert!(matches!(begin(format!("key-{number}")).await, Begun::New(_)));
    }
    let resume = |order: Order| {
        let database = tables.database.clone();
        async move { attempts::resume(&database, &order, at(2), at(30), limit).await.unwrap() }
    };
    assert_eq!(resume(given_up[0].clone()).await, Resumed::Refused(Exceeded::Unpaid));
    let other = begin("key-100".to_owned()).await;
    assert_eq!(other, Begun::KeyTaken);
    let first = orders::find_by_key(&tables.database, ada, &key("key-100")).await.unwrap().unwrap();
    orders::put_off(&tables.database, &first, at(1_000)).await.unwrap();
    let resumed = join_all((0..8).map(|_| resume(given_up[0].clone()))).await;
    assert_eq!(resumed.iter().filter(|outcome| **outcome == Resumed::Leased).count(), 1, "{resumed:?}");
}

async fn a_row_comes_back_as_it_was(tables: Tables) {
    let address = json!({"name": "Å", "line1": "1", "postal_code": "1", "city": "B", "country": "DE"});
    let request = json!({"note": "a'b\"c\n\u{1f600}", "shipping_address": address});
    let request: OrderRequest = serde_json::from_value(request).unwrap();
    let created = Timestamp::from_micros(1_795_230_000_123_457);
    let order = tables.begin(UserId::random(), "k", &request, created).await.unwrap();
    assert_eq!(tables.load(&order).await, order);
    assert_eq!((&order.request, &order.request_hash, order.created_at), (&request, &request.hash(), created));
    assert_eq!((order.status, &order.reservation, order.payment.attempt), (OrderStatus::Placing, &None, 0));
    let transition = order.status.after(Step::Reserve).unwrap();
    let reserved = orders::reserve(&tables.database, &order, transition, &reservation()).await.unwrap().unwrap();
    assert_eq!(reserved.reservation, Some(reservation()));
    assert_eq!(tables.load(&order).await, reserved);
    assert_eq!(orders::load(&tables.database, Uuid::new_v4()).await.unwrap(), None);
}

async fn an_attempt_is_no_order(tables: Tables) {
    let (ada, eve) = (UserId::random(), UserId::random());
    let attempt = tables.placing(ada, 1).await;
    let order = tables.placed(ada, 2).await;
    assert_eq!(orders::find(&tables.database, ada, attempt.id).await.unwrap(), None);
    assert_eq!(orders::find(&tables.database, ada, order.id).await.unwrap(), Some(order.clone()));
    assert_eq!(orders::find(&tables.database, eve, order.id).await.unwrap(), None);
    assert_eq!(orders::list(&tables.database, ada, None, 10).await.unwrap(), [order]);
    assert!(orders::list(&tables.database, eve, None, 10).await.unwrap().is_empty());
}

async fn a_move_is_made_by_one_of_many(tables: Tables) {
    let order = tables.placed(UserId::random(), 1).await;
    let pays = join_all((0..8).map(|_| tables.paying(&order, PaymentMethod::TestCard)));
    let cancels = join_all((0..8).map(|_| tables.step(&order, Step::BeginCancelling, 9)));
    let (pays, cancels) = tokio::join!(pays, cancels);
    assert_eq!(pays.into_iter().chain(cancels).flatten().count(), 1);
}

async fn a_move_from_another_status_is_none(tables: Tables) {
    let stale = tables.placed(UserId::random(), 1).await;
    let cancelling = tables.step(&stale, Step::BeginCancelling, 5).await.unwrap();
    let cancelled = tables.step(&cancelling, Step::FinishCancelling, 6).await.unwrap();
    assert_eq!((cancelled.status, cancelled.cancelled_at), (OrderStatus::Cancelled, Some(at(6))));
    assert_eq!(cancelled.placed_at, Some(at(2)));
    assert_eq!(tables.paying(&stale, PaymentMethod::TestCard).await, None);
    assert_eq!(tables.step(&stale, Step::BeginCancelling, 9).await, None);
    assert_eq!(tables.step(&cancelling, Step::FinishCancelling, 9).await, None);
    assert_eq!(tables.load(&stale).await, cancelled);
    let failing = tables.placing(stale.user, 1).await;
    let failed = tables.step(&failing, Step::Fail, 2).await.unwrap();
    assert_eq!((failed.status, failed.placed_at), (OrderStatus::Failed, None));
    let transition = failing.status.after(Step::Reserve).unwrap();
    assert_eq!(orders::reserve(&tables.database, &failing, transition, &reservation()).await.unwrap(), None);
}

async fn a_payment_is_counted_and_an_older_one_settles_nothing(tables: Tables) {
    let order = tables.placed(UserId::random(), 1).await;
    let first = tables.paying(&order, PaymentMethod::TestCardDeclined).await.unwrap();
    assert_eq!((first.payment.attempt, first.payment.method), (1, Some(PaymentMethod::TestCardDeclined)));
    let declined = tables.step(&first, Step::PaymentDeclined, 51).await.unwrap();
    assert_eq!((declined.status, declined.placed_at, declined.paid_at), (OrderStatus::Placed, order.placed_at, None));
    let second = tables.paying(&declined, PaymentMethod::TestCard).await.unwrap();
    assert_eq!(second.payment.attempt, 2);
    // The first payment's worker wakes up late: it has no say over the second.
    assert_eq!(tables.step(&first, Step::PaymentDeclined, 52).await, None);
    assert_eq!(tables.step(&first, Step::PaymentApproved, 52).await, None);
    orders::put_off(&tables.database, &first, at(1_000)).await.unwrap();
    assert_eq!(tables.load(&second).await, second);
    let paid = tables.step(&second, Step::PaymentApproved, 53).await.unwrap();
    assert_eq!((paid.status, paid.paid_at), (OrderStatus::Paid, Some(at(53))));
}

async fn a_lease_is_one_owners(tables: Tables) {
    let order = tables.placing(UserId::random(), 10).await;
    let lease = |now, until| orders::take_lease(&tables.database, &order, at(now), at(until));
    assert!(!lease(9, 20).await.unwrap(), "the first one still holds");
    let tries = join_all((0..16).map(|_| lease(10, 20))).await;
    assert_eq!(tries.into_iter().filter(|taken| *taken.as_ref().unwrap()).count(), 1);
    assert!(!lease(19, 30).await.unwrap());
    orders::put_off(&tables.database, &order, at(500)).await.unwrap();
    let back = tables.load(&order).await;
    assert_eq!((back.failures, back.next_attempt_at), (1, at(500)));
    assert!(lease(11, 30).await.unwrap(), "given back, it can be taken at once");
    tables.step(&order, Step::Fail, 12).await.unwrap();
    assert!(!lease(100, 200).await.unwrap(), "it has moved on");
}

async fn due_orders_come_in_turn(tables: Tables) {
    let ada = UserId::random();
    let due = |now, limit| orders::due(&tables.database, at(now), limit);
    let (late, early) = (tables.placing(ada, 20).await, tables.placing(ada, 10).await);
    tables.placed(ada, 1).await;
    let failed = tables.placing(ada, 1).await;
    tables.step(&failed, Step::Fail, 2).await.unwrap();
    assert!(due(109, 10).await.unwrap().is_empty());
    assert_eq!(due(110, 10).await.unwrap(), std::slice::from_ref(&early));
    let ids = |orders: Vec<Order>| orders.into_iter().map(|order| order.id).collect::<Vec<_>>();
    assert_eq!(ids(due(500, 10).await.unwrap()), [early.id, late.id]);
    assert_eq!(ids(due(500, 1).await.unwrap()), [early.id]);
    assert!(orders::take_lease(&tables.database, &early, at(500), at(510)).await.unwrap());
    assert_eq!(ids(due(500, 10).await.unwrap()), [late.id]);
    assert_eq!(ids(due(510, 10).await.unwrap()), [early.id, late.id]);
    for step in [Step::BeginPayment, Step::BeginCancelling] {
        let order = tables.placed(ada, 600).await;
        match step {
            Step::BeginPayment => drop(tables.paying(&order, PaymentMethod::TestCard).await.unwrap()),
            _ => drop(tables.step(&order, step, 601).await.unwrap()),
        }
        assert!(ids(due(700, 10).await.unwrap()).contains(&order.id), "{step:?}");
    }
}

async fn only_failed_attempts_are_forgotten(tables: Tables) {
    let ada = UserId::random();
    let kept = [tables.placing(ada, 1).await, tables.placed(ada, 1).await];
    let (old, young) = (tables.placing(ada, 5).await, tables.placing(ada, 50).await);
    for failed in [&old, &young] {
        tables.step(failed, Step::Fail, 51).await.unwrap();
    }
    assert_eq!(orders::forget_failed(&tables.database, at(50), 9).await.unwrap(), 1);
    assert_eq!(orders::load(&tables.database, old.id).await.unwrap(), None);
    for order in kept.iter().chain([&young]) {
        tables.load(order).await;
    }
}

async fn a_list_begins_after_the_cursor(tables: Tables) {
    let ada = UserId::random();
    let mut placed = Vec::new();
    // Two of the same moment are told apart by their ids.
    for created_at in [5, 5, 5, 4, 9] {
        placed.push(tables.placed(ada, created_at).await);
    }
    placed.sort_by_key(|order| std::cmp::Reverse((order.created_at, order.id)));
    for (number, order) in placed.iter().enumerate() {
        let after = OrderCursor { created_at: order.created_at, id: order.id };
        let rest = orders::list(&tables.database, ada, Some(after), 10).await.unwrap();
        assert_eq!(rest, placed[number + 1..]);
    }
    assert_eq!(orders::list(&tables.database, ada, None, 2).await.unwrap(), placed[..2]);
}

async fn a_charge_is_recorded_once_and_approved_once(tables: Tables) {
    let (order, database) = (Uuid::new_v4(), &tables.database);
    let amount: Money = serde_json::from_value(json!({"amount": 7, "currency": "EUR"})).unwrap();
    charges::record(database, (order, 1), amount, "declined", at(1)).await.unwrap();
    charges::record(database, (order, 1), amount, "approved", at(2)).await.unwrap();
    let first = charges::find(database, (order, 1)).await.unwrap().unwrap();
    assert_eq!((first.outcome.as_str(), first.charged_at, first.amount), ("declined", at(1), 7));
    assert_eq!(charges::find(database, (order, 2)).await.unwrap(), None);
    charges::refund(database, order, at(3)).await.unwrap();
    assert_eq!(charges::find(database, (order, 1)).await.unwrap().unwrap().refunded_at, None, "nothing was taken");
    charges::record(database, (order, 2), amount, "approved", at(4)).await.unwrap();
    charges::record(database, (order, 3), amount, "approved", at(5)).await.unwrap();
    let third = charges::find(database, (order, 3)).await.unwrap().unwrap();
    assert_eq!((third.attempt, third.outcome.as_str()), (2, "approved"), "the money was taken by the second");
    for (now, expected) in [(6, 6), (7, 6)] {
        charges::refund(database, order, at(now)).await.unwrap();
        let refunded = charges::find(database, (order, 2)).await.unwrap().unwrap().refunded_at;
        assert_eq!(refunded, Some(at(expected)), "once");
    }
}

async fn migrating_twice_is_once(tables: Tables) {
    tables.database.migrate(&MIGRATIONS).await.unwrap();
    tables.database.ping().await.unwrap();
}
