//! The catalogue: pages, search, and a seed that comes once.

use std::collections::BTreeSet;

use cart_service::storage;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::{Shop, on_both_databases};

on_both_databases! {
    pages_hold_every_product_once_and_in_order,
    a_search_looks_for_words_in_any_case,
    a_wildcard_is_an_ordinary_character,
    a_category_is_a_filter,
    a_product_is_shown_by_its_id,
    a_second_start_keeps_stock_and_prices,
}

fn names(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

async fn all_pages(shop: &Shop, filter: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = shop.guest().get(&format!("/products?limit={limit}{filter}{cursor}")).await.expect(200);
        let found = page["items"].as_array().unwrap();
        assert!(found.len() <= limit);
        items.extend(found.iter().cloned());
        match page["next"].as_str() {
            Some(next) => {
                assert_eq!(found.len(), limit, "only the last page is short");
                cursor = format!("&cursor={next}");
            }
            None => return items,
        }
    }
}

async fn pages_hold_every_product_once_and_in_order(shop: Shop) {
    let whole = all_pages(&shop, "", 100).await;
    assert!(whole.len() >= 60, "{} products", whole.len());
    for limit in [1, 7, 20, whole.len()] {
        assert_eq!(all_pages(&shop, "", limit).await, whole, "by pages of {limit}");
    }
    let ids: BTreeSet<&str> = whole.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), whole.len());
    let default = shop.guest().get("/products").await.expect(200);
    assert_eq!(default["items"].as_array().unwrap().len(), 20);
    assert_eq!(default["items"].as_array().unwrap()[..], whole[..20]);
}

async fn a_search_looks_for_words_in_any_case(shop: Shop) {
    let guest = shop.guest();
    let all = guest.get("/products?q=stoneware%20mug").await.expect(200);
    assert_eq!(names(&all), ["Blue Stoneware Mug, 350 ml"]);
    for same in ["MUG+STONEWARE", "sToNeWaRe++mug", "%20mug%09stoneware%0a", "mug%00stoneware", "dishwasher+GLAZE"] {
        assert_eq!(guest.get(&format!("/products?q={same}")).await.expect(200), all, "{same}");
    }
    assert!(names(&guest.get("/products?q=mug+nonsense").await.expect(200)).is_empty());
    assert_eq!(guest.get("/products?q=").await.expect(200), guest.get("/products").await.expect(200));
    let pages = all_pages(&shop, "&q=coffee", 2).await;
    assert!(pages.len() > 2, "a search has pages too");
}

async fn a_wildcard_is_an_ordinary_character(shop: Shop) {
    let guest = shop.guest();
    for nothing in ["%25%25", "_____", "!", "%5C", "[a-z]", "*"] {
        assert!(names(&guest.get(&format!("/products?q={nothing}")).await.expect(200)).is_empty(), "{nothing}");
    }
    assert_eq!(names(&guest.get("/products?q=75+%25").await.expect(200)), ["Mechanical Keyboard, 75 %"]);
}

async fn a_category_is_a_filter(shop: Shop) {
    let tea = all_pages(&shop, "&category=tea", 4).await;
    assert_eq!(tea.len(), 6);
    assert!(tea.iter().all(|item| item["category"] == "tea"));
    assert!(all_pages(&shop, "&category=nothing", 4).await.is_empty());
    assert_eq!(all_pages(&shop, "&category=tea&q=spain", 4).await.len(), 1);
}

async fn a_product_is_shown_by_its_id(shop: Shop) {
    let guest = shop.guest();
    let page = guest.get("/products?q=matcha").await.expect(200);
    let product = &page["items"][0];
    assert_eq!(product["price"], serde_json::json!({"amount": 2490, "currency": "EUR"}));
    assert_eq!(product["stock"], 50);
    let id = product["id"].as_str().unwrap();
    assert_eq!(guest.get(&format!("/products/{id}")).await.expect(200), *product);
    guest.get(&format!("/products/{}", Uuid::new_v4())).await.refused(404, "not_found");
}

async fn a_second_start_keeps_stock_and_prices(shop: Shop) {
    let matcha = "0ca7a106-0000-8000-8000-00000000000c";
    let user = shop.user();
    user.add(matcha.parse().unwrap(), 20).await.expect(200);
    user.check_out("first").await.expect(201);
    let database = storage::open(&shop.database_url, 2).await.unwrap();
    assert_eq!(shop.guest().get(&format!("/products/{matcha}")).await.expect(200)["stock"], 30);
    database.close().await;
}
