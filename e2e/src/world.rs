//! Where a journey takes place: a platform of its own and, beyond one process, a Redis of its own. Owns the words in which
//! journeys are told.

use std::io::Write as _;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{Mutex, MutexGuard};

use crate::servers::{PrivatePostgres, PrivateRedis, gateway_for_test, postgres_for_test, redis_for_test};
use crate::{Answer, Person, Platform, Service};

/// How long what spreads in a moment may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct World {
    pub platform: Platform,
    /// None where the processes keep sessions themselves.
    pub redis: Option<PrivateRedis>,
    _postgres: Option<PrivatePostgres>,
    /// Where several tests have one platform, each has it for itself.
    _turn: Option<MutexGuard<'static, ()>>,
}

/// What the processes of a platform share.
struct Stores {
    postgres: Option<PrivatePostgres>,
    postgres_url: String,
    redis: PrivateRedis,
}

impl Stores {
    /// None, aloud, where PostgreSQL or Redis is not installed.
    fn for_test() -> Option<Self> {
        let (postgres, postgres_url) = postgres_of_test()?;
        Some(Self { postgres, postgres_url, redis: redis_for_test()? })
    }

    fn with(self, platform: Platform) -> World {
        World { platform, redis: Some(self.redis), _postgres: self.postgres, _turn: None }
    }
}

/// The PostgreSQL that all tests share, where there is one, else one of this test's own.
fn postgres_of_test() -> Option<(Option<PrivatePostgres>, String)> {
    let given = std::env::var("TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty());
    match given {
        Some(url) => Some((None, url)),
        None => {
            let own = postgres_for_test()?;
            let url = own.url();
            Some((Some(own), url))
        }
    }
}

impl World {
    pub async fn all_in_one(settings: &[(&str, &str)]) -> Self {
        Self { platform: Platform::all_in_one(settings).await, redis: None, _postgres: None, _turn: None }
    }

    /// The containers of `cargo xtask test --compose`, for one test after the other. None, aloud, where there are none.
    pub async fn in_containers() -> Option<Self> {
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let Some(platform) = Platform::in_containers().await else {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let _ = writeln!(std::io::stderr(), "left to `cargo xtask test --compose`: {test}");
            return None;
        };
        Some(Self { platform, redis: None, _postgres: None, _turn: Some(turn) })
    }

    /// A process for each service. None, aloud, where PostgreSQL or Redis is not installed.
    pub async fn split(settings: &[(&str, &str)]) -> Option<Self> {
        let stores = Stores::for_test()?;
        let platform = Platform::split(&stores.postgres_url, &stores.redis.url(), settings).await;
        Some(stores.with(platform))
    }

    /// As [`World::split`], with sessions on a Redis that the test has made.
    pub async fn on_redis(url: &str, settings: &[(&str, &str)]) -> Option<Self> {
        let (postgres, postgres_url) = postgres_of_test()?;
        let platform = Platform::split(&postgres_url, url, settings).await;
        Some(Self { platform, redis: None, _postgres: postgres, _turn: None })
    }

    /// As [`World::split`], on a PostgreSQL that the test has made.
    pub async fn on_postgres(url: &str, settings: &[(&str, &str)]) -> Option<Self> {
        let redis = redis_for_test()?;
        let platform = Platform::split(url, &redis.url(), settings).await;
        Some(Self { platform, redis: Some(redis), _postgres: None, _turn: None })
    }

    /// Two replicas of each service behind a gateway. None, aloud, where one of PostgreSQL, Redis and nginx is not
    /// installed.
    pub async fn replicated(settings: &[(&str, &str)]) -> Option<Self> {
        Self::with_replicas([2; 3], settings).await
    }

    /// As [`World::replicated`], with so many replicas of each service.
    pub async fn with_replicas(replicas: [usize; 3], settings: &[(&str, &str)]) -> Option<Self> {
        gateway_for_test()?;
        let stores = Stores::for_test()?;
        let platform = Platform::replicated(&stores.postgres_url, &stores.redis.url(), replicas, settings).await;
        Some(stores.with(platform))
    }

    /// So many all-in-one nodes behind a gateway, each with all three services. None, aloud, where PostgreSQL or nginx is
    /// not installed.
    pub async fn nodes(count: usize, settings: &[(&str, &str)]) -> Option<Self> {
        gateway_for_test()?;
        let (postgres, postgres_url) = postgres_of_test()?;
        let platform = Platform::nodes(&postgres_url, count, settings).await;
        Some(Self { platform, redis: None, _postgres: postgres, _turn: None })
    }

    /// An administrator who has logged in.
    pub async fn admin(&self) -> Person {
        let mut admin = self.platform.person_with(self.platform.admin());
        expect(200, admin.log_in().await);
        admin
    }

    /// The id of a product of which at least `stock` are there.
    ///
    /// # Panics
    /// There is none.
    pub async fn product(&self, stock: i64) -> String {
        let products = expect(200, self.platform.person().products().await).body;
        let items = products["items"].as_array().expect("a list of products");
        let found = items.iter().find(|product| product["stock"].as_i64() >= Some(stock));
        found.expect("a product in stock")["id"].as_str().expect("its id").to_owned()
    }

    /// How many of a product are there.
    ///
    /// # Panics
    /// There is no such product.
    pub async fn stock(&self, product: &str) -> i64 {
        let person = self.platform.person();
        let answer = person.get(&person.url(Service::Cart, &format!("/products/{product}"))).await;
        expect(200, answer).body["stock"].as_i64().expect("a number")
    }

    /// Stops the platform as an operator does, and searches all that it printed for every secret that a person saw.
    pub fn finish(mut self) {
        self.platform.stop();
        self.platform.assert_no_secret_in_output();
    }
}

/// The answer, if its status is this one.
///
/// # Panics
/// It is another.
#[track_caller]
pub fn expect(status: u16, answer: Answer) -> Answer {
    assert_eq!(answer.status, status, "{}", answer.body);
    answer
}

/// Runs the same thing `times` at once.
pub async fn at_once<F: Future>(times: usize, run: impl Fn(usize) -> F) -> Vec<F::Output> {
    join_all((0..times).map(run)).await
}

/// Asks again until the answer has this status, for what spreads in a moment.
///
/// # Panics
/// It has not within ten seconds.
pub async fn eventually<F: Future<Output = u16>>(status: u16, ask: impl Fn() -> F) {
    let started = Instant::now();
    loop {
        let seen = ask().await;
        if seen == status {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "still {seen} after {PATIENCE:?}, expected {status}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
