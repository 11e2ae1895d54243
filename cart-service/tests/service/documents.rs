//! The API documents: complete, and exact in what they promise. (The harness holds every answer against them.)

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::Shop;

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_is_documented_with_its_answers() {
    let shop = Shop::on_sqlite().await;
    let mut answers = BTreeMap::new();
    for (path, item) in shop.documents["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let statuses = operation["responses"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
            answers.insert(format!("{method} {path}"), statuses);
        }
    }
    let expected = [
        ("get /products", "200 400 503"),
        ("get /products/{id}", "200 404 503"),
        ("get /cart", "200 400 401 409 503"),
        ("delete /cart", "204 400 401 503"),
        ("post /cart/items", "200 400 401 404 409 413 415 422 429 503"),
        ("put /cart/items/{product_id}", "200 400 401 404 409 413 415 422 429 503"),
        ("delete /cart/items/{product_id}", "200 400 401 404 409 503"),
        ("post /checkouts", "201 400 401 403 409 503"),
        ("get /checkouts/{id}", "200 403 404 503"),
        ("post /checkouts/{id}/confirm", "200 403 404 409 503"),
        ("delete /checkouts/{id}", "204 403 404 503"),
    ];
    assert_eq!(answers, expected.map(|(endpoint, statuses)| (endpoint.to_owned(), statuses.to_owned())).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_leads_somewhere_and_the_bounds_are_written() {
    let documents = Shop::on_sqlite().await.documents.clone();
    let mut found = Vec::new();
    references(&documents, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(documents.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let schemas = &documents["components"]["schemas"];
    let quantity = &schemas["NewItem"]["properties"]["quantity"];
    assert_eq!((&quantity["minimum"], &quantity["maximum"]), (&json!(1), &json!(99)), "{quantity}");
    assert_eq!(schemas["NewItem"]["additionalProperties"], json!(false));
    assert_eq!(schemas["Cart"]["required"], json!(["lines", "total", "version"]));
    let limit =
        documents["paths"]["/products"]["get"]["parameters"].as_array().unwrap().iter().find(|p| p["name"] == "limit");
    let schema = &limit.unwrap()["schema"];
    assert_eq!((&schema["minimum"], &schema["maximum"]), (&json!(1), &json!(100)), "{schema}");
}
