//! Sentinel: which server is the master now. Owns asking the sentinels, and believing a server only when it says itself
//! that it is the master.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, RedisResult, ServerErrorKind, Value, cmd,
    from_redis_value_ref,
};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::address::{Sentinels, elsewhere};
use crate::session::StoreUnavailable;

/// How long one sentinel may take: they are many, and a dead one is not waited for.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a sentinel says.
struct Answer {
    /// Grows with each failover.
    epoch: u64,
    host: String,
    port: u16,
}

impl Sentinels {
    /// How to connect to the master of which the sentinels know last.
    pub(super) async fn find_master(&self) -> Result<ConnectionInfo, StoreUnavailable> {
        let answers = join_all(self.sentinels.iter().map(|sentinel| timeout(PATIENCE, self.ask(sentinel)))).await;
        let mut reason = String::from("no answer in time");
        let mut newest: Option<Answer> = None;
        for answer in answers.into_iter().flatten() {
            match answer {
                Ok(answer) if newest.as_ref().is_none_or(|newest| newest.epoch < answer.epoch) => newest = Some(answer),
                Ok(_) => {}
                Err(error) => reason = error.to_string(),
            }
        }
        let newest = newest
            .ok_or_else(|| StoreUnavailable(format!("no sentinel tells the master {:?}: {reason}", self.name)))?;
        Ok(elsewhere(&self.master, newest.host, newest.port))
    }

    async fn ask(&self, sentinel: &ConnectionInfo) -> RedisResult<Answer> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE));
        let client = Client::open(sentinel.clone())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let asked = cmd("SENTINEL").arg("MASTER").arg(&self.name).query_async(&mut connection).await;
        let told: HashMap<String, String> = asked?;
        let number = |name| told.get(name).and_then(|text| text.parse::<u64>().ok());
        let host = told.get("ip").filter(|host| !host.is_empty()).cloned();
        let port = number("port").and_then(|port| u16::try_from(port).ok());
        match (number("config-epoch"), host, port) {
            (Some(epoch), Some(host), Some(port)) => Ok(Answer { epoch, host, port }),
            _ => Err((ErrorKind::UnexpectedReturnType, "a sentinel's answer cannot be read").into()),
        }
    }
}

/// A server that was the master a moment ago may be a replica that knows it already.
pub(super) async fn must_be_master(connection: &mut MultiplexedConnection) -> Result<(), StoreUnavailable> {
    let role: RedisResult<Vec<Value>> = cmd("ROLE").query_async(connection).await;
    match role {
        Ok(role) => match role.first().map(from_redis_value_ref::<String>) {
            Some(Ok(role)) if role == "master" => Ok(()),
            _ => Err(StoreUnavailable("the server that the sentinels name is not the master".to_owned())),
        },
        // Who may not ask finds out at the first write.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(()),
        Err(error) => Err(StoreUnavailable(error.to_string())),
    }
}
