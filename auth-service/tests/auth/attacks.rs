//! The list of attacks (`attacks.md`) against the tests: an attack without a test is no finding of anybody's.

use std::collections::BTreeSet;
use std::path::Path;

const LIST: &str = include_str!("attacks.md");

/// `b8` and the like, as the list names them.
fn listed() -> BTreeSet<String> {
    let numbers = LIST.lines().filter_map(|line| line.strip_prefix("- ")?.split_once(": "));
    numbers.map(|(number, _)| number.to_lowercase()).collect()
}

/// `b8`, `c16`, or `h` with a letter: `ht1`.
fn is_number(word: &str) -> bool {
    let digits = word.trim_start_matches(|letter: char| letter.is_ascii_lowercase());
    let letters = &word[..word.len() - digits.len()];
    let is_known = matches!(letters, "b" | "c") || letters.len() == 2 && letters.starts_with('h');
    is_known && !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit())
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
    let catalogue: BTreeSet<String> =
        (1..=25).map(|number| format!("b{number}")).chain((1..=22).map(|number| format!("c{number}"))).collect();
    let listed = listed();
    assert!(listed.is_superset(&catalogue), "the list lacks {:?}", catalogue.difference(&listed));
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    tested(&own.join("tests"), &mut found);
    // What concerns no sign-in has its test where it happens.
    let mut elsewhere = BTreeSet::new();
    for folder in ["src", "../cart-service", "../order-service", "../shared", "../e2e", "../all-in-one"] {
        for part in ["tests", "src"] {
            let folder = own.join(folder).join(part);
            if folder.is_dir() {
                tested(&folder, &mut elsewhere);
            }
        }
    }
    found.extend(elsewhere.into_iter().filter(|number| number.starts_with('h')));
    assert_eq!(found, listed, "the tests");
}
