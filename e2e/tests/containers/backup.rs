//! A backup and its restoration, by the very lines of docs/operations.md.

use std::fs;
use std::path::Path;

use e2e::Service;

use crate::World;
use crate::world::expect;

/// The blocks for a shell in the section on backups: what saves, what restores, what rotates the keys.
fn words_of_the_documentation() -> [String; 3] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = fs::read_to_string(path).expect("the documentation");
    let (_, section) = text.split_once("\n## Backup\n").expect("a section on backups");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let blocks: Vec<String> = section
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split_once("```").expect("the end of a block").0.to_owned())
        .collect();
    blocks.try_into().expect("three blocks")
}

#[tokio::test]
async fn a_backup_brings_back_what_was_saved_by_the_words_of_the_documentation() {
    let Some(world) = World::in_containers().await else { return };
    let containers = world.platform.containers().expect("containers");
    let [save, restore, rotate] = words_of_the_documentation();
    let folder = tempfile::tempdir().expect("a folder");
    let mut ada = world.platform.customer().await;
    let published = ada.url(Service::Auth, "/.well-known/jwks.json");
    let keys = expect(200, ada.get(&published).await).body;

    containers.shell(&save, folder.path());
    for database in ["auth", "cart", "orders"] {
        assert!(folder.path().join(format!("{database}.dump")).metadata().expect("a dump").len() > 1000, "{database}");
    }
    // Whoever comes after it is lost with the database.
    let mut late = world.platform.customer().await;
    containers.shell(&restore, folder.path());
    containers.serve().await;

    assert_eq!(expect(200, ada.get(&published).await).body, keys);
    // The session has gone on in Redis; so has that of an account which is there no more, but nobody gets a token by it.
    expect(200, ada.refresh().await);
    expect(200, ada.log_in().await);
    expect(401, late.refresh().await);
    expect(401, late.log_in().await);

    let said = containers.shell(&rotate, folder.path());
    assert_eq!(said.matches("was made").count(), 3, "a key for each algorithm: {said}");
    world.finish();
}
