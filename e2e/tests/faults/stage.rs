//! The platform of a run: two replicas of each service behind the gateway, on a PostgreSQL and a Redis of its own behind
//! proxies. Carries out faults, and brings everything back.

use std::time::Duration;

use e2e::servers::{PrivatePostgres, PrivateRedis, gateway_for_test, postgres_for_test, redis_for_test};
use e2e::{Entrance, Platform};

use crate::ended::Ended;
use crate::plan::{Fault, Store};
use crate::proxy::Proxy;

/// What a run sets: no throttle but the faults, and no second sign-in before a payment.
const SETTINGS: [(&str, &str); 10] = [
    ("LOGIN_ATTEMPTS_PER_ACCOUNT", "1000000"),
    ("LOGIN_ATTEMPTS_PER_ADDRESS", "1000000"),
    ("REGISTRATIONS_PER_ADDRESS", "1000000"),
    ("MAX_SESSIONS_PER_USER", "100000"),
    ("MAX_UNPAID_ORDERS", "1000000"),
    ("MAX_ABANDONED_ORDERS", "1000000"),
    ("PAYMENT_DEADLINE", "1d"),
    ("STEP_UP_AFTER", "1d"),
    // A refresh whose answer was lost is repeated for longer than an outage lasts, on a loaded machine too.
    ("REFRESH_GRACE", "60s"),
    ("GATEWAY_REST", "3s"),
];

pub(crate) struct Stage {
    pub(crate) platform: Platform,
    redis: PrivateRedis,
    postgres: PrivatePostgres,
    to_redis: Proxy,
    to_postgres: Proxy,
}

impl Stage {
    /// None, aloud, where PostgreSQL, Redis or nginx is not installed.
    pub(crate) async fn open() -> Option<Self> {
        gateway_for_test()?;
        // Only to see whether they are there: the run's own lose nothing when they are killed.
        drop((redis_for_test()?, postgres_for_test()?));
        let redis = PrivateRedis::launch_durable().expect("Redis starts");
        let postgres = PrivatePostgres::launch_durable().expect("PostgreSQL starts");
        let (to_redis, to_postgres) = (Proxy::start(redis.port()).await, Proxy::start(postgres.port()).await);
        let postgres_url = format!("postgres://postgres@127.0.0.1:{}/postgres", to_postgres.port);
        let redis_url = format!("redis://127.0.0.1:{}", to_redis.port);
        let mut platform = Platform::replicated(&postgres_url, &redis_url, [2; 3], &SETTINGS).await;
        platform.enter_by(Entrance::Every);
        Some(Self { platform, redis, postgres, to_redis, to_postgres })
    }

    /// Carries a fault out to its end: what was taken away is back when this returns.
    pub(crate) async fn suffer(&mut self, fault: Fault, ended: &Ended) {
        match fault {
            Fault::Kill(replica, down) => {
                self.platform.kill(replica);
                tokio::time::sleep(down).await;
                self.platform.restart(replica).await;
            }
            Fault::Restart(replica) => self.platform.restart(replica).await,
            Fault::Pause(replica, span) => {
                self.platform.pause(replica);
                tokio::time::sleep(span).await;
                self.platform.resume(replica);
            }
            Fault::Kills(Store::Redis, down) => self.without_redis(down, true, ended).await,
            Fault::Stops(Store::Redis, down) => self.without_redis(down, false, ended).await,
            Fault::Kills(Store::Postgres, down) => {
                self.postgres.kill().expect("PostgreSQL is killed");
                tokio::time::sleep(down).await;
                self.postgres.start().expect("PostgreSQL starts again");
            }
            Fault::Stops(Store::Postgres, down) => {
                self.postgres.stop().expect("PostgreSQL stops");
                tokio::time::sleep(down).await;
                self.postgres.start().expect("PostgreSQL starts again");
            }
            Fault::Hangs(span) => {
                ended.redis_goes();
                self.redis.freeze().expect("Redis is frozen");
                tokio::time::sleep(span).await;
                self.redis.thaw().expect("Redis goes on");
                ended.redis_is_back();
            }
            Fault::Drops(Store::Redis) => {
                self.to_redis.break_all();
                ended.redis_is_back();
            }
            Fault::Drops(Store::Postgres) => self.to_postgres.break_all(),
        }
    }

    async fn without_redis(&mut self, down: Duration, kill: bool, ended: &Ended) {
        ended.redis_goes();
        if kill { self.redis.kill() } else { self.redis.stop() }.expect("Redis ends");
        tokio::time::sleep(down).await;
        self.redis.start().expect("Redis starts again");
        ended.redis_is_back();
    }
}
