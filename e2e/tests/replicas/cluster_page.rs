//! The commands of `docs/replicated.md`, run as they stand there.

use std::path::Path;
use std::process::Command;

use e2e::process::free_port;
use e2e::servers::{leave_out, postgres_for_test, program};

/// The block of the page that starts the nodes.
fn commands() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/replicated.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let block = page.split("```sh\n").skip(1).find_map(|rest| rest.split("```").next());
    block.expect("the page has commands").to_owned()
}

#[tokio::test]
async fn the_nodes_of_the_page_start_as_written_and_one_outlives_the_other() {
    if program("curl", "curl ").is_none() {
        return leave_out("curl is not installed");
    }
    let Some(postgres) = postgres_for_test() else { return };
    let mut session = postgres.session().expect("it answers");
    for name in ["auth", "cart", "orders"] {
        session.execute(&format!("CREATE DATABASE {name}")).expect("an empty database");
    }
    let mut here = commands().replace("@localhost/", &format!("@127.0.0.1:{}/", postgres.port()));
    for port in ["7946", "7947", "8081", "8082", "8083", "8181", "8182", "8183"] {
        assert!(here.contains(port), "{port} does not stand there any more");
        here = here.replace(port, &free_port().expect("a free port").to_string());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let programs = e2e::program("all-in-one");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", programs.parent().expect("a folder").display());
    // What it leaves running ends with it.
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null' EXIT\n{here}");
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).current_dir(folder.path()).env("PATH", path);
    let output = tokio::task::spawn_blocking(move || bash.output()).await.expect("no panic").expect("bash starts");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let logs = ["one.log", "two.log"].map(|log| std::fs::read_to_string(folder.path().join(log)).unwrap_or_default());
    assert!(output.status.success(), "the commands fail:\n{text}\n{errors}\n{}", logs.join("\n---\n"));
    assert!(text.starts_with(r#"{"items":[]"#), "the other node knows her:\n{text}");
    assert!(text.ends_with("401\n"), "she has left:\n{text}");
}
