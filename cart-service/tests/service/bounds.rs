//! That every table has a bound, and that callers without an account keep to it.

use std::path::Path;

use serde_json::json;
use shared::testing::flood::{Flood, paths_in};
use shared::testing::tables;

use crate::harness::{Shop, on_both_databases};

on_both_databases! {
    ht4_every_table_has_its_bound_in_the_operations_guide,
    what_was_released_long_ago_is_forgotten_and_what_was_sold_is_not,
}

async fn ht4_every_table_has_its_bound_in_the_operations_guide(shop: Shop) {
    let real = tables::rows(&shop.database).await.into_keys().collect();
    assert_eq!(tables::documented("cart"), real, "docs/operations.md names each table with its bound");
}

async fn what_was_released_long_ago_is_forgotten_and_what_was_sold_is_not(shop: Shop) {
    use reqwest::Method;
    let product = shop.product(100, 90).await;
    let user = shop.user();
    let mut ids = Vec::new();
    for key in ["released", "sold", "held"] {
        user.add(product, 1).await.expect(200);
        ids.push(user.check_out(key).await.expect(201)["id"].as_str().unwrap().to_owned());
    }
    let path = |id: &str| format!("/checkouts/{id}");
    shop.order_service(Method::DELETE, &path(&ids[0])).await.expect(204);
    shop.order_service(Method::POST, &format!("{}/confirm", path(&ids[1]))).await.expect(200);
    let day = std::time::Duration::from_secs(86_400);
    shop.clock.advance(29 * day);
    cart_service::sweeper::sweep(&shop.database, &shop.clock).await.unwrap();
    let rows = async || {
        let rows = tables::rows(&shop.database).await;
        (rows["checkouts"], rows["checkout_lines"])
    };
    assert_eq!(rows().await, (3, 3), "the hold was let go a moment ago, the first is kept for 30 days");
    shop.clock.advance(2 * day);
    cart_service::sweeper::sweep(&shop.database, &shop.clock).await.unwrap();
    assert_eq!(rows().await, (1, 1), "what was sold is its order's");
    shop.order_service(Method::GET, &path(&ids[1])).await.expect(200);
    shop.order_service(Method::DELETE, &path(&ids[0])).await.refused(404, "not_found");
}

/// The bounds that docs/operations.md states for one network, an hour, and the default settings.
const CARTS: i64 = 256;
const CHANGES: i64 = 1024;

#[tokio::test(flavor = "multi_thread")]
async fn ht4_whatever_callers_without_an_account_ask_for_no_table_outgrows_its_bound() {
    let networks = ["192.0.2.1", "2001:db8:1:2::1"];
    let shop = Shop::on_sqlite_with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let product = shop.product(100, 90_000).await.to_string();
    let (page, line) = (format!("/p/{product}"), format!("/basket/items/{product}"));
    let paths = paths_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/endpoints"));
    let hints = [("product_id", json!(product)), ("id", json!(product))];
    let flood = Flood::new(shop.base(), &shop.documents, &paths, &hints)
        .with_form(&page, "/basket/items", &[("quantity", "99")])
        .with_form(&page, "/basket/items", &[("quantity", "1")])
        .with_form(&page, &line, &[("quantity", "98"), ("action", "update")]);
    let before = tables::rows(&shop.database).await;
    let answers = flood.run(12_000, &networks).await;
    let after = tables::rows(&shop.database).await;
    let refused = answers.get(&429).copied().unwrap_or_default();
    assert!(refused > 100, "the budget was never spent, so the test shows nothing: {answers:?}");
    for (table, rows) in &after {
        let most = match table.as_str() {
            "carts" => CARTS * 2,
            "cart_lines" => CHANGES * 2,
            // A count of each network, of the site that the IPv6 one is part of, and of them all.
            "small_values" => 4,
            _ => 0,
        };
        let grown = rows - before[table];
        assert!(grown <= most, "{table} has {grown} rows more, and may have {most}: {answers:?}");
    }
    assert!(after["carts"] > before["carts"], "guests could shop: {answers:?}");
}
