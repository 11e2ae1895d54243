//! What is asked of a server, and what its refusals mean. Knows no key.

use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    Arg, Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, ScriptInvocation, ServerErrorKind, pipe,
};

use crate::session::StoreUnavailable;

/// What a script is told that asks for a key which it did not name, and which is elsewhere. There is no code for it.
const NOT_HERE: &str = "attempted to access a non local key";

/// One question. All its keys have one slot.
pub(super) enum Request<'q> {
    Command(&'q Cmd),
    Pipeline(&'q Pipeline),
    /// The server is told its text when it does not know it.
    Script(&'q ScriptInvocation<'q>),
}

impl Request<'_> {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Command(command) => match command.args_iter().next() {
                Some(Arg::Simple(name)) => str::from_utf8(name).unwrap_or("command"),
                _ => "command",
            },
            Self::Pipeline(_) => "pipeline",
            Self::Script(_) => "EVALSHA",
        }
    }

    /// With `asking`, of a node that takes over the slot and does not own it yet.
    pub(super) async fn send<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        asking: bool,
    ) -> RedisResult<T> {
        if !asking {
            return match self {
                Self::Command(command) => command.query_async(connection).await,
                Self::Pipeline(pipeline) => pipeline.query_async(connection).await,
                Self::Script(script) => script.invoke_async(connection).await,
            };
        }
        let mut asked = pipe();
        asked.cmd("ASKING").ignore();
        match self {
            Self::Pipeline(pipeline) => {
                for command in pipeline.cmd_iter() {
                    asked.add_command(command.clone());
                }
                return asked.query_async(connection).await;
            }
            Self::Command(command) => asked.add_command((*command).clone()),
            Self::Script(script) => {
                script.load_async(connection).await?;
                asked.invoke_script(script)
            }
        };
        asked.query_async(connection).await.map(|(answer,)| answer)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another node has the slot; with `asking`, for this question alone.
    Elsewhere {
        host: String,
        port: u16,
        asking: bool,
        said: StoreUnavailable,
    },
    /// The slot is on its way to another node, and some of the keys are here and some there. A script that came upon one
    /// in the middle may have changed others: scripts are written so that they can be run again.
    InBetween(StoreUnavailable),
    Unavailable(StoreUnavailable),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let said = StoreUnavailable(error.to_string());
        // Of a pipeline, all that was refused.
        let refusals = error.into_server_errors().unwrap_or_default();
        for (_, refusal) in refusals.iter() {
            match refusal.kind() {
                Some(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask)) => {
                    let Some((host, port)) = refusal.details().and_then(place) else { continue };
                    return Self::Elsewhere { host, port, asking: kind == ServerErrorKind::Ask, said };
                }
                Some(ServerErrorKind::TryAgain) => return Self::InBetween(said),
                _ if refusal.details().is_some_and(|details| details.contains(NOT_HERE)) => {
                    return Self::InBetween(said);
                }
                _ => {}
            }
        }
        Self::Unavailable(said)
    }
}

impl From<Failure> for StoreUnavailable {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Elsewhere { said, .. } | Failure::InBetween(said) | Failure::Unavailable(said) => said,
        }
    }
}

/// `SLOT HOST:PORT`. The host is empty where it is the one that was asked.
fn place(details: &str) -> Option<(String, u16)> {
    let (host, port) = details.split_whitespace().nth(1)?.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

pub(super) fn no_answer(within: Duration) -> StoreUnavailable {
    StoreUnavailable(format!("no answer within {within:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_names_host_and_port() {
        assert_eq!(place("3999 127.0.0.1:6381"), Some(("127.0.0.1".to_owned(), 6381)));
        assert_eq!(place("3999 ::1:6381"), Some(("::1".to_owned(), 6381)));
        assert_eq!(place("3999 :6381"), Some((String::new(), 6381)));
        assert_eq!(place("3999"), None);
        assert_eq!(place("3999 host:port"), None);
    }
}
