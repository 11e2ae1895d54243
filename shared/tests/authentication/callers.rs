//! Who a token speaks for: a user, a user for whom somebody acts, a client itself; and what it was issued for.

use std::time::Duration;

use serde_json::{Value, json};
use shared::session::{Attributes, SessionStore as _, UserId};
use shared::token::{AccessClaims, Actor, Subject};

use crate::rig::{Service, eventually};

async fn body(answer: reqwest::Response) -> Value {
    answer.json().await.unwrap()
}

#[actix_web::test]
async fn a_clients_own_token_opens_what_is_for_clients_and_nothing_that_is_for_users() {
    let service = Service::start().await;
    let token = service.key.token(&service.client_claims());
    assert_eq!(body(service.get("/clients", &token).await).await, json!({"client": "reports"}));
    for path in ["/me", "/greeting", "/payment", "/orders", "/administration"] {
        let answer = service.get(path, &token).await;
        assert_eq!(answer.status().as_u16(), 403, "{path}");
        assert_eq!(body(answer).await["code"], "user_required", "{path}");
    }
    let answer = service.get("/clients", &service.good_token()).await;
    assert_eq!(answer.status().as_u16(), 403);
    assert_eq!(body(answer).await["code"], "client_required");
    let mut narrow = service.client_claims();
    narrow["scope"] = json!("orders");
    assert_eq!(service.status("/clients", &service.key.token(&narrow)).await, 403);
    let nobody = service.http.get(format!("{}/clients", service.base)).send().await.unwrap();
    assert_eq!(nobody.status().as_u16(), 401);
}

#[actix_web::test]
async fn what_is_neither_a_users_token_nor_a_clients_is_refused() {
    let service = Service::start().await;
    let (user, client) = (service.claims(), service.client_claims());
    let refuses = async |what: &str, claims: &Value| {
        for path in ["/clients", "/me"] {
            assert_eq!(service.status(path, &service.key.token(claims)).await, 401, "{what} got through at {path}");
        }
    };
    for name in ["sid", "auth_time"] {
        refuses(&format!("a user's without {name}"), &service.claims_without(name)).await;
        let mut mixed = client.clone();
        mixed[name] = user[name].clone();
        refuses(&format!("a client's with {name}"), &mixed).await;
        mixed[name] = Value::Null;
        refuses(&format!("a client's with {name} null"), &mixed).await;
    }
    for (name, value) in [
        ("client_id", json!("another")),
        ("sub", json!("another")),
        ("sub", user["sub"].clone()),
        ("roles", json!(["admin"])),
        ("amr", json!(["pwd"])),
        ("acr", json!("1")),
        ("act", json!({"sub": "another"})),
    ] {
        let mut mixed = client.clone();
        mixed[name] = value.clone();
        refuses(&format!("a client's with {name} {value}"), &mixed).await;
    }
    // A client whose id reads as a user's id speaks for nobody.
    let mut posing = client.clone();
    (posing["sub"], posing["client_id"]) = (user["sub"].clone(), user["sub"].clone());
    refuses("a client that is named as a user", &posing).await;
}

#[actix_web::test]
async fn who_acts_for_the_user_is_told_and_bounded() {
    let service = Service::start().await;
    let with_act = |act: Value| service.key.token(&service.claims_with("act", act));
    let chain = json!({"sub": "order-service", "act": {"sub": "shop-app"}});
    let answer = body(service.get("/actor", &with_act(chain)).await).await;
    assert_eq!(answer["actors"], json!(["order-service", "shop-app"]));
    let nobody = body(service.get("/actor", &service.good_token()).await).await;
    assert_eq!(nobody["actors"], json!([]));
    for act in [
        json!(null),
        json!("order-service"),
        json!([]),
        json!({}),
        json!({"sub": null}),
        json!({"sub": 1}),
        json!({"sub": ""}),
        json!({"sub": "a\nb"}),
        json!({"sub": "a".repeat(200)}),
        json!({"sub": "a", "act": null}),
        json!({"sub": "a", "act": {"act": {"sub": "b"}}}),
    ] {
        service.refuses(&act.to_string(), &with_act(act.clone())).await;
    }
    let nested = |depth: usize| (1..depth).fold(json!({"sub": "a"}), |act, _| json!({"sub": "a", "act": act}));
    service.accepts("eight actors", &with_act(nested(8))).await;
    for depth in [9, 60] {
        service.refuses(&format!("{depth} actors"), &with_act(nested(depth))).await;
    }
}

