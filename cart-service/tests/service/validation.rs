//! What a body and a query may hold: everything else is a 4xx that names the field.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Shop, on_both_databases};

on_both_databases! {
    a_quantity_is_a_whole_number_from_1_to_99,
    a_body_is_what_the_documents_say,
    a_price_in_the_body_is_refused,
    a_body_is_json_and_not_too_large,
    a_page_has_its_bounds,
}

const JSON: &str = "application/json";

async fn a_quantity_is_a_whole_number_from_1_to_99(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 1_000).await);
    for bad in [
        "-1",
        "0",
        "100",
        "1.5",
        "1.0",
        "\"1\"",
        "1e9",
        "1e0",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "null",
        "true",
        "[]",
        "[1]",
        "{}",
        "\"\"",
    ] {
        let add = format!("{{\"product_id\": \"{product}\", \"quantity\": {bad}}}").into_bytes();
        let set = format!("{{\"quantity\": {bad}}}").into_bytes();
        for (method, path, body) in
            [(Method::POST, "/cart/items".to_owned(), add), (Method::PUT, format!("/cart/items/{product}"), set)]
        {
            let refused = user.send(method, &path, &[], Some((JSON, body))).await.refused(422, "invalid_body");
            assert_eq!(refused["errors"][0]["pointer"], "/quantity", "{bad}");
        }
    }
    for no_json in ["NaN", "Infinity", "1e400", "+1", ""] {
        let body = format!("{{\"product_id\": \"{product}\", \"quantity\": {no_json}}}").into_bytes();
        user.send(Method::POST, "/cart/items", &[], Some((JSON, body))).await.refused(400, "invalid_json");
    }
    assert!(user.quantities().await.is_empty());
    for good in [1, 99] {
        user.put(&format!("/cart/items/{product}"), json!({"quantity": good})).await.expect(200);
        assert_eq!(user.quantities().await[&product], good);
    }
}

async fn a_body_is_what_the_documents_say(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 1_000).await);
    for (body, pointer) in [
        (json!({"product_id": product, "quantity": 1, "admin": true}), Some("/admin")),
        (json!({"product_id": product, "quantity": 1, "Quantity": 2}), Some("/Quantity")),
        (json!({"product_id": 7, "quantity": 1}), Some("/product_id")),
        (json!({"product_id": "7", "quantity": 1}), Some("/product_id")),
        (json!({"product_id": null, "quantity": 1}), Some("/product_id")),
        (json!({"product_id": [product], "quantity": 1}), Some("/product_id")),
        (json!({"product_id": product}), None),
        (json!({"quantity": 1}), None),
        (json!({}), None),
        (json!([{"product_id": product, "quantity": 1}]), None),
        (json!("text"), None),
        (Value::Null, None),
    ] {
        let refused = user.post("/cart/items", body.clone()).await.refused(422, "invalid_body");
        if let Some(pointer) = pointer {
            assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}");
        }
    }
    let twice = format!("{{\"product_id\": \"{product}\", \"quantity\": 1, \"quantity\": 2}}").into_bytes();
    user.send(Method::POST, "/cart/items", &[], Some((JSON, twice))).await.refused(422, "invalid_body");
    assert!(user.quantities().await.is_empty());
}

async fn a_price_in_the_body_is_refused(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(4_200, 1_000).await);
    for field in ["price", "total", "discount", "currency", "stock", "version"] {
        let mut body = json!({"product_id": product, "quantity": 1});
        body[field] = json!(1);
        let refused = user.post("/cart/items", body).await.refused(422, "invalid_body");
        assert_eq!(refused["errors"][0]["pointer"], format!("/{field}"));
    }
    assert_eq!(user.add(product, 1).await.expect(200)["total"]["amount"], 4_200);
}

async fn a_body_is_json_and_not_too_large(shop: Shop) {
    let (user, product) = (shop.user(), shop.product(100, 1_000).await);
    let good = json!({"product_id": product, "quantity": 1}).to_string().into_bytes();
    let send = |content_type: &'static str, body: Vec<u8>| {
        user.send(Method::POST, "/cart/items", &[], Some((content_type, body)))
    };
    for content_type in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "multipart/form-data",
        "application/jsonp",
    ] {
        send(content_type, good.clone()).await.refused(415, "unsupported_media_type");
    }
    user.send(Method::POST, "/cart/items", &[], None).await.refused(415, "unsupported_media_type");
    for no_json in ["", "{", "quantity=1", "{\"quantity\"", "\u{feff}{}", "\u{0}"] {
        send(JSON, no_json.into()).await.refused(400, "invalid_json");
    }
    send(JSON, vec![b'['; 60_000]).await;
    send(JSON, b"{\"product_id\": \"\xff\xfe\"}".to_vec()).await;
    let padded = [good.as_slice(), &[b' '; 100_000]].concat();
    send(JSON, padded).await.refused(413, "body_too_large");
    let gzip = [("content-encoding", "gzip")];
    let refused = user.send(Method::POST, "/cart/items", &gzip, Some((JSON, vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0]))).await;
    assert!((400..500).contains(&refused.status), "{}", refused.body);
    assert!(user.quantities().await.is_empty());
    send("Application/JSON; charset=utf-8", good).await.expect(200);
}

async fn a_page_has_its_bounds(shop: Shop) {
    let guest = shop.guest();
    for bad in ["0", "-1", "101", "1000000000", "9223372036854775808", "1.5", "ten", "", "%00"] {
        let refused = guest.get(&format!("/products?limit={bad}")).await.refused(400, "invalid_query");
        assert_eq!(refused["errors"][0]["pointer"], "#query/limit", "{bad}");
    }
    for (query, pointer) in [
        (format!("q={}", "a".repeat(101)), "#query/q"),
        ("cursor=rubbish".to_owned(), "#query/cursor"),
        ("cursor=".to_owned(), "#query/cursor"),
        (format!("cursor={}", "A".repeat(4_000)), "#query/cursor"),
        ("category=".to_owned(), "#query/category"),
        ("category=TEA".to_owned(), "#query/category"),
        ("limit=1&limit=2".to_owned(), "#query"),
        ("offset=-1".to_owned(), "#query"),
        ("sort=price;drop".to_owned(), "#query"),
    ] {
        let refused = guest.get(&format!("/products?{query}")).await.refused(400, "invalid_query");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{query}");
    }
    for id in ["1", "%20", "..", "null", &"a".repeat(4_000), &Uuid::nil().to_string()] {
        guest.get(&format!("/products/{id}")).await;
    }
    guest.get("/products?q=%ff%fe&limit=1").await.expect(200);
}
