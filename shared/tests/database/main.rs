//! Databases that take no writes for a while: a disk that is full, a server that is read-only. Each is refused as unavailable,
//! readiness tells, and everything goes on by itself afterwards.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::{Duration, Instant};

use e2e::servers::{Missing, PrivatePostgres, SmallDisk};
use futures_util::future::join_all;
use shared::database::{ClockWatch, Database, WriteProbe, is_unavailable};
use shared::{in_transaction, on_database};

const PATIENCE: Duration = Duration::from_secs(20);
/// More than the pool has connections.
const AT_ONCE: usize = 24;

async fn with_table(url: &str) -> Database {
    let database = Database::open(url, 8).await.unwrap();
    let statement = "CREATE TABLE notes (number BIGINT, note TEXT NOT NULL)";
    on_database!(&database, |pool| sqlx::query(statement).execute(pool).await.map(drop)).unwrap();
    database
}

/// Writes a note of 8,000 characters in a transaction, as the services write.
async fn note(database: &Database) -> Result<(), sqlx::Error> {
    let mut transaction = database.begin().await?;
    in_transaction!(&mut transaction, |connection| {
        sqlx::query("INSERT INTO notes (number, note) VALUES ($1, $2)")
            .bind(1_i64)
            .bind("n".repeat(8_000))
            .execute(connection)
            .await
            .map(drop)
    })?;
    transaction.commit().await
}

async fn notes(database: &Database) -> i64 {
    let query = "SELECT COUNT(*) FROM notes";
    on_database!(database, |pool| sqlx::query_scalar(query).fetch_one(pool).await).unwrap()
}

