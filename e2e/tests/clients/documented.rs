//! `docs/clients.md` against what is installed and tested.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of each row whose first one names a program.
fn rows(page: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let tables = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    tables.map(cells).filter(|cells| cells[0] != "program").collect()
}

/// Name and version of what the programs of a folder ask for.
fn of_node(folder: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(repository().join(folder).join("package.json")).expect("the packages");
    let package: Value = serde_json::from_str(&text).expect("JSON");
    let asked = package["dependencies"].as_object().expect("packages");
    let version = |value: &Value| value.as_str().expect("a version").rsplit('@').next().map(str::to_owned);
    asked.iter().map(|(name, value)| (name.replace("client-5", "client 5"), version(value).expect("one"))).collect()
}

/// Name and version of the clients of Python, which the file names first.
fn of_python() -> BTreeMap<String, String> {
    let text = fs::read_to_string(repository().join("e2e/clients/python/requirements.txt")).expect("the packages");
    let (clients, _) = text.split_once("\n\n").expect("the clients and what they need");
    let pinned = clients.lines().filter_map(|line| line.split_once("=="));
    pinned.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

/// What is a part of others, and signs nobody in.
const PARTS: [&str; 4] = ["express", "express-session", "jwks-rsa", "passport"];

#[test]
fn each_client_stands_in_the_document_with_its_version() {
    let page = fs::read_to_string(repository().join("docs/clients.md")).expect("the document");
    let rows = rows(&page);
    let of_clients = of_node("e2e/clients").into_iter().filter(|(name, _)| !PARTS.contains(&name.as_str()));
    let of_browser = of_node("e2e/browser").into_iter().filter(|(name, _)| name.starts_with("oidc"));
    for (name, version) in of_clients.chain(of_browser).chain(of_python()) {
        // Some are named with what they are used in: `Authlib (Flask)`.
        let is_named = |row: &Vec<String>| row[0].split(" (").next() == Some(name.as_str()) && row[1] == version;
        assert!(rows.iter().any(is_named), "no row of {name} {version}");
    }
}

#[test]
fn each_test_that_the_document_names_is_there() {
    let page = fs::read_to_string(repository().join("docs/clients.md")).expect("the document");
    let folders = ["e2e/tests/clients", "e2e/tests/browser"].map(|folder| repository().join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("the tests"));
    let files = entries.map(|entry| entry.expect("a file").path());
    let sources: String = files.map(|path| fs::read_to_string(path).expect("a source")).collect();
    let mut named = 0;
    for row in rows(&page) {
        let words = row.last().into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
        for test in words.filter(|word| !word.contains('/')) {
            assert!(sources.contains(&format!("fn {test}(")), "there is no test {test}");
            named += 1;
        }
    }
    assert!(named >= 8, "the tables name {named} tests");
}
