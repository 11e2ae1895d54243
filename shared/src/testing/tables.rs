//! The tables of a service as they really are, and as the operations guide bounds them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::database::Database;
use crate::on_database;

/// How many rows each table of a database has. The migrations' own table, with a row for each migration, is left out.
///
/// # Panics
/// The database does not answer.
pub async fn rows(database: &Database) -> BTreeMap<String, i64> {
    let names = match database {
        Database::Postgres(_) => {
            "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema()"
        }
        Database::Sqlite(_) => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    };
    let names: Vec<String> =
        on_database!(database, |pool| sqlx::query_scalar(names).fetch_all(pool).await).expect("the tables have names");
    let mut rows = BTreeMap::new();
    for name in names.into_iter().filter(|name| name != "_sqlx_migrations") {
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {name}"));
        let count: i64 = on_database!(database, |pool| sqlx::query_scalar(count).fetch_one(pool).await)
            .expect("the rows of a table are counted");
        rows.insert(name, count);
    }
    rows
}

/// The tables of `service` that docs/operations.md names with their bounds: rows that begin with `SERVICE.TABLE`.
///
/// # Panics
/// The guide cannot be read, or leaves a column of such a row empty.
pub fn documented(service: &str) -> BTreeSet<String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let guide = std::fs::read_to_string(guide).expect("the operations guide is there");
    let beginning = format!("| `{service}.");
    let rows = guide.lines().filter_map(|line| line.strip_prefix(&beginning)?.split_once('`'));
    rows.map(|(table, columns)| {
        let columns: Vec<&str> = columns.trim().trim_matches('|').split('|').map(str::trim).collect();
        assert!(
            columns.len() == 4 && columns.iter().all(|column| !column.is_empty()),
            "{service}.{table}: {columns:?}"
        );
        table.to_owned()
    })
    .collect()
}
