//! The README's words, run as they stand there.

use std::path::Path;
use std::process::Command;

use e2e::Service;

use crate::World;

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    std::fs::read_to_string(path).expect("the README is there")
}

/// The `sh` blocks of a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[tokio::test]
async fn the_story_of_the_readme_runs_as_written() {
    let world = World::all_in_one(&[]).await;
    let page = readme();
    let story =
        blocks(&page).into_iter().find(|block| block.contains("curl")).expect("the README has a story").to_owned();
    let local = [(Service::Auth, "8081"), (Service::Cart, "8082"), (Service::Orders, "8083")];
    let here = local.into_iter().fold(story, |story, (service, port)| {
        story.replace(&format!("http://localhost:{port}"), &world.platform.person().url(service, ""))
    });
    let shell =
        tokio::task::spawn_blocking(move || Command::new("bash").args(["-euo", "pipefail", "-c", &here]).output());
    let output = shell.await.expect("no panic").expect("bash starts");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the story fails:\n{text}\n{errors}");
    assert!(text.contains("\"status\":\"paid\""), "the order is paid:\n{text}");
    assert!(text.ends_with("401\n401\n401\n"), "she has left everywhere:\n{text}");
    world.finish();
}

/// What the suite cannot run inside itself is at least a command that is there.
#[test]
fn every_other_command_of_the_readme_is_known() {
    let page = readme();
    for block in blocks(&page).into_iter().filter(|block| !block.contains("curl")) {
        for line in block.lines().filter(|line| !line.trim().is_empty()) {
            // `cargo xtask test --compose` runs Docker's line, and looks for it here.
            let known = ["cargo run", "cargo xtask up", "docker compose up --build"];
            let verbs = ["test", "test --compose", "bench", "compare", "choose", "faults"]
                .map(|verb| format!("cargo xtask {verb}"));
            assert!(known.contains(&line.trim()) || verbs.contains(&line.trim().to_owned()), "no test runs {line:?}");
        }
    }
}

#[test]
fn the_tests_and_pages_that_the_readme_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = readme();
    let named = page.split(['`', '(', ')']).filter(|text| text.ends_with(".rs") || text.ends_with(".md"));
    let named: Vec<&str> = named.filter(|text| !text.contains(' ')).collect();
    assert!(named.len() > 8, "{named:?}");
    for path in named {
        assert!(root.join(path).exists(), "the README names {path}, which is not there");
    }
}
