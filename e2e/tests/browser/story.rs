//! How soon a newcomer has bought something; and the whole story of a shopper: a guest's basket, the registration, the order, the payment, the sign-out, and what the back
//! button shows after it.

use std::time::{Duration, Instant};

use e2e::{Credentials, World};
use serde_json::json;

use crate::chromium::{Chromium, given};

/// A person whom the platform does not know yet walks the story.
async fn a_shopper_walks_the_whole_story(world: World, chromium: &Chromium, language: &str) {
    let Credentials { email, password } = Credentials::made_up(&format!("ada-{language}"));
    let mut given = given(&world.platform, language);
    given["email"] = json!(email);
    given["password"] = json!(password);
    given["name"] = json!("Ada Lovelace");
    let steps = chromium.walk("story.mjs", "story", &given).await;
    let expected = [
        "a guest has a basket",
        "registered, with the basket",
        "known at the orders",
        "known at the account",
        "signed out everywhere",
        "signed in at the checkout, with both baskets",
        "ordered and paid",
        "the back button shows nothing",
    ];
    assert_eq!(steps, expected);
    world.finish();
}

#[tokio::test]
async fn a_newcomer_has_bought_something_within_a_minute_of_the_start() {
    let Some(chromium) = Chromium::for_test() else { return };
    let started = Instant::now();
    let world = World::all_in_one(&[]).await;
    assert_eq!(chromium.walk("story.mjs", "newcomer", &given(&world.platform, "en")).await, ["bought"]);
    assert!(started.elapsed() < Duration::from_secs(60), "it took {:?}", started.elapsed());
    world.finish();
}

#[tokio::test]
async fn a_shopper_walks_the_whole_story_in_one_process_in_english() {
    let Some(chromium) = Chromium::for_test() else { return };
    a_shopper_walks_the_whole_story(World::all_in_one(&[]).await, &chromium, "en").await;
}

#[tokio::test]
async fn a_shopper_walks_the_whole_story_in_one_process_in_chinese() {
    let Some(chromium) = Chromium::for_test() else { return };
    a_shopper_walks_the_whole_story(World::all_in_one(&[]).await, &chromium, "zh").await;
}

#[tokio::test]
async fn a_shopper_walks_the_whole_story_at_the_gateways_hosts() {
    let Some(chromium) = Chromium::for_test() else { return };
    let Some(world) = World::replicated(&[]).await else { return };
    a_shopper_walks_the_whole_story(world, &chromium, "zh").await;
}
