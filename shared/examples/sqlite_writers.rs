//! How long writers of one SQLite file wait: in the queue of `shared::database`, and beside it as SQLite lets them wait by
//! itself. Both in turns, within the same run, on files of their own:
//!
//! ```sh
//! cargo run --release -p shared --features database --example sqlite_writers
//! ```

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use shared::database::Database;
use shared::in_transaction;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
/// As a request may wait at the most.
const PATIENCE: Duration = Duration::from_secs(8);
const TABLE: &str = "CREATE TABLE notes (number BIGINT NOT NULL, note TEXT NOT NULL)";
const INSERT: &str = "INSERT INTO notes (number, note) VALUES ($1, $2)";

#[derive(Clone)]
enum Writers {
    InTurn(Database),
    ByThemselves(SqlitePool),
}

impl Writers {
    /// As a service does: look, decide, write, all in one transaction.
    async fn write(&self, number: i64) -> anyhow::Result<()> {
        let note = "n".repeat(500);
        match self {
            Self::InTurn(database) => {
                let mut transaction = database.begin().await?;
                in_transaction!(&mut transaction, |connection| {
                    sqlx::query(INSERT).bind(number).bind(note).execute(connection).await.map(drop)
                })?;
                transaction.commit().await?;
            }
            Self::ByThemselves(pool) => {
                let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                sqlx::query(INSERT).bind(number).bind(note).execute(&mut *transaction).await?;
                transaction.commit().await?;
            }
        }
        Ok(())
    }
}

/// Waits in milliseconds, and how many were refused.
#[derive(Default)]
struct Measured {
    waits: Vec<f64>,
    refused: usize,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let queue = Database::open(&format!("sqlite:{}", file("queue.db")), 16).await?;
    let mut transaction = queue.begin().await?;
    in_transaction!(&mut transaction, |connection| sqlx::query(TABLE).execute(connection).await.map(drop))?;
    transaction.commit().await?;
    let options = SqliteConnectOptions::from_str(&format!("sqlite:{}", file("alone.db")))?.create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
    let alone = SqlitePoolOptions::new().max_connections(16).connect_with(options.busy_timeout(PATIENCE)).await?;
    sqlx::query(TABLE).execute(&alone).await?;
    let sides = [("by themselves", Writers::ByThemselves(alone)), ("in the queue", Writers::InTurn(queue))];
    let mut table =
        "| writers | | a second | p50 ms | p99 ms | longest ms | refused |\n|---|---|---|---|---|---|---|\n".to_owned();
    for writers in [8, 40] {
        let mut measured = [Measured::default(), Measured::default()];
        for _ in 0..ROUNDS {
            for ((_, side), measured) in sides.iter().zip(&mut measured) {
                round(side, writers, measured).await?;
            }
        }
        for ((name, _), measured) in sides.iter().zip(measured) {
            table.push_str(&row(writers, name, measured)?);
        }
    }
    eprint!("{table}");
    Ok(())
}

async fn round(side: &Writers, writers: usize, measured: &mut Measured) -> anyhow::Result<()> {
    let ends = Instant::now() + ROUND;
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let side = side.clone();
            tokio::spawn(async move {
                let mut own = Measured::default();
                while Instant::now() < ends {
                    let started = Instant::now();
                    match tokio::time::timeout(PATIENCE, side.write(1)).await {
                        Ok(Ok(())) => own.waits.push(started.elapsed().as_secs_f64() * 1_000.0),
                        _ => own.refused += 1,
                    }
                }
                own
            })
        })
        .collect();
    for task in tasks {
        let own = task.await?;
        measured.waits.extend(own.waits);
        measured.refused += own.refused;
    }
    Ok(())
}

fn row(writers: usize, name: &str, mut measured: Measured) -> anyhow::Result<String> {
    measured.waits.sort_by(f64::total_cmp);
    let last = measured.waits.len().checked_sub(1).context("nothing was written")?;
    let at = |percent: usize| measured.waits[last * percent / 100];
    let rate = (last + 1) as f64 / (ROUND * ROUNDS as u32).as_secs_f64();
    let (p50, p99, longest) = (at(50), at(99), at(100));
    Ok(format!("| {writers} | {name} | {rate:.0} | {p50:.1} | {p99:.1} | {longest:.0} | {} |\n", measured.refused))
}