/// Asks until readiness answers so.
async fn until_ready_is(probe: &WriteProbe, expected: Result<(), &'static str>) {
    let started = Instant::now();
    while probe.ask().await != expected {
        assert!(started.elapsed() < PATIENCE, "readiness is still {:?}", probe.ask().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes until it is refused, then many at once, each of which is refused as unavailable or done.
async fn is_refused_as_unavailable(database: &Database) {
    let started = Instant::now();
    while note(database).await.is_ok() {
        assert!(started.elapsed() < PATIENCE, "a full disk takes everything");
    }
    for _ in 0..3 {
        for outcome in join_all((0..AT_ONCE).map(|_| note(database))).await {
            assert!(
                outcome.as_ref().is_ok_and(|()| true) || outcome.as_ref().is_err_and(is_unavailable),
                "{outcome:?}"
            );
        }
    }
}

async fn every_connection_writes(database: &Database) {
    let before = notes(database).await;
    for outcome in join_all((0..AT_ONCE).map(|_| note(database))).await {
        outcome.unwrap();
    }
    assert_eq!(notes(database).await - before, AT_ONCE as i64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ho1_a_full_disk_under_sqlite_is_an_outage_that_ends_with_it() {
    let Some(disk) = SmallDisk::for_test(4) else { return };
    let database = with_table(&format!("sqlite:{}", disk.path().join("notes.db").display())).await;
    let probe = WriteProbe::new(database.clone());
    until_ready_is(&probe, Ok(())).await;
    every_connection_writes(&database).await;

    disk.fill().unwrap();
    is_refused_as_unavailable(&database).await;
    until_ready_is(&probe, Err("it takes no writes")).await;
    assert!(notes(&database).await > 0, "reading goes on");

    disk.free().unwrap();
    until_ready_is(&probe, Ok(())).await;
    every_connection_writes(&database).await;
    every_connection_writes(&database).await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ho1_nothing_is_written_in_a_transaction_that_sqlite_has_ended() {
    let Some(disk) = SmallDisk::for_test(4) else { return };
    let database = with_table(&format!("sqlite:{}", disk.path().join("notes.db").display())).await;
    let mut transaction = database.begin().await.unwrap();
    // More than SQLite keeps in memory, so that it is full in the middle.
    let much =
        "WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 400)
        INSERT INTO notes (number, note) SELECT number, hex(randomblob(30000)) FROM numbers";
    let refused = in_transaction!(&mut transaction, |connection| sqlx::query(much).execute(connection).await.map(drop));
    assert!(refused.as_ref().is_err_and(is_unavailable), "{refused:?}");
    // Whoever overlooks the refusal writes nothing alone.
    let little = "INSERT INTO notes (number, note) VALUES (7, 'seven')";
    let after = in_transaction!(&mut transaction, |connection| sqlx::query(little).execute(connection).await.map(drop));
    assert!(after.as_ref().is_err_and(is_unavailable), "{after:?}");
    assert!(transaction.commit().await.as_ref().is_err_and(is_unavailable));
    assert_eq!(notes(&database).await, 0);
    every_connection_writes(&database).await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_under_sqlite_leaves_nothing_behind_and_writes_at_most_once_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.db");
    let database = with_table(&format!("sqlite:{}", file.display())).await;
    let probe = WriteProbe::new(database.clone());
    let log = || std::fs::metadata(folder.path().join("notes.db-wal")).unwrap().len();
    let before = log();
    for outcome in join_all((0..1_000).map(|_| probe.ask())).await {
        assert_eq!(outcome, Ok(()));
    }
    assert!(log() - before <= 3 * 4_120, "a thousand questions are some pages: {}", log() - before);
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ho1_a_full_disk_under_postgres_is_an_outage_that_ends_with_it() {
    let Some(disk) = SmallDisk::for_test(160) else { return };
    let password = "for-a-minute";
    let server = match PrivatePostgres::launch_kept(&disk.path().join("postgres"), password) {
        Err(error) if error.is::<Missing>() => return e2e::servers::leave_out(&error.to_string()),
        launched => launched.unwrap(),
    };
    let url = format!("postgres://postgres:{password}@127.0.0.1:{}/postgres", server.port());
    let database = with_table(&url).await;
    let probe = WriteProbe::new(database.clone());
    until_ready_is(&probe, Ok(())).await;
    every_connection_writes(&database).await;

    disk.fill().unwrap();
    until_ready_is(&probe, Err("it takes no writes")).await;
    let plenty =
        "INSERT INTO notes (number, note) SELECT n, repeat(md5(n::text), 60) FROM generate_series(1, 500) AS n";
    let full = on_database!(&database, |pool| sqlx::query(plenty).execute(pool).await.map(drop));
    assert!(full.as_ref().is_err_and(is_unavailable), "{full:?}");
    assert!(notes(&database).await > 0, "reading goes on");

    disk.free().unwrap();
    until_ready_is(&probe, Ok(())).await;
    every_connection_writes(&database).await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hf4_a_query_that_changes_something_and_answers_rows_is_refused_when_it_comes_too_late() {
    let database = with_table("sqlite::memory:").await;
    let waited = shared::arrival::LONGEST_WAIT + Duration::from_secs(1);
    let insert = "INSERT INTO notes (number, note) VALUES (9, 'nine') RETURNING number";
    let all = async || {
        let one: Result<Option<(i64,)>, _> =
            on_database!(&database, |pool| sqlx::query_as(insert).fetch_optional(pool).await);
        let many: Result<Vec<(i64,)>, _> = on_database!(&database, |pool| sqlx::query_as(insert).fetch_all(pool).await);
        (one.map(|row| row.is_some()), many.map(|rows| rows.len()))
    };
    let (one, many) = shared::testing::late(waited, all()).await;
    assert!(one.as_ref().is_err_and(is_unavailable) && many.as_ref().is_err_and(is_unavailable), "{one:?} {many:?}");
    assert_eq!(shared::testing::late(waited, notes(&database)).await, 0, "to look is no change");
    assert!(all().await.0.is_ok_and(|is_there| is_there));
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hf4_a_transaction_that_postgres_ended_while_its_process_stood_still_is_an_outage() {
    let Some(url) = shared::testing::postgres().await else { return };
    let database = with_table(&url).await;
    let mut transaction = database.begin().await.unwrap();
    for statement in [
        "INSERT INTO notes (number, note) VALUES (7, 'seven')",
        "SET LOCAL idle_in_transaction_session_timeout = '50ms'",
    ] {
        in_transaction!(&mut transaction, |connection| sqlx::query(statement).execute(connection).await.map(drop))
            .unwrap();
    }
    let idle = async || {
        let count = "SELECT COUNT(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND state = 'idle in transaction'";
        let (count,): (i64,) = on_database!(&database, |pool| sqlx::query_as(count).fetch_one(pool).await).unwrap();
        count
    };
    let started = Instant::now();
    while idle().await > 0 {
        assert!(started.elapsed() < PATIENCE, "the server has not ended it");
    }
    let late = "INSERT INTO notes (number, note) VALUES (8, 'eight')";
    let late = in_transaction!(&mut transaction, |connection| sqlx::query(late).execute(connection).await.map(drop));
    assert!(late.as_ref().is_err_and(is_unavailable), "{late:?}");
    assert!(transaction.commit().await.as_ref().is_err_and(is_unavailable));
    assert_eq!(notes(&database).await, 0);
    every_connection_writes(&database).await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ho1_a_postgres_that_is_read_only_is_not_ready() {
    let Some(url) = shared::testing::postgres().await else { return };
    let database = with_table(&url).await;
    let name = url.rsplit('/').next().unwrap();
    let statement = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    on_database!(&database, |pool| sqlx::query(sqlx::AssertSqlSafe(statement)).execute(pool).await.map(drop)).unwrap();
    database.close().await;

    let database = Database::open(&url, 2).await.unwrap();
    let probe = WriteProbe::new(database.clone());
    until_ready_is(&probe, Err("it takes no writes")).await;
    let refused = note(&database).await;
    assert!(refused.as_ref().is_err_and(is_unavailable), "{refused:?}");
    database.close().await;
}

async fn numbered(database: &Database, number: i64) -> Result<(), sqlx::Error> {
    let mut transaction = database.begin().await?;
    in_transaction!(&mut transaction, |connection| {
        sqlx::query("INSERT INTO notes (number, note) VALUES ($1, '')").bind(number).execute(connection).await.map(drop)
    })?;
    transaction.commit().await
}

async fn numbered_alone(database: &Database, number: i64) -> Result<(), sqlx::Error> {
    let statement = "INSERT INTO notes (number, note) VALUES ($1, '') RETURNING number";
    on_database!(database, |pool| sqlx::query_scalar::<_, i64>(statement).bind(number).fetch_one(pool).await.map(drop))
}

/// On one thread, so that each has asked before the next one does.
#[tokio::test]
async fn forty_writers_of_a_sqlite_file_all_write_in_the_order_in_which_they_came() {
    const WRITERS: i64 = 40;
    let folder = tempfile::tempdir().unwrap();
    let database = with_table(&format!("sqlite:{}", folder.path().join("notes.db").display())).await;
    let first = database.begin().await.unwrap();
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let database = database.clone();
        writers.push(tokio::spawn(async move {
            if number % 2 == 0 { numbered(&database, number).await } else { numbered_alone(&database, number).await }
        }));
        tokio::task::yield_now().await;
    }
    // Readers are held up by no writer.
    assert_eq!(notes(&database).await, 0);
    first.commit().await.unwrap();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let query = "SELECT number FROM notes ORDER BY rowid";
    let Database::Sqlite(file) = &database else { panic!("a SQLite file") };
    let order: Vec<i64> = sqlx::query_scalar(query).fetch_all(file.measured()).await.unwrap();
    assert_eq!(order, (0..WRITERS).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_writer_of_a_sqlite_file_does_not_wait_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let database = with_table(&format!("sqlite:{}", folder.path().join("notes.db").display())).await;
    let first = database.begin().await.unwrap();
    let started = Instant::now();
    let refused = numbered(&database, 1).await;
    assert!(refused.as_ref().is_err_and(is_unavailable) && started.elapsed() < PATIENCE, "{refused:?}");
    drop(first);
    numbered(&database, 2).await.unwrap();
    assert_eq!(notes(&database).await, 1);
}

async fn is_for_one_process_at_a_time(url: &str) {
    let (one, other) = (Database::open(url, 2).await.unwrap(), Database::open(url, 2).await.unwrap());
    let held = one.alone().await.unwrap().expect("it is free");
    assert!(other.alone().await.unwrap().is_none(), "two have it");
    drop(held);
    // What held it is gone in a moment; taking it waits for that.
    assert!(other.alone().await.unwrap().is_some(), "it is not free again");
}

#[tokio::test]
async fn a_sqlite_file_may_be_for_one_process_alone() {
    let folder = tempfile::tempdir().unwrap();
    is_for_one_process_at_a_time(&format!("sqlite:{}", folder.path().join("notes.db").display())).await;
}

#[tokio::test]
async fn a_postgresql_database_may_be_for_one_process_alone() {
    let Some(postgres) = e2e::servers::postgres_for_test() else { return };
    is_for_one_process_at_a_time(&postgres.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hf6_a_clock_that_is_not_the_databases_is_noticed_at_once_and_in_doubt_when_it_was_seen_twice() {
    let Some(url) = shared::testing::postgres().await else { return };
    let clock = shared::testing::PostgresClock::of(&url).await;
    let database = Database::open(&url, 2).await.unwrap();
    let watch = ClockWatch::new(database.clone());
    assert!(watch.is_right().await.unwrap() && !watch.is_in_doubt());
    for seconds in [3_600, -3_600, 60] {
        clock.is_ahead(seconds).await;
        assert!(!watch.is_right().await.unwrap(), "{seconds}");
        assert!(!watch.is_in_doubt(), "a pause while it was read could be the cause");
        assert!(!watch.is_right().await.unwrap() && watch.is_in_doubt());
        clock.is_ahead(10).await;
        assert!(watch.is_right().await.unwrap() && !watch.is_in_doubt(), "it agrees well enough again");
    }
    database.close().await;
    assert!(watch.is_right().await.is_err(), "what cannot be compared is not right");
    let folder = tempfile::tempdir().unwrap();
    let alone = with_table(&format!("sqlite:{}", folder.path().join("notes.db").display())).await;
    assert!(ClockWatch::new(alone.clone()).is_right().await.unwrap(), "a file has no clock of its own");
    alone.close().await;
}
