//! What a team that only verifies tokens has to compile.

use std::process::Command;

fn dependencies(features: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.args(["tree", "--offline", "-p", "shared", "-e", "normal", "--prefix", "none", "--format", "{p}"]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]).args(features);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn has(tree: &str, name: &str) -> bool {
    tree.lines().any(|line| line.split(' ').next() == Some(name))
}

#[test]
fn verifying_tokens_pulls_in_no_database_no_redis_and_no_pages() {
    let light = dependencies(&["--no-default-features"]);
    assert!(has(&light, "aws-lc-rs") && has(&light, "actix-web"), "{light}");
    for heavy in ["sqlx", "libsqlite3-sys", "redis", "deadpool-redis", "opentelemetry", "utoipa", "tracing-subscriber"]
    {
        assert!(!has(&light, heavy), "{heavy} is pulled in");
    }
    assert!(has(&dependencies(&["--features", "database"]), "sqlx"), "the names above are the right ones");
}
