//! Real servers of a test's own, on free loopback ports and in temporary folders. Owns finding, starting and stopping
//! them; never touches a server that it did not start.

mod cluster;
mod folder;
mod gateway;
#[cfg(test)]
mod gateway_hosts;
#[cfg(test)]
mod gateway_limits;
mod pair;
mod postgres;
mod programs;
mod redis;
mod sentinels;
mod small_disk;
mod sql;
#[cfg(test)]
mod tests;
mod unprivileged;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

pub use self::cluster::PrivateRedisCluster;
pub use self::gateway::{Gateway, GatewayPorts, UNLIMITED};
pub use self::pair::PrivatePostgresPair;
pub use self::postgres::PrivatePostgres;
pub use self::programs::{Missing, apache_with_openid, bash, nginx, postgres_folder, program, redis_server};
pub use self::redis::PrivateRedis;
pub use self::sentinels::PrivateSentinels;
pub use self::small_disk::SmallDisk;
pub use self::sql::SqlSession;
pub use self::unprivileged::can_be_reached;

/// A PostgreSQL for one test, or `None`, aloud, where it is not installed.
///
/// # Panics
/// It does not start; or it is not installed, and `ROAM_REQUIRE_SERVERS` says that it must be.
pub fn postgres_for_test() -> Option<PrivatePostgres> {
    for_test(PrivatePostgres::launch())
}

/// A PostgreSQL with a standby for one test, as [`postgres_for_test`].
///
/// # Panics
/// As [`postgres_for_test`].
pub fn postgres_pair_for_test() -> Option<PrivatePostgresPair> {
    for_test(PrivatePostgresPair::launch())
}

/// A Redis for one test, as [`postgres_for_test`].
///
/// # Panics
/// As [`postgres_for_test`].
pub fn redis_for_test() -> Option<PrivateRedis> {
    for_test(PrivateRedis::launch())
}

/// After this time a silent server is replaced by its replica.
const SOON: Duration = Duration::from_secs(1);
/// A server that is only slow is not replaced.
const LATE: Duration = Duration::from_secs(30);

/// A Redis Cluster for one test, as [`postgres_for_test`].
///
/// # Panics
/// As [`postgres_for_test`].
pub fn redis_cluster_for_test() -> Option<PrivateRedisCluster> {
    for_test(PrivateRedisCluster::launch(SOON))
}

/// A Redis Cluster for a test in which none of its nodes is replaced, as [`postgres_for_test`].
///
/// # Panics
/// As [`postgres_for_test`].
pub fn steady_redis_cluster_for_test() -> Option<PrivateRedisCluster> {
    for_test(PrivateRedisCluster::launch(LATE))
}

/// A Redis with a replica and three sentinels for one test, as [`postgres_for_test`].
///
/// # Panics
/// As [`postgres_for_test`].
pub fn sentinels_for_test() -> Option<PrivateSentinels> {
    for_test(PrivateSentinels::launch(SOON))
}

/// As [`sentinels_for_test`], for a test in which the master is not replaced.
///
/// # Panics
/// As [`postgres_for_test`].
pub fn steady_sentinels_for_test() -> Option<PrivateSentinels> {
    for_test(PrivateSentinels::launch(LATE))
}

/// Whether a test may start a gateway, as [`postgres_for_test`].
///
/// # Panics
/// nginx is not installed, and `ROAM_REQUIRE_SERVERS` says that it must be.
pub fn gateway_for_test() -> Option<()> {
    for_test(nginx().and_then(|_| bash()).map(drop).map_err(anyhow::Error::from))
}

/// Apache with mod_auth_openidc, and the folder with its modules, as [`postgres_for_test`].
///
/// # Panics
/// One of them is not installed, and `ROAM_REQUIRE_SERVERS` says that it must be.
pub fn apache_for_test() -> Option<(PathBuf, PathBuf)> {
    for_test(apache_with_openid().map_err(anyhow::Error::from))
}

fn for_test<S>(launched: anyhow::Result<S>) -> Option<S> {
    match launched {
        Ok(server) => Some(server),
        Err(error) if error.is::<Missing>() => {
            leave_out(&error.to_string());
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// Says that the current test is left out, and why.
///
/// # Panics
/// `ROAM_REQUIRE_SERVERS` says that nothing may be left out.
pub fn leave_out(why: &str) {
    assert!(std::env::var_os("ROAM_REQUIRE_SERVERS").is_none(), "nothing may be left out, and {why}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not eprintln: the output of a test that passes is kept from sight, and this line is for the reader.
    let _ = writeln!(std::io::stderr(), "left to `cargo xtask test`: {test} ({why})");
}