#[actix_web::test]
async fn a_token_that_is_bound_to_a_key_is_no_bearer_token() {
    let service = Service::start().await;
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    service.refuses("a bound token", &service.key.token(&service.claims_with("cnf", json!({"jkt": thumbprint})))).await;
    let mut client = service.client_claims();
    client["cnf"] = json!({"jkt": thumbprint});
    assert_eq!(service.status("/clients", &service.key.token(&client)).await, 401);
    // What is not understood is never taken for unbound.
    for cnf in [
        json!(null),
        json!({}),
        json!([]),
        json!("x"),
        json!({"x5t#S256": thumbprint}),
        json!({"jkt": thumbprint, "x5t#S256": thumbprint}),
        json!({"jkt": null}),
        json!({"jkt": ""}),
        json!({"jkt": "short"}),
        json!({"jwk": {}}),
    ] {
        service.refuses(&cnf.to_string(), &service.key.token(&service.claims_with("cnf", cnf.clone()))).await;
    }
}

#[actix_web::test]
async fn a_token_without_the_services_scope_opens_nothing() {
    let service = Service::demanding("orders:read").await;
    for claims in [service.claims_with("scope", json!("openid")), service.claims_without("scope")] {
        let token = service.key.token(&claims);
        for path in ["/me", "/greeting", "/payment", "/clients"] {
            let answer = service.get(path, &token).await;
            assert_eq!(answer.status().as_u16(), 403, "{path}");
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"orders:read\"", "{path}");
            assert_eq!(body(answer).await["code"], "insufficient_scope", "{path}");
        }
    }
    service.accepts("a token with it", &service.good_token()).await;
    assert_eq!(service.status("/clients", &service.key.token(&service.client_claims())).await, 200);
    let greeting = service.http.get(format!("{}/greeting", service.base)).send().await.unwrap();
    assert_eq!(greeting.status().as_u16(), 200, "a guest needs none");
    let expired = service.good_token();
    service.clock.advance(Duration::from_secs(301));
    assert_eq!(service.status("/me", &expired).await, 401, "what is not good is not looked into");
}

#[actix_web::test]
async fn a_clients_own_token_can_be_taken_back_by_its_id() {
    let service = Service::start().await;
    let claims = service.client_claims();
    let (token, sibling) = (service.key.token(&claims), service.key.token(&service.client_claims()));
    assert_eq!(service.status("/clients", &token).await, 200);
    let id = u128::from_str_radix(claims["jti"].as_str().unwrap(), 16).unwrap();
    service.store.revoke_token(UserId::random(), id).await.unwrap();
    eventually("the token is refused", async || service.status("/clients", &token).await == 401).await;
    assert_eq!(service.status("/clients", &sibling).await, 200);
}

#[actix_web::test]
async fn a_clients_token_from_before_a_memory_is_refused() {
    let service = Service::start().await;
    let mut claims = service.client_claims();
    for name in ["iat", "exp"] {
        claims[name] = json!(claims[name].as_i64().unwrap() - 10);
    }
    assert_eq!(service.status("/clients", &service.key.token(&claims)).await, 401);
}

#[test]
fn claims_are_written_as_plain_texts_and_without_what_is_not_there() {
    let user = UserId::random();
    let mut claims = AccessClaims {
        iss: "i".to_owned(),
        sub: Subject::Client("reports".to_owned()),
        aud: vec!["a".to_owned()],
        exp: 2,
        iat: 1,
        jti: "j".to_owned(),
        sid: None,
        client_id: "reports".to_owned(),
        scope: "s".to_owned(),
        roles: Vec::new(),
        auth_time: None,
        amr: Vec::new(),
        acr: None,
        act: None,
        cnf: None,
        grant: None,
        attributes: Attributes::new(),
    };
    let written = json!({
        "iss": "i", "sub": "reports", "aud": "a", "exp": 2, "iat": 1, "jti": "j", "client_id": "reports", "scope": "s",
    });
    assert_eq!(serde_json::to_value(&claims).unwrap(), written);
    assert_eq!(serde_json::from_value::<AccessClaims>(written).unwrap(), claims);
    claims.sub = user.into();
    claims.act = Some(Actor { sub: Subject::Client("order-service".to_owned()), act: None });
    let written = serde_json::to_value(&claims).unwrap();
    assert_eq!((&written["sub"], &written["act"]), (&json!(user), &json!({"sub": "order-service"})));
    assert_eq!(serde_json::from_value::<AccessClaims>(written).unwrap(), claims);
}
