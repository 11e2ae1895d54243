//! Queries on their way through the pool: how long each waits for a connection, how long it takes, and its span. Looks at a
//! query's text for its first words; never at a bound value or an answer.

use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::{Either, Error, Execute, Executor, Pool, Postgres, SqlStr, Sqlite};
use tracing::Span;

use super::turns::Turns;
use super::{in_time, is_unavailable};
use crate::arrival::{self, TooLate};
use crate::calls;

/// A pool that measures: what [`on_database!`](crate::on_database) runs a query on.
#[derive(Debug)]
pub struct Measured<'p, DB: sqlx::Database> {
    pool: &'p Pool<DB>,
    /// Where only one may write at a time.
    turns: Option<&'p Turns>,
}

impl<DB: sqlx::Database> Clone for Measured<'_, DB> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<DB: sqlx::Database> Copy for Measured<'_, DB> {}

impl<'p, DB: sqlx::Database> Measured<'p, DB> {
    pub fn new(pool: &'p Pool<DB>) -> Self {
        Self { pool, turns: None }
    }

    pub(super) fn in_turn(pool: &'p Pool<DB>, turns: &'p Turns) -> Self {
        Self { pool, turns: Some(turns) }
    }
}

/// # Errors
/// It is too late for the request that this is done for.
pub(super) fn before_an_effect() -> Result<(), Error> {
    arrival::before_an_effect().map_err(refused)
}

fn refused(late: TooLate) -> Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, late).into()
}

/// Waits for a connection, or for a transaction, and measures how long.
pub(super) async fn waited<T>(waiting: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let started = Instant::now();
    let outcome = in_time(waiting).await;
    record("roam_database_pool_wait_seconds", started);
    outcome
}

fn record(name: &'static str, started: Instant) {
    metrics::histogram!(name, "service" => calls::service()).record(started.elapsed().as_secs_f64());
}

/// Runs a query on a connection of the pool; one that writes waits for its turn first, where there are turns.
async fn run<DB: sqlx::Database, T>(
    Measured { pool, turns }: Measured<'_, DB>,
    span: Span,
    writes: bool,
    query: impl AsyncFnOnce(&mut PoolConnection<DB>) -> Result<T, Error>,
) -> Result<T, Error> {
    let outcome = async {
        let (mut connection, _turn) = waited(async {
            let turn = match turns.filter(|_| writes) {
                Some(turns) => Some(turns.take().await?),
                None => None,
            };
            Ok((pool.acquire().await?, turn))
        })
        .await?;
        let started = Instant::now();
        let outcome = in_time(query(&mut connection)).await;
        record("roam_database_call_seconds", started);
        if outcome.as_ref().is_err_and(is_unavailable) {
            // A connection in doubt is not given to the next one.
            connection.close_on_drop();
        }
        outcome
    };
    outcome.await.inspect_err(|error| calls::failed(&span, &kind(error)))
}

/// What went wrong, in a word: PostgreSQL's or SQLite's code. The message may hold a value.
pub(super) fn kind(error: &Error) -> String {
    match error {
        Error::Database(error) => error.code().map_or_else(|| "database".to_owned(), |code| code.into_owned()),
        Error::PoolTimedOut => "pool_timed_out".to_owned(),
        Error::PoolClosed => "pool_closed".to_owned(),
        Error::Io(_) | Error::Tls(_) => "connection".to_owned(),
        _ => "other".to_owned(),
    }
}

/// A query whose text is known before it runs.
struct Known<DB: sqlx::Database> {
    text: SqlStr,
    statement: Option<DB::Statement>,
    arguments: Option<DB::Arguments>,
    persistent: bool,
}

impl<DB: sqlx::Database> Known<DB> {
    /// Takes a query apart, and names its span.
    fn of<'q>(mut query: impl Execute<'q, DB>, span: &Span) -> Result<Self, Error> {
        let arguments = query.take_arguments().map_err(Error::Encode)?;
        let (statement, persistent) = (query.statement().cloned(), query.persistent());
        let text = query.sql();
        if !span.is_disabled()
            && let Some((operation, table)) = first_words(text.as_str())
        {
            span.record("otel.name", format!("{operation} {table}"));
            span.record("db.operation.name", operation);
            span.record("db.collection.name", table);
        }
        Ok(Self { text, statement, arguments, persistent })
    }

    /// Asks whether it is too late for the request, where the query changes something: also one that answers rows.
    fn is_in_time(&self) -> Result<(), Error> {
        match first_words(self.text.as_str()) {
            _ if !self.writes() => Ok(()),
            Some((_, "small_values")) => arrival::before_a_note().map_err(refused),
            _ => before_an_effect(),
        }
    }

    /// Whether it may change something.
    fn writes(&self) -> bool {
        self.text.as_str().split_ascii_whitespace().next() != Some("SELECT")
    }
}

