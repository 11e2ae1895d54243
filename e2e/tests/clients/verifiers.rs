//! APIs of others, which check access tokens with what their language has: whether they take one that is for them, and
//! refuse one that is for another API, under each algorithm that access tokens may be signed by.

use e2e::secrets;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::node::{self, talk_with};
use crate::place::Place;
use crate::python;

/// The API that the tokens are for, by the scope `wishes`.
const API: &str = "wish-service";

/// The verifiers that a language has, under an algorithm or by default: the name of each, and why it cannot read the tokens
/// where it cannot.
async fn verifiers(program: Command, alg: Option<&str>) -> Vec<String> {
    let mut settings = vec![("API_SCOPES", "wishes=wish-service")];
    settings.extend(alg.map(|alg| ("SIGNING_ALG", alg)));
    let place = Place::in_one_process_with(&settings).await;
    let given = tokens(&place).await;
    let steps = talk_with(program, &given, &mut place.browser()).await;
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

fn of_node(programs: &node::Programs) -> Command {
    let mut command = programs.command("verifiers.mjs");
    command.arg("verifiers");
    command
}

#[tokio::test]
async fn every_verifier_of_node_reads_the_default_and_rs256() {
    let Some(programs) = node::Programs::for_test() else { return };
    for alg in [None, Some("RS256")] {
        let all = ["jose", "jsonwebtoken", "express-oauth2-jwt-bearer"];
        assert_eq!(verifiers(of_node(&programs), alg).await, all, "{alg:?}");
    }
}

#[tokio::test]
async fn every_verifier_of_python_reads_the_default_and_rs256() {
    let Some(programs) = python::Programs::for_test() else { return };
    for alg in [None, Some("RS256")] {
        assert_eq!(verifiers(programs.command("verifiers.py"), alg).await, ["PyJWT", "python-jose"], "{alg:?}");
    }
}

#[tokio::test]
async fn eddsa_is_read_by_what_knows_it() {
    let (Some(node), Some(python)) = (node::Programs::for_test(), python::Programs::for_test()) else { return };
    let of_node = verifiers(of_node(&node), Some("EdDSA")).await;
    assert_eq!(of_node, ["jose", "jsonwebtoken: invalid algorithm", "express-oauth2-jwt-bearer"]);
    let of_python = verifiers(python.command("verifiers.py"), Some("EdDSA")).await;
    assert_eq!(of_python, ["PyJWT", "python-jose: Unable to find an algorithm for key"]);
}
