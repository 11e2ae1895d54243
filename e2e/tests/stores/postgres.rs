//! Accounts, carts and orders on a PostgreSQL with a standby: the primary is killed, the standby promoted, and all goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::servers::postgres_pair_for_test;
use e2e::world::{eventually, expect};
use e2e::{Answer, Person, Service, World};

use crate::{NO_THROTTLE, OUTAGE, report};

const PAUSE: Duration = Duration::from_millis(50);

/// Somebody who orders one piece after the other, each until it is confirmed.
struct Buyer {
    person: Person,
    product: String,
    stop: Arc<AtomicBool>,
    confirmed: Arc<AtomicUsize>,
    orders: Vec<String>,
    refused: usize,
    longest: Duration,
}

impl Buyer {
    async fn run(mut self) -> Self {
        let mut rounds = 0;
        while !self.stop.load(Ordering::Relaxed) {
            rounds += 1;
            let (started, key) = (Instant::now(), format!("order-{rounds}"));
            let item = self.person.url(Service::Cart, &format!("/cart/items/{}", self.product));
            while !self.is_done(200, &self.person.put(&item, &serde_json::json!({"quantity": 1})).await) {
                self.wait(started).await;
            }
            let order = loop {
                let answer = self.person.place_order(&key).await;
                if self.is_done(201, &answer) {
                    break answer.body["id"].as_str().expect("an id").to_owned();
                }
                self.wait(started).await;
            };
            self.orders.push(order);
            self.confirmed.fetch_add(1, Ordering::Relaxed);
            self.longest = self.longest.max(started.elapsed());
        }
        self
    }

    /// What could not be done is a 503 that says when to come back.
    fn is_done(&self, expected: u16, answer: &Answer) -> bool {
        if answer.status == 503 {
            assert!(answer.header("retry-after").parse::<u64>().is_ok(), "a Retry-After in seconds: {}", answer.body);
            return false;
        }
        assert_eq!(answer.status, expected, "{}", answer.body);
        true
    }

    async fn wait(&mut self, started: Instant) {
        self.refused += 1;
        assert!(started.elapsed() < OUTAGE, "an order was tried for {OUTAGE:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn until_confirmed(confirmed: &AtomicUsize, orders: usize) {
    let (started, before) = (Instant::now(), confirmed.load(Ordering::Relaxed));
    while confirmed.load(Ordering::Relaxed) < before + orders {
        assert!(started.elapsed() < OUTAGE * 2, "no orders are confirmed any more");
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_confirmed_order_is_lost_when_the_primary_is_killed_and_its_standby_promoted() -> anyhow::Result<()> {
    let Some(mut pair) = postgres_pair_for_test() else { return Ok(()) };
    let Some(world) = World::on_postgres(&pair.url(), &NO_THROTTLE).await else { return Ok(()) };
    let product = world.product(1).await;
    let plenty = format!("UPDATE products SET stock = 1000000 WHERE id = '{product}'");
    world.platform.sql(Service::Cart).execute(&plenty)?;

    let (stop, confirmed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let mut buyers = Vec::new();
    for _ in 0..3 {
        let buyer = Buyer {
            person: world.platform.customer().await,
            product: product.clone(),
            stop: stop.clone(),
            confirmed: confirmed.clone(),
            orders: Vec::new(),
            refused: 0,
            longest: Duration::ZERO,
        };
        buyers.push(tokio::spawn(buyer.run()));
    }
    until_confirmed(&confirmed, 10).await;
    pair.kill_primary()?;
    pair.promote()?;
    let promoted = Instant::now();
    until_confirmed(&confirmed, 1).await;
    report(&format!("PostgreSQL: an order is confirmed {:?} after the promotion", promoted.elapsed()));
    until_confirmed(&confirmed, 10).await;

    // The former primary comes back and believes that it still is one.
    let before = confirmed.load(Ordering::Relaxed);
    pair.start_former_primary()?;
    until_confirmed(&confirmed, 20).await;
    stop.store(true, Ordering::Relaxed);

    let (mut sold, mut longest, mut refused) = (0, Duration::ZERO, 0);
    for buyer in buyers {
        let buyer = buyer.await?;
        let mut listed = orders_of(&buyer.person).await;
        let mut orders = buyer.orders.clone();
        sold += orders.len();
        (longest, refused) = (longest.max(buyer.longest), refused + buyer.refused);
        listed.sort_unstable();
        orders.sort_unstable();
        assert_eq!(listed, orders, "each confirmed order once, and no other");
    }
    report(&format!("PostgreSQL: {sold} orders, {refused} answers were 503, the longest order took {longest:?}"));
    assert!(refused > 0, "nobody noticed that the primary was killed");
    assert!(sold > before, "nothing was sold since the former primary is back");
    let left = sql(&pair, 1, &world, Service::Cart, &format!("SELECT stock FROM products WHERE id = '{product}'"))?;
    assert_eq!(left, [(1_000_000 - sold).to_string()], "each order took one piece");
    let at_the_former = sql(&pair, 0, &world, Service::Orders, "SELECT count(*) FROM orders")?;
    let at_the_promoted = sql(&pair, 1, &world, Service::Orders, "SELECT count(*) FROM orders")?;
    assert_eq!(at_the_promoted, [sold.to_string()]);
    assert!(at_the_former[0].parse::<usize>()? < sold, "the former primary was believed");

    // Accounts are there, and everything else goes on as well.
    let mut eve = world.platform.customer().await;
    expect(200, eve.refresh().await);
    expect(204, eve.log_out().await);
    eventually(401, || async { eve.cart().await.status }).await;
    world.finish();
    Ok(())
}

/// The ids of all orders of a person, page by page.
async fn orders_of(person: &Person) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let url = person.url(Service::Orders, &format!("/orders{cursor}"));
        let page = expect(200, person.get(&url).await).body;
        let items = page["items"].as_array().expect("a list");
        all.extend(items.iter().map(|order| order["id"].as_str().expect("an id").to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("?cursor={next}"),
            None => return all,
        }
    }
}

fn sql(
    pair: &e2e::servers::PrivatePostgresPair,
    server: usize,
    world: &World,
    service: Service,
    statement: &str,
) -> anyhow::Result<Vec<String>> {
    pair.session_in(server, world.platform.database(service))?.execute(statement)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_the_standby_did_not_get_is_not_confirmed_and_is_placed_once_when_it_is_back()
-> anyhow::Result<()> {
    let Some(mut pair) = postgres_pair_for_test() else { return Ok(()) };
    let Some(world) = World::on_postgres(&pair.url(), &NO_THROTTLE).await else { return Ok(()) };
    let (ada, product) = (world.platform.customer().await, world.product(5).await);
    expect(200, ada.add_to_cart(&product, 2).await);
    let stock = world.stock(&product).await;

    pair.stop_standby()?;
    let started = Instant::now();
    let answer = ada.place_order("once").await;
    report(&format!("PostgreSQL: without its standby, an order is refused after {:?}", started.elapsed()));
    assert_eq!((answer.status, answer.code()), (503, "unavailable"), "{}", answer.body);
    assert!(!answer.header("retry-after").is_empty());
    assert!(started.elapsed() < OUTAGE, "{:?}", started.elapsed());

    pair.start_standby()?;
    expect(201, ada.place_order_patiently("once").await);
    assert_eq!(orders_of(&ada).await.len(), 1);
    assert_eq!(world.stock(&product).await, stock - 2);
    world.finish();
    Ok(())
}
