//! What is refused, with the field at fault; nothing is a 5xx.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{World, on_both_databases};

on_both_databases! {
    a_key_is_needed_once_and_is_visible_ascii,
    a_body_says_nothing_but_a_note_and_an_address,
    what_is_no_json_is_refused,
    a_payment_names_a_method_that_there_is,
    a_page_has_bounds,
    an_id_that_is_none_is_a_404,
    a_path_answers_only_its_methods,
}

async fn a_key_is_needed_once_and_is_visible_ascii(world: World) {
    let (ada, lamp) = world.shopper(1, 10).await;
    let bearer = ada.bearer();
    let authorization = ("authorization", bearer.as_bytes());
    ada.post("/orders", None).await.refused(400, "idempotency_key_missing");
    let long = [b'k'; 256];
    for refused in [&b""[..], b"two words", b"caf\xc3\xa9", b"\xff\xfe", b"a\tb", &long] {
        let headers = [authorization, ("idempotency-key", refused)];
        let body = world.send(Method::POST, "/orders", &headers, None).await.refused(400, "invalid_idempotency_key");
        assert_eq!(body["errors"][0]["pointer"], "#header/Idempotency-Key");
    }
    let twice = [authorization, ("idempotency-key", b"a"), ("idempotency-key", b"a")];
    world.send(Method::POST, "/orders", &twice, None).await.refused(400, "invalid_idempotency_key");
    let longest = [authorization, ("idempotency-key", &long[1..])];
    world.send(Method::POST, "/orders", &longest, None).await.expect(201);
    assert_eq!(world.cart.stock(lamp), 9);
}

async fn a_body_says_nothing_but_a_note_and_an_address(world: World) {
    let (ada, lamp) = world.shopper(1, 10).await;
    let address = |field: &str, value: Value| {
        let mut address = json!({"name": "A", "line1": "1", "postal_code": "1", "city": "B", "country": "DE"});
        address[field] = value;
        json!({ "shipping_address": address })
    };
    for (body, pointer) in [
        (json!({"price": 1}), "/price"),
        (json!({"total": {"amount": 0, "currency": "EUR"}}), "/total"),
        (json!({"status": "paid"}), "/status"),
        (json!({"user_id": ada.user}), "/user_id"),
        (json!({"lines": []}), "/lines"),
        (json!({"note": 5}), "/note"),
        (json!({"note": "n".repeat(501)}), "/note"),
        (json!({"note": "\u{0}"}), "/note"),
        (json!({"shipping_address": "here"}), "/shipping_address"),
        (json!({"shipping_address": {}}), "/shipping_address"),
        (address("country", json!("Germany")), "/shipping_address/country"),
        (address("name", json!("")), "/shipping_address/name"),
        (address("city", json!("a\nb")), "/shipping_address/city"),
        (address("postal_code", json!("1".repeat(21))), "/shipping_address/postal_code"),
        (address("line2", json!("l".repeat(201))), "/shipping_address/line2"),
        (address("phone", json!("1")), "/shipping_address/phone"),
        (json!([]), ""),
        (json!("x"), ""),
        (json!(null), ""),
    ] {
        let refused = ada.place_with("k", Some(body.clone())).await.refused(422, "invalid_body");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}: {refused}");
    }
    assert_eq!((ada.orders().await.len(), world.cart.stock(lamp)), (0, 10));
}

async fn what_is_no_json_is_refused(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    let bearer = ada.bearer();
    let headers = [("authorization", bearer.as_bytes()), ("idempotency-key", &b"k"[..])];
    let id = ada.order().await;
    for path in ["/orders".to_owned(), format!("/orders/{id}/pay")] {
        let send =
            |content_type, body: &[u8]| world.send(Method::POST, &path, &headers, Some((content_type, body.to_vec())));
        for body in [&b"{"[..], b"{} {}", b"\xff", b"{\"note\":\"\\ud800\"}", b"nul", b"{'note':1}"] {
            send("application/json", body).await.refused(400, "invalid_json");
        }
        let nested = "[".repeat(60_000);
        assert!([400, 422].contains(&send("application/json", nested.as_bytes()).await.status));
        send("text/plain", b"{}").await.refused(415, "unsupported_media_type");
        send("application/x-www-form-urlencoded", b"note=1").await.refused(415, "unsupported_media_type");
        let large = format!("{{\"note\":\"{}\"}}", "n".repeat(70_000));
        send("application/json", large.as_bytes()).await.refused(413, "body_too_large");
    }
    assert_eq!(ada.orders().await.len(), 1);
}

async fn a_payment_names_a_method_that_there_is(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    let path = format!("/orders/{}/pay", ada.order().await);
    for (body, pointer) in [
        (json!({"method": "gold"}), "/method"),
        (json!({"method": 1}), "/method"),
        (json!({"method": null}), "/method"),
        (json!({"method": "test_card", "amount": 1}), "/amount"),
    ] {
        let refused = ada.post(&path, Some(body.clone())).await.refused(422, "invalid_body");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}: {refused}");
    }
    assert_eq!(ada.post(&path, None).await.expect(200)["status"], "paid", "without a body it is the test card");
}

async fn a_page_has_bounds(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    ada.order().await;
    for query in ["limit=0", "limit=101", "limit=1000000000", "limit=-1", "limit=1.5", "limit=", "limit=x", "sort=id"] {
        ada.get(&format!("/orders?{query}")).await.refused(400, "invalid_query");
    }
    for cursor in ["", "x", "%00", "AAAA", "____________________________________________", "AA=="] {
        ada.get(&format!("/orders?cursor={cursor}")).await.refused(400, "invalid_cursor");
    }
    ada.get("/orders?limit=1&limit=2").await.refused(400, "invalid_query");
    // A cursor that was never given out but reads as one is a place in the list, no error and no way to others' orders.
    let (first, last) = ("f".repeat(32), "A".repeat(32));
    assert_eq!(
        ada.get(&format!("/orders?cursor={first}")).await.expect(200)["items"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(ada.get(&format!("/orders?cursor={last}")).await.expect(200)["items"].as_array().map(Vec::len), Some(0));
}

async fn an_id_that_is_none_is_a_404(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    for id in ["1", "x", "..%2f..%2fadmin", "%00", "%ff", "00000000-0000-0000-0000-000000000000", "'--", "{id}"] {
        ada.get(&format!("/orders/{id}")).await.expect(404);
        ada.post(&format!("/orders/{id}/pay"), None).await.expect(404);
        ada.post(&format!("/orders/{id}/cancel"), None).await.expect(404);
    }
}

async fn a_path_answers_only_its_methods(world: World) {
    let (ada, _) = world.shopper(1, 10).await;
    let bearer = ada.bearer();
    for (method, path, allowed) in [
        ("DELETE", "/orders", "GET, HEAD, POST"),
        ("PUT", "/orders/1", "GET, HEAD"),
        ("GET", "/orders/1/pay", "POST"),
        ("TRACE", "/orders", "GET, HEAD, POST"),
    ] {
        let headers = [("authorization", bearer.as_bytes())];
        let answer = world.send(method.parse().unwrap(), path, &headers, None).await;
        assert_eq!(answer.headers["allow"], allowed, "{method} {path}");
        answer.refused(405, "method_not_allowed");
    }
}
