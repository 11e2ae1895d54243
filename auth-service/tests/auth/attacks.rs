//! The list of attacks (`attacks.md`) against the tests: an attack without a test is no finding of anybody's.

use std::collections::BTreeSet;
use std::path::Path;

const LIST: &str = include_str!("attacks.md");

/// `b8` and the like, as the list names them.
fn listed() -> BTreeSet<String> {
    let numbers = LIST.lines().filter_map(|line| line.strip_prefix("- ")?.split_once(": "));
    numbers.map(|(number, _)| number.to_lowercase()).collect()
}

/// `b8`, `c16`, `ho1`: the chapter's letter, or `h` and the letter of a part of it, and a number.
fn is_number(word: &str) -> bool {
    let digits = word.trim_start_matches(|char: char| char.is_ascii_lowercase());
    let chapter = &word[..word.len() - digits.len()];
    let is_chapter = matches!(chapter, "b" | "c") || (chapter.len() == 2 && chapter.starts_with('h'));
    is_chapter && !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit())
}

/// The numbers that tests' names begin with: `b10_and_b11_…` has two.
fn tested(folder: &Path, numbers: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tested(&path, numbers);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            for name in source.lines().filter_map(|line| line.split_once("fn ")?.1.split('(').next()) {
                let leading = name.split('_').take_while(|word| is_number(word) || *word == "and");
                numbers.extend(leading.filter(|word| is_number(word)).map(str::to_owned));
            }
        }
    }
}

#[test]
fn each_attack_of_the_list_has_a_test_of_its_number() {
    let listed = listed();
    let of_chapters = (1..=25).map(|number| format!("b{number}")).chain((1..=22).map(|number| format!("c{number}")));
    for number in of_chapters {
        assert!(listed.contains(&number), "{number} is missing from the list");
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut elsewhere) = (BTreeSet::new(), BTreeSet::new());
    tested(&own.join("tests"), &mut found);
    for package in ["cart-service", "order-service", "shared", "e2e"] {
        tested(&own.join("..").join(package).join("tests"), &mut elsewhere);
    }
    // The chapters B and C are this service's own; a helper there may be called `b64`.
    found.extend(elsewhere.into_iter().filter(|number| number.starts_with('h')));
    assert_eq!(found, listed, "the tests, and the list");
}
