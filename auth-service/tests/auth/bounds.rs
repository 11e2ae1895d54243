//! That every table has a bound.

use shared::testing::tables;

use crate::harness::{App, on_both};

on_both! {
    ht4_every_table_has_its_bound_in_the_operations_guide,
}

async fn ht4_every_table_has_its_bound_in_the_operations_guide(app: App) {
    let real = tables::rows(&app.service.database).await.into_keys().collect();
    assert_eq!(tables::documented("auth"), real, "docs/operations.md names each table with its bound");
}
