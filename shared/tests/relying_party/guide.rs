//! The guide for other teams says what the code does. Cargo compiles the example with these tests.

#[test]
fn the_guide_shows_the_example_as_it_is_and_names_every_route() {
    let guide = include_str!("../../../docs/joining.md");
    let shown = guide.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(shown, Some(include_str!("../../examples/joining.rs")), "docs/joining.md shows another example");
    let routes = include_str!("../../src/relying_party/endpoints/mod.rs");
    let paths: Vec<&str> = routes.split("only(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(paths.len(), 7, "{paths:?}");
    for path in paths {
        assert!(guide.contains(path), "docs/joining.md does not name {path}");
    }
    for setting in ["OIDC_CLIENT_SECRET", "COOKIE_KEY", "PUBLIC_URL", "ISSUER_INTERNAL_URL", "COOKIE_SECURE"] {
        let settings = include_str!("../../src/relying_party/settings.rs");
        assert!(guide.contains(setting) && settings.contains(setting), "{setting}");
    }
}
