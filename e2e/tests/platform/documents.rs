//! The API documents against the services: schemathesis asks what they allow and what they do not, and finds no answer
//! that they do not name, and no 5xx.

use std::process::Command;

use e2e::servers::leave_out;
use e2e::{Person, Service};

use crate::World;
use crate::world::expect;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance,ignored_auth,unsupported_method";

/// So many requests that nobody is to be throttled, and a token that is good to the end.
const SETTINGS: &[(&str, &str)] = &[
    ("ACCESS_TOKEN_TTL", "15m"),
    ("LOGIN_ATTEMPTS_PER_ACCOUNT", "1000000"),
    ("LOGIN_ATTEMPTS_PER_ADDRESS", "1000000"),
    ("REGISTRATIONS_PER_ADDRESS", "1000000"),
];

async fn examine(person: &Person, service: Service, which: &[&str]) {
    let Some(program) = std::env::var_os("TEST_SCHEMATHESIS").filter(|path| !path.is_empty()) else {
        return leave_out("schemathesis is not at hand: TEST_SCHEMATHESIS names its program");
    };
    let token = person.access_token.clone().expect("an access token");
    let mut command = Command::new(program);
    command.args(["run", &person.url(service, "/openapi.json"), "--checks", CHECKS, "--continue-on-failure"]);
    // So much work, not so much time: on a slow machine twenty seconds went by before the first request. The time is a
    // bound for one that hangs.
    command.args(["--max-examples", "5", "--max-time", "100", "--warnings", "off", "--no-color"]).args(which);
    command.args(["--header", &format!("Authorization: Bearer {token}")]);
    // It keeps a folder of its own where it runs.
    let folder = tempfile::tempdir().expect("a folder");
    command.current_dir(folder.path());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let output = output.expect("schemathesis starts");
    let text = String::from_utf8_lossy(&output.stdout).replace(&token, "[access token]");
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr).replace(&token, "[access token]")
    );
    assert!(text.contains("No issues found"), "it examined nothing:\n{text}");
}

#[tokio::test]
async fn every_answer_of_cart_and_order_is_documented() {
    let world = World::all_in_one(SETTINGS).await;
    let ada = world.platform.customer().await;
    examine(&ada, Service::Cart, &[]).await;
    examine(&ada, Service::Orders, &[]).await;
    world.finish();
}

#[tokio::test]
async fn every_answer_of_auth_is_documented() {
    let world = World::all_in_one(SETTINGS).await;
    let admin = world.admin().await;
    // What would end the administrator's own session is asked by somebody else.
    let ends = "^/auth/logout|^/auth/password|^/admin/users/.*/";
    examine(&admin, Service::Auth, &["--exclude-path-regex", ends]).await;
    let ada = world.platform.customer().await;
    examine(&ada, Service::Auth, &["--include-path-regex", ends]).await;
    let mut admin = admin;
    expect(200, admin.log_in().await);
    world.finish();
}
