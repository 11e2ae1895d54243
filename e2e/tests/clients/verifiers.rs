//! APIs of others, which check access tokens with what their language has: whether they take one that is for them, and
//! refuse one that is for another API, under each algorithm that access tokens may be signed by.

use e2e::secrets;
use serde_json::{Value, json};

use crate::node::Programs;
use crate::place::Place;

/// The API that the tokens are for, by the scope `wishes`.
const API: &str = "wish-service";

/// What verifies, and what became of the tokens: the verifier's name, and why it cannot read them where it cannot.
async fn verified_on_node(programs: &Programs, settings: &[(&str, &str)]) -> Vec<String> {
    let place = Place::in_one_process_with(&[settings, &[("API_SCOPES", "wishes=wish-service")]].concat()).await;
    let given = tokens(&place).await;
    let steps = programs.run("verifiers.mjs", "verifiers", &given, &mut place.browser()).await;
    place.finish();
    steps
}

/// Of a person, for every service; of a machine, for this API alone; for another API; and changed on the way.
async fn tokens(place: &Place) -> Value {
    let mut person = place.world.platform.person_with(&place.person);
    let login = person.log_in().await.body;
    let machine = json!({
        "client_name": "A report", "grant_types": ["client_credentials"], "scope": "wishes orders",
    });
    let machine = place.register(&machine).await;
    let of_machine = token(place, &machine, "wishes").await;
    let last = of_machine.len() - 8;
    json!({
        "issuer": place.issuer(),
        "audience": API,
        "good": [
            {"token": login["access_token"], "sub": login["user"]["id"]},
            {"token": of_machine, "sub": machine["client_id"]},
        ],
        "for_another_api": token(place, &machine, "orders").await,
        "changed": format!("{}AAAAAAAA", &of_machine[..last]),
    })
}

async fn token(place: &Place, client: &Value, scope: &str) -> String {
    let url = format!("{}/oauth2/token", place.issuer());
    let (id, secret) = (client["client_id"].as_str().expect("an id"), client["client_secret"].as_str());
    let form = [("grant_type", "client_credentials"), ("scope", scope)];
    let answer = reqwest::Client::new().post(url).basic_auth(id, secret).form(&form).send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned();
    secrets::remember(&token);
    token
}

const ALL_OF_NODE: [&str; 3] = ["jose", "jsonwebtoken", "express-oauth2-jwt-bearer"];

#[tokio::test]
async fn every_verifier_of_node_reads_es256_and_rs256() {
    let Some(programs) = Programs::for_test() else { return };
    for alg in ["ES256", "RS256"] {
        assert_eq!(verified_on_node(&programs, &[("SIGNING_ALG", alg)]).await, ALL_OF_NODE, "{alg}");
    }
}

#[tokio::test]
async fn eddsa_is_read_by_what_knows_it() {
    let Some(programs) = Programs::for_test() else { return };
    let verified = verified_on_node(&programs, &[("SIGNING_ALG", "EdDSA")]).await;
    assert_eq!(verified, ["jose", "jsonwebtoken: invalid algorithm", "express-oauth2-jwt-bearer"]);
}