impl<DB: sqlx::Database> Execute<'_, DB> for Known<DB> {
    fn sql(self) -> SqlStr {
        self.text
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.statement.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, sqlx::error::BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

/// The operation of a statement, and the table that it is on.
fn first_words(text: &str) -> Option<(&str, &str)> {
    let mut words = text.split_ascii_whitespace();
    let operation = words.next()?;
    let table = match operation {
        "SELECT" | "DELETE" => words.find(|word| *word == "FROM").and_then(|_| words.next()),
        "INSERT" => words.find(|word| *word == "INTO").and_then(|_| words.next()),
        "UPDATE" => words.next(),
        _ => None,
    };
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let table = table?;
    Some((operation, &table[..table.find(|char| !is_name(char)).unwrap_or(table.len())]))
}

macro_rules! measured {
    ($database:ty, $system:literal) => {
        impl<'p> Executor<'p> for Measured<'p, $database> {
            type Database = $database;

            fn execute<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<<$database as sqlx::Database>::QueryResult, Error>>
            where
                'p: 'e,
                E: 'q + Execute<'q, $database>,
            {
                let span = calls::database_span($system);
                let query = Known::of(query, &span);
                let changing = async move {
                    let query = query?;
                    query.is_in_time()?;
                    run(self, span, query.writes(), async |connection| connection.execute(query).await).await
                };
                changing.boxed()
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Option<<$database as sqlx::Database>::Row>, Error>>
            where
                'p: 'e,
                E: 'q + Execute<'q, $database>,
            {
                let span = calls::database_span($system);
                let query = Known::of(query, &span);
                let asking = async move {
                    let query = query?;
                    query.is_in_time()?;
                    run(self, span, query.writes(), async |connection| connection.fetch_optional(query).await).await
                };
                asking.boxed()
            }

            /// Reads all rows before it answers the first: the connection is free again as soon as may be.
            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<
                'e,
                Result<Either<<$database as sqlx::Database>::QueryResult, <$database as sqlx::Database>::Row>, Error>,
            >
            where
                'p: 'e,
                E: 'q + Execute<'q, $database>,
            {
                let span = calls::database_span($system);
                let query = Known::of(query, &span);
                let asking = async move {
                    let query = query?;
                    query.is_in_time()?;
                    let writes = query.writes();
                    let all = async |connection: &mut PoolConnection<$database>| {
                        connection.fetch_many(query).try_collect::<Vec<_>>().await
                    };
                    run(self, span, writes, all).await
                };
                asking.map_ok(|rows| stream::iter(rows.into_iter().map(Ok))).try_flatten_stream().boxed()
            }

            fn prepare_with<'e>(
                self,
                text: SqlStr,
                parameters: &'e [<$database as sqlx::Database>::TypeInfo],
            ) -> BoxFuture<'e, Result<<$database as sqlx::Database>::Statement, Error>>
            where
                'p: 'e,
            {
                self.pool.prepare_with(text, parameters)
            }

            fn describe<'e>(self, text: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<$database>, Error>>
            where
                'p: 'e,
            {
                self.pool.describe(text)
            }
        }
    };
}

measured!(Postgres, "postgresql");
measured!(Sqlite, "sqlite");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_named_by_what_it_does_to_which_table() {
        for (text, named) in [
            ("SELECT id, name FROM products WHERE id = $1", Some(("SELECT", "products"))),
            ("INSERT INTO users (id) VALUES ($1)", Some(("INSERT", "users"))),
            ("INSERT INTO users(id) VALUES ($1)", Some(("INSERT", "users"))),
            ("UPDATE orders SET status = $2", Some(("UPDATE", "orders"))),
            ("DELETE FROM carts WHERE user_id = $1", Some(("DELETE", "carts"))),
            ("SELECT 1", None),
            ("", None),
        ] {
            assert_eq!(first_words(text), named, "{text}");
        }
    }
}
