//! The API documents are exact: every answer, bound and reference.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_documents_all_its_answers() {
    let world = World::on_sqlite().await;
    let paths = world.documents["paths"].as_object().unwrap();
    let documented: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(method, of)| (path, method, of)))
        .map(|(path, method, operation)| {
            let statuses: Vec<&str> = operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(operation["security"], json!([{"bearer": []}]), "{method} {path}");
            format!("{method} {path}: {}", statuses.join(" "))
        })
        .collect();
    let expected = [
        "get /orders: 200 400 401 503",
        "get /orders/{id}: 200 400 401 404 503",
        "post /orders/{id}/cancel: 200 400 401 404 409 503",
        "post /orders/{id}/pay: 200 400 401 402 404 409 413 415 422 503",
        "post /orders: 201 400 401 409 413 415 422 429 503",
    ];
    assert_eq!(documented, expected.map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_leads_somewhere_and_every_refusal_is_a_problem() {
    let world = World::on_sqlite().await;
    visit(&world.documents, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(world.documents.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    });
    for (path, item) in world.documents["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                if status.starts_with(['4', '5']) {
                    let schema = &answer["content"]["application/problem+json"]["schema"];
                    assert_eq!(schema["$ref"], "#/components/schemas/Problem", "{path} {status}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_documented() {
    let world = World::on_sqlite().await;
    let schemas = &world.documents["components"]["schemas"];
    assert_eq!(schemas["OrderRequest"]["additionalProperties"], false);
    assert_eq!(schemas["OrderRequest"]["properties"]["note"]["maxLength"], 500);
    assert_eq!(schemas["ShippingAddress"]["properties"]["country"]["pattern"], "^[A-Z]{2}$");
    let parameters = world.documents["paths"]["/orders"]["get"]["parameters"].as_array().unwrap();
    let limit = parameters.iter().find(|parameter| parameter["name"] == "limit").unwrap();
    assert_eq!((&limit["schema"]["minimum"], &limit["schema"]["maximum"]), (&json!(1), &json!(100)));
    let key = &world.documents["paths"]["/orders"]["post"]["parameters"][0];
    assert_eq!(
        (&key["in"], &key["required"], &key["schema"]["maxLength"]),
        (&json!("header"), &json!(true), &json!(255))
    );
    for path in ["/orders", "/orders/{id}/pay"] {
        let body = &world.documents["paths"][path]["post"]["requestBody"];
        assert_ne!(body["required"], true, "{path}: the body may be left out");
    }
}

fn visit(value: &Value, look: &mut impl FnMut(&Value)) {
    look(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| visit(item, look)),
        Value::Object(members) => members.values().for_each(|member| visit(member, look)),
        _ => {}
    }
}
